# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What two snapshots differ in: packages, the files of these packages, and other files.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import difflib
import os
import re
import stat
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils import _difference
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._host import Host
from ansible_collections.microos.transactional.plugins.module_utils._target import previous, usable_numbers
from ansible_collections.microos.transactional.plugins.module_utils._tools import command, mounts, rpm, snapper

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


def check_paths(trees: Trees, paths: t.Sequence[str]) -> list[str]:
    """The paths to compare, none of which lies below another."""
    wanted = sorted({os.path.normpath("/" + path.lstrip("/")) if path.startswith("/") else path for path in paths})
    for path in wanted:
        if not path.startswith("/"):
            raise TransactionalError(f"paths: '{path}' is not absolute")
        parent = os.path.dirname(path)
        while parent != "/":
            if any(os.path.islink(where(parent)) for where in (trees.old, trees.new)):
                raise TransactionalError(f"paths: '{path}' leads through the symbolic link {parent}; give the path "
                                         "that it points to")
            parent = os.path.dirname(parent)
    return [path for path in wanted if not any(_below(path, top) for top in wanted if top != path)]


def _lstat(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None


def _change_at(trees: Trees, path: str) -> t.Iterator[tuple[str, str, list[str]]]:
    """A path itself, without what is below."""
    was, is_ = _lstat(trees.old(path)), _lstat(trees.new(path))
    if was and is_:
        aspects = _difference.aspects(trees.old(path), was, trees.new(path), is_)
        if aspects:
            yield path, _difference.MODIFIED, aspects
    elif was or is_:
        yield path, _difference.ADDED if is_ else _difference.REMOVED, []


def changes_below(trees: Trees, path: str) -> t.Iterator[tuple[str, str, list[str]]]:
    """All differences that show after the boot, except for databases, as ``_difference.changes`` yields them."""
    if _below(path, ETC):
        found = _difference.changes(trees.etc, trees.after + ETC, (SYNCPOINT, SYNCED_WITH), path[len(ETC):])
        yield from ((ETC + below, kind, aspects) for below, kind, aspects in found)
        return
    top = path.rstrip("/")
    yield from _difference.changes(trees.before, trees.after, trees.hidden.union(DATABASES, [ETC]), top)
    if not top:
        yield from changes_below(trees, ETC)


def find_files(trees: Trees, paths: t.Sequence[str]) -> list[dict]:
    """All different files at and below the paths, as the module reports them."""
    found: dict[str, dict] = {}
    for top in paths:
        for changes in (_change_at(trees, top), changes_below(trees, top)):
            for path, kind, aspects in changes:
                found[path] = {"path": path, "change": kind, "aspects": aspects}
    return [found[path] for path in sorted(found)]


# --- drift ----------------------------------------------------------------------------------------------------------


def find_drift(trees: Trees, paths: t.Sequence[str]) -> list[dict] | None:
    """What the running /etc got since the snapshot was made; None if nothing tells how it was."""
    if not trees.merges:
        return None
    since = Trees(trees.before, trees.before, trees.etc)
    below = [path if _below(path, ETC) else ETC for path in paths if _below(path, ETC) or _below(ETC, path)]
    return [dict(file, lost=_is_lost(trees, file["path"])) for file in find_files(since, below)]


def _is_lost(trees: Trees, path: str) -> bool:
    """Whether the merge leaves out a change of the running /etc: where the snapshot has another one, that wins."""
    running = trees.before + path
    now, was, is_ = _lstat(running), _lstat(trees.old(path)), _lstat(trees.new(path))
    if now is None or is_ is None:
        if now is is_:
            return False  # both have deleted it
    elif not _difference.aspects(running, now, trees.new(path), is_):
        return False
    if was is None or is_ is None:
        return was is not is_ or _lstat(os.path.dirname(trees.new(path))) is None
    # the merge takes a mere new time for a change, too
    touched = int(was.st_mtime) != int(is_.st_mtime)
    return touched or bool(_difference.aspects(trees.old(path), was, trees.new(path), is_))


# --- packages -------------------------------------------------------------------------------------------------------


def find_packages(trees: Trees) -> dict[str, list[dict]]:
    before, after = ([] if not command.which("rpm") else rpm.installed(root) for root in (trees.before, trees.after))
    return _difference.package_changes(before, after, rpm.order)


def files_of_packages(trees: Trees, packages: t.Mapping[str, t.Sequence[t.Mapping]]) -> set[str]:
    """The paths that the changed packages have or had, where the links of both trees lead."""
    both = packages["upgraded"] + packages["downgraded"] + packages["changed_arch"]
    old = packages["removed"] + [dict(row, version=row["old_version"], arch=row["old_arch"]) for row in both]
    paths = {_unlinked(trees.before, path) for path in rpm.files_of(trees.before, old)}
    return paths | {_unlinked(trees.after, path) for path in rpm.files_of(trees.after, packages["installed"] + both)}


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


def _is_public(root: str, path: str) -> bool:
    """Whether everybody may read a file, all directories on the way to it included."""
    about = os.lstat(root + path)
    if not about.st_mode & stat.S_IROTH:
        return False
    parent = os.path.dirname(path)
    while parent != "/":
        if not os.lstat(root + parent).st_mode & stat.S_IXOTH:
            return False
        parent = os.path.dirname(parent)
    return True


def _read(root: str, path: str, limit: int) -> tuple[list[str], str]:
    """The lines of a file, or why they are not told."""
    about = _lstat(root + path)
    if about is None:
        return [], ""
    if not stat.S_ISREG(about.st_mode):
        return [], "not a regular file"
    if not _is_public(root, path):
        return [], "not readable by everybody"
    if about.st_size > limit:
        return [], f"larger than {limit} bytes"
    with open(root + path, "rb") as stream:
        data = stream.read()
    if SECRET_CONTENT.search(data):
        return [], "a private key"
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return [], "binary"
    if "\0" in text:
        return [], "binary"
    return PASSWORD_IN_URL.sub("***", text).splitlines(keepends=True), ""


def content(trees: Trees, path: str, limit: int) -> dict:
    """``diff``, the unified diff of a file in /etc, or ``withheld``, why it is not shown."""
    if SECRET_NAME.match(os.path.basename(path)):
        return {"withheld": "holds secrets"}
    below = path[len(ETC):]
    sides = [_read(root, below, limit) for root in (trees.etc, trees.after + ETC)]
    reasons = [reason for _lines, reason in sides if reason]
    if reasons:
        return {"withheld": reasons[0]}
    lines = difflib.unified_diff(sides[0][0], sides[1][0], f"a{path}", f"b{path}")
    return {"diff": "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
                            for line in lines)}


# --- all of it ------------------------------------------------------------------------------------------------------


def as_diff(old: int, new: int, packages: t.Mapping[str, t.Sequence[t.Mapping]], files: t.Sequence[t.Mapping]) -> list:
    """What ``--diff`` prints."""
    gone = packages["removed"] + [dict(row, version=row["old_version"], arch=row["old_arch"])
                                  for rows in packages.values() for row in rows if "old_version" in row]
    come = [row for kind, rows in packages.items() if kind != "removed" for row in rows]
    before, after = ("".join(sorted(rpm.label(row) + "\n" for row in rows)) for rows in (gone, come))
    said = {_difference.ADDED: "+", _difference.REMOVED: "-", _difference.MODIFIED: "~"}
    lines = []
    for file in files:
        about = ", ".join(file["aspects"])
        lines.append(f"{said[file['change']]} {file['path']}{f' ({about})' if about else ''}\n{file.get('diff', '')}")
    return [{"before": before, "after": after, "before_header": f"packages of snapshot {old}",
             "after_header": f"packages of snapshot {new}"}] + [{"prepared": "".join(lines)}]


def snapshot_diff(host: Host, old: int, new: int, paths: t.Sequence[str], with_content: bool, content_limit: int,
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
        files = find_files(trees, check_paths(trees, paths))
        changed = any(packages.values())
        drift = find_drift(trees, check_paths(trees, paths))
        explained, others = explain(files, files_of_packages(trees, packages) if changed else (), changed)
        if with_content:
            for file in files:
                if _below(file["path"], ETC) and (not file["aspects"] or "content" in file["aspects"]):
                    _add_content(trees, file, content_limit)
    except FileNotFoundError as exc:
        raise TransactionalError(f"{exc.filename} vanished while snapshots {old} and {new} were compared: somebody "
                                 "changes or deletes them just now. Run the task again") from exc
    result = {"changed": False, "from": old, "to": new, "differs": changed or bool(files), "packages": packages,
              "files": others, "package_files_count": len(explained), "drift": drift, "warnings": warnings}
    if package_files:
        result["package_files"] = explained
    return result


def _add_content(trees: Trees, file: dict, limit: int) -> None:
    about = _lstat(trees.new(file["path"])) or os.lstat(trees.old(file["path"]))
    if stat.S_ISREG(about.st_mode):
        file.update(content(trees, file["path"], limit))
