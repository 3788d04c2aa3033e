# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A transaction: an open snapshot, the work in it, and its end. The one place where the promises are kept.

* failure leaves no trace: leaving the ``with`` block without ``close`` deletes the snapshot
* work continues from the pending snapshot: the base is always the default
* nothing is lost silently: close fails if somebody moved the default meanwhile
* crashes are survivable: what an interrupted run left is known by its tag and deleted by the next run
* every snapshot can be explained: description and userdata say what made it

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import contextlib
import os
import signal
import typing as t
import uuid

from ansible_collections.microos.transactional.plugins.module_utils import _processes, _resident, _trial
from ansible_collections.microos.transactional.plugins.module_utils._engine.base import CLEANUP, Engine, is_open
from ansible_collections.microos.transactional.plugins.module_utils._engine.snapper import SnapperEngine
from ansible_collections.microos.transactional.plugins.module_utils._engine.tukit import TukitEngine
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._host import Host
from ansible_collections.microos.transactional.plugins.module_utils._lock import Lock
from ansible_collections.microos.transactional.plugins.module_utils._tools import command, disks, snapper

# Keys of the userdata
PREFIX = "ansible-"
TAG = PREFIX + "transaction"
BASE = PREFIX + "base"
MODULE = PREFIX + "module"
FAILED = PREFIX + "failed"
# From before the close until its result is on the disk. The userdata is there at once, the default only with the next
# commit of btrfs: a power cut between the two leaves a closed snapshot that never was the default.
CLOSING = PREFIX + "closing"
# Seconds that the end of a transaction waits for others who only look whether the host is free
PATIENCE = 60
# Between tukit's open and the tagging only the description tells whose snapshot it is.
DESCRIPTION_PREFIX = "ansible: "
DESCRIPTION_LENGTH = 120
ZYPPER_STATE = "/var/lib/zypp"


def choose_engine(host: Host, wanted: str = "auto") -> Engine:
    """The engine for a host: tukit where it is installed, else snapper; ``wanted`` overrides."""
    has_tukit = command.which("tukit") is not None
    if wanted == "tukit" and not has_tukit:
        raise TransactionalError("engine 'tukit' was asked for, but tukit is not installed on this host; "
                                 "use engine 'auto' or 'snapper'")
    if wanted == "tukit" or (wanted == "auto" and has_tukit):
        return TukitEngine(host)
    return SnapperEngine(host)


def leftovers(snapshots: t.Iterable[t.Mapping], in_use: t.Container[int]) -> list[int]:
    """Snapshots that an earlier run of this collection left open or half closed, unless they were kept on purpose.

    One that is in use all the same, booted from the boot menu perhaps, is not ours to delete any more; neither is a
    half closed one that others came after, who may have had it as their default.
    """
    rows = list(snapshots)
    newest = max((row["number"] for row in rows), default=0)
    return [
        row["number"] for row in rows
        if (is_open(row) or (CLOSING in row["userdata"] and row["number"] == newest))
        and FAILED not in row["userdata"] and row["number"] not in in_use
        and (TAG in row["userdata"] or row["description"].startswith(DESCRIPTION_PREFIX))
    ]


@contextlib.contextmanager
def uninterrupted():
    """Put signals off: what is half opened, half closed or half deleted could not be cleaned up."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP, signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Transaction:
    """``with Transaction(...) as tx: tx.run(...); tx.close()``.

    ``base`` is the snapshot to start from instead of the default, ``provenance`` goes into the userdata. ``hold`` keeps
    the namespace; a transaction that was left open with it goes on in an object made with ``resume``.
    """

    def __init__(self, engine: Engine, module: str, description: str, keep_failed: bool = False,
                 base: int | None = None, provenance: t.Mapping[str, str] | None = None,
                 hold: t.Callable[[Transaction], t.Any] | None = None):
        self.engine = engine
        self.id = str(uuid.uuid4())
        self.base = base
        self.default: int | None = None  # what was the default at the opening
        self.snapshot: int | None = None
        self.recovered: list[int] = []
        self.ended: list[str] = []  # processes that still ran inside at the end
        self.description = (DESCRIPTION_PREFIX + description)[:DESCRIPTION_LENGTH]
        self._tags = dict({PREFIX + name: value for name, value in (provenance or {}).items()}, **{MODULE: module})
        self._keep_failed = keep_failed
        self._hold = hold or (lambda transaction: engine.hold(transaction.snapshot))
        self._over = False
        self._lock = Lock()
        self._namespace: t.Any = None

    @classmethod
    def resume(cls, engine: Engine, resident: _resident.Resident) -> Transaction:
        """Go on with a transaction that was left open."""
        of = resident.details
        transaction = cls(engine, "", "", of["keep_failed"], of["base"])
        transaction.description = of["description"]
        transaction.id, transaction.snapshot, transaction.default = of["id"], of["snapshot"], of["default"]
        transaction._namespace = resident
        return transaction

    def __enter__(self):
        self._lock.acquire(self.description, PATIENCE if self.snapshot else 0)
        try:
            if self.snapshot is None:
                self._open()
        except BaseException as exc:
            self.__exit__(type(exc), exc, None)
            raise
        return self

    def _open(self) -> None:
        _resident.refuse_if_open()
        _trial.refuse_if_under_way()
        self.engine.refuse_if_busy()
        self._recover()
        if command.which("zypper"):
            # live inside only if it is there; else zypper's memory would be written where the host's /var hides it
            os.makedirs(ZYPPER_STATE, exist_ok=True)
        self.default = self.engine.host.default()
        self.base = self.default if self.base is None else self.base
        tags = dict(self._tags, **{TAG: self.id, BASE: str(self.base)})
        there = snapper.directories()
        with uninterrupted():
            try:
                self.snapshot = self.engine.open(self.base, self.description, tags)
            except TransactionalError:
                snapper.delete_half_made(there)
                raise
        self._namespace = self._hold(self)

    def leave_open(self) -> None:
        """Leave the ``with`` block without an end; somebody will ``resume``."""
        self._over = True

    def run(self, argv: t.Sequence[str], env: t.Mapping[str, str] | None = None, **options: t.Any) -> command.Result:
        """Run a command in the transaction, with the ``options`` of ``command.run``."""
        return self._namespace.run(argv, env, **options)

    def close(self) -> None:
        """Make the snapshot the default. After an error here the snapshot is deleted as after any other."""
        self._leave()
        default = self.engine.host.default()
        if default != self.default:
            raise TransactionalError(
                f"snapshot {self.snapshot} was made from {self.base}, but the default is now {default}"
                f"{self._about(default)}; closing would lose that change, so it was not closed. Run the task again to "
                f"build on snapshot {default}", base=self.base, default=default)
        with uninterrupted():
            snapper.modify(self.snapshot, {CLOSING: "yes"}, cleanup=CLEANUP)
            self.engine.close(self.snapshot)
            now = self.engine.host.default()
            if now != self.snapshot:
                raise TransactionalError(f"snapshot {self.snapshot} was closed, but the default is {now}",
                                         base=self.base, default=now)
            self._over = True
            disks.flush()
            snapper.modify(self.snapshot, {CLOSING: ""})

    def keep(self) -> None:
        """Instead of deleting it, keep the snapshot for a look; it never becomes the default."""
        self._leave()
        snapper.modify(self.snapshot, {FAILED: "yes", CLOSING: ""}, cleanup=CLEANUP)
        self._over = True

    def __exit__(self, _type, exc, _traceback):
        try:
            if self.snapshot is not None and not self._over:
                with uninterrupted():
                    self._abandon(exc)
        finally:
            self._lock.release()

    def _abandon(self, exc: BaseException | None) -> None:
        """Delete the snapshot, or keep it for a look; whatever goes wrong here joins the first error."""
        try:
            if self.engine.host.default() == self.snapshot:  # tukit chooses it before its plugins, and one may fail
                snapper.set_default(self.default)
                disks.flush()
            if exc is not None and self._keep_failed:
                self.keep()
                outcome = f"Snapshot {self.snapshot} was kept for a look at {snapper.path_of(self.snapshot)}"
                details = {"kept_snapshot": self.snapshot}
            else:
                self._leave()
                if snapper.exists(self.snapshot):  # tukit deletes it by itself if it cannot mount it
                    self.engine.abort(self.snapshot)
                outcome, details = f"Snapshot {self.snapshot} was deleted", {}
            if isinstance(exc, TransactionalError):
                exc.add(f"{outcome}; the default is {self.engine.host.default()}")
                exc.details.update(details)
        except TransactionalError as second:
            if not isinstance(exc, TransactionalError):
                raise
            exc.add(f"Snapshot {self.snapshot} could not be deleted, the next run will try again: {second}")

    def _leave(self) -> None:
        """End what still runs in the snapshot: it would go on writing into it."""
        if self._namespace is not None:
            self._namespace.release()
            self._namespace = None
        if snapper.exists(self.snapshot):
            self.ended += _processes.end_inside(snapper.path_of(self.snapshot))

    def _recover(self) -> None:
        """Delete what runs that are over have left; they hold nothing any more, as nobody else is at work."""
        _resident.forget_dead()
        host = self.engine.host
        rows = snapper.snapshots()
        self.recovered = leftovers(rows, {host.booted, host.current, host.default()})
        for number in self.recovered:
            _processes.end_inside(snapper.path_of(number))
            self.engine.abort(number)
        for number in (row["number"] for row in rows if CLOSING in row["userdata"]):
            if number not in self.recovered:
                snapper.modify(number, {CLOSING: ""})
        self.engine.mend_boot_entry()

    def _about(self, number: int) -> str:
        row = next((row for row in snapper.snapshots() if row["number"] == number), None)
        return f" ('{row['description']}', made {row['date']} UTC)" if row else ""
