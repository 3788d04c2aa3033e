# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A trial without a boot: how it is prepared, and its script where the host did not come up with the new snapshot.

There is neither systemd nor a boot loader here; whole trials are run on VMs.
"""

from __future__ import annotations

import contextlib
import glob
import os
import pathlib
import shutil
import subprocess
import time

import pytest

SCRIPT = "/etc/microos-transactional/trial.sh"
RECORD = pathlib.Path("/var/lib/microos-transactional/trial")
FLAG = pathlib.Path("/run/microos-transactional/trial.running")


def left():
    return [path for root in ["", *glob.glob("/.snapshots/*/snapshot")]
            for top in ("etc/systemd", "etc/microos-transactional")
            for path in glob.glob(f"{root}/{top}/**/*trial*", recursive=True)]


@pytest.fixture
def pending(host):
    """Snapshot 2 with one package more is the default; what a trial leaves goes away."""
    host.module("package", name="testbed-hello")
    yield host
    for path in left() + glob.glob("/run/microos-transactional/trial*"):
        with contextlib.suppress(FileNotFoundError):  # that of the running snapshot is found twice
            os.unlink(path)
    shutil.rmtree(RECORD.parent, ignore_errors=True)


@pytest.fixture
def armed(pending):
    result = pending.module("reboot", trial=90)
    assert "failed" not in result, result
    return result


def test_it_is_prepared_in_both_snapshots(pending, armed):
    assert armed["trial"]["state"] == "armed"
    assert (armed["trial"]["snapshot"], armed["trial"]["previous"], armed["trial"]["boot_loader"]) == (2, 1, "none")
    for root in ("", "/.snapshots/2/snapshot"):
        units = pathlib.Path(f"{root}/etc/systemd/system")
        assert "Wants=microos-trial.service microos-trial-deadline.timer\n" in (
            units / "sysinit.target.d" / "50-microos-trial.conf").read_text()
        assert (units / "microos-trial.service").exists()
        assert (units / "microos-trial-deadline.timer").exists()
        assert os.path.exists(root + SCRIPT)
    assert "state=armed\n" in RECORD.read_text()
    del armed["trial"]["boot_loader"]  # of the preparation alone
    assert pending.module("trial")["trial"] == armed["trial"]


def test_nothing_is_built_on_it(pending, armed):
    before = pending.state()
    for module, arguments in (("package", {"name": "testbed-app"}), ("reboot", {"trial": 90}), ("reboot", {}),
                              ("rollback", {"to": "1"})):
        result = pending.module(module, **arguments)
        assert result["failed"], module
        assert "snapshot 2 is on trial (armed)" in result["msg"]
        assert result["trial"]["id"] == armed["trial"]["id"]
    assert pending.state() == before
    # what changes nothing needs no answer to that
    assert not pending.module("package", name="testbed-hello")["changed"]


def test_the_boot_that_armed_it_does_not_judge_it(pending, armed):
    """Whatever starts it there, such as a start of sysinit.target after a reload of systemd."""
    record = RECORD.read_text()
    pending.check("sh", SCRIPT, "settle")
    assert RECORD.read_text() == record
    assert FLAG.read_text().strip() == pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_nobody_reboots_the_host(pending, armed):
    """What systemd runs then."""
    pending.check("sh", SCRIPT, "revert", "armed")
    trial = pending.module("trial")["trial"]
    assert (trial["state"], trial["reason"]) == ("reverted", "nobody rebooted the host for it")
    assert pending.default() == 1
    pending.run("sh", SCRIPT, "tidy")
    assert left() == []
    assert not FLAG.exists()


def test_an_etc_that_is_not_the_snapshots_own(pending):
    """As where it is an overlay: the root is read-only, and no subvolume is nested in it."""
    etc = pathlib.Path("/.snapshots/2/snapshot/etc")
    if etc.stat().st_ino == 256:  # a subvolume
        pending.check("btrfs", "property", "set", "-ts", etc, "ro", "true")
    try:
        for check_mode in (True, False):
            result = pending.module("reboot", trial=90, _check=check_mode)
            assert result["failed"]
            assert "there is no trial of snapshot 2: its /etc cannot be written; use 'trial: 0'" in result["msg"]
    finally:
        if etc.stat().st_ino == 256:
            pending.check("btrfs", "property", "set", "-ts", etc, "ro", "false")
    assert left() == []
    assert pending.module("trial")["trial"]["state"] == "none"


def test_the_host_comes_back_with_the_old_snapshot(pending, armed):
    FLAG.unlink()  # as at any boot
    pending.check("sh", SCRIPT, "settle")
    trial = pending.module("trial")["trial"]
    assert (trial["state"], trial["reason"]) == ("fell-back", "it did not come up")
    assert pending.default() == 1
    assert left(), "it may have to do it again"
    pending.run("sh", SCRIPT, "tidy")  # it ends with an order to systemd
    assert left() == []
    assert not FLAG.exists()
    told = pending.module("reboot", _after=2)
    assert (told["snapshot_booted"], told["decided_by"], told["decision"]) == (1, "trial", "it did not come up")
    # the next one may begin
    pending.module("package", name="testbed-app")
    assert pending.module("reboot", trial=90)["trial"]["state"] == "armed"


def test_an_order_that_is_taken_back(pending, armed):
    done = pending.run("sh", SCRIPT, "confirm")
    assert (done.returncode, "only a running trial can be confirmed" in done.stderr) == (4, True)
    assert pending.run("sh", SCRIPT, "confirm", "another").returncode == 3
    pending.check("sh", SCRIPT, "revert")
    assert pending.module("trial")["trial"]["state"] == "reverted"
    assert pending.default() == 1


def test_who_confirms_what_is_not_on_trial(pending):
    result = pending.module("trial", state="confirmed")
    assert "nothing can be confirmed: there was no trial" in result["msg"]
    assert pending.module("trial", state="confirmed", id="u-1")["failed"]
    reverted = pending.module("trial", state="reverted")
    assert (reverted["changed"], reverted["trial"]["state"]) == (False, "none")


def test_a_way_without_a_boot_is_refused(pending):
    before = pending.state()
    result = pending.module("reboot", method="apply", trial=90)
    assert "a trial ends with a reboot" in result["msg"] or "apply" in result["msg"]
    assert pending.state() == before
    assert left() == []


def test_an_etc_that_cannot_be_written(pending):
    """Then nothing is left, and nothing is rebooted."""
    pending.check("chattr", "+i", "/.snapshots/2/snapshot/etc/systemd/system")
    try:
        result = pending.module("reboot", trial=90)
    finally:
        pending.check("chattr", "-i", "/.snapshots/2/snapshot/etc/systemd/system")
    assert result["failed"]
    assert "the trial of snapshot 2 could not be prepared, and nothing was rebooted" in result["msg"]
    assert left() == []
    assert pending.module("trial")["trial"]["state"] == "none"
    assert pending.default() == 2


def test_nobody_else_gets_at_it(pending):
    """Neither at what a trial uses, nor at what is there of times when others could."""
    for directory in (FLAG.parent, RECORD.parent, pathlib.Path(SCRIPT).parent):
        directory.mkdir(exist_ok=True)
        directory.chmod(0o777)
    for path in (RECORD, pathlib.Path(SCRIPT)):
        path.write_text("state=none\n")
        os.chown(path, 65534, 65534)
    lock = FLAG.with_name("trial.lock")
    lock.touch()
    lock.chmod(0o666)
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    # somebody has the lock that all could open once
    with subprocess.Popen([*nobody, "flock", "--no-fork", str(lock), "sleep", "120"]) as holder:
        pending.wait_for(lambda: pending.run("flock", "--nonblock", str(lock), "true").returncode)
        begin = time.monotonic()
        result = pending.module("reboot", trial=90)
        assert "failed" not in result, result
        assert time.monotonic() - begin < 60, "it waited"
        paths = [FLAG, lock, RECORD, pathlib.Path(SCRIPT), pathlib.Path("/.snapshots/2/snapshot" + SCRIPT)]
        for path in paths:
            assert path.stat().st_uid == path.parent.stat().st_uid == 0
            assert (path.stat().st_mode & 0o077, path.parent.stat().st_mode & 0o777) == (0, 0o700), path
            for command in (["cat", path], ["flock", "--nonblock", path, "true"], ["touch", path], ["rm", "-f", path],
                            ["ls", path.parent], ["flock", "--nonblock", path.parent, "true"],
                            ["touch", path.parent / "x"], ["sh", SCRIPT, "confirm"]):
                assert pending.run(*nobody, *map(str, command)).returncode != 0, command
        pending.check("sh", SCRIPT, "revert", "armed")
        assert pending.module("trial")["trial"]["state"] == "reverted"
        holder.kill()


def test_the_callers_umask_does_not_matter(pending):
    before = os.umask(0)
    try:
        pending.module("reboot", trial=90)
    finally:
        os.umask(before)
    for path in left():
        for each in (pathlib.Path(path), pathlib.Path(path).parent):
            assert each.stat().st_mode & 0o022 == 0, each


def running(pending):
    """As if the host had started the new snapshot, which a chroot cannot do: the trial is told that it is another."""
    RECORD.write_text(RECORD.read_text().replace("state=armed", "state=running"))
    for root in ("", "/.snapshots/2/snapshot"):
        path = pathlib.Path(root + SCRIPT)
        path.write_text(path.read_text().replace("\nnew=2\n", "\nnew=1\n").replace("\nback=1\n", "\nback=2\n"))
    FLAG.unlink()
    pending.snapper("modify", "--default", "1")


def test_another_default_that_was_made_from_it_is_kept(pending, armed):
    running(pending)
    third = int(pending.snapper("create", "--from", "1", "--print-number"))
    fourth = int(pending.snapper("create", "--from", str(third), "--print-number"))
    pending.snapper("modify", "--default", str(fourth))
    result = pending.module("trial", state="confirmed")
    assert "failed" not in result, result
    reason = f"snapshot {fourth}, made from it and made the default meanwhile, stays the default"
    assert (result["trial"]["state"], result["trial"]["reason"], result["pending"]) == ("confirmed", reason, True)
    assert any(reason in str(warning) for warning in result["warnings"])
    assert pending.default() == fourth
    assert left() == []


def test_another_default_that_was_not_made_from_it_is_no_less_kept(pending, armed):
    """Neither the one nor the other is lost without a word."""
    running(pending)
    other = pathlib.Path("/.snapshots/50/snapshot")
    other.parent.mkdir()
    pending.check("btrfs", "subvolume", "create", str(other))
    try:
        pending.check("btrfs", "subvolume", "set-default", str(other))
        assert pending.module("trial", state="confirmed", _check=True)["failed"]
        result = pending.module("trial", state="confirmed")
        assert result["failed"]
        assert "another snapshot, which was not made from it, became the default during the trial" in result["msg"]
        assert "the default is snapshot 50" in result["msg"]
        assert "the trial of snapshot 2 is running" in result["msg"]
        assert pending.default() == 50
        pending.snapper("modify", "--default", "1")
        record = RECORD.read_text()
        assert pending.module("trial", state="confirmed", _check=True)["changed"]
        assert RECORD.read_text() == record
        assert pending.module("trial", state="confirmed")["trial"]["state"] == "confirmed"
        assert pending.default() == 1
    finally:
        pending.snapper("modify", "--default", "1")
        pending.check("btrfs", "subvolume", "delete", str(other))
        other.parent.rmdir()


def test_a_refused_confirmation_tells_why(pending, armed):
    running(pending)
    for root in ("", "/.snapshots/2/snapshot"):
        path = pathlib.Path(root + SCRIPT)
        path.write_text(path.read_text().replace("\nnew=1\n", "\nnew=2\n"))
    result = pending.module("trial", state="confirmed")
    assert "snapshot 2 was not confirmed: the host runs another snapshot than the one on trial; " in result["msg"]


def test_nobody_reboots_a_host_with_a_live_apply(pending):
    """The snapshot in use is the one at /usr: the root is what was booted, and older."""
    pending.check("mount", "--bind", "/.snapshots/2/snapshot/usr", "/usr")
    try:
        pending.module("package", name="testbed-app")
        assert pending.default() == 3
        armed = pending.module("reboot", trial=90)["trial"]
        assert (armed["snapshot"], armed["previous"]) == (3, 2)
        pending.check("sh", SCRIPT, "revert", "armed")
        assert pending.default() == 2
        trial = pending.module("trial")
        assert (trial["trial"]["state"], trial["pending"], trial["booted"]) == ("reverted", False, 1)
        pending.run("sh", SCRIPT, "tidy")
        assert left() == []
        assert pending.default() == 2
    finally:
        pending.check("umount", "--lazy", "/usr")


def test_var_is_full(pending):
    """Then no trial begins, and nothing of it is left; one that runs ends all the same."""
    RECORD.parent.mkdir(exist_ok=True)
    pending.check("mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(RECORD.parent))
    try:
        (RECORD.parent / "filler").write_bytes(b"x" * 4096)
        result = pending.module("reboot", trial=90)
        assert "could not be prepared, and nothing was rebooted" in result["msg"]
        assert "No space left on device" in result["msg"]
        assert left() == []
        assert pending.default() == 2
        (RECORD.parent / "filler").unlink()
        assert pending.module("reboot", trial=90)["trial"]["state"] == "armed"
        FLAG.unlink()
        with contextlib.suppress(OSError), open(RECORD.parent / "filler", "wb", buffering=0) as stream:
            while stream.write(b"x"):
                pass
        pending.check("sh", SCRIPT, "settle")
        assert pending.module("trial")["trial"]["state"] == "fell-back"
        assert pending.default() == 1
        pending.run("sh", SCRIPT, "tidy")
        assert left() == []
        assert "failed" not in pending.module("package", name="testbed-app"), "the next work may begin"
    finally:
        pending.check("umount", str(RECORD.parent))


def test_nothing_pending_needs_no_trial(host):
    assert not host.module("reboot", trial=90)["changed"]
    assert "trial" not in host.module("reboot", trial=90, force=True)


def test_another_default_than_expected(pending):
    assert pending.module("reboot", expected_snapshot=2, _check=True)["changed"]
    result = pending.module("reboot", expected_snapshot=7)
    assert "snapshot 7 is expected to come up, but the default is 2" in result["msg"]
