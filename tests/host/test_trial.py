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
        wants = f"{root}/etc/systemd/system/sysinit.target.wants"
        assert sorted(os.listdir(wants))[:2] == ["microos-trial-deadline.timer", "microos-trial.service"]
        assert os.path.exists(f"{wants}/microos-trial.service")
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
    assert pending.run("sh", SCRIPT, "confirm").returncode == 4
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


def test_nothing_pending_needs_no_trial(host):
    assert not host.module("reboot", trial=90)["changed"]
    assert "trial" not in host.module("reboot", trial=90, force=True)


def test_another_default_than_expected(pending):
    assert pending.module("reboot", expected_snapshot=2, _check=True)["changed"]
    result = pending.module("reboot", expected_snapshot=7)
    assert "snapshot 7 is expected to come up, but the default is 2" in result["msg"]
