# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Try a snapshot: the host keeps it only if somebody confirms it in time.

Here a trial is prepared, told and decided by request. What happens in between, at boots and at the deadline, is done by
the script of ``_trial_files``.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import stat
import typing as t
import uuid

from ansible_collections.microos.transactional.plugins.module_utils import _files, _trial_files
from ansible_collections.microos.transactional.plugins.module_utils._engine.base import is_open
from ansible_collections.microos.transactional.plugins.module_utils._errors import Interrupted, TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._host import Host
from ansible_collections.microos.transactional.plugins.module_utils._tools import (
    boot_entries,
    boot_loader,
    btrfs,
    command,
    disks,
    mounts,
    snapper,
)

# A kernel that panics, an initrd that does not find its root, and an init that dies would wait for a human
REBOOT_ON_FAILURE = "panic=10 rd.shell=0 rd.emergency=reboot systemd.crash_reboot=1"
# How many snapshots the host may go back to, in case that the first is deleted during the trial
ALTERNATIVES = 3


def tell() -> dict:
    """The last trial of this host, or the one under way; ``state`` is "none" if there never was one."""
    text = _read(_trial_files.SPARE)
    record = _trial_files.parse_record((_read(_trial_files.RECORD) if text is None else text) or "")
    numbers = ("snapshot", "previous", "seconds", "boots")
    record.setdefault("state", "none")
    return {name: int(value) if name in numbers and snapper.parse_number(value) is not None else value
            for name, value in record.items()}


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace", newline="") as stream:
            return stream.read()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise TransactionalError(f"cannot read the record of the trial, {path}: {exc.strerror}") from exc


def under_way() -> dict | None:
    """The trial that waits for its decision, if there is one."""
    # the flag is for each boot; the script is there from the preparation to the very end
    if not (os.path.exists(_trial_files.FLAG) or os.path.exists(_trial_files.SCRIPT)):
        return None
    record = tell()
    return record if record["state"] in _trial_files.UNDER_WAY else None


def refuse_if_under_way() -> None:
    """Raise an error during a trial: what is built on its snapshot would be lost with it."""
    trial = under_way()
    if trial:
        raise TransactionalError(
            f"snapshot {trial.get('snapshot')} is on trial ({trial['state']}): confirm or revert it first, with "
            "microos.transactional.trial or, on the host, with: sh " + _trial_files.SCRIPT + " confirm", trial=trial)


def way_back(snapshots: t.Iterable[t.Mapping], current: int, new: int, usable: t.Callable[[int], bool]) -> list[int]:
    """Where to go back to: the current snapshot, or the newest usable ones before it; later ones were left once."""
    others = sorted((row["number"] for row in snapshots
                     if row["number"] < current and row["number"] != new and not is_open(row)), reverse=True)
    return [current] + list(itertools.islice(filter(usable, others), ALTERNATIVES - 1))


def refuse_if_impossible(host: Host, new: int) -> None:
    """Raise an error if the script cannot be put into the new snapshot, as its /etc comes from somewhere else."""
    if not _is_writable(new):
        etc = mounts.mount_at(host.mounts, "/etc")
        raise TransactionalError(
            f"there is no trial of snapshot {new}: its /etc cannot be written"
            + (", as it is an overlay (transactional-update before 5.0)" if etc and etc.fstype == "overlay" else "")
            + "; use 'trial: 0'")


def _is_writable(number: int) -> bool:
    """Whether the /etc of a snapshot is a subvolume of its own (transactional-update 5.0), or the root is writable."""
    root = snapper.path_of(number)
    return not btrfs.is_read_only(root + "/etc" if btrfs.is_subvolume(root + "/etc") else root)


def is_unlocked_by_measurement() -> bool:
    """Whether a disk is unlocked by a TPM, which may refuse kernel arguments that it does not know."""
    with contextlib.suppress(FileNotFoundError), open("/etc/crypttab", encoding="utf-8", errors="replace") as stream:
        return any("tpm2-device=" in line for line in stream if not line.startswith("#"))
    return False


def make_plan(host: Host, seconds: int) -> tuple[_trial_files.Plan, str]:
    """The plan of a trial of the default snapshot, and the text of its boot entry if it gets one."""
    new = host.default()
    chooses = boot_loader.knows_one_shot()
    known = boot_entries.by_snapshot() if chooses else {}

    def told(number: int) -> bool:
        return number in known and bool(boot_entries.ID.match(boot_entries.entry_id(known[number][0])))
    for number in (new, host.current) if chooses else ():
        if number not in known:
            raise TransactionalError(
                f"there is no trial without a boot entry for snapshot {number}; there are entries for "
                f"{', '.join(map(str, sorted(known))) or 'none'}. Have one written, with 'sdbootutil add-all-kernels "
                f"{number}' where the host has that, or use 'trial: 0'")
        if not told(number):
            raise TransactionalError(
                f"the boot entry of snapshot {number} has a name that bootctl cannot tell the boot loader, "
                f"{known[number][0]!r}: rename it (letters, digits and '+-_.@' are allowed), or use 'trial: 0'")
    back = way_back(snapper.snapshots(), host.current, new,
                    lambda number: _is_writable(number) and (told(number) or not chooses))
    entries = {number: boot_entries.entry_id(known[number][0]) for number in [new] + back if chooses}
    path, own = known.get(new, ("", ""))
    text = "" if not chooses or is_unlocked_by_measurement() else _trial_files.trial_entry(own, REBOOT_ON_FAILURE)
    trial_entry = os.path.join(os.path.dirname(path), boot_entries.TRIAL) if text else ""
    return _trial_files.Plan(str(uuid.uuid4()), seconds, new, back, entries, trial_entry), text


def _private(path: str) -> None:
    """Make a directory, or make it one, that only root gets into."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as exc:
        raise TransactionalError(f"{path} has to be a directory of root's own, and is none or a symbolic link "
                                 f"({exc.strerror}); remove it") from exc
    try:
        os.fchown(descriptor, 0, 0)
        os.fchmod(descriptor, 0o700)
    finally:
        os.close(descriptor)


def _write_own(path: str, text: str, mode: int) -> None:
    """Write a file in a private directory. One that is there would keep its owner, who may be anybody."""
    with contextlib.suppress(FileNotFoundError):
        found = os.lstat(path)
        if found.st_uid != 0 or stat.S_ISLNK(found.st_mode):
            os.unlink(path)
    _files.write(path, text, mode)


@contextlib.contextmanager
def _usual_umask() -> t.Iterator[None]:
    """Directories that all may read are what they usually are, whatever the caller's umask."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


def _roots(plan: _trial_files.Plan) -> list[str]:
    """Where ``/etc`` is found: that of the running snapshot, of the new one, and of the others to go back to."""
    return [""] + [snapper.path_of(number) for number in [plan.new] + plan.back[1:]]


def _install(plan: _trial_files.Plan) -> None:
    for root in _roots(plan):
        _private(root + os.path.dirname(_trial_files.SCRIPT))
        for path, text in _trial_files.texts(plan).items():
            if path == _trial_files.SCRIPT:
                _write_own(root + path, text, 0o700)
            else:
                _files.write(root + path, text, 0o644)


def _record(record: t.Mapping) -> None:
    for path in (_trial_files.SPARE, _trial_files.RECORD):
        _private(os.path.dirname(path))
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_trial_files.SPARE)
    _write_own(_trial_files.RECORD, "".join(f"{name}={value}\n" for name, value in record.items()), 0o600)


def forget(plan: _trial_files.Plan) -> str:
    """Take back a preparation that nothing came of: the snapshot waits for its first boot, as before.

    Returns a sentence on what could not be taken back, if anything.
    """
    signals = {signal.SIGTERM, signal.SIGHUP, signal.SIGINT}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        return _forget(plan)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _forget(plan: _trial_files.Plan) -> str:
    found = [root + path for root in _roots(plan) for path in _trial_files.texts(plan)]
    with contextlib.suppress(TransactionalError):
        command.run(["systemctl", "stop", _trial_files.WAIT], timeout=command.CHANGE_SECONDS)
    for path in found + [plan.trial_entry, _trial_files.RECORD, _trial_files.FLAG]:
        for name in (path, os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.new")):
            with contextlib.suppress(OSError):
                os.unlink(name)
    for path in found:
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(path))
    failed = []
    if plan.entries:
        for work in (lambda: boot_loader.set_one_shot(""), lambda: boot_loader.set_default(plan.entries[plan.new])):
            try:
                work()
            except TransactionalError as exc:
                failed.append(str(exc))
    return (f". The boot loader may start another snapshot than {plan.new} at the next boot: {'; '.join(failed)}"
            if failed else "")


@contextlib.contextmanager
def prepared(host: Host, seconds: int, delay: int, once: bool) -> t.Iterator[dict]:
    """Have the default snapshot on trial from the next start on; ``once`` if the boot loader is what starts it.

    After an error in the block, too, nothing of it is left. If the host is not rebooted within ``delay`` and the time
    for a confirmation, the trial is over as if it had failed.

    Until the boot loader is told, a power cut leads into the new snapshot, and the trial begins; from then on it leads
    into the current one, and the trial is over.
    """
    refuse_if_under_way()
    plan, entry = make_plan(host, seconds)
    record = {"id": plan.id, "state": _trial_files.ARMED, "boots": 0, "reason": "", "snapshot": plan.new,
              "previous": host.current, "seconds": seconds}
    try:
        with _usual_umask():
            _record(record)
            _install(plan)
            if once and entry:
                boot_entries.write(plan.trial_entry, entry)
        command.check(["sh", _trial_files.SCRIPT, "arm", str(seconds + delay)])
        disks.flush()
        if plan.entries:
            boot_loader.set_default(plan.entries[host.current])
        if plan.entries and once:
            boot_loader.set_one_shot(boot_entries.TRIAL if entry else plan.entries[plan.new])
        yield dict(record, boot_loader="one-shot" if plan.entries and once else "default" if plan.entries else "none")
    except BaseException as exc:
        left = forget(plan)
        if isinstance(exc, Interrupted):
            exc.add(f"The trial of snapshot {plan.new} is not prepared any more, and nothing was rebooted{left}")
        if isinstance(exc, Interrupted) or not isinstance(exc, (OSError, TransactionalError)):
            raise
        raise TransactionalError(f"the trial of snapshot {plan.new} could not be prepared, and nothing was rebooted: "
                                 f"{exc}{left}") from exc


def _meant(identity: str | None) -> dict:
    trial = tell()
    if identity not in (None, trial.get("id")):
        raise TransactionalError(f"the last trial here is not {identity}, but {trial.get('id', 'none')}", trial=trial)
    return trial


def confirm(identity: str | None, check_mode: bool) -> bool:
    """Keep the snapshot on trial; returns whether anything was to be done."""
    trial = _meant(identity)
    if trial["state"] == _trial_files.CONFIRMED:
        return False
    if trial["state"] != _trial_files.RUNNING:
        raise TransactionalError(f"nothing can be confirmed: {describe(trial)}", trial=trial)
    result = command.run(["sh", _trial_files.SCRIPT, "confirm", trial["id"]] + (["check"] if check_mode else []),
                         timeout=command.CHANGE_SECONDS)
    now = tell()
    if result.rc != 0 if check_mode else now["state"] != _trial_files.CONFIRMED:
        raise TransactionalError(f"snapshot {trial['snapshot']} was not confirmed: {refusal(result)}; {describe(now)}",
                                 trial=now, rc=result.rc)
    return True


def refusal(result: command.Result) -> str:
    """Why the script did not do it, and the last that it said of it."""
    why = _trial_files.REFUSALS.get(result.rc, f"{_trial_files.SCRIPT} ended with exit code {result.rc}")
    said = [line.strip() for line in result.stderr.splitlines() if line.strip() and line.strip() != why]
    return why + (f" ({' / '.join(said[-3:])})" if said else "")


def warnings(trial: t.Mapping) -> list[str]:
    """What somebody who confirmed it has to know."""
    return [describe(trial)] if trial["state"] == _trial_files.CONFIRMED and trial.get("reason") else []


def revert(identity: str | None, check_mode: bool) -> bool:
    """Have the host go back from the snapshot on trial at once; returns whether there was a trial."""
    _meant(identity)
    if not under_way():
        return False
    if not check_mode:
        command.check(["systemctl", "--no-block", "start", _trial_files.REVERT.replace("@", "@request")])
    return True


def describe(trial: t.Mapping) -> str:
    """A record in words."""
    if trial["state"] == "none":
        return "there was no trial"
    reason = trial.get("reason")
    return f"the trial of snapshot {trial.get('snapshot')} is {trial['state']}" + (f" ({reason})" if reason else "")
