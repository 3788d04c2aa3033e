# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read the mount table.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._tools import command

MOUNTINFO = "/proc/self/mountinfo"
SNAPSHOT_ROOT = re.compile(r"/\.snapshots/([0-9]{1,10})/snapshot(?:/|$)")


class Mount(t.NamedTuple):
    target: str
    root: str  # the part of the file system that is mounted, for btrfs the path of the subvolume
    fstype: str
    options: frozenset[str]


def _unescape(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda m: chr(int(m.group(1), 8)), field)


def read_mountinfo(path: str | None = None) -> str:
    """The table as it is: whoever may mount by FUSE may have a carriage return in the name of a mount point."""
    with open(path or MOUNTINFO, encoding="utf-8", errors="surrogateescape", newline="\n") as stream:
        return stream.read()


def fields(text: str) -> t.Iterator[tuple[list[str], list[str]]]:
    """Of each line of ``mountinfo`` (proc(5)), the fields before the dash, six at least, and the three after it.

    Only a line feed ends a line: the kernel escapes it in names, and leaves what else Python takes for a line's end.
    """
    for line in filter(None, text.split("\n")):
        before, _dash, after = line.partition(" - ")
        about_mount, about_file_system = before.split(" "), after.split(" ", 2)
        if len(about_mount) < 6 or len(about_file_system) < 3 or not about_mount[4].startswith("/"):
            raise TransactionalError(f"cannot read the table of mounts: {line[:200]}")
        yield about_mount, about_file_system


def parse_mountinfo(text: str) -> list[Mount]:
    return [Mount(_unescape(before[4]), _unescape(before[3]), after[0], frozenset(before[5].split(",")))
            for before, after in fields(text)]


def mount_at(mounts: t.Sequence[Mount], path: str) -> Mount | None:
    """The mount seen at exactly ``path``: the last one covers the earlier ones."""
    return next((m for m in reversed(mounts) if m.target == path), None)


def snapshot_number(mount: Mount | None) -> int | None:
    """The number of the snapper snapshot that a mount shows, if it shows one."""
    found = SNAPSHOT_ROOT.search(mount.root) if mount and mount.fstype == "btrfs" else None
    return int(found.group(1)) if found else None


def unmount_below(path: str) -> list[str]:
    """Take off what is mounted at a directory and below it, without asking who serves it; returns what failed."""
    found = [mount.target for mount in parse_mountinfo(read_mountinfo()) if f"{mount.target}/".startswith(f"{path}/")]
    failed = []
    for target in reversed(found):
        result = command.run(["umount", "--lazy", "--no-canonicalize", target])
        if result.rc != 0:
            failed.append(f"{target} could not be unmounted: {result.stderr.strip()}")
    return failed
