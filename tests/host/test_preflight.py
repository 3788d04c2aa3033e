# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module preflight measures what is there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SMALL = {"ram_minimum": 1, "root_minimum": 1, "var_minimum": 1, "root_free": 1, "tolerance": 0}


def levels(result):
    return {check["name"]: check["level"] for check in result["checks"]}


def test_a_fit_host(host):
    before = host.state()
    result = host.module("preflight", **SMALL)
    assert result["fit"] and not result["changed"], result
    assert levels(result)["btrfs"] == levels(result)["transactions"] == "ok"
    assert host.state() == before


def test_sizes_are_those_of_the_host(host):
    size = int(host.check("findmnt", "--bytes", "--noheadings", "--output", "SIZE", "/")) // 10 ** 6
    # /var is part of the root file system in this place
    for more, level in ((0, "warn"), (1, "fail")):
        result = host.module("preflight", **dict(SMALL, root_minimum=size - 1 + more, root_recommended=10 ** 6))
        assert levels(result)["/ with /var"] == level, result
        assert result["fit"] == (level != "fail")


@pytest.fixture
def esp(host):
    """A small one, without entries as GRUB has it."""
    path = Path("/boot/efi")
    host.check("mount", "-t", "tmpfs", "tmpfs", "/boot")
    path.mkdir()
    host.check("mount", "-t", "tmpfs", "-o", "size=20m", "esp", path)
    yield path
    host.check("umount", "--recursive", "/boot")


def test_the_esp_is_measured_where_kernels_lie_on_it(host, esp):
    result = host.module("preflight", **SMALL)
    assert result["fit"] and "space for kernels on the ESP" not in levels(result), result
    entries = esp / "loader/entries"
    entries.mkdir(parents=True)
    (entries / "token-6.12-1.conf").touch()
    result = host.module("preflight", **SMALL)
    assert not result["fit"] and levels(result)["space for kernels on the ESP"] == "fail", result


def test_what_is_pending_and_what_is_insecure_is_told(host):
    host.module("package", name="testbed-hello")
    result = host.module("preflight", **SMALL)
    assert result["fit"]
    assert "warn: transactions: snapshot 2 is pending, 1 is in use" in result["report"]
    assert "warn: repositories: testbed-main: pkg_gpgcheck is off" in result["report"]


def test_a_foreign_update_at_work(host):
    number = host.snapper("create", "--read-write", "--print-number",
                          "--userdata", "transactional-update-in-progress=yes")
    result = host.module("preflight", **SMALL)
    assert not result["fit"] and f"fail: transactions: snapshot {number} is in progress" in result["report"]


def test_another_architecture(host):
    result = host.module("preflight", **dict(SMALL, architectures=["s390x"]))
    assert not result["fit"] and f"fail: architecture: {os.uname().machine}" in result["report"]
