# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is asked of the host and of core, and the verdict; that a host really comes back is tried on VMs."""

from __future__ import annotations

import contextlib
import types

import pytest
from ansible.plugins.action.reboot import ActionModule as CoreReboot

from ansible_collections.microos.transactional.plugins.action.reboot import ActionModule

DONE = {"changed": True, "rebooted": True, "elapsed": 60}
DECIDED = {"changed": True, "rebooted": False, "elapsed": 0, "pending": True, "reason": "it was asked for",
           "snapshot": 3, "snapshot_before": 2}
BACK = {"booted": 3, "current": 3, "default": 3, "pending": False}


class Connection:
    transport = "ssh"

    def get_option(self, name):
        raise KeyError(name)


class DoorConnection(Connection):
    """As the collection's own: into the transaction, unless told otherwise."""

    is_outside = False

    @contextlib.contextmanager
    def outside(self):
        self.is_outside = True
        yield
        self.is_outside = False


@pytest.fixture
def reboot(monkeypatch):
    """Run the action with arguments and the answers of its modules; ``calls`` are what it did, in order."""
    action = ActionModule.__new__(ActionModule)
    action.calls = []

    def core(self, _tmp, _task_vars):
        action.calls.append(f"{self.get_shutdown_command({}, {})} {self.get_shutdown_command_args(LINUX)}".strip())
        return dict(DONE)

    def run(*answers, connection=None, check_mode=False, **args):
        left = [dict(answer) for answer in answers]

        def execute(module_name, module_args, task_vars):
            action.calls.append((module_name.rsplit(".", 1)[1], module_args))
            run.check_modes.append(action._task.check_mode)
            assert getattr(action._connection, "is_outside", True)
            return left.pop(0)

        action._task = types.SimpleNamespace(args=args, check_mode=check_mode, action="microos.transactional.reboot")
        action._connection = connection or Connection()
        action._execute_module = execute
        return action.run(None, {})

    monkeypatch.setattr(CoreReboot, "run", core)
    run.calls, run.check_modes = action.calls, []
    return run


LINUX = {"name": "linux", "version": "", "family": "linux"}
FULL = 'PATH=/usr/sbin:/usr/bin:/sbin:/bin shutdown -r 0 "Reboot initiated by Ansible"'
SOFT = "PATH=/usr/sbin:/usr/bin:/sbin:/bin systemctl soft-reboot"


@pytest.mark.parametrize("method, command", [("reboot", FULL), ("soft_reboot", SOFT)])
def test_the_intended_snapshot_came_up(reboot, method, command):
    result = reboot(dict(DECIDED, method=method), BACK, method="auto")
    assert "failed" not in result
    assert result == dict(DECIDED, **DONE, method=method, pending=False, snapshot_booted=3)
    assert reboot.calls == [("reboot", {"method": "auto"}), command, ("snapshot_info", {})]


def test_a_command_of_the_user_is_for_a_full_reboot(reboot):
    reboot(dict(DECIDED, method="reboot"), BACK, reboot_command="systemctl kexec")
    assert reboot.calls[1] == "systemctl kexec"
    reboot(dict(DECIDED, method="soft_reboot"), BACK, reboot_command="systemctl kexec")
    assert reboot.calls[4] == SOFT


@pytest.mark.parametrize("decided, check_mode", [
    (dict(DECIDED, method="none", changed=False), False),
    (dict(DECIDED, method="apply", pending=False), False),
    (dict(DECIDED, method="reboot"), True),
    ({"failed": True, "msg": "a transaction is open"}, False),
    ({"unreachable": True, "msg": "gone"}, False),
])
def test_nothing_to_reboot(reboot, decided, check_mode):
    assert reboot(decided, check_mode=check_mode) == decided
    assert len(reboot.calls) == 1


def test_another_snapshot_came_up(reboot):
    result = reboot(dict(DECIDED, method="reboot"), dict(BACK, booted=2, pending=True))
    assert result["failed"]
    assert "rebooted for snapshot 3, but snapshot 2 came up" in result["msg"]


def test_the_host_cannot_tell(reboot):
    result = reboot(dict(DECIDED, method="reboot"), {"failed": True, "msg": "no snapper"})
    assert result["failed"]
    assert "could not be read: no snapper" in result["msg"]


def test_it_does_not_come_back(reboot, monkeypatch):
    monkeypatch.setattr(CoreReboot, "run", lambda *_args: dict(DONE, failed=True, msg="Timed out"))
    result = reboot(dict(DECIDED, method="soft_reboot"))
    assert result["failed"]
    assert result["msg"] == "the soft_reboot from snapshot 2 into 3 is not proved: Timed out"


@pytest.mark.parametrize("transport", ["local", "microos.transactional.local"])
def test_the_controller_is_not_rebooted(reboot, transport):
    connection = Connection()
    connection.transport = transport
    for arguments in ({}, {"method": "reboot"}, {"method": "soft_reboot"}):
        assert "would reboot the control node" in reboot(connection=connection, **arguments)["msg"]
    assert reboot.calls == []
    asked = ("reboot", {"method": "auto"})
    # asked once in check mode, before anything is prepared
    assert reboot(dict(DECIDED, method="soft_reboot"), connection=connection, method="auto")["failed"]
    assert reboot.calls == [asked]
    applied = dict(DECIDED, method="apply")
    assert reboot(applied, applied, connection=connection, method="auto") == applied
    assert reboot.calls == [asked, asked, asked]
    assert reboot.check_modes == [True, True, False]


def test_it_goes_past_the_door(reboot):
    assert reboot(dict(DECIDED, method="reboot"), BACK, connection=DoorConnection())["snapshot_booted"] == 3
