# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read the mount table.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils._tools import command

SNAPSHOT_ROOT = re.compile(r"/\.snapshots/(\d+)/snapshot(?:/|$)")


class Mount(t.NamedTuple):
    target: str
    root: str  # the part of the file system that is mounted, for btrfs the path of the subvolume
    fstype: str
    options: frozenset[str]


def _unescape(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda m: chr(int(m.group(1), 8)), field)


def parse_mountinfo(text: str) -> list[Mount]:
    """Parse ``/proc/self/mountinfo`` (format: proc(5))."""
    mounts = []
    for line in text.splitlines():
        before, _dash, after = line.partition(" - ")
        fields = before.split(" ")
        mounts.append(Mount(_unescape(fields[4]), _unescape(fields[3]), after.split(" ")[0],
                            frozenset(fields[5].split(","))))
    return mounts


def mount_at(mounts: t.Sequence[Mount], path: str) -> Mount | None:
    """The mount seen at exactly ``path``: the last one covers the earlier ones."""
    return next((m for m in reversed(mounts) if m.target == path), None)


def snapshot_number(mount: Mount | None) -> int | None:
    """The number of the snapper snapshot that a mount shows, if it shows one."""
    found = SNAPSHOT_ROOT.search(mount.root) if mount and mount.fstype == "btrfs" else None
    return int(found.group(1)) if found else None


def unmount_below(path: str) -> list[str]:
    """Take off what is mounted at a directory and below it, without asking who serves it; returns what failed."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as stream:
        found = [mount.target for mount in parse_mountinfo(stream.read()) if f"{mount.target}/".startswith(f"{path}/")]
    failed = []
    for target in reversed(found):
        result = command.run(["umount", "--lazy", "--no-canonicalize", target])
        if result.rc != 0:
            failed.append(f"{target} could not be unmounted: {result.stderr.strip()}")
    return failed
