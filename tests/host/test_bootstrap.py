# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The script that the role bootstrap sends to a host without Python."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.tukit
SCRIPT = Path(__file__).parents[2] / "roles" / "bootstrap" / "files" / "install.sh"


@pytest.fixture
def install(host):
    def start(*arguments, seconds=600):
        return subprocess.Popen(["sh", "-c", SCRIPT.read_text(), "install", str(seconds), *arguments], text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)

    return start


def test_what_no_repository_has_is_left_out_unless_it_has_to_be_there(host, install):
    script = install("testbed-hello", "--", "testbed-nowhere")
    out, err = script.communicate()
    assert script.returncode == 0, err
    assert out.splitlines()[-1] == "snapshot=2" and host.default() == 2
    assert host.packages(2) - host.packages(1) == {"testbed-hello-1.0"}
    before = host.state()
    script = install("testbed-nowhere", "--")
    assert "no repository has testbed-nowhere, snapshot 3 was deleted" in script.communicate()[1]
    assert script.returncode == 104
    assert host.state() == before


def test_a_failed_scriptlet_and_a_zypper_that_hangs_leave_no_snapshot(host, install):
    before = host.state()
    script = install("testbed-post-fails", "--")
    out, err = script.communicate()
    assert "testbed: %post fails on purpose" in out
    assert "scriptlet" in err or "zypper ended with 107" in err, err
    assert script.returncode == 107
    assert host.state() == before
    script = install("testbed-hello", "--", seconds=0.1)
    assert "zypper did not end within 0.1 s and was ended, snapshot 2 was deleted" in script.communicate()[1]
    assert host.state() == before


@pytest.mark.parametrize("moment", ["open", "call"])
def test_a_lost_connection_leaves_no_snapshot(host, install, moment):
    before = host.state()
    script = install("testbed-hello", "--")
    if moment == "open":
        host.wait_for(lambda: os.path.exists("/.snapshots/2"))
    else:
        host.wait_for(lambda: host.run("pgrep", "--session", str(script.pid), "--exact", "zypper").returncode == 0)
    os.killpg(script.pid, signal.SIGHUP)
    out, err = script.communicate(timeout=60)
    assert script.returncode == 129, out + err
    assert host.state() == before
