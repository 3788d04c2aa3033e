# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files below ``/etc/zypp`` of any root: what they say, and edits that are made together or not at all.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import contextlib
import glob
import os
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils._repository_safety import hide
from ansible_collections.microos.transactional.plugins.module_utils._tools import zypp_files

ZYPP = "/etc/zypp"
# is it a service? -> (directory, suffix, key of the address)
PLACES = {True: ("services.d", ".service", "url"), False: ("repos.d", ".repo", "baseurl")}
CREDENTIALS = f"{ZYPP}/credentials.d"
# What zypp.conf may say for all repositories; the admin's files win over the vendor's
CONFIGURATION = ("/usr/etc/zypp/zypp.conf", "/usr/etc/zypp/zypp.conf.d/*.conf",
                 "/etc/zypp/zypp.conf", "/etc/zypp/zypp.conf.d/*.conf")


def read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            return stream.read()
    except FileNotFoundError:
        return ""


def write(path: str, text: str, mode: int) -> None:
    """Replace a file at once, so that nobody reads half of it; no text, no file."""
    if not text:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        mode = os.stat(path).st_mode & mode
    temporary = path + ".new"  # no name that zypper reads
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8", errors="surrogateescape") as stream:
        stream.write(text)
        os.fchmod(descriptor, mode)
        stream.flush()
        os.fsync(descriptor)
    os.replace(temporary, path)


def definitions(root: str, service: bool) -> list[tuple[str, str, dict]]:
    """All repositories or services below ``root``: alias, path without the root, settings."""
    directory, suffix, _key = PLACES[service]
    found = []
    for path in sorted(glob.glob(f"{glob.escape(root)}{ZYPP}/{directory}/*{suffix}")):
        found += [(alias, path[len(root):], settings) for alias, settings in zypp_files.parse(read(path)).items()]
    return found


def configuration(root: str) -> dict[str, str]:
    """The section main of zypp.conf, wherever its parts are."""
    found: dict[str, str] = {}
    for pattern in CONFIGURATION:
        for path in sorted(glob.glob(glob.escape(root) + pattern)):
            found.update(zypp_files.parse(read(path)).get("main", {}))
    return found


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
            with contextlib.suppress(FileNotFoundError):  # of a snapshot that is gone
                write(edit.root + edit.path, edit.before, edit.mode)
        raise


def as_diff(edit: Edit) -> dict[str, str]:
    """The before and after of ``--diff``, without secrets."""
    if edit.path.startswith(CREDENTIALS):
        before, after = ("secret\n" if edit.before else ""), ("another secret\n" if edit.before else "secret\n")
        after = after if edit.after else ""
    else:
        before, after = hide(edit.before), hide(edit.after)
    return {"before": before, "after": after, "before_header": edit.path, "after_header": edit.path}
