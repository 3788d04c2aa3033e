# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bring the default snapshot into effect, and prove that it is the one in use.

The module of the same name decides on the host, and does there what has to be done before a reboot; the reboot itself
is core's.
"""

from __future__ import annotations

import time

from ansible.plugins.action.reboot import ActionModule as CoreReboot

from ansible_collections.microos.transactional.plugins.plugin_utils._outside import outside

MODULE = "microos.transactional.reboot"
INFO = "microos.transactional.snapshot_info"
REBOOTS = ("reboot", "soft_reboot")
KEEPALIVE = "-o ServerAliveInterval=5 -o ServerAliveCountMax=3"
PATH = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
# A soft reboot keeps the boot id; the old system answers for some seconds more, with the old count.
BOOT_PROBE = f"cat /proc/sys/kernel/random/boot_id && {PATH} systemctl show --property=SoftRebootsCount"


class ActionModule(CoreReboot):
    """Core's reboot, asked only when it is needed, and judged by the snapshot that comes up."""

    _VALID_ARGS = (CoreReboot._VALID_ARGS - {"boot_time_command", "search_paths"}) | {"force", "engine", "method"}
    DEFAULT_BOOT_TIME_COMMAND = BOOT_PROBE

    def run(self, tmp=None, task_vars=None):
        self._supports_check_mode = True
        with outside(self._connection):
            return self._activate(tmp, task_vars or {})

    def _activate(self, tmp, task_vars):
        # the collection's own connection to the controller has a name of its own
        if self._connection.transport.rpartition(".")[2] == "local" and self._would_reboot(task_vars):
            return {"changed": False, "rebooted": False, "elapsed": 0, "failed": True,
                    "msg": f"Running {self._task.action} with local connection would reboot the control node."}
        result = self._ask_host(task_vars)
        self._method = result.get("method")
        if result.get("failed") or self._task.check_mode or self._method not in REBOOTS:
            return result

        self._notice_dead_connections()
        rebooted = super().run(tmp, task_vars)
        result.update(rebooted)
        if rebooted.get("failed"):
            result["msg"] = (f"the {self._method} from snapshot {result['snapshot_before']} into {result['snapshot']} "
                             f"is not proved: {rebooted.get('msg', 'no message')}")
            return result
        return self._prove(result, self._execute_module(module_name=INFO, module_args={}, task_vars=task_vars))

    def _ask_host(self, task_vars):
        return self._execute_module(module_name=MODULE, module_args=dict(self._task.args), task_vars=task_vars)

    def _would_reboot(self, task_vars):
        method = self._task.args.get("method", "reboot")
        if method == "auto":
            wanted, self._task.check_mode = self._task.check_mode, True
            method = self._ask_host(task_vars).get("method")
            self._task.check_mode = wanted
        return method in REBOOTS

    def _notice_dead_connections(self):
        """Let ssh give up on a connection that the host went away from: without a farewell it would wait for ever."""
        try:
            extra = self._connection.get_option("ssh_extra_args") or ""
        except KeyError:  # not OpenSSH
            return
        self._connection.set_option("ssh_extra_args", f"{extra} {KEEPALIVE}")
        self._connection.reset()

    def _prove(self, result, after):
        """A success only if the host runs the snapshot it was rebooted for."""
        if after.get("failed") or after.get("unreachable"):
            result.update({key: after[key] for key in ("unreachable", "exception") if key in after}, failed=True, msg=(
                f"the host is back, but its snapshot could not be read: {after.get('msg')}"))
            return result
        result["snapshot_booted"] = after["booted"]
        result["pending"] = after["pending"]
        if after["booted"] != result["snapshot"]:
            result.update(failed=True, msg=(
                f"rebooted for snapshot {result['snapshot']}, but snapshot {after['booted']} came up. The boot loader "
                "or a health check on the host went back: see 'journalctl -b -1', 'bootctl list' or the boot menu. "
                "Either stay (microos.transactional.rollback with drop_pending) or repair the cause and reboot again"))
        return result

    # The hosts run systemd: what core finds out by running two more modules is known.

    def get_distribution(self, task_vars):
        return {"name": "linux", "version": "", "family": "linux"}

    def get_shutdown_command(self, task_vars, distribution):
        if self._method == "soft_reboot":
            return f"{PATH} systemctl soft-reboot"
        if self._task.args.get("reboot_command"):
            return self._task.args["reboot_command"].split(" ", 1)[0]
        return f"{PATH} shutdown"

    def get_shutdown_command_args(self, distribution):
        return "" if self._method == "soft_reboot" else super().get_shutdown_command_args(distribution)

    def perform_reboot(self, task_vars, distribution):
        if self._method == "soft_reboot":  # systemd knows no delay for it
            time.sleep(self.pre_reboot_delay)
        return super().perform_reboot(task_vars, distribution)
