# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Disturbs a play in a transaction on a real VM in every way that is promised to be survived, and prints a table.

    python tests/faults/faults.py --engine tukit|snapper [--cuts N] [--faults NAME ...] [--seed N]

Each row is one fault: the VM goes back to the same state, ``play.yml`` starts, the fault happens. Then must hold:

* the host boots if it went down; the root that runs, and the default, is entirely old or entirely new: every file of
  ``/usr`` and ``/etc`` by name, kind, mode and size, by content what the play writes, the packages and their files
* work never reaches the running root, and the file system has no errors
* the same play, run again, succeeds; then the default is entirely new, and no snapshot, subvolume, boot entry or
  process is left over; run once more, it changes nothing (not for each fault: ``--again all``)

Power cuts: QEMU is killed at a moment that the seed chooses, out of five phases: before the open, open, work, close,
and after the close. Opening, closing and what follows get more than their share of time. What the guest has written
without flushing is lost at least in part: QEMU keeps the map of newly used parts of the disk in its memory until the
guest flushes, and after a saved state every write needs a new part. What is not covered: a disk that lies about
flushes, or that tears a sector.

The phases are measured by an undisturbed run first, which also tells what entirely new is. A failed row is followed by
what was found; ``--logs DIR`` keeps what the plays said. The VM is stopped at the end.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from subject import Play, Subject, vm
from table import Row, Table, Wrong, moments, named, options

# The order gives each number of cuts a fair share: of nine, three hit the close and two what follows
PHASES = ("close", "after", "open", "work", "close", "after", "close", "open", "before")
AFTER_SECONDS = 8  # what was written last may reach the disk only later
LOST_SECONDS = 60  # for a play to notice that its host is gone
COLUMNS = {"fault": 26, "the play said": 34, "boots": 6, "root": 5, "default": 8, "left: then, after next": 23,
           "next run": 14, "s": 5, "": 6}

# Kills whoever holds the lock of the collection's modules, some time after it was taken
KILL_MODULE = """
import os, signal, sys, time
wanted = os.path.realpath("/run/microos-transactional.lock")
deadline = time.monotonic() + 60
while time.monotonic() < deadline:
    for line in open("/proc/locks"):
        fields = line.split()
        if fields[1] == "FLOCK" and os.path.exists(wanted) and fields[5].endswith(f":{os.stat(wanted).st_ino}"):
            time.sleep(float(sys.argv[1]))
            os.kill(int(fields[4]), signal.SIGKILL)
            sys.exit(print("killed"))
    time.sleep(0.02)
sys.exit("nobody took the lock")
"""
# The old root has what the play removes. It comes in through another mount, as the running one stays read-only.
PREPARE = """
set -e
mount --mkdir -o subvol=@/.snapshots/1/snapshot /dev/vda /run/old
btrfs property set /run/old ro false
rpm --root /run/old --install $(find /opt/testbed/repos/main -name 'testbed-hello-*.rpm')
btrfs property set /run/old ro true
umount /run/old
sync
"""
# Waits until the pause inside has begun
PAUSED = "for i in $(seq 600); do pgrep -f '^sleep (20|600)$' && exit; sleep 0.2; done; exit 1"


class Trial(Row):
    """One fault: from the old state to the judgement."""

    def __init__(self, subject: Subject, reference: Reference, name: str, chance: random.Random):
        super().__init__(COLUMNS, name)
        self.subject = subject
        self.reference = reference
        self.chance = chance
        self.plays: list[Play] = []
        self.closed = False  # whether the play said so

    def play(self, name: str = "play.yml", **variables) -> Play:
        self.plays.append(self.subject.play(name, **variables))
        return self.plays[-1]

    # --- judgement -----------------------------------------------------------------------------------------------

    def run(self, fault, again: bool) -> None:
        try:
            self.subject.restore()
            play = fault(self)
            play.end()
            self.cells["the play said"] = play.verdict()
            self.closed = play.closed
            self._look()
            self._next_run(again)
        except (Wrong, vm.TestbedError, subprocess.TimeoutExpired) as error:
            self.wrong.append(str(error))
        finally:
            for play in self.plays:
                play.end(0)
        self.end()

    def _look(self) -> None:
        seen = self.subject.look("scrub")
        rebooted = seen["boot"] != self.reference.boot
        self.cells["boots"] = "yes" if rebooted else "-"
        root, default = (self._age(seen, number) for number in (seen["booted"], seen["default"]))
        self.cells["root"], self.cells["default"] = root, default
        self.expect(not seen["errors"], f"btrfs: {seen['errors']}")
        self.expect(rebooted or root == "old", "the running root was changed")
        self.expect(seen["default"] in seen["entries"], "the default has no boot entry")
        if rebooted and seen["booted"] != seen["default"]:
            self.cells["default"] += " not booted"
            self.wrong.append(f"snapshot {seen['booted']} was booted, but the default is {seen['default']}")
        if self.closed:
            self.expect(default == "new", f"the close was reported, but the default is {default}")
        self.cells["left: then, after next"] = str(self.reference.left(seen))

    def _age(self, seen: dict, number: int) -> str:
        """Whether a snapshot is entirely old or entirely new."""
        tree = seen["trees"][number]
        for name, known in (("old", self.reference.old), ("new", self.reference.new)):
            if tree == known:
                return name
        self.wrong.append(f"snapshot {number} is neither old nor new: {difference(self.reference.old, tree)}; "
                          f"against new: {difference(self.reference.new, tree)}")
        return "MIXED"

    def _next_run(self, again: bool) -> None:
        play = self.play()
        play.end()
        self.cells["next run"] = play.verdict()
        if not play.succeeded:
            raise Wrong(f"the next run failed: {play.error()}\n{play.tail()}")
        seen = self.subject.look()
        self.expect(self._age(seen, seen["default"]) == "new", "the next run's default is not new")
        self.expect(seen["default"] in seen["entries"], "the next run's default has no boot entry")
        self.expect(seen["loader"] == seen["default"], f"the boot loader's default is {seen['loader']}")
        left = self.reference.left(seen)
        self.cells["left: then, after next"] += f", {left}"
        self.expect(str(left) == "none", f"left over after the next run: {left}")
        if again:
            third = self.play()
            third.end()
            self.expect(third.succeeded and third.changed == 0, f"run once more it said: {third.verdict()}")
            self.cells["next run"] += " =" if third.changed == 0 else " !"


class Left:
    """What should not be there."""

    def __init__(self, seen: dict, wanted: set[int]):
        self.parts = [(name, sorted(set(seen[key]) - wanted)) for name, key in (
            ("", "snapshots"), ("dir ", "directories"), ("subvol ", "subvolumes"), ("entry ", "entries"))]
        self.parts += [("held ", [name for name in seen["held"] if "." not in name and name != "open"])]
        self.parts += [("open ", sorted(set(seen["open"]) & wanted))]

    def __str__(self) -> str:
        snapshots = set(self.parts[0][1])
        told = [f"{name}{number}" for name, numbers in self.parts for number in numbers
                if not (name in ("dir ", "subvol ") and number in snapshots)]
        return " ".join(told) or "none"


class Reference:
    """An undisturbed run: what is old, what is new, and how long the phases take."""

    def __init__(self, subject: Subject):
        seen = subject.look()
        self.boot = seen["boot"]
        self.base = seen["booted"]
        self.old = seen["trees"][self.base]
        play = subject.play()
        play.end()
        if not play.succeeded:
            raise vm.TestbedError(f"the undisturbed run failed: {play.error()}\n{play.tail()}")
        begun = play.seconds
        self.seconds = {"before": begun["Open"], "open": begun["Many files"] - begun["Open"],
                        "work": begun["Close"] - begun["Many files"], "close": play.duration - begun["Close"],
                        "after": AFTER_SECONDS}
        seen = subject.look()
        self.new = seen["trees"][seen["default"]]
        if self.old == self.new or self.new["verified"]:
            raise vm.TestbedError(f"the undisturbed run did not do what it should: {difference(self.old, self.new)}")
        if seen["trees"][self.base] != self.old:
            raise vm.TestbedError("the undisturbed run changed the running root: "
                                  + difference(self.old, seen["trees"][self.base]))

    def left(self, seen: dict) -> Left:
        return Left(seen, {self.base, seen["booted"], seen["default"]})


def difference(one: dict, other: dict) -> str:
    lines = [other["verified"]] if other["verified"] else []
    lines += [f"-{line}" for line in sorted(set(one["files"]) - set(other["files"]))]
    lines += [f"+{line}" for line in sorted(set(other["files"]) - set(one["files"]))]
    lines += [f"content of {path}" for path in sorted(set(one["digests"]) & set(other["digests"]))
              if one["digests"][path] != other["digests"][path]]
    lines += [f"package {name}" for name in sorted(set(one["packages"]) ^ set(other["packages"]))]
    return "; ".join(lines[:6]) + (f" and {len(lines) - 6} more" if len(lines) > 6 else "")


# --- the faults --------------------------------------------------------------------------------------------------

def power_cut(phase: str, share: float):
    def fault(trial: Trial) -> Play:
        play = trial.play()
        task = {"open": "Open", "work": "Many files", "close": "Close"}.get(phase)
        if task:
            play.wait_for(task)
        elif phase == "after":
            play.wait()
        time.sleep(share * trial.reference.seconds[phase])
        trial.subject.cut()
        play.end(LOST_SECONDS)
        trial.subject.boot()
        return play
    return fault


def controller_killed(trial: Trial) -> Play:
    """In the middle of a task inside; the next run replaces the abandoned transaction at once."""
    play = trial.play(pause_inside=600)
    trial.subject.run(PAUSED)
    play.kill()
    return play


def connection_killed(trial: Trial) -> Play:
    """The ssh of the controller, in the middle of a task inside."""
    play = trial.play(pause_inside=20)
    trial.subject.run(PAUSED)
    if not play.masters():
        raise Wrong("there is no shared connection to kill")
    play.kill_masters()
    return play


def session_killed(trial: Trial) -> Play:
    """The sshd of the host, in the middle of a task inside."""
    play = trial.play(pause_inside=20)
    trial.subject.run(PAUSED)
    trial.subject.run("pkill -KILL sshd-session", may_fail=True)
    return play


def lost_holder(command: str):
    def fault(trial: Trial) -> Play:
        play = trial.play(gated=True)
        play.wait_for("Nothing runs inside")
        trial.subject.run(command)
        play.open_gate()
        play.end()
        trial.expect(not play.succeeded, "the play succeeded without its transaction")
        told = play.error()
        trial.expect("Nothing was done on the running system" in told, f"it did not fail closed: {told}")
        return play
    return fault


def snapperd_killed(task: str):
    def fault(trial: Trial) -> Play:
        play = trial.play()
        play.wait_for(task)
        trial.subject.run("for i in $(seq 40); do pkill -KILL -x snapperd; sleep 0.2; done; true")
        return play
    return fault


def module_killed(task: str):
    def fault(trial: Trial) -> Play:
        play = trial.play()
        play.wait_for(task)
        # it holds the lock for a part of its task only
        seconds = trial.chance.uniform(0, trial.reference.seconds[task.lower()] / 8)
        trial.subject.python(KILL_MODULE, f"{seconds:.2f}")
        play.end()
        trial.expect(not play.succeeded, "the play succeeded without its module")
        return play
    return fault


def disk_full(trial: Trial) -> Play:
    """The error is the task's own, the abort works, and the host is as before."""
    play = trial.play(gated=True)
    play.wait_for("Nothing runs inside")
    trial.subject.run("""
        read -r _ _ number </run/microos-transactional/open; cd /.snapshots/$number/snapshot/usr/share
        journalctl --relinquish-var # it would give old files up for new space
        i=0
        for size in 1024M 64M 4M; do
            while fallocate -l $size fill-$i; do i=$((i + 1)); done
        done 2>/dev/null
        for size in 1M 64K 4K; do # what allocation leaves is less than the play writes
            i=$((i + 1)) # what was not written whole keeps its space
            while head -c $size /dev/urandom >fill-$i && sync fill-$i; do i=$((i + 1)); done
        done 2>/dev/null; true""")
    play.open_gate()
    play.end()
    words = ("No space left", "echo: I/O error")  # dash says so of whatever it could not write
    trial.expect(any(word in play.error() for word in words), f"the error is not the task's own: {play.error()}")
    abort = trial.play("abort.yml")
    abort.end()
    trial.expect(abort.succeeded, f"the abort failed: {abort.error()}")
    left = trial.reference.left(trial.subject.look())
    trial.expect(str(left) == "none", f"left over after the abort: {left}")
    return play


def rebooted(trial: Trial) -> Play:
    """From outside, in the middle of a task inside."""
    play = trial.play(pause_inside=600)
    trial.subject.run(PAUSED)
    trial.subject.run("systemctl reboot", may_fail=True)
    play.end(LOST_SECONDS)
    trial.expect(not play.succeeded, "the play succeeded although the host was rebooted")
    trial.subject.up_again(trial.reference.boot)
    return play


def rebooted_in_close(trial: Trial) -> Play:
    """By somebody on the host."""
    play = trial.play()
    play.wait_for("Close")
    time.sleep(trial.chance.uniform(0, trial.reference.seconds["close"]))
    trial.subject.run("systemctl reboot", may_fail=True)
    play.end(LOST_SECONDS)
    trial.subject.up_again(trial.reference.boot)
    return play


def entry_lost(trial: Trial) -> Play:
    """As a power cut can do between the flush of the root and that of the ESP."""
    trial.play().end()
    trial.subject.run("cd /boot/efi/loader/entries && rm microos-$(ls | sed 's/[^0-9]//g' | sort -n | tail -n 1).conf")
    play = trial.play()
    play.end()
    return play


HOLDER = "read -r pid _ </run/microos-transactional/open; kill -KILL $pid"
FAULTS = {
    "controller-killed": controller_killed,
    "connection-killed": connection_killed,
    "session-killed": session_killed,
    "holder-killed": lost_holder(HOLDER),
    "tukit-killed": lost_holder(r"pkill -KILL -f 'tukit.* call [0-9]'"),
    "unit-stopped": lost_holder("systemctl stop 'microos-transactional-*.service'"),
    "snapperd-killed-open": snapperd_killed("Open"),
    "snapperd-killed-close": snapperd_killed("Close"),
    "module-killed-open": module_killed("Open"),
    "module-killed-close": module_killed("Close"),
    "disk-full": disk_full,
    "rebooted": rebooted,
    "rebooted-close": rebooted_in_close,
    "entry-lost": entry_lost,
}


def main() -> int:
    parser = options(__doc__, FAULTS, cuts=3)
    parser.add_argument("--again", choices=["last", "all"], default="last",
                        help="after which faults the play runs a third time (default: the last one)")
    wanted = parser.parse_args()
    table, chance = Table(COLUMNS), random.Random(wanted.seed)
    names = named(wanted.faults, FAULTS)
    todo = [(f"power cut, {phase} {share:4.0%}", power_cut(phase, share))
            for phase, share in moments(PHASES, wanted.cuts, chance)]
    todo += [(name, FAULTS[name]) for name in names if name != "tukit-killed" or wanted.engine == "tukit"]
    with tempfile.TemporaryDirectory(prefix="faults-") as directory:
        subject = Subject("faults", wanted.engine, wanted.logs or Path(directory))
        try:
            subject.start(PREPARE)
            reference = Reference(subject)
            phases = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in reference.seconds.items())
            table.head(f"engine {wanted.engine}, seed {wanted.seed}; phases: {phases}")
            for index, (name, fault) in enumerate(todo):
                trial = Trial(subject, reference, name, chance)
                trial.run(fault, wanted.again == "all" or index == len(todo) - 1)
                table.add(trial)
        finally:
            subject.stop()
    return table.sum()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (vm.TestbedError, subprocess.CalledProcessError) as error:
        sys.exit(f"faults: {error}")
