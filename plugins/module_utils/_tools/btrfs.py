# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Subvolumes and their properties: libbtrfsutil where Python has it, else the ``btrfs`` command.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import os
import re

from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._tools import command

try:
    import btrfsutil
except ImportError:
    btrfsutil = None

# Every subvolume's root directory has this inode number (BTRFS_FIRST_FREE_OBJECTID).
SUBVOLUME_INODE = 256


def _lib(function: str, *args, **kwargs):
    try:
        return getattr(btrfsutil, function)(*args, **kwargs)
    except btrfsutil.BtrfsUtilError as exc:
        raise TransactionalError(f"btrfs: {function} on {args[0]} failed: {exc}") from exc


def parse_get_default(stdout: str) -> str:
    """The path in ``ID 268 gen 11 top level 260 path @/.snapshots/1/snapshot`` (btrfs-progs 6.14)."""
    found = re.match(r"ID (\d+)(?: gen \d+ top level \d+ path (.+)| \(FS_TREE\))", stdout.strip())
    if not found:
        raise TransactionalError(f"cannot read the default subvolume from: {stdout.strip()}")
    return found.group(2) or ""


def default_subvolume(mountpoint: str) -> str:
    """Path of the subvolume that the next mount without ``subvol=`` shows, relative to the top of the file system."""
    if btrfsutil:
        return _lib("subvolume_path", mountpoint, _lib("get_default_subvolume", mountpoint))
    return parse_get_default(command.check(["btrfs", "subvolume", "get-default", mountpoint]).stdout)


def set_default_subvolume(path: str) -> None:
    if btrfsutil:
        _lib("set_default_subvolume", path)
    else:
        command.check(["btrfs", "subvolume", "set-default", path])


def is_subvolume(path: str) -> bool:
    """Whether ``path``, known to be on btrfs, is the root of a subvolume."""
    try:
        return os.lstat(path).st_ino == SUBVOLUME_INODE
    except OSError:
        return False


def subvolume_id(path: str) -> int:
    """No other subvolume ever gets the same."""
    if btrfsutil:
        return _lib("subvolume_id", path)
    told = command.check(["btrfs", "inspect-internal", "rootid", path]).stdout.strip()
    if not re.match(r"[0-9]{1,20}\Z", told):
        raise TransactionalError(f"cannot read the id of the subvolume {path} from: {told[:200]}")
    return int(told)


def is_read_only(path: str) -> bool:
    if btrfsutil:
        return _lib("get_subvolume_read_only", path)
    told = command.check(["btrfs", "property", "get", "-ts", path, "ro"]).stdout.strip()
    if told not in ("ro=true", "ro=false"):
        raise TransactionalError(f"cannot read whether {path} is read-only from: {told[:200]}")
    return told == "ro=true"


def set_read_only(path: str, value: bool) -> None:
    if btrfsutil:
        _lib("set_subvolume_read_only", path, value)
    else:
        command.check(["btrfs", "property", "set", "-ts", path, "ro", "true" if value else "false"])


def delete_subvolume(path: str) -> None:
    """With those that are nested in it."""
    for nested in (entry.path for entry in os.scandir(path) if is_subvolume(entry.path)):
        delete_subvolume(nested)
    command.check(["btrfs", "subvolume", "delete", path])
