# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module snapshot_diff, on snapshots whose differences were made by hand or by zypper."""

from __future__ import annotations

import ctypes
import json
import os
import pathlib
import shutil

import pytest

pytestmark = pytest.mark.once

ROOT = "/.snapshots/{}/snapshot"


@pytest.fixture
def second(host):
    """The root of snapshot 2, writable, made from 1."""
    number = host.snapper("create", "--from", "1", "--read-write", "--print-number")
    assert number == "2"
    return pathlib.Path(ROOT.format(number))


def changes(result, key="files"):
    return {file["path"]: [file["change"]] + file["aspects"] for file in result[key]}


def test_nothing_pending(host):
    before = host.state()
    result = host.module("snapshot_diff", _check=True)
    assert (result["changed"], result["differs"], result["from"], result["to"]) == (False, False, 1, 1)
    assert (result["files"], result["package_files_count"]) == ([], 0)
    assert not any(result["packages"].values())
    assert host.state() == before


def test_packages_of_the_pending_snapshot_explain_their_files(host):
    host.module("package", name="testbed-hello")
    result = host.module("snapshot_diff", package_files=True)
    assert (result["changed"], result["differs"], result["from"], result["to"]) == (False, True, 1, 2)
    assert result["packages"]["installed"] == [{"name": "testbed-hello", "version": "1.0-1", "arch": "noarch"}]
    assert result["files"] == []
    explained = changes(result, "package_files")
    assert explained["/usr/share/testbed/testbed-hello"] == ["added"]
    assert result["package_files_count"] == len(explained) > 1
    assert "package_files" not in host.module("snapshot_diff")
    assert result["diff"][0]["after"] == "testbed-hello-1.0-1.noarch\n"
    # and the way back
    back = host.module("snapshot_diff", **{"from": "default", "to": "current"})
    assert (back["from"], back["to"]) == (2, 1)
    assert [row["name"] for row in back["packages"]["removed"]] == ["testbed-hello"]
    assert back["files"] == []


def test_upgrade_and_downgrade_as_rpm_sees_them(host):
    host.module("package", name="testbed-hello")
    host.enable("testbed-updates", snapshot=2)
    host.module("package", name="testbed-hello", state="latest")
    there = host.module("snapshot_diff", **{"from": "2", "to": "3"})["packages"]
    back = host.module("snapshot_diff", **{"from": "3", "to": "2"})["packages"]
    assert [row["name"] for row in there["upgraded"] + back["downgraded"]] == ["testbed-hello"] * 2
    assert there["upgraded"][0]["old_version"] == back["downgraded"][0]["version"] == "1.0-1"
    assert not there["installed"] + there["removed"] + back["installed"] + back["removed"]


def test_every_way_in_which_a_file_can_differ(host, second):
    share = second / "usr/share"
    for name in ("added/deep/file", "owner"):
        (share / name).parent.mkdir(parents=True, exist_ok=True)
        (share / name).write_text("text")
    third = pathlib.Path(ROOT.format(host.snapper("create", "--from", "2", "--read-write", "--print-number")))
    there = third / "usr/share"
    (there / "added/deep/file").write_text("other")
    os.chown(there / "owner", 1, 1)
    (there / "owner").chmod(0o600)
    os.setxattr(there / "owner", "user.probe", b"1")
    os.setxattr(there / "owner", "security.selinux", b"system_u:object_r:testbed_t:s0")
    (third / "etc/hosts").unlink()
    (third / "etc/hosts").mkdir()
    (third / "etc/hosts/inner").write_text("")
    (third / "lib").unlink()
    (third / "lib").symlink_to("usr/lib64")
    (third / "etc/hostname").touch()
    result = changes(host.module("snapshot_diff", **{"from": "2", "to": "3"}))
    assert result == {
        "/etc/hosts": ["modified", "type"], "/etc/hosts/inner": ["added"], "/lib": ["modified", "target"],
        "/usr/share/added/deep/file": ["modified", "content"],
        "/usr/share/owner": ["modified", "mode", "owner", "group", "label", "attributes"]}
    assert changes(host.module("snapshot_diff", **{"from": "1", "to": "2"})) == {
        "/usr/share/added": ["added"], "/usr/share/added/deep": ["added"], "/usr/share/added/deep/file": ["added"],
        "/usr/share/owner": ["added"]}


def test_paths(host, second):
    for path in ("etc/probe", "usr/share/probe", "usr/lib/probe"):
        (second / path).write_text("")

    def found(*paths):
        return list(changes(host.module("snapshot_diff", to="2", paths=paths)))
    assert found("/etc", "/usr/share/", "/usr/share/probe") == ["/etc/probe", "/usr/share/probe"]
    assert found("/etc/probe") == ["/etc/probe"]
    assert found("/usr/nowhere") == []
    assert found("/") == ["/etc/probe", "/usr/lib/probe", "/usr/share/probe"]


def test_content(host, second):
    etc = second / "etc"
    (etc / "hosts").write_text((etc / "hosts").read_text() + "192.0.2.1 probe\n")
    (etc / "repo").write_text("url=https://me:geheim@example.com/x")
    (etc / "binary").write_bytes(b"\0\xff")
    (etc / "large").write_text("x" * 200)
    (etc / "key").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\ngeheim\n")
    (etc / "private").write_text("geheim")
    (etc / "private").chmod(0o640)
    (etc / "closed").mkdir(0o700)
    (etc / "closed/open").write_text("geheim")
    (etc / "shadow").write_text("root:geheim::")
    (etc / "shadow").chmod(0o644)
    (second / "usr/share/elsewhere").write_text("not shown")
    result = host.module("snapshot_diff", to="2", content=True, content_limit=190)
    files = {file["path"]: file for file in result["files"]}
    assert files["/etc/hosts"]["diff"].startswith("--- a/etc/hosts\n+++ b/etc/hosts\n@@ ")
    assert files["/etc/hosts"]["diff"].endswith("\n+192.0.2.1 probe\n")
    assert "+url=https://***@example.com/x\n\\ No newline at end of file\n" in files["/etc/repo"]["diff"]
    assert {path: file["withheld"] for path, file in files.items() if "withheld" in file} == {
        "/etc/binary": "binary", "/etc/large": "larger than 190 bytes", "/etc/key": "a private key",
        "/etc/private": "not readable by everybody", "/etc/closed/open": "not readable by everybody",
        "/etc/shadow": "holds secrets"}
    assert set(files["/usr/share/elsewhere"]) == {"path", "change", "aspects"}
    assert "geheim" not in str(result)
    assert "~ /etc/hosts (content)\n--- a/etc/hosts" in result["diff"][1]["prepared"]


def test_what_the_running_etc_got_since_is_merged_and_no_difference(host, second):
    assert os.path.isdir(second / "etc/etc.syncpoint")
    running = pathlib.Path("/etc/probe")
    (second / "etc/staged").write_text("")
    running.write_text("later")
    try:
        found = changes(host.module("snapshot_diff", to="2"))
        back = changes(host.module("snapshot_diff", **{"from": "2", "to": "running"}))
    finally:
        running.unlink()
    assert found == {"/etc/staged": ["added"]}
    assert back == {"/etc/staged": ["removed"], "/etc/probe": ["added"]}


SYNC = "/usr/libexec/transactional-update-sync-etc-state"
DRIFT = pathlib.Path("/etc/probe")


@pytest.fixture
def running():
    """A directory in the running /etc, and nothing of it afterwards."""
    DRIFT.mkdir()
    for name in ("same", "mine", "theirs", "both", "agreed", "touched", "gone"):
        (DRIFT / name).write_text("before")
    (DRIFT / "dropped").mkdir()
    yield DRIFT
    shutil.rmtree(DRIFT)


def test_drift_of_the_running_etc(host, running):
    second = pathlib.Path(ROOT.format(host.snapper("create", "--from", "1", "--read-write", "--print-number")))
    staged = second / "etc/probe"
    for name in ("theirs", "both"):
        (staged / name).write_text("of the snapshot")
    for directory in (running, staged):
        (directory / "agreed").write_text("after")
        (directory / "gone").unlink()
    os.utime(staged / "touched", (0, 0))
    (staged / "dropped").rmdir()
    for name in ("mine", "both", "touched", "new", "dropped/new"):
        (running / name).write_text("of the running system")
    before = host.state()
    result = host.module("snapshot_diff", to="2", paths=["/etc"])
    assert host.state() == before
    assert {file["path"][len("/etc/probe/"):]: (file["change"], file["lost"]) for file in result["drift"]} == {
        "agreed": ("modified", False), "both": ("modified", True), "dropped/new": ("added", True),
        "gone": ("removed", False), "mine": ("modified", False), "new": ("added", False),
        "touched": ("modified", True)}
    assert host.module("snapshot_diff", to="2", paths=["/usr"])["drift"] == []
    assert len(host.module("snapshot_diff", to="2", paths=["/etc/probe/new"])["drift"]) == 1
    # what really becomes of it at the first boot
    host.check(SYNC, "/etc", second / "etc", second / "etc/etc.syncpoint")
    for file in result["drift"]:
        name = file["path"][len("/etc/probe/"):]
        same = (staged / name).exists() == (running / name).exists() and (
            not (staged / name).exists() or (staged / name).read_text() == (running / name).read_text())
        assert same is not file["lost"], name


def test_no_drift_is_known_of_what_was_not_made_from_the_current_one(host, second):
    assert host.module("snapshot_diff", to="2")["drift"] == []
    assert host.module("snapshot_diff")["drift"] is None
    assert host.module("snapshot_diff", **{"from": "2", "to": "1"})["drift"] is None


@pytest.mark.parametrize("arguments, words", [
    ({"to": "99"}, "to: there is no snapshot 99; there are 1"),
    ({"from": "yesterday"}, "from: 'yesterday' is neither the number of a snapshot nor running, current, default"),
    ({"to": "previous"}, "there is no snapshot before the current one, 1"),
    ({"paths": ["etc"]}, "paths: 'etc' is not absolute"),
    ({"paths": ["/lib/modules"]}, "'/lib/modules' leads through the symbolic link /lib"),
])
def test_what_cannot_be_done(host, arguments, words):
    result = host.module("snapshot_diff", **arguments)
    assert result.get("failed") and words in result["msg"], result


def test_an_open_snapshot_can_be_looked_at(host):
    number = host.snapper("create", "--from", "1", "--read-write", "--print-number",
                          "--userdata", "transactional-update-in-progress=yes")
    assert host.module("snapshot_diff", to=number)["differs"] is False


# --- odd trees ------------------------------------------------------------------------------------------------------

MIB = 1 << 20


@pytest.fixture
def pair(host, second):
    """The roots of snapshot 2, and of 3 made from it."""
    def make():
        return pathlib.Path(ROOT.format(host.snapper("create", "--from", "2", "--read-write", "--print-number")))
    return second, make


def compared(host):
    return host.module("snapshot_diff", **{"from": "2", "to": "3"})


def test_the_place_of_a_subvolume_is_no_difference(host, pair):
    second, make = pair
    inside = second / "usr/share/volume"
    host.check("btrfs", "subvolume", "create", inside)
    try:
        (inside / "file").write_text("")
        third = make()
        assert os.stat(third / "usr/share/volume").st_ino == 2
        assert not compared(host)["differs"]
        (third / "usr/share/probe").write_text("")
        assert changes(compared(host)) == {"/usr/share/probe": ["added"]}
    finally:
        host.check("btrfs", "subvolume", "delete", inside)


def test_what_is_mounted_below_is_not_asked(host, pair):
    second, make = pair
    for name in ("mounted", "dead"):
        (second / "usr/share" / name).mkdir()
    third = make()
    # a file system whose server never answers
    channel = os.open("/dev/fuse", os.O_RDWR)
    target = third / "usr/share/mounted"
    host.check("mount", "-i", "-t", "tmpfs", "none", target)
    (target / "hidden").write_text("")
    dead = third / "usr/share/dead"
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={channel},rootmode=40000,user_id=0,group_id=0".encode()
    assert libc.mount(b"dead", os.fsencode(dead), b"fuse", 0, options) == 0, os.strerror(ctypes.get_errno())
    try:
        process = host.start_module("snapshot_diff", **{"from": "2", "to": "3"})
        out, _err = process.communicate(timeout=60)
        assert json.loads(out)["differs"] is False, out
    finally:
        os.close(channel)
        host.check("umount", "-l", dead)
        host.check("umount", target)


def test_what_both_share_on_the_disk_is_not_read(host, pair):
    second, make = pair
    with open(second / "usr/share/large", "wb") as stream:
        for _count in range(64):
            stream.write(os.urandom(MIB))
        stream.truncate(1 << 40)
    third = make()
    os.sync()
    (third / "usr/share/large").chmod(0o600)
    count = ("sh", "-c", '"$@"; cat /proc/$$/io >/run/read', "sh")  # of the module too, once it has ended
    assert changes(host.module("snapshot_diff", _prefix=count, **{"from": "2", "to": "3"})) == {
        "/usr/share/large": ["modified", "mode"]}
    with open("/run/read", encoding="ascii") as stream:
        assert int(stream.readline().split("rchar: ")[1]) < 48 * MIB
    with open(third / "usr/share/large", "r+b") as stream:
        stream.seek(30 * MIB)
        stream.write(b"not on the disk yet")
        stream.flush()
        assert changes(compared(host)) == {"/usr/share/large": ["modified", "content", "mode"]}


def test_flags_are_told_and_kept_by_a_snapshot(host, pair):
    second, make = pair
    (second / "usr/share/probe").write_text("")
    third = make()
    host.check("chattr", "+i", third / "usr/share/probe")
    assert changes(compared(host)) == {"/usr/share/probe": ["modified", "flags"]}
    fourth = ROOT.format(host.snapper("create", "--from", "3", "--print-number"))
    assert "i" in host.check("lsattr", f"{fourth}/usr/share/probe").split()[0]
    host.check("chattr", "-i", third / "usr/share/probe")


def test_many_files_with_odd_names(host, pair):
    second, make = pair
    third = make()
    odd = [b"a\nb", b"lat\xe9in", "nel\x85".encode(), b"form\x0cfeed", b"esc\x1b[2J"]
    (third / "etc/odd").mkdir()
    for name in [*odd, *(b"z%04d" % number for number in range(1500))]:
        os.close(os.open(os.fsencode(third) + b"/etc/odd/" + name, os.O_CREAT | os.O_WRONLY))
    result = host.module("snapshot_diff", **{"from": "2", "to": "3"}, content=True)
    assert (len(result["files"]), result["files_count"]) == (1000, 1506)
    assert {"/etc/odd/a\nb", "/etc/odd/lat\\xe9in", "/etc/odd/nel\x85"} <= {file["path"] for file in result["files"]}
    text = result["diff"][1]["prepared"]
    assert "+ /etc/odd/a\\nb\n" in text and "+ /etc/odd/nel\\u0085\n" in text and "\x1b" not in text
    assert text.endswith("and 506 more files\n")


def test_a_tree_deeper_than_any_path(host, pair):
    second, make = pair
    third = make()
    here = os.open(third / "etc", os.O_RDONLY)
    for _level in range(1500):
        os.mkdir("d" * 200, dir_fd=here)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    result = compared(host)
    assert 10 < result["files_count"] < 20 and not result.get("failed"), result
    assert max(len(file["path"]) for file in result["files"]) <= 4000
