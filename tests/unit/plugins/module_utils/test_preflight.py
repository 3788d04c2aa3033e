# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What makes a host unfit, and what is only warned of."""

from __future__ import annotations

import pytest

from ansible_collections.microos.transactional.plugins.module_utils._preflight import (
    Measured,
    Size,
    Wanted,
    judge,
    report,
)
from ansible_collections.microos.transactional.plugins.module_utils._preflight_measures import (
    find_esp,
    parse_device_stats,
    parse_file_system,
    parse_ram,
)

WANTED = Wanted(["x86_64"], (1000, 2000), (5000, 20000), (5000, 40000), root_free=2000, esp_free=200, tolerance=10)
GOOD = Measured(
    lacks="", architecture="x86_64", ram=8000, root=Size(20000, 9000), var=Size(40000, 30000), esp=Size(500, 300),
    read_only=True, degraded=False, device_errors={"/dev/vda3 write_io_errs": 0}, booted=3, current=3, default=3,
    open_snapshots=[], clock_synchronized=True, failed_units=[], insecure={})


def test_a_good_host():
    assert {check.level for check in judge(GOOD, WANTED)} == {"ok"}
    assert report("host", judge(GOOD, WANTED)) == "host: ok"


@pytest.mark.parametrize("change, expected", [
    ({"lacks": "no btrfs"}, ("fail", "transactional host", "no btrfs")),
    ({"architecture": "riscv64"}, ("fail", "architecture", "riscv64")),
    ({"ram": 899}, ("fail", "RAM", "899 MB, at least 1000 MB are needed and 2000 MB are recommended")),
    ({"ram": 900}, ("warn", "RAM", "900 MB, at least 1000 MB are needed and 2000 MB are recommended")),
    ({"root": Size(4499, 3000)}, ("fail", "/", "4499 MB, at least 5000")),
    ({"var": Size(35999, 1)}, ("warn", "/var", "35999 MB, at least 5000 MB are needed and 40000")),
    ({"var": None, "root": Size(8999, 3000)}, ("fail", "/ with /var", "8999 MB, at least 10000")),
    ({"root": Size(20000, 1999)}, ("fail", "space on /", "1999 MB are free, 2000 MB are needed")),
    ({"esp": Size(500, 199)}, ("fail", "space for kernels on the ESP", "199 MB are free")),
    ({"read_only": False}, ("fail", "btrfs", "not read-only")),
    ({"degraded": True}, ("fail", "btrfs", "degraded")),
    ({"device_errors": {"/dev/vda3 corruption_errs": 2}}, ("fail", "btrfs", "/dev/vda3 corruption_errs 2")),
    ({"open_snapshots": ["snapshot 4 is in progress"]}, ("fail", "transactions", "snapshot 4 is in progress")),
    ({"default": 4}, ("warn", "transactions", "snapshot 4 is pending, 3 is in use")),
    ({"booted": 2}, ("warn", "transactions", "snapshot 3 was applied to the booted 2")),
    ({"clock_synchronized": False}, ("warn", "clock", "not synchronized")),
    ({"failed_units": ["a.service"]}, ("warn", "units", "failed: a.service")),
    ({"insecure": {"oss": ["'http' is not HTTPS"]}}, ("warn", "repositories", "oss: 'http' is not HTTPS")),
])
def test_what_is_told(change, expected):
    level, name, message = expected
    bad = [check for check in judge(GOOD._replace(**change), WANTED) if check.level != "ok"]
    assert [(check.level, check.name) for check in bad] == [(level, name)]
    assert message in bad[0].message
    assert report("host", bad).startswith(f"host: {level}: {name}: ")


def test_what_is_not_there_is_not_judged():
    names = {check.name for check in judge(GOOD._replace(esp=None, clock_synchronized=None), WANTED)}
    assert not names & {"space for kernels on the ESP", "clock"}


def test_device_stats():
    # btrfs-progs 6.14
    assert parse_device_stats("[/dev/vda].write_io_errs    0\n[/dev/vda].corruption_errs  3\n") == {
        "/dev/vda write_io_errs": 0, "/dev/vda corruption_errs": 3}


def test_ram():
    assert parse_ram("MemTotal:        2014952 kB\nMemFree:   1 kB\n") == 2063


def test_file_system():
    table = ("21 1 0:20 /@/.snapshots/2/snapshot / ro,relatime shared:1 - btrfs /dev/vda ro,degraded,subvolid=267\n"
             "40 21 0:20 /@/var /var rw,relatime shared:9 - btrfs /dev/vda rw,subvolid=259\n")
    assert parse_file_system(table, "/") == ("/dev/vda", ["ro", "degraded", "subvolid=267"])
    assert parse_file_system(table, "/var")[0] == "/dev/vda"
    assert parse_file_system(table, "/boot/efi") is None


def test_kernels_on_an_esp():
    table = "50 21 254:1 / /boot/efi rw,relatime shared:12 - vfat /dev/vda1 rw,utf8\n"
    entry = "/boot/efi/loader/entries/token-6.12-1.conf"
    assert find_esp(table, [entry]) == "/boot/efi"
    assert find_esp(table, []) is None
    assert find_esp(table, ["/boot/loader/entries/token-6.12-1.conf"]) is None
    assert find_esp("", [entry]) is None
