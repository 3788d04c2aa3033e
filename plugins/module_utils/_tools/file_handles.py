# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""File handles: how the kernel names an inode without a path, and without asking the file system's server.

``stat`` of a file on NFS or FUSE waits for whoever serves it, perhaps for ever. The handle is made of what the kernel
has in memory.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import ctypes
import os
import struct
import typing as t

FOLLOW = 0x400  # AT_SYMLINK_FOLLOW
CAPACITY = 128  # MAX_HANDLE_SZ
# FILEID_BTRFS_WITHOUT_PARENT, which no other file system uses: inode, subvolume, generation
BTRFS = 0x4d
BTRFS_FORMAT = "=QQI"


class _FileHandle(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint), ("type", ctypes.c_int), ("data", ctypes.c_ubyte * CAPACITY)]


_LIBC = ctypes.CDLL(None, use_errno=True)


class BtrfsInode(t.NamedTuple):
    inode: int
    subvolume: int


def btrfs_inode(path: str, dir_fd: int = -100) -> BtrfsInode | None:
    """Which inode of which subvolume ``path`` leads to; None if it leads to another file system, or nowhere."""
    handle, mount = _FileHandle(size=CAPACITY), ctypes.c_int()
    if _LIBC.name_to_handle_at(dir_fd, os.fsencode(path), ctypes.byref(handle), ctypes.byref(mount), FOLLOW):
        return None
    if handle.type != BTRFS:
        return None
    inode, subvolume, _generation = struct.unpack_from(BTRFS_FORMAT, bytes(handle.data))
    return BtrfsInode(inode, subvolume)


def open_btrfs_inode(mount: int, found: BtrfsInode) -> int:
    """Open a directory of the file system that the descriptor ``mount`` is on, whatever covers it."""
    data = struct.pack(BTRFS_FORMAT, found.inode, found.subvolume, 0)  # of any generation
    handle = _FileHandle(size=len(data), type=BTRFS)
    ctypes.memmove(handle.data, data, len(data))
    descriptor = _LIBC.open_by_handle_at(mount, ctypes.byref(handle), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    if descriptor < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return descriptor
