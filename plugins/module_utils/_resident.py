# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A namespace that outlives the task that made it, so that the next tasks can enter it.

Its process is a systemd service of the host. It belongs to one run of Ansible, and is described by the file
``/run/microos-transactional/KEY``, KEY being the run's: line 1 is ``PID ID NUMBER`` for the shell of the connection
plugins, line 2 the details in JSON. In the namespace's own ``/run``, ``microos-transactional/ID`` proves to whoever
enters that the process is the right one. All of it is gone after a reboot.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
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
GUARD = 'echo "ended $("$@" 2>"$0.err" >"$0"; echo $?)" >>"$0"'
# Runs inside. Everybody who enters touches the mark. Without use for the idle time, and with nobody inside, it ends.
STAY = f"""
umask 022
{_furniture.FURNISH}
mkdir -p {DIRECTORY} /tmp/.ansible_async && chmod 1777 /tmp/.ansible_async
echo "$1 $2" >{INSIDE} && : >{DIRECTORY}/"$1" && echo $$
[ "$3" -gt 0 ] || exec sleep infinity
while :; do
    : >{DIRECTORY}/unused
    sleep "$3"
    [ {DIRECTORY}/"$1" -nt {DIRECTORY}/unused ] && continue
    for process in /proc/[0-9]*; do
        [ "$process/root" -ef / ] && [ "$process" != "/proc/$$" ] && continue 2
    done
    exit
done
"""
STARTING_SECONDS = 60
ENDING_SECONDS = 10


def inside() -> tuple[str, int] | None:
    """Id and snapshot of the transaction that this process is inside of, if it is inside of one."""
    try:
        with open(INSIDE, encoding="ascii") as stream:
            identity, number = stream.read().split()
    except (OSError, ValueError):
        return None
    return identity, int(number)


class Resident:
    """One such namespace. ``details`` are what the file says: id, snapshot, and whatever its maker told."""

    def __init__(self, key: str, details: t.Mapping[str, t.Any], pid: int = 0):
        self.key = key
        self.details = dict(details)
        self.pid = pid
        self.path = f"{DIRECTORY}/{key}"
        self._output = f"{self.path}.out"
        self._unit = f"microos-transactional-{key}.service"

    # --- start and end ----------------------------------------------------------------------------------------------

    def stay(self, idle_timeout: int) -> list[str]:
        """The command that stays inside; ``idle_timeout`` in seconds, 0 for no end."""
        return ["sh", "-c", STAY, "sh", self.details["id"], str(self.details["snapshot"]), str(idle_timeout)]

    def start(self, argv: t.Sequence[str], _env: t.Mapping[str, str] | None = None) -> Resident:
        """Start the process; those who enter set their environment themselves."""
        os.makedirs(DIRECTORY, mode=0o755, exist_ok=True)
        self._forget_output()
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
            subprocess.Popen(guarded, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                             cwd="/", env=command.environment(), start_new_session=True)
        self.pid = self._wait(argv)
        self._write()
        return self

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
        error = _read(self._output + ".err")
        self.release()
        returncode = int(said[-1].split()[1]) if said and said[-1].startswith("ended ") else -1
        raise command.CommandError(command.Result(list(argv), returncode, "", error))

    def release(self) -> None:
        """End the process, and with it the namespace; then forget it."""
        session = 0
        if os.path.isdir("/run/systemd/system"):
            command.run(["systemctl", "stop", self._unit])
        elif self.alive():
            session = os.getsid(self.pid)
            os.killpg(session, signal.SIGTERM)
        self._wait_for_end(session)
        self._forget_output()
        with contextlib.suppress(FileNotFoundError):
            if os.readlink(f"{DIRECTORY}/{OPEN}") == self.key:
                os.unlink(f"{DIRECTORY}/{OPEN}")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

    def _wait_for_end(self, session: int) -> None:
        deadline = time.monotonic() + ENDING_SECONDS
        while True:
            left = [self.pid] if self.alive() else _processes.of_session(session) if session else []
            if not left:
                return
            if time.monotonic() > deadline:
                raise TransactionalError(f"what holds snapshot {self.details['snapshot']} open does not end: "
                                         f"{'; '.join(map(_processes.describe, left))}. End it, and run this again")
            time.sleep(0.01)

    # --- what it is -------------------------------------------------------------------------------------------------

    def alive(self) -> bool:
        """Whether the process is there, and is the one that was started."""
        return self.pid > 0 and os.path.exists(f"/proc/{self.pid}/root{DIRECTORY}/{self.details['id']}")

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
        with open(temporary, "w", encoding="utf-8") as stream:
            stream.write(f"{self.pid} {self.details['id']} {self.details['snapshot']}\n{json.dumps(self.details)}\n")
        os.chmod(temporary, 0o644)
        os.replace(temporary, self.path)

    def _link(self) -> None:
        if not self.is_view:
            temporary = f"{self.path}.link"
            os.symlink(self.key, temporary)
            os.replace(temporary, f"{DIRECTORY}/{OPEN}")

    def note(self, what: t.Any) -> None:
        """Keep something for the end of the transaction, beside the details that everybody reads."""
        with open(f"{self.path}.note", "w", encoding="utf-8", errors="surrogateescape") as stream:
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
        return Resident(key, json.loads(lines[1]), int(lines[0].split()[0]))
    except (IndexError, ValueError):
        return None


def refuse_if_open() -> None:
    """Raise an error if a transaction is open on this host, whoever opened it."""
    other = load(OPEN)
    if other and other.alive():
        raise Busy(other.describe(), holder=other.details)


def forget_dead(but: str | None = None) -> list[Resident]:
    """Release all whose process has ended, except that of the run ``but``; returns them."""
    names = os.listdir(DIRECTORY) if os.path.isdir(DIRECTORY) else []
    found = [load(name) for name in names if "." not in name and name not in (OPEN, but)]
    dead = [resident for resident in found if resident and not resident.alive()]
    for resident in dead:
        resident.release()
    return dead
