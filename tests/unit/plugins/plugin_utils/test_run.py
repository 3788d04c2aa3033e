# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import subprocess
import sys

from ansible_collections.microos.transactional.plugins.plugin_utils import _run


def of(process):
    return {"machine": _run._machine(), "pid": process.pid, "started": _run._started(process.pid)}


def test_a_run_has_one_key():
    assert _run.key(_run.identity()) == _run.key(_run.identity())
    assert len(_run.key(_run.identity())) == 16


def test_the_end_of_a_run_is_seen_and_another_process_is_not_taken_for_it():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    run = of(process)
    assert not _run.has_ended(run)
    assert _run.has_ended(dict(run, started="1"))  # the number was given to another process
    process.stdin.close()
    process.wait()
    assert _run.has_ended(run)


def test_nothing_is_said_of_a_run_elsewhere():
    process = subprocess.Popen(["true"])
    run = of(process)
    process.wait()
    assert not _run.has_ended(dict(run, machine="another"))
    assert not _run.has_ended(dict(run, started=""))  # where there is no /proc
