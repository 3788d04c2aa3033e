# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""RPM files of a task, and a directory of its own for what it needs for a while.

An RPM file may lie in a directory of somebody else, who may change it at any moment: it is opened once, and zypper gets
a copy, which is what is judged in the end.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import stat
import typing as t
import uuid

from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._tools import command, rpm

# Seen inside of a transaction as it is outside, and no part of a snapshot
WORKSPACES = "/var/cache/microos-transactional"
ZYPP_CACHE = "/var/cache/zypp"
# zypper (1.14.89) keeps files and addresses of its command line here if it cannot install them, and the next time takes
# them from here without a look at their signature
ZYPPER_FILES = "/var/cache/zypper/RPMS"
CHUNK = 1 << 20
# Bytes that a copy leaves free
RESERVE = 64 << 20
LABEL = re.compile(r"[\w.+~^-]+\Z", re.ASCII)


class PackageFile:
    """An RPM file that is open."""

    def __init__(self, path: str):
        self.path = path
        self.label = ""
        self._descriptor = -1

    def __enter__(self) -> PackageFile:
        try:
            # a pipe in its place would block
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except OSError as exc:
            raise TransactionalError(f"cannot read {self.path}: {exc.strerror}") from exc
        try:
            if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
                raise TransactionalError(f"{self.path} is no regular file")
            self.label = self._label_of(self._own_path, [self._descriptor])
        except BaseException:
            os.close(self._descriptor)
            raise
        return self

    def __exit__(self, *_exc: t.Any) -> None:
        os.close(self._descriptor)

    @property
    def _own_path(self) -> str:
        return f"/proc/self/fd/{self._descriptor}"

    def _label_of(self, path: str, pass_fds: t.Sequence[int] = ()) -> str:
        try:
            found = rpm.label_of_file(path, pass_fds)
        except command.CommandError as exc:
            said = exc.result.stderr.replace(path, self.path).strip().splitlines()
            raise TransactionalError(f"{self.path} is no RPM file that rpm can read: {' / '.join(said[-3:])}") from exc
        if not LABEL.match(found):
            raise TransactionalError(f"{self.path} is no RPM file: its package has no proper name and version")
        return found

    def is_signed_wrongly(self, root: str) -> bool:
        return rpm.is_signed_wrongly(root, self._own_path, [self._descriptor])

    def copy_to(self, directory: str) -> str:
        """A copy, which must still be the package that was judged; returns its path."""
        target = os.path.join(directory, os.path.basename(self.path))
        size = os.fstat(self._descriptor).st_size
        room = os.statvfs(directory)
        if size + RESERVE > room.f_bavail * room.f_frsize:
            raise TransactionalError(f"there is no room for a copy of {self.path}, which has {size} bytes, below "
                                     f"{directory}")
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "wb", buffering=0) as stream:
            done = 0
            while done < size:
                chunk = os.pread(self._descriptor, min(CHUNK, size - done), done)
                if not chunk:
                    break
                stream.write(chunk)
                done += len(chunk)
        if self._label_of(target) != self.label:
            raise TransactionalError(f"{self.path} was changed while it was read; somebody else writes to it")
        return target


class Workspace:
    """A directory that only root can enter. It is made when it is first asked for, and gone afterwards.

    What a killed run has left is deleted by the next one; nobody ever reads it.
    """

    def __init__(self, parent: str = WORKSPACES):
        self._parent = parent
        self._path = ""
        self._lock = -1

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, *_exc: t.Any) -> None:
        if self._path:
            with self._alone():
                shutil.rmtree(self._path, ignore_errors=True)
                os.close(self._lock)
                with contextlib.suppress(OSError):
                    os.rmdir(self._parent)

    @property
    def path(self) -> str:
        if not self._path:
            try:
                with self._alone():
                    self._clean()
                    path = os.path.join(self._parent, str(uuid.uuid4()))
                    self._make(path)
                    self._lock = _locked(path)
                    self._path = path
            except OSError as exc:
                raise TransactionalError(f"cannot make a directory in {self._parent}: {exc.strerror}") from exc
        return self._path

    def subdirectory(self, name: str) -> str:
        path = os.path.join(self.path, name)
        self._make(path)
        return path

    @staticmethod
    def _make(path: str) -> None:
        os.mkdir(path, 0o700)
        os.chmod(path, 0o700)

    @contextlib.contextmanager
    def _alone(self) -> t.Iterator[None]:
        """Keep others from making and deleting such directories."""
        descriptor = self._open_parent()
        try:
            yield
        finally:
            os.close(descriptor)

    def _open_parent(self) -> int:
        while True:
            os.makedirs(os.path.dirname(self._parent), exist_ok=True)
            with contextlib.suppress(FileExistsError):
                self._make(self._parent)
            try:
                descriptor = os.open(self._parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            about = os.fstat(descriptor)
            if about.st_uid != os.geteuid() or about.st_mode & 0o022:
                os.close(descriptor)
                raise TransactionalError(f"{self._parent} is not a directory that only root writes to; find out who "
                                         "made it, and delete it")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # whoever had the lock may have deleted it
            if os.fstat(descriptor).st_nlink:
                return descriptor
            os.close(descriptor)

    def _clean(self) -> None:
        for name in os.listdir(self._parent):
            path = os.path.join(self._parent, name)
            with contextlib.suppress(OSError):
                descriptor = _locked(path)
                shutil.rmtree(path, ignore_errors=True)
                os.close(descriptor)


def _locked(path: str) -> int:
    """A lock on a directory, held until it is closed; an error if somebody else has it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def forget_files() -> None:
    """What a failed or killed zypper has left of RPM files must not be taken unchecked."""
    shutil.rmtree(ZYPPER_FILES, ignore_errors=True)
    if os.path.lexists(ZYPPER_FILES):
        raise TransactionalError(f"{ZYPPER_FILES} has RPM files that nobody has checked, and cannot be deleted")


def private_cache(workspace: Workspace) -> str:
    """A cache for zypper that begins as the host's own, and that no later run gets to see."""
    path = workspace.subdirectory("cache")
    known = [f"{ZYPP_CACHE}/{kind}" for kind in ("raw", "solv") if os.path.isdir(f"{ZYPP_CACHE}/{kind}")]
    # without one zypper loads what it needs
    if known and command.run(["cp", "--archive", "--reflink=auto", "--target-directory", path, *known],
                             timeout=command.CHANGE_SECONDS).rc != 0:
        for kind in ("raw", "solv"):
            shutil.rmtree(f"{path}/{kind}", ignore_errors=True)
    return path
