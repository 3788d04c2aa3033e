# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Units of systemd that behave in another way from the activation of a snapshot on.

Inside of a transaction nothing is started, restarted or stopped. What is enabled begins at the boot.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import os
import re
import typing as t

DIRECTORIES = ("/etc/systemd/system", "/usr/lib/systemd/system")
WANTED = (".wants", ".requires", ".upholds")
UNIT_FILE = re.compile(r"(?:/etc|/usr/lib|/usr/local/lib)/systemd/system/([^/]+?)(?:\.d/[^/]+\.conf)?\Z")


def enabled(root: str) -> set[str]:
    """Units that something in the snapshot at ``root`` wants; one that is masked is not started for all that."""
    found, masked = set(), set()
    for directory in DIRECTORIES:
        for entry in _entries(root + directory):
            if entry.name.endswith(WANTED) and entry.is_dir(follow_symlinks=False):
                found.update(unit.name for unit in _entries(entry.path))
            elif entry.is_symlink() and os.readlink(entry.path) == "/dev/null":
                masked.add(entry.name)
    return found - masked


def _entries(directory: str) -> list[os.DirEntry]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except OSError:
        return []


def template(unit: str) -> str:
    """The file that a unit comes from: an instance is made of its template."""
    return re.sub(r"@[^@]*(\.\w+)\Z", r"@\1", unit)


def compare(before: t.AbstractSet[str], after: t.AbstractSet[str], paths: t.Iterable[str]) -> list[dict[str, str]]:
    """The differences of what is enabled; ``paths`` are those of changed files."""
    files = {found[1] for found in map(UNIT_FILE.match, paths) if found}
    kinds = {"enabled": after - before, "disabled": before - after,
             "modified": {unit for unit in after & before if unit in files or template(unit) in files}}
    return sorted(({"name": unit, "change": kind} for kind, units in kinds.items() for unit in units),
                  key=lambda row: row["name"])


def differences(before: str, after: str, changes: t.Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    """Between two snapshots, by their paths."""
    return compare(enabled(before), enabled(after), [path for path, _kind in changes])
