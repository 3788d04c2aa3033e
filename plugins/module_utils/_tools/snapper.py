# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run ``snapper`` on the configuration of the root file system and read its answers.

Facts are from snapper 0.10.6; what 0.8 to 0.10.4 lack is replaced by btrfs itself.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._tools import btrfs, command

CONFIG = "root"
CONFIG_FILE = f"/etc/snapper/configs/{CONFIG}"
HOME = "/.snapshots"
# What makes snapshots, and how long another one may take to
PROGRAMS = ("snapper", "snapperd")
MAKING_SECONDS = 15
BUS_SOCKET = "/run/dbus/system_bus_socket"
COLUMNS = ("number,default,active,type,date,user,used-space,cleanup,description,userdata,"
           "pre-number,post-number,post-date")
NUMBER = re.compile(r"(?:0|[1-9][0-9]{0,9})\Z")
# What the XML of a snapshot's record cannot hold
UNSTORABLE = "\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff"


def path_of(number: int) -> str:
    """Where the root subvolume of a snapshot is found."""
    return f"{HOME}/{number}/snapshot"


def parse_number(text: str) -> int | None:
    """The number of a snapshot; None if the text is none."""
    return int(text) if NUMBER.match(text) else None


def exists(number: int) -> bool:
    return os.path.isdir(path_of(number))


def _argv(*args: str) -> list[str]:
    no_bus = [] if os.path.exists(BUS_SOCKET) else ["--no-dbus"]
    return ["snapper"] + no_bus + ["--config", CONFIG] + list(args)


def storable(value: str) -> str:
    """A value of the userdata as snapper can keep it, without commas and equals signs."""
    return _storable_text(value).replace(",", ";").replace("=", ":")


def _storable_text(text: str) -> str:
    return re.sub(f"[{UNSTORABLE}]", " ", text)


def _userdata(userdata: t.Mapping[str, str]) -> str:
    return ",".join(f"{key}={storable(value)}" for key, value in userdata.items())


def parse_list(stdout: str) -> list[dict]:
    """Parse ``snapper --jsonout list``: one dict for each snapshot, keys with underscores, without number 0.

    Numbers, booleans and nulls are real ones; ``userdata`` is always a dict.
    """
    try:
        rows = [_parse_row(row) for row in json.loads(stdout)[CONFIG]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise TransactionalError(f"cannot read the snapshot list of snapper: {stdout[:200]}") from exc
    return [row for row in rows if row["number"] != 0]


def _parse_row(row: t.Mapping[str, t.Any]) -> dict:
    snapshot = {key.replace("-", "_"): value for key, value in row.items()}
    snapshot["userdata"] = snapshot.get("userdata") or {}
    texts = [snapshot[key] for key in ("description", "cleanup", "date")] + list(snapshot["userdata"].values())
    number = snapshot["number"]
    if not isinstance(number, int) or isinstance(number, bool) or number < 0 or not all(
            isinstance(one, str) for one in texts):
        raise ValueError("no number, or no text")
    return snapshot


def snapshots(used_space: bool = False) -> list[dict]:
    """All snapshots, oldest number first. ``used_space`` (bytes) needs quota and may be slow."""
    columns = COLUMNS if used_space else COLUMNS.replace("used-space,", "")
    base = ["--utc", "--iso", "--jsonout", "list"] + ([] if used_space else ["--disable-used-space"])
    result = command.run(_argv(*(base + ["--columns", columns + ",read-only"])))
    if result.rc == 0:
        return parse_list(result.stdout)
    # snapper <= 0.10.4 has no column read-only
    listed = parse_list(command.check(_argv(*(base + ["--columns", columns]))).stdout)
    for snapshot in listed:
        snapshot["read_only"] = btrfs.is_read_only(path_of(snapshot["number"]))
    return listed


def create(base: int, description: str, userdata: t.Mapping[str, str] | None = None) -> int:
    """Make a read-write snapshot of ``base`` that the cleanup does not touch."""
    args = ["create", "--from", str(base), "--read-write", "--print-number", "--description",
            _storable_text(description)]
    if userdata:
        args += ["--userdata", _userdata(userdata)]
    said = command.check(_argv(*args), timeout=command.CHANGE_SECONDS).stdout.strip()
    number = parse_number(said)
    if number is None:
        raise TransactionalError(f"cannot read the number of a new snapshot from snapper's answer: {said[:200]}")
    return number


def directories() -> set[int]:
    """The numbers that have a directory, also those that snapper knows nothing of."""
    return {number for number in map(parse_number, os.listdir(HOME)) if number is not None}


def _half_made(there: t.Container[int]) -> dict[str, int]:
    """New directories that snapper has not completed, with their inodes."""
    found = {}
    for number in directories():
        home = f"{HOME}/{number}"
        with contextlib.suppress(FileNotFoundError):
            if number not in there and not os.path.exists(f"{home}/info.xml"):
                found[home] = os.stat(home).st_ino
    return found


def delete_half_made(there: t.Container[int], is_made: t.Callable[[], bool]) -> list[str]:
    """Delete what a snapper that was killed in a creation has left, which it will never list: all but what is there.

    What another snapper is making just now looks the same. ``is_made`` tells whether one is at work that may be making
    it; then nothing is deleted, and after some time the directories are left and returned.
    """
    found = _half_made(there)
    deadline = time.monotonic() + MAKING_SECONDS
    while set(found) & set(_half_made(there)) and is_made():
        if time.monotonic() > deadline:
            return sorted(found)
        time.sleep(0.05)
    for home, inode in _half_made(there).items():
        if found.get(home) == inode:
            if os.path.isdir(f"{home}/snapshot"):
                btrfs.delete_subvolume(f"{home}/snapshot")
            shutil.rmtree(home, ignore_errors=True)
    return []


def modify(number: int, userdata: t.Mapping[str, str] | None = None, cleanup: str | None = None,
           description: str | None = None) -> None:
    """Set keys of the userdata (an empty value removes the key), the cleanup algorithm ("" for none), the text."""
    args = ["modify"]
    if userdata:
        args += ["--userdata", _userdata(userdata)]
    if cleanup is not None:
        args += ["--cleanup-algorithm", cleanup]
    if description is not None:
        args += ["--description", _storable_text(description)]
    command.check(_argv(*(args + [str(number)])), timeout=command.CHANGE_SECONDS)


def _modify(option: str, number: int) -> bool:
    """Whether snapper knows the option; that of 0.10.4 and earlier does not."""
    result = command.run(_argv("modify", option, str(number)), timeout=command.CHANGE_SECONDS)
    if result.rc != 0 and "unknown option" not in result.stderr.lower():
        raise command.CommandError(result)
    return result.rc == 0


def set_read_only(number: int) -> None:
    if not _modify("--read-only", number):
        btrfs.set_read_only(path_of(number), True)


def set_default(number: int) -> None:
    """Choose the snapshot of the next boot, through snapper so that its plugins update the boot loader."""
    if not _modify("--default", number):
        btrfs.set_default_subvolume(path_of(number))


def delete(number: int) -> None:
    """Delete a snapshot, and make sure of it: snapper exits with 0 when it refuses."""
    result = command.check(_argv("delete", str(number)), timeout=command.CHANGE_SECONDS)
    if exists(number):
        raise command.CommandError(result)


def configuration() -> dict[str, str]:
    """The settings of the configuration, by their keys."""
    stdout = command.check(_argv("--jsonout", "get-config")).stdout
    try:
        settings = dict(json.loads(stdout).items())
    except (ValueError, AttributeError, RecursionError) as exc:
        raise TransactionalError(f"cannot read the configuration of snapper: {stdout[:200]}") from exc
    if not all(isinstance(value, str) for value in settings.values()):
        raise TransactionalError(f"cannot read the configuration of snapper: {stdout[:200]}")
    return settings


def configure(settings: t.Mapping[str, str]) -> None:
    """Write settings into ``/etc`` of the running system; snapper takes anything."""
    command.check(_argv("set-config", *(f"{key}={value}" for key, value in settings.items())))
