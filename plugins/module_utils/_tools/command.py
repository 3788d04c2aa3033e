# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run an external command, for a limited time, and keep what it printed, up to a limit.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import time
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError

# The path that tukit itself forces on its helpers; an ssh session may lack the sbin directories.
PATH = "/usr/bin:/usr/sbin:/bin:/sbin"

# Deadlines in seconds. A command that only reads the state of the host,
LOOK_SECONDS = 120
# and one that changes it: plugins of snapper and tukit may build an initrd, which takes minutes on a slow processor
CHANGE_SECONDS = 900
# A command that is ended may clean up for as long
ENDING_SECONDS = 10
# What a command started may keep its output open for as long after its end; then it is asked to end, and killed
LINGERING_SECONDS = 1
# Bytes of standard output that are kept, as much as anything reads of it;
LIMIT = 32 << 20
# and of each end of what only people read
EXCERPT = 64 << 10
CHUNK = 64 << 10


class Result(t.NamedTuple):
    argv: list[str]
    rc: int
    stdout: str
    stderr: str
    # whether something that the command had left behind kept its output open, and was ended
    lingered: bool = False


class CommandError(TransactionalError):
    """A command ended with an exit status that its caller does not accept."""

    def __init__(self, result: Result):
        said = (result.stderr.strip() or result.stdout.strip() or "it printed nothing").splitlines()
        super().__init__(
            f"'{' '.join(result.argv)}' failed with exit code {result.rc}: {' / '.join(said[-5:])}",
            cmd=result.argv, rc=result.rc, stdout=result.stdout, stderr=result.stderr,
        )
        self.result = result


class TimedOut(TransactionalError):
    """A command did not end in time, and was ended."""

    def __init__(self, argv: t.Sequence[str], seconds: float, left: t.Sequence[int], stdout: str, stderr: str):
        said = (stderr.strip() or stdout.strip()).splitlines()
        super().__init__(
            f"'{' '.join(argv)}' did not end within {seconds:g} s and was "
            + (f"killed, but process {', '.join(map(str, left))} does not end: it waits for something in the kernel, "
               "such as a file server that does not answer" if left else "ended")
            + (f"; the last that it printed: {' / '.join(said[-3:])}" if said else "; it had printed nothing"),
            cmd=list(argv), timeout=seconds)


class Excerpt:
    """The beginning and the end of a stream, with a note of how much was left out in between."""

    def __init__(self, limit: int):
        self._limit = limit
        self._head = bytearray()
        self._tail = bytearray()
        self._total = 0

    def add(self, chunk: bytes) -> None:
        self._total += len(chunk)
        room = self._limit - len(self._head)
        self._head += chunk[:max(room, 0)]
        self._tail += chunk[max(room, 0):]
        if len(self._tail) > 2 * self._limit:
            del self._tail[:-self._limit]

    @property
    def is_cut(self) -> bool:
        return self._total > 2 * self._limit

    def text(self) -> str:
        middle = b""
        if self.is_cut:
            middle = b"\n... %d bytes left out ...\n" % (self._total - 2 * self._limit)
            del self._tail[:-self._limit]
        return bytes(self._head + middle + self._tail).decode("utf-8", "replace")


def which(name: str) -> str | None:
    return shutil.which(name, path=PATH)


def environment(extra: t.Mapping[str, str] | None = None) -> dict[str, str]:
    """The caller's environment, with messages in English and UTF-8, and a complete path."""
    env = dict(os.environ, LC_ALL="C.UTF-8", LANGUAGE="C", PATH=PATH)
    env.update(extra or {})
    return env


def run(argv: t.Sequence[str], env: t.Mapping[str, str] | None = None, timeout: float | None = None,
        consume: t.Callable[[bytes], t.Any] | None = None, data: bytes | None = None,
        pass_fds: t.Sequence[int] = ()) -> Result:
    """Run ``argv`` without a shell. A missing program is an error, an exit status is not.

    ``timeout`` is in seconds, ``LOOK_SECONDS`` by default. After it, the command and its process group are ended, and
    ``TimedOut`` is raised. ``consume`` gets each chunk of standard output, of which the result has an excerpt then;
    without it, more than ``LIMIT`` bytes are an error. ``data`` is what the command reads from its standard input,
    nothing by default. What the command started and left behind does not hold up the result: if it keeps the output
    open, it is ended.
    """
    argv = list(argv)
    timeout = LOOK_SECONDS if timeout is None else timeout
    streams = Excerpt(EXCERPT if consume else LIMIT // 2), Excerpt(EXCERPT)
    try:
        process = subprocess.Popen(argv, env=environment(env), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   stdin=subprocess.DEVNULL if data is None else subprocess.PIPE,
                                   start_new_session=True, pass_fds=pass_fds)
    except (OSError, ValueError) as exc:  # the latter for an argument with a NUL
        raise TransactionalError(f"cannot run '{argv[0]}': {getattr(exc, 'strerror', None) or exc}", cmd=argv) from exc
    ended = lingered = False
    try:
        ended, lingered = _communicate(process, streams, time.monotonic() + timeout, consume, data)
    finally:  # also if this process is told to end
        left = [] if ended else end(process)
    stdout, stderr = (stream.text() for stream in streams)
    if not ended:
        raise TimedOut(argv, timeout, left, stdout, stderr)
    if streams[0].is_cut and consume is None:
        raise TransactionalError(f"'{' '.join(argv)}' printed more than {LIMIT >> 20} MiB, which cannot be right",
                                 cmd=argv, rc=process.returncode)
    return Result(argv, process.returncode, stdout, stderr, lingered)


def _communicate(process: subprocess.Popen, streams: t.Sequence[Excerpt], deadline: float,
                 consume: t.Callable[[bytes], t.Any] | None, data: bytes | None) -> tuple[bool, bool]:
    """Read and write until the process has ended; returns whether it has within the time, and ``lingered``."""
    todo = memoryview(data or b"")
    # how those who keep the output open are ended, and when
    signals = [signal.SIGTERM, signal.SIGKILL]
    lingering: float | None = None
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
        for pipe, stream in zip((process.stdout, process.stderr), streams):
            os.set_blocking(stack.enter_context(pipe).fileno(), False)
            selector.register(pipe, selectors.EVENT_READ, stream)
        if process.stdin:
            stack.callback(_close, process.stdin)
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin, selectors.EVENT_WRITE)
        while selector.get_map():
            now = time.monotonic()
            if lingering is None and _is_over(process.pid):
                lingering = now + LINGERING_SECONDS
            if lingering is None and now > deadline:
                break
            if lingering is not None and now > lingering:
                if not signals:
                    break
                _signal_group(process.pid, signals.pop(0))
                lingering = now + LINGERING_SECONDS
            for key, _events in selector.select(0.05):
                if key.fileobj is process.stdin:
                    todo = _feed(process.stdin, todo)
                    if not todo:
                        selector.unregister(process.stdin)
                        _close(process.stdin)
                    continue
                chunk = os.read(key.fd, CHUNK)
                if not chunk:
                    selector.unregister(key.fileobj)
                    continue
                key.data.add(chunk)
                if consume and key.fileobj is process.stdout:
                    consume(chunk)
        # one that has closed its output may still be at work
        try:
            process.wait(max(deadline - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            return False, False
    return True, len(signals) < 2


def _is_over(pid: int) -> bool:
    """Whether a child has ended. It stays a zombie, so that nothing else gets its number, and that of its group."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _feed(pipe: t.BinaryIO, data: memoryview) -> memoryview:
    """Write what the pipe takes; returns the rest, nothing for a reader that is gone."""
    try:
        return data[os.write(pipe.fileno(), data[:CHUNK]):] if data else data
    except BlockingIOError:
        return data
    except BrokenPipeError:
        return data[len(data):]


def _close(pipe: t.BinaryIO) -> None:
    with contextlib.suppress(BrokenPipeError):
        pipe.close()


def end(process: subprocess.Popen) -> list[int]:
    """End a child that leads a process group, and the group: ask, then kill. Returns what does not end even so."""
    if process.returncode is not None:  # its number may be that of another one by now
        return []
    _signal_group(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + ENDING_SECONDS
    while not _is_over(process.pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    _signal_group(process.pid, signal.SIGKILL)
    try:
        process.wait(ENDING_SECONDS)
    except subprocess.TimeoutExpired:
        return [process.pid]
    return []


def check(argv: t.Sequence[str], env: t.Mapping[str, str] | None = None, timeout: float | None = None,
          consume: t.Callable[[bytes], t.Any] | None = None, data: bytes | None = None,
          pass_fds: t.Sequence[int] = ()) -> Result:
    """As ``run``, but any exit status other than 0 raises ``CommandError``."""
    result = run(argv, env, timeout, consume, data, pass_fds)
    if result.rc != 0:
        raise CommandError(result)
    return result
