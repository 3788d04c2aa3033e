# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module facts, judged by the tools of the host."""

from __future__ import annotations

import os
import pathlib

import pytest

UNPRIVILEGED = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]
# A host of any other kind: the tree of this one, on a file system that is no snapshot
ELSEWHERE = ["unshare", "--mount", "sh", "-ec", """
mkdir -p /run/elsewhere
mount --bind /run/elsewhere /run/elsewhere
for name in usr etc dev proc run; do
    mkdir -p /run/elsewhere/$name
    mount --rbind /$name /run/elsewhere/$name
done
for name in bin lib lib64 sbin; do
    ln -sfn usr/$name /run/elsewhere/$name
done
mkdir -p /run/elsewhere/tmp
exec chroot /run/elsewhere "$0" "$@"
"""]


def test_a_fresh_host(host):
    before = host.state()
    result = host.module("facts", _check=True)
    assert not result["changed"]
    facts = result["ansible_facts"]
    tool = ["tukit"] if host.engine == "tukit" else ["snapper"]
    told = facts["transactional"]
    assert told.pop("engine_version") in host.check(*tool, "--version")
    assert told == {
        "engine": host.engine, "booted": 1, "current": 1, "default": 1, "pending": False, "reboot_level": None,
        "boot_loader": "unknown", "read_only": True, "transaction": None, "inside": None}
    assert facts["pkg_mgr"] == facts["ansible_pkg_mgr"] == "microos.transactional.package"
    assert "os_family" not in facts  # Debian
    assert "packages" not in facts
    assert "pkg_mgr" not in host.module("facts", use_package=False)["ansible_facts"]
    assert host.state() == before


def test_pending(host):
    host.snapper("create", "--from", "1", "--read-only", "--print-number")
    host.snapper("modify", "--default", "2")
    marker = pathlib.Path("/run/reboot-needed")
    marker.write_text("soft-reboot\n")
    told = host.module("facts")["ansible_facts"]["transactional"]
    marker.unlink()
    assert (told["booted"], told["current"], told["default"], told["pending"]) == (1, 1, 2, True)
    assert told["reboot_level"] == "soft-reboot"


def test_without_root_rights(host):
    result = host.module("facts", _prefix=UNPRIVILEGED)
    told = result["ansible_facts"]["transactional"]
    assert (told["engine"], told["booted"], told["read_only"]) == (host.engine, 1, True)
    assert (told["default"], told["pending"], told["transaction"]) == (None, None, None)
    assert "packages_of needs root rights" in host.module("facts", packages_of="default", _prefix=UNPRIVILEGED)["msg"]


def test_a_host_that_is_not_transactional(host):
    result = host.module("facts", packages_of="default", engine="tukit", _prefix=ELSEWHERE)
    assert list(result["ansible_facts"]) == ["transactional"], result
    assert set(result["ansible_facts"]["transactional"].values()) == {None}


def test_packages_of_a_snapshot(host):
    number = host.snapper("create", "--from", "1", "--read-write", "--print-number")
    host.check("rpm", "--root", f"/.snapshots/{number}/snapshot", "--erase", "testbed-base")
    running = host.module("facts", packages_of="running")["ansible_facts"]["packages"]
    assert running["testbed-base"] == [{"name": "testbed-base", "version": "1.0", "release": "1", "epoch": "None",
                                        "arch": "noarch", "source": "rpm"}]
    assert set(running) - set(host.module("facts", packages_of=number)["ansible_facts"]["packages"]) == {"testbed-base"}
    assert "there is no snapshot 99" in host.module("facts", packages_of="99")["msg"]


@pytest.mark.parametrize("configured, expected", [("grub2-efi", "grub2"), ("systemd-boot", "systemd-boot")])
def test_boot_loader(host, configured, expected):
    config = pathlib.Path("/etc/sysconfig/bootloader")
    config.parent.mkdir(exist_ok=True)
    config.write_text(f'# comment\nLOADER_TYPE="{configured}"\n')
    told = host.module("facts")["ansible_facts"]["transactional"]
    config.unlink()
    os.rmdir(config.parent)
    assert told["boot_loader"] == expected
