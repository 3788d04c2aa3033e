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
# What the script of a trial says in the end
TRIAL = "microos-trial"
GIVEN_UP = re.compile(r"snapshot ([0-9]+) on trial: (?:reverted|fell-back)\b")


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
    if snapper.parse_number(number) is None or not snapper.exists(int(number)):
        return None
    same = not subvolume or subvolume == str(btrfs.subvolume_id(snapper.path_of(int(number))))
    return int(number) if same else None


class History(t.NamedTuple):
    """What is known about snapshots."""

    booted: dict[int, str]  # those that were booted, and how that is known
    given_up: set[int]  # those that failed a trial, and were not booted since


def history(made: t.Mapping[int, datetime.datetime]) -> History:
    """What is known about the snapshots, which are given with the times they were made."""
    found, given_up = {}, set()
    for number, moment, is_boot in parse_journal(_journal()):
        if number in made and made[number] <= moment:
            if is_boot:
                found[number] = "the journal tells that it was booted"
                given_up.discard(number)
            else:
                given_up.add(number)
    working = _read(TRANSACTIONAL_UPDATE).get("LAST_WORKING_SNAPSHOTS", "").split()
    for number in map(snapper.parse_number, working):
        if number in made and made[number].timestamp() <= os.stat(TRANSACTIONAL_UPDATE).st_mtime:
            found[number] = "transactional-update found it working"
    return History({number: how for number, how in found.items() if number not in given_up}, given_up)


def _journal() -> str:
    if not command.which("journalctl"):
        return ""
    return command.run(["journalctl", "--quiet", "--no-pager", "--output=json", "--output-fields=MESSAGE",
                        f"--grep=^({COMMAND_LINE}|snapshot [0-9]+ on trial: )",
                        # root's only: everybody may log under any identifier
                        "_TRANSPORT=kernel", "+", f"SYSLOG_IDENTIFIER={TRIAL}", "_UID=0"]).stdout


def parse_journal(text: str) -> t.Iterator[tuple[int, datetime.datetime, bool]]:
    """The snapshots that kernels were started for (True) or that failed a trial (False), and when."""
    for line in text.split("\n"):
        try:
            entry = json.loads(line)
            message = str(entry["MESSAGE"])
            moment = datetime.datetime.fromtimestamp(int(entry["__REALTIME_TIMESTAMP"]) / 1e6, datetime.timezone.utc)
        except (ValueError, KeyError, TypeError, OverflowError, OSError):  # of a journal that is cut or damaged
            continue
        failed = GIVEN_UP.match(message)
        number = int(failed.group(1)) if failed else boot_entries.loaded_snapshot(message)
        if number is not None:
            yield number, moment, failed is None
