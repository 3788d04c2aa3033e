# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether two open files have the same content, without reading what both share on the disk, or what neither has.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils._trees import IOC_READ

BLOCK = 1 << 20
# linux/fiemap.h
FIEMAP, SYNC, LAST = 0xC020660B, 0x1, 0x1
# Where such a flag is set, the same address on the disk need not mean the same content: unknown, not written yet,
# compressed, encrypted, packed, and reserved space
VAGUE = 0x2 | 0x4 | 0x8 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800
HEAD, EXTENT = struct.Struct("=QQLLLL"), struct.Struct("=QQQ16xL12x")
EXTENTS_AT_ONCE = 512
# BTRFS_IOC_FS_INFO; the UUID is at 16
FS_INFO, FS_INFO_SIZE = IOC_READ | 1024 << 16 | 0x9400 | 31, 1024


class Extent(t.NamedTuple):
    """Where a part of a file is on the disk."""

    start: int
    end: int
    address: int
    is_vague: bool


def extents(descriptor: int) -> t.Iterator[Extent]:
    """The parts of a file that have data, in order; raises OSError if the file system does not tell."""
    start = 0
    while True:
        buffer = bytearray(HEAD.size + EXTENTS_AT_ONCE * EXTENT.size)
        HEAD.pack_into(buffer, 0, start, (1 << 64) - 1 - start, SYNC if start == 0 else 0, 0, EXTENTS_AT_ONCE, 0)
        fcntl.ioctl(descriptor, FIEMAP, buffer)
        count = HEAD.unpack_from(buffer)[3]
        for number in range(count):
            logical, address, length, flags = EXTENT.unpack_from(buffer, HEAD.size + number * EXTENT.size)
            yield Extent(logical, logical + length, address, bool(flags & VAGUE))
            start = logical + length
            if flags & LAST:
                return
        if not count:
            return


def unshared(one: t.Iterable[Extent], other: t.Iterable[Extent]) -> t.Iterator[tuple[int, int]]:
    """The ranges in which the content may differ, in order."""
    rows = iter(one), iter(other)
    heads = [next(row, None) for row in rows]
    at = 0
    while any(heads):
        here = [head if head and head.start <= at else None for head in heads]
        # up to where both sides stay as they are at this point
        end = min(head.end if head.start <= at else head.start for head in heads if head)
        if end > at and any(here):
            first, second = here
            shares = first and second and not (first.is_vague or second.is_vague) and (
                first.address - first.start == second.address - second.start)
            if not shares:
                yield at, end
        at = max(at, end)
        for side, head in enumerate(heads):
            if head and head.end <= at:
                heads[side] = next(rows[side], None)


def with_data(one: int, other: int, size: int) -> t.Iterator[tuple[int, int]]:
    """The ranges in which one of two files has data, in order."""
    at = 0
    while at < size:
        start = min(_data_from(descriptor, at, size) for descriptor in (one, other))
        end = min(start + BLOCK, size)
        if start < size:
            yield start, end
        at = end


def _data_from(descriptor: int, offset: int, size: int) -> int:
    try:
        return min(os.lseek(descriptor, offset, os.SEEK_DATA), size)
    except OSError as exc:
        return size if exc.errno == errno.ENXIO else offset


def file_system(descriptor: int) -> t.Any:
    """What two files of one file system have in common; subvolumes of btrfs have device numbers of their own."""
    try:
        return fcntl.ioctl(descriptor, FS_INFO, bytes(FS_INFO_SIZE))[16:32]
    except OSError:
        return os.fstat(descriptor).st_dev


def _equal(one: int, other: int, start: int, end: int) -> bool:
    while start < end:
        length = min(BLOCK, end - start)
        block = os.pread(one, length, start)
        if block != os.pread(other, length, start):
            return False
        if not block:  # it was cut meanwhile
            return True
        start += len(block)
    return True


def is_same(one: int, other: int, size: int) -> bool:
    """Compare two open files of the same size."""
    if size <= BLOCK:
        return _equal(one, other, 0, size)
    ranges: t.Iterable[tuple[int, int]]
    if file_system(one) == file_system(other):
        try:
            ranges = unshared(extents(one), extents(other))
            return all(_equal(one, other, start, min(end, size)) for start, end in ranges)
        except OSError as exc:
            if exc.errno not in (errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL):
                raise
    return all(_equal(one, other, start, end) for start, end in with_data(one, other, size))
