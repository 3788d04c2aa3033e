# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the transaction cannot be entered, nothing is done at all."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

STATE = "/run/microos-transactional"
# One of each kind that core sends to a host in another manner
TASKS = [
    {"command": "touch /etc/probe"},
    {"raw": "touch /etc/probe"},
    {"raw": "touch /etc/probe", "args": {"executable": "/bin/bash"}},
    {"copy": {"content": "probe", "dest": "/etc/probe"}},
    {"template": {"src": "/run/controller/key.pub", "dest": "/etc/probe"}},
    {"script": "/run/controller/touch.sh"},
    {"fetch": {"src": "/etc/hostname", "dest": "/run/controller/fetched"}},
    {"slurp": {"src": "/etc/hostname"}},
    {"setup": {}},
    {"unarchive": {"src": "/run/controller/key.pub", "dest": "/etc"}},
    {"command": "touch /etc/probe", "async": 10, "poll": 1},
    {"command": "touch /etc/probe", "become_user": "nobody"},
    {"ping": {}},
]


@pytest.fixture
def refused(controller, host):
    """Run tasks, each of which must fail, with these words, and do nothing."""
    script = controller.directory / "touch.sh"
    script.write_text("#!/bin/sh\ntouch /etc/probe\n")

    def run(tasks, *words, before=(), **kwargs):
        tasks = [dict(task, ignore_errors=True) for task in tasks]
        output = controller.check([controller.play(*before, *tasks, **kwargs)])
        failures = re.findall(r"^fatal: \[.*\]: FAILED! => (.*)", output, re.MULTILINE)
        hosts = len(controller.ways) if kwargs.get("hosts") == "all" else 1
        assert len(failures) == len(tasks) * hosts, output
        for failure in failures:
            assert all(word in failure for word in (*words, "Nothing was done on the running system")), failure
        assert not os.path.exists("/etc/probe")
        assert not os.path.exists("/run/controller/fetched")
        return output
    return run


def change(script):
    """A task on the host itself, behind the back of the transaction."""
    return {"shell": script, "delegate_to": "localhost", "become": False}


def test_nothing_open(refused):
    refused(TASKS + [dict(task, become=False) for task in TASKS if "become_user" not in task],
            "no transaction of this run")
    refused(TASKS, "no transaction of this run", connection="local")


def test_nothing_open_for_each_way_to_root(refused):
    refused(TASKS[:4], "no transaction of this run", hosts="all")


def test_facts_before_it_is_open(controller, host):
    returncode, output = controller.run([controller.play(controller.transaction("open"), gather_facts=True)])
    assert returncode == 2
    assert "Set 'gather_facts: false' for the play, and run ansible.builtin.setup after" in output


def test_the_holder_is_killed_between_two_tasks(controller, refused):
    refused(TASKS[:5], "the transaction on snapshot 2 has ended", "Open a new one", before=[
        controller.transaction("open"), {"command": "true"}, change(f"read p r <{STATE}/open; kill -9 $p; sleep 0.5")])


def test_its_process_id_belongs_to_another_process(controller, refused, request):
    other = subprocess.Popen(["sleep", "100"])
    request.addfinalizer(other.kill)
    refused(TASKS[:5], "the transaction on snapshot 2 has ended", before=[
        controller.transaction("open"),
        change(f"cp {STATE}/open /run/controller/state; sed -i '1s/^[0-9]*/{other.pid}/' $(realpath {STATE}/open)")])
    subprocess.run(["sh", "-c", f"cat /run/controller/state >{STATE}/open"], check=True)


def test_the_state_is_gone_as_after_a_reboot(controller, refused):
    refused(TASKS[:5], "no transaction of this run", "a reboot of the host ends it", before=[
        controller.transaction("open"), change(f"mv {STATE} {STATE}.away")])
    os.rename(f"{STATE}.away", STATE)


@pytest.fixture
def other_run(controller, host):
    """Another run has a transaction open."""
    go = controller.directory / "go"
    play = controller.play(controller.transaction("open", description="of another run"),
                           {"wait_for": {"path": str(go)}, "delegate_to": "localhost", "become": False},
                           controller.transaction("aborted"))
    process = controller.start([play])
    host.wait_for(lambda: os.path.exists(f"{STATE}/open") and host.holder())
    yield
    go.touch()
    output = process.communicate()[0]
    go.unlink()
    assert process.returncode == 0, output


def test_the_transaction_of_another_run(refused, other_run):
    output = refused(TASKS[:5], "another run has one open since", "of another run", "on snapshot 2")
    assert "can wait for the end of the other" in output


def test_joining_the_transaction_of_another_run(controller, host, other_run):
    controller.check([controller.play({"command": "touch /etc/probe"}, vars={"ansible_transaction_join": True})])
    assert (host.snapshot() / "etc/probe").exists()


def test_a_user_who_is_not_inside(controller, refused):
    refused([{"command": "touch /etc/probe", "become_user": "stranger"},
             {"raw": "touch /etc/probe", "become_user": "stranger"}],
            "there is no user 'stranger' inside", before=[controller.transaction("open")])


def test_a_login_without_a_way_to_become_root(controller, host):
    returncode, output = controller.run([controller.play(
        controller.transaction("open"), {"raw": "touch /etc/probe", "become": False, "delegate_to": "password",
                                         "vars": {"ansible_become_password": "wrong"}})])
    assert returncode != 0
    assert "Incorrect sudo password" in output
    assert not os.path.exists("/etc/probe")


def test_rescue_is_possible(controller, host):
    controller.check([controller.play({"block": [{"command": "touch /etc/probe"}],
                                       "rescue": [{"debug": {"msg": "{{ ansible_failed_result.msg }}"}}]})])


@pytest.mark.parametrize("action", ["reboot", "ansible.builtin.reboot", "ansible.legacy.reboot", "synchronize"])
def test_actions_that_do_not_work_inside(controller, host, action):
    library = controller.directory / "library"
    library.mkdir(exist_ok=True)
    (library / "synchronize.py").write_text("")
    returncode, output = controller.run([controller.play(controller.transaction("open"), {action: {}})],
                                        ANSIBLE_LIBRARY=str(library))
    assert returncode == 2
    assert f"{action.rpartition('.')[2]} cannot be used inside a transaction: it" in output


def test_opening_needs_one_of_these_connections(controller, host):
    returncode, output = controller.run([dict(controller.play(controller.transaction("open")), connection="ssh")])
    assert returncode == 2
    assert "this task uses the connection 'ssh'" in output
