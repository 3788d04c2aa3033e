# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is asked of the host and of core, and the verdict; that a host really comes back is tried on VMs."""

from __future__ import annotations

import contextlib
import types

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action.reboot import ActionModule as CoreReboot

from ansible_collections.microos.transactional.plugins.action.reboot import ActionModule

DONE = {"changed": True, "rebooted": True, "elapsed": 60}
DECIDED = {"changed": True, "rebooted": False, "elapsed": 0, "pending": True, "reason": "it was asked for",
           "snapshot": 3, "snapshot_before": 2}
BACK = {"snapshot_booted": 3, "pending": False, "trial": {"id": "u-1", "state": "running", "boots": 1}}
ELSEWHERE = {"snapshot_booted": 2, "pending": True, "decided_by": "boot menu", "decision": "microos-2.conf was chosen",
             "trial": {"state": "none"}}
ARMED = {"id": "u-1", "state": "armed", "snapshot": 3, "previous": 2, "seconds": 100, "boot_loader": "one-shot"}
RUNNING = {"changed": False, "booted": 3, "pending": False, "trial": dict(ARMED, state="running")}
CONFIRMED = {"changed": True, "booted": 3, "pending": False, "trial": dict(ARMED, state="confirmed")}
REVERTED = {"changed": False, "booted": 2, "pending": False,
            "trial": dict(ARMED, state="reverted", reason="somebody asked for it")}


class Connection:
    transport = "ssh"

    def __init__(self):
        self._shell = types.SimpleNamespace(tmpdir="/tmp/ansible-tmp-1")

    def get_option(self, name):
        raise KeyError(name)

    def reset(self):
        pass


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
        run.test_command = self._task.args.get("test_command")
        action.calls.append(f"{self.get_shutdown_command({}, {})} {self.get_shutdown_command_args(LINUX)}".strip())
        return dict(DONE)

    def run(*answers, connection=None, check_mode=False, async_val=0, **args):
        left = list(answers)

        def execute(module_name, module_args, task_vars):
            if isinstance(left[0], Exception):
                raise left.pop(0)
            action.calls.append((module_name.rsplit(".", 1)[1], module_args))
            run.check_modes.append(action._task.check_mode)
            assert getattr(action._connection, "is_outside", True)
            return dict(left.pop(0))

        action._remove_tmp_path = lambda _path: None
        action._task = types.SimpleNamespace(args=args, check_mode=check_mode, async_val=async_val,
                                             action="microos.transactional.reboot")
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
    assert reboot.calls == [("reboot", {"method": "auto"}), command, ("reboot", {"_after": 3})]


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
    result = reboot(dict(DECIDED, method="reboot"), ELSEWHERE)
    assert result["failed"]
    assert result["decided_by"] == "boot menu"
    assert result["msg"].startswith("rebooted for snapshot 3, but snapshot 2 came up, decided by: boot menu "
                                    "(microos-2.conf was chosen).")


def armed():
    """What the host answers when it has prepared a trial; the result grows in it."""
    return dict(DECIDED, method="reboot", trial=dict(ARMED))


@pytest.fixture
def shell(monkeypatch):
    """Answers to commands; a wait costs no time."""
    answers = []

    def execute(_self, _script, sudoable):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(ActionModule, "_low_level_execute_command", execute)
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    return answers


def said(rc, *lines):
    return {"rc": rc, "stdout_lines": list(lines), "stderr": ""}


def test_a_trial_is_confirmed_when_the_host_is_well(reboot, shell):
    shell.append(said(0))
    result = reboot(armed(), BACK, CONFIRMED, trial=100)
    assert "failed" not in result
    assert result["trial"]["state"] == "confirmed"
    assert result["trial"]["boot_loader"] == "one-shot"
    assert reboot.calls[-1] == ("trial", {"state": "confirmed", "id": "u-1"})
    assert not shell


def test_a_trial_is_left_to_later_tasks(reboot, shell):
    shell.append(said(0))
    result = reboot(armed(), BACK, trial=100, confirm=False)
    assert "failed" not in result
    assert result["trial"]["state"] == "running"
    assert len(reboot.calls) == 3


def test_a_host_that_is_not_well_is_sent_back_and_seen_to_go(reboot, shell):
    shell.append(said(1, "app.service: it does not like the new library"))
    gone = {"failed": True, "msg": "Connection refused"}
    result = reboot(armed(), BACK, RUNNING, gone, REVERTED, trial=100)
    assert result["failed"]
    assert result["failed_units"] == ["app.service: it does not like the new library"]
    assert "boot-complete.target was not reached; failed units: app.service" in result["msg"]
    assert "is reverted (somebody asked for it); the host runs snapshot 2 now" in result["msg"]
    assert result["snapshot_booted"] == 2
    assert reboot.calls[3] == ("trial", {"state": "reverted", "id": "u-1"})


def test_a_host_that_went_back_by_itself(reboot, shell):
    result = reboot(armed(), dict(ELSEWHERE, pending=False, decided_by="trial", decision="nobody confirmed it"),
                    REVERTED, trial=100)
    assert result["failed"]
    assert result["trial"]["state"] == "reverted"
    assert "decided by: trial (nobody confirmed it)" in result["msg"]
    assert "drop_pending" not in result["msg"]


def test_boot_complete_is_waited_for_on_request(reboot, shell):
    shell.append(said(124))
    result = reboot(dict(DECIDED, method="reboot"), BACK, boot_complete=True, reboot_timeout=50)
    assert result["failed"]
    assert "not reached within 50 s" in result["msg"]
    assert reboot(armed(), BACK, CONFIRMED, trial=100, boot_complete=False)["trial"]["state"] == "confirmed"


def test_what_the_trial_is_tested_with_is_asked_of_its_snapshot_alone(reboot, shell):
    shell.append(said(0))
    reboot(armed(), BACK, CONFIRMED, trial=100, test_command="systemctl is-active my.service")
    assert "*/.snapshots/3/snapshot)\nsystemctl is-active my.service\n;;" in reboot.test_command
    reboot(dict(DECIDED, method="reboot"), BACK, test_command="true")
    assert reboot.test_command == "true"


LOST = AnsibleConnectionFailure("Connection closed")


def test_a_connection_that_is_lost_in_the_checks_is_made_anew(reboot, shell):
    shell += [LOST, said(0)]
    result = reboot(armed(), BACK, CONFIRMED, trial=100)
    assert "failed" not in result
    assert result["trial"]["state"] == "confirmed"


def test_a_host_that_goes_back_in_the_checks(reboot, shell):
    shell += [LOST, LOST, said(0)]
    refused = {"failed": True, "msg": "nothing can be confirmed: the trial of snapshot 3 is reverted (a check failed)"}
    result = reboot(armed(), BACK, refused, REVERTED, trial=100)
    assert result["failed"]
    assert "could not be confirmed: nothing can be confirmed" in result["msg"]
    assert result["snapshot_booted"] == 2


def test_a_host_that_is_lost_in_the_checks_without_a_trial(reboot, shell):
    shell.append(LOST)
    result = reboot(dict(DECIDED, method="reboot"), BACK, boot_complete=True)
    assert result["failed"]
    assert "the host was lost while it waited for boot-complete.target: Connection closed" in result["msg"]


def test_a_confirmation_whose_answer_is_lost(reboot, shell):
    shell.append(said(0))
    result = reboot(armed(), BACK, LOST, dict(CONFIRMED, changed=False), trial=100)
    assert not result["failed"]
    assert "msg" not in result
    assert result["trial"]["state"] == "confirmed"


KEPT = dict(CONFIRMED, pending=True, trial=dict(CONFIRMED["trial"], reason="snapshot 7 stays the default"))


@pytest.mark.parametrize("answers", [[KEPT], [LOST, dict(KEPT, changed=False)]])
def test_another_default_that_was_made_during_the_trial(reboot, shell, answers):
    shell.append(said(0))
    result = reboot(dict(armed(), warnings=["a TPM"]), BACK, *answers, trial=100)
    assert not result.get("failed")
    assert result["pending"]
    assert result["warnings"] == [
        "a TPM", "the trial of snapshot 3 is confirmed (snapshot 7 stays the default)"]


def test_what_modules_were_copied_to_is_not_used_after_the_boot(reboot):
    connection = Connection()
    reboot(dict(DECIDED, method="reboot"), BACK, connection=connection)
    assert connection._shell.tmpdir is None


def test_async_is_refused_before_anything_is_prepared(reboot):
    result = reboot(async_val=60)
    assert "takes no 'async'" in result["msg"]
    assert reboot.calls == []


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
