# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reboot into the default snapshot and prove that it is the one that booted."""

from __future__ import annotations

from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action.reboot import ActionModule as CoreReboot

KEEPALIVE = "-o ServerAliveInterval=5 -o ServerAliveCountMax=3"
STATE = ("booted", "current", "default", "pending")


class ActionModule(CoreReboot):
    """Core's reboot, asked only when something is pending, and judged by the snapshot that comes up."""

    _VALID_ARGS = (CoreReboot._VALID_ARGS - {"boot_time_command", "search_paths"}) | {"force", "engine"}

    def run(self, tmp=None, task_vars=None):
        task_vars = task_vars or {}
        self._supports_check_mode = True
        # A connection to the controller itself would reboot the controller: core's own refusal.
        if self._connection.transport == "local":
            return super().run(tmp, task_vars)

        before = self._state(task_vars)
        if before.get("failed"):
            return before
        wanted = before["default"]
        result = {"changed": False, "rebooted": False, "elapsed": 0, "snapshot": wanted,
                  "snapshot_before": before["booted"]}
        if not before["pending"] and not boolean(self._task.args.get("force", False)):
            return result
        result["changed"] = True
        if self._task.check_mode:
            return result

        self._notice_dead_connections()
        rebooted = super().run(tmp, task_vars)
        result.update(rebooted)
        if rebooted.get("failed"):
            result["msg"] = (f"the reboot from snapshot {before['booted']} into {wanted} is not proved: "
                             f"{rebooted.get('msg', 'no message')}")
            return result
        return self._prove(result, self._state(task_vars))

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
        if after.get("failed"):
            after["msg"] = f"the host is back, but its snapshot could not be read: {after.get('msg')}"
            return dict(result, **after)
        result["snapshot_booted"] = after["booted"]
        if after["booted"] != result["snapshot"]:
            result.update(failed=True, msg=(
                f"rebooted for snapshot {result['snapshot']}, but snapshot {after['booted']} came up. The boot loader "
                "or a health check on the host went back: see 'journalctl -b -1', 'bootctl list' or the boot menu. "
                "Either stay (microos.transactional.rollback with drop_pending) or repair the cause and reboot again"))
        return result

    def _state(self, task_vars):
        """Booted, current and default snapshot as the host sees them, or the failed result of asking."""
        args = {"engine": self._task.args["engine"]} if "engine" in self._task.args else {}
        info = self._execute_module(module_name="microos.transactional.snapshot_info", module_args=args,
                                    task_vars=task_vars)
        if info.get("failed") or info.get("unreachable"):
            return dict(info, failed=True)
        return {key: info[key] for key in STATE}

    # The hosts run systemd: what core finds out by running two more modules is known.

    def get_distribution(self, task_vars):
        return {"name": "linux", "version": "", "family": "linux"}

    def get_shutdown_command(self, task_vars, distribution):
        if self._task.args.get("reboot_command"):
            return self._task.args["reboot_command"].split(" ", 1)[0]
        return "PATH=/usr/sbin:/usr/bin:/sbin:/bin shutdown"
