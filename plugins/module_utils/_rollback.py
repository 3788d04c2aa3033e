# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make another snapshot the default.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import os
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils import _resident, _snapshot_diff, _trial
from ansible_collections.microos.transactional.plugins.module_utils._engine.base import COPY, Engine
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._host import REBOOT_NEEDED, Host
from ansible_collections.microos.transactional.plugins.module_utils._lock import Lock
from ansible_collections.microos.transactional.plugins.module_utils._target import Chooser
from ansible_collections.microos.transactional.plugins.module_utils._tools import disks, snapper


def rollback(engine: Engine, selector: str, wanted: t.Any, check_mode: bool, diff: bool) -> dict:
    """Make the snapshot that is meant the default, unless it is already. With ``diff`` say first what that changes."""
    host = engine.host
    old = host.default()
    chooser = Chooser(host)
    number, reason = chooser.choose(selector, wanted)
    if any(row["number"] == old and row["userdata"].get(COPY) == str(number) for row in chooser.rows):
        number, reason = old, f"it is the writable copy of {number}; {reason}"
    changed = number != old
    result = {"changed": changed, "engine": engine.name, "reason": reason, "previous_default": old,
              "current": host.current, "pending": number != host.current}
    if diff and changed:
        result.update(_difference(host, old, number))
    if changed and not check_mode:
        lock = Lock()
        lock.acquire(f"ansible: rollback to {number}")
        try:
            _resident.refuse_if_open()
            _trial.refuse_if_under_way()
            engine.refuse_if_busy()
            now = host.default()
            if now != old or not snapper.exists(number):
                raise TransactionalError(f"while snapshot {number} was chosen the default became {now}, or somebody "
                                         "deleted that snapshot; nothing was done. Run the task again", default=now)
            number = engine.rollback(number)
            disks.flush()
        finally:
            lock.release()
        if number == host.current and os.path.exists(REBOOT_NEEDED):
            os.unlink(REBOOT_NEEDED)  # as transactional-update does: nothing waits for a reboot any more
    return dict(result, snapshot=number)


def _difference(host: Host, old: int, new: int) -> dict:
    """What ``--diff`` prints: the default, and how the packages and /etc of the target differ from the running ones."""
    default = {"before": f"default: {old}\n", "after": f"default: {new}\n"}
    if new == host.current:
        return {"diff": [default]}
    differs = _snapshot_diff.snapshot_diff(host, host.current, new, [_snapshot_diff.ETC], False, 0, False)
    content = _snapshot_diff.as_diff(host.current, new, differs["packages"], differs["files"], differs["files_count"])
    return {"diff": [default, *content], "warnings": differs["warnings"]}
