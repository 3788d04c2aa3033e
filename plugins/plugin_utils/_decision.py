# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Wait for the end of a trial, through the reboot that it may take.

Note that this plugin util is PRIVATE to the collection.
"""

from __future__ import annotations

import contextlib
import time
import typing as t

from ansible.errors import AnsibleError

TRIAL = "microos.transactional.trial"
UNDER_WAY = ("armed", "running", "reverting")
POLL_SECONDS = 5


def ask(action: t.Any, task_vars: dict, module: str = TRIAL, **args) -> dict:
    """The answer of a module, or why there is none: the host may be about to reboot."""
    try:
        return action._execute_module(module_name=module, module_args=args, task_vars=task_vars)
    except AnsibleError as exc:
        reconnect(action)
        return {"failed": True, "msg": str(exc)}


def reconnect(action: t.Any) -> None:
    """Have the next command go over a new connection, to a host that may have forgotten the directory of the task."""
    with contextlib.suppress(AnsibleError):
        action._connection.reset()
    action._connection._shell.tmpdir = None


def is_under_way(answer: dict) -> bool:
    """Whether a trial may not be over: without an answer, nobody knows."""
    return "trial" not in answer or answer["trial"]["state"] in UNDER_WAY


def wait(action: t.Any, task_vars: dict, answer: dict, identity: str, seconds: float) -> dict:
    """From an answer on, the last one within the time: that the trial is over, if it is."""
    deadline = time.monotonic() + seconds
    while is_under_way(answer) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        answer = ask(action, task_vars, id=identity)
    return answer
