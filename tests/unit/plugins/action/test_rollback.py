# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a rollback asks of the collection's reboot; the reboot itself has tests of its own."""

from __future__ import annotations

import types

import pytest

from ansible_collections.microos.transactional.plugins.plugin_utils._activate import activate

DONE = {"changed": True, "snapshot": 3, "pending": True}
REBOOTED = {"changed": True, "rebooted": True, "pending": False}


@pytest.fixture
def run():
    """The result after the activation; ``asked`` are the arguments of each reboot."""
    def run(done, activation=None, check_mode=False, defaults=(), **args):
        def get(name, task, **_kwargs):
            assert name == "microos.transactional.reboot"
            run.asked.append(task.args)
            return types.SimpleNamespace(run=lambda task_vars: dict(activation))

        task = types.SimpleNamespace(args=args, check_mode=check_mode, module_defaults=list(defaults))
        task.copy = lambda: types.SimpleNamespace(**vars(task))
        loader = types.SimpleNamespace(action_loader=types.SimpleNamespace(get=get))
        action = types.SimpleNamespace(_task=task, _connection=None, _play_context=None, _loader=None,
                                       _templar=types.SimpleNamespace(template=dict), _shared_loader_obj=loader)
        result = activate(action, dict(done), {})
        assert task.args is args  # the task itself stays as it is
        return result

    run.asked = []
    return run


@pytest.mark.parametrize("done, args", [
    (DONE, {}),
    (DONE, {"activate": "none", "trial": 60}),
    (dict(DONE, pending=False), {"activate": "reboot"}),
    ({"failed": True, "msg": "no such snapshot"}, {"activate": "reboot"}),
    ({"unreachable": True}, {"activate": "reboot"}),
])
def test_nothing_to_activate(run, done, args):
    assert run(done, to="3", **args) == done
    assert run.asked == []


def test_only_what_was_given_is_passed_on(run):
    result = run(DONE, REBOOTED, to="3", activate="auto")
    assert result == dict(DONE, pending=False, activation=REBOOTED)
    run(DONE, REBOOTED, to="3", activate="reboot", reboot_timeout=900, trial=0, engine="snapper")
    assert run.asked == [{"method": "auto"},
                         {"method": "reboot", "reboot_timeout": 900, "trial": 0, "engine": "snapper"}]


def test_defaults_of_the_reboot_are_honoured(run):
    reboot, group = "microos.transactional.reboot", "group/microos.transactional.transactional"
    defaults = [{group: {"engine": "snapper"}, reboot: {"trial": 300, "method": "kexec", "reboot_timeout": 1}},
                {reboot: {"trial": 300, "method": "kexec"}}]
    run(DONE, REBOOTED, defaults=defaults, to="3", activate="reboot")
    run(DONE, REBOOTED, defaults=defaults, to="3", activate="reboot", trial=0, engine="tukit")
    assert run.asked == [{"engine": "snapper", "trial": 300, "method": "reboot"},
                         {"engine": "tukit", "trial": 0, "method": "reboot"}]


def test_what_waits_is_activated_by_the_next_run(run):
    assert run(dict(DONE, changed=False), REBOOTED, to="3", activate="reboot")["changed"]
    assert run(dict(DONE, changed=False), check_mode=True, to="3", activate="reboot")["changed"]
    assert len(run.asked) == 1


@pytest.mark.parametrize("outcome", ["failed", "unreachable"])
def test_it_does_not_come_up(run, outcome):
    activation = {"changed": True, outcome: True, "msg": "Timed out", "pending": True}
    result = run(DONE, activation, to="3", activate="reboot")
    assert result == dict(DONE, activation=activation, msg="snapshot 3 is the default now, but: Timed out",
                          **{outcome: True})
