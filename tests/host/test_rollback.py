# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules rollback and snapshot_info, judged by btrfs and snapper."""

from __future__ import annotations

import datetime
import os
import pathlib
import shutil

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
    assert result["diff"][0] == {"before": "default: 3\n", "after": "default: 2\n"}
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
    ({"to": "yesterday"}, "neither the number of a snapshot, nor 'previous' or 'last_working'"),
    ({}, "one of the following is required: to, before, provenance, without, drop_pending"),
    ({"to": "1", "before": "2026-01-31"}, "mutually exclusive"),
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


def test_the_newest_one_before_a_date(pending):
    tomorrow = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)).date().isoformat()
    made = dict(line.split(",") for line in pending.snapper(
        "--utc", "--iso", "--csvout", "list", "--columns", "number,date").splitlines()[2:])
    # the default stays if it is old enough itself
    assert not pending.module("rollback", before=tomorrow)["changed"]
    pending.module("rollback", to="2")
    assert not pending.module("rollback", before=tomorrow)["changed"]
    result = pending.module("rollback", before=made["2"])
    assert (result["changed"], result["snapshot"]) == (True, 1)
    assert result["reason"] == f"it is the newest usable one, made before {made['2']} UTC"
    assert pending.default() == 1
    # the first one is of 2026-01-01 00:00:00 UTC
    assert pending.module("rollback", before="2026-01-01T01:00:01+01:00")["snapshot"] == 1
    failed = pending.module("rollback", before="2026-01-01")
    assert "there is no usable snapshot made before 2026-01-01 00:00:00 UTC; usable are 1, 2, 3" in failed["msg"]
    assert "no date" in pending.module("rollback", before="31.1.2026")["msg"]


def test_by_provenance(pending):
    pending.snapper("modify", "--userdata", "ansible-git_commit=abc,ansible-play=Web", "2")
    pending.snapper("modify", "--userdata", "ansible-git_commit=abc,ansible-play=DB", "3")
    assert not pending.module("rollback", provenance={"git_commit": "abc"})["changed"]
    result = pending.module("rollback", provenance={"git_commit": "abc", "play": "Web"})
    assert (result["changed"], result["snapshot"], pending.default()) == (True, 2, 2)
    # of two that fulfil it the default stays
    assert not pending.module("rollback", provenance={"git_commit": "abc"})["changed"]
    failed = pending.module("rollback", provenance={"git_commit": "ab"})
    assert "no usable snapshot with the provenance git_commit=ab; usable are 1, 2, 3" in failed["msg"]
    assert "asks for nothing" in pending.module("rollback", provenance={})["msg"]


@pytest.mark.parametrize("without, snapshot", [
    ("testbed-app", 2), ("testbed-hello", 1), ("testbed-[ah]*", 1), ("testbed-hello>1.0", 3), ("testbed-hello>=1.0", 1),
    ("testbed-hello=1.0-1", 1), ("testbed-hello<0.9", 3),
])
def test_without_a_package(pending, without, snapshot):
    result = pending.module("rollback", without=without)
    assert (result.get("snapshot"), result["changed"]) == (snapshot, snapshot != 3), result
    assert pending.default() == snapshot


def test_without_what_all_have(pending):
    result = pending.module("rollback", without="testbed-base")
    assert "there is no usable snapshot without testbed-base" in result["msg"]
    assert "without: " in pending.module("rollback", without="a b c")["msg"]


@pytest.fixture
def state():
    """The files of health-checker and transactional-update."""
    directory = pathlib.Path("/var/lib/misc")
    there = set(directory.iterdir()) if directory.is_dir() else set()
    directory.mkdir(exist_ok=True)
    yield directory
    for path in set(directory.iterdir()) - there:
        path.unlink()


def subvolume(host, number):
    return host.check("btrfs", "inspect-internal", "rootid", f"/.snapshots/{number}/snapshot")


def test_last_working_of_health_checker(pending, state):
    checked = state / "health-check.state"
    checked.write_text(f"LAST_WORKING_BTRFS_ID={subvolume(pending, 2)}\nLAST_WORKING_SNAPSHOT=2\n", encoding="ascii")
    result = pending.module("rollback", to="last_working")
    assert (result["snapshot"], result["reason"]) == (2, "health-checker found it working")
    assert not pending.module("rollback", to="last_working")["changed"]
    # another subvolume got that number since: what is running counts
    checked.write_text("LAST_WORKING_BTRFS_ID=99999\nLAST_WORKING_SNAPSHOT=2\n", encoding="ascii")
    result = pending.module("rollback", to="last_working")
    assert (result["snapshot"], result["reason"]) == (1, "it is running")


def test_last_working_by_other_records(pending, state):
    # what is pending was not booted, what is running was
    result = pending.module("rollback", to="last_working", _check=True)
    assert (result["changed"], result["snapshot"], result["reason"]) == (True, 1, "it is running")
    listed = state / "transactional-update.state"
    listed.write_text('LAST_WORKING_SNAPSHOTS="2 77 1"\nUNUSED_SNAPSHOTS=""\n', encoding="ascii")
    result = pending.module("rollback", to="last_working")
    assert (result["snapshot"], result["reason"]) == (2, "transactional-update found it working")
    # of a time before these snapshots: it means others that had the same numbers
    pending.module("rollback", to="3")
    os.utime(listed, (1780000000, 1780000000))
    assert pending.module("rollback", to="last_working")["snapshot"] == 1


def test_nothing_tells_of_a_working_one(host):
    result = host.module("rollback", to="last_working")
    assert "nothing on this host tells of an older snapshot than 1 that was booted" in result["msg"]


def delete_subvolumes(host, *paths):
    for path in paths:
        if path.is_dir() and path.stat().st_ino == 256:
            host.check("btrfs", "subvolume", "delete", path)


def empty_etc(host, root):
    delete_subvolumes(host, root / "etc/etc.syncpoint", root / "etc")
    shutil.rmtree(root / "etc", ignore_errors=True)
    (root / "etc").mkdir(exist_ok=True)


def delete_root(host, root):
    delete_subvolumes(host, root / "etc/etc.syncpoint", root / "etc", root)


def delete_record(_host, root):
    (root.parent / "info.xml").unlink()


def delete_kernels(_host, root):
    kernels = [*root.glob("boot/vmlinuz*"), *root.glob("usr/lib/modules/*/vmlinuz")]
    assert kernels
    for kernel in kernels:
        kernel.unlink()


def mark_failed(host, _root):
    host.snapper("modify", "--userdata", "ansible-failed=yes", "2")


@pytest.mark.parametrize("spoil, words", [
    # where a deletion stops if it is killed: the plugin deletes a nested /etc, the subvolume goes, its record goes
    (empty_etc, "cannot be booted, its /etc is gone"),
    (delete_root, "is none any more or none yet"),
    (delete_record, "is none any more or none yet"),
    (delete_kernels, "cannot be booted, it has neither a kernel nor a boot entry"),
    (mark_failed, "was never completed, it was kept after a failure"),
])
def test_what_cannot_be_booted(host, spoil, words):
    root = pathlib.Path("/.snapshots/2/snapshot")
    assert host.snapper("create", "--from", "1", "--read-write", "--print-number") == "2"
    assert host.module("rollback", to="2", _check=True)["changed"]
    spoil(host, root)
    try:
        assert f"snapshot 2 {words}" in host.module("rollback", to="2")["msg"]
        # and it is not found either
        assert "usable are 1" in host.module("rollback", before="2026-01-01")["msg"]
        assert host.default() == 1
    finally:
        if 2 not in host.numbers():
            delete_root(host, root)
            shutil.rmtree(root.parent)


def test_diff_tells_packages_and_etc_first(pending):
    etc = pathlib.Path("/.snapshots/2/snapshot/etc")
    pending.check("btrfs", "property", "set", "-ts", "/.snapshots/2/snapshot", "ro", "false")
    (etc / "probe").write_text("of 2\n", encoding="ascii")
    before = pending.state()
    result = pending.module("rollback", to="2", _check=True)
    default, packages, files = result["diff"]
    assert default == {"before": "default: 3\n", "after": "default: 2\n"}
    assert (packages["before"], packages["after"]) == ("", "testbed-hello-1.0-1.noarch\n")
    assert packages["before_header"] == "packages of snapshot 1"
    assert files == {"prepared": "+ /etc/probe\n"}
    assert pending.state() == before
    # the current one differs in nothing from the running system
    assert len(pending.module("rollback", drop_pending=True)["diff"]) == 1


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
        again = host.module("rollback", to="2")
        assert (again["changed"], again["snapshot"], host.numbers()) == (False, 3, [1, 2, 3])
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
