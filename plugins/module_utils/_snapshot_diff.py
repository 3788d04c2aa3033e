# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What two snapshots differ in: packages, the files of these packages, and other files.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import bisect
import collections
import difflib
import os
import re
import stat
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils import _difference
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._host import Host
from ansible_collections.microos.transactional.plugins.module_utils._target import previous, usable_numbers
from ansible_collections.microos.transactional.plugins.module_utils._text import ROWS, readable, readable_line
from ansible_collections.microos.transactional.plugins.module_utils._tools import command, mounts, rpm, snapper
from ansible_collections.microos.transactional.plugins.module_utils._trees import look, open_regular, opened, reached

ETC = "/etc"
# What transactional-update keeps in a nested /etc for the merge at the first boot: how the running /etc was when the
# snapshot was made, and in it the number of the snapshot that ran
SYNCPOINT = "/etc.syncpoint"
SYNCED_WITH = "/transactional-update.comparewith"
# Compared as packages; a mere look into a writable snapshot changes sqlite's files
DATABASES = ("/usr/lib/sysimage/rpm", "/var/lib/rpm")
# Written with changes of packages, and listed by none
LINKER_CACHE = "/etc/ld.so.cache"
# Never shown, whatever their mode
SECRET_NAME = re.compile(r"(?:g?shadow|opasswd)(?:\W.*)?\Z")
SECRET_CONTENT = re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY|^(?:untrusted comment: .*secret key)", re.MULTILINE)
# All diffs of a result together
MOST_CONTENT = 1 << 20
# Lines to compare with lines: difflib needs hours for what has nothing in common
MOST_PAIRS = 1_000_000
CONTEXT = 3
ENOUGH = f"the result has {MOST_CONTENT >> 20} MiB of diffs already"
PASSWORD_IN_URL = re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)")


def find_snapshot(host: Host, wanted: str, option: str) -> int:
    """The snapshot meant by a number, ``running``, ``current``, ``default`` or ``previous``."""
    if wanted in ("running", "current"):
        return host.current
    if wanted == "default":
        return host.default()
    snapshots = snapper.snapshots()
    if wanted == "previous":
        return previous(snapshots, usable_numbers(snapshots), host.current)
    numbers = [row["number"] for row in snapshots]
    listed = ", ".join(map(str, numbers))
    if not wanted.isdigit():
        raise TransactionalError(f"{option}: '{wanted}' is neither the number of a snapshot nor running, current, "
                                 f"default or previous; there are {listed}", snapshots=numbers)
    # an open one and one that was kept after a failure too: nothing is more worth a look
    if int(wanted) not in numbers:
        raise TransactionalError(f"{option}: there is no snapshot {wanted}; there are {listed}", snapshots=numbers)
    return int(wanted)


class Trees(t.NamedTuple):
    """Where the files of the two snapshots are found."""

    before: str
    after: str
    etc: str  # what counts as the /etc before
    hidden: frozenset[str] = frozenset()  # where other file systems are mounted

    @property
    def merges(self) -> bool:
        """Whether the first boot will merge into the snapshot what the /etc before got since it was made."""
        return self.etc == self.after + ETC + SYNCPOINT

    def old(self, path: str) -> str:
        return self.etc + path[len(ETC):] if _below(path, ETC) else self.before + path

    def new(self, path: str) -> str:
        return self.after + path


def find_trees(host: Host, old: int, new: int) -> Trees:
    """What the running /etc got since is no difference to a snapshot that it will be merged into."""
    before, after = snapper.path_of(old), snapper.path_of(new)
    syncpoint = after + ETC + SYNCPOINT
    try:
        with open(syncpoint + SYNCED_WITH, encoding="ascii") as stream:
            merges = old == host.current and stream.read().strip() == str(old)
    except OSError:
        merges = False
    hidden = frozenset(mount.target for mount in host.mounts if mounts.snapshot_number(mount) is None)
    return Trees(before, after, syncpoint if merges else before + ETC, hidden)


def _below(path: str, top: str) -> bool:
    return path == top or path.startswith(top.rstrip("/") + "/")


# --- files ----------------------------------------------------------------------------------------------------------


def check_paths(trees: Trees, wanted: t.Sequence[str]) -> list[str]:
    """The paths to compare, none of which lies below another."""
    tops = sorted({os.path.normpath("/" + path.lstrip("/")) if path.startswith("/") else path for path in wanted})
    for path in tops:
        if not path.startswith("/") or "\0" in path:
            raise TransactionalError(f"paths: '{readable(path)}' is not absolute" if "\0" not in path else
                                     f"paths: '{readable(path)}' has a null character in it")
        parent = os.path.dirname(path)
        while parent != "/":
            if any(os.path.islink(where(parent)) for where in (trees.old, trees.new)):
                raise TransactionalError(f"paths: '{readable(path)}' leads through the symbolic link "
                                         f"{readable(parent)}; give the path that it points to")
            parent = os.path.dirname(parent)
    return [path for path in tops if not any(_below(path, top) for top in tops if top != path)]


def _change_at(trees: Trees, path: str) -> t.Iterator[_difference.Change]:
    """A path itself, without what is below."""
    if path == ETC:
        roots, inside = (trees.etc, trees.new(ETC)), ""
    elif _below(path, ETC):
        roots, inside = (trees.etc, trees.new(ETC)), path[len(ETC):]
    else:
        roots, inside = (trees.before, trees.after), path
    return ((path, kind, aspects) for _path, kind, aspects in _difference.changes_at(*roots, inside))


def changes_below(trees: Trees, path: str) -> t.Iterator[_difference.Change]:
    """All differences that show after the boot, except for databases, as ``_difference.changes`` yields them."""
    if _below(path, ETC):
        found = _difference.changes(trees.etc, trees.after + ETC, (SYNCPOINT, SYNCED_WITH), path[len(ETC):])
        yield from ((ETC + below, kind, aspects) for below, kind, aspects in found)
        return
    top = path.rstrip("/")
    yield from _difference.changes(trees.before, trees.after, trees.hidden.union(DATABASES, [ETC]), top)
    if not top:
        yield from changes_below(trees, ETC)


def find_files(trees: Trees, tops: t.Sequence[str]) -> list[dict]:
    """All different files at and below the paths, as the module reports them."""
    found: dict[str, dict] = {}
    for top in tops:
        for changes in (_change_at(trees, top), changes_below(trees, top)):
            for path, kind, aspects in changes:
                row = found.setdefault(path, {"path": path, "change": kind, "aspects": aspects})
                if aspects == [_difference.BELOW] and row["aspects"] is not aspects:
                    row["aspects"] = row["aspects"] + aspects
    return [found[path] for path in sorted(found)]


# --- drift ----------------------------------------------------------------------------------------------------------


def find_drift(trees: Trees, tops: t.Sequence[str]) -> list[dict] | None:
    """What the running /etc got since the snapshot was made; None if nothing tells how it was."""
    if not trees.merges:
        return None
    since = Trees(trees.before, trees.before, trees.etc)
    below = [path if _below(path, ETC) else ETC for path in tops if _below(path, ETC) or _below(ETC, path)]
    with opened(trees.before + ETC) as running, opened(trees.etc) as old, opened(trees.after + ETC) as new:
        return [dict(file, lost=_is_lost(running, old, new, file["path"][len(ETC):]))
                for file in find_files(since, below)]


def _is_lost(running: int, old: int, new: int, path: str) -> bool:
    """Whether the merge leaves out a change of the running /etc: where the snapshot has another one, that wins."""
    with reached(running, path) as at_now, reached(old, path) as at_old, reached(new, path) as at_new:
        now, was, is_ = look(at_now), look(at_old), look(at_new)
        if now is None or is_ is None:
            if now is is_:
                return False  # both have deleted it
        elif not _difference.aspects(at_now, now, at_new, is_):
            return False
        if was is None or is_ is None:
            return was is not is_ or at_new is None
        # the merge takes a mere new time for a change, too
        touched = int(was.st_mtime) != int(is_.st_mtime)
        return touched or bool(_difference.aspects(at_old, was, at_new, is_))


# --- packages -------------------------------------------------------------------------------------------------------


def find_packages(trees: Trees) -> dict[str, list[dict]]:
    before, after = ([] if not command.which("rpm") else rpm.installed(root) for root in (trees.before, trees.after))
    return _difference.package_changes(before, after, rpm.order)


def files_of_packages(trees: Trees, packages: t.Mapping[str, t.Sequence[t.Mapping]]) -> set[str]:
    """The paths that the changed packages have or had, where the links of both trees lead."""
    both = packages["upgraded"] + packages["downgraded"] + packages["changed_arch"]
    old = packages["removed"] + [dict(row, version=row["old_version"], arch=row["old_arch"]) for row in both]
    found = {_unlinked(trees.before, path) for path in rpm.files_of(trees.before, old)}
    return found | {_unlinked(trees.after, path) for path in rpm.files_of(trees.after, packages["installed"] + both)}


def _unlinked(root: str, path: str) -> str:
    """A path without the link that its first directory may be, such as /lib."""
    _empty, first, *rest = path.split("/")
    try:
        return "/".join([f"/{os.readlink(f'{root}/{first}').strip('/')}", *rest]) if rest else path
    except OSError:
        return path


def explain(files: t.Sequence[dict], owned: t.Collection[str], changed: bool) -> tuple[list[dict], list[dict]]:
    """The files that changed packages explain, and all others."""
    # packages need not list the directories that they bring
    parents = {path[:end] for path in owned for end, letter in enumerate(path) if letter == "/"}
    explained, others = [], []
    for file in files:
        path = file["path"]
        known = path in owned or changed and (
            path == LINKER_CACHE or file["change"] != _difference.MODIFIED and path in parents)
        (explained if known else others).append(file)
    return explained, others


# --- content --------------------------------------------------------------------------------------------------------


def _is_public(top: int, path: str) -> bool:
    """Whether everybody may go through all directories on the way to a file."""
    parent = os.path.dirname(path)
    while parent != "/":
        with reached(top, parent) as place:
            about = look(place)
        if about is None or not about.st_mode & stat.S_IXOTH:
            return False
        parent = os.path.dirname(parent)
    return True


def _read(top: int, path: str, limit: int) -> tuple[list[str], str]:
    """The lines of a file, or why they are not told."""
    with reached(top, path) as place:
        about = look(place)
        if about is None:
            return [], ""
        if not stat.S_ISREG(about.st_mode):
            return [], "not a regular file"
        if not _is_public(top, path):
            return [], "not readable by everybody"
        try:
            descriptor = open_regular(place)
        except FileNotFoundError:
            return [], ""
        with open(descriptor, "rb") as stream:
            if not os.fstat(descriptor).st_mode & stat.S_IROTH:
                return [], "not readable by everybody"
            data = stream.read(min(limit, MOST_CONTENT) + 1)
    if len(data) > min(limit, MOST_CONTENT):
        return [], f"larger than {min(limit, MOST_CONTENT)} bytes"
    if SECRET_CONTENT.search(data):
        return [], "a private key"
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return [], "binary"
    if "\0" in text:
        return [], "binary"
    # the other ends of lines that Python's splitlines knows are none to other tools
    *lines, rest = PASSWORD_IN_URL.sub("***", text).split("\n")
    return [f"{line}\n" for line in lines] + [rest] * bool(rest), ""


class _Opcodes(difflib.SequenceMatcher):
    """Steps from one text to another that were found elsewhere."""

    def __init__(self, steps: list[tuple[str, int, int, int, int]]):
        super().__init__()
        self._steps = steps

    def get_opcodes(self):
        return self._steps


def _anchors(old: t.Sequence[str], new: t.Sequence[str]) -> list[tuple[int, int]]:
    """Where lines that each side has once are in both, the most of them that are in the same order."""
    once = [{line for line, count in collections.Counter(lines).items() if count == 1} for lines in (old, new)]
    where = {line: number for number, line in enumerate(new) if line in once[0] and line in once[1]}
    ends: list[int] = []  # of the best row of each length the last line in new, and in pairs the one before
    pairs: list[tuple[int, int, int | None]] = []
    best: list[int] = []
    for number, line in enumerate(old):
        if line in where:
            length = bisect.bisect_left(ends, where[line])
            ends[length:length + 1] = [where[line]]
            best[length:length + 1] = [len(pairs)]
            pairs.append((number, where[line], best[length - 1] if length else None))
    found = []
    at = best[-1] if best else None
    while at is not None:
        found.append(pairs[at][:2])
        at = pairs[at][2]
    return found[::-1]


def steps(old: t.Sequence[str], new: t.Sequence[str]) -> list[tuple[str, int, int, int, int]]:
    """As difflib's opcodes, in a time that the number of lines bounds: what is large and not alike is replaced."""
    found: list[tuple[str, int, int, int, int]] = []

    def add(tag: str, i1: int, i2: int, j1: int, j2: int) -> None:
        if tag == "equal" and found and found[-1][0] == tag:
            _tag, i1, _end, j1, _end = found.pop()
        found.append((tag, i1, i2, j1, j2))

    i = j = 0
    for next_i, next_j in [*_anchors(old, new), (len(old), len(new))]:
        if (next_i - i) * (next_j - j) > MOST_PAIRS:
            add("replace", i, next_i, j, next_j)
        elif next_i > i or next_j > j:
            for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, old[i:next_i], new[j:next_j]).get_opcodes():
                add(tag, i + i1, i + i2, j + j1, j + j2)
        if next_i < len(old):
            add("equal", next_i, next_i + 1, next_j, next_j + 1)
        i, j = next_i + 1, next_j + 1
    return found


def _range(start: int, end: int) -> str:
    length = end - start
    return str(start + 1) if length == 1 else f"{start + 1 if length else start},{length}"


def unified(old: t.Sequence[str], new: t.Sequence[str], path: str) -> t.Iterator[str]:
    """The lines of a unified diff."""
    for number, group in enumerate(_Opcodes(steps(old, new)).get_grouped_opcodes(CONTEXT)):
        if not number:
            yield f"--- a{readable(path)}\n"
            yield f"+++ b{readable(path)}\n"
        yield f"@@ -{_range(group[0][1], group[-1][2])} +{_range(group[0][3], group[-1][4])} @@\n"
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                yield from (f" {line}" for line in old[i1:i2])
            else:
                yield from (f"-{line}" for line in old[i1:i2])
                yield from (f"+{line}" for line in new[j1:j2])


def content(trees: Trees, path: str, limit: int) -> dict:
    """``diff``, the unified diff of a file in /etc, or ``withheld``, why it is not shown."""
    if SECRET_NAME.match(os.path.basename(path)):
        return {"withheld": "holds secrets"}
    below = path[len(ETC):]
    with opened(trees.etc) as old, opened(trees.after + ETC) as new:
        sides = [_read(top, below, limit) for top in (old, new)]
    reasons = [reason for _lines, reason in sides if reason]
    if reasons:
        return {"withheld": reasons[0]}
    text = "".join(readable_line(line[:-1]) + "\n" if line.endswith("\n") else
                   f"{readable_line(line)}\n\\ No newline at end of file\n"
                   for line in unified(sides[0][0], sides[1][0], path))
    return {"diff": text}


# --- all of it ------------------------------------------------------------------------------------------------------


def as_diff(old: int, new: int, packages: t.Mapping[str, t.Sequence[t.Mapping]], files: t.Sequence[t.Mapping],
            count: int) -> list:
    """What ``--diff`` prints, of ``count`` files those that the result has."""
    gone = packages["removed"] + [dict(row, version=row["old_version"], arch=row["old_arch"])
                                  for rows in packages.values() for row in rows if "old_version" in row]
    come = [row for kind, rows in packages.items() if kind != "removed" for row in rows]
    before, after = ("".join(sorted(rpm.label(row) + "\n" for row in rows)) for rows in (gone, come))
    said = {_difference.ADDED: "+", _difference.REMOVED: "-", _difference.MODIFIED: "~"}
    lines = []
    for file in files:
        about = ", ".join(file["aspects"])
        lines.append(f"{said[file['change']]} {readable(file['path'])}{f' ({about})' if about else ''}\n"
                     f"{file.get('diff', '')}")
    if count > len(files):
        lines.append(f"and {count - len(files):,} more files\n")
    return [{"before": before, "after": after, "before_header": f"packages of snapshot {old}",
             "after_header": f"packages of snapshot {new}"}] + [{"prepared": "".join(lines)}]


def snapshot_diff(host: Host, old: int, new: int, wanted: t.Sequence[str], with_content: bool, content_limit: int,
                  package_files: bool) -> dict:
    """The result of the module."""
    trees = find_trees(host, old, new)
    warnings = []
    etc = mounts.mount_at(host.mounts, ETC)
    if etc and etc.fstype == "overlay":
        warnings.append("/etc of this host is an overlay, of which snapshots hold the lowest layer only: what was "
                        "changed in /etc later, below /var/lib/overlay, is not compared")
    try:
        packages = find_packages(trees)
        tops = check_paths(trees, wanted)
        files = find_files(trees, tops)
        changed = any(packages.values())
        drift = find_drift(trees, tops)
        explained, others = explain(files, files_of_packages(trees, packages) if changed else (), changed)
        told, told_explained = others[:ROWS], explained[:ROWS] if package_files else []
        if with_content:
            _add_contents(trees, told + told_explained, content_limit)
    except OSError as exc:
        what = f"{readable(str(exc.filename or ''))}: {exc.strerror}".lstrip(": ")
        raise TransactionalError(f"snapshots {old} and {new} cannot be compared ({what}). If somebody changes or "
                                 "deletes them just now, run the task again") from exc
    result = {"changed": False, "from": old, "to": new, "differs": changed or bool(files), "packages": packages,
              "files": told, "files_count": len(others), "package_files_count": len(explained),
              "warnings": warnings, **_told_drift(drift)}
    if package_files:
        result["package_files"] = told_explained
    return result


def _told_drift(drift: list[dict] | None) -> dict:
    """Of more changes than a result has room for, those that the merge leaves out come first."""
    if drift is None:
        return {"drift": None, "drift_count": None, "lost_count": None}
    lost = [file for file in drift if file["lost"]]
    told = (lost + [file for file in drift if not file["lost"]])[:ROWS]
    return {"drift": sorted(told, key=lambda file: file["path"]), "drift_count": len(drift), "lost_count": len(lost)}


def _add_contents(trees: Trees, files: t.Iterable[dict], limit: int) -> None:
    room = MOST_CONTENT
    for file in files:
        path = file["path"]
        if not _below(path, ETC) or file["aspects"] and "content" not in file["aspects"]:
            continue
        with opened(trees.etc) as old, opened(trees.after + ETC) as new, \
                reached(old, path[len(ETC):]) as one, reached(new, path[len(ETC):]) as other:
            about = look(other) or look(one)
        if about is None or not stat.S_ISREG(about.st_mode):
            continue
        found = content(trees, path, limit) if room else {"withheld": ENOUGH}
        if len(found.get("diff", "")) > room:
            found, room = {"withheld": ENOUGH}, 0
        room -= len(found.get("diff", ""))
        file.update(found)
