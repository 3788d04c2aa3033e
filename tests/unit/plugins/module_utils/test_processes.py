# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import fcntl
import os
import signal
import subprocess

from ansible_collections.microos.transactional.plugins.module_utils import _processes

LOCKS = """\
1: FLOCK  ADVISORY  WRITE 711 00:17:45 0 EOF
1: -> FLOCK  ADVISORY  WRITE 999 00:17:45 0 EOF
2: POSIX  ADVISORY  WRITE 812 00:19:1034 0 EOF
"""


def test_parse_locks():
    assert _processes.parse_locks(LOCKS, os.makedev(0, 0x19), 1034) == 812
    assert _processes.parse_locks(LOCKS, os.makedev(0, 0x17), 45) == 711
    assert _processes.parse_locks(LOCKS, os.makedev(0, 0x17), 46) is None


def test_agents_of_zypper():
    home = b"--homedir\0/var/tmp/zypp.Eeyffx/zypp-trusted-kryxsotC\0"
    assert _processes.is_agent(b"gpg-agent\0" + home + b"--use-standard-socket\0--daemon\0")
    assert _processes.is_agent(b"scdaemon\0--multi-server\0" + home)
    assert not _processes.is_agent(b"gpg-agent\0--homedir\0/root/.gnupg\0--daemon\0")
    assert not _processes.is_agent(b"sh\0-c\0gpg-agent\0" + home)
    assert not _processes.is_agent(b"")


def test_the_holder_of_a_real_lock_is_found_and_described(tmp_path):
    path = tmp_path / "lock"
    with open(path, "w", encoding="ascii") as stream:
        fcntl.lockf(stream, fcntl.LOCK_EX)
        pid = _processes.lock_holder(str(path))
    assert pid == os.getpid()
    assert f"pid {os.getpid()} (" in _processes.describe(pid)
    assert _processes.lock_holder(str(path)) is None
    assert _processes.lock_holder(str(tmp_path / "none")) is None


def test_a_process_that_has_ended():
    assert _processes.describe(2 ** 22 + 1) == "pid 4194305, which has ended"


STAT = "812 (a) (b c) S 1 812 700 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 123456 9 10"


def test_parse_stat():
    found = _processes.parse_stat(STAT)
    assert found == _processes.Stat("a) (b c", "S", 1, 700, "123456")
    assert _processes.parse_stat("812 (cut) S 1") is None
    assert _processes.parse_stat("") is None


def test_a_process_is_known_by_its_start():
    with subprocess.Popen(["sleep", "100"]) as child, _processes.find(child.pid) as process:
        started = process.stat().started
        assert _processes.lives(child.pid, started)
        assert not _processes.lives(child.pid, str(int(started) - 1))
        assert process.is_ours() and process.namespace() == os.stat("/proc/self/ns/mnt").st_ino
        assert process.has("/proc") and not process.has("/no/such/file")
        assert "(sleep)" in process.describe() or "(sleep 100)" in process.describe()
        process.signal(signal.SIGKILL)
        child.wait()
        assert process.stat() is None
        assert not process.is_ours() and not process.has("/proc") and process.namespace() is None
        process.signal(signal.SIGKILL)  # nobody
        assert process.describe() == f"pid {child.pid}, which has ended"
    assert _processes.find(child.pid, started) is None


def test_what_has_ended_is_dead_before_its_parent_knows():
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert _processes.find(child.pid) is None
    child.wait()


def test_a_session_is_ended_as_a_whole():
    with subprocess.Popen(["sh", "-c", "trap '' TERM; sleep 100 & exec sleep 100"], start_new_session=True) as child:
        while _processes.describe(child.pid).find("sh -c") != -1:
            pass
        _processes.ENDING_SECONDS, before = 2, _processes.ENDING_SECONDS
        try:
            assert _processes.end_session(child.pid) == []
        finally:
            _processes.ENDING_SECONDS = before
        assert child.wait() == -signal.SIGKILL


def test_what_is_described_is_printable():
    with subprocess.Popen(["sh", "-c", "read -r _; :", "a\nb\x1b[2J"], stdin=subprocess.PIPE) as child:
        described = _processes.describe(child.pid)
        child.stdin.close()
    assert "\n" not in described and "\x1b" not in described
