# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What differs between two trees, one of which was a snapshot of the other: files and packages.

A file that both have under the same inode with the same time of its last change is the same, as nobody can set that
time. All others are compared for good, their content included; a mere new time of modification is no difference.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import os
import stat
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils._tools.btrfs import SUBVOLUME_INODE

ADDED, MODIFIED, REMOVED = "added", "modified", "removed"
BLOCK = 1 << 20
# SELinux's, and what restorecon (libselinux 3.8) remembers of its work
LABELS = ("security.selinux", "security.sehash")
# path -> (inode, time of the last change in ns)
Manifest = t.Dict[str, t.Tuple[int, int]]


def _list(directory: str) -> dict[str, os.stat_result]:
    try:
        with os.scandir(directory) as entries:
            return {entry.name: entry.stat(follow_symlinks=False) for entry in entries}
    except (FileNotFoundError, NotADirectoryError):
        return {}


def _same_content(one: str, other: str) -> bool:
    with open(one, "rb") as first, open(other, "rb") as second:
        while True:
            block = first.read(BLOCK)
            if block != second.read(BLOCK):
                return False
            if not block:
                return True


def _attributes(path: str) -> dict[str, bytes]:
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path, follow_symlinks=False)}


def aspects(one: str, before: os.stat_result, other: str, after: os.stat_result) -> list[str]:
    """In what two entries differ; if in type, then in nothing but that."""
    if stat.S_IFMT(before.st_mode) != stat.S_IFMT(after.st_mode):
        return ["type"]
    found = []
    if stat.S_ISREG(after.st_mode) and (before.st_size != after.st_size or not _same_content(one, other)):
        found.append("content")
    if stat.S_ISLNK(after.st_mode) and os.readlink(one) != os.readlink(other):
        found.append("target")
    if (stat.S_ISCHR(after.st_mode) or stat.S_ISBLK(after.st_mode)) and before.st_rdev != after.st_rdev:
        found.append("device")
    if before.st_mode != after.st_mode:
        found.append("mode")
    if before.st_uid != after.st_uid:
        found.append("owner")
    if before.st_gid != after.st_gid:
        found.append("group")
    had, has = _attributes(one), _attributes(other)
    differing = {name for name in had.keys() | has.keys() if had.get(name) != has.get(name)}
    if differing.intersection(LABELS):
        found.append("label")
    if differing.difference(LABELS):
        found.append("attributes")
    return found


def changes(before: str, after: str, skipped: t.Container[str] = (),
            top: str = "") -> t.Iterator[tuple[str, str, list[str]]]:
    """Yield ``(path, ADDED | MODIFIED | REMOVED, aspects)`` below ``top``, in no order; nothing that is ``skipped``.

    A directory on one side only is all added or removed, whatever the other side has in its place.
    """
    todo = [(top, *(os.path.isdir(root + top) and not os.path.islink(root + top) for root in (before, after)))]
    while todo:
        top, in_old, in_new = todo.pop()
        old = _list(before + top) if in_old else {}
        new = _list(after + top) if in_new else {}
        for name in old.keys() | new.keys():
            path = f"{top}/{name}"
            if path in skipped:
                continue
            was, is_ = old.get(name), new.get(name)
            if was is None:
                yield path, ADDED, []
            elif is_ is None:
                yield path, REMOVED, []
            elif (was.st_ino, was.st_ctime_ns) != (is_.st_ino, is_.st_ctime_ns):
                found = aspects(before + path, was, after + path, is_)
                if found:
                    yield path, MODIFIED, found
            directories = [about is not None and stat.S_ISDIR(about.st_mode) for about in (was, is_)]
            if any(directories):
                todo.append((path, *directories))


def manifest(root: str, top: str) -> Manifest:
    """All entries below ``top`` of ``root``, for ``compare_since`` where the tree before goes on changing.

    What lies in a subvolume below is left out: tukit keeps a copy of ``/etc`` there.
    """
    found: Manifest = {}
    for name, about in _list(root + top).items():
        path = f"{top}/{name}"
        found[path] = (about.st_ino, about.st_ctime_ns)
        if stat.S_ISDIR(about.st_mode) and about.st_ino != SUBVOLUME_INODE:
            found.update(manifest(root, path))
    return found


def compare(before: str, after: str, skipped: t.Container[str] = (), top: str = "",
            unlabelled: t.Sequence[str] = ()) -> list[tuple[str, str]]:
    """``(path, ADDED | MODIFIED | REMOVED)`` below ``top``, parents first; nothing at and below ``skipped``.

    At and below ``unlabelled``, another label of SELinux alone is no difference.
    """
    found = [(path, kind) for path, kind, about in changes(before, after, skipped, top)
             if about != ["label"] or not f"{path}/".startswith(tuple(f"{other}/" for other in unlabelled))]
    return sorted(found, key=lambda row: row[0].split("/"))


def compare_since(then: Manifest, before: str, after: str, top: str) -> t.Iterator[tuple[str, str]]:
    """As ``compare``, by a manifest of ``after``: what changed in ``before`` since then does not count."""
    now = manifest(after, top)
    for path in sorted(then.keys() | now.keys()):
        if path not in then:
            yield path, ADDED
        elif path not in now:
            yield path, REMOVED
        elif tuple(then[path]) != now[path]:
            about = os.lstat(after + path)
            try:
                if aspects(before + path, os.lstat(before + path), after + path, about):
                    yield path, MODIFIED
            except FileNotFoundError:
                if not stat.S_ISDIR(about.st_mode):
                    yield path, MODIFIED


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
