# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ways through trees of files that may be as deep as they like, change meanwhile, and have anything mounted below.

Everything is reached from the descriptor of a directory, so no path is too long, no symbolic link is followed, and what
is mounted below is not seen, not even asked whether it answers. Only directories and regular files are ever opened.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import platform
import stat
import struct
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._text import listed, readable
from ansible_collections.microos.transactional.plugins.module_utils._tools import mounts

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
REACHED = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
# So many levels of directories are open at once
OPEN_LEVELS = 64
# open_tree(2), Linux 5.2; the number is the same wherever such systems run
OPEN_TREE, OPEN_TREE_CLONE, AT_FDCWD = 428, 1, -100
# FS_IOC_GETFLAGS
IOC_READ = 0x40000000 if platform.machine().startswith("ppc") else 0x80000000
GET_FLAGS = IOC_READ | struct.calcsize("l") << 16 | ord("f") << 8 | 1
# What chattr can set on btrfs: cSiadAmDC
FLAGS = 0x4 | 0x8 | 0x10 | 0x20 | 0x40 | 0x80 | 0x400 | 0x10000 | 0x800000
# An entry, by the descriptor of its directory and its name; None is the directory where the process is
Place = t.Tuple[t.Optional[int], str]


def is_gone(exc: OSError) -> bool:
    return exc.errno in (errno.ENOENT, errno.ESTALE)


def _leads_nowhere(exc: OSError) -> bool:
    return is_gone(exc) or exc.errno in (errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


# --- the top --------------------------------------------------------------------------------------------------------


def _detached(root: str) -> int:
    """A descriptor (O_PATH) of the tree alone, without what is mounted below; raises OSError if that cannot be had."""
    try:
        import ctypes  # not every Python has it
        call = ctypes.CDLL(None, use_errno=True).syscall
    except (ImportError, OSError, AttributeError) as exc:
        raise OSError(errno.ENOSYS, "no way to call the kernel") from exc
    descriptor = call(ctypes.c_long(OPEN_TREE), ctypes.c_int(AT_FDCWD), ctypes.c_char_p(os.fsencode(root)),
                      ctypes.c_uint(OPEN_TREE_CLONE | os.O_CLOEXEC))
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), root)
    return descriptor


def _refuse_mounts_below(root: str) -> None:
    found = mounts.parse_mountinfo(mounts.read_mountinfo())
    top = os.path.realpath(root).rstrip("/") + "/"
    below = sorted({mount.target for mount in found if mount.target.startswith(top)})
    if below and top != "/":
        raise TransactionalError(f"other file systems are mounted below {readable(root)}, and this kernel has no way "
                                 f"to look past them: {listed(below)}. Unmount them and try again")


@contextlib.contextmanager
def opened(root: str) -> t.Iterator[int]:
    """The descriptor of the directory that is the top of a tree."""
    tree = None
    try:
        try:
            tree = _detached(root)
        except OSError as exc:
            if exc.errno not in (errno.ENOSYS, errno.EPERM, errno.EACCES, errno.EINVAL):
                raise
            _refuse_mounts_below(root)
        top = os.open(root if tree is None else ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=tree)
    except OSError as exc:
        if tree is not None:
            os.close(tree)
        raise TransactionalError(f"cannot open the directory {readable(root)}: {exc.strerror}") from exc
    try:
        yield top
    finally:
        os.close(top)
        if tree is not None:
            os.close(tree)


# --- the way down and up --------------------------------------------------------------------------------------------


def entries(directory: int | None) -> dict[str, os.stat_result]:
    """What is in a directory; what vanishes meanwhile is left out. Without a directory there is nothing."""
    found: dict[str, os.stat_result] = {}
    if directory is None:
        return found
    with os.scandir(directory) as rows:
        for entry in rows:
            try:
                found[entry.name] = entry.stat(follow_symlinks=False)
            except OSError as exc:
                if not is_gone(exc):
                    raise
    return found


class Descent:
    """The directories on the way down, in several trees at once; None in those that do not have them.

    Of a long way only the last directories are open. Those before are found again by the way up.
    """

    _CLOSED = -1

    def __init__(self, tops: t.Sequence[int | None]):
        # for each level and tree the descriptor, and what the directory was when that was closed
        self._levels: list[list[int | None]] = [[None if top is None else os.dup(top) for top in tops]]
        self._were: list[list[tuple[int, int] | None]] = [[None] * len(tops)]

    @property
    def here(self) -> list[int | None]:
        return self._levels[-1]

    def enter(self, name: str, wanted: t.Sequence[bool]) -> list[int | None]:
        level: list[int | None] = []
        self._levels.append(level)
        self._were.append([None] * len(wanted))
        for parent, is_wanted in zip(self._levels[-2], wanted):
            level.append(_directory(parent, name) if is_wanted and parent is not None else None)
        self._let_go(len(self._levels) - 1 - OPEN_LEVELS)
        return level

    def _let_go(self, depth: int) -> None:
        if depth < 0:
            return
        for tree, descriptor in enumerate(self._levels[depth]):
            # only what is on the way up from below can be found again
            if descriptor not in (None, self._CLOSED) and self._levels[depth + 1][tree] is not None:
                about = os.fstat(descriptor)
                self._were[depth][tree] = (about.st_dev, about.st_ino)
                os.close(descriptor)
                self._levels[depth][tree] = self._CLOSED

    def leave(self) -> None:
        level = self._levels.pop()
        self._were.pop()
        try:
            for tree, descriptor in enumerate(self._levels[-1] if self._levels else ()):
                if descriptor == self._CLOSED:
                    self._levels[-1][tree] = self._up(level[tree], self._were[-1][tree])
        finally:
            for descriptor in level:
                if descriptor not in (None, self._CLOSED):
                    os.close(descriptor)

    @staticmethod
    def _up(below: int, was: tuple[int, int]) -> int:
        descriptor = os.open("..", DIRECTORY, dir_fd=below)
        about = os.fstat(descriptor)
        if (about.st_dev, about.st_ino) != was:
            os.close(descriptor)
            raise TransactionalError("a directory was moved to another place meanwhile. Run the task again")
        return descriptor

    def close(self) -> None:
        for level in self._levels:
            for descriptor in level:
                if descriptor not in (None, self._CLOSED):
                    os.close(descriptor)
        self._levels = []

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self.close()


def _directory(parent: int, name: str) -> int | None:
    try:
        return os.open(name, DIRECTORY, dir_fd=parent)
    except OSError as exc:
        if _leads_nowhere(exc):  # it is none any more
            return None
        raise


@contextlib.contextmanager
def reached(top: int, path: str) -> t.Iterator[Place | None]:
    """The place of a path, through directories only; None if there is no such way."""
    names = [name for name in path.split("/") if name] or ["."]
    directory = os.dup(top)
    try:
        for name in names[:-1]:
            above = directory
            try:
                directory = os.open(name, REACHED | os.O_DIRECTORY, dir_fd=above)
            except OSError as exc:
                if _leads_nowhere(exc):
                    yield None
                    return
                raise
            os.close(above)
        yield directory, names[-1]
    finally:
        os.close(directory)


# --- one entry ------------------------------------------------------------------------------------------------------


def look(place: Place | None) -> os.stat_result | None:
    """As lstat, None if there is nothing."""
    if place is None:
        return None
    try:
        return os.stat(place[1], dir_fd=place[0], follow_symlinks=False)
    except OSError as exc:
        if _leads_nowhere(exc):
            return None
        raise


def link_target(place: Place) -> str:
    return os.readlink(place[1], dir_fd=place[0])


def open_regular(place: Place) -> int:
    """Open a regular file for reading; what only was one is never opened, so no device and no pipe notices."""
    found = os.open(place[1], REACHED, dir_fd=place[0])
    try:
        if not stat.S_ISREG(os.fstat(found).st_mode):
            raise FileNotFoundError(errno.ENOENT, "it is no regular file any more", place[1])
        return os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(found)


def _path(place: Place) -> str:
    return place[1] if place[0] is None else f"/proc/self/fd/{place[0]}/{place[1]}"


def attributes(place: Place) -> dict[str, bytes]:
    """Extended attributes, of a symbolic link its own."""
    path = _path(place)
    found = {}
    try:
        for name in os.listxattr(path, follow_symlinks=False):
            try:
                found[name] = os.getxattr(path, name, follow_symlinks=False)
            except OSError as exc:
                if exc.errno != errno.ENODATA:  # gone since
                    raise
    except OSError as exc:
        if exc.errno != errno.ENOTSUP:
            raise
    return found


def flags(place: Place, about: os.stat_result) -> int:
    """What chattr sets; only regular files and directories have it."""
    if stat.S_ISREG(about.st_mode):
        descriptor = open_regular(place)
    elif stat.S_ISDIR(about.st_mode):
        descriptor = os.open(place[1], DIRECTORY, dir_fd=place[0])
    else:
        return 0
    try:
        # named after a long, but the kernel writes an int
        return struct.unpack_from("=I", fcntl.ioctl(descriptor, GET_FLAGS, bytes(8)))[0] & FLAGS
    except OSError as exc:
        if exc.errno in (errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            return 0
        raise
    finally:
        os.close(descriptor)
