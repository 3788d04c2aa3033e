# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""External commands: what comes back, and that everything ends. Real processes."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._namespace import STAY, Namespace
from ansible_collections.microos.transactional.plugins.module_utils._tools import command

LONG = 30  # seconds that nothing here may take


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(command, "ENDING_SECONDS", 0.3)
    monkeypatch.setattr(command, "LINGERING_SECONDS", 0.2)
    start = time.monotonic()
    yield
    assert time.monotonic() - start < LONG


def sh(script, **options):
    return command.run(["sh", "-c", script], **options)


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stream:
            return stream.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pid):
    deadline = time.monotonic() + 5
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not is_alive(pid)


def test_what_it_printed():
    result = sh("echo out; echo err >&2; exit 3")
    assert result[1:] == (3, "out\n", "err\n", False)


def test_stdin_is_closed_or_what_was_given():
    assert sh("cat").stdout == ""
    data = bytes(range(256)) * 4096  # more than a pipe takes
    assert int(sh("wc -c", data=data).stdout) == len(data)


def test_a_reader_that_stops_reading_is_no_error():
    assert sh("head -c 1 >/dev/null; exec <&-; echo done", data=b"x" * (4 << 20)).stdout == "done\n"


def test_no_such_program():
    with pytest.raises(TransactionalError, match="cannot run 'no-such-program': No such file"):
        command.run(["no-such-program"])


def test_no_argument_has_a_nul():
    with pytest.raises(TransactionalError, match="cannot run 'true': embedded null byte"):
        command.run(["true", "a\0b"])


def test_bytes_that_are_no_text():
    assert sh(r"printf '\377\n'").stdout == "\ufffd\n"


def test_its_time_is_limited_and_its_children_end_with_it():
    with pytest.raises(command.TimedOut, match=r"did not end within 0.5 s and was ended; the last .*: \d+") as caught:
        sh("sleep 1000 & echo $!; wait", timeout=0.5)
    assert gone(int(str(caught.value).rsplit(" ", 1)[1]))


def test_one_that_ignores_the_request_to_end_is_killed():
    with pytest.raises(command.TimedOut):
        sh("trap '' TERM; echo ready; while :; do sleep 0.1; done", timeout=0.5)


def test_one_that_closes_its_output_is_waited_for():
    assert sh("exec >&- 2>&-; sleep 0.3; exit 5").rc == 5
    with pytest.raises(command.TimedOut):
        sh("exec >&- 2>&-; sleep 1000", timeout=0.5)


def test_a_child_that_keeps_the_output_open_is_ended():
    result = sh("sleep 1000 & echo $!; exit 4")
    assert (result.rc, result.lingered) == (4, True)
    assert gone(int(result.stdout))


def test_a_child_that_keeps_the_output_open_out_of_reach_is_not_waited_for():
    result = sh("setsid sleep 1000 & echo $!; exit 4")
    assert (result.rc, result.lingered) == (4, True)
    os.kill(int(result.stdout), signal.SIGKILL)


def test_what_a_child_prints_for_ever_does_not_hold_it_up():
    result = sh("setsid yes & echo $! >&2; exit 4", consume=lambda chunk: None)
    assert result.lingered
    assert gone(int(result.stderr.splitlines()[0]))  # nobody reads it any more


def test_too_much_output_is_an_error(monkeypatch):
    monkeypatch.setattr(command, "LIMIT", 1 << 20)
    with pytest.raises(TransactionalError, match="printed more than 1 MiB"):
        sh("head -c 3000000 /dev/zero")


def test_too_many_messages_are_cut_in_the_middle():
    result = sh("echo first >&2; head -c 3000000 /dev/zero | tr '\\0' x >&2; echo last >&2")
    assert result.stderr.startswith("first\n") and result.stderr.endswith("last\n")
    assert "bytes left out" in result.stderr
    assert len(result.stderr) < 3 * command.EXCERPT


def test_output_is_passed_on_instead_of_kept():
    sizes = []
    result = sh("head -c 50000000 /dev/zero; echo end", consume=lambda chunk: sizes.append(len(chunk)))
    assert sum(sizes) == 50000004
    assert len(result.stdout) < 3 * command.EXCERPT
    assert result.stdout.endswith("end\n")


def test_an_error_of_the_reader_ends_the_command():
    pids = []

    def consume(chunk):
        pids.append(int(chunk))
        raise ValueError("broken")
    with pytest.raises(ValueError, match="broken"):
        sh("echo $$; exec sleep 1000", consume=consume)
    assert gone(pids[0])


class Told(Exception):
    pass


def test_a_signal_ends_the_command(tmp_path):
    def told(*_args):
        raise Told
    before = signal.signal(signal.SIGUSR1, told)
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    try:
        with pytest.raises(Told):
            sh(f"echo $$ >{tmp_path}/pid; exec sleep 1000")
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)
    assert gone(int((tmp_path / "pid").read_text()))


def test_a_holder_that_never_gets_inside(monkeypatch):
    monkeypatch.setattr(command, "CHANGE_SECONDS", 0.3)
    with pytest.raises(command.TimedOut, match="sleep 1000.*did not end within 0.3 s"):
        Namespace(["sleep", "1000"])


def test_a_holder_that_fails():
    with pytest.raises(command.CommandError, match="exit code 3: no way in"):
        Namespace(["sh", "-c", "echo no way in >&2; exit 3"])


def test_a_holder_that_stays_although_it_is_let_go():
    with Namespace(["sh", "-c", "echo $$; exec sleep 1000"]) as holder:
        pid = holder.pid
    assert gone(pid)


def test_a_holder_ends_when_it_is_let_go():
    with Namespace(STAY) as holder:
        pid = holder.pid
        assert is_alive(pid)
    assert gone(pid)
