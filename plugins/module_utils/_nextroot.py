# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make a snapshot the root of the next soft reboot: systemd goes into what is mounted at ``/run/nextroot``.

A soft reboot has no initrd, so everything that the initrd mounts has to be mounted before.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import contextlib
import os
import re
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils._errors import Interrupted, TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._tools import btrfs, command, mounts, systemd

NEXTROOT = "/run/nextroot"
# What transactional-update has for it, shipped disabled. It leaves alone what is mounted already.
SERVICE = "prepare-nextroot-for-softreboot.service"
SYNC_ETC = "/usr/libexec/transactional-update-sync-etc-state"
# systemd's view of the mounts is the one that counts
MOUNTINFO = "/proc/1/mountinfo"


class Entry(t.NamedTuple):
    """A line of fstab."""

    source: str
    target: str
    fstype: str
    options: list[str]


def parse_fstab(text: str) -> list[Entry]:
    entries = []
    for line in text.splitlines():
        fields = [re.sub(r"\\([0-7]{3})", lambda m: chr(int(m.group(1), 8)), field) for field in line.split()]
        if len(fields) >= 4 and not fields[0].startswith("#"):
            entries.append(Entry(fields[0], fields[1], fields[2], fields[3].split(",")))
    return entries


def plan(fstab: str, root: str) -> list[list[str]]:
    """The commands that mount below ``root`` what the initrd would mount below ``/sysroot``, parents first."""
    commands = []
    for entry in sorted(parse_fstab(fstab), key=lambda entry: entry.target):
        if "x-initrd.mount" not in entry.options or entry.target == "/":
            continue
        # an overlay names its directories as the initrd sees them
        options = [option.replace("/sysroot/", root + "/") for option in entry.options]
        is_bind = "bind" in options or "rbind" in options
        source = root + entry.source if is_bind else entry.source
        kind = [] if is_bind else ["--types", entry.fstype]
        commands.append(["mount"] + kind + ["--options", ",".join(options), source, root + entry.target])
    return commands


def _mounted() -> list[mounts.Mount]:
    return mounts.parse_mountinfo(mounts.read_mountinfo(MOUNTINFO))


def clear() -> None:
    """Take away what an earlier try left, perhaps more than once: systemd would go into it at any reboot."""
    argv = ["umount", "--recursive", NEXTROOT]
    while mounts.mount_at(_mounted(), NEXTROOT):
        if command.run(argv).rc != 0:  # somebody looks into it; out of sight is enough
            command.check(argv + ["--lazy"])


def _prepare_ourselves() -> None:
    device = command.check(["findmnt", "--noheadings", "--first-only", "--nofsroot", "--output", "SOURCE",
                            "--mountpoint", "/"]).stdout.strip()
    os.makedirs(NEXTROOT, exist_ok=True)
    command.check(["mount", "--types", "btrfs", "--options", f"subvol=/{btrfs.default_subvolume('/')}", device,
                   NEXTROOT])
    with open(f"{NEXTROOT}/etc/fstab", encoding="utf-8", errors="surrogateescape") as stream:
        commands = plan(stream.read(), NEXTROOT)
    for argv in commands:
        command.check(argv, timeout=command.CHANGE_SECONDS)
    _merge_etc()


def _merge_etc() -> None:
    """What was changed in the running /etc since the snapshot was made, as at any first boot."""
    syncpoint = f"{NEXTROOT}/etc/etc.syncpoint"
    if not os.path.isdir(syncpoint):
        return
    if not os.path.exists(SYNC_ETC):
        raise TransactionalError(f"the /etc of the new snapshot waits for a merge, but {SYNC_ETC}, a part of "
                                 "transactional-update, is missing; use method: reboot")
    command.check([SYNC_ETC, "/etc", f"{NEXTROOT}/etc", syncpoint], timeout=command.CHANGE_SECONDS)


def prepare(number: int) -> None:
    """Mount the default snapshot, which must be ``number``, so that the next soft reboot goes into it."""
    clear()
    with undone_if_it_fails():
        if systemd.has_unit(SERVICE):
            command.check(["systemctl", "restart", SERVICE], timeout=command.CHANGE_SECONDS)
        else:
            _prepare_ourselves()
        found = mounts.snapshot_number(mounts.mount_at(_mounted(), NEXTROOT))
        if found != number:
            raise TransactionalError(
                f"a soft reboot would go into {'nothing' if found is None else f'snapshot {found}'} instead of the "
                f"default snapshot, {number}, which should be mounted at {NEXTROOT}; use method: reboot")


@contextlib.contextmanager
def undone_if_it_fails() -> t.Iterator[None]:
    """Whatever ends the block, a signal too: nothing is left there that would turn a later reboot into a soft one."""
    try:
        yield
    except BaseException as exc:
        error = exc if isinstance(exc, TransactionalError) else TransactionalError(
            f"the soft reboot could not be prepared: {exc}; use method: reboot")
        try:
            clear()
        except Interrupted:
            raise
        except TransactionalError as second:
            error.add(f"What was mounted at {NEXTROOT} for it could not be taken away, and any reboot would go into "
                      f"it; try: umount --recursive --lazy {NEXTROOT} ({second})")
        if isinstance(exc, OSError):
            raise error from exc
        raise
