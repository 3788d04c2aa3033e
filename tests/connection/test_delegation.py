# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tasks that a play with the connection delegates to other machines."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

PLACE = Path("/tmp/pytest-other")


@pytest.fixture
def other(controller):
    """Another machine, as far as its /run tells: a sshd with one of its own."""
    PLACE.mkdir(mode=0o755)
    for name in "key.pub", "hostkey":
        shutil.copy(controller.directory / name, PLACE / name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["ListenAddress=127.0.0.1", "UsePAM=no", f"AuthorizedKeysFile={PLACE}/key.pub", "StrictModes=no",
               "Subsystem=sftp internal-sftp", "PidFile=none"]
    sshd = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c",
         'mount -t tmpfs tmpfs /run && mkdir /run/sshd && exec "$@"', "sh", "/usr/sbin/sshd", "-D", "-f", "/dev/null",
         "-h", f"{PLACE}/hostkey", "-p", str(port), *[word for option in options for word in ("-o", option)]])
    controller.inventory["all"]["hosts"]["other"] = dict(controller.inventory["all"]["hosts"]["sudo"],
                                                         ansible_port=port)
    yield "other"
    del controller.inventory["all"]["hosts"]["other"]
    sshd.terminate()
    sshd.wait()
    shutil.rmtree(PLACE)
    for name in "elsewhere", "known":
        Path(f"/etc/{name}").unlink(missing_ok=True)


def copy(name, **keywords):
    return {"ansible.builtin.copy": {"content": "x", "dest": f"/etc/{name}", "mode": "0644"}, **keywords}


def test_another_machine_is_worked_on_itself(controller, host, other):
    fetched = controller.directory / "fetched-other"
    loop = {"loop": ["root", other], "delegate_to": "{{ item }}", "become": True}
    controller.check([controller.play(
        controller.transaction("open"), copy("probed"), copy("elsewhere", delegate_to=other),
        {"ansible.builtin.fetch": {"src": "/etc/elsewhere", "dest": str(fetched), "flat": True}, "delegate_to": other},
        {"ansible.builtin.raw": "test -e /run/microos-transactional/inside", "delegate_to": other,
         "failed_when": False, "register": "raw"},
        {"ansible.builtin.assert": {"that": "raw.rc == 1"}}, copy("known", **loop), copy("alias", delegate_to="sudo"),
        controller.transaction("closed"))])
    assert fetched.read_text() == "x"
    fetched.unlink()
    inside = host.snapshot() / "etc"
    assert [os.path.exists(f"/etc/{name}") for name in ("elsewhere", "known", "probed", "alias")] == [
        True, True, False, False]
    assert [(inside / name).exists() for name in ("elsewhere", "known", "probed", "alias")] == [
        False, True, True, True]


def test_a_machine_of_the_play_is_not(controller, host, other):
    """The play works on it inside of a transaction, which it has not."""
    returncode, out = controller.run([controller.play(copy("elsewhere", delegate_to=other, run_once=True),
                                                      hosts=f"root:{other}")])
    assert returncode == 2 and "no transaction of this run of Ansible is open here" in " ".join(out.split())
    assert not os.path.exists("/etc/elsewhere")
