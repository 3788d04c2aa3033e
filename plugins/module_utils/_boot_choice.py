# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who decided that another snapshot came up than the one that the host was rebooted for.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils import _rollback, _trial
from ansible_collections.microos.transactional.plugins.module_utils._engine.base import Engine
from ansible_collections.microos.transactional.plugins.module_utils._errors import Interrupted, TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._tools import boot_entries, boot_loader, command
from ansible_collections.microos.transactional.plugins.module_utils._trial_files import FELL_BACK, REVERTED

BOOT_COUNTING = "boot counting"
TRIES = re.compile(r"\+0-(\d+)\.conf$")


class Facts(t.NamedTuple):
    """What is left of a boot."""

    trial: dict
    path: str  # file of the boot entry of the expected snapshot, empty without one
    default: str  # the entry that the boot loader takes by itself
    selected: str  # the entry that it took
    health_checker: str  # what health-checker said in the boot before


def judge(expected: int, facts: Facts) -> tuple[str, str]:
    """Who chose, and what is known about the reason."""
    if facts.trial.get("snapshot") == expected and facts.trial["state"] in (REVERTED, FELL_BACK):
        return "trial", facts.trial.get("reason", "")
    tries = TRIES.search(facts.path)
    if tries:
        return BOOT_COUNTING, f"{tries.group(1)} boots of {os.path.basename(facts.path)} failed"
    if "failed" in facts.health_checker.lower():
        return "health check", facts.health_checker
    entry = boot_entries.entry_id(facts.path)
    if facts.selected and entry and facts.selected != entry:
        if facts.default == entry:
            return "boot menu", f"{facts.selected} was chosen instead of the default, {entry}"
        return "boot loader", f"its default is {facts.default or 'not set'}, and it took {facts.selected}"
    return "unknown", "the boot loader tells nothing, nor does health-checker"


def look(expected: int) -> Facts:
    said = command.run(["journalctl", "--boot=-1", "--unit=health-checker", "--output=cat", "--lines=5"])
    entry = boot_entries.by_snapshot().get(expected)
    return Facts(_trial.tell(), entry[0] if entry else "", boot_loader.variable("LoaderEntryDefault") or "",
                 boot_loader.variable("LoaderEntrySelected") or "",
                 " / ".join(said.stdout.split("\n")[-5:]) if said.rc == 0 else "")


def came_up(engine: Engine, expected: int) -> dict:
    """Which snapshot runs, and if it is not the expected one, who decided so.

    A boot loader that counts leaves the snapshot that does not boot the default of the file system; the one that runs
    becomes the default again, as the next transaction would be based on the other.
    """
    host = engine.host
    result = {"changed": False, "snapshot_booted": host.booted}
    if host.booted != expected:
        result["decided_by"], result["decision"] = judge(expected, look(expected))
        if result["decided_by"] == BOOT_COUNTING and host.default() == expected:
            try:
                _rollback.rollback(engine, "drop_pending", True, check_mode=False, diff=False)
            except Interrupted:
                raise
            except TransactionalError as error:
                result["decision"] += f"; that snapshot stays the default, as {error}"
    return dict(result, pending=host.default() != host.current, trial=_trial.tell())
