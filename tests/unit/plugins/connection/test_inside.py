# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the connections send, seen from below the stock connection."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from ansible import constants as C
from ansible.errors import AnsibleConnectionFailure, AnsibleError, AnsibleFileNotFound
from ansible.playbook.play_context import PlayContext
from ansible.plugins.connection.local import Connection as LocalConnection
from ansible.plugins.connection.ssh import Connection as SshConnection
from ansible.plugins.loader import become_loader, connection_loader

from ansible_collections.microos.transactional.plugins.plugin_utils import _inside

SSH = "microos.transactional.ssh"
LOCAL = "microos.transactional.local"


class Stock:
    """Stands for the stock connection's exec_command: keeps what it is given."""

    def __init__(self):
        self.sent = []
        self.answer = (0, b"", b"")
        self.refusal = None

    def exec_command(self, connection, cmd, in_data=None, sudoable=True):
        self.sent.append((cmd, in_data, sudoable))
        if self.refusal:
            nonce = entering(cmd)[1]
            return _inside.REFUSED, b"BECOME-SUCCESS-x\r\n", f"noise\n{nonce} {self.refusal}\r\n".encode()
        return self.answer

    @property
    def last(self):
        return self.sent[-1][0]


def entering(command):
    """The arguments of the script that enters, wherever it is in the command: file, nonce, script, user, command."""
    words = shlex.split(command)
    if _inside.OUTSIDE in words:
        return words[words.index(_inside.OUTSIDE) + 2:]
    return entering(next(word for word in words if "nsenter" in word))


@pytest.fixture
def stock(monkeypatch, tmp_path):
    stock = Stock()

    def exec_command(self, *args, **kwargs):
        return stock.exec_command(self, *args, **kwargs)
    for connection in (SshConnection, LocalConnection):
        monkeypatch.setattr(connection, "exec_command", exec_command)
    monkeypatch.setattr(C, "DEFAULT_LOCAL_TMP", str(tmp_path))
    return stock


@pytest.fixture
def connect(stock):
    def connect(name=SSH, user="root", action="command", become=None, become_user="root", **variables):
        context = PlayContext()
        context.remote_addr, context.remote_user = "host", user
        connection = connection_loader.get(name, context)
        plugin = become and become_loader.get(become)
        connection.set_become_plugin(plugin)
        connection.set_options(task_keys={"action": action, "remote_user": user},
                               var_options={f"ansible_{name}": value for name, value in variables.items()})
        connection._shell.set_options()
        if plugin:
            plugin.set_options(direct={"become_user": become_user})
        return connection
    return connect


@pytest.mark.parametrize("name, stock_name", [(SSH, "ssh"), (LOCAL, "local")])
def test_every_option_of_the_stock_connection(name, stock_name):
    mine, theirs = (connection_loader.get(plugin, PlayContext()).option_definitions for plugin in (name, stock_name))
    assert theirs
    for option, definition in theirs.items():
        for key in ("default", "type", "choices"):
            assert mine[option].get(key) == definition.get(key), option
        for key in ("vars", "ini", "env", "keyword", "cli"):
            assert [entry.get("name") or (entry["section"], entry["key"]) for entry in mine[option].get(key) or ()] == [
                entry.get("name") or (entry["section"], entry["key"]) for entry in definition.get(key) or ()], option


@pytest.mark.parametrize("name", [SSH, LOCAL])
def test_transport_is_its_own(connect, name):
    assert connect(name).transport == name


def test_root_enters_directly(connect, stock):
    connect().exec_command("/bin/sh -c 'id'", in_data=b"data", sudoable=False)
    path, _nonce, inside, user, command = entering(stock.last)
    assert path.startswith("/run/microos-transactional/")
    assert (inside, user, command) == (_inside.INSIDE, "root", "cd 2>/dev/null; /bin/sh -c 'id'")
    assert stock.sent[-1][1:] == (b"data", False)


def test_join_enters_whatever_is_open(connect, stock):
    connect(transaction_join=True).exec_command("id")
    assert entering(stock.last)[0] == "/run/microos-transactional/open"


@pytest.mark.parametrize("become", ["sudo", "su"])
def test_escalation_is_to_root_and_around_the_entering(connect, stock, become):
    connection = connect(user="admin", become=become, become_user="nobody")
    built = connection.become.build_become_command("id", connection._shell)
    connection.exec_command("/bin/sh -c " + shlex.quote(built), sudoable=True)
    assert stock.last == "/bin/sh -c " + shlex.quote(built), "it is not wrapped twice"
    assert "nobody" not in built.split("/bin/sh")[0]
    assert entering(built)[3:] == ["nobody", "cd 2>/dev/null; id"]
    assert connection.become.get_option("become_user") == "nobody"


def test_the_shell_of_the_task_is_used_inside(connect, stock):
    connection = connect(user="admin", become="sudo")
    connection._shell.executable = "/bin/bash"
    built = connection.become.build_become_command("echo $BASH_VERSION", connection._shell)
    assert entering(built)[4] == "cd 2>/dev/null; /bin/bash -c 'echo $BASH_VERSION'"


def test_what_is_sent_without_become_is_the_login_user_s(connect, stock):
    connection = connect(user="admin", become="sudo", become_user="nobody")
    connection.become.success, connection.become.prompt = "BECOME-SUCCESS-before", "before"
    connection.exec_command("id", sudoable=False)
    assert stock.last.startswith("sudo ")
    assert entering(stock.last)[3] == "admin"
    assert stock.sent[-1][2], "there may be a prompt"
    assert (connection.become.success, connection.become.prompt) == ("BECOME-SUCCESS-before", "before")
    assert connection.get_option("use_tty")


def test_a_task_without_become_brings_a_plugin(connect, stock):
    connection = connect(user="admin", become_pass="secret", become_exe="/opt/sudo")
    seen = []
    stock.exec_command = lambda connection, cmd, **kwargs: seen.append(
        (cmd, connection.become.get_option("become_pass"))) or (0, b"", b"")
    connection.exec_command("id")
    (command, password), = seen
    assert command.startswith("/opt/sudo ")
    assert (entering(command)[3], password) == ("admin", "secret")
    assert connection.become is None


def test_an_unknown_plugin_is_told(connect):
    with pytest.raises(AnsibleError, match="no become plugin 'magic'"):
        connect(user="admin", become_method="magic").exec_command("id")


def test_a_nonce_that_was_printed_does_not_open_the_way_past_the_door(connect, stock):
    connection = connect(user="admin", become="sudo")
    built = connection.become.build_become_command("ps", connection._shell)
    connection.exec_command(built)
    connection.exec_command(f"echo {shlex.quote(built)}")
    assert entering(stock.last)[3:] == ["admin", f"cd 2>/dev/null; echo {shlex.quote(built)}"]


def test_outside_is_the_stock_connection(connect, stock):
    connection = connect(user="admin", become="sudo", become_user="nobody")
    stock_tmp = connection._shell._options["remote_tmp"]
    assert connection._shell.get_option("remote_tmp") == "/tmp"
    assert connection._shell.get_option("async_dir") == "/tmp/.ansible_async"
    connection._shell.tmpdir = "/tmp/inside"
    with connection.outside():
        assert connection._shell.get_option("remote_tmp") == stock_tmp != "/tmp"
        built = connection.become.build_become_command("id", connection._shell)
        connection.exec_command(built)
        connection._shell.tmpdir = "/home/admin/outside"
    assert "-u nobody" in built
    assert "nsenter" not in built
    assert [command for command, *_rest in stock.sent] == [built, "rm -f -r /home/admin/outside > /dev/null 2>&1"]
    assert connection._shell.tmpdir == "/tmp/inside"
    connection.exec_command("id")
    assert "nsenter" in stock.last


REFUSALS = [
    ("none", "setup", "no transaction of this run of Ansible is open here yet. Set 'gather_facts: false'"),
    ("none", "command", "no transaction of this run of Ansible is open here. Open one"),
    ("none not json", "command", "no transaction of this run of Ansible is open here. Open one"),
    ('none {"since": "noon", "description": "work", "snapshot": 7}', "setup",
     "no transaction of this run of Ansible is open here, but another run has one open since noon: 'work' on "),
    ("dead 7", "command", "the transaction on snapshot 7 has ended"),
    ("user stranger", "command", "there is no user 'stranger' inside"),
]


@pytest.mark.parametrize("refusal, action, words", REFUSALS)
def test_refusals(connect, stock, refusal, action, words):
    connection = connect(action=action, user="admin")
    stock.refusal = refusal
    with pytest.raises(AnsibleError) as caught:
        connection.exec_command("id")
    assert not isinstance(caught.value, AnsibleConnectionFailure), "the task could not be rescued"
    assert f"host: {words}" in str(caught.value)
    assert "Nothing was done on the running system" in str(caught.value)


def test_a_command_may_end_with_the_same_status(connect, stock):
    stock.answer = (_inside.REFUSED, b"none", b"")
    assert connect().exec_command("exit 79") == stock.answer


def test_inside_is_proved_by_the_mark(tmp_path):
    probe = tmp_path / "probe"
    done = subprocess.run(["/bin/sh", "-c", _inside.INSIDE, "sh", "nonce", "no-such-id", "7", "root", f"touch {probe}"],
                          capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (_inside.REFUSED, "", "nonce dead 7\n")
    assert not probe.exists()


@pytest.mark.parametrize("action", ["reboot", "ansible.builtin.reboot", "ansible.legacy.reboot", "synchronize",
                                    "ansible.posix.synchronize"])
def test_unfit_actions(connect, action):
    with pytest.raises(AnsibleError, match="cannot be used inside a transaction"):
        connect(action=action)


@pytest.mark.parametrize("action", ["microos.transactional.reboot", "command", "someone.else.synchronize"])
def test_other_actions(connect, action):
    connect(action=action)


def test_the_login_is_asked_once_for_all_tasks(connect, stock):
    stock.answer = (0, b"root\r\n", b"")
    for _task in range(2):
        connect(user=None).exec_command("true")
    assert [command for command, *_rest in stock.sent].count("id -un") == 1
    assert len(stock.sent) == 3


def test_put(connect, stock, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"data")
    connection = connect()
    connection.put_file(str(file), "/odd 'name'")
    assert entering(stock.last)[4] == "cd 2>/dev/null; cat >" + shlex.quote("/odd 'name'")
    assert stock.sent[-1][1] == b"data"
    with pytest.raises(AnsibleFileNotFound):
        connection.put_file(str(tmp_path / "missing"), "/path")
    stock.answer = (1, b"", b"No space left on device")
    with pytest.raises(AnsibleError, match="No space left"):
        connection.put_file(str(file), "/path")


@pytest.mark.parametrize("size", [0, 1, 4, 5, 8])
def test_fetch_in_parts(connect, stock, tmp_path, monkeypatch, size):
    monkeypatch.setattr(_inside, "PART", 4)
    data = bytes(range(size))

    def part(_connection, cmd, **_kwargs):
        skip = int(entering(cmd)[4].split("skip=")[1].split()[0])
        return 0, data[4 * skip:4 * skip + 4], b""
    stock.exec_command = part
    connect().fetch_file("/file", str(tmp_path / "file"))
    assert (tmp_path / "file").read_bytes() == data


def test_fetch_what_is_missing(connect, stock, tmp_path):
    stock.answer = (_inside.NOT_FOUND, b"", b"")
    with pytest.raises(AnsibleFileNotFound, match="no file /missing"):
        connect().fetch_file("/missing", str(tmp_path / "file"))


def test_a_file_without_the_word_of_the_escalation(connect, stock, tmp_path):
    """Core's local connection leaves it in front of what the command prints, before 2.19."""
    connection = connect(LOCAL)
    connection._configured_login = lambda: "admin"
    for content in (b"a file\n", b"BECOME-SUCCESS-of another\n"):
        def exec_command(*_args, content=content, **_kwargs):
            return 0, connection.become.success.encode() + b"\n" + content, b""
        stock.exec_command = exec_command
        connection.fetch_file("/etc/file", str(tmp_path / "file"))
        assert (tmp_path / "file").read_bytes() == content


@pytest.mark.parametrize("variables, leads_outside", [
    ({"ansible_play_hosts_all": ["a"]}, True),
    ({"ansible_play_hosts_all": ["a", "b"]}, False),
    ({}, False),
    ({"ansible_play_hosts_all": ["a"], "ansible_delegated_vars": {"b": {"ansible_connection": SSH}}}, False),
])
def test_where_a_delegated_task_leads(connect, stock, variables, leads_outside):
    connection = connect()
    connection.set_options(task_keys={"action": "command", "remote_user": "root", "delegate_to": "b"})
    connection.update_vars(dict(variables))
    connection.exec_command("true")
    assert ("nsenter" not in stock.last) == leads_outside
    assert len(stock.sent) == (2 if leads_outside else 1), "only a foreign host is asked"
    stock.answer = (1, b"", b"")
    connection.update_vars(dict(variables))
    connection.exec_command("true")
    assert "nsenter" in stock.last, "it has a transaction of this run"


def test_a_host_that_a_transaction_was_opened_on_is_never_foreign(connect, stock):
    _inside.remember_opened("b")
    connection = connect()
    connection.set_options(task_keys={"action": "command", "remote_user": "root", "delegate_to": "b"})
    connection.update_vars({"ansible_play_hosts_all": ["a"]})
    connection.exec_command("true")
    assert "nsenter" in stock.last


def test_an_explicit_directory_of_async_jobs_is_kept(connect):
    connection = connect()
    assert connection._shell.get_option("async_dir") == "/tmp/.ansible_async"
    connection._shell.set_options(direct={"async_dir": "/var/cache/jobs"})
    assert connection._shell.get_option("async_dir") == "/var/cache/jobs"
