# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who is at work: holders of a lock, and processes that live inside a snapshot.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError

ENDING_SECONDS = 5
# What is killed and stays waits for something in the kernel, such as a file server that does not answer
DYING_SECONDS = 30
# zypper starts these for keys in a directory of its own, and does not wait for their end, which may take them a minute
AGENT = re.compile(rb"(/usr/bin/)?(gpg-agent|scdaemon)\0(.*\0)?--homedir\0[^\0]*/zypp\.\w+/")


def describe(pid: int | None) -> str:
    """For example ``pid 812 (transactional-update dup) since 2026-01-31 04:12:00``."""
    if pid is None:
        return "a process that has just ended"
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as stream:
            words = stream.read().decode("utf-8", "replace").strip("\0").split("\0")
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(os.stat(f"/proc/{pid}").st_ctime))
    except OSError:
        return f"pid {pid}, which has ended"
    return f"pid {pid} ({' '.join(words)[:200]}) since {since}"


def parse_locks(text: str, device: int, inode: int) -> int | None:
    """The process that holds a lock on a file, from ``/proc/locks`` (format: proc(5))."""
    wanted = f"{os.major(device):02x}:{os.minor(device):02x}:{inode}"
    for line in text.splitlines():
        fields = line.split()
        if fields[1] != "->" and fields[5] == wanted:
            return int(fields[4])
    return None


def lock_holder(path: str) -> int | None:
    """The process that holds a lock on the file at ``path``, or None."""
    try:
        about = os.stat(path)
        with open("/proc/locks", encoding="ascii") as stream:
            return parse_locks(stream.read(), about.st_dev, about.st_ino)
    except OSError:
        return None


def parent(pid: int) -> int | None:
    """The parent of a process, or None if it has ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            return int(stream.read().rpartition(b")")[2].split()[1])
    except OSError:
        return None


def _living() -> t.Iterator[tuple[int, os.stat_result]]:
    """All processes that have not ended, though their parents may not know of their end yet, and their roots."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                root = os.stat(f"/proc/{name}/root/")
            except OSError:  # ended meanwhile, or a kernel thread
                continue
            yield int(name), root


def of_session(session: int) -> list[int]:
    """Processes of a session that have not ended."""
    found = []
    for pid, _root in _living():
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(pid) == session:
                found.append(pid)
    return found


def inside(subvolume: str) -> list[int]:
    """Processes whose root directory is ``subvolume``, in whichever mount namespace they are."""
    there = os.stat(subvolume)
    # each btrfs subvolume has a device number of its own
    return [pid for pid, root in _living() if (root.st_dev, root.st_ino) == (there.st_dev, there.st_ino)]


def is_agent(cmdline: bytes) -> bool:
    """Whether a process, by its ``/proc/PID/cmdline``, is for keys that zypper alone has."""
    return AGENT.match(cmdline) is not None


def end_agents(pids: list[int]) -> None:
    """Ask agents of zypper to end, if nobody else runs that may still need them."""
    agents = []
    for pid in pids:
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as stream:
                cmdline = stream.read()
        except OSError:  # ended meanwhile
            continue
        if not is_agent(cmdline):
            return
        agents.append(pid)
    for pid in agents:
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            pass


def end_inside(subvolume: str) -> list[str]:
    """End what still runs inside ``subvolume``: ask, wait, then kill. Returns what was ended, described.

    Raises an error that names what does not end.
    """
    ended = {pid: describe(pid) for pid in inside(subvolume)}
    deadline = time.monotonic() + ENDING_SECONDS
    left = list(ended)
    while left:
        number = signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL
        for pid in left:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass
        if time.monotonic() > deadline + DYING_SECONDS:
            raise TransactionalError(f"not even killing ends {'; '.join(map(describe, left))}. See to what they wait "
                                     "for, a file server perhaps, or reboot the host")
        time.sleep(0.02)
        left = inside(subvolume)
        ended.update({pid: describe(pid) for pid in left if pid not in ended})
    return list(ended.values())
