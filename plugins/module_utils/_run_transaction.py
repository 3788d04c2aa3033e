# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The transaction of a run of Ansible: opened by one task, entered by others, closed or aborted by the last one.

In check mode it is a view instead, read-only and without a snapshot, that ends the same way.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import os
import time
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils import (
    _difference,
    _furniture,
    _processes,
    _resident,
    _services,
)
from ansible_collections.microos.transactional.plugins.module_utils._errors import Busy, TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._host import Host
from ansible_collections.microos.transactional.plugins.module_utils._namespace import (
    LENT,
    PRIVATE,
    bound,
    holder_argv,
    read_only,
)
from ansible_collections.microos.transactional.plugins.module_utils._text import ROWS, listed, printable, readable
from ansible_collections.microos.transactional.plugins.module_utils._tools import btrfs, mounts, rpm, snapper
from ansible_collections.microos.transactional.plugins.module_utils._transaction import Over, Transaction, choose_engine

MODULE = "microos.transactional.transaction"
SINCE = "%Y-%m-%dT%H:%M:%SZ"
# Written by those who only read: rpm's queries, the loading of Python modules
TRACES = ("/usr/lib/sysimage/rpm/.rpm.lock", "/usr/lib/sysimage/rpm/rpmdb.sqlite-shm",
          "/usr/lib/sysimage/rpm/rpmdb.sqlite-wal")
TRACE_DIRECTORY = "/__pycache__"
# Where libzypp (17.36) runs the %posttrans of packages; it makes the directory if need be, and leaves it empty
SCRATCH = ("/var/adm/update-scripts",)
# Mount points that no snapshot has anything for
ELSEWHERE = ("/proc", "/sys", "/dev", "/run", "/tmp", "/var/tmp", "/.snapshots")
# How long jobs may take to end before the close is refused
GRACE_SECONDS = 5


def is_trace(path: str) -> bool:
    return path in TRACES or TRACE_DIRECTORY in path


def hidden(mount_table: t.Iterable[mounts.Mount], live: t.Container[str]) -> list[str]:
    """Mount points that hide directories of a snapshot once it is booted, and that are not live in a transaction."""
    return sorted({mount.target for mount in mount_table
                   if mount.target != "/" and mounts.snapshot_number(mount) is None and mount.target not in live
                   and not mount.target.startswith(ELSEWHERE)})


def below(path: str, tops: t.Iterable[str]) -> bool:
    return any(path.startswith(top + "/") for top in tops)


class RunTransaction:
    """The one transaction that the run ``key`` may have on this host."""

    def __init__(self, host: Host, engine: str, key: str):
        self.host = host
        self.key = key
        self.warnings: list[str] = []
        self._engine = choose_engine(host, engine)

    # --- open -------------------------------------------------------------------------------------------------------

    def open(self, base: str, description: str, details: t.Mapping[str, t.Any], keep_failed: bool, wait: float,
             idle_timeout: int, check_mode: bool, replace: str | None = None) -> dict:
        """Open it, or find it open. ``details`` are kept with it for others to read.

        ``replace`` is the id of a transaction whose run is known to be over.
        """
        details = dict(details, engine=self._engine.name, keep_failed=keep_failed, description=description,
                       since=time.strftime(SINCE, time.gmtime()))
        number = None if base == "default" and not check_mode else self._number(base)
        deadline = time.monotonic() + wait
        while True:
            mine = _resident.load(self.key)
            if mine and mine.alive() and (check_mode or not mine.is_view) and mine.details["id"] != replace:
                return dict(self._told(mine), opened=False)
            if check_mode:
                return self._open_view(number, details, idle_timeout)
            if mine and mine.is_view:
                with _resident.one_at_a_time():
                    mine.release()
            try:
                return self._open(number, description, details, keep_failed, idle_timeout, replace)
            except Busy:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(0.5)

    def _number(self, base: str) -> int:
        if base in ("default", "current"):
            return self.host.default() if base == "default" else self.host.current
        if not base.isdigit() or not snapper.exists(int(base)):
            raise TransactionalError(f"there is no snapshot '{base}' to start from; give a number of 'snapper list', "
                                     "'default' or 'current'")
        return int(base)

    def _open_view(self, base: int, details: dict, idle_timeout: int) -> dict:
        with _resident.one_at_a_time():
            mine = _resident.load(self.key)
            if mine and mine.alive():  # another task of this run was faster
                return dict(self._told(mine), opened=False)
            if mine:
                mine.release()
            details.update(id=f"view-of-{base}-{self.key}", snapshot=base, base=base, view=True)
            view = _resident.Resident(self.key, details)
            steps = read_only(snapper.path_of(base), self.host.mount_points, keep_cache=False)
            view.start(holder_argv(snapper.path_of(base), steps, view.stay(idle_timeout)))
        return dict(self._told(view), opened=True)

    def _open(self, base: int | None, description: str, details: dict, keep_failed: bool, idle_timeout: int,
              replace: str | None) -> dict:
        def hold(transaction: Transaction) -> _resident.Resident:
            resident = _resident.Resident(self.key, dict(
                details, id=transaction.id, snapshot=transaction.snapshot, base=transaction.base,
                default=transaction.default, description=transaction.description, view=False))
            started = self._engine.hold(transaction.snapshot, resident.stay(idle_timeout), resident.start)
            root = snapper.path_of(transaction.snapshot)
            # the base's /etc is the running one perhaps, and goes on changing
            started.note(_difference.manifest(root, "/etc") if btrfs.is_subvolume(root + "/etc") else None)
            return started

        with Transaction(self._engine, MODULE, description, keep_failed, base, details["provenance"],
                         hold, replace) as transaction:
            transaction.leave_open()
        self._tell_recovered(transaction)
        return dict(self._told(_resident.load(self.key)), opened=True)

    def _tell_recovered(self, transaction: Transaction) -> None:
        self.warnings += transaction.warnings
        if transaction.recovered:
            numbers = ", ".join(map(str, transaction.recovered))
            self.warnings.append(f"deleted what an interrupted run had left: snapshot {numbers}. It was never closed, "
                                 "so nothing of its work was kept. If that run ended well, its play lacks the task "
                                 f"'{MODULE}: {{state: closed}}'")

    def _told(self, resident: _resident.Resident) -> dict:
        return {"changed": False, "engine": self._engine.name, "base": resident.details["base"],
                "snapshot": None if resident.is_view else resident.details["snapshot"],
                "transaction": self._about(resident)}

    def _about(self, resident: _resident.Resident) -> dict:
        return dict(resident.details, alive=resident.alive(), own=resident.key == self.key)

    # --- look -------------------------------------------------------------------------------------------------------

    def info(self) -> dict:
        """What is open on this host: this run's own transaction or view, else that of another run."""
        resident = _resident.load(self.key) or _resident.load(_resident.OPEN)
        default = self.host.default()
        return {"changed": False, "engine": self._engine.name, "pending": default != self.host.current,
                "transaction": resident and dict(self._about(resident), running=list(map(
                    _processes.describe, self._running(resident)))) or None}

    def _find(self, join: bool) -> _resident.Resident | None:
        mine = _resident.load(self.key)
        if mine:
            return mine
        other = _resident.load(_resident.OPEN)
        if not other or join:
            return other
        raise TransactionalError(f"this run has no open transaction here. There is another one: {other.describe()}. "
                                 "It is not this run's to end, unless you say 'join: true'", holder=other.details)

    def _running(self, resident: _resident.Resident) -> list[int]:
        """Processes inside other than the holder and its children."""
        if resident.is_view or not resident.alive():
            return []
        return [pid for pid in _processes.inside(snapper.path_of(resident.details["snapshot"]))
                if pid != resident.pid and _processes.parent(pid) != resident.pid]

    # --- end --------------------------------------------------------------------------------------------------------

    def abort(self, join: bool, keep_failed: bool, check_mode: bool) -> dict:
        """Delete the snapshot, or keep it for a look; nothing to do if there is none."""
        result = {"changed": False, "engine": self._engine.name, "snapshot": None, "ended": []}
        resident = self._find(join)
        if resident is None or check_mode and not resident.is_view:
            return result
        if resident.is_view:
            resident.release()
            return result
        try:
            with Transaction.resume(self._engine, resident) as transaction:
                if keep_failed or resident.details["keep_failed"]:
                    transaction.keep()
                    result["kept_snapshot"] = transaction.snapshot
        except Over as over:
            if "closed" in over.details:
                self.warnings.append(f"nothing was aborted: {over}")
            return result
        return dict(result, ended=transaction.ended)

    def close(self, join: bool, shadowed_writes: str, check_mode: bool) -> dict:
        """Make the snapshot the default if it differs from its base; what is refused here leaves it open."""
        resident = self._find(join)
        if resident is None:
            raise TransactionalError("there is no open transaction to close. Either it was never opened, or it is "
                                     "closed or aborted already, or the host was rebooted meanwhile, which ends it; "
                                     "nothing that was not closed is left in the default snapshot")
        if resident.is_view:
            resident.release()
            return dict(self._told(resident), transaction=None, pending=self.host.default() != self.host.current,
                        services=[], **self._report(resident, []))
        with Transaction.resume(self._engine, resident) as transaction:
            if not resident.alive():
                raise TransactionalError(
                    f"the namespace of the transaction on snapshot {transaction.snapshot} has ended before its close, "
                    "by a kill, a stop of its service or for want of use, so it cannot be told whether all the work "
                    "is in it")
            with transaction.left_open_by_errors():
                self._refuse_while_running(resident)
                changes = self._changes(resident)
                self._check_shadowed(resident, changes, shadowed_writes)
                before, after = (snapper.path_of(resident.details[name]) for name in ("base", "snapshot"))
                services = _services.differences(before, after, changes)
                result = dict(self._told(resident), transaction=None, services=services,
                              **self._report(resident, changes))
            if check_mode:
                transaction.leave_open()
                return dict(result, changed=bool(changes))
            if changes:
                if resident.sees(_furniture.MADE):
                    _furniture.take_out(after)
                transaction.close()
        self.warnings += transaction.warnings
        return dict(result, changed=bool(changes), snapshot=transaction.snapshot if changes else None,
                    pending=self.host.default() != self.host.current)

    def _refuse_while_running(self, resident: _resident.Resident) -> None:
        deadline = time.monotonic() + GRACE_SECONDS
        while True:
            running = self._running(resident)
            if not running:
                return
            _processes.end_agents(running)
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)
        jobs = list(map(_processes.describe, running))
        raise TransactionalError(
            f"something still runs in snapshot {resident.details['snapshot']} and would go on writing into it after "
            f"the close: {'; '.join(jobs)}. The transaction stays open: wait for the jobs (async_status) and close "
            "again, or abort", running=jobs)

    def _changes(self, resident: _resident.Resident) -> list[tuple[str, str]]:
        """What the work changed in the snapshot, without what mere reading leaves and what is live inside."""
        before, after = (snapper.path_of(resident.details[name]) for name in ("base", "snapshot"))
        live = bound(self.host.mount_points)
        then = resident.noted()
        skipped = set(live) | {"/.snapshots"} | ({"/etc"} if then is not None else set())
        try:
            # where SELinux is on, tukit (6.1.3) labels the snapshot's own /var anew as often as it works there
            found = _difference.compare(before, after, skipped, unlabelled=hidden(self.host.mounts, live))
            if then is not None:
                found += _difference.compare_since(then, before, after, "/etc")
        except TransactionalError as exc:
            exc.add("The transaction stays open: mend that and close again, or abort")
            raise
        # these are made where the snapshot has none, for the transaction to work
        made = (*live, *PRIVATE, *LENT, *_scratch(after), _furniture.SHUT_IN)
        points = {parent for path in made for parent in _parents(path)}
        return [(path, kind) for path, kind in found
                if not is_trace(path) and not (kind == _difference.ADDED and path in points)]

    def _check_shadowed(self, resident: _resident.Resident, changes: list[tuple[str, str]], policy: str) -> None:
        """Refuse, or warn of, what will not be seen after the boot: it lies where another file system is mounted."""
        tops = hidden(self.host.mounts, bound(self.host.mount_points))
        candidates = [path for path, kind in changes if kind != _difference.REMOVED and below(path, tops)]
        if not candidates or policy == "ignore":
            return
        root = snapper.path_of(resident.details["snapshot"])
        # packages bring directories there that the host makes anew at its boot, and more cannot be asked of them
        owned = rpm.owned(root, candidates)
        lost = [path for path in candidates if path not in owned]
        packaged = _difference.but_directories(root, sorted(owned))
        if packaged:
            self.warnings.append(f"files of packages are hidden by other mounts after the boot: {listed(packaged)}")
        if not lost:
            return
        text = (f"written in snapshot {resident.details['snapshot']}, but hidden after the boot by what is mounted at "
                f"{listed([top for top in tops if any(below(path, [top]) for path in lost)])}: {listed(lost)}")
        if policy == "warn":
            self.warnings.append(text)
        else:
            raise TransactionalError(
                f"{text}. The transaction stays open: undo these writes and close again, close with 'shadowed_writes: "
                "warn' to lose them, or abort. Do such work after the activation, outside of the transaction",
                shadowed_writes=lost[:ROWS], shadowed_writes_count=len(lost))

    def _report(self, resident: _resident.Resident, changes: list[tuple[str, str]]) -> dict:
        """The package and file differences; files that changed packages explain are only counted."""
        before, after = (snapper.path_of(resident.details[name]) for name in ("base", "snapshot"))
        differences: dict[str, list] = {"installed": [], "updated": [], "removed": []}
        explained: set[str] = set()
        if any(path.startswith("/usr/lib/sysimage/rpm/") for path, _kind in changes):
            differences = _difference.packages(rpm.installed(before), rpm.installed(after))
            gone = [dict(row, version=row.get("old_version", row["version"]))
                    for row in differences["removed"] + differences["updated"]]
            explained = rpm.files_of(after, differences["installed"] + differences["updated"])
            explained |= rpm.files_of(before, gone)
            explained.update(path for path, _kind in changes if path.startswith("/usr/lib/sysimage/rpm/"))
        files = [{"path": path, "change": kind} for path, kind in changes if path not in explained]
        told = files[:ROWS]
        lines = [f"package {name}: {rpm.label(row)}" + (f" (was {row['old_version']})" if "old_version" in row else "")
                 for name, rows in differences.items() for row in rows]
        lines += [f"file {row['change']}: {readable(row['path'])}" for row in told]
        if len(files) > len(told):
            lines.append(f"and {len(files) - len(told):,} more files")
        # before the close, as what cannot be told must not be made the default
        return printable(dict(differences, files=told, files_count=len(files),
                              files_of_packages=len(changes) - len(files),
                              diff={"prepared": "".join(line + "\n" for line in lines)}))


def _scratch(root: str) -> list[str]:
    """Directories that zypper's own work left empty."""
    return [path for path in SCRATCH if os.path.isdir(root + path) and not os.listdir(root + path)]


def _parents(path: str) -> list[str]:
    """The path itself and all directories above it."""
    parts = path.split("/")[1:]
    return ["/" + "/".join(parts[:count]) for count in range(1, len(parts) + 1)]
