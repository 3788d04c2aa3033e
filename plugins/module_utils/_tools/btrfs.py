# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Subvolumes and their properties: libbtrfsutil where Python has it, else the ``btrfs`` command.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import struct
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._tools import command, file_handles

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


# --- deletion of what is nested ---------------------------------------------------------------------------------------

# linux/btrfs.h, linux/btrfs_tree.h, linux/fs.h
ROOT_TREE = 1
ROOT_REF = 156
SEARCH_KEY = struct.Struct("=7Q4I4Q")
SEARCH_HEADER = struct.Struct("=QQQII")
REFERENCE = struct.Struct("=QQH")  # inode of the directory, sequence, length of the name that follows
ARGUMENTS = 4096
BY_ID = 1 << 4
READ_ONLY = 1 << 1
UNTOUCHABLE = 0x10 | 0x20  # immutable, append only


def _ioctl(direction: str, kind: int, number: int, size: int) -> int:
    """The number of an ioctl (asm/ioctl.h); PowerPC has its own."""
    powerpc = os.uname().machine.startswith("ppc")
    read, write, shift = (2, 4, 29) if powerpc else (2, 1, 30)
    bits = read * ("r" in direction) | write * ("w" in direction)
    return bits << shift | size << 16 | kind << 8 | number


TREE_SEARCH = _ioctl("rw", 0x94, 17, ARGUMENTS)
SUBVOLUME_GET_FLAGS = _ioctl("r", 0x94, 25, 8)
SUBVOLUME_SET_FLAGS = _ioctl("w", 0x94, 26, 8)
SUBVOLUME_DESTROY = _ioctl("w", 0x94, 63, ARGUMENTS)
GET_FLAGS = _ioctl("r", ord("f"), 1, struct.calcsize("l"))
SET_FLAGS = _ioctl("w", ord("f"), 2, struct.calcsize("l"))


class Nested(t.NamedTuple):
    subvolume: int
    inode: int  # of the directory that it is in
    name: bytes


def parse_references(found: bytes, count: int) -> list[Nested]:
    """The answer of a tree search for the references of a subvolume to those that are nested in it."""
    nested, offset = [], 0
    for _item in range(count):
        _transaction, _object, subvolume, _kind, length = SEARCH_HEADER.unpack_from(found, offset)
        offset += SEARCH_HEADER.size
        inode, _sequence, size = REFERENCE.unpack_from(found, offset)
        start = offset + REFERENCE.size
        nested.append(Nested(subvolume, inode, found[start:start + size]))
        offset += length
    return nested


def _nested(mount: int, subvolume: int) -> list[Nested]:
    """What is nested in a subvolume. No path is needed, so mounts, odd names and long paths do not matter."""
    found: list[Nested] = []
    while True:
        after = found[-1].subvolume + 1 if found else 0
        last = 2 ** 64 - 1
        arguments = bytearray(ARGUMENTS)
        SEARCH_KEY.pack_into(arguments, 0, ROOT_TREE, subvolume, subvolume, after, last, 0, last, ROOT_REF, ROOT_REF,
                             ARGUMENTS, 0, 0, 0, 0, 0)
        fcntl.ioctl(mount, TREE_SEARCH, arguments)
        count = SEARCH_KEY.unpack_from(arguments)[9]
        if not count:
            return found
        found += parse_references(bytes(arguments[SEARCH_KEY.size:]), count)


@contextlib.contextmanager
def _opened(mount: int, inode: int, subvolume: int) -> t.Iterator[int]:
    descriptor = file_handles.open_btrfs_inode(mount, file_handles.BtrfsInode(inode, subvolume))
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _unlock(root: int, directory: int) -> None:
    """Take away the flags of a directory that forbid its deletion, and that of what is in it."""
    flags = bytearray(struct.calcsize("l"))
    fcntl.ioctl(directory, GET_FLAGS, flags)
    value, = struct.unpack_from("=I", flags)
    if value & UNTOUCHABLE:
        _make_writable(root)
        struct.pack_into("=I", flags, 0, value & ~UNTOUCHABLE)
        fcntl.ioctl(directory, SET_FLAGS, flags)


def _make_writable(root: int) -> None:
    flags = bytearray(8)
    fcntl.ioctl(root, SUBVOLUME_GET_FLAGS, flags)
    value, = struct.unpack("=Q", flags)
    if value & READ_ONLY:
        fcntl.ioctl(root, SUBVOLUME_SET_FLAGS, struct.pack("=Q", value & ~READ_ONLY))


def _delete_nested(mount: int, subvolume: int, kept: t.Mapping[bytes, t.Mapping]) -> None:
    """Delete all that is nested in a subvolume, the deepest first, but those that are ``kept``."""
    todo = [(subvolume, kept)]
    order = []
    while todo:  # no recursion: there may be thousands of levels
        above, spared = todo.pop()
        found = _nested(mount, above)
        with _opened(mount, SUBVOLUME_INODE, above) as root:
            _unlock(root, root)
            if found:
                _make_writable(root)
            for nested in found:
                with _opened(mount, nested.inode, above) as directory:
                    _unlock(root, directory)
                at_top = nested.inode == SUBVOLUME_INODE
                if not (at_top and nested.name in spared):
                    order.append(nested.subvolume)
                todo.append((nested.subvolume, spared.get(nested.name, {}) if at_top else {}))
    for number in reversed(order):
        arguments = bytearray(ARGUMENTS)
        struct.pack_into("=QQQ", arguments, 0, 0, 0, BY_ID)
        struct.pack_into("=Q", arguments, 56, number)
        fcntl.ioctl(mount, SUBVOLUME_DESTROY, arguments)


def _clear(path: str, kept: t.Mapping[bytes, t.Mapping]) -> None:
    try:
        directory = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            found = file_handles.btrfs_inode(path)
            if found is not None:
                _delete_nested(directory, found.subvolume, kept)
        finally:
            os.close(directory)
    except OSError as exc:
        raise TransactionalError(f"what is nested in {path} could not be deleted: {exc.strerror}") from exc


def make_deletable(path: str) -> list[str]:
    """Remove what keeps tools from the deletion of a snapshot that nobody needs any more; returns what failed.

    Work inside may have left subvolumes, read-only ones too, and flags. Those of /etc are for a plugin of snapper.
    """
    try:
        _clear(path, {b"etc": {b"etc.syncpoint": {}}})
    except TransactionalError as exc:
        return [str(exc)]
    return []


def delete_subvolume(path: str) -> None:
    """With those that are nested in it."""
    _clear(path, {})
    command.check(["btrfs", "subvolume", "delete", path], timeout=command.CHANGE_SECONDS)
