# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The engine for hosts that have ``tukit``.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import os
import time
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils import _processes
from ansible_collections.microos.transactional.plugins.module_utils._engine.base import Engine, environment
from ansible_collections.microos.transactional.plugins.module_utils._errors import Busy, TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._namespace import STAY, Namespace
from ansible_collections.microos.transactional.plugins.module_utils._tools import command, snapper, tukit

# tukit takes its lock for each call and never waits for it, so a mere "tukit snapshots" of a monitor can be in the way.
PATIENCE_SECONDS = 5
T = t.TypeVar("T")


def patiently(work: t.Callable[[], T]) -> T:
    """Call tukit, again for a while if it is busy; at last the error says who holds its lock."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return work()
        except command.CommandError as exc:
            if not tukit.is_busy(exc.result.stderr):
                raise
            if time.monotonic() > deadline:
                holder = _processes.describe(_processes.lock_holder(tukit.LOCK_FILE))
                raise Busy(f"tukit is held by {holder}", **exc.details) from exc
        time.sleep(0.1)


class TukitEngine(Engine):
    name = "tukit"

    def refuse_if_busy(self) -> None:
        """``transactional-update`` calls tukit several times; between the calls only its own lock file tells of it."""
        try:
            with open(tukit.UPDATE_LOCK_FILE, encoding="ascii") as stream:
                pid = int(stream.read())
        except (OSError, ValueError):
            return
        if os.path.exists(f"/proc/{pid}"):
            raise Busy(f"transactional-update, {_processes.describe(pid)}")

    def open(self, base: int, description: str, userdata: t.Mapping[str, str]) -> int:
        number = patiently(lambda: tukit.open_(base, description))
        # tukit opens with cleanup "number", and the cleanup takes open snapshots like any other
        snapper.modify(number, userdata, cleanup="")
        return number

    def hold(self, number: int, stay: t.Sequence[str] = STAY, keep: t.Callable[..., t.Any] = Namespace) -> t.Any:
        return patiently(lambda: keep(tukit.call_argv(number, stay), environment(number)))

    def close(self, number: int) -> None:
        patiently(lambda: tukit.close(number))

    def abort(self, number: int) -> None:
        try:
            patiently(lambda: tukit.abort(number))
        except command.CommandError as exc:
            if not tukit.is_closed(exc.result.stderr):
                raise
            snapper.delete(number)
        if snapper.exists(number):  # tukit 6.1.3 ends with 0 although snapper refused
            raise TransactionalError(f"tukit did not delete snapshot {number}; try: snapper delete {number}")
