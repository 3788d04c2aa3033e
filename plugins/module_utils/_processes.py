# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who is at work: single processes, holders of a lock, and processes that live inside a snapshot.

A process id alone says nothing: any local user can have one that was another's. So a process is known by an open
``/proc/PID``, or by its id together with the time of its start.

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
from ansible_collections.microos.transactional.plugins.module_utils._tools import file_handles

ENDING_SECONDS = 5
# What is killed and stays waits for something in the kernel, such as a file server that does not answer
DYING_SECONDS = 30
# zypper starts these for keys in a directory of its own, and does not wait for their end, which may take them a minute
AGENT = re.compile(rb"(/usr/bin/)?(gpg-agent|scdaemon)\0(.*\0)?--homedir\0[^\0]*/zypp\.\w+/")
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class Stat(t.NamedTuple):
    """What ``/proc/PID/stat`` says (format: proc(5))."""
    name: str
    state: str
    parent: int
    session: int
    started: str  # in clock ticks since the boot


def parse_stat(text: str) -> Stat | None:
    """None for what cannot be read. The name may have spaces and parentheses of its own."""
    before, _parenthesis, after = text.rpartition(")")
    fields = after.split()
    if len(fields) < 20:
        return None
    return Stat(before.partition("(")[2], fields[0], int(fields[1]), int(fields[3]), fields[19])


class Process:
    """A process by its open ``/proc/PID``: after its end nothing is found there, whoever gets the same id then."""

    def __init__(self, pid: int):
        self.pid = pid
        self.descriptor = os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self.close()

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def path(self, name: str) -> str:
        """A path to something in ``/proc/PID``, also for a command that this process runs."""
        return f"/proc/{os.getpid()}/fd/{self.descriptor}/{name}"

    def _read(self, name: str) -> bytes:
        with open(os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.descriptor), "rb") as stream:
            return stream.read()

    def stat(self) -> Stat | None:
        """None if it has ended, though its parent may not know of that yet."""
        try:
            found = parse_stat(self._read("stat").decode("utf-8", "replace"))
        except OSError:
            return None
        return None if found is None or found.state in "ZX" else found

    def is_ours(self) -> bool:
        """Whether it is in our user namespace. In one of their own all users can be root, and have any root."""
        try:
            return os.path.samestat(os.stat("ns/user", dir_fd=self.descriptor), os.stat("/proc/self/ns/user"))
        except OSError:
            return False

    def is_roots(self) -> bool:
        """Whether root runs it: the real root."""
        try:
            users = re.search(rb"^Uid:\s+(\d+)\s+(\d+)\s+(\d+)", self._read("status"), re.MULTILINE)
        except OSError:
            return False
        return users is not None and set(users.groups()) == {b"0"} and self.is_ours()

    def namespace(self) -> int | None:
        """The number of its mount namespace."""
        try:
            return os.stat("ns/mnt", dir_fd=self.descriptor).st_ino
        except OSError:
            return None

    def has(self, path: str) -> bool:
        """Whether it sees a file at ``path``. Only for processes of ours, as others may have a root that never answers.
        """
        try:
            os.stat(f"root{path}", dir_fd=self.descriptor)
        except OSError:
            return False
        return True

    def root(self) -> file_handles.BtrfsInode | None:
        """Its root directory, if that is on a btrfs; nobody else's file system is asked."""
        return file_handles.btrfs_inode("root", self.descriptor)

    def command_line(self) -> bytes:
        """Only of root's processes: others can have theirs in memory that never answers."""
        try:
            return self._read("cmdline") if self.is_roots() else b""
        except OSError:
            return b""

    def age(self) -> float:
        """Seconds since it was started."""
        found = self.stat()
        with open("/proc/uptime", encoding="ascii") as stream:
            return float(stream.read().split()[0]) - int(found.started) / os.sysconf("SC_CLK_TCK") if found else 0

    def since(self) -> str:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(os.fstat(self.descriptor).st_ctime))

    def describe(self) -> str:
        found = self.stat()
        if found is None:
            return f"pid {self.pid}, which has ended"
        words = self.command_line().decode("utf-8", "replace").strip("\0").replace("\0", " ") or found.name
        return f"pid {self.pid} ({UNPRINTABLE.sub('?', words)[:200]}) since {self.since()}"

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            if hasattr(signal, "pidfd_send_signal"):  # since Python 3.9
                signal.pidfd_send_signal(self.descriptor, number)
            elif self.stat():
                os.kill(self.pid, number)


def find(pid: int, started: str | None = None) -> Process | None:
    """A process that lives now; with ``started`` the one that was started then. To be closed."""
    try:
        process = Process(pid)
    except OSError:
        return None
    found = process.stat()
    if found is None or started not in (None, found.started):
        process.close()
        return None
    return process


def is_roots(pid: int) -> bool:
    """Whether a process of root's has this id. What a file says that its owner left behind may be anybody's by now."""
    process = find(pid)
    if process is None:
        return False
    with process:
        return process.is_roots()


def describe(pid: int | None) -> str:
    """For example ``pid 812 (transactional-update dup) since 2026-01-31 04:12:00``."""
    if pid is None:
        return "a process that has just ended"
    process = find(pid)
    if process is None:
        return f"pid {pid}, which has ended"
    with process:
        return process.describe()


PID = re.compile(r"[0-9]{1,10}\Z")


def parse_locks(text: str, device: int, inode: int) -> int | None:
    """The process that holds a lock on a file, from ``/proc/locks`` (format: proc(5))."""
    wanted = f"{os.major(device):02x}:{os.minor(device):02x}:{inode}"
    for line in text.splitlines():
        fields = line.split()
        # the lock of an open file description has no process, and says -1
        if len(fields) > 5 and fields[1] != "->" and fields[5] == wanted and PID.match(fields[4]):
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
    process = find(pid)
    if process is None:
        return None
    with process:
        found = process.stat()
    return found.parent if found else None


def each() -> t.Iterator[Process]:
    """All processes, each open until the next one is asked for."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                process = Process(int(name))
            except OSError:  # ended meanwhile
                continue
            with process:
                yield process


def named(names: t.Container[str]) -> list[tuple[int, str]]:
    """The id and the start of all processes of root's with one of these names."""
    found = []
    for process in each():
        about = process.stat()
        if about and about.name in names and process.is_roots():
            found.append((process.pid, about.started))
    return found


def lives(pid: int, started: str) -> bool:
    process = find(pid, started)
    if process is None:
        return False
    process.close()
    return True


def _of_session(session: int) -> set[tuple[int, str]]:
    found = set()
    for process in each():
        about = process.stat()
        if about and about.session == session and process.is_ours():
            found.add((process.pid, about.started))
    return found


def end_session(session: int) -> list[str]:
    """End all processes of a session that is known to be ours; returns those that do not end, described."""
    left = _of_session(session)
    deadline = time.monotonic() + ENDING_SECONDS
    while left:
        number = signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL
        described = []
        for one in left:
            process = find(*one)
            if process:
                with process:
                    described.append(process.describe())
                    process.signal(number)
        if described and time.monotonic() > deadline + ENDING_SECONDS:
            return described
        time.sleep(0.01)
        # the number of a session that is over may be given to another one
        left = _of_session(session) if any(lives(*one) for one in left) else set()
    return []


def _each_inside(subvolume: str) -> t.Iterator[Process]:
    """Processes whose root directory is in ``subvolume``, in whichever mount namespace they are."""
    wanted = file_handles.btrfs_inode(subvolume)
    device = os.stat(subvolume).st_dev
    for process in each():
        root = process.root()
        if not (wanted and root and root.subvolume == wanted.subvolume and process.stat()):
            continue
        with contextlib.suppress(OSError):  # ended meanwhile
            # of this btrfs, as each of its subvolumes has a device number of its own
            if os.stat("root", dir_fd=process.descriptor).st_dev == device:
                yield process


def inside(subvolume: str) -> list[int]:
    """Processes whose root directory is in ``subvolume``, in whichever mount namespace they are."""
    return [process.pid for process in _each_inside(subvolume)]


def is_agent(cmdline: bytes) -> bool:
    """Whether a process, by its ``/proc/PID/cmdline``, is for keys that zypper alone has."""
    return AGENT.match(cmdline) is not None


def end_agents(pids: list[int]) -> None:
    """Ask agents of zypper to end, if nobody else runs that may still need them."""
    with contextlib.ExitStack() as stack:
        agents = []
        for process in filter(None, map(find, pids)):
            stack.enter_context(process)
            if not is_agent(process.command_line()):
                return
            agents.append(process)
        for process in agents:
            process.signal(signal.SIGTERM)


def end_inside(subvolume: str) -> list[str]:
    """End what still runs inside ``subvolume``: ask, wait, then kill. Returns what was ended, described.

    Raises an error that names what does not end.
    """
    ended: dict[tuple[int, str], str] = {}
    deadline = time.monotonic() + ENDING_SECONDS
    while os.path.isdir(subvolume):
        number = signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL
        left = []
        for process in _each_inside(subvolume):
            about = process.stat()
            if about is None:
                continue
            left.append((process.pid, about.started))
            ended.setdefault(left[-1], process.describe())
            process.signal(number)
        if not left:
            break
        if time.monotonic() > deadline + DYING_SECONDS:
            raise TransactionalError(f"not even killing ends {'; '.join(ended[one] for one in left)}. See to what they "
                                     "wait for, a file server perhaps, or reboot the host")
        time.sleep(0.02)
    return list(ended.values())
