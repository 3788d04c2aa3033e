# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What differs between two trees, one of which was a snapshot of the other: files and packages.

A file that both have under the same inode with the same time of its last change is the same, as nobody can set that
time. All others are compared for good, their content included; a mere new time of modification is no difference.

What vanishes meanwhile is left out. A difference whose path is too long for any system call is told of the directory
above it whose path is not, as one that lies ``below``.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import hashlib
import os
import stat
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils import _content
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._text import listed
from ansible_collections.microos.transactional.plugins.module_utils._tools.btrfs import SUBVOLUME_INODE
from ansible_collections.microos.transactional.plugins.module_utils._trees import (
    Descent,
    Place,
    attributes,
    entries,
    flags,
    is_gone,
    link_target,
    look,
    open_regular,
    opened,
    reached,
)

ADDED, MODIFIED, REMOVED = "added", "modified", "removed"
BELOW = "below"
# SELinux's, and what restorecon (libselinux 3.8) remembers of its work
LABELS = ("security.selinux", "security.sehash")
# What a snapshot has in the place of a subvolume, which is never part of it (BTRFS_EMPTY_SUBVOL_DIR_OBJECTID)
PLACEHOLDER_INODE = 2
# PATH_MAX, with room for the way to the snapshot
LONGEST = 4000
# path -> inode, time of the last change in ns, and what is too far below, if anything is
Manifest = t.Dict[str, t.Tuple]
Change = t.Tuple[str, str, t.List[str]]


def _size(path: str) -> int:
    return len(os.fsencode(path))


def _same_content(one: Place, other: Place, size: int) -> bool:
    first = open_regular(one)
    try:
        second = open_regular(other)
        try:
            return _content.is_same(first, second, size)
        finally:
            os.close(second)
    finally:
        os.close(first)


def aspects(one: Place, before: os.stat_result, other: Place, after: os.stat_result) -> list[str]:
    """In what two entries differ; if in type, then in nothing but that."""
    if stat.S_IFMT(before.st_mode) != stat.S_IFMT(after.st_mode):
        return ["type"]
    found = []
    if stat.S_ISREG(after.st_mode) and (
            before.st_size != after.st_size or not _same_content(one, other, after.st_size)):
        found.append("content")
    if stat.S_ISLNK(after.st_mode) and link_target(one) != link_target(other):
        found.append("target")
    if (stat.S_ISCHR(after.st_mode) or stat.S_ISBLK(after.st_mode)) and before.st_rdev != after.st_rdev:
        found.append("device")
    if before.st_mode != after.st_mode:
        found.append("mode")
    if before.st_uid != after.st_uid:
        found.append("owner")
    if before.st_gid != after.st_gid:
        found.append("group")
    had, has = attributes(one), attributes(other)
    differing = {name for name in had.keys() | has.keys() if had.get(name) != has.get(name)}
    if differing.intersection(LABELS):
        found.append("label")
    if differing.difference(LABELS):
        found.append("attributes")
    if flags(one, before) != flags(other, after):
        found.append("flags")
    return found


def _unreadable(path: str, exc: OSError) -> TransactionalError:
    return TransactionalError(f"cannot compare {listed([path])}: {exc.strerror}")


def _is_placeholder(was: os.stat_result, is_: os.stat_result) -> bool:
    """Whether at least one side has the place of a subvolume only, which is no difference and has nothing below."""
    inodes = {was.st_ino, is_.st_ino}
    return stat.S_ISDIR(was.st_mode) and stat.S_ISDIR(is_.st_mode) and PLACEHOLDER_INODE in inodes and inodes <= {
        PLACEHOLDER_INODE, SUBVOLUME_INODE}


class _Directory(t.NamedTuple):
    """What the comparison of one directory found."""

    path: str | None  # None where it is too long
    border: str  # the last path that is not
    changes: list[Change]
    below: list[tuple[str, list[bool]]]  # directories in it, and in which trees they are
    differs: bool  # at something with a path that is too long


def _compare_directory(here: t.Sequence[int | None], path: str | None, border: str,
                       skipped: t.Container[str]) -> _Directory:
    result = _Directory(path, border, [], [], False)
    differs = False
    old, new = map(entries, here)
    room = 0 if path is None else LONGEST - _size(path) - 1
    for name in old.keys() | new.keys():
        was, is_ = old.get(name), new.get(name)
        same = was is not None and is_ is not None and was.st_ino == is_.st_ino and was.st_ctime_ns == is_.st_ctime_ns
        if same and not stat.S_ISDIR(is_.st_mode):
            continue  # so it is with nearly all
        # nothing of 255 letters is longer than 1020 bytes
        fits = path is not None and (room > 1020 or _size(name) <= room)
        full = f"{path}/{name}" if fits else None
        if full is not None and full in skipped:
            continue
        found: list[str] = []
        kind = None
        if was is None or is_ is None:
            kind = ADDED if was is None else REMOVED
        elif _is_placeholder(was, is_):
            continue
        elif not same:
            try:
                found = aspects((here[0], name), was, (here[1], name), is_)
            except OSError as exc:
                if is_gone(exc):
                    continue
                raise _unreadable(full or border, exc) from exc
            kind = MODIFIED if found else None
        directories = [about is not None and stat.S_ISDIR(about.st_mode) for about in (was, is_)]
        if full is None:
            # what is on one side only is told with the directory that it is in
            differs = differs or kind is not None and None not in here
            if all(directories):
                result.below.append((name, directories))
            continue
        if kind:
            result.changes.append((full, kind, found))
        if any(directories):
            result.below.append((name, directories))
    return result._replace(differs=differs)


def _enter(descent: Descent, top: str) -> None:
    for name in top.split("/"):
        if name:
            descent.enter(name, [True] * len(descent.here))


def changes(before: str, after: str, skipped: t.Container[str] = (), top: str = "") -> t.Iterator[Change]:
    """Yield ``(path, ADDED | MODIFIED | REMOVED, aspects)`` below ``top``, in no order; nothing that is ``skipped``.

    A directory on one side only is all added or removed, whatever the other side has in its place.
    """
    with opened(before) as old, opened(after) as new, Descent([old, new]) as descent:
        path: str | None = top
        border = top
        try:
            _enter(descent, top)
            stack: list[_Directory] = []
            while True:
                found = _compare_directory(descent.here, path, border, skipped)
                stack.append(found)
                yield from found.changes
                if found.differs:
                    yield border, MODIFIED, [BELOW]
                    # nothing more is told of what is too far below of the same directory
                    while stack[-1].path is None:
                        stack.pop()
                        descent.leave()
                    stack[-1].below[:] = [row for row in stack[-1].below if _fits(border, row[0])]
                while stack and not stack[-1].below:
                    stack.pop()
                    descent.leave()
                if not stack:
                    return
                name, where = stack[-1].below.pop()
                above = stack[-1]
                path = f"{above.path}/{name}" if above.path is not None and _fits(above.path, name) else None
                border = above.border if path is None else path
                descent.enter(name, where)
        except OSError as exc:
            raise _unreadable(border or "/", exc) from exc


def _fits(path: str, name: str) -> bool:
    return _size(path) + 1 + _size(name) <= LONGEST


def changes_at(before: str, after: str, path: str) -> list[Change]:
    """As ``changes``, of the path itself, without what is below."""
    with opened(before) as old, opened(after) as new, reached(old, path) as one, reached(new, path) as other:
        was, is_ = look(one), look(other)
        if was and is_:
            try:
                found = aspects(one, was, other, is_)
            except OSError as exc:
                if is_gone(exc):
                    return []
                raise _unreadable(path, exc) from exc
            return [(path, MODIFIED, found)] if found else []
        return [(path, ADDED if is_ else REMOVED, [])] if was or is_ else []


def but_directories(root: str, paths: t.Iterable[str]) -> list[str]:
    """Those of the paths that are something, but no directory."""
    found = []
    with opened(root) as top:
        for path in paths:
            with reached(top, path) as place:
                about = look(place)
            if about is not None and not stat.S_ISDIR(about.st_mode):
                found.append(path)
    return found


def manifest(root: str, top: str) -> Manifest:
    """All entries below ``top`` of ``root``, for ``compare_since`` where the tree before goes on changing.

    What lies in a subvolume below is left out: tukit keeps a copy of ``/etc`` there.
    """
    found: Manifest = {}
    digests: dict[str, t.Any] = {}
    with opened(root) as tree, Descent([tree]) as descent:
        path: str | None = top
        border = top
        try:
            _enter(descent, top)
            stack: list[tuple[str | None, str, list[str]]] = []
            while True:
                below = []
                for name, about in sorted(entries(descent.here[0]).items()):
                    if path is not None and _fits(path, name):
                        found[f"{path}/{name}"] = (about.st_ino, about.st_ctime_ns)
                    else:
                        row = f"{len(stack)} {name}/{about.st_ino} {about.st_ctime_ns}"
                        digests.setdefault(border, hashlib.sha256()).update(os.fsencode(row))
                    if stat.S_ISDIR(about.st_mode) and about.st_ino != SUBVOLUME_INODE:
                        below.append(name)
                stack.append((path, border, below))
                while stack and not stack[-1][2]:
                    stack.pop()
                    descent.leave()
                if not stack:
                    break
                above, border, below = stack[-1]
                name = below.pop()
                path = f"{above}/{name}" if above is not None and _fits(above, name) else None
                border = border if path is None else path
                descent.enter(name, [True])
        except OSError as exc:
            raise _unreadable(border or "/", exc) from exc
    for path, digest in digests.items():
        if path in found:
            found[path] += (digest.hexdigest(),)
    return found


def compare(before: str, after: str, skipped: t.Container[str] = (), top: str = "",
            unlabelled: t.Sequence[str] = ()) -> list[tuple[str, str]]:
    """``(path, ADDED | MODIFIED | REMOVED)`` below ``top``, parents first; nothing at and below ``skipped``.

    At and below ``unlabelled``, another label of SELinux alone is no difference.
    """
    found: dict[str, str] = {}
    for path, kind, about in changes(before, after, skipped, top):
        if about != ["label"] or not f"{path}/".startswith(tuple(f"{other}/" for other in unlabelled)):
            found.setdefault(path, kind)
    return sorted(found.items(), key=lambda row: row[0].split("/"))


def compare_since(then: Manifest, before: str, after: str, top: str) -> t.Iterator[tuple[str, str]]:
    """As ``compare``, by a manifest of ``after``: what changed in ``before`` since then does not count."""
    now = manifest(after, top)
    with opened(before) as old, opened(after) as new:
        for path in sorted(then.keys() | now.keys()):
            if path not in then:
                yield path, ADDED
            elif path not in now:
                yield path, REMOVED
            elif tuple(then[path]) != now[path]:
                try:
                    if _is_changed(old, new, path) or tuple(then[path][2:]) != now[path][2:]:
                        yield path, MODIFIED
                except OSError as exc:
                    if not is_gone(exc):
                        raise _unreadable(path, exc) from exc


def _is_changed(old: int, new: int, path: str) -> bool:
    with reached(old, path) as one, reached(new, path) as other:
        was, is_ = look(one), look(other)
        if is_ is None:  # vanished just now
            return False
        # gone from the tree before meanwhile, so nothing tells how it was
        return not stat.S_ISDIR(is_.st_mode) if was is None else bool(aspects(one, was, other, is_))


def package_changes(before: t.Iterable[dict], after: t.Iterable[dict],
                    order: t.Callable[[list[tuple[str, str]]], list[int]]) -> dict[str, list[dict]]:
    """From two lists of installed packages; ``order`` compares pairs of versions, less than 0 for an older first one.

    A package that both have in one version, but not in the same, is one package that was changed.
    """
    old, new = _by_name(before), _by_name(after)
    result: dict[str, list[dict]] = {
        "installed": [], "removed": [], "upgraded": [], "downgraded": [], "changed_arch": []}
    changed = []
    for name in sorted(old.keys() | new.keys()):
        gone = [row for row in old.get(name, []) if row not in new.get(name, [])]
        come = [row for row in new.get(name, []) if row not in old.get(name, [])]
        if len(gone) == len(come) == 1:
            changed.append((gone[0], come[0]))
        else:
            result["installed"] += come
            result["removed"] += gone
    orders = order([(was["version"], is_["version"]) for was, is_ in changed])
    for (was, is_), comparison in zip(changed, orders):
        kind = "upgraded" if comparison < 0 else "downgraded" if comparison else "changed_arch"
        result[kind].append(dict(is_, old_version=was["version"], old_arch=was["arch"]))
    return result


def packages(before: t.Iterable[dict], after: t.Iterable[dict]) -> dict[str, list[dict]]:
    """``installed``, ``updated`` (any other version) and ``removed``, from two lists of installed packages."""
    old, new = _by_name(before), _by_name(after)
    result: dict[str, list[dict]] = {"installed": [], "updated": [], "removed": []}
    for name in sorted(old.keys() | new.keys()):
        gone = [row for row in old.get(name, []) if row not in new.get(name, [])]
        come = [row for row in new.get(name, []) if row not in old.get(name, [])]
        if len(gone) == len(come) == 1:
            result["updated"].append(dict(come[0], old_version=gone[0]["version"]))
        else:
            result["installed"] += come
            result["removed"] += gone
    return result


def _by_name(rows: t.Iterable[dict]) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = {}
    for row in rows:
        found.setdefault(row["name"], []).append(row)
    return found
