# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Open, close or abort the transaction of this run on a host, and say who this run is."""

from __future__ import annotations

import getpass
import platform
import re
import subprocess

from ansible.module_utils.common.validation import check_type_dict, check_type_list
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import connection_loader
from ansible.utils.collection_loader import AnsibleCollectionConfig

from ansible_collections.microos.transactional.plugins.module_utils._text import listed
from ansible_collections.microos.transactional.plugins.module_utils._tools import snapper
from ansible_collections.microos.transactional.plugins.plugin_utils import (
    _inside,
    _role_arguments,
    _role_call,
    _run,
    _secrets,
)
from ansible_collections.microos.transactional.plugins.plugin_utils._outside import outside

MODULE = "microos.transactional.transaction"
CONNECTIONS = ("microos.transactional.ssh", "microos.transactional.local")
KEY = re.compile(r"[A-Za-z0-9_.-]+\Z")
VALUE_LENGTH = 200
# Control characters, line separators, and what snapper cannot keep
UNPRINTABLE = re.compile(rf"[\x00-\x1f\x7f-\x9f\u2028\u2029{snapper.UNSTORABLE}]+")
# For a git that waits for a file server or has a huge checkout; the commit is only for information
GIT_SECONDS = 10
# A variable of the role's, where it is used within its own work
JOINS = "__transaction_joins"

# This is imported by the process that forks one for each task. Core loads its own connections there as well; otherwise
# each task inside would read the options of its connection anew, for a fifth of its time.
for connection in CONNECTIONS:
    connection_loader.get(connection, class_only=True)

# During a playbook of a collection, core looks for short names of roles and modules in that collection first, also for
# those in the owner's roles. The playbooks of this collection use full names only, and the owner's roles run unchanged.
if AnsibleCollectionConfig.default_collection == "microos.transactional":
    AnsibleCollectionConfig.default_collection = None


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


def as_dict(value: object) -> dict:
    """A dictionary, or the text of one, as extra variables and surveys give it."""
    return check_type_dict(value) if value else {}


def flat(value: object) -> list:
    """The items of a list of lists, or of one item alone, as the role takes them."""
    if isinstance(value, (list, tuple)):
        return [item for part in value for item in flat(part)]
    return [value]


def told_by_role(answer: dict) -> str:
    """Why a close was refused, with the advice that fits who uses the role, which ends the transaction then."""
    if answer.get("shadowed_writes"):
        lost = listed(answer["shadowed_writes"], count=answer.get("shadowed_writes_count"))
        return (f"written in the snapshot, but hidden after the boot by what is mounted there: {lost}. The transaction "
                "is aborted, nothing of it is kept. Do such work after the activation, outside of the transaction, or "
                "set transaction_shadowed_writes to 'warn' to lose these writes")
    if answer.get("running"):
        return (f"something still runs in the snapshot and would go on writing into it: {'; '.join(answer['running'])}."
                " The transaction is aborted, nothing of it is kept. Have the work wait for its jobs (async_status)")
    return answer["msg"]


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp=None, task_vars=None):
        task_vars = task_vars or {}
        result = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        by_role = _role_call.is_role(self._task)
        opens = arguments.get("state") == "open"
        refusal = self._refusal(arguments, task_vars) or (opens and by_role and self._refused_call(result, task_vars))
        if refusal:
            return dict(result, failed=True, msg=refusal)
        if opens and self._task.get_vars().get(JOINS):
            return dict(result, changed=False, opened=False, questions=self._questions(arguments, task_vars))
        if opens:
            arguments["description"] = arguments.get("description") or task_vars.get("ansible_play_name", "")
            arguments["provenance"] = self._provenance(arguments.get("provenance"), task_vars)
        arguments["_run"] = _run.as_argument()
        if opens:
            _inside.remember_opened(self._task.delegate_to or task_vars.get("inventory_hostname", ""))
        with outside(self._connection):
            # whether the holder of a busy host still lives can be told from here alone, so ask before waiting
            answer = self._execute_module(MODULE, dict(arguments, wait=0), task_vars=task_vars)
            holder = answer.get("holder") if opens else None
            if holder and _run.has_ended(holder["run"]):
                answer = self._execute_module(MODULE, dict(arguments, _replace=holder["id"]), task_vars=task_vars)
            elif answer.get("failed") and answer.get("busy") and int(arguments.get("wait") or 0) > 0:
                answer = self._execute_module(MODULE, arguments, task_vars=task_vars)
        if opens and by_role:
            answer["questions"] = self._questions(arguments, task_vars)
        elif by_role and answer.get("failed"):
            answer["msg"] = told_by_role(answer)
        return dict(result, **answer)

    def _refusal(self, arguments, task_vars):
        """Why the arguments cannot be taken, before anything is done on the host."""
        if arguments.get("state") == "open" and self._connection.transport not in CONNECTIONS:
            return (f"this task uses the connection '{self._connection.transport}', so the tasks that follow would "
                    f"work on the running system instead of the transaction. Set 'connection: {CONNECTIONS[0]}' (or "
                    "local) for the play or block; an ansible_connection in the inventory outweighs that and has to "
                    "be removed or changed")
        return self._refused_words(arguments, task_vars) or self._refused_roles(arguments, task_vars)

    def _refused_words(self, arguments, task_vars):
        """Why the snapshot cannot get the description and the provenance."""
        try:
            provenance = as_dict(arguments.get("provenance"))
        except (TypeError, ValueError):
            return (f"'provenance' has to be a dictionary, or the text of one in JSON, but is "
                    f"{arguments['provenance']!r}")
        if not all(KEY.match(str(name)) for name in provenance):
            return "the keys of 'provenance' may have letters, digits, '_', '.' and '-' only"
        words = {"description": arguments.get("description"), **{f"provenance '{name}'": value
                                                                 for name, value in provenance.items()}}
        words = {name: value for name, value in words.items() if value}
        if not words:
            return None
        everybody = "and everybody on the host can read what a snapshot tells of its making. Nothing was opened"
        if self._task.no_log:
            return f"the task has 'no_log' and the {next(iter(words))} is given, {everybody}"
        secrets = _secrets.known(task_vars) | _secrets.known(arguments)
        for name, value in words.items():
            if _secrets.is_vaulted(value) or _secrets.is_told(str(value), secrets):
                return f"the {name} has a secret in it, a password or a value that comes from a vault, {everybody}"
        return None

    def _refused_roles(self, arguments, task_vars):
        """Why a role would fail when its turn comes."""
        roles = check_type_list(arguments.get("roles") or [])
        if not all(isinstance(role, str) for role in roles):
            return None if _role_call.is_role(self._task) else "'roles' has to be a list of names of roles"
        wrong = _role_arguments.problems(roles, self._task.collections or [], task_vars, self._templar, self._loader)
        return f"{'. '.join(wrong)}. Nothing was opened, and nothing was done on the host" if wrong else None

    def _refused_call(self, result, task_vars):
        """Why the role cannot do what it is asked for."""
        known = _role_arguments.options(self._task._role.get_role_path(), self._loader)
        wrong, doubtful = _role_call.misspelt(known, task_vars, _role_call.given(self._task))
        roles, tasks, checks, places = (self._templar.template(task_vars[name]) for name in (
            "transaction_roles", "transaction_tasks", "transaction_checks", "__transaction_places"))
        wrong += _role_call.work(*map(flat, (roles, tasks, checks)), places)
        result.setdefault("warnings", []).extend(doubtful)
        return f"{'. '.join(wrong)}. Nothing was opened, and nothing was done on the host" if wrong else None

    def _questions(self, arguments, task_vars):
        """Variables by which the listed roles ask whether they may reboot the host."""
        return _role_arguments.reboots(check_type_list(arguments.get("roles") or []), self._task.collections or [],
                                       task_vars, self._loader)

    def _provenance(self, given, task_vars):
        known = {"play": task_vars.get("ansible_play_name", ""), "user": getpass.getuser(),
                 "controller": platform.node(), "git_commit": git_commit(self._loader.get_basedir()),
                 "job": task_vars.get("awx_job_id", "")}
        known.update(as_dict(given))
        return {name: printable(value) for name, value in known.items() if printable(value)}
