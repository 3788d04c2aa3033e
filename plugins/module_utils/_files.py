# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files of any root, and edits of several that are made together or not at all.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import contextlib
import os
import stat
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils._tools import btrfs, snapper

# Instead of a mode: the text is where a symbolic link points to
LINK = stat.S_IFLNK


def roots_of_etc(default: int) -> list[str]:
    """Where files in ``/etc`` have to be: in the running system, and in what comes after it if that has its own."""
    other = snapper.path_of(default)
    if os.path.samefile(other + "/etc", "/etc") or not btrfs.is_subvolume(other + "/etc"):
        return [""]
    return ["", other]


def read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            return stream.read()
    except FileNotFoundError:
        return ""


def read_link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:  # there is none, or it is no link
        return ""


def write(path: str, text: str, mode: int) -> None:
    """Replace a file at once, so that nobody reads half of it; no text, no file."""
    if not text:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        return
    directory, name = os.path.split(path)
    os.makedirs(directory, exist_ok=True)
    temporary = f"{directory}/.{name}.new"  # no name that anybody reads or runs
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    if mode == LINK:
        os.symlink(text, temporary)
    else:
        with contextlib.suppress(FileNotFoundError):
            mode = os.stat(path).st_mode & mode
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8", errors="surrogateescape") as stream:
            stream.write(text)
            os.fchmod(descriptor, mode)
            stream.flush()
            os.fsync(descriptor)
    os.replace(temporary, path)


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
    except BaseException:
        for edit in reversed(done):
            with contextlib.suppress(OSError):  # of a snapshot that is gone, or the disk is full: the others matter
                write(edit.root + edit.path, edit.before, edit.mode)
        raise
