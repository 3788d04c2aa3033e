# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mount namespaces: a snapshot as the root, in a process that stays there, entered by any number of commands.

Two views of a snapshot are planned here. ``read_write`` is the view of ``tukit call`` (transactional-update 6.1.3) for
hosts without tukit. ``read_only`` is for predictions: whatever a command writes there is gone when the view is.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import subprocess
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils import _processes
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._tools import command

# Says which process it is, then stays until its standard input is closed: by release(), or by the end of its parent.
STAY = ("sh", "-c", "echo $$; exec cat")

KERNEL = ("/dev", "/proc", "/sys")
PRIVATE = ("/tmp", "/run", "/var/tmp")
# Live inside a transaction, as in tukit; the second group only where it is a file system of its own
LIVE = ("/var/log", "/var/cache", "/opt")
LIVE_STATE = ("/var/lib/zypp", "/var/lib/ca-certificates", "/var/lib/alternatives", "/var/lib/selinux")
LIVE_MOUNTS = ("/root", "/boot/efi", "/boot/writable", "/boot/zipl", "/boot/grub2/x86_64-efi", "/boot/grub2/i386-pc",
               "/boot/grub2/arm64-efi", "/boot/grub2/powerpc-ieee1275", "/boot/grub2/s390x-emu")
# tukit lends these to a snapshot while it works in it
LENT = ("/var/run", "/var/spool", "/var/lib/rpm")
# What zypper writes even for a prediction, and where it may have to make that
ZYPP_STATE = ("/var/cache/zypp", "/var/lib/zypp")
ZYPP_WRITES = ("/var/cache", "/var/lib/zypp")
# libzypp (of zypper 1.14.89) locks such a file before it reads it, and silently does without where it cannot be written
ZYPP_CREDENTIALS = "/etc/zypp/credentials.d"


def _bind(source: str, target: str, recursive: bool = False) -> list[list[str]]:
    return [["mount", "--rbind" if recursive else "--bind", source, target]]


def _resolver(root: str) -> list[list[str]]:
    """Name resolution inside, where /etc/resolv.conf is a link into the private /run."""
    target = os.path.realpath("/etc/resolv.conf")
    if not target.startswith("/run/") or not os.path.exists(target):
        return []
    return [["install", "-D", "-m", "0644", target, root + target]]


def bound(mount_points: t.Container[str]) -> list[str]:
    """What is seen inside as it is outside, and not part of the snapshot."""
    live = [path for path in LIVE if os.path.isdir(path)]
    if "/var" in mount_points:
        live += [path for path in LIVE_STATE if os.path.isdir(path)]
    return live + [path for path in LIVE_MOUNTS if path in mount_points]


def read_write(root: str, mount_points: t.Container[str]) -> list[list[str]]:
    """Commands that turn the snapshot at ``root`` into the root of a transaction."""
    live = bound(mount_points)
    steps = _bind(root, root)
    steps.append(["mkdir", "-p"] + [root + path for path in KERNEL + PRIVATE + tuple(live) + ("/.snapshots",)])
    for path in KERNEL:
        steps += _bind(path, root + path, recursive=True)
    for path in live + ["/.snapshots"]:
        steps += _bind(path, root + path)
    for path in PRIVATE:
        mode = "0755" if path == "/run" else "1777"
        steps.append(["mount", "-t", "tmpfs", "-o", "mode=" + mode, "tmpfs", root + path])
    return steps + _resolver(root)


def read_only(root: str, mount_points: t.Container[str], keep_cache: bool) -> list[list[str]]:
    """Commands that turn the snapshot at ``root`` into the root of a view that leaves no trace.

    With ``keep_cache`` what zypper downloads goes to the host's own cache, which is no part of any snapshot.
    """
    steps = _bind(root, root)
    steps.append(["mount", "-o", "remount,bind,ro", root])
    for path in KERNEL:
        steps += _bind(path, root + path, recursive=True)
    for path, mode in (("/tmp", "1777"), ("/run", "0755"), ("/var", "0755")):
        steps.append(["mount", "-t", "tmpfs", "-o", "mode=" + mode, "tmpfs", root + path])
    steps.append(["mkdir", "-m", "1777", root + "/var/tmp"])
    for path in sorted(set(bound(mount_points)) | set(ZYPP_WRITES)):
        steps.append(["mkdir", "-p", root + path])
        if path not in ZYPP_WRITES:
            steps += _bind(path, root + path)
            steps.append(["mount", "-o", "remount,bind,ro", root + path])
        elif os.path.isdir(path):
            layers = root + "/tmp/overlay" + path
            steps.append(["mkdir", "-p", layers + "/upper", layers + "/work"])
            options = f"lowerdir={path},upperdir={layers}/upper,workdir={layers}/work"
            steps.append(["mount", "-t", "overlay", "-o", options, "overlay", root + path])
    if keep_cache:
        for path in ZYPP_STATE:
            if os.path.isdir(path):
                steps += _bind(path, root + path)
    if os.path.isdir(root + ZYPP_CREDENTIALS):
        lent = root + "/run/credentials.d"
        steps.append(["cp", "-a", root + ZYPP_CREDENTIALS, lent])
        steps += _bind(lent, root + ZYPP_CREDENTIALS)
    return steps + _resolver(root)


def holder_argv(root: str, steps: t.Sequence[t.Sequence[str]], stay: t.Sequence[str]) -> list[str]:
    """One command that makes a private mount namespace, runs ``steps`` in it, and ``stay`` in ``root``."""
    script = "\n".join(["set -e"] + [shlex.join(step) for step in steps]
                       + [f"exec chroot {shlex.quote(root)} {shlex.join(stay)}"])
    return ["unshare", "--mount", "--propagation", "slave", "sh", "-c", script]


class Namespace:
    """A process that stays inside, and the way in. It ends with this object's process at the latest."""

    def __init__(self, argv: t.Sequence[str], env: t.Mapping[str, str] | None = None):
        self.env = dict(env or {})
        self._holder: _processes.Process | None = None
        # cwd: what enters takes it over, and it must exist on both sides
        self._process = subprocess.Popen(list(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=subprocess.PIPE, cwd="/", env=command.environment(),
                                         start_new_session=True)
        try:
            line = self._first_line()
        except BaseException:
            command.end(self._process)
            raise
        if not line.strip().isdigit():
            raise self._failure(list(argv), line)
        self.pid = int(line)
        # what is entered is this process, and not whichever has its id after its end
        self._holder = _processes.find(self.pid)

    def _first_line(self) -> str:
        """What the process says as soon as it is inside; nothing if it is not within the time."""
        if not select.select([self._process.stdout], [], [], command.CHANGE_SECONDS)[0]:
            return ""
        return self._process.stdout.readline().decode("utf-8", "replace")

    def _failure(self, argv: list[str], line: str) -> TransactionalError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(command.ENDING_SECONDS)
        timed_out = self._process.poll() is None
        command.end(self._process)
        os.set_blocking(self._process.stderr.fileno(), False)
        said = (self._process.stderr.read(command.EXCERPT) or b"").decode("utf-8", "replace")
        self.release()
        if timed_out:
            return command.TimedOut(argv, command.CHANGE_SECONDS, [], line, said)
        return command.CommandError(command.Result(argv, self._process.returncode, line, said))

    def run(self, argv: t.Sequence[str], env: t.Mapping[str, str] | None = None, **options: t.Any) -> command.Result:
        """Run a command inside, with the ``options`` of ``command.run``.

        Its exit status is its own; ``argv`` of the result is without the entering.
        """
        holder = self._holder
        if holder is None or not self._holds():
            raise self._ended()
        root = holder.path("root")
        enter = ["nsenter", f"--mount={holder.path('ns/mnt')}", f"--root={root}", f"--wd={root}", "--"]
        merged = dict(self.env)
        merged.update(env or {})
        result = command.run(enter + list(argv), merged, **options)
        if result.rc != 0 and result.stderr.startswith("nsenter: ") and not self._holds():
            raise self._ended()
        return result._replace(argv=list(argv))

    def _holds(self) -> bool:
        return self._process.poll() is None and self._holder.is_ours() and self._holder.stat() is not None

    def _ended(self) -> TransactionalError:
        return TransactionalError(f"the process that held the snapshot open has ended (pid {self.pid})")

    def release(self) -> None:
        """Let the namespace go; its mounts go with its last process."""
        if self._holder:
            self._holder.close()
        if self._process.poll() is None:
            self._process.stdin.close()
            try:
                self._process.wait(command.ENDING_SECONDS)
            except subprocess.TimeoutExpired:
                command.end(self._process)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self.release()


def read_only_view(root: str, mount_points: t.Container[str], keep_cache: bool) -> Namespace:
    return Namespace(holder_argv(root, read_only(root, mount_points, keep_cache), STAY))
