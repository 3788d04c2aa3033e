"""Run the gates (`make test`), some at a time, and end with the sum of all that passed and failed.

Each gate is a target of the Makefile and writes a log of its own; the end of a failed one is shown, and the tables of
faults. Test VMs live in a state folder of this run, so that two runs side by side do not meet, and are stopped whatever
happens.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import dataclasses
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

# what `make test` runs: those of a minute, then the longest first, so that none of them is alone at the end
GATES = ["build", "lint", "unit", "fuzz", "sanity", "molecule-tukit", "molecule-snapper", "inside-tukit",
         "inside-snapper", "host-tukit", "host-snapper", "faults-tukit", "recovery-snapper", "testbed"]
# what `make test-full` runs, the longest first
FULL = ["recovery-tukit", "faults-tukit", "faults-snapper", "recovery-snapper", "molecule-tukit", "molecule-snapper",
        "inside-snapper", "inside-tukit", "host-tukit", "fuzz"]
LANES = 3  # on two cores: a VM waits as long as it works
TABLES = ("faults", "recovery")  # gates whose log is shown in any case
STALLED = 15 * 60  # seconds that a gate may print nothing: on a busy machine it is slow, and not hung
POLL = 2
TAIL = 60  # lines shown of a failed gate's log,
WIDTH = 2000  # and characters of one

ROOT = pathlib.Path(__file__).parents[1]
CACHE = ROOT / ".cache"
TESTBED = ROOT / "tests" / "testbed" / "testbed.py"

ANSI = re.compile(r"\x1b\[[0-9;]*m")
# pytest's closing line: "=== 1 failed, 12 passed, 2 skipped in 3.45s ==="
CLOSING = re.compile(r"^=* ?((?:\d+ [a-z]+(?:, )?)+) in [\d.]+s", re.MULTILINE)

# what failed in a play: it is far above the end of the log
ERROR = re.compile(r"^(fatal: |failed: |\[ERROR\]: )")


@dataclasses.dataclass
class Result:
    """What a gate came to: pytest's own counts, or one for a gate that does not count."""

    gate: str
    seconds: float
    log: pathlib.Path
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __str__(self) -> str:
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.gate:<18}{self.seconds:>6.0f} s   {self.passed} passed, {self.failed} failed{skipped}"


def text(log: pathlib.Path) -> str:
    return ANSI.sub("", log.read_text(encoding="utf-8", errors="replace"))


def count(result: Result, returncode: int) -> Result:
    """Fill in the counts from the log's closing lines and the exit status."""
    for closing in CLOSING.findall(text(result.log)):
        counts = {word.rstrip("s"): int(number) for number, word in re.findall(r"(\d+) (\w+)", closing)}
        result.passed += counts.get("passed", 0)
        result.failed += counts.get("failed", 0) + counts.get("error", 0)
        result.skipped += counts.get("skipped", 0)
    if returncode and not result.failed:
        result.failed = 1
    if not returncode and not result.passed:
        result.passed = 1
    return result


def stop(process: subprocess.Popen) -> None:
    """End a gate and its children as Ctrl-C does, after which pytest, ansible-test and molecule clean up."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def watch(process: subprocess.Popen, log: pathlib.Path, deadline: float) -> str:
    """Wait for a gate; why it has to be stopped, if it has to."""
    size, grown = 0, time.monotonic()
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(POLL)
            return ""
        now = time.monotonic()
        if log.stat().st_size != size:
            size, grown = log.stat().st_size, now
        if now - grown > STALLED:
            return f"printed nothing for {STALLED} s"
        if now > deadline:
            return "did not end in time"


def run(gate: str, limit: float, logs: pathlib.Path, env: dict[str, str], running: set[subprocess.Popen]) -> Result:
    log = logs / f"{gate}.log"
    start = time.monotonic()
    with log.open("w", encoding="utf-8") as output:
        command = ["make", "--no-print-directory", gate]
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=output,
                                   stderr=subprocess.STDOUT, start_new_session=True)
        running.add(process)
        reason = watch(process, log, start + limit)
        if reason:
            stop(process)
            print(f"gates: {gate} {reason} and was stopped", file=output)
        running.discard(process)
    return count(Result(gate, time.monotonic() - start, log), process.wait())


def report(result: Result) -> None:
    print(result, flush=True)
    lines = text(result.log).splitlines()
    if result.failed:
        for line in lines[-TAIL:] + [line for line in lines[:-TAIL] if ERROR.match(line)]:
            print(f"    {line[:WIDTH]}")
        print(f"    (all of it: {result.log.relative_to(ROOT)})", flush=True)
    elif result.gate.startswith(TABLES):
        head = next(number for number, line in enumerate(lines) if line.startswith("engine "))
        print(*(f"    {line}" for line in lines[head:]), sep="\n", flush=True)


def main(gates: list[str], limit: float) -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores both, and so would the gates
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    start = time.monotonic()
    work = pathlib.Path(tempfile.mkdtemp(prefix="run-", dir=CACHE))
    logs = CACHE / "logs" / work.name
    logs.mkdir(parents=True)
    env = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    env |= {"TESTBED_STATE": str(work / "testbed"), "DIST": str(work / "dist")}
    env |= {"PY_COLORS": "0", "ANSIBLE_NOCOLOR": "1", "PYTHONUNBUFFERED": "1"}
    results: list[Result] = []
    running: set[subprocess.Popen] = set()
    pool = concurrent.futures.ThreadPoolExecutor(LANES)
    try:
        jobs = [pool.submit(run, gate, limit, logs, env, running) for gate in gates]
        for future in concurrent.futures.as_completed(jobs):
            results.append(future.result())
            report(results[-1])
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in list(running):
            stop(process)
        for serial in work.rglob("*.log"):  # what the VMs said, for a look at a failure
            shutil.copy(serial, logs / "-".join(serial.relative_to(work).parts))
        subprocess.run([sys.executable, TESTBED, "stop", "--all"], env=env, check=False)
        shutil.rmtree(work, ignore_errors=True)

    print("\nlogs:", logs.relative_to(ROOT))
    passed, failed, skipped = (sum(getattr(r, name) for r in results) for name in ("passed", "failed", "skipped"))
    print(f"{passed} passed, {failed} failed, {skipped} skipped in {time.monotonic() - start:.0f}s")
    return 1 if failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=1.5, help="for one gate: a hanging one must not hang the run")
    parser.add_argument("--full", action="store_true", help="those that take hours")
    parser.add_argument("gates", nargs="*", default=GATES)
    wanted = parser.parse_args()
    sys.exit(main(FULL if wanted.full else wanted.gates, wanted.hours * 3600))
