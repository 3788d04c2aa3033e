# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Change what is recorded about a snapshot, or delete it.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import json
import re
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils import _activation, _trial
from ansible_collections.microos.transactional.plugins.module_utils._engine.base import (
    CLEANUP,
    IN_PROGRESS,
    Engine,
    is_open,
)
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._host import Host
from ansible_collections.microos.transactional.plugins.module_utils._lock import Lock
from ansible_collections.microos.transactional.plugins.module_utils._tools import snapper
from ansible_collections.microos.transactional.plugins.module_utils._transaction import FAILED, PREFIX

# What snapper keeps as it is: commas and equals signs are its own, and spaces around are lost or confuse
CONTROLS = r"\x00-\x1f\x7f" + snapper.UNSTORABLE
KEY = re.compile(rf"[^\s,={CONTROLS}](?:[^,={CONTROLS}]*[^\s,={CONTROLS}])?\Z")
CONTROL = re.compile(rf"[{CONTROLS}]")


class Record(t.NamedTuple):
    """What can be changed about a snapshot."""

    description: str
    cleanup: str
    userdata: dict[str, str]

    def as_text(self) -> str:
        return json.dumps(self._asdict(), indent=4, sort_keys=True, ensure_ascii=False) + "\n"


def check_userdata(userdata: t.Mapping[str, t.Any]) -> dict[str, str]:
    """The keys to set, and those to remove with an empty value; an error for what is not ours to change."""
    wanted = {key: "" if value is None else str(value) for key, value in userdata.items()}
    for key, value in wanted.items():
        if key.startswith(PREFIX) or key == IN_PROGRESS:
            raise TransactionalError(f"userdata: '{key}' records the making of the snapshot and cannot be changed")
        for what in (key, value) if value else (key,):
            if not KEY.match(what):
                raise TransactionalError(f"userdata: snapper cannot keep '{what}' in '{key}={value}': commas, equals "
                                         "signs, control characters, and spaces around are not possible")
    return wanted


def check_description(text: str) -> str:
    if CONTROL.search(text):
        raise TransactionalError("description: it has to be one line, without control characters")
    return text


def record_of(row: t.Mapping) -> Record:
    return Record(row["description"], row["cleanup"], dict(row["userdata"]))


def plan(before: Record, description: str | None, userdata: t.Mapping[str, str], pinned: bool | None) -> Record:
    """The record as it shall be. A cleanup algorithm other than by number stays if it is not pinned."""
    merged = {key: value for key, value in {**before.userdata, **userdata}.items() if value}
    cleanup = before.cleanup if pinned is None else "" if pinned else before.cleanup or CLEANUP
    return Record(before.description if description is None else description, cleanup, merged)


def needed_by(host: Host, row: t.Mapping) -> str | None:
    """Why a snapshot must not be deleted."""
    number = row["number"]
    if number == host.default():
        return "it is the default, which the next boot uses; choose another one by microos.transactional.rollback"
    if number == host.current:
        return "it is the current one, whose files are in use"
    if number == host.booted:
        return "it is the booted one"
    trial = _trial.under_way()
    if trial and number == trial.get("previous"):
        return f"the host goes back to it if nobody confirms snapshot {trial.get('snapshot')}, which is on trial"
    transaction = _activation.open_transaction()
    if transaction and number == transaction.details["snapshot"]:
        return f"it is an open transaction, {transaction.describe()}; abort that"
    if transaction and number == transaction.details["base"]:
        return f"the open transaction was made from it, {transaction.describe()}; close or abort that first"
    if _in_progress(row):
        return "it is an open transaction; abort that by the tool that opened it, or use snapper if that is gone"
    return None


def _in_progress(row: t.Mapping) -> bool:
    """One that was kept after a failure is over, and may have the mark still."""
    return is_open(row) and FAILED not in row["userdata"]


def find(number: int) -> dict | None:
    return next((row for row in snapper.snapshots() if row["number"] == number), None)


def describe(number: int, description: str | None, userdata: t.Mapping[str, t.Any], pinned: bool | None,
             check_mode: bool) -> dict:
    """Have the record of a snapshot as it is wanted."""
    wanted = check_userdata(userdata)
    row = find(number)
    if row is None:
        numbers = [row["number"] for row in snapper.snapshots()]
        raise TransactionalError(f"there is no snapshot {number}; there are {', '.join(map(str, numbers))}",
                                 snapshots=numbers)
    before = record_of(row)
    after = plan(before, description if description is None else check_description(description), wanted, pinned)
    changed = after != before
    if changed and _in_progress(row):
        raise TransactionalError(f"snapshot {number} is an open transaction, whose record stays as it is until its end")
    if changed and not check_mode:
        snapper.modify(number, {key: value for key, value in wanted.items() if before.userdata.get(key, "") != value},
                       None if after.cleanup == before.cleanup else after.cleanup,
                       None if after.description == before.description else after.description)
        row = find(number)
        if row is None or record_of(row) != after:
            raise TransactionalError(f"snapper ended without an error, but the record of snapshot {number} is not as "
                                     f"it was asked for: {record_of(row) if row else 'it is gone'}")
    return {"changed": changed, "snapshot": dict(row, **after._asdict()),
            "diff": {"before": before.as_text(), "after": after.as_text()}}


def delete(engine: Engine, number: int, check_mode: bool) -> dict:
    """Have a snapshot gone, unless it is needed."""
    row = find(number)
    if row is None:
        left = f"{snapper.HOME}/{number}"
        warnings = [] if number not in snapper.directories() else [
            f"snapper has no snapshot {number}, but there is {left}: somebody makes or deletes it just now, or was "
            "interrupted. If nobody is at it, delete the subvolumes in it by btrfs and then the directory"]
        return {"changed": False, "snapshot": None, "diff": {"before": "", "after": ""}, "warnings": warnings}
    _refuse(engine.host, row)
    if not check_mode:
        lock = Lock()
        lock.acquire(f"ansible: deletion of snapshot {number}")
        try:
            engine.refuse_if_busy()
            _refuse(engine.host, row)  # nobody can open a transaction from it any more
            snapper.delete(number)
        finally:
            lock.release()
    return {"changed": True, "snapshot": None, "diff": {"before": record_of(row).as_text(), "after": ""}}


def _refuse(host: Host, row: t.Mapping) -> None:
    reason = needed_by(host, row)
    if reason:
        raise TransactionalError(f"snapshot {row['number']} ('{row['description']}') cannot be deleted: {reason}")
