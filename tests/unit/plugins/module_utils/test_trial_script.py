# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The script of a trial in all its states, run by real shells with stand-ins for the tools that would change the host.

Snapshot 3 is on trial, 2 ran before, and 1 before that; 7 was made by somebody else.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import shutil
import stat
import subprocess
import time

import pytest

from ansible_collections.microos.transactional.plugins.module_utils import _trial_files
from ansible_collections.microos.transactional.plugins.module_utils._tools import boot_entries

OLDER, OLD, NEW, OTHER = 1, 2, 3, 7
# all that it may need of a host besides the stand-ins
REAL = ("cat", "chmod", "chown", "cut", "flock", "grep", "head", "id", "mkdir", "mv", "rm", "rmdir", "sed", "sort",
        "stat", "tail", "timeout", "tr")
STUB = r"""#!/bin/sh
PATH=/usr/bin:/bin
name=${0##*/}
echo "$name $*" >>calls
[ ! -e "hang-$name" ] || exec sleep 30
[ ! -e "fail-$name" ] || exit 1
for last in "$@"; do :; done
case "$name $*" in
"findmnt "*--nofsroot*) echo /dev/disk ;;
"findmnt "*--mountpoint*) [ ! -e usr ] || cat usr ;;
"findmnt "*) echo "/@/.snapshots/$(cat root)/snapshot" ;;
"mountpoint "*) [ -L "$last" ] || [ -e "$last/is-mounted" ] ;;
"mount "*) rmdir "$last" && ln -s "$PWD/disk" "$last" ;;
"umount "*)
    rm -f "$last/is-mounted"
    [ ! -L "$last" ] || { rm "$last" && mkdir "$last"; }
    ;;
"btrfs subvolume get-default "*) echo "ID 300 gen 9 top level 257 path @/.snapshots/$(cat default)/snapshot" ;;
"btrfs subvolume list "*) cat subvolumes ;;
"btrfs subvolume set-default "*)
    path=${3%/snapshot}
    [ -d "$3" ] && echo "${path##*/}" >default
    ;;
"bootctl --quiet set-oneshot "*) printf %s "$3" >once ;;
"bootctl --quiet set-default "*) printf %s "$3" >loader ;;
"sdbootutil set-default-snapshot "*) printf %s "$2" >loader ;;
"systemctl show "*) cat soft ;;
"systemctl --failed "*) echo "web.service loaded failed failed The web" ;;
esac
"""
STAND_INS = ("findmnt", "mountpoint", "mount", "umount", "btrfs", "bootctl", "systemctl", "systemd-run", "sync",
             "sleep")
SUBVOLUME = "ID {} gen 9 top level 257 parent_uuid {:<36} uuid {} path @/.snapshots/{}/snapshot"
LOADERS = ("one-shot", "none", "sdbootutil")
SHELLS = [path for path in map(shutil.which, ("dash", "bash", "busybox")) if path]


class Machine:
    def __init__(self, top, loader, shell, monkeypatch):
        self.top, self.loader = top, loader
        self.shell = [shell, "sh"] if shell.endswith("busybox") else [shell]
        self.bin, self.run_directory, self.esp = top / "bin", top / "run" / "own", top / "esp"
        entries = self.esp / "loader" / "entries"
        for directory in (self.bin, top / "run", top / "var", entries, top / "systemd", top / "nextroot"):
            directory.mkdir(parents=True)
        (self.esp / "is-mounted").touch()
        for number in (OLDER, OLD, NEW, OTHER):
            self.root(number).mkdir(parents=True)
        self.stub(*STAND_INS, *(["sdbootutil"] if loader == "sdbootutil" else []))
        for name in REAL:
            (self.bin / name).symlink_to(shutil.which(name))
        for name, value in {
                "PATH": self.bin, "RECORD": top / "var" / "own" / "trial", "FLAG": self.run_directory / "trial.running",
                "SPARE": self.run_directory / "trial.record", "NEXTROOT": top / "nextroot", "SYSTEMD": top / "systemd",
                "UNITS": top / "etc" / "units", "SCRIPT": top / "etc" / "own" / "trial.sh"}.items():
            monkeypatch.setattr(_trial_files, name, str(value))
        monkeypatch.setattr(boot_entries, "DIRECTORIES", (str(entries),))
        for name, seconds in {"TOOL": 10, "WORK": 10, "LOADER": 2, "LOCK": 10}.items():
            monkeypatch.setattr(_trial_files, f"{name}_SECONDS", seconds)
        self.record_path = top / "var" / "own" / "trial"
        self.flag = self.run_directory / "trial.running"
        self.trial_entry = entries / boot_entries.TRIAL
        once = loader == "one-shot"
        for number in (OLDER, OLD, NEW, OTHER) if once else ():
            (entries / f"m-{number}+2-1.conf").write_text(
                f"title t\noptions quiet rootflags=subvol=@/.snapshots/{number}/snapshot x\n")
        self.trial_entry.write_text("options rootflags=subvol=@/.snapshots/7/snapshot\n")
        self.plan = _trial_files.Plan("u-1", 90, NEW, [OLD, OLDER],
                                      {n: f"m-{n}.conf" for n in (NEW, OLD, OLDER)} if once else {},
                                      str(self.trial_entry) if once else "")
        self.set("soft", "SoftRebootsCount=0")
        self.set("loader", "m-2.conf" if once else "3" if loader == "sdbootutil" else "")
        self.set("once", boot_entries.TRIAL if once else "")
        self.parents({OLD: OLDER, NEW: OLD, OTHER: NEW})
        self.install()

    def stub(self, *names):
        for name in names:
            (self.bin / name).write_text(STUB)
            (self.bin / name).chmod(0o755)

    def install(self):
        """In the running system, the new snapshot, and the others; the kept one has a copy."""
        self.texts = _trial_files.texts(self.plan)
        for root in ["", *map(str, map(self.root, (OLDER, OLD, NEW, OTHER)))]:
            for path, text in self.texts.items():
                os.makedirs(os.path.dirname(root + path), exist_ok=True)
                with open(root + path, "w", encoding="utf-8") as stream:
                    stream.write(text)

    def root(self, number):
        return self.top / "disk" / "@" / ".snapshots" / str(number) / "snapshot"

    def parents(self, parents):
        lines = [SUBVOLUME.format(250 + n, f"uuid-{parents[n]}" if n in parents else "-", f"uuid-{n}", n)
                 for n in (OLDER, OLD, NEW, 4, OTHER)]
        self.set("subvolumes", "\n".join(lines) + "\n")

    def set(self, name, text):
        (self.top / name).write_text(str(text))

    def get(self, name):
        return (self.top / name).read_text().strip()

    def state(self, state, current, default, boots=0, reason="", identity="u-1"):
        """As if the trial were there; no flag, as after a boot."""
        self.set("root", current)
        self.set("default", default)
        self.record_path.parent.mkdir(exist_ok=True)
        self.record_path.write_text(f"id={identity}\nstate={state}\nboots={boots}\nreason={reason}\nsnapshot={NEW}\n"
                                    f"previous={OLD}\nseconds=90\n")
        self.record_path.chmod(0o600)

    def arm(self, current=OLD, default=NEW):
        self.state("armed", current, default)
        assert self.call("arm", "90").returncode == 0
        self.set("calls", "")

    def call(self, *arguments, umask=0o022):
        return subprocess.run([*self.shell, _trial_files.SCRIPT, *arguments], cwd=self.top, capture_output=True,
                              text=True, check=False, stdin=subprocess.DEVNULL, env={"PATH": "/nonexistent"},
                              umask=umask)

    def record(self):
        spare = self.run_directory / "trial.record"
        return _trial_files.parse_record((spare if spare.exists() else self.record_path).read_text())

    def calls(self):
        return self.get("calls").splitlines() if (self.top / "calls").exists() else []

    def left(self):
        """The numbers of the snapshots that still have something of the trial, 0 for the one in use."""
        in_use = int(self.get("usr").split("/")[3] if (self.top / "usr").exists() else self.get("root"))
        return {number for number, root in
                [(0, ""), *((n, str(self.root(n))) for n in (OLDER, OLD, NEW, OTHER))]
                for path in self.texts if os.path.exists(root + path) and number != in_use}

    def started(self):
        """What the boot loader takes by itself."""
        return {"m-1.conf": 1, "m-2.conf": 2, "m-3.conf": 3, "m-7.conf": 7}.get(self.get("loader"), self.get("loader"))


@pytest.fixture
def machine(tmp_path, monkeypatch):
    def make(loader="one-shot", shell="/bin/sh"):
        return Machine(tmp_path / loader, loader, shell, monkeypatch)
    return make


REBOOT = "systemctl --no-block reboot"
TIDY = "systemctl --no-block start microos-trial-tidy.service"
ASKED = "somebody asked for it"
RESTARTED = "the host was restarted, or went down, before the confirmation"
DEFAULTS = {"armed": NEW, "running": NEW, "reverting": OLD, "confirmed": NEW, "reverted": OLD, "fell-back": OLD}
STATES = tuple(DEFAULTS)
OVER = STATES[3:]
# state, running snapshot -> state, beginning of the reason, default, what has to be called
SETTLED = {
    ("armed", NEW): ("running", "", NEW, "systemctl --no-block start boot-complete.target"),
    ("armed", OLD): ("fell-back", "it did not come up", OLD, TIDY),
    ("armed", OTHER): ("fell-back", "it did not come up, and snapshot 7 was started", OTHER, TIDY),
    ("running", NEW): ("running", "", NEW, "systemctl --no-block start boot-complete.target"),
    ("running", OLD): ("fell-back", RESTARTED, OLD, TIDY),
    ("running", OTHER): ("fell-back", RESTARTED + ", and snapshot 7 was started", OTHER, TIDY),
    ("reverting", NEW): ("reverting", "why", OLD, None),
    ("reverting", OLD): ("reverted", "why", OLD, TIDY),
    ("reverting", OTHER): ("reverted", "why", OTHER, TIDY),
    **{(state, current): (state, "why", current, TIDY) for state in OVER for current in (NEW, OLD, OTHER)},
}


@pytest.mark.parametrize("loader", LOADERS[:2])
def test_a_start_of_the_host(machine, loader):
    for (state, current), (after, reason, default, called) in SETTLED.items():
        if loader != "one-shot" and current != NEW:  # the boot loader has no part in it
            continue
        host = machine(loader)
        host.state(state, current, OTHER if current == OTHER else DEFAULTS[state], 1,
                   "why" if state in ("reverting", *OVER) else "")
        done = host.call("settle")
        where = f"{state}, {current} runs: {done.stdout}{done.stderr}{host.calls()}"
        assert done.returncode == 0, where
        record = host.record()
        assert (record["state"], record["reason"], host.get("default")) == (after, reason, str(default)), where
        assert (record["id"], record["snapshot"], record["previous"], record["seconds"]) == ("u-1", "3", "2", "90")
        assert record["boots"] == "2", where
        if (state, current) == ("reverting", NEW):
            if loader == "one-shot":
                assert REBOOT in host.calls(), where
                assert (host.started(), host.get("once")) == (OLD, ""), where
            else:
                assert "systemctl --no-block start microos-trial-revert@again.service" in host.calls(), where
                assert REBOOT not in host.calls(), where
        else:
            assert called in host.calls(), where
            assert REBOOT not in host.calls(), where
        if called == TIDY and loader == "one-shot":
            assert (host.started(), host.get("once")) == (default, ""), where
        assert not (host.run_directory / "trial.top").exists(), where
        shutil.rmtree(host.top)


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("state, boots, after, reason, called", [
    ("running", 2, "running", "", "systemctl --no-block start boot-complete.target"),
    ("running", 3, {"one-shot": "reverting"}, {"one-shot": "restarted 4 times without a confirmation"},
     {"one-shot": REBOOT, "": "systemctl --no-block start microos-trial-revert@boots.service"}),
    ("reverting", 3, "running", "cannot go back: the boot loader starts snapshot 3 again and again",
     "systemctl --no-block stop microos-trial-deadline.timer"),
])
def test_the_new_snapshot_starts_again_and_again(machine, loader, state, boots, after, reason, called):
    host = machine(loader)
    host.state(state, NEW, DEFAULTS[state], boots, "why" if state == "reverting" else "")
    host.call("settle")
    pick = [what.get(loader, what.get("", default)) if isinstance(what, dict) else what
            for what, default in ((after, "running"), (reason, ""), (called, None))]
    record = host.record()
    assert [record["state"], record["reason"]] == pick[:2]
    assert pick[2] in host.calls()
    if "cannot" in pick[1]:  # it can be kept all the same
        assert host.get("default") == "3"
        assert host.call("confirm").returncode == 0
        assert host.record()["state"] == "confirmed"


@pytest.mark.parametrize("loader", LOADERS[:2])
def test_a_confirmation(machine, loader):
    for state, current in itertools.product(STATES, (NEW, OLD, OTHER) if loader == "one-shot" else (NEW,)):
        host = machine(loader)
        host.state(state, current, DEFAULTS[state], 1)
        before = host.record_path.read_text()
        done = host.call("confirm", "u-1")
        where = f"{state}, {current} runs: {done.stdout}{done.stderr}{host.calls()}"
        if state == "confirmed":
            assert (done.returncode, host.record_path.read_text()) == (0, before), where
        elif (state, current) == ("running", NEW):
            assert done.returncode == 0, where
            record = host.record()
            assert (record["state"], record["reason"], host.get("default")) == ("confirmed", "", "3"), where
            assert host.left() == set(), where
            assert not host.flag.exists(), where
            if loader == "one-shot":
                assert (host.started(), host.get("once"), host.trial_entry.exists()) == (NEW, "", False), where
            assert host.calls()[-1] == "systemctl daemon-reload"
        else:
            status = _trial_files.WRONG_SNAPSHOT if state == "running" else _trial_files.NOT_RUNNING
            assert (done.returncode, done.stderr.strip()) == (status, _trial_files.REFUSALS[status]), where
            assert (host.record_path.read_text(), host.get("default")) == (before, str(DEFAULTS[state])), where
            assert len(host.left()) == 4, where
        shutil.rmtree(host.top)


@pytest.mark.parametrize("loader", LOADERS[:2])
def test_a_way_back_on_request(machine, loader):
    for state, current in itertools.product(STATES, (NEW, OLD, OTHER) if loader == "one-shot" else (NEW,)):
        host = machine(loader)
        host.state(state, current, OTHER if current == OTHER else DEFAULTS[state], 1, "why")
        before = host.record_path.read_text()
        done = host.call("revert", "request")
        where = f"{state}, {current} runs: {done.stdout}{done.stderr}{host.calls()}"
        assert done.returncode == 0, where
        if state in OVER:
            assert host.record_path.read_text() == before, where
            assert REBOOT not in host.calls(), where
        elif current == NEW:
            assert (host.record()["state"], host.record()["reason"], host.get("default")) == (
                "reverting", ASKED, "2"), where
            assert REBOOT in host.calls(), where
            assert f"sleep {_trial_files.SHUTDOWN_SECONDS}" in host.calls(), where
            assert host.calls()[-1] == "systemctl --force --force reboot"
            if loader != "none":
                assert host.started() in (OLD, str(OLD)), where
        else:
            assert (host.record()["state"], host.get("default")) == ("reverted", str(current)), where
            assert REBOOT not in host.calls(), where
        shutil.rmtree(host.top)


@pytest.mark.parametrize("loader", LOADERS[:2])
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("current", [NEW, OLD])
def test_what_is_left_is_removed(machine, loader, state, current):
    host = machine(loader)
    host.state(state, current, current, 1, "why")
    before = host.record_path.read_text()
    host.call("settle") if state in OVER else None
    done = host.call("tidy")
    assert done.returncode == 0, done
    if state in OVER:
        assert host.left() == set()
        assert (host.record()["state"], host.record()["reason"]) == (state, "why")
        assert (host.get("default"), host.flag.exists(), host.run_directory.exists()) == (str(current), False, True)
        assert host.trial_entry.exists() == (loader != "one-shot")
        if loader == "one-shot":
            assert (host.started(), host.get("once")) == (current, "")
    else:
        assert host.record_path.read_text() == before
        assert len(host.left()) == 4


def test_the_boot_loaders_disk_is_not_mounted(machine):
    """Then the script stays, to do it at the next start."""
    host = machine()
    (host.esp / "is-mounted").unlink()
    host.state("confirmed", NEW, NEW, 1)
    assert host.call("tidy").returncode == 1
    assert len(host.left()) == 4


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_that_may_be_sh(machine, shell):
    """From the order over the boot, the way back, and another order to the confirmation."""
    host = machine(shell=shell)
    host.arm()
    host.flag.unlink()
    host.set("root", NEW)
    for command, state in ((["settle"], "running"), (["revert", "checks"], "reverting")):
        assert host.call(*command).returncode == 0
        assert host.record()["state"] == state
    assert host.record()["reason"] == "boot-complete.target failed, with the units that failed: web.service"
    host.flag.unlink()
    host.set("root", OLD)
    host.call("settle")
    host.call("tidy")
    assert (host.record()["state"], host.left(), host.get("default"), host.started()) == ("reverted", set(), "2", OLD)
    host.install()
    host.state("running", NEW, OTHER, 1)
    assert host.call("confirm").returncode == 0
    assert (host.record()["state"], host.left(), host.started()) == ("confirmed", set(), OTHER)


# --- the order, and the boot that it was given in ----------------------------------------------------------------


def test_the_boot_that_armed_it_does_not_judge_it(machine):
    host = machine()
    host.arm()
    assert "systemd-run" not in host.calls()
    before = host.record_path.read_text()
    assert host.call("settle").returncode == 0
    assert host.record_path.read_text() == before
    host.set("soft", "SoftRebootsCount=1")  # another system, though the same boot
    host.set("root", NEW)
    for _twice in range(2):  # it counts once
        host.call("settle")
        assert (host.record()["state"], host.record()["boots"]) == ("running", "1")


def test_systemd_is_told_of_the_deadline_for_the_reboot(machine):
    host = machine()
    host.state("armed", OLD, NEW)
    assert host.call("arm", "75").returncode == 0
    order = next(line for line in host.calls() if line.startswith("systemd-run"))
    assert "--on-active=75" in order and order.endswith(f"/bin/sh {_trial_files.SCRIPT} revert armed")
    (host.top / "fail-systemd-run").touch()
    assert host.call("arm", "75").returncode != 0


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("root", [OLD, OLDER, NEW])
def test_nobody_reboots_the_host(machine, loader, root):
    """After a live apply the root is older than the snapshot in use, which is the one to go back to."""
    host = machine(loader)
    host.arm(current=root)
    host.set("usr", f"/@/.snapshots/{OLD}/snapshot/usr")
    assert host.call("revert", "armed").returncode == 0
    record = host.record()
    assert (record["state"], record["reason"]) == ("reverted", "nobody rebooted the host for it")
    assert host.get("default") == str(OLD)
    if loader == "one-shot":
        assert (host.started(), host.get("once")) == (OLD, "")
    assert TIDY in host.calls() and REBOOT not in host.calls()
    host.call("tidy")
    assert host.left() == set()
    assert host.get("default") == str(OLD)
    if loader == "one-shot":
        assert host.started() == OLD


def test_nobody_reboots_the_host_whose_snapshot_is_gone(machine):
    host = machine("none")
    host.arm(current=OLDER)
    shutil.rmtree(host.root(OLD))
    host.call("revert", "armed")
    assert (host.record()["state"], host.get("default")) == ("reverted", str(OLDER))


def test_a_quick_reboot_that_was_prepared_is_taken_back(machine):
    """A later reboot would become a soft one into the snapshot that was given up."""
    host = machine()
    host.arm()
    (host.top / "nextroot" / "is-mounted").touch()
    host.call("revert", "armed")
    assert not (host.top / "nextroot" / "is-mounted").exists()
    # nor does the way back become one
    (host.top / "nextroot" / "is-mounted").touch()
    host.state("running", NEW, NEW, 1)
    host.call("revert", "deadline")
    assert not (host.top / "nextroot" / "is-mounted").exists()


def test_the_order_is_over_when_the_host_was_rebooted(machine):
    host = machine()
    host.state("running", NEW, NEW, 1)
    assert host.call("revert", "armed").returncode == 0
    assert (host.record()["state"], REBOOT in host.calls()) == ("running", False)


# --- somebody else's default -------------------------------------------------------------------------------------


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("parents", [{NEW: OLD, OTHER: NEW}, {NEW: OLD, 4: NEW, OTHER: 4}])
@pytest.mark.parametrize("applied", [False, True])
def test_what_was_made_from_it_stays_the_default(machine, loader, parents, applied):
    host = machine(loader)
    host.parents(parents)
    host.state("running", NEW, OTHER, 1)
    if applied:  # and came into use without a boot
        host.set("usr", f"/@/.snapshots/{OTHER}/snapshot/usr")
    done = host.call("confirm")
    assert done.returncode == 0, done
    record = host.record()
    assert record["state"] == "confirmed"
    assert record["reason"] == "snapshot 7, made from it and made the default meanwhile, stays the default"
    assert host.get("default") == str(OTHER)
    assert host.started() == {"one-shot": OTHER, "none": "", "sdbootutil": str(OTHER)}[loader]
    assert host.left() == set()
    # a power cut before the end of the cleaning-up loses it no more
    host.install()
    host.flag.unlink(missing_ok=True)
    host.call("settle")
    host.call("tidy")
    assert (host.get("default"), host.record()) == (str(OTHER), dict(record, boots="2"))


@pytest.mark.parametrize("default, parents", [(OTHER, {NEW: OLD, OTHER: OLD}), (OTHER, {NEW: OLD}), (OLD, {NEW: OLD})])
def test_what_was_not_made_from_it_is_not_taken_back_either(machine, default, parents):
    host = machine()
    host.parents(parents)
    host.state("running", NEW, default, 1)
    done = host.call("confirm", "u-1", "check")
    assert done.returncode == _trial_files.OTHER_DEFAULT
    done = host.call("confirm")
    assert done.returncode == _trial_files.OTHER_DEFAULT
    assert f"the default is snapshot {default}\n" in done.stderr
    assert _trial_files.REFUSALS[_trial_files.OTHER_DEFAULT] in done.stderr
    assert (host.get("default"), host.record()["state"]) == (str(default), "running")
    assert host.started() == OLD
    host.set("default", NEW)
    before = host.record_path.read_text()
    assert host.call("confirm", "u-1", "check").returncode == 0
    assert (host.record_path.read_text(), host.started()) == (before, OLD)
    assert host.call("confirm").returncode == 0


def test_the_boot_loader_has_no_entry_for_what_stays(machine):
    host = machine()
    (host.trial_entry.parent / "m-7+2-1.conf").unlink()
    host.state("running", NEW, OTHER, 1)
    assert host.call("confirm").returncode == _trial_files.NO_DEFAULT
    assert (host.record()["state"], host.started()) == ("running", OLD)


@pytest.mark.parametrize("name", ["x y-7.conf", "m-$(touch hacked)-7.conf", "-7.conf", "@m-7.conf", "m*.conf",
                                  "m\n-7.conf", "m-'7.conf"])
def test_a_boot_entry_with_a_name_that_means_something_to_a_shell(machine, name):
    host = machine()
    entries = host.trial_entry.parent
    (entries / "m-7+2-1.conf").rename(entries / name)
    host.state("running", NEW, OTHER, 1)
    assert host.call("confirm").returncode == _trial_files.NO_DEFAULT
    assert not (host.top / "hacked").exists()
    assert not [line for line in host.calls() if "bootctl --quiet set-default" in line and "m-2.conf" not in line]


def test_the_way_back_tells_of_a_default_that_is_none_any_more(machine):
    host = machine()
    host.state("running", NEW, OTHER, 1)
    host.call("revert", "deadline")
    assert host.record()["reason"] == ("nobody confirmed it within 90 s; snapshot 7, the default meanwhile, is that no "
                                       "more")
    assert host.get("default") == str(OLD)
    host = machine("none")
    host.state("running", OLD, OTHER, 1)
    host.call("settle")
    assert host.record()["reason"] == RESTARTED + "; snapshot 7, the default meanwhile, is that no more"


def test_a_default_that_was_made_while_nobody_rebooted_stays(machine):
    host = machine()
    host.arm(default=OTHER)
    host.call("revert", "armed")
    assert host.record()["reason"] == ("nobody rebooted the host for it; snapshot 7, made the default meanwhile, stays "
                                       "that")
    assert (host.get("default"), host.started(), host.get("once")) == (str(OTHER), OTHER, "")
    host.call("tidy")
    assert (host.get("default"), host.started()) == (str(OTHER), OTHER)


def test_the_script_of_an_earlier_trial(machine):
    """A snapshot that was made during a trial has its files; started later it must not undo what was decided since."""
    host = machine()
    host.state("running", OTHER, NEW, 1, identity="u-2")
    host.set("loader", "m-9.conf")
    before = host.record_path.read_text()
    for command in (["settle"], ["revert", "deadline"], ["tidy"]):
        assert host.call(*command).returncode == 0
    assert (host.record_path.read_text(), host.get("default"), host.get("loader")) == (before, str(NEW), "m-9.conf")
    assert 0 not in host.left()
    assert host.trial_entry.exists()
    assert REBOOT not in host.calls()


# --- other users, umasks, locks ----------------------------------------------------------------------------------


def modes(host):
    return {path.relative_to(host.top).as_posix(): oct(stat.S_IMODE(path.lstat().st_mode))
            for top in (host.run_directory, host.record_path.parent) for path in [top, *top.rglob("*")]}


@pytest.mark.parametrize("umask", [0, 0o777])
def test_modes(machine, umask):
    host = machine("none")
    shutil.rmtree(host.top / "var")  # as where all of /var is lost
    host.set("root", NEW)
    host.set("default", NEW)
    host.call("settle", umask=umask)
    assert modes(host) == {"run/own": "0o700", "run/own/trial.lock": "0o600", "run/own/trial.running": "0o600",
                           "var/own": "0o700", "var/own/trial": "0o600"}
    assert stat.S_IMODE((host.top / "var").stat().st_mode) == 0o755, "others use it too"
    assert host.record()["state"] == "running"


def test_what_others_could_have_left_there(machine):
    host = machine()
    victim = host.top / "victim"
    victim.write_text("precious")
    host.state("running", NEW, NEW, 1)
    host.record_path.parent.chmod(0o777)
    (host.record_path.parent / "trial.new").symlink_to(victim)
    host.run_directory.mkdir(mode=0o777)
    host.run_directory.chmod(0o777)
    for name in ("trial.running", "trial.lock"):
        (host.run_directory / name).symlink_to(victim)
    host.call("settle")
    assert victim.read_text() == "precious"
    assert modes(host)["run/own/trial.lock"] == "0o600"
    assert (host.record()["state"], host.record()["boots"]) == ("running", "2")
    assert not (host.run_directory / "trial.lock").is_symlink()


def test_a_link_in_place_of_a_directory(machine):
    host = machine("none")
    host.state("running", NEW, NEW, 1)
    elsewhere = host.top / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    host.run_directory.symlink_to(elsewhere)
    host.call("settle")
    assert not host.run_directory.is_symlink()
    assert list(elsewhere.iterdir()) == []
    assert elsewhere.stat().st_mode & 0o777 == 0o755


@contextlib.contextmanager
def held(path, mode=0o600):
    path.parent.mkdir(exist_ok=True, parents=True)
    with open(os.open(path, os.O_RDWR | os.O_CREAT, mode), "r+b") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def test_a_lock_that_is_not_given_back(machine, monkeypatch):
    monkeypatch.setattr(_trial_files, "LOCK_SECONDS", 1)
    host = machine()
    monkeypatch.setattr(_trial_files, "LOCK_SECONDS", 1)
    host.install()
    with held(host.run_directory / "trial.lock"):
        host.state("running", NEW, NEW, 1)
        before = host.record_path.read_text()
        done = host.call("confirm")
        assert (done.returncode, done.stderr.strip()) == (_trial_files.BUSY, _trial_files.REFUSALS[_trial_files.BUSY])
        assert host.call("tidy").returncode == host.call("arm", "1").returncode == _trial_files.BUSY
        assert host.record_path.read_text() == before
        # the host goes on, and back
        assert host.call("settle").returncode == 0
        assert host.record()["boots"] == "2"
        assert host.call("revert", "deadline").returncode == 0
        assert (host.record()["state"], host.get("default")) == ("reverting", str(OLD))
        assert REBOOT in host.calls()


def test_a_lock_of_times_when_others_could_open_it(machine):
    """Whoever opened it then has it still."""
    host = machine()
    lock = host.run_directory / "trial.lock"
    with held(lock):
        lock.chmod(0o644)
        host.state("running", NEW, NEW, 1)
        begin = time.monotonic()
        assert host.call("confirm").returncode == 0
        assert time.monotonic() - begin < 8, "it waited"


def test_a_hung_confirmation_does_not_take_the_way_back_for_its_own(machine, monkeypatch):
    """One that had the lock at the deadline, and goes on afterwards."""
    host = machine("sdbootutil")
    monkeypatch.setattr(_trial_files, "LOCK_SECONDS", 1)
    host.install()
    slow = 'while [ ! -e go ]; do sleep 0.05; done\n[ ! -e "hang'
    (host.bin / "sdbootutil").write_text(STUB.replace('[ ! -e "hang', slow))
    host.state("running", NEW, NEW, 1)
    with subprocess.Popen([*host.shell, _trial_files.SCRIPT, "confirm"], cwd=host.top, stderr=subprocess.DEVNULL,
                          stdin=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 10
        while not any(line.startswith("sdbootutil") for line in host.calls()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        host.stub("sdbootutil")
        assert host.call("revert", "deadline").returncode == 0
        (host.top / "go").touch()
        assert process.wait(20) == _trial_files.NOT_RUNNING
    assert host.record()["state"] == "reverting"


# --- tools that hang or fail -------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch):
    """Short times, given after the machine is made."""
    def apply(host):
        for name, seconds in {"TOOL": 1, "WORK": 1, "LOADER": 1}.items():
            monkeypatch.setattr(_trial_files, f"{name}_SECONDS", seconds)
        host.install()
    return apply


@pytest.mark.parametrize("loader, tool", [
    ("one-shot", "bootctl"), ("sdbootutil", "sdbootutil"), ("none", "systemctl"), ("one-shot", "sync"),
    ("one-shot", "umount"), ("one-shot", "btrfs"), ("one-shot", "mount")])
@pytest.mark.parametrize("how", ["hang", "fail"])
def test_the_host_goes_back_whatever_a_tool_does(machine, quick, loader, tool, how):
    host = machine(loader)
    quick(host)
    host.state("running", NEW, NEW, 1)
    (host.top / f"{how}-{tool}").touch()
    done = host.call("revert", "deadline")
    assert done.returncode == (0 if tool != "systemctl" else done.returncode), done
    assert REBOOT in host.calls(), done
    assert "systemctl --force --force reboot" in host.calls()
    if loader == "one-shot":
        assert host.started() == OLD
    assert host.record()["state"] == "reverting"


@pytest.mark.parametrize("how", ["hang", "fail"])
def test_a_boot_loader_that_cannot_be_told_is_no_confirmation(machine, quick, how):
    host = machine()
    quick(host)
    host.state("running", NEW, NEW, 1)
    (host.top / f"{how}-bootctl").touch()
    done = host.call("confirm")
    assert done.returncode == _trial_files.NO_DEFAULT
    assert _trial_files.REFUSALS[_trial_files.NO_DEFAULT] in done.stderr
    assert host.record()["state"] == "running"


def test_none_of_the_former_snapshots_is_there(machine):
    host = machine("none")
    host.state("running", NEW, NEW, 1)
    for number in (OLD, OLDER):
        shutil.rmtree(host.root(number))
    host.call("revert", "deadline")
    record = host.record()
    assert (record["state"], record["reason"]) == (
        "running", "cannot go back (nobody confirmed it within 90 s): none of the snapshots 2 1 can be the default")
    assert REBOOT not in host.calls()


def test_the_next_best_snapshot_is_taken(machine):
    host = machine("none")
    host.state("running", NEW, NEW, 1)
    shutil.rmtree(host.root(OLD))
    host.call("revert", "deadline")
    assert (host.record()["state"], host.get("default")) == ("reverting", str(OLDER))


# --- the record --------------------------------------------------------------------------------------------------


def test_the_record_is_lost(machine):
    """All of /var may be: the snapshot is on trial all the same."""
    host = machine()
    host.set("root", NEW)
    host.set("default", NEW)
    host.call("settle")
    assert (host.record()["state"], host.record()["boots"]) == ("running", "1")
    shutil.rmtree(host.record_path.parent)
    host.call("revert", "deadline")
    assert (host.record()["state"], host.get("default")) == ("reverting", str(OLD))
    shutil.rmtree(host.record_path.parent)
    host.flag.unlink()
    host.set("root", OLD)
    host.call("settle")
    host.call("tidy")
    assert (host.record()["state"], host.left()) == ("fell-back", set())


@pytest.mark.parametrize("boots", ["", "x", "08", "1; touch hacked", "99999999999999999999", "$(touch hacked)"])
def test_a_record_that_is_damaged(machine, boots):
    host = machine()
    host.state("running", NEW, NEW, boots)
    done = host.call("settle")
    assert done.returncode == 0, done
    assert (host.record()["state"], host.record()["boots"]) == ("running", "1")
    assert not (host.top / "hacked").exists()


@pytest.fixture
def unwritable():
    """A record that cannot be written, also by root: a directory that is not empty is in the way."""
    def block(host):
        new = host.record_path.parent / "trial.new"
        (new / "x").mkdir(parents=True)
        return new
    return block


def test_the_disk_is_full_at_the_deadline(machine, unwritable):
    host = machine()
    host.state("running", NEW, NEW, 1)
    unwritable(host)
    host.call("revert", "deadline")
    assert (host.record()["state"], REBOOT in host.calls()) == ("reverting", True)
    # the next boot knows the record on the disk only; what comes of it is known for as long as the boot lasts
    shutil.rmtree(host.run_directory)
    host.set("root", OLD)
    host.call("settle")
    assert host.record()["state"] == "fell-back"
    assert host.call("tidy").returncode == 0
    assert host.left() == set()


def test_the_disk_is_full_at_the_confirmation(machine, unwritable):
    host = machine()
    host.state("running", NEW, NEW, 1)
    new = unwritable(host)
    done = host.call("confirm")
    assert done.returncode == _trial_files.NO_RECORD
    assert _trial_files.REFUSALS[_trial_files.NO_RECORD] in done.stderr
    assert host.record()["state"] == "running"
    assert host.started() == OLD, "a power cut leads back still"
    shutil.rmtree(new)
    assert host.call("confirm").returncode == 0
    assert host.started() == NEW


def test_a_reason_is_one_line(machine):
    host = machine()
    host.state("running", NEW, NEW, 1)
    failed = r"printf '%s\n' 'a\x2db\n.service x' 'state=confirmed y'"
    (host.bin / "systemctl").write_text(STUB.replace('echo "web.service loaded failed failed The web"', failed))
    host.call("revert", "checks")
    record = host.record()
    assert record["state"] == "reverting"
    assert record["reason"] == ("boot-complete.target failed, with the units that failed: "
                                r"a\x2db\n.service state=confirmed")


# --- by hand -----------------------------------------------------------------------------------------------------


def test_another_trial_is_meant(machine):
    host = machine()
    host.state("running", NEW, NEW, 1)
    done = host.call("confirm", "u-9")
    status = _trial_files.WRONG_ID
    assert (done.returncode, done.stderr.strip()) == (status, _trial_files.REFUSALS[status])


def test_without_a_command_it_only_tells(machine):
    host = machine()
    host.state("running", NEW, NEW, 1)
    done = host.call()
    assert done.stdout == host.record_path.read_text()
    assert "usage" in done.stderr
    assert not host.run_directory.exists()


def test_every_refusal_has_a_sentence():
    names = ("WRONG_ID", "NOT_RUNNING", "WRONG_SNAPSHOT", "NO_DEFAULT", "OTHER_DEFAULT", "BUSY", "NO_RECORD")
    assert sorted(getattr(_trial_files, name) for name in names) == sorted(_trial_files.REFUSALS)
