# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host that is its own controller, with a throw-away sshd. Runs as ``tests/host/run --engine E tests/connection``."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PASSWORD = "secret with 'quotes'"
STATE = Path("/run/microos-transactional")

# How one gets to root, pipelining or not: name -> user, whether modules are piped, variables.
# All are one host, so all share the transaction of the run.
SUDO = {"ansible_become_password": PASSWORD}
SU = {"ansible_become_method": "ansible.builtin.su", "ansible_become_password": PASSWORD}
WAYS = {
    "root": ("root", True, {}),
    "root-files": ("root", False, {}),
    "sudo": ("admin", True, {}),
    "password": ("worker", True, SUDO),
    "password-files": ("worker", False, SUDO),
    "su": ("worker", True, SU),
}


class Controller:
    ways = WAYS

    def __init__(self, directory):
        self.directory = directory
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.inventory = {"all": {"hosts": {
            name: {"ansible_host": "127.0.0.1", "ansible_port": self.port, "ansible_user": user, "login": user,
                   "ansible_pipelining": pipelining, "root_password": PASSWORD, **variables}
            for name, (user, pipelining, variables) in WAYS.items()}}}

    def start(self, play, user="root", variables=None, arguments=(), **environment):
        """Start a playbook, which is a list, the name of a file beside this one, or one of the collection."""
        playbook = self._write("play.json", play) if isinstance(play, list) else play
        if (HERE / playbook).exists():
            playbook = HERE / playbook
        command = [sys.executable, "-m", "ansible", "playbook", "-i", self._write("hosts.json", self.inventory),
                   "-e", json.dumps(variables or {}), *arguments, str(playbook)]
        home = self.directory / f"home-{user}"
        home.mkdir(exist_ok=True)
        os.chown(home, *map(int, subprocess.check_output(["sh", "-c", 'id -u "$0"; id -g "$0"', user]).split()))
        return subprocess.Popen(
            command if user == "root" else ["runuser", "-u", user, "--", *command], cwd=self.directory, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=dict(os.environ, ANSIBLE_HOME=str(home), ANSIBLE_SSH_CONTROL_PATH_DIR=str(home / "cp"),
                     # nobody but the controller itself shall use this
                     ANSIBLE_REMOTE_TEMP=str(home / "remote"), ANSIBLE_FORKS="8", LANG="C.UTF-8",
                     ANSIBLE_HOST_KEY_CHECKING="False",
                     ANSIBLE_SSH_EXTRA_ARGS=f"-o UserKnownHostsFile={home}/known_hosts",
                     ANSIBLE_PRIVATE_KEY_FILE=str(self.directory / "key"), **environment))

    def run(self, play, **kwargs):
        """Run a playbook to its end; exit status and output."""
        process = self.start(play, **kwargs)
        output = process.communicate()[0]
        print(output)
        return process.returncode, output

    def check(self, play, **kwargs):
        returncode, output = self.run(play, **kwargs)
        assert returncode == 0, output
        return output

    def play(self, *tasks, hosts="root", connection="ssh", **keywords):
        return {"hosts": hosts, "gather_facts": False, "become": True, "tasks": list(tasks),
                "connection": f"microos.transactional.{connection}", **keywords}

    def transaction(self, state, **arguments):
        return {"microos.transactional.transaction": {"state": state, **arguments}}

    def _write(self, name, data):
        path = self.directory / name
        path.write_text(json.dumps(data))
        return str(path)


@contextlib.contextmanager
def a_controller():
    """A controller, and an sshd for it."""
    directory = Path("/run/controller")
    directory.mkdir()
    Path("/run/sshd").mkdir(exist_ok=True)

    def check(*argv, **kwargs):
        subprocess.run(argv, check=True, text=True, **kwargs)
    check("useradd", "--create-home", "--shell", "/bin/bash", "worker")
    check("chpasswd", input=f"worker:{PASSWORD}\nroot:{PASSWORD}\n")
    Path("/etc/sudoers.d/worker").write_text("worker ALL=(ALL) ALL\n")
    for name in ("key", "hostkey"):
        check("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name))
    (directory / "key").chmod(0o600)
    controller = Controller(directory)
    # in the foreground, as it would listen some time after going to the background
    log = directory / "sshd.log"
    sshd = subprocess.Popen([
        "/usr/sbin/sshd", "-D", "-E", str(log), "-f", "/dev/null", "-h", str(directory / "hostkey"),
        "-p", str(controller.port), "-o", "ListenAddress=127.0.0.1", "-o", "UsePAM=no", "-o", "MaxStartups=100",
        "-o", f"AuthorizedKeysFile={directory}/key.pub", "-o", "StrictModes=no", "-o", "Subsystem=sftp internal-sftp",
        "-o", "PidFile=none"])
    wait_for(lambda: log.exists() and "Server listening" in log.read_text())
    try:
        yield controller
    finally:
        sshd.terminate()
        sshd.wait()


@pytest.fixture(scope="session")
def controller():
    with a_controller() as controller:
        yield controller


def wait_for(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


class Host:
    """What is seen on the host itself."""

    wait_for = staticmethod(wait_for)

    def snapshots(self):
        return sorted(int(name) for name in os.listdir("/.snapshots") if name.isdigit())

    def snapshot(self):
        """The snapshot that the test made."""
        return Path(f"/.snapshots/{self.snapshots()[-1]}/snapshot")

    def holder(self):
        return int((STATE / "open").read_text().split()[0])

    def traces(self):
        """What tasks may have left on the running system."""
        places = ["/tmp", "/var/tmp", "/usr/probe", "/etc/probe", "/root/.ansible", "/root/.ansible_async"]
        places += [f"/home/{name}/.ansible" for name in os.listdir("/home")]
        return [str(path) for place in map(Path, places) if place.exists()
                for path in ([place] if place.name not in ("tmp",) else place.iterdir())
                if not path.name.startswith("pytest")]


@pytest.fixture
def host(controller):
    """A test that works on the running system fails; what it leaves open is aborted."""
    host = Host()
    before = host.traces()
    yield host
    if (STATE / "open").exists():
        controller.check([controller.play(controller.transaction("aborted", join=True))])
    subprocess.run(["snapper", "--no-dbus", "modify", "--default", "1"], check=True)
    for number in reversed(host.snapshots()):
        if number != 1:
            subprocess.run(["snapper", "--no-dbus", "delete", str(number)], check=True)
    assert host.traces() == before
