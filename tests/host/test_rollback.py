# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules rollback and snapshot_info, judged by btrfs and snapper."""

from __future__ import annotations

import os
import pathlib

import pytest


@pytest.fixture
def pending(host):
    """Snapshot 2 made from 1, and 3 from 2; 1 is current, 3 is default."""
    host.module("package", name="testbed-hello")
    host.module("package", name="testbed-app")
    return host


def test_to_a_number(pending):
    result = pending.module("rollback", to="2")
    assert (result["changed"], result["snapshot"], result["previous_default"]) == (True, 2, 3)
    assert (result["current"], result["pending"]) == (1, True)
    assert result["diff"] == {"before": "default: 3\n", "after": "default: 2\n"}
    assert pending.default() == 2
    assert pending.numbers() == [1, 2, 3]
    # as tukit and snapper alone do not: the snapshot keeps its place in the cleanup
    assert pending.snapper("--csvout", "list", "--columns", "number,cleanup").splitlines()[3] == "2,number"
    assert not pending.module("rollback", to="2")["changed"]


def test_drop_pending(pending):
    marker = pathlib.Path("/run/reboot-needed")
    marker.write_text("reboot", encoding="ascii")
    result = pending.module("rollback", drop_pending=True)
    assert (result["changed"], result["snapshot"], result["pending"]) == (True, 1, False)
    assert pending.default() == 1
    assert not marker.exists()
    assert not pending.module("rollback", drop_pending=True)["changed"]


def test_check_mode(pending):
    before = pending.state()
    result = pending.module("rollback", to="2", _check=True)
    assert (result["changed"], result["snapshot"]) == (True, 2)
    assert pending.state() == before


def test_previous_needs_one(host):
    result = host.module("rollback", to="previous")
    assert "there is no snapshot before the current one, 1" in result["msg"]


@pytest.mark.parametrize("arguments, words", [
    ({"to": "99"}, "there is no snapshot 99; usable are 1, 2, 3"),
    ({"to": "yesterday"}, "neither the number of a snapshot nor 'previous'"),
    ({}, "one of the following is required: to, drop_pending"),
    ({"drop_pending": False}, "asks for nothing"),
    ({"to": "1", "drop_pending": True}, "mutually exclusive"),
])
def test_what_cannot_be_done(pending, arguments, words):
    before = pending.state()
    assert words in pending.module("rollback", **arguments)["msg"]
    assert pending.state() == before


def test_an_open_snapshot_is_refused(host):
    number = host.snapper("create", "--from", "1", "--read-write", "--print-number",
                          "--userdata", "transactional-update-in-progress=yes")
    assert f"snapshot {number} was never completed" in host.module("rollback", to=number)["msg"]
    assert host.default() == 1


def test_on_a_read_write_host_a_read_only_snapshot_gets_a_writable_copy(host):
    host.module("package", name="testbed-hello")  # snapshot 2, read-only
    host.check("btrfs", "property", "set", "-ts", "/.snapshots/1/snapshot", "ro", "false")
    try:
        host.module("rollback", to="1")
        result = host.module("rollback", to="2")
        assert result.get("changed"), result
        assert (result["snapshot"], host.default()) == (3, 3)
        assert host.check("btrfs", "property", "get", "-ts", "/.snapshots/3/snapshot", "ro") == "ro=false"
        assert "testbed-hello-1.0" in host.packages(3)
        assert os.path.exists("/.snapshots/3/snapshot/etc/fstab")
    finally:
        host.check("btrfs", "property", "set", "-ts", "/.snapshots/1/snapshot", "ro", "true")


def test_snapshot_info(pending):
    pathlib.Path("/run/reboot-needed").write_text("soft-reboot", encoding="ascii")
    info = pending.module("snapshot_info", used_space=True)
    os.unlink("/run/reboot-needed")
    assert not info["changed"]
    assert (info["booted"], info["current"], info["default"], info["pending"]) == (1, 1, 3, True)
    assert info["reboot_needed"] == "soft-reboot"
    assert info["engine"] == pending.engine
    assert [row["number"] for row in info["snapshots"]] == [1, 2, 3]
    first = info["snapshots"][0]
    assert first == {
        "number": 1, "type": "single", "date": "2026-01-01 00:00:00", "user": "root", "cleanup": "number",
        "description": "first root filesystem", "userdata": {"important": "yes"}, "pre_number": None,
        "post_number": None, "post_date": None, "used_space": None, "default": False, "active": True, "read_only": True}


def test_snapshot_info_of_a_fresh_host(host):
    info = host.module("snapshot_info", _check=True)
    assert (info["pending"], info["reboot_needed"], len(info["snapshots"])) == (False, None, 1)
    assert "used_space" not in info["snapshots"][0]
