# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measures what a host is fit for. Everything here only reads.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils._activation import open_transaction
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._files import read
from ansible_collections.microos.transactional.plugins.module_utils._host import Host
from ansible_collections.microos.transactional.plugins.module_utils._preflight import MEGABYTE, Measured, Size
from ansible_collections.microos.transactional.plugins.module_utils._repository_overview import overview
from ansible_collections.microos.transactional.plugins.module_utils._tools import (
    boot_entries,
    btrfs,
    command,
    mounts,
    snapper,
    systemd,
)

IN_PROGRESS = "transactional-update-in-progress"
ESP = ("/boot/efi", "/efi")


def parse_device_stats(stdout: str) -> dict[str, int]:
    """Counters of ``btrfs device stats``: ``[/dev/vda3].write_io_errs    0``."""
    return {f"{device} {counter}": int(count)
            for device, counter, count in re.findall(r"^\[(.+)\]\.(\w+)[ \t]+(\d{1,20})$", stdout, re.MULTILINE)}


def parse_ram(meminfo: str) -> int:
    """Megabytes, from ``MemTotal:  2014952 kB`` of /proc/meminfo."""
    found = re.search(r"^MemTotal:[ \t]+(\d{1,20}) kB", meminfo, re.MULTILINE)
    return int(found.group(1)) * 1024 // MEGABYTE if found else 0


def parse_file_system(mountinfo: str, path: str) -> tuple[str, list[str]] | None:
    """Device and options of the file system that is mounted at a path; the options of the mount are others."""
    found = None
    for before, (_fstype, device, options) in mounts.fields(mountinfo):
        if before[4] == path:
            found = (device, options.split(","))
    return found


def find_esp(mountinfo: str, entries: t.Iterable[str]) -> str | None:
    """Where kernels lie on an EFI system partition, beside their boot entries. GRUB's lie in the snapshots."""
    return next((path for path in ESP if parse_file_system(mountinfo, path)
                 and any(entry.startswith(path + "/") for entry in entries)), None)


def _size(path: str) -> Size:
    told = os.statvfs(path)
    return Size(told.f_blocks * told.f_frsize // MEGABYTE, told.f_bavail * told.f_frsize // MEGABYTE)


def _open_snapshots() -> list[str]:
    transaction = open_transaction()
    found = [] if transaction is None else [
        f"'{transaction.details['description']}' is open in snapshot {transaction.details['snapshot']}"]
    return found + [f"snapshot {row['number']} is in progress" for row in snapper.snapshots()
                    if row["userdata"].get(IN_PROGRESS) == "yes" and transaction is None]


def _clock() -> bool | None:
    if not command.which("timedatectl") or not systemd.runs():
        return None
    told = command.run(["timedatectl", "show", "--property=NTPSynchronized", "--value"]).stdout.strip()
    return {"yes": True, "no": False}.get(told)


def _failed_units() -> list[str]:
    if not systemd.runs():
        return []
    told = command.run(["systemctl", "list-units", "--failed", "--plain", "--no-legend"]).stdout
    return [line.split()[0] for line in told.splitlines() if line.strip()]


def measure(host: Host) -> Measured:
    try:
        host.require_transactional()
    except TransactionalError as exc:
        return Measured(str(exc), os.uname().machine, 0, Size(0, 0), None, None, None, False, {}, None, None, None, [],
                        None, [], {})
    table = mounts.read_mountinfo()
    root, var = (parse_file_system(table, path) for path in ("/", "/var"))
    esp = find_esp(table, boot_entries.paths())
    return Measured(
        lacks="", architecture=os.uname().machine, ram=parse_ram(read("/proc/meminfo")), root=_size("/"),
        var=_size("/var") if var and root and var[0] != root[0] else None, esp=_size(esp) if esp else None,
        read_only=btrfs.is_read_only("/"), degraded=root is not None and "degraded" in root[1],
        device_errors=parse_device_stats(command.check(["btrfs", "device", "stats", "/"]).stdout),
        booted=host.booted, current=host.current, default=host.default(), open_snapshots=_open_snapshots(),
        clock_synchronized=_clock(), failed_units=_failed_units(), insecure=overview(host)["insecure"])
