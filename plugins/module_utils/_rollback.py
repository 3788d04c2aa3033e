# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make another snapshot the default.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import os
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils import _resident, _trial
from ansible_collections.microos.transactional.plugins.module_utils._engine.base import Engine, is_open
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._host import REBOOT_NEEDED
from ansible_collections.microos.transactional.plugins.module_utils._lock import Lock
from ansible_collections.microos.transactional.plugins.module_utils._tools import disks, snapper
from ansible_collections.microos.transactional.plugins.module_utils._transaction import BASE, FAILED


def is_usable(snapshot: t.Mapping) -> bool:
    """Whether a host may boot it: neither open nor kept after a failure."""
    return not is_open(snapshot) and FAILED not in snapshot["userdata"]


def previous(snapshots: t.Sequence[t.Mapping], current: int) -> int:
    """The snapshot that the current one was made from: the recorded base, else the newest one before it."""
    usable = {row["number"]: row for row in snapshots if is_usable(row)}
    recorded = usable.get(current, {}).get("userdata", {}).get(BASE, "")
    if recorded.isdigit() and int(recorded) in usable:
        return int(recorded)
    older = [number for number in usable if number < current]
    if not older:
        raise TransactionalError(f"there is no snapshot before the current one, {current}")
    return max(older)


def choose(snapshots: t.Sequence[t.Mapping], current: int, to: str) -> int:
    """The snapshot meant by ``to``: a number, ``previous`` or ``current``."""
    if to == "previous":
        return previous(snapshots, current)
    if to == "current":
        return current
    if not to.isdigit():
        raise TransactionalError(f"to: '{to}' is neither the number of a snapshot nor 'previous'")
    row = next((row for row in snapshots if row["number"] == int(to)), None)
    usable = [row["number"] for row in snapshots if is_usable(row)]
    listed = ", ".join(map(str, usable))
    if row is None:
        raise TransactionalError(f"there is no snapshot {to}; usable are {listed}", snapshots=usable)
    if not is_usable(row):
        raise TransactionalError(f"snapshot {to} was never completed ('{row['description']}'); usable are {listed}",
                                 snapshots=usable)
    return int(to)


def rollback(engine: Engine, to: str, check_mode: bool) -> dict:
    """Make the snapshot meant by ``to`` the default, unless it is already."""
    host = engine.host
    old = host.default()
    number = choose(snapper.snapshots(), host.current, to)
    changed = number != old
    if changed and not check_mode:
        lock = Lock()
        lock.acquire(f"ansible: rollback to {to}")
        try:
            _resident.refuse_if_open()
            _trial.refuse_if_under_way()
            engine.refuse_if_busy()
            number = engine.rollback(number)
            disks.flush()
        finally:
            lock.release()
        if number == host.current and os.path.exists(REBOOT_NEEDED):
            os.unlink(REBOOT_NEEDED)  # as transactional-update does: nothing waits for a reboot any more
    return {"changed": changed, "engine": engine.name, "snapshot": number, "previous_default": old,
            "current": host.current, "pending": number != host.current,
            "diff": {"before": f"default: {old}\n", "after": f"default: {number}\n"}}
