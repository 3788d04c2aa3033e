# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The interface of an engine: how a snapshot is opened, held, closed and deleted on this host.

An engine does what it is told; the promises are kept in ``_transaction``.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import abc
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils._errors import Busy, TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._host import Host
from ansible_collections.microos.transactional.plugins.module_utils._namespace import STAY, Namespace
from ansible_collections.microos.transactional.plugins.module_utils._tools import (
    boot_entries,
    btrfs,
    disks,
    mounts,
    snapper,
)

# tukit's mark of an open transaction. The snapper engine sets it too, so that every tool knows such a snapshot.
IN_PROGRESS = "transactional-update-in-progress"
# Of the read-write copy that a rollback made
COPY = "ansible-copy-of"
# What a finished snapshot gets, so that it is cleaned up some day
CLEANUP = "number"


def is_open(snapshot: t.Mapping) -> bool:
    """Whether a row of the snapshot list is an open transaction."""
    return snapshot["userdata"].get(IN_PROGRESS) == "yes"


def environment(number: int) -> dict[str, str]:
    """What tukit (6.1.3) tells the commands that it calls."""
    return {"TRANSACTIONAL_UPDATE": "true", "TRANSACTIONAL_UPDATE_ROOT": snapper.path_of(number)}


class Engine(abc.ABC):
    name = ""

    def __init__(self, host: Host):
        self.host = host

    @abc.abstractmethod
    def refuse_if_busy(self) -> None:
        """Raise an error if another tool of the host is in the middle of a transaction."""

    @abc.abstractmethod
    def open(self, base: int, description: str, userdata: t.Mapping[str, str]) -> int:
        """Make an open read-write snapshot of ``base``, kept from the cleanup; returns its number."""

    @abc.abstractmethod
    def hold(self, number: int, stay: t.Sequence[str] = STAY, keep: t.Callable[..., t.Any] = Namespace) -> t.Any:
        """Start ``stay``, a command that stays in the mount namespace of an open snapshot.

        ``keep`` starts the process, from its complete argv and the environment of the commands that will enter.
        """

    @abc.abstractmethod
    def close(self, number: int) -> None:
        """Make an open snapshot the default; read-only if the default was."""

    @abc.abstractmethod
    def _delete(self, number: int) -> None:
        """Have the tool of this engine delete an open snapshot, or one whose close failed half-way."""

    def abort(self, number: int) -> None:
        """Delete an open snapshot, or one whose close failed half-way, whatever the work in it has left.

        What counts is whether it is gone: tools end with an error after they have deleted it, and without one though
        they have not.
        """
        path = snapper.path_of(number)
        left = mounts.unmount_below(f"{snapper.HOME}/{number}")
        if snapper.exists(number):
            left += btrfs.make_deletable(path)
        try:
            self._delete(number)
        except Busy:
            raise
        except TransactionalError as exc:
            if snapper.exists(number):
                for problem in left:
                    exc.add(problem)
                raise
        if snapper.exists(number):
            raise TransactionalError(". ".join([f"snapshot {number} is not deleted, though no tool told of an error; "
                                                f"try: snapper delete {number}", *left]))

    def mend_boot_entry(self) -> None:
        """Have snapper's plugins write the boot entry of the default again, where it is missing.

        It is on another file system than the default itself, and a power cut may have taken the one and left the other.
        """
        default, entries = self.host.default(), boot_entries.entries()
        if entries and default not in entries:
            snapper.set_default(default)
            disks.flush()

    def rollback(self, number: int) -> int:
        """Make a closed snapshot the default; returns its number.

        On a read-write host a read-only snapshot gets a read-write copy, which becomes the default instead.
        """
        writable = not btrfs.is_read_only(snapper.path_of(self.host.default()))
        if writable and btrfs.is_read_only(snapper.path_of(number)):
            number = snapper.create(number, f"writable copy of #{number}", {COPY: str(number)})
            snapper.modify(number, cleanup=CLEANUP)
        snapper.set_default(number)
        return number
