# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What makes a stock connection lead into the transaction that this run has open on the host.

Whatever core sends goes through ``exec_command``, so nothing can miss the transaction. Escalation comes first and
entering second: the become plugin's command is built around the entering, so its prompts and passwords stay its own.
A command that core sends without become enters as the user who logged in. Files are streams through the same door.

Facts about core are from ansible-core 2.19.14.

Note that this plugin util is PRIVATE to the collection.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import uuid

from ansible.errors import AnsibleError, AnsibleFileNotFound
from ansible.module_utils.common.text.converters import to_bytes, to_native, to_text
from ansible.plugins.loader import become_loader

from ansible_collections.microos.transactional.plugins.plugin_utils import _run

DIRECTORY = "/run/microos-transactional"
REFUSED = 79  # exit status, together with a line that starts with the nonce
# core's ssh takes quadratic time to collect what a command prints
PART = 16 << 20

# Runs as root on the host. Arguments: file of the run, nonce, then those of INSIDE
OUTSIDE = """
refuse() { printf '%s\\n' "$n $*" >&2; exit {REFUSED}; }
f=$1 n=$2; shift 2
read -r p i s 2>/dev/null <"$f" || refuse none "$(sed -n 2p {DIRECTORY}/open 2>/dev/null)"
[ -e "/proc/$p/root{DIRECTORY}/$i" ] || refuse dead "$s"
exec nsenter --target "$p" --mount --root --wd -- /bin/sh -c "$1" sh "$n" "$i" "$s" "$2" "$3"
"""
# Runs as root in what was entered, which might be something else if the process id was given to another process.
# Arguments: nonce, id and snapshot of the transaction, user, command
INSIDE = """
[ -e "{DIRECTORY}/$2" ] || { printf '%s\\n' "$1 dead $3" >&2; exit {REFUSED}; }
: >"{DIRECTORY}/$2"
export TRANSACTIONAL_UPDATE=true "TRANSACTIONAL_UPDATE_ROOT=/.snapshots/$3/snapshot"
[ "$4" = root ] && exec /bin/sh -c "$5"
exec runuser -s /bin/sh -c "$5" "$4"
"""


def _script(text: str) -> str:
    return "; ".join(text.replace("{DIRECTORY}", DIRECTORY).replace("{REFUSED}", str(REFUSED)).strip().splitlines())


OUTSIDE, INSIDE = _script(OUTSIDE), _script(INSIDE)

CLOSE_FIRST = "close the transaction (microos.transactional.transaction with 'state: closed') and use {0} afterwards"
# Actions that do not work through this connection alone
UNFIT = {
    "ansible.builtin.reboot": "it would reboot the host under the open transaction, which ends it; "
                              + CLOSE_FIRST.format("microos.transactional.reboot"),
    "ansible.posix.synchronize": "it opens a connection of its own, which leads to the running system; "
                                 "use ansible.builtin.copy or ansible.builtin.unarchive",
}
# Options of the shell plugin: a home directory may not exist inside, or be the running system's
PLACES = {"remote_tmp": "/tmp", "async_dir": "/tmp/.ansible_async"}
FACTS = ("ansible.builtin.gather_facts", "ansible.builtin.setup")


def fqcn(action: str, collections: list[str] | None) -> str:
    """The full name of an action as core will find it, as far as it matters here."""
    if "." not in action and not any("microos.transactional" == name for name in collections or []):
        posix = action == "synchronize"
        return f"ansible.posix.{action}" if posix else f"ansible.builtin.{action}"
    return action.replace("ansible.legacy.", "ansible.builtin.")


def explain(word: str, rest: str, action: str) -> str:
    """Why nothing was entered, and what to do."""
    if word == "dead":
        return (f"the transaction on snapshot {rest} has ended before its time: the process that held it is gone. Nothing "
                "was done on the running system. Open a new transaction and run the play again")
    text = "no transaction of this run is open here, and nothing was done on the running system"
    if action in FACTS:
        return (f"{text}. Facts cannot be gathered before it is open: set 'gather_facts: false' for the play and run "
                "ansible.builtin.setup behind the task that opens it")
    with contextlib.suppress(ValueError, KeyError, TypeError):
        other = json.loads(rest)
        return (f"{text}. Another run has one open: '{other['description']}' since {other['since']} on snapshot "
                f"{other['snapshot']}")
    return (f"{text}. Open one with microos.transactional.transaction and 'state: open'; a reboot of the host ends an open "
            "one")


class InsideConnection:
    """Mixin for a stock connection. Where it leads is decided by the host at each command."""

    is_outside = False

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._nonce = uuid.uuid4().hex
        self._action = ""
        self._login = None
        stock = self._shell.get_option
        self._shell.get_option = lambda option, hostvars=None: (
            PLACES[option] if option in PLACES and not self.is_outside else stock(option, hostvars))

    @contextlib.contextmanager
    def outside(self):
        """A context in which it is the stock connection, for what concerns the host itself."""
        self.is_outside, before = True, self.is_outside
        try:
            yield
        finally:
            self.is_outside = before

    # --- options ----------------------------------------------------------------------------------------------------

    def set_options(self, task_keys=None, var_options=None, direct=None):
        super().set_options(task_keys=task_keys, var_options=var_options, direct=direct)
        if task_keys and task_keys.get("action"):
            self._action = fqcn(task_keys["action"], task_keys.get("collections"))
            if self._action in UNFIT:
                raise AnsibleError(f"{self._action} does not work inside a transaction: {UNFIT[self._action]}")

    def set_become_plugin(self, plugin):
        if plugin:
            build = plugin.build_become_command
            plugin.build_become_command = lambda cmd, shell: (
                build(cmd, shell) if self.is_outside or not cmd else
                self._escalate(plugin, build, self._enter(cmd, plugin.get_option("become_user") or "root"), shell))
            plugin.build_stock_command = build
        super().set_become_plugin(plugin)

    @staticmethod
    def _escalate(plugin, build, command, shell):
        """The command of a become plugin that escalates to root, whichever user is wanted inside."""
        user = plugin.get_option("become_user")
        plugin.set_option("become_user", "root")
        try:
            return build(command, shell)
        finally:
            plugin.set_option("become_user", user)

    # --- commands ---------------------------------------------------------------------------------------------------

    def _enter(self, command, user):
        """The command that root has to run on the host so that ``user`` runs ``command`` inside."""
        name = "open" if self.get_option("join") else _run.key(_run.identity())
        return shlex.join(["/bin/sh", "-c", OUTSIDE, "sh", f"{DIRECTORY}/{name}", self._nonce, INSIDE, user, command])

    def exec_command(self, cmd, in_data=None, sudoable=True):
        if self.is_outside:
            return super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        cmd = to_text(cmd)
        if self._nonce in cmd:  # built by the become plugin; core may have wrapped it once more
            return self._checked(super().exec_command(cmd, in_data=in_data, sudoable=sudoable))
        login = self._login_user()
        if login == "root":
            return self._checked(super().exec_command(self._enter(cmd, login), in_data=in_data, sudoable=sudoable))
        with self._becoming() as plugin:
            build = getattr(plugin, "build_stock_command", plugin.build_become_command)
            command = self._escalate(plugin, build, self._enter(cmd, login), self._shell)
            return self._checked(super().exec_command(command, in_data=in_data, sudoable=True))

    def _checked(self, answer):
        returncode, stdout, stderr = answer[:3]
        if returncode == REFUSED:
            said = re.search(rf"^{self._nonce} (\w+) ?(.*?)\r?$", to_text(stdout) + "\n" + to_text(stderr), re.MULTILINE)
            if said:
                host = self._play_context.remote_addr
                raise AnsibleError(f"{host}: {explain(said.group(1), said.group(2), self._action)}")
        return answer

    @contextlib.contextmanager
    def _becoming(self):
        """The task's become plugin, or one for a task without: even then only root can enter."""
        if self.become:
            yield self.become
            return
        plugin = become_loader.get(self.get_option("become_method"))
        if plugin is None:
            raise AnsibleError(f"there is no become plugin '{self.get_option('become_method')}' to enter the transaction")
        password = self.get_option("become_pass") or self._play_context.become_pass
        plugin.set_options(direct={"become_user": "root", "become_pass": password})
        self.become = plugin
        try:
            yield plugin
        finally:
            self.become = None

    def _login_user(self):
        """Who logs in: what core sends without become belongs to that user."""
        if self._login is None:
            self._login = self._configured_login() or self._asked_login()
        return self._login

    def _configured_login(self):
        """The name of the user who logs in as far as the options tell."""
        raise NotImplementedError

    def _asked_login(self):
        returncode, stdout, stderr = super().exec_command("id -un", in_data=None, sudoable=False)[:3]
        if returncode:
            raise AnsibleError(f"cannot ask for the user who is logged in: {to_native(stderr)}")
        return to_text(stdout).strip()

    # --- files ------------------------------------------------------------------------------------------------------

    def put_file(self, in_path, out_path):
        if self.is_outside:
            return super().put_file(in_path, out_path)
        source = to_bytes(in_path, errors="surrogate_or_strict")
        if not os.path.exists(source):
            raise AnsibleFileNotFound(f"file or module does not exist: {to_native(in_path)}")
        with open(source, "rb") as stream:
            data = stream.read()
        # without data the stock connections leave the input open
        self._stream(f"{'cat' if data else ':'} >{shlex.quote(out_path)}", data, f"transfer file to {out_path}")

    def fetch_file(self, in_path, out_path):
        if self.is_outside:
            return super().fetch_file(in_path, out_path)
        with open(to_bytes(out_path, errors="surrogate_or_strict"), "wb") as stream:
            part = None
            while part is None or len(part) == PART:
                start = stream.tell() // PART
                part = self._stream(f"dd if={shlex.quote(in_path)} bs={PART} iflag=fullblock skip={start} count=1 "
                                    "status=none", None, f"fetch file from {in_path}")
                stream.write(part)

    def _stream(self, command, data, purpose):
        """Run a command with plain pipes, as a terminal would change what goes through it; what it printed."""
        with self._without_terminal():
            returncode, stdout, stderr = self.exec_command(command, in_data=data, sudoable=False)[:3]
        if returncode:
            raise AnsibleError(f"{self._play_context.remote_addr}: failed to {purpose}: {to_native(stderr).strip()}")
        return stdout

    def _without_terminal(self):
        """A context in which the stock connection allocates no terminal."""
        raise NotImplementedError

    @contextlib.contextmanager
    def _option(self, name, value):
        before = self.get_option(name)
        self.set_option(name, value)
        try:
            yield
        finally:
            self.set_option(name, before)
