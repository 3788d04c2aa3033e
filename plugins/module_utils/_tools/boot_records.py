# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read what health-checker, transactional-update and the journal tell of snapshots that were booted.

Numbers of deleted snapshots are given out again, so each record is held against the snapshot of today.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils._tools import boot_entries, btrfs, command, snapper

HEALTH_CHECKER = "/var/lib/misc/health-check.state"
TRANSACTIONAL_UPDATE = "/var/lib/misc/transactional-update.state"
ASSIGNMENT = re.compile(r"^([A-Z_]+)=[\"']?([^\"'\n]*)", re.MULTILINE)
# All architectures log it so
COMMAND_LINE = "Kernel command line: "


def _read(path: str) -> dict[str, str]:
    """The assignments of a shell file, none if there is no such file."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return dict(ASSIGNMENT.findall(stream.read()))
    except FileNotFoundError:
        return {}


def last_working() -> int | None:
    """The snapshot that passed the last checks of health-checker, unless it is not the same any more."""
    state = _read(HEALTH_CHECKER)
    number, subvolume = (state.get(f"LAST_WORKING_{key}", "") for key in ("SNAPSHOT", "BTRFS_ID"))
    if not number.isdigit() or not snapper.exists(int(number)):
        return None
    same = not subvolume or subvolume == str(btrfs.subvolume_id(snapper.path_of(int(number))))
    return int(number) if same else None


def booted(made: t.Mapping[int, datetime.datetime]) -> dict[int, str]:
    """Those of the snapshots, given with the times they were made, that are known to have been booted, and how."""
    found = {}
    for number, moment in parse_journal(_journal()):
        if number in made and made[number] <= moment:
            found[number] = "the journal tells that it was booted"
    working = _read(TRANSACTIONAL_UPDATE).get("LAST_WORKING_SNAPSHOTS", "").split()
    for number in (int(word) for word in working if word.isdigit()):
        if number in made and made[number].timestamp() <= os.stat(TRANSACTIONAL_UPDATE).st_mtime:
            found[number] = "transactional-update found it working"
    return found


def _journal() -> str:
    if not command.which("journalctl"):
        return ""
    return command.run(["journalctl", "--quiet", "--no-pager", "--output=json", "--output-fields=MESSAGE",
                        f"--grep=^{COMMAND_LINE}", "_TRANSPORT=kernel"]).stdout


def parse_journal(text: str) -> t.Iterator[tuple[int, datetime.datetime]]:
    """The snapshots that kernels were started for, and when."""
    for line in text.splitlines():
        entry = json.loads(line)
        number = boot_entries.loaded_snapshot(str(entry["MESSAGE"]))
        if number is not None:
            seconds = int(entry["__REALTIME_TIMESTAMP"]) / 1e6
            yield number, datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
