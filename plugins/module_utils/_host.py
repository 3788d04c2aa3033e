# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What this host is, and which of its snapshots matter: booted, current, default.

Everything here only reads, and comes from capabilities, never from product names.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import os
import platform

from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._tools import btrfs, command, mounts, snapper

REBOOT_NEEDED = "/run/reboot-needed"


class Host:
    """The host this code runs on. ``current`` and ``booted`` are fixed for the life of the object."""

    def __init__(self):
        self.name = platform.node()
        self.mounts = mounts.parse_mountinfo(mounts.read_mountinfo())
        root = mounts.mount_at(self.mounts, "/")
        self._root_type = root.fstype if root else "unknown"
        self.booted = mounts.snapshot_number(root)
        # a live "apply" mounts another snapshot's /usr over the booted one
        self.current = mounts.snapshot_number(mounts.mount_at(self.mounts, "/usr")) or self.booted

    @property
    def mount_points(self) -> set[str]:
        return {mount.target for mount in self.mounts}

    def require_transactional(self) -> None:
        """Raise an error that names everything this host lacks."""
        if os.geteuid() != 0:
            raise TransactionalError("this needs root rights: set 'become: true' for the task or the play")
        lacks = []
        if self._root_type != "btrfs":
            lacks.append(f"its root file system is {self._root_type}, not btrfs")
        elif self.booted is None:
            lacks.append("its root is not mounted from a snapper snapshot (/.snapshots/N/snapshot)")
        if not command.which("snapper"):
            lacks.append("snapper is not installed")
        elif not os.path.exists(snapper.CONFIG_FILE):
            lacks.append(f"snapper has no configuration for the root file system ({snapper.CONFIG_FILE})")
        if lacks:
            raise TransactionalError("this is not a transactional host: " + "; ".join(lacks))

    def default(self) -> int:
        """The snapshot of the next boot, asked anew at each call."""
        path = btrfs.default_subvolume("/")
        number = mounts.snapshot_number(mounts.Mount("", "/" + path, "btrfs", frozenset()))
        if number is None:
            raise TransactionalError(
                "the default subvolume of the root file system is '%s', which is no snapper snapshot; "
                "make one the default with: snapper rollback" % (path or "/"))
        return number

    def root_of(self, number: int) -> str:
        """Where the root of a snapshot is found now."""
        return "/" if number == self.current == self.booted else snapper.path_of(number)


def reboot_needed() -> str | None:
    """What ``/run/reboot-needed`` says (none, soft-reboot, kexec, reboot, or nothing), None where it does not exist."""
    try:
        with open(REBOOT_NEEDED, encoding="utf-8", errors="replace") as stream:
            return stream.read().strip()
    except FileNotFoundError:
        return None
