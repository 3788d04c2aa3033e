"""The VM that the faults happen to, the play that they disturb, and a look at what is left."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "testbed"))

import vm  # noqa: E402 it lies beside, not in a package

BEFORE = "before"
TASK = re.compile(r"^TASK \[(.*?)\]")
FATAL = re.compile(r"^fatal: .*?(FAILED|UNREACHABLE)! => (.*)", re.MULTILINE)
CHANGED = re.compile(r"^\S+ +: ok=\d+ +changed=(\d+)", re.MULTILINE)
PLAY_SECONDS = 300
GUEST_SECONDS = 180


class Play:
    """One ansible-playbook that runs, with what it has said so far."""

    def __init__(self, subject: Subject, name: str, gated: bool = False, **variables):
        self._control = Path(tempfile.mkdtemp(prefix="cp-"))  # short: a socket's path is limited
        self._gate = self._control / "gate"
        self.gated = gated
        if gated:
            variables["gate"] = str(self._gate)
        inventory = self._control / "hosts.json"
        inventory.write_text(vm.inventory([subject.vm.name]))
        self.log = subject.log(name)
        self.seconds: dict[str, float] = {}  # since the start, when each task began
        self.duration = 0.0
        self._begun: dict[str, threading.Event] = {}
        self._lock = threading.Lock()
        environment = dict(os.environ, ANSIBLE_CONFIG=str(HERE / "ansible.cfg"), ANSIBLE_NOCOLOR="1",
                           ANSIBLE_PIPELINING="1", ANSIBLE_STDOUT_CALLBACK="default",
                           ANSIBLE_CALLBACK_RESULT_FORMAT="json", ANSIBLE_RETRY_FILES_ENABLED="0", PYTHONUNBUFFERED="1",
                           ANSIBLE_SSH_CONTROL_PATH_DIR=str(self._control), ANSIBLE_DISPLAY_SKIPPED_HOSTS="1")
        self._start = time.monotonic()
        self._process = subprocess.Popen(
            ["ansible-playbook", "-i", str(inventory), "-e", json.dumps(variables), str(HERE / name)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
            start_new_session=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with open(self.log, "w", encoding="utf-8") as log:
            for line in self._process.stdout:
                log.write(f"{self.elapsed():7.2f} {line}")
                log.flush()
                found = TASK.match(line)
                if found:
                    with self._lock:
                        self.seconds[found[1]] = self.elapsed()
                        self._event(found[1]).set()
        self.duration = self.elapsed()

    def _event(self, task: str) -> threading.Event:
        return self._begun.setdefault(task, threading.Event())

    def elapsed(self) -> float:
        return time.monotonic() - self._start

    # --- moments -------------------------------------------------------------------------------------------------

    def wait_for(self, task: str, seconds: float = PLAY_SECONDS) -> None:
        """Until the task begins, or the play is over."""
        with self._lock:
            event = self._event(task)
        deadline = time.monotonic() + seconds
        while not event.wait(0.05) and self._process.poll() is None:
            if time.monotonic() > deadline:
                raise vm.TestbedError(f"the play did not come to the task '{task}': {self.tail()}")

    def open_gate(self) -> None:
        """Let it go on where it was told to wait."""
        if self._control.exists():
            self._gate.touch()

    def wait(self, seconds: float = PLAY_SECONDS) -> None:
        """Until it is over by itself, or for this time."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)

    def end(self, seconds: float = PLAY_SECONDS) -> None:
        """Until it is over by itself, or killed after this time; nothing of it remains."""
        self.wait(seconds)
        self.kill()
        self._reader.join()
        if self._control.exists():
            self.kill_masters()
            shutil.rmtree(self._control)

    def kill(self) -> None:
        """The controller and its workers, sessions of their own since ansible-core 2.19; that of ssh stays."""
        for pid in [self._process.pid, *descendants(self._process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()

    def masters(self) -> list[int]:
        """The process ids of this play's shared connections."""
        pids = []
        for path in self._control.iterdir():
            if path.is_socket():
                said = subprocess.run(["ssh", "-O", "check", "-S", path, "host"], capture_output=True, text=True,
                                      check=False).stderr
                pids += map(int, re.findall(r"pid=(\d+)", said))
        return pids

    def kill_masters(self) -> None:
        for pid in self.masters():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    # --- what came of it -----------------------------------------------------------------------------------------

    def said(self) -> str:
        return re.sub(r"(?m)^ *[\d.]+ ", "", self.log.read_text(encoding="utf-8"))

    def tail(self, lines: int = 25) -> str:
        return "\n".join(self.log.read_text(encoding="utf-8").splitlines()[-lines:])

    @property
    def succeeded(self) -> bool:
        return self._process.returncode == 0

    @property
    def changed(self) -> int:
        found = CHANGED.search(self.said())
        return int(found[1]) if found else -1

    @property
    def closed(self) -> bool:
        """Whether it said that the close was done."""
        return re.search(r"TASK \[Close\].*\n(?:.*\n)*?(ok|changed): ", self.said()) is not None

    def error(self) -> str:
        """The message of the failed task; empty if none failed."""
        found = FATAL.search(self.said())
        if not found:
            return ""
        with contextlib.suppress(ValueError):
            answer = json.loads(found[2])
            return f"{answer.get('msg', '')} {answer.get('stderr', '')} {answer.get('module_stderr', '')}".strip()
        return found[2]

    def verdict(self) -> str:
        """In few words: how it ended and in which task."""
        if self.succeeded:
            return f"ok, {self.changed} changed"
        last = list(self.seconds)[-1] if self.seconds else "before any task"
        found = FATAL.search(self.said())
        return f"{found[1].lower() if found else 'killed'}: {last}"


def descendants(ancestor: int) -> list[int]:
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = [ancestor]
    for parent in found:
        found += [pid for pid, its_parent in parents.items() if its_parent == parent]
    return found[1:]


class Subject:
    def __init__(self, name: str, engine: str, logs: Path):
        self.engine = engine
        self.vm = vm.VM(f"{name}-{engine}")
        self._logs = logs
        logs.mkdir(parents=True, exist_ok=True)
        self._plays = 0

    def log(self, name: str) -> Path:
        self._plays += 1
        return self._logs / f"{self.engine}-{self._plays:03}-{Path(name).stem}.log"

    # --- the machine ---------------------------------------------------------------------------------------------

    def start(self, prepare: str) -> None:
        """Boot it, prepare it by a shell script, and save the state to come back to."""
        vm.start(self.vm.name, self.engine)
        self.run(prepare)
        self.save()

    def save(self) -> None:
        vm.snapshot(self.vm.name, BEFORE)

    def restore(self) -> None:
        """The state of before, without a boot; it runs even if the last fault ended it."""
        if not self.vm.pid():
            self.vm.launch(BEFORE)
        else:
            self.vm.monitor(f"loadvm {BEFORE}")
        self.up()

    def up(self) -> None:
        """Until the guest answers over ssh, which is before the end of its boot; its clock is set then."""
        deadline = time.monotonic() + vm.BOOT_TIMEOUT
        while time.monotonic() < deadline:
            with contextlib.suppress(subprocess.TimeoutExpired):
                if self.vm.ssh(f"date -s @{int(time.time())}", 30).returncode == 0:
                    return
            time.sleep(0.3)
        raise vm.TestbedError(f"{self.vm.name} did not come up within {vm.BOOT_TIMEOUT} s\n{self.vm.tail()}")

    def up_again(self, boot: str) -> None:
        """Until it answers after another boot than this one."""
        deadline = time.monotonic() + vm.BOOT_TIMEOUT
        while time.monotonic() < deadline:
            self.up()
            if self.run("cat /proc/sys/kernel/random/boot_id", may_fail=True) not in ("", boot):
                return
            time.sleep(1)
        raise vm.TestbedError(f"{self.vm.name} did not reboot")

    def cut(self) -> None:
        """Take the power away."""
        self.vm.kill()

    def boot(self) -> None:
        self.vm.launch()
        self.up()

    def stop(self) -> None:
        vm.stop(self.vm.name)

    # --- commands in it ------------------------------------------------------------------------------------------

    def run(self, command: str, may_fail: bool = False) -> str:
        done = self.vm.ssh(command, GUEST_SECONDS)
        if done.returncode and not may_fail:
            raise vm.TestbedError(f"in the guest: {command}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    def python(self, script: str, *arguments: str) -> str:
        """Run a Python program in the guest."""
        done = subprocess.run(self.vm.ssh_argv("python3", "-", *arguments), input=script, capture_output=True,
                              text=True, timeout=GUEST_SECONDS, check=False)
        if done.returncode:
            raise vm.TestbedError(f"in the guest: {done.stdout}{done.stderr}")
        return done.stdout

    def look(self, *arguments: str) -> dict:
        seen = json.loads(self.python((HERE / "look.py").read_text(encoding="utf-8"), *arguments))
        seen["trees"] = {int(number): tree for number, tree in seen["trees"].items()}
        return seen

    def play(self, name: str = "play.yml", **variables) -> Play:
        return Play(self, name, **variables)
