# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import fcntl
import os

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
