# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files of any root, and edits of several that are made together or not at all.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._text import listed, readable
from ansible_collections.microos.transactional.plugins.module_utils._tools import btrfs, snapper
from ansible_collections.microos.transactional.plugins.module_utils._tools.paths import resolve

# Instead of a mode: the text is where a symbolic link points to
LINK = stat.S_IFLNK
# No configuration is larger
LIMIT = 16 << 20
# A path in another snapshot than the running one, whose links are meant for the time when it runs
IN_SNAPSHOT = re.compile(r"(/\.snapshots/\d+/snapshot)(/.*)", re.DOTALL)
# What is about the content of a file, and what is no property of the file alone
NOT_KEPT = ("security.capability", "security.ima", "security.evm", "trusted.overlay.")
ACL = "system.posix_acl_access"
SELINUX, LABEL = "/sys/fs/selinux/enforce", "security.selinux"


def roots_of_etc(default: int) -> list[str]:
    """Where files in ``/etc`` have to be: in the running system, and in what comes after it if that has its own."""
    other = snapper.path_of(default)
    if os.path.samefile(other + "/etc", "/etc") or not btrfs.is_subvolume(other + "/etc"):
        return [""]
    return ["", other]


def _refuse(what: str, path: str, exc: OSError) -> t.NoReturn:
    raise TransactionalError(f"cannot {what} {readable(path)}: {exc.strerror or exc}") from exc


def _place(path: str, follow: bool) -> str:
    """Where a path leads that may be in another snapshot; a link there must not lead into the running system."""
    found = IN_SNAPSHOT.fullmatch(path)
    if not found:
        return path
    root, inside = found.groups()
    if follow:
        return root + resolve(root, inside)
    directory, name = os.path.split(inside)
    return f"{root}{resolve(root, directory).rstrip('/')}/{name}"


def read(path: str) -> str:
    """The text of a file, nothing if there is none."""
    try:
        descriptor = os.open(_place(path, True), os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            os.close(descriptor)
            if stat.S_ISCHR(about.st_mode) and about.st_rdev == os.makedev(1, 3):
                return ""  # /dev/null, by a link that masks the file
            raise TransactionalError(f"{readable(path)} is no regular file")
        with open(descriptor, encoding="utf-8", errors="surrogateescape") as stream:
            text = stream.read(LIMIT + 1)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as exc:
        _refuse("read", path, exc)
    if len(text) > LIMIT:
        raise TransactionalError(f"{readable(path)} has more than {LIMIT >> 20} MiB, which cannot be right")
    return text


def read_link(path: str) -> str:
    try:
        return os.readlink(_place(path, False))
    except OSError:  # there is none, or it is no link
        return ""


def _flush(directory: str) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _set_label(place: str, path: str) -> None:
    """The label that SELinux's policy has for a new file or directory; what creates it inherits another one perhaps."""
    if not os.path.exists(SELINUX):
        return
    try:
        from ansible.module_utils.compat import selinux
    except ImportError:
        return
    found = IN_SNAPSHOT.fullmatch(path)
    with contextlib.suppress(OSError):
        rc, label = selinux.matchpathcon(found.group(2) if found else path, os.lstat(place).st_mode)
        if rc == 0 and label:
            os.setxattr(place, LABEL, label.encode() + b"\0", follow_symlinks=False)


def make_directories(path: str, mode: int = 0o755) -> None:
    """Make a directory and those above it, with this mode whatever the umask; what exists stays as it is."""
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for path in reversed(missing):
        try:
            os.mkdir(path, mode & 0o700)
        except FileExistsError:
            if not os.path.isdir(path):
                raise
            continue
        _set_label(path, path)
        os.chmod(path, mode)
        _flush(os.path.dirname(path))


def _keep(descriptor: int, old: str) -> None:
    """Give a new file the owner and the attributes, among them label and ACL, of the one that it replaces."""
    about = os.lstat(old)
    os.fchown(descriptor, about.st_uid, about.st_gid)
    names = os.listxattr(old, follow_symlinks=False)
    for name in names:
        if not name.startswith(NOT_KEPT):
            os.setxattr(descriptor, name, os.getxattr(old, name, follow_symlinks=False))
    if ACL not in names:  # one that the directory has for new files
        with contextlib.suppress(OSError):
            os.removexattr(descriptor, ACL)


def write(path: str, text: str, mode: int, directory_mode: int = 0o755) -> None:
    """Replace a file at once, so that nobody reads half of it, and a power cut leaves the old or the new one.

    No text, no file. A file that is there keeps its owner, label, ACL and other attributes, and never gets more rights
    than it had. Directories that are missing get ``directory_mode``.
    """
    try:
        place = _place(path, False)
        _write(path, place, text, mode, directory_mode)
    except OSError as exc:
        hint = ". Is it immutable (lsattr)?" if exc.errno == errno.EPERM else ""
        raise TransactionalError(f"cannot write {readable(path)}: {exc.strerror or exc}{hint}") from exc


def _write(path: str, place: str, text: str, mode: int, directory_mode: int) -> None:
    directory, name = os.path.split(place)
    if not text:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(place)
            _flush(directory)
        return
    make_directories(directory, directory_mode)
    temporary = f"{directory}/.{os.fsdecode(os.fsencode(name)[:200])}.new"  # no name that anybody reads or runs
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    try:
        if mode == LINK:
            os.symlink(text, temporary)
            _set_label(temporary, path)
        else:
            _fill(temporary, path, place, text, mode)
        os.replace(temporary, place)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _flush(directory)


def _fill(temporary: str, path: str, place: str, text: str, mode: int) -> None:
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
        stream.write(text)
        stream.flush()
        with contextlib.suppress(OSError):  # there is none, or a link to nothing
            mode &= os.stat(_place(path, True)).st_mode
        if os.path.isfile(place) and not os.path.islink(place):
            _keep(descriptor, place)
        else:
            _set_label(temporary, path)
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)


class Edit(t.NamedTuple):
    root: str
    path: str  # without the root
    before: str
    after: str
    mode: int


@contextlib.contextmanager
def written(edits: t.Sequence[Edit]) -> t.Iterator[None]:
    """The edits are made; if what follows fails, they are taken back."""
    done: list[Edit] = []
    try:
        for edit in edits:
            done.append(edit)
            write(edit.root + edit.path, edit.after, edit.mode)
        yield
    except BaseException as exc:
        left = [edit.root + edit.path for edit in reversed(done) if not _undo(edit)]
        if left and isinstance(exc, TransactionalError):
            exc.add(f"What was changed before could not be taken back in {listed(left)}")
        raise


def _undo(edit: Edit) -> bool:
    if not os.path.isdir(edit.root or "/"):  # a snapshot that is gone
        return True
    try:
        write(edit.root + edit.path, edit.before, edit.mode)
    except TransactionalError:
        return False
    return True
