# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Brings bad snapshots into effect on trial, on a real VM, and prints a table of what became of the host.

    python tests/faults/recovery.py --engine tukit|snapper [--cuts N] [--faults NAME ...] [--seed N]

Snapshot 2 runs, 1 ran before it, 3 is the default and waits. For each row the VM goes back to that state, 3 is broken,
and ``recovery.yml`` reboots into it on trial, or without one where the boot loader counts. Then must hold, without
anybody's help:

* the host answers, and runs the snapshot that the row names, all services up
* the default of btrfs and that of the boot loader are the running snapshot; no choice for a single boot is left
* the record of the trial tells what became of it, and of the trial itself nothing else is left in any snapshot
* the play fails with the reason, or succeeds where the host is well

Power cuts come between the order and the end of the cleaning-up; then either snapshot will do. ``s`` is the time from
the order to the end of all this.
"""

from __future__ import annotations

import dataclasses
import json
import random
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

from subject import Play, Subject, vm
from table import Row, Table, Wrong, moments, named, options

COLUMNS = {"fault": 26, "the play said": 19, "runs": 5, "trial": 10, "reason": 58, "s": 5, "": 6}
PHASES = ("arm", "shutdown", "boot", "trial", "confirm")
SETTLE_SECONDS = 900  # for the host to decide
POLL_SECONDS = 2
SCRIPT = "/etc/microos-transactional/trial.sh"  # there while a trial is armed or runs
RESTARTS = b"reboot: Restarting system"  # the kernel's last words
# seconds of a trial: nobody can confirm it, somebody could but does not, somebody will
CUT_OFF, LEFT, REACHED = 60, 180, 300
PREPARE = """
- hosts: all
  gather_facts: false
  tasks:
    - microos.transactional.package: {name: testbed-hello}
    - microos.transactional.reboot:
    - microos.transactional.package: {name: testbed-config}
"""
# $new is the root of snapshot 3
BREAK = """
set -e
new=/run/new
mount --mkdir -o subvol=@/.snapshots/3/snapshot /dev/vda $new
btrfs property set $new ro false
%s
btrfs property set $new ro true
umount $new
sync
"""
LOOK = r"""
import glob, json, os, re, subprocess
def output(*argv):
    return subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False).stdout.strip()
def number(text):
    found = re.search(r"\.snapshots/(\d+)/snapshot", text)
    return int(found[1]) if found else 0
def variable(name):
    try:
        with open(f"/sys/firmware/efi/efivars/{name}-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f", "rb") as stream:
            return stream.read()[4:].decode("utf-16-le").rstrip("\0")
    except FileNotFoundError:
        return ""
try:
    with open("/var/lib/microos-transactional/trial") as stream:
        record = dict(line.rstrip("\n").split("=", 1) for line in stream)
except FileNotFoundError:
    record = {"state": "none"}
left = [path for root in ["", *glob.glob("/.snapshots/*/snapshot")]
        for top in ("systemd", "microos-transactional")
        for path in glob.glob(f"{root}/etc/{top}/**/*trial*", recursive=True)]
left += glob.glob("/boot/efi/loader/entries/*trial*") + glob.glob("/run/microos-transactional/*.running")
print(json.dumps({
    "boot": output("cat", "/proc/sys/kernel/random/boot_id"),
    "soft": output("systemctl", "show", "--property=SoftRebootsCount"),
    "booted": number(output("findmnt", "--noheadings", "--first-only", "--output", "SOURCE", "/")),
    "default": number(output("btrfs", "subvolume", "get-default", "/")),
    "loader": variable("LoaderEntryDefault"), "once": variable("LoaderEntryOneShot"),
    "record": record, "left": left,
    "failed": output("systemctl", "--failed", "--plain", "--no-legend"),
    "entries": sorted(os.listdir("/boot/efi/loader/entries")),
}))
"""
SERVICE = """cat >$new/etc/systemd/system/fault.service <<'END'
[Unit]
DefaultDependencies=no
{order}
[Service]
Type=oneshot
TimeoutStartSec=infinity
ExecStart=/bin/sh -c '{command}'
END
mkdir -p $new/etc/systemd/system/{target}.{kind}
ln -s ../fault.service $new/etc/systemd/system/{target}.{kind}/"""


def service(command: str, target: str, order: str = "", kind: str = "requires") -> str:
    return SERVICE.format(command=command, target=target, order=order, kind=kind)


class Trial(Row):
    """One fault: from the same state to the judgement."""

    def __init__(self, subject: Subject, name: str, start: dict):
        super().__init__(COLUMNS, name)
        self.subject = subject
        self.start = start
        self.plays: list[Play] = []

    def play(self, **variables) -> Play:
        if not self.plays:
            self.begin()
        self.plays.append(self.subject.play("recovery.yml", **variables))
        return self.plays[-1]

    def trusting(self) -> dict:
        """Variables for a play that accepts the host's present keys only."""
        known = self.subject.vm.directory / "known_hosts"
        known.write_text(subprocess.run(["ssh-keyscan", "-p", str(self.subject.vm.port), "127.0.0.1"],
                                        capture_output=True, text=True, check=True).stdout)
        return {"ansible_ssh_common_args": f"-o UserKnownHostsFile={known} -o StrictHostKeyChecking=yes"}

    def look(self) -> dict | None:
        """What is seen in the guest; None while it does not answer."""
        try:
            return json.loads(self.subject.python(LOOK))
        except (vm.TestbedError, subprocess.TimeoutExpired, ValueError):
            return None

    def settled(self, again: bool = True) -> dict:
        """Wait until the trial is decided and the host is up after a boot."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline:
            seen = self.look() if self._seems_decided() else None
            if seen and (not again or self._was_restarted(seen)) and not seen["left"]:
                return seen
            time.sleep(POLL_SECONDS)
        raise Wrong(f"the host did not decide within {SETTLE_SECONDS} s: {self.look()}\n{self.subject.vm.tail()}")

    def _seems_decided(self) -> bool:
        """By what costs the guest little; not while it does not answer."""
        try:
            state = self.subject.run(f"test ! -e {SCRIPT} && systemctl is-system-running", may_fail=True)
        except subprocess.TimeoutExpired:
            return False
        return state in ("running", "degraded")

    def restarts(self) -> int:
        return self.subject.vm.log.read_bytes().count(RESTARTS)

    def wait_for_restart(self, before: int) -> None:
        """Until the kernel has gone down; an ssh would wait for the next boot."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while self.restarts() == before:
            if time.monotonic() > deadline:
                raise Wrong(f"the host did not go down\n{self.subject.vm.tail()}")
            time.sleep(0.2)

    def _was_restarted(self, seen: dict) -> bool:
        return (seen["boot"], seen["soft"]) != (self.start["boot"], self.start["soft"])

    def run(self, work: t.Callable[[Trial], None]) -> None:
        try:
            self.subject.restore()
            work(self)
        except (Wrong, vm.TestbedError, subprocess.TimeoutExpired) as error:
            self.wrong.append(str(error))
        finally:
            for play in self.plays:
                play.end(0)
        self.end()

    def judge(self, seen: dict, runs: int, states: t.Iterable[str], default: int | None = None) -> None:
        record = seen["record"]
        self.cells.update({"runs": {1: "older", 2: "old", 3: "new"}.get(seen["booted"], "?"),
                           "trial": record["state"], "reason": record.get("reason", "")})
        default = default or runs
        self.expect(seen["booted"] == runs, f"snapshot {seen['booted']} runs, not {runs}")
        self.expect(seen["default"] == default, f"the default is {seen['default']}, not {default}")
        self.expect(seen["loader"] == f"microos-{default}.conf", f"the boot loader's default is {seen['loader']}")
        self.expect(not seen["once"], f"one boot of {seen['once']} is ordered still")
        self.expect(record["state"] in states, f"the record says {record}")
        self.expect(not seen["failed"], f"failed units: {seen['failed']}")


@dataclasses.dataclass(frozen=True)
class Fault:
    said: str = ""  # in the error of the play; it succeeds if this is empty
    breaks: str = ""  # sh, run in the old snapshot before the reboot
    seconds: int = CUT_OFF
    variables: dict = dataclasses.field(default_factory=dict)
    trusts_keys: bool = False
    during: t.Callable[[Trial, Play], Play | None] | None = None  # while the trial waits; returns another play to judge
    runs: int = 2
    state: str = "reverted"
    default: int | None = None
    restarts: bool = True

    def __call__(self, trial: Trial) -> None:
        trial.subject.run(BREAK % self.breaks)
        variables = dict(self.variables, **trial.trusting()) if self.trusts_keys else self.variables
        play = trial.play(gated=self.during not in (None, two_at_once), seconds=self.seconds, **variables)
        if self.during:
            play.wait_for("Wait" if play.gated else "Reboot", SETTLE_SECONDS)
            play = self.during(trial, play) or play
            play.open_gate()
        play.wait(SETTLE_SECONDS)
        seen = trial.settled(self.restarts)
        trial.cells["the play said"] = play.verdict()
        trial.judge(seen, self.runs, [self.state], self.default)
        if self.state == "confirmed":
            trial.expect(seen["record"]["boots"] == "1", f"one boot was counted as {seen['record']['boots']}")
        error = play.error() or play.verdict()
        if self.said:
            trial.expect(self.said in error, f"the play does not say '{self.said}': {error}")
        else:
            trial.expect(play.succeeded, f"the play failed: {error}\n{play.tail()}")


def targets_start(trial: Trial, _play: Play) -> None:
    """As ``systemctl isolate`` and the way out of emergency mode have it: sysinit.target asks for all that it wants."""
    trial.subject.run("for i in 1 2 3 4 5; do systemctl daemon-reload; systemctl start sysinit.target; done")


def never_rebooted(trial: Trial) -> None:
    """The controller goes away between the order and the reboot."""
    play = trial.play(seconds=CUT_OFF, method="soft_reboot", reboot_delay=30)
    play.wait_for("Reboot", SETTLE_SECONDS)
    deadline = time.monotonic() + SETTLE_SECONDS
    while (trial.look() or {"record": {"state": "none"}})["record"]["state"] != "armed":
        if time.monotonic() > deadline or play.error():
            raise Wrong(f"the trial was not armed: {play.error()}")
    play.kill()
    seen = trial.settled(again=False)
    trial.cells["the play said"] = play.verdict()
    trial.judge(seen, 2, ["reverted"])
    trial.expect(seen["boot"] == trial.start["boot"], "the host was restarted")


def controller_gone(_trial: Trial, play: Play) -> None:
    play.kill()


def power_lost(trial: Trial, _play: Play) -> None:
    trial.subject.cut()
    trial.subject.boot()
    trial.settled()


def in_trial(command: str) -> t.Callable[[Trial, Play], None]:
    def during(trial: Trial, _play: Play) -> None:
        trial.subject.run(command, may_fail=True)
        trial.settled()
    return during


def second_trial(trial: Trial, _play: Play) -> None:
    other = trial.play(seconds=CUT_OFF)
    other.end()
    trial.expect(not other.succeeded or other.changed == 0, "a second trial began while one runs")


def former_deleted(trial: Trial, play: Play) -> None:
    trial.subject.run("snapper delete 2 && test ! -e /.snapshots/2/snapshot")
    play.kill()


def two_at_once(trial: Trial, play: Play) -> Play:
    other = trial.play(seconds=REACHED)
    for each in (play, other):
        each.wait(SETTLE_SECONDS)
    trial.expect(not (play.succeeded and other.succeeded and play.changed and other.changed), "both rebooted the host")
    return play if play.succeeded else other


NO_NETWORK = "rm $new/etc/systemd/network/*"
PANIC = "printf '#!/bin/sh\\nexit 1\\n' >$new/usr/lib/systemd/systemd"
COUNTED = """
cd /boot/efi/loader/entries
mv microos-3.conf microos-3+2.conf
bootctl set-default ''
"""
# As GRUB with BLS, with what of sdbootutil a trial needs
NO_ONE_SHOT = r"""
umount /sys/firmware/efi/efivars
printf '#!/bin/sh\n[ "$1" = set-default-snapshot ] && bootctl set-default "microos-$2.conf"\n' >$new/usr/bin/sdbootutil
chmod 755 $new/usr/bin/sdbootutil
"""
NOBODY = "nobody confirmed it"
FAULTS = {
    "none, targets start": Fault(during=targets_start, seconds=REACHED, runs=3, state="confirmed"),
    "network-lost": Fault(NOBODY, NO_NETWORK),
    "other-address": Fault(NOBODY, "sed -i 's/^DHCP=.*/Address=10.0.2.99\\/24/' $new/etc/systemd/network/*"),
    "sshd-broken": Fault(NOBODY, "echo 'Nonsense yes' >$new/etc/ssh/sshd_config.d/fault.conf"),
    "other-host-key": Fault(NOBODY, "rm $new/etc/ssh/ssh_host_*; ssh-keygen -q -t ed25519 -N '' "
                                    "-f $new/etc/ssh/ssh_host_ed25519_key", trusts_keys=True),
    "test-fails": Fault(NOBODY, variables={"test_command": "test ! -e /usr/share/testbed/testbed-config"}),
    "check-fails": Fault("boot-complete.target", service("echo no good; exit 1", "boot-complete.target",
                                                         "After=multi-user.target\nBefore=boot-complete.target"),
                         seconds=REACHED),
    "fstab-broken": Fault(NOBODY, "echo 'LABEL=gone /mnt btrfs x-systemd.device-timeout=5s 0 0' >>$new/etc/fstab"),
    "hangs-at-start": Fault(NOBODY, service("sleep infinity", "basic.target", "Before=basic.target")),
    "clock-jumps": Fault(NOBODY, NO_NETWORK + "\n" + service(
        "date -s +1day", "multi-user.target", "After=basic.target", "wants")),
    "kernel-panic": Fault("it did not come up", PANIC, state="fell-back"),
    "init-missing": Fault("it did not come up", "rm $new/usr/lib/systemd/systemd", state="fell-back"),
    "initrd-broken": Fault("it did not come up", """
        cd /boot/efi; head -c 1000000 /dev/zero >microos/fault
        sed -i 's#^initrd .*#initrd /microos/fault#' loader/entries/microos-3.conf""", state="fell-back"),
    "disk-full": Fault(NOBODY, NO_NETWORK + "\n" + service(
        "cd /var; journalctl --relinquish-var; for size in 512M 8M 64K; do while fallocate -l $size fill$i; do "
        "i=$((i + 1)); done; done; head -c 9M /dev/urandom >fill; sync", "multi-user.target", "After=basic.target",
        "wants")),
    "never-rebooted": never_rebooted,
    "bootctl-gone": Fault(NOBODY, NO_NETWORK + "\nrm $new/usr/bin/bootctl"),
    "controller-gone": Fault(during=controller_gone, said="killed", seconds=LEFT),
    "power-lost": Fault("went down, before the confirmation", during=power_lost, seconds=REACHED, state="fell-back"),
    "restarted-in-trial": Fault("the host was restarted", during=in_trial("systemctl reboot"),
                                seconds=REACHED, state="fell-back"),
    "reverted-by-hand": Fault("somebody asked for it", during=in_trial(
        f"setsid -f sh {SCRIPT} revert >/dev/null 2>&1"), seconds=REACHED),
    "second-trial": Fault(during=second_trial, seconds=REACHED, runs=3, state="confirmed"),
    "two-at-once": Fault(during=two_at_once, seconds=REACHED, runs=3, state="confirmed"),
    "former-deleted": Fault(during=former_deleted, seconds=LEFT, runs=1, said="killed"),
    "esp-full": Fault("could not be prepared", "head -c 2G /dev/zero >/boot/efi/fill || true", state="none", default=3,
                      restarts=False),
    "no-one-shot, network-lost": Fault(NOBODY, NO_NETWORK + NO_ONE_SHOT),
    "no-one-shot, crash-loop": Fault("restarted 4 times without a confirmation", NO_NETWORK + NO_ONE_SHOT + service(
        "sleep 5; systemctl --force --force reboot", "multi-user.target", "After=basic.target", "wants"), seconds=LEFT),
    "counted, panic": Fault("decided by: boot counting (2 boots of microos-3+0-2.conf failed)", PANIC + COUNTED,
                            seconds=0, state="none"),
    "kexec": Fault(seconds=REACHED, variables={"method": "kexec"}, runs=3, state="confirmed"),
    "kexec-refused": Fault("kexec --load", "mount --bind /usr/bin/false /usr/sbin/kexec", state="none", default=3,
                           variables={"method": "kexec"}, restarts=False),
    "kexec, panic": Fault("it did not come up", PANIC, variables={"method": "kexec"}, state="fell-back"),
    "soft-reboot": Fault(NOBODY, NO_NETWORK, variables={"method": "soft_reboot"}),
}


def power_cut(phase: str, share: float, seconds: dict[str, float]):
    def work(trial: Trial) -> None:
        # one that is cut later must not end before; one that begins after the cut, with nobody there, need not last
        lasts = CUT_OFF if phase in ("arm", "shutdown") else int(CUT_OFF + seconds["boot"])
        play = trial.play(gated=phase in ("trial", "confirm"), seconds=lasts)
        if phase in ("trial", "confirm"):
            play.wait_for("Wait", SETTLE_SECONDS)
            if phase == "confirm":
                play.open_gate()
                play.wait_for("Confirm")
        else:
            restarts = trial.restarts()
            play.wait_for("Reboot")
            if phase == "shutdown":
                time.sleep(seconds["arm"])
            elif phase == "boot":
                trial.wait_for_restart(restarts)
        time.sleep(share * seconds[phase])
        error = play.error()
        if error:
            raise Wrong(f"the play failed before the cut: {error}")
        trial.subject.cut()
        play.kill()
        trial.subject.boot()
        seen = trial.settled()
        trial.cells["the play said"] = play.verdict()
        state = seen["record"]["state"]
        if state == "none" and phase in ("arm", "shutdown"):  # not ordered yet: what waited is booted
            trial.judge(seen, 3, ["none"])
        elif state == "confirmed" and phase in ("boot", "confirm"):  # a boot may take less than the one measured
            trial.judge(seen, 3, ["confirmed"])
        else:
            trial.judge(seen, 2, ["reverted", "fell-back"])
        trial.expect(state == "confirmed" or not play.succeeded, f"the play succeeded, but the trial is {state}")
    return work


def measure(subject: Subject, start: dict) -> dict[str, float]:
    """How long the phases of an undisturbed trial take, in seconds."""
    trial = Trial(subject, "undisturbed", start)
    play = trial.play(gated=True, seconds=REACHED)
    play.wait_for("Reboot")
    restarts = trial.restarts()
    begin = time.monotonic()
    while (trial.look() or {"record": {"state": "armed"}})["record"]["state"] == "none":
        time.sleep(0.2)
    armed = time.monotonic()
    trial.wait_for_restart(restarts)
    down = time.monotonic()
    play.wait_for("Wait", SETTLE_SECONDS)
    up = time.monotonic()
    play.open_gate()
    play.end(SETTLE_SECONDS)
    if not play.succeeded:
        raise vm.TestbedError(f"the undisturbed trial failed: {play.error()}\n{play.tail()}")
    return {"arm": armed - begin, "shutdown": down - armed, "boot": up - down, "trial": 5,
            "confirm": play.duration - play.seconds["Confirm"]}


def prepare(subject: Subject) -> dict:
    """Two changes, one of them booted; what the guest looks like then."""
    subject.start("true")
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as book:
        book.write(PREPARE)
        book.flush()
        play = subject.play(book.name)
        play.end(SETTLE_SECONDS)
    if not play.succeeded:
        raise vm.TestbedError(f"the snapshots could not be made: {play.error()}\n{play.tail()}")
    subject.save()
    return json.loads(subject.python(LOOK))


def main() -> int:
    wanted = options(__doc__, FAULTS, cuts=2).parse_args()
    table = Table(COLUMNS)
    names = named(wanted.faults, FAULTS)
    with tempfile.TemporaryDirectory(prefix="recovery-") as directory:
        subject = Subject("recovery", wanted.engine, wanted.logs or Path(directory))
        try:
            start = prepare(subject)
            todo = {name: FAULTS[name] for name in names}
            phases = ""
            if wanted.cuts:
                seconds = measure(subject, start)
                phases = "; " + ", ".join(f"{name} {length:.0f} s" for name, length in seconds.items())
                todo.update({f"power cut, {phase} {share:4.0%}": power_cut(phase, share, seconds)
                             for phase, share in moments(PHASES, wanted.cuts, random.Random(wanted.seed))})
            table.head(f"engine {wanted.engine}, seed {wanted.seed}{phases}")
            for name, work in todo.items():
                trial = Trial(subject, name, start)
                trial.run(work)
                table.add(trial)
        finally:
            subject.stop()
    return table.sum()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (vm.TestbedError, subprocess.CalledProcessError) as error:
        sys.exit(f"recovery: {error}")
