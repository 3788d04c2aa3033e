# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What makes a stock connection lead into the transaction that this run has open on the host.

Whatever core sends goes through ``exec_command``, so nothing can miss the transaction. Escalation comes first and
entering second: the become plugin's command is built around the entering, so its prompts and passwords stay its own.
A command that core sends without become enters as the user who logged in. Files are streams through the same door.

Note that this plugin util is PRIVATE to the collection.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import shlex
import uuid

from ansible import constants as C
from ansible.errors import AnsibleConnectionFailure, AnsibleError, AnsibleFileNotFound
from ansible.module_utils.common.text.converters import to_bytes, to_native, to_text
from ansible.plugins.loader import become_loader

from ansible_collections.microos.transactional.plugins.plugin_utils import _run

DIRECTORY = "/run/microos-transactional"
# Inside, what does not act on the running system; first in the PATH
PROGRAMS = "/run/microos-transactional-programs"
# Exit status, together with a line that starts with the nonce
REFUSED = 79
NOT_FOUND = 44
# The ssh connection takes quadratic time to collect what a command prints
PART = 16 << 20

# Runs as root on the host. Arguments: file of the run, nonce, then INSIDE, user and command.
# The working directory is bound to the process, unlike its id, which may be anybody's after its end: so what is checked
# is what is entered. In a user namespace of their own all users are root, and may have any root directory. The name in
# "stat" may have spaces and parentheses.
OUTSIDE = """
refuse() { printf '%s\\n' "$n $*" >&2; exit {REFUSED}; }
started() { [ "$1" != Z ] && [ "${20:-none}" = "$t" ]; }
f=$1 n=$2
read -r p i s t _ 2>/dev/null <"$f" || refuse none "$(sed -n 2p {DIRECTORY}/open 2>/dev/null)"
cd "/proc/$p" 2>/dev/null && read -r l 2>/dev/null <stat && started ${l##*)} || refuse dead "$s"
[ ns/user -ef /proc/self/ns/user ] && [ -e "root{DIRECTORY}/$i" ] || refuse dead "$s"
exec nsenter --mount=ns/mnt --root=root --wd=root -- /bin/sh -c "$3" sh "$n" "$i" "$s" "$4" "$5"
"""
# Runs as root in what was entered, and makes sure of that once more. Arguments: nonce, id and snapshot of the
# transaction, user, command.
INSIDE = """
refuse() { printf '%s\\n' "$n $*" >&2; exit {REFUSED}; }
n=$1
[ -e "{DIRECTORY}/$2" ] || refuse dead "$3"
true >"{DIRECTORY}/used"
export "PATH={PROGRAMS}:${PATH:-/usr/sbin:/usr/bin:/sbin:/bin}"
export TRANSACTIONAL_UPDATE=true "TRANSACTIONAL_UPDATE_ROOT=/.snapshots/$3/snapshot"
[ "$4" = root ] && exec /bin/sh -c "$5"
id -u "$4" >/dev/null 2>&1 || refuse user "$4"
exec /usr/sbin/runuser -s /bin/sh -c "$5" -- "$4"
"""
# Whether the machine has no transaction of this run. Who may not look there cannot tell, and goes on to the door.
# Arguments: file of the run.
FOREIGN = f'[ ! -e {DIRECTORY} ] || {{ [ -x {DIRECTORY} ] && [ ! -e "$0" ]; }}'
# A new session starts at home; where that does not exist inside, at the root directory
AT_HOME = "cd 2>/dev/null; "


def _one_line(script: str) -> str:
    """Any login shell takes it as one quoted word."""
    for name, value in {"{DIRECTORY}": DIRECTORY, "{PROGRAMS}": PROGRAMS, "{REFUSED}": str(REFUSED)}.items():
        script = script.replace(name, value)
    return "; ".join(script.strip().splitlines())


OUTSIDE, INSIDE = _one_line(OUTSIDE), _one_line(INSIDE)

# With these flags sudo passes the command to a shell of the user's, which expands its dollar signs and joins its lines
LOGIN_SHELL = re.compile(r"(^|\s)-(-login|-shell|\w*[is])")

# Actions that do not work through this connection alone
UNFIT = {
    "ansible.builtin.reboot": "it would end the transaction that is open. Close it first, with "
                              "microos.transactional.transaction, and use microos.transactional.reboot then",
    "ansible.posix.synchronize": "it opens a connection of its own, which leads to the running system. Use "
                                 "ansible.builtin.copy or ansible.builtin.unarchive instead",
}
FACTS = ("ansible.builtin.gather_facts", "ansible.builtin.setup")
# Options of the shell plugin: a home directory may not exist inside, or be the running system's
PLACES = {"remote_tmp": "/tmp", "async_dir": "/tmp/.ansible_async"}
# What is given explicitly is the user's choice
ASYNC_DIR_DEFAULT = "~/.ansible_async"


def _opened(host: str) -> str:
    """A file of this run: it has opened a transaction on a host, by whatever way and whatever became of it."""
    return os.path.join(C.DEFAULT_LOCAL_TMP, f"microos-opened-{hashlib.sha256(host.encode('utf-8')).hexdigest()}")


def remember_opened(host: str) -> None:
    with open(_opened(host), "w", encoding="utf-8"):
        pass


def full_name(action: str) -> str:
    """An action's name as UNFIT and FACTS have it."""
    name = action.removeprefix("ansible.legacy.")
    if "." in name:
        return name
    return f"ansible.posix.{name}" if name == "synchronize" else f"ansible.builtin.{name}"


def explain(word: str, rest: str, action: str) -> str:
    """Why nothing was entered, and what to do."""
    if word == "dead":
        return (f"the transaction on snapshot {rest} has ended, as the process that held it open is gone. Open a new "
                "one and do its work again")
    if word == "user":
        return f"there is no user '{rest}' inside the transaction"
    text = "no transaction of this run of Ansible is open here"
    with contextlib.suppress(ValueError, KeyError, TypeError):
        other = json.loads(rest)
        return (f"{text}, but another run has one open since {other['since']}: '{other['description']}' on snapshot "
                f"{other['snapshot']}. Open your own with microos.transactional.transaction, which can wait for the "
                "end of the other")
    if action in FACTS:
        return (f"{text} yet. Set 'gather_facts: false' for the play, and run ansible.builtin.setup after the task "
                "that opens the transaction")
    return f"{text}. Open one with microos.transactional.transaction; a reboot of the host ends it"


def unexpanded(command: str, mark: str) -> str:
    """The same command without a dollar sign and without a newline, and with a mark in plain text."""
    encoded = base64.b64encode(to_bytes(command, errors="surrogate_or_strict")).decode("ascii")
    return shlex.join(["/bin/sh", "-c", f'eval "`echo {encoded} | base64 -d`"', mark])


class InsideConnection:
    """Mixin for a stock connection."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._is_outside = False
        self._nonce = None  # of the command that was built last, and has not been sent
        self._action = ""
        self._login = None
        self._delegate = None
        self._may_be_foreign = False
        stock_option = self._shell.get_option

        def get_option(option, hostvars=None):
            if option not in PLACES or self._leads_outside():
                return stock_option(option, hostvars)
            given = stock_option(option, hostvars) if option == "async_dir" else None
            return given if given and given != ASYNC_DIR_DEFAULT else PLACES[option]
        self._shell.get_option = get_option

    @contextlib.contextmanager
    def outside(self):
        """A context in which this is the stock connection, for what concerns the host itself.

        Core would remove a temporary directory of there too late, through the door.
        """
        before, self._is_outside = self._is_outside, True
        tmpdir, self._shell.tmpdir = self._shell.tmpdir, None
        try:
            yield
        finally:
            if self._shell.tmpdir and not C.DEFAULT_KEEP_REMOTE_FILES:
                with contextlib.suppress(AnsibleConnectionFailure):
                    self.exec_command(self._shell.remove(self._shell.tmpdir, recurse=True), sudoable=False)
            self._shell.tmpdir = tmpdir
            self._is_outside = before

    def set_options(self, task_keys=None, var_options=None, direct=None):
        super().set_options(task_keys=task_keys, var_options=var_options, direct=direct)
        self._action = full_name((task_keys or {}).get("action") or "")
        self._delegate = (task_keys or {}).get("delegate_to")
        if self._action in UNFIT and not self._delegate:
            raise AnsibleError(f"{self._action} cannot be used inside a transaction: {UNFIT[self._action]}.")

    def update_vars(self, variables):
        """A task that is delegated to a host that the play does not work on is not meant for a transaction, unless this
        run has opened one there, or the host's own variables lead it here."""
        super().update_vars(variables)
        host, self._is_outside = self._delegate, False
        self._may_be_foreign = bool(host) and not (
            host in variables.get("ansible_play_hosts_all", [host]) or os.path.exists(_opened(host))
            or variables.get("ansible_delegated_vars", {}).get(host, {}).get("ansible_connection"))
        if self._action in UNFIT and host and not self._leads_outside():
            raise AnsibleError(f"{self._action} cannot be used inside a transaction: {UNFIT[self._action]}.")

    def _leads_outside(self):
        """Whether this is the stock connection now. A foreign host is asked first: it may be a machine that this run
        has a transaction on by another name."""
        if self._may_be_foreign and not self._is_outside:
            self._may_be_foreign = False
            with self.outside():
                returncode = self.exec_command(shlex.join(["/bin/sh", "-c", FOREIGN, self._file_of_run()]),
                                               sudoable=False)[0]
            self._is_outside = returncode == 0
        return self._is_outside

    # --- becoming another user --------------------------------------------------------------------------------------

    def set_become_plugin(self, plugin):
        super().set_become_plugin(plugin)
        if plugin:
            self._stock_build = plugin.build_become_command
            plugin.build_become_command = self._build_become_command

    def _build_become_command(self, cmd, shell, user=None):
        """Escalate to root, whichever user is wanted inside."""
        if self._leads_outside() or not cmd:
            return self._stock_build(cmd, shell)
        user = user or self.become.get_option("become_user") or "root"
        if shell.executable and shell.executable != "/bin/sh":
            cmd = shlex.join([shell.executable, "-c", cmd])
        entering = self._enter(cmd, user)
        if LOGIN_SHELL.search(self.become.get_option("become_flags") or ""):
            entering = unexpanded(entering, self._nonce)
        with replaced(self.become, become_user="root"):
            return self._stock_build(entering, shell)

    @contextlib.contextmanager
    def _becoming(self):
        """The task's become plugin is in use, or one for a task without: only root can enter."""
        before = self.become
        if not before:
            self.set_become_plugin(self._load_become())
        plugin = self.become
        prompting = {name: getattr(plugin, name) for name in ("_id", "success", "prompt")}
        try:
            yield
        finally:
            vars(plugin).update(prompting)
            self.become = before

    def _load_become(self):
        method = self.get_option("become_method")
        plugin = become_loader.get(method)
        if plugin is None:
            raise AnsibleError(f"there is no become plugin '{method}' (ansible_become_method), and only root can enter "
                               "a transaction")
        given = {name: self.get_option(name) for name in ("become_exe", "become_flags", "become_pass")}
        given["become_pass"] = given["become_pass"] or self._play_context.become_pass
        plugin.set_options(direct={name: value for name, value in given.items() if value is not None})
        return plugin

    # --- commands ---------------------------------------------------------------------------------------------------

    def _file_of_run(self):
        """What tells on the host of the transaction to enter."""
        return f"{DIRECTORY}/{'open' if self.get_option('join') else _run.key(_run.identity())}"

    def _enter(self, command, user):
        """What root has to run on the host so that ``user`` runs ``command`` inside."""
        self._nonce = uuid.uuid4().hex
        return shlex.join(["/bin/sh", "-c", OUTSIDE, "sh", self._file_of_run(), self._nonce, INSIDE, user,
                           AT_HOME + command])

    def exec_command(self, cmd, in_data=None, sudoable=True):
        if self._leads_outside():
            return super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        cmd = to_text(cmd)
        # built by the become plugin; core may have quoted it once more
        if self._nonce and self._nonce in cmd:
            return self._send(cmd, in_data, sudoable)
        login = self._login_user()
        if login == "root":
            return self._send(self._enter(cmd, login), in_data, sudoable)
        with self._becoming(), contextlib.nullcontext() if sudoable else self._without_terminal():
            # sudoable, as there may be a prompt to answer
            return self._send(self._build_become_command(cmd, self._shell, login), in_data, sudoable=True)

    def _send(self, cmd, in_data, sudoable):
        """Send a command that enters. Its nonce is used up, as what it prints may tell it to those who come later."""
        nonce, self._nonce = self._nonce, None
        returncode, stdout, stderr = super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        # ansible.builtin.local before core 2.19 leaves it there, in front of a file
        success = self.become and self.become.success and to_bytes(self.become.success) + b"\n"
        if success and stdout.startswith(success):
            stdout = stdout[len(success):]
        answer = returncode, stdout, stderr
        said = returncode == REFUSED and re.search(
            rf"{nonce} (none|dead|user) ?(.*?)\r?$", f"{to_text(stdout)}\n{to_text(stderr)}", re.MULTILINE)
        if said:
            raise AnsibleError(f"{self._play_context.remote_addr}: {explain(said[1], said[2], self._action)}. Nothing "
                               "was done on the running system.")
        return answer

    def _login_user(self):
        """Who logs in. What core sends without become is that user's."""
        if self._login is None:
            self._login = self._configured_login() or self._asked_login()
        return self._login

    def _configured_login(self):
        """The name of the user who logs in, as far as it is known here."""
        raise NotImplementedError

    def _login_depends_on(self):
        """What decides who logs in if that is not known here."""
        return ()

    def _asked_login(self):
        """The host knows. Each task has its own connection, so the answer is kept with the run's temporary files."""
        where = hashlib.sha256(repr(self._login_depends_on()).encode("utf-8")).hexdigest()
        path = os.path.join(C.DEFAULT_LOCAL_TMP, f"microos-login-{where}")
        with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8") as stream:
            return stream.read()
        with self.outside():
            returncode, stdout, stderr = self.exec_command("id -un", sudoable=False)
        login = to_text(stdout).strip()
        if returncode or not login:
            raise AnsibleError(f"{self._play_context.remote_addr}: cannot find out who is logged in: {to_text(stderr)}."
                               " Set remote_user")
        with open(f"{path}.{os.getpid()}", "w", encoding="utf-8") as stream:
            stream.write(login)
        os.replace(stream.name, path)
        return login

    # --- files ------------------------------------------------------------------------------------------------------

    def put_file(self, in_path, out_path):
        if self._leads_outside():
            return super().put_file(in_path, out_path)
        try:
            with open(to_bytes(in_path, errors="surrogate_or_strict"), "rb") as stream:
                data = stream.read()
        except FileNotFoundError as error:
            raise AnsibleFileNotFound(f"file or module does not exist: {to_native(in_path)}") from error
        command = f"cat >{shlex.quote(out_path)}" if data else f"read -r _; : >{shlex.quote(out_path)}"
        return self._transfer(command, data, in_path, out_path)

    def fetch_file(self, in_path, out_path):
        if self._leads_outside():
            return super().fetch_file(in_path, out_path)
        source = shlex.quote(in_path)
        with open(to_bytes(out_path, errors="surrogate_or_strict"), "wb") as stream:
            part = None
            while part is None or len(part) == PART:
                part = self._transfer(
                    f"read -r _; [ -e {source} ] || exit {NOT_FOUND}; "
                    f"exec dd if={source} bs={PART} iflag=fullblock skip={stream.tell() // PART} count=1 status=none",
                    b"", in_path, out_path)[1]
                stream.write(part)
        return 0, b"", b""

    def _transfer(self, command, data, in_path, out_path):
        """Without data a line is sent instead: the stock connections send it when the escalation is over, so that
        nothing of a file that comes back is taken for a prompt, and without a terminal, which would change the file."""
        with self._without_terminal():
            returncode, stdout, stderr = self.exec_command(command, in_data=data or b"\n", sudoable=False)
        if returncode == NOT_FOUND:
            raise AnsibleFileNotFound(f"{self._play_context.remote_addr}: there is no file {to_native(in_path)}")
        if returncode:
            raise AnsibleError(f"{self._play_context.remote_addr}: failed to transfer {to_native(in_path)} to "
                               f"{to_native(out_path)}: {to_native(stderr).strip()}")
        return returncode, stdout, stderr

    def _without_terminal(self):
        """A context in which the stock connection allocates no terminal."""
        raise NotImplementedError


@contextlib.contextmanager
def replaced(plugin, **options):
    """A plugin with other values for options that it has."""
    before = {name: plugin.get_option(name) for name in options if plugin.has_option(name)}
    for name in before:
        plugin.set_option(name, options[name])
    try:
        yield
    finally:
        for name, value in before.items():
            plugin.set_option(name, value)
