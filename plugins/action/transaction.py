# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Open, close or abort the transaction of this run on a host, and say who this run is."""

from __future__ import annotations

import getpass
import platform
import re
import subprocess

from ansible.module_utils.common.validation import check_type_list
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import connection_loader

from ansible_collections.microos.transactional.plugins.module_utils._tools import snapper
from ansible_collections.microos.transactional.plugins.plugin_utils import _role_arguments, _run
from ansible_collections.microos.transactional.plugins.plugin_utils._outside import outside

MODULE = "microos.transactional.transaction"
CONNECTIONS = ("microos.transactional.ssh", "microos.transactional.local")
KEY = re.compile(r"[A-Za-z0-9_.-]+\Z")
VALUE_LENGTH = 200
# Control characters, line separators, and what snapper cannot keep
UNPRINTABLE = re.compile(rf"[\x00-\x1f\x7f-\x9f\u2028\u2029{snapper.UNSTORABLE}]+")
# For a git that waits for a file server or has a huge checkout; the commit is only for information
GIT_SECONDS = 10

# This is imported by the process that forks one for each task. Core loads its own connections there as well; otherwise
# each task inside would read the options of its connection anew, for a fifth of its time.
for connection in CONNECTIONS:
    connection_loader.get(connection, class_only=True)


def git_commit(directory: str) -> str:
    """The commit that is checked out in a directory, with a ``+`` if it has local changes; empty if it is not known."""
    def git(*arguments):
        done = subprocess.run(["git", "-C", directory, *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, check=False, errors="replace", timeout=GIT_SECONDS)
        return done.stdout.strip() if done.returncode == 0 else ""
    try:
        commit = git("rev-parse", "HEAD")
        return commit + ("+" if commit and git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.TimeoutExpired):
        return ""


def printable(value: object) -> str:
    """One line that snapper can keep."""
    return UNPRINTABLE.sub(" ", str(value)).strip()[:VALUE_LENGTH].strip()


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp=None, task_vars=None):
        task_vars = task_vars or {}
        result = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        refusal = self._refusal(arguments, task_vars)
        if refusal:
            return dict(result, failed=True, msg=refusal)
        if arguments.get("state") == "open":
            arguments["description"] = arguments.get("description") or task_vars.get("ansible_play_name", "")
            arguments["provenance"] = self._provenance(arguments.get("provenance") or {}, task_vars)
        arguments["_run"] = _run.as_argument()
        with outside(self._connection):
            # whether the holder of a busy host still lives can be told from here alone, so ask before waiting
            answer = self._execute_module(MODULE, dict(arguments, wait=0), task_vars=task_vars)
            holder = answer.get("holder") if arguments.get("state") == "open" else None
            if holder and _run.has_ended(holder["run"]):
                answer = self._execute_module(MODULE, dict(arguments, _replace=holder["id"]), task_vars=task_vars)
            elif answer.get("failed") and answer.get("busy") and int(arguments.get("wait") or 0) > 0:
                answer = self._execute_module(MODULE, arguments, task_vars=task_vars)
        return dict(result, **answer)

    def _refusal(self, arguments, task_vars):
        """Why the arguments cannot be taken, before anything is done on the host."""
        if arguments.get("state") == "open" and self._connection.transport not in CONNECTIONS:
            return (f"this task uses the connection '{self._connection.transport}', so the tasks that follow would "
                    f"work on the running system instead of the transaction. Set 'connection: {CONNECTIONS[0]}' (or "
                    "local) for the play or block; an ansible_connection in the inventory outweighs that and has to "
                    "be removed or changed")
        provenance = arguments.get("provenance") or {}
        if isinstance(provenance, dict) and not all(KEY.match(str(name)) for name in provenance):
            return "the keys of 'provenance' may have letters, digits, '_', '.' and '-' only"
        wrong = _role_arguments.problems(check_type_list(arguments.get("roles") or []), self._task.collections or [],
                                         task_vars, self._templar, self._loader)
        return f"{'. '.join(wrong)}. Nothing was opened, and nothing was done on the host" if wrong else None

    def _provenance(self, given, task_vars):
        known = {"play": task_vars.get("ansible_play_name", ""), "user": getpass.getuser(),
                 "controller": platform.node(), "git_commit": git_commit(self._loader.get_basedir()),
                 "job": task_vars.get("awx_job_id", "")}
        known.update(given)
        return {name: printable(value) for name, value in known.items() if printable(value)}
