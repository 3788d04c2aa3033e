# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bring the default snapshot into effect after a module, by the collection's own reboot.

Note that this plugin util is PRIVATE to the collection.
"""

from __future__ import annotations

REBOOT = "microos.transactional.reboot"
GROUP = "group/microos.transactional.transactional"
PASSED_ON = ("engine", "reboot_timeout", "trial")


def reboot_defaults(action):
    """What ``module_defaults`` say for the reboot; those of the group count less than those of the module."""
    layers = {}
    for layer in action._task.module_defaults or []:
        layers.update(layer)
    return {option: value for name in (GROUP, REBOOT)
            for option, value in action._templar.template(layers.get(name) or {}).items()}


def activate(action, result, task_vars):
    """The result of ``action``, after what its task asks for by ``activate``."""
    arguments = action._task.args
    method = arguments.get("activate") or "none"
    if result.get("failed") or result.get("unreachable") or method == "none" or not result["pending"]:
        return result
    if action._task.check_mode:
        return dict(result, changed=True)
    task = action._task.copy()
    given = {name: arguments[name] for name in PASSED_ON if arguments.get(name) is not None}
    task.args = dict(reboot_defaults(action), **dict(given, method=method))
    loader = action._shared_loader_obj.action_loader
    reboot = loader.get(REBOOT, task=task, connection=action._connection, play_context=action._play_context,
                        loader=action._loader, templar=action._templar, shared_loader_obj=action._shared_loader_obj)
    activation = reboot.run(task_vars=task_vars)
    result.update({name: activation[name] for name in ("failed", "unreachable", "exception", "pending")
                   if name in activation})
    if activation.get("failed") or activation.get("unreachable"):
        result["msg"] = f"snapshot {result['snapshot']} is the default now, but: {activation.get('msg')}"
    return dict(result, changed=result["changed"] or activation.get("changed", False), activation=activation)
