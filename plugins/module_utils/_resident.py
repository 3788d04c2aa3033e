# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A namespace that outlives the task that made it, so that the next tasks can enter it.

Its process is a systemd service of the host. It belongs to one run of Ansible, and is described by the file
``/run/microos-transactional/KEY``, KEY being the run's: line 1 is ``PID ID NUMBER STARTED NAMESPACE`` for the shell of
the connection plugins, line 2 the details in JSON. Only root can read it. The process is known by its id, the time of
its start, its user and its mount namespace, as its id alone can be anybody's after its end. In the namespace's own
``/run``, ``microos-transactional/ID`` proves to whoever enters that it is the right one. All of it is gone after a
reboot.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import subprocess
import time
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils import _furniture, _processes
from ansible_collections.microos.transactional.plugins.module_utils._errors import Busy, TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._tools import command

DIRECTORY = "/run/microos-transactional"
# Points to the one real transaction, which is no view
OPEN = "open"
INSIDE = DIRECTORY + "/inside"
# Starts what it is given, and leaves a word if that ends
GUARD = 'umask 022; echo "ended $("$@" 2>"$0.err" >"$0"; echo $?)" >>"$0"'
# Runs inside. Everybody who enters leaves a mark. Without one for the idle time, and with nobody inside, it ends. Times
# of files are not asked, as the clock may be set back; neither are roots of other processes, whose file systems may not
# answer: who is inside has its mount namespace, or one of its own in which / is the same directory.
STAY = f"""
umask 022
{_furniture.FURNISH}
mkdir -p {DIRECTORY} /tmp/.ansible_async && chmod 1777 /tmp/.ansible_async
echo "$1 $2" >{INSIDE} && : >{DIRECTORY}/"$1" && echo $$
[ "$3" -gt 0 ] || exec sleep infinity
while read -r _ _ device root point _; do
    [ "$point" != / ] || mine="$device $root /"
done </proc/self/mountinfo
while :; do
    rm -f {DIRECTORY}/used
    sleep "$3"
    [ -e {DIRECTORY}/used ] && continue
    for process in /proc/[0-9]*; do
        [ "$process" != "/proc/$$" ] || continue
        [ "$process/ns/mnt" -ef /proc/self/ns/mnt ] && continue 2
        [ "$process/ns/mnt" -ef /proc/1/ns/mnt ] && continue
        grep -qF " $mine " "$process/mountinfo" 2>/dev/null && continue 2
    done
    exit
done
"""
STARTING_SECONDS = 60
ENDING_SECONDS = 10
# How long the opening of a view waits for another one
PATIENCE = 90


def inside() -> tuple[str, int] | None:
    """Id and snapshot of the transaction that this process is inside of, if it is inside of one."""
    try:
        with open(INSIDE, encoding="ascii") as stream:
            identity, number = stream.read().split()
    except (OSError, ValueError):
        return None
    return identity, int(number)


def _prepare() -> None:
    """Have the directory, root's alone, whatever the umask; nothing in it that others may have put there."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(DIRECTORY, 0o700)
    try:
        descriptor = os.open(DIRECTORY, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        raise TransactionalError(f"{DIRECTORY} is no directory. This collection keeps there what is open on the host: "
                                 "remove it, and run this again") from None
    try:
        about = os.fstat(descriptor)
        if about.st_uid != 0:
            raise TransactionalError(f"{DIRECTORY} belongs to user {about.st_uid} and not to root, so what it says of "
                                     "open transactions cannot be trusted: remove it, and run this again")
        if stat.S_IMODE(about.st_mode) != 0o700:
            os.fchmod(descriptor, 0o700)
        if about.st_gid != 0:
            os.fchown(descriptor, 0, 0)
        for name in os.listdir(descriptor):
            if os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_uid != 0:
                os.unlink(name, dir_fd=descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def one_at_a_time() -> t.Iterator[None]:
    """A context that only one process of the host is in. Views have no other lock."""
    _prepare()
    descriptor = os.open(DIRECTORY, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    holder = _processes.describe(_processes.lock_holder(DIRECTORY))
                    raise Busy(f"{holder} makes or ends a view since {PATIENCE} s") from None
                time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)


def _create(path: str) -> t.TextIO:
    """A new file that only root can read, whatever the umask."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    os.fchmod(descriptor, 0o600)
    return open(descriptor, "w", encoding="utf-8", errors="surrogateescape")


class Resident:
    """One such namespace. ``details`` are what the file says: id, snapshot, and whatever its maker told."""

    def __init__(self, key: str, details: t.Mapping[str, t.Any], pid: int = 0, started: str = "", namespace: int = 0):
        self.key = key
        self.details = dict(details)
        self.pid = pid
        self.started = started  # in clock ticks since the boot
        self.namespace = namespace
        self.path = f"{DIRECTORY}/{key}"
        self._output = f"{self.path}.out"
        self._unit = f"microos-transactional-{key}.service"
        self._guard: subprocess.Popen | None = None

    # --- start and end ----------------------------------------------------------------------------------------------

    def stay(self, idle_timeout: int) -> list[str]:
        """The command that stays inside; ``idle_timeout`` in seconds, 0 for no end."""
        return ["sh", "-c", STAY, "sh", self.details["id"], str(self.details["snapshot"]), str(idle_timeout)]

    def start(self, argv: t.Sequence[str], _env: t.Mapping[str, str] | None = None) -> Resident:
        """Start the process; those who enter set their environment themselves."""
        _prepare()
        self._forget_output()
        try:
            self._start(argv)
        except BaseException:  # also if this process is told to end meanwhile
            self.release()
            raise
        return self

    def _start(self, argv: t.Sequence[str]) -> None:
        for path in (self._output, f"{self._output}.err"):
            _create(path).close()
        self._write()
        self._link()
        guarded = ["sh", "-c", GUARD, self._output] + list(argv)
        if os.path.isdir("/run/systemd/system"):
            command.check(["systemd-run", "--quiet", "--collect", "--unit", self._unit,
                           "--description", f"Transaction on snapshot {self.details['snapshot']}",
                           "--property", "TimeoutStopSec=5", "--"]
                          # a service expands variables in its command by itself
                          + [argument.replace("$", "$$") for argument in guarded])
        else:
            self._guard = subprocess.Popen(
                guarded, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                cwd="/", env=command.environment(), start_new_session=True)
        pid = self._wait(argv)
        process = _processes.find(pid)
        if process is None:
            raise self._failure(argv, ["ended -1"])
        with process:
            found = process.stat()
            self.pid, self.started = pid, found.started if found else ""
            self.namespace = process.namespace() or 0
        if not self.alive():
            raise TransactionalError(f"the process that was to hold snapshot {self.details['snapshot']} open has ended "
                                     "at once")
        self._write()

    def _wait(self, argv: t.Sequence[str]) -> int:
        deadline = time.monotonic() + STARTING_SECONDS
        said: list[str] = []
        while time.monotonic() < deadline:
            said = _read(self._output).splitlines()
            if said and said[0].isdigit():
                return int(said[0])
            if said and said[-1].startswith("ended"):
                break
            time.sleep(0.01)
        raise self._failure(argv, said)

    def _failure(self, argv: t.Sequence[str], said: list[str]) -> TransactionalError:
        error = _read(self._output + ".err")
        if said and said[-1].startswith("ended "):
            return command.CommandError(command.Result(list(argv), int(said[-1].split()[1]), "", error))
        return command.TimedOut(argv, STARTING_SECONDS, [], "\n".join(said), error)

    def release(self) -> None:
        """End the process, and with it the namespace; then forget it."""
        self._end()
        self._forget_output()
        with contextlib.suppress(FileNotFoundError):
            if os.readlink(f"{DIRECTORY}/{OPEN}") == self.key:
                os.unlink(f"{DIRECTORY}/{OPEN}")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

    def _end(self) -> None:
        left: list[str] = []
        if os.path.isdir("/run/systemd/system"):
            command.run(["systemctl", "stop", self._unit])
        elif self._guard and self._guard.poll() is None:
            left = _processes.end_session(self._guard.pid)
            if not left:
                self._guard.wait()
        else:
            holder = self._find()
            if holder:
                with holder:
                    found = holder.stat()
                    left = _processes.end_session(found.session) if found else []
        deadline = time.monotonic() + ENDING_SECONDS
        while not left and self.alive():
            if time.monotonic() > deadline:
                left = [_processes.describe(self.pid)]
            time.sleep(0.01)
        if left:
            raise TransactionalError(f"what holds snapshot {self.details['snapshot']} open does not end: "
                                     f"{'; '.join(left)}. End it, and run this again")

    # --- what it is -------------------------------------------------------------------------------------------------

    def _find(self) -> _processes.Process | None:
        """The process if it is there and the one that was started, to be closed."""
        process = _processes.find(self.pid, self.started) if self.pid > 0 else None
        if process is None:
            return None
        if (process.is_ours() and process.namespace() == self.namespace
                and process.has(f"{DIRECTORY}/{self.details['id']}")):
            return process
        process.close()
        return None

    def alive(self) -> bool:
        """Whether the process is there, and is the one that was started."""
        process = self._find()
        if process is None:
            return False
        process.close()
        return True

    def sees(self, path: str) -> bool:
        """Whether there is a file at ``path``, seen from inside."""
        process = self._find()
        if process is None:
            return False
        with process:
            return process.has(path)

    @property
    def is_view(self) -> bool:
        """Whether it only shows a snapshot, for check mode."""
        return bool(self.details.get("view"))

    def describe(self) -> str:
        """Who holds the host since when."""
        of = self.details.get("provenance", {})
        who = " by {}@{}".format(of["user"], of["controller"]) if of.get("user") and of.get("controller") else ""
        return f"'{self.details['description']}', opened{who} at {self.details['since']} on snapshot " \
               f"{self.details['snapshot']}"

    # --- the file ---------------------------------------------------------------------------------------------------

    def _write(self) -> None:
        temporary = f"{self.path}.new"
        with _create(temporary) as stream:
            stream.write(f"{self.pid} {self.details['id']} {self.details['snapshot']} {self.started or '-'} "
                         f"{self.namespace}\n{json.dumps(self.details)}\n")
        os.replace(temporary, self.path)

    def _link(self) -> None:
        if not self.is_view:
            temporary = f"{self.path}.link"
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            os.symlink(self.key, temporary)
            os.replace(temporary, f"{DIRECTORY}/{OPEN}")

    def note(self, what: t.Any) -> None:
        """Keep something for the end of the transaction, beside the details."""
        with _create(f"{self.path}.note") as stream:
            json.dump(what, stream, ensure_ascii=False)

    def noted(self) -> t.Any:
        with open(f"{self.path}.note", encoding="utf-8", errors="surrogateescape") as stream:
            return json.load(stream)

    def _forget_output(self) -> None:
        for suffix in (".out", ".out.err", ".new", ".link", ".note"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path + suffix)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except FileNotFoundError:
        return ""


def load(key: str) -> Resident | None:
    """The namespace of a run, dead or alive; ``OPEN`` for the real transaction of whichever run."""
    key = os.path.basename(os.path.realpath(f"{DIRECTORY}/{key}"))
    lines = _read(f"{DIRECTORY}/{key}").splitlines()
    try:
        pid, _id, _number, started, namespace = lines[0].split()
        details = json.loads(lines[1])
        return Resident(key, details, int(pid), started, int(namespace)) if details["id"] else None
    except (IndexError, KeyError, TypeError, ValueError):
        return None


def refuse_if_open() -> None:
    """Raise an error if a transaction is open on this host, whoever opened it."""
    other = load(OPEN)
    if other and other.alive():
        raise Busy(other.describe(), holder=other.details)


def forget_dead(but: str | None = None) -> list[Resident]:
    """Release all whose process has ended, except that of the run ``but``; returns them."""
    if not os.path.isdir(DIRECTORY):
        return []
    with one_at_a_time():  # a view that is being made has no process yet
        names = os.listdir(DIRECTORY)
        found = [load(name) for name in names if "." not in name and name not in (OPEN, but)]
        dead = [resident for resident in found if resident and not resident.alive()]
        for resident in dead:
            resident.release()
    return dead
