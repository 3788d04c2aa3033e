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
from ansible_collections.microos.transactional.plugins.module_utils._errors import (
    Busy,
    Interrupted,
    TransactionalError,
    tell,
)
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
# An interrupted run's snapshot that could not be deleted. It is left to people, and to snapper's cleanup.
UNDELETED = PREFIX + "undeleted"
# Seconds that the end of a transaction waits for others who only look whether the host is free, or end it themselves
PATIENCE = 60
SIGNALS = {signal.SIGTERM, signal.SIGHUP, signal.SIGINT}
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
        and FAILED not in row["userdata"] and UNDELETED not in row["userdata"] and row["number"] not in in_use
        and (TAG in row["userdata"] or row["description"].startswith(DESCRIPTION_PREFIX))
    ]


@contextlib.contextmanager
def uninterrupted():
    """Put signals off: what is half opened, half closed or half deleted could not be cleaned up."""
    came: Interrupted | None = None
    before: t.Any = None
    while before is None:
        try:
            before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        except Interrupted as exc:  # just before
            came = exc
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if came:
        raise came


def _too_late() -> None:
    """Forget signals that were put off: what they were to prevent is done."""
    for number in signal.sigpending() & SIGNALS:
        signal.sigwait({number})


class Over(TransactionalError):
    """Somebody else has ended the transaction meanwhile; there is nothing left to end."""


class Transaction:
    """``with Transaction(...) as tx: tx.run(...); tx.close()``.

    ``base`` is the snapshot to start from instead of the default, ``provenance`` goes into the userdata. ``hold`` keeps
    the namespace; a transaction that was left open with it goes on in an object made with ``resume``. ``replace`` is
    the id of an open one whose run is known to be over.
    """

    def __init__(self, engine: Engine, module: str, description: str, keep_failed: bool = False,
                 base: int | None = None, provenance: t.Mapping[str, str] | None = None,
                 hold: t.Callable[[Transaction], t.Any] | None = None, replace: str | None = None):
        self.engine = engine
        self.id = str(uuid.uuid4())
        self.base = base
        self.default: int | None = None  # what was the default at the opening
        self.snapshot: int | None = None
        self.recovered: list[int] = []
        self.ended: list[str] = []  # processes that still ran inside at the end
        self.warnings: list[str] = []
        self.description = (DESCRIPTION_PREFIX + description)[:DESCRIPTION_LENGTH]
        self._tags = dict({PREFIX + name: value for name, value in (provenance or {}).items()}, **{MODULE: module})
        self._keep_failed = keep_failed
        self._hold = hold or (lambda transaction: engine.hold(transaction.snapshot))
        self._replace = replace
        self._over = False
        self._became = ""  # what became of the snapshot
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
        resumed = self.snapshot is not None
        self._lock.acquire(self.description, PATIENCE if resumed else 0)
        try:
            if resumed:
                self._refuse_if_over()
            else:
                self._open()
        except BaseException as exc:
            self.__exit__(type(exc), exc, None)
            raise
        return self

    def _refuse_if_over(self) -> None:
        """What was found open before the lock was taken may have been ended meanwhile, and is nobody's to end again."""
        now = _resident.load(self._namespace.key)
        if now is None or now.details["id"] != self.id:
            self._over, self._namespace = True, None
            raise self._end_of_others()

    def _end_of_others(self) -> Over:
        row = next((row for row in snapper.snapshots() if row["userdata"].get(TAG) == self.id), None)
        which = f"the transaction on snapshot {self.snapshot} was ended meanwhile by another task or another run"
        if row is None:
            return Over(f"{which}: aborted, or closed without a change, and its snapshot is deleted")
        if FAILED in row["userdata"]:
            return Over(f"{which}: it was aborted, and snapshot {self.snapshot} was kept for a look")
        if is_open(row):
            return Over(f"{which}, which did not come to the end of it; the next run deletes snapshot {self.snapshot}")
        default = self.engine.host.default()
        return Over(f"the transaction was closed meanwhile by another task or another run as snapshot {self.snapshot}, "
                    + ("which is the default" if default == self.snapshot else f"and the default is now {default}"),
                    closed=self.snapshot)

    def _open(self) -> None:
        other = _resident.load(_resident.OPEN)
        if other and other.details["id"] == self._replace:
            other.release()
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
            except Busy:
                raise
            except Exception as exc:
                self._clear_failed_opening(there, exc)
                raise
        self._namespace = self._hold(self)

    def _clear_failed_opening(self, there: t.Container[int], exc: Exception) -> None:
        """Delete what it has made all the same. ``there`` is what was there before."""
        try:
            makers = _processes.named(snapper.PROGRAMS)
            half_made = snapper.delete_half_made(there, lambda: any(_processes.lives(*maker) for maker in makers))
            for number in leftovers(snapper.snapshots(), self._in_use()):
                if number not in there:
                    self.engine.abort(number)
                    tell(exc, f"Snapshot {number}, which was made, was deleted")
            if half_made:
                tell(exc, f"Somebody else seems to be at work on {', '.join(half_made)}, which was left alone")
        except (TransactionalError, OSError) as second:
            tell(exc, f"If a snapshot was made, or is made later, the next run deletes it; now that failed: {second}")

    def _in_use(self) -> set[int]:
        host = self.engine.host
        return {host.booted, host.current, host.default()}

    def leave_open(self) -> None:
        """Leave the ``with`` block without an end; somebody will ``resume``."""
        self._over = True
        self._became = f"Snapshot {self.snapshot} stays open: close it or abort"

    @contextlib.contextmanager
    def left_open_by_errors(self) -> t.Iterator[None]:
        """A context in which errors do not delete the snapshot."""
        self.leave_open()
        yield
        self._over, self._became = False, ""

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
            self._became = f"Snapshot {self.snapshot} was closed before that, and is the default"
            disks.flush()
            try:
                snapper.modify(self.snapshot, {CLOSING: ""})
            except TransactionalError as exc:
                self.warnings.append(f"snapshot {self.snapshot} is closed, but keeps the mark '{CLOSING}', which the "
                                     f"next run takes away: {exc}")
            _too_late()

    def keep(self) -> None:
        """Instead of deleting it, keep the snapshot for a look; it never becomes the default."""
        self._leave()
        snapper.modify(self.snapshot, {FAILED: "yes", CLOSING: ""}, cleanup=CLEANUP)
        self._over = True
        self._became = f"Snapshot {self.snapshot} was kept for a look at {snapper.path_of(self.snapshot)}"

    def __exit__(self, _type, exc, _traceback):
        try:
            with uninterrupted():
                if self.snapshot is not None and not self._over:
                    self._abandon(exc)
                elif self._became and "stays open" not in str(exc):
                    tell(exc, self._became)
        except Interrupted as late:  # put off until here
            if exc is not None and exc is not late:
                late.add(f"Before that: {exc}")
            elif self._became:
                late.add(self._became)
            raise
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
                if isinstance(exc, TransactionalError):
                    exc.details["kept_snapshot"] = self.snapshot
            else:
                self._leave()
                if snapper.exists(self.snapshot):  # tukit deletes it by itself if it cannot mount it
                    self.engine.abort(self.snapshot)
                self._became = f"Snapshot {self.snapshot} was deleted"
            self._became += f"; the default is {self.engine.host.default()}"
        except (TransactionalError, OSError) as second:
            if exc is None:
                raise
            self._became = f"Snapshot {self.snapshot} could not be deleted, the next run will try again: {second}"
        tell(exc, self._became)

    def _leave(self) -> None:
        """End what still runs in the snapshot: it would go on writing into it."""
        if self._namespace is not None:
            self._namespace.release()
            self._namespace = None
        if snapper.exists(self.snapshot):
            self.ended += _processes.end_inside(snapper.path_of(self.snapshot))

    def _recover(self) -> None:
        """Delete what runs that are over have left; they hold nothing any more, as nobody else is at work.

        One that cannot be deleted is no reason to do nothing on this host any more.
        """
        _resident.forget_dead()
        rows = snapper.snapshots()
        found = leftovers(rows, self._in_use())
        for number in found:
            try:
                with uninterrupted():
                    _processes.end_inside(snapper.path_of(number))
                    self.engine.abort(number)
                self.recovered.append(number)
            except (Busy, Interrupted, command.TimedOut):
                raise
            except (TransactionalError, OSError) as exc:
                self.warnings.append(f"snapshot {number} of an interrupted run could not be deleted: {exc}. It will "
                                     f"not be tried again; see to it, and delete it with: snapper delete {number}")
                with contextlib.suppress(command.CommandError):
                    snapper.modify(number, {UNDELETED: "yes", CLOSING: ""}, cleanup=CLEANUP)
        for number in (row["number"] for row in rows if CLOSING in row["userdata"]):
            if number not in found:
                snapper.modify(number, {CLOSING: ""})
        self.engine.mend_boot_entry()

    def _about(self, number: int) -> str:
        row = next((row for row in snapper.snapshots() if row["number"] == number), None)
        return f" ('{row['description']}', made {row['date']} UTC)" if row else ""
