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
from ansible_collections.microos.transactional.plugins.module_utils._tools import (
    command,
    snapper,
    transactional_update,
    tukit,
)

# In seconds. tukit takes its lock for each call and never waits for it, so a mere "tukit snapshots" of a monitor can be
# in the way.
PATIENCE_SECONDS = 5
# By which the time of a file and the start of a process may differ
CLOCK_TOLERANCE = 5
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


def update_in_progress() -> str | None:
    """The ``transactional-update`` that is at work, described, by the lock file that it leaves if it is killed.

    The process id in it may be anybody's by now: that of another user, or of a process that started later.
    """
    try:
        with open(tukit.UPDATE_LOCK_FILE, encoding="ascii") as stream:
            process = _processes.find(int(stream.read(20)))
            written = os.fstat(stream.fileno()).st_mtime
    except (OSError, ValueError, OverflowError):
        return None
    if process is None:
        return None
    with process:
        if not process.is_roots():
            return None
        is_later = process.age() + CLOCK_TOLERANCE < time.time() - written
        if is_later and b"transactional-update" not in process.command_line():
            return None
        return process.describe()


class TukitEngine(Engine):
    name = "tukit"

    def refuse_if_busy(self) -> None:
        """``transactional-update`` calls tukit several times; between the calls only its own lock file tells of it."""
        manager = transactional_update.snapshot_manager()
        if manager not in ("auto", "snapper"):
            raise TransactionalError(
                f"tukit of this host does not make snapshots with snapper, but with {manager}: SNAPSHOT_MANAGER in "
                f"tukit.conf. An image that it fetches would take the place of the root file system, and of the work "
                "in the transaction. Set SNAPSHOT_MANAGER=snapper, or use 'engine: snapper'")
        holder = update_in_progress()
        if holder:
            raise Busy(f"transactional-update, {holder}")

    def open(self, base: int, description: str, userdata: t.Mapping[str, str]) -> int:
        number = patiently(lambda: tukit.open_(base, description))
        try:
            # tukit opens with cleanup "number", and the cleanup takes open snapshots like any other
            snapper.modify(number, userdata, cleanup="")
        except TransactionalError as exc:
            try:
                self.abort(number)
            except TransactionalError as second:
                exc.add(f"Snapshot {number} could not be deleted, the next run will try again: {second}")
            raise
        return number

    def hold(self, number: int, stay: t.Sequence[str] = STAY, keep: t.Callable[..., t.Any] = Namespace) -> t.Any:
        return patiently(lambda: keep(tukit.call_argv(number, stay), environment(number)))

    def close(self, number: int) -> None:
        patiently(lambda: tukit.close(number))

    def _delete(self, number: int) -> None:
        try:
            patiently(lambda: tukit.abort(number))
        except command.CommandError as exc:
            if not tukit.is_closed(exc.result.stderr):
                raise
            snapper.delete(number)
