# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which snapshots a host may boot, and which of them a rollback means.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import datetime
import functools
import glob
import os
import re
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils import _package_requests, _package_state
from ansible_collections.microos.transactional.plugins.module_utils._engine.base import is_open
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._host import Host
from ansible_collections.microos.transactional.plugins.module_utils._tools import boot_entries, boot_records, snapper
from ansible_collections.microos.transactional.plugins.module_utils._transaction import (
    BASE,
    FAILED,
    PREFIX,
    leftovers,
)

UTC = datetime.timezone.utc
DATE = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?)(Z|[+-]\d\d:\d\d)?)?\Z")
# Where distributions keep a kernel in the root file system
KERNELS = ("/boot/vmlinu[xz]*", "/boot/[Ii]mage*", "/usr/lib/modules/*/vmlinu[xz]", "/usr/lib/modules/*/[Ii]mage")


# --- what a host may boot -------------------------------------------------------------------------------------------


def refusal(row: t.Mapping) -> str | None:
    """Why a host may not boot a snapshot, as far as its own record tells."""
    if FAILED in row["userdata"]:
        return "it was kept after a failure"
    if is_open(row):
        return "it is an open transaction"
    return None


def usable_numbers(rows: t.Iterable[t.Mapping]) -> list[int]:
    """The snapshots that nothing in their records speaks against."""
    return [row["number"] for row in rows if refusal(row) is None]


def refusals(host: Host, rows: t.Sequence[t.Mapping]) -> dict[int, str]:
    """The snapshots that this host may not boot, and why."""
    default = host.default()
    half_closed = leftovers(rows, {host.booted, host.current, default})
    entries = boot_entries.entries()
    known = snapper.path_of(default)
    found = {}
    for number, reason in ((row["number"], refusal(row)) for row in rows):
        root = snapper.path_of(number)
        if reason:
            found[number] = reason
        elif number in half_closed:
            found[number] = "an interrupted run left it half closed"
        elif _is_empty(f"{root}/etc") and not _is_empty(f"{known}/etc"):
            # snapper's plugin deletes a nested /etc first of all
            found[number] = "its /etc is gone, so somebody deletes it just now or was interrupted at that"
        elif _has_kernel(known) and not _has_kernel(root) and number not in entries:
            found[number] = "it has neither a kernel nor a boot entry"
    return found


def _is_empty(directory: str) -> bool:
    try:
        with os.scandir(directory) as entries:
            return next(entries, None) is None
    except FileNotFoundError:
        return True


def _has_kernel(root: str) -> bool:
    return any(glob.glob(root + pattern) for pattern in KERNELS)


# --- what is meant --------------------------------------------------------------------------------------------------


def previous(rows: t.Sequence[t.Mapping], usable: t.Collection[int], current: int) -> int:
    """The snapshot that the current one was made from: the recorded base, else the newest one before it."""
    recorded = next((row["userdata"].get(BASE, "") for row in rows if row["number"] == current), "")
    number = snapper.parse_number(recorded)
    if number in usable:
        return number
    older = [number for number in usable if number < current]
    if not older:
        raise TransactionalError(f"there is no snapshot before the current one, {current}")
    return max(older)


def parse_date(text: str) -> datetime.datetime:
    """A date, or date and time, of ISO 8601; UTC if it does not say otherwise."""
    found = DATE.match(text.strip())
    try:
        if not found:
            raise ValueError("2026-01-31, 2026-01-31 04:00 or 2026-01-31T04:00:00+01:00 is expected")
        day, time, zone = found.groups()
        moment = datetime.datetime.fromisoformat(f"{day}T{time or '00:00'}{(zone or 'Z').replace('Z', '+00:00')}")
    except ValueError as exc:
        raise TransactionalError(f"before: '{text}' is no date: {exc}") from exc
    return moment


def made(row: t.Mapping) -> datetime.datetime:
    """When a snapshot was made."""
    try:
        return datetime.datetime.fromisoformat(row["date"]).replace(tzinfo=UTC)
    except ValueError as exc:
        raise TransactionalError(f"cannot read when snapshot {row['number']} was made: {exc}") from exc


def has_provenance(row: t.Mapping, wanted: t.Mapping[str, t.Any]) -> bool:
    return all(row["userdata"].get(PREFIX + key) == snapper.storable(str(value)) for key, value in wanted.items())


class Target(t.NamedTuple):
    """A snapshot, and why it is this one."""

    number: int
    reason: str


class Chooser:
    """Finds the snapshot that is meant among those of a host; nothing is changed."""

    def __init__(self, host: Host):
        self.host = host
        self.rows = snapper.snapshots()
        self.refused = refusals(host, self.rows)
        self.usable = [row for row in self.rows if row["number"] not in self.refused]
        self.numbers = [row["number"] for row in self.usable]

    def choose(self, selector: str, wanted: t.Any) -> Target:
        """``selector`` is the name of one of the module's options, ``wanted`` its value."""
        return getattr(self, "by_" + selector)(wanted)

    def by_drop_pending(self, _wanted: bool) -> Target:
        return Target(self.host.current, "it is the current one")

    def by_to(self, to: str) -> Target:
        if to == "previous":
            return Target(previous(self.rows, self.numbers, self.host.current), "it was there before the current one")
        if to == "last_working":
            return self._last_working()
        number = snapper.parse_number(to)
        if number is None:
            raise TransactionalError(f"to: '{to}' is neither the number of a snapshot, nor 'previous' or "
                                     "'last_working'")
        return self._numbered(number)

    def by_before(self, text: str) -> Target:
        moment = parse_date(text)
        shown = moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return self._newest(lambda row: made(row) < moment, f"made before {shown}")

    def by_provenance(self, wanted: t.Mapping[str, t.Any]) -> Target:
        if not wanted:
            raise TransactionalError("provenance: {} asks for nothing; give at least one key and its value")
        asked = ", ".join(f"{key}={value}" for key, value in wanted.items())
        return self._newest(lambda row: has_provenance(row, wanted), f"with the provenance {asked}")

    def by_without(self, text: str) -> Target:
        try:
            request = _package_requests.parse(text.strip(), remove=True)
        except TransactionalError as exc:
            raise TransactionalError(f"without: {exc}") from exc
        return self._newest(
            lambda row: not _package_state.removable(snapper.path_of(row["number"]), [request]), f"without {text}")

    def _newest(self, fulfils: t.Callable[[t.Mapping], bool], wanted: str) -> Target:
        """A default that fulfils the wish stays; what failed a trial is not chosen."""
        default = self.host.default()
        rows = sorted(self.usable, key=lambda row: (row["number"] == default, row["number"]), reverse=True)
        number = next((row["number"] for row in rows if fulfils(row)
                       and (row["number"] == default or row["number"] not in self._history.given_up)), None)
        if number is None:
            refused = "".join(f"; {bad} is not, {reason}" for bad, reason in sorted(self.refused.items()))
            raise self._error(f"there is no usable snapshot {wanted}", refused)
        return Target(number, f"it is the {'default' if number == default else 'newest usable one'}, {wanted}")

    def _numbered(self, number: int) -> Target:
        row = next((row for row in self.rows if row["number"] == number), None)
        if row is None and number in snapper.directories():
            raise self._error(f"snapshot {number} is none any more or none yet: there is {snapper.HOME}/{number}, but "
                              "snapper does not list it. Somebody deletes or makes it just now, or was interrupted")
        if row is None:
            raise self._error(f"there is no snapshot {number}")
        reason = self.refused.get(number)
        if reason:
            completed = "was never completed" if refusal(row) else "cannot be booted"
            raise self._error(f"snapshot {number} {completed}, {reason} ('{row['description']}')")
        return Target(number, "it was asked for")

    def _last_working(self) -> Target:
        checked = boot_records.last_working()
        if checked in self.numbers:
            return Target(checked, "health-checker found it working")
        newest = max(self.host.default(), self.host.current)
        records = self._history.booted
        records.update(dict.fromkeys((self.host.booted, self.host.current), "it is running"))
        booted = [number for number in self.numbers if number in records and number < newest]
        if not booted:
            about = f", and the one that health-checker names, {checked}, cannot be used" if checked else ""
            raise self._error(f"nothing on this host tells of an older snapshot than {newest} that was booted{about}. "
                              "Give the number of a snapshot or 'previous'")
        return Target(max(booted), records[max(booted)])

    @functools.cached_property
    def _history(self) -> boot_records.History:
        return boot_records.history({row["number"]: made(row) for row in self.usable})

    def _error(self, message: str, refused: str = "") -> TransactionalError:
        return TransactionalError(f"{message}; usable are {', '.join(map(str, self.numbers))}{refused}",
                                  snapshots=self.numbers)
