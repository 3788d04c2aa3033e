# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The engine for hosts that have ``tukit``.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import os
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils import _processes
from ansible_collections.microos.transactional.plugins.module_utils._engine.base import Engine
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError, busy
from ansible_collections.microos.transactional.plugins.module_utils._namespace import STAY, Namespace
from ansible_collections.microos.transactional.plugins.module_utils._tools import command, snapper, tukit


def update_lock_holder() -> int | None:
    """The ``transactional-update`` that runs now; its lock is a file with its process id."""
    try:
        with open(tukit.UPDATE_LOCK_FILE, encoding="ascii") as stream:
            pid = int(stream.read())
    except (OSError, ValueError):
        return None
    return pid if os.path.exists(f"/proc/{pid}") else None


def explain_busy(exc: command.CommandError) -> TransactionalError:
    """The error to raise for a failed tukit: who holds the lock, where that is the reason."""
    if not tukit.is_busy(exc.result.stderr):
        return exc
    pid = _processes.lock_holder(tukit.LOCK_FILE)
    return busy(f"tukit is held by {_processes.describe(pid)}", **exc.details)


class TukitEngine(Engine):
    name = "tukit"

    def open(self, base: int, description: str, userdata: t.Mapping[str, str]) -> int:
        pid = update_lock_holder()
        if pid:
            raise busy(f"transactional-update, {_processes.describe(pid)}")
        try:
            number = tukit.open_(base, description)
        except command.CommandError as exc:
            raise explain_busy(exc) from exc
        # tukit opens with cleanup "number", and the cleanup takes open snapshots like any other
        snapper.modify(number, userdata, cleanup="")
        return number

    def hold(self, number: int) -> Namespace:
        env = {"TRANSACTIONAL_UPDATE": "true", "TRANSACTIONAL_UPDATE_ROOT": snapper.path_of(number)}
        try:
            return Namespace(tukit.call_argv(number, ["sh", "-c", STAY]), env)
        except command.CommandError as exc:
            raise explain_busy(exc) from exc

    def close(self, number: int) -> None:
        try:
            tukit.close(number)
        except command.CommandError as exc:
            raise explain_busy(exc) from exc

    def abort(self, number: int) -> None:
        tukit.abort(number)
