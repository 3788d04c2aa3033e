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
import typing as t
import uuid

from ansible_collections.microos.transactional.plugins.module_utils import _trial_files
from ansible_collections.microos.transactional.plugins.module_utils._engine.base import is_open
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
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

TRIAL_ENTRY = "microos-trial.conf"
# A kernel that panics, an initrd that does not find its root, and an init that dies would wait for a human
REBOOT_ON_FAILURE = "panic=10 rd.shell=0 rd.emergency=reboot systemd.crash_reboot=1"
# How many snapshots the host may go back to, in case that the first is deleted during the trial
ALTERNATIVES = 3


def tell() -> dict:
    """The last trial of this host, or the one under way; ``state`` is "none" if there never was one."""
    try:
        with open(_trial_files.RECORD, encoding="utf-8") as stream:
            record = _trial_files.parse_record(stream.read())
    except FileNotFoundError:
        return {"state": "none"}
    numbers = ("snapshot", "previous", "seconds", "boots")
    record.setdefault("state", "none")
    return {name: int(value) if name in numbers and value.isdigit() else value for name, value in record.items()}


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
    for number in (new, host.current) if chooses else ():
        if number not in known:
            raise TransactionalError(f"there is no trial without a boot entry for snapshot {number}; there are "
                                     f"entries for {', '.join(map(str, sorted(known))) or 'none'}")
    back = way_back(snapper.snapshots(), host.current, new,
                    lambda number: _is_writable(number) and (number in known or not chooses))
    entries = {number: boot_entries.entry_id(known[number][0]) for number in [new] + back if chooses}
    path, own = known.get(new, ("", ""))
    text = "" if not chooses or is_unlocked_by_measurement() else _trial_files.trial_entry(own, REBOOT_ON_FAILURE)
    trial_entry = os.path.join(os.path.dirname(path), TRIAL_ENTRY) if text else ""
    return _trial_files.Plan(str(uuid.uuid4()), seconds, new, back, entries, trial_entry), text


def _write(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(text)


def _roots(plan: _trial_files.Plan) -> list[str]:
    """Where ``/etc`` is found: that of the running snapshot, of the new one, and of the others to go back to."""
    return [""] + [snapper.path_of(number) for number in [plan.new] + plan.back[1:]]


def _install(plan: _trial_files.Plan) -> None:
    for root in _roots(plan):
        for path, text in _trial_files.texts(plan).items():
            _write(root + path, text)
        for path, target in _trial_files.links().items():
            os.makedirs(os.path.dirname(root + path), exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(root + path)
            os.symlink(target, root + path)


def forget(plan: _trial_files.Plan) -> None:
    """Take back a preparation that nothing came of: the snapshot waits for its first boot, as before."""
    command.run(["systemctl", "stop", _trial_files.WAIT])
    paths = list(_trial_files.links()) + list(_trial_files.texts(plan))
    found = [root + path for root in _roots(plan) for path in paths]
    for path in found + [plan.trial_entry, _trial_files.RECORD, _trial_files.FLAG]:
        with contextlib.suppress(OSError):
            os.unlink(path)
    for path in found:
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(path))
    if plan.entries:
        for work in (lambda: boot_loader.set_one_shot(""), lambda: boot_loader.set_default(plan.entries[plan.new])):
            with contextlib.suppress(TransactionalError):
                work()


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
        _install(plan)
        _write(_trial_files.RECORD, "".join(f"{name}={value}\n" for name, value in record.items()))
        command.check(["sh", _trial_files.SCRIPT, "arm", str(seconds + delay)])
        if once and entry:
            _write(plan.trial_entry, entry)
        disks.flush()
        if plan.entries:
            boot_loader.set_default(plan.entries[host.current])
        if plan.entries and once:
            boot_loader.set_one_shot(TRIAL_ENTRY if entry else plan.entries[plan.new])
        yield dict(record, boot_loader="one-shot" if plan.entries and once else "default" if plan.entries else "none")
    except (OSError, TransactionalError) as exc:
        forget(plan)
        raise TransactionalError(f"the trial of snapshot {plan.new} could not be prepared, and nothing was rebooted: "
                                 f"{exc}") from exc


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
    if check_mode:
        return True
    result = command.run(["sh", _trial_files.SCRIPT, "confirm", trial["id"]])
    now = tell()
    if now["state"] != _trial_files.CONFIRMED:
        raise TransactionalError(f"snapshot {trial['snapshot']} was not confirmed: {describe(now)}; exit code "
                                 f"{result.rc}, {result.stderr.strip() or 'no message'}", trial=now)
    return True


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
