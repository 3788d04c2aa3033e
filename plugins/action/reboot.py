# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bring the default snapshot into effect, and prove that it is the one in use.

The module of the same name decides on the host, and does there what has to be done before a reboot; the reboot itself
is core's.
"""

from __future__ import annotations

import time

from ansible.errors import AnsibleConnectionFailure
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action.reboot import ActionModule as CoreReboot

from ansible_collections.microos.transactional.plugins.plugin_utils import _decision
from ansible_collections.microos.transactional.plugins.plugin_utils._outside import outside

MODULE = "microos.transactional.reboot"
REBOOTS = ("reboot", "soft_reboot", "kexec")
# systemd knows neither a delay nor a message for these
AT_ONCE = {"soft_reboot": "soft-reboot", "kexec": "kexec"}
KEEPALIVE = "-o ServerAliveInterval=5 -o ServerAliveCountMax=3"
PATH = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
# A soft reboot keeps the boot id; the old system answers for some seconds more, with the old count.
BOOT_PROBE = f"cat /proc/sys/kernel/random/boot_id && {PATH} systemctl show --property=SoftRebootsCount"
# Starts the target if nobody has, waits for it, and has the failed units tell
BOOT_COMPLETE = """{path}; timeout {seconds} systemctl start boot-complete.target; rc=$?
for unit in $(systemctl --failed --plain --no-legend | cut -d ' ' -f 1); do
    echo "$unit: $(journalctl --boot --unit="$unit" --output=cat --lines=3 | tr '\\n' ' ')"
done
exit $rc"""
# Nothing of the snapshot on trial can be asked of another one, to which the host has gone back already
IN_SNAPSHOT = """case $({path} findmnt --noheadings --first-only --output FSROOT /) in
*/.snapshots/{number}/snapshot)
{command}
;;
esac"""


class ActionModule(CoreReboot):
    """Core's reboot, asked only when it is needed, and judged by the snapshot that comes up."""

    _VALID_ARGS = (CoreReboot._VALID_ARGS - {"boot_time_command", "search_paths"}) | {
        "force", "engine", "method", "trial", "confirm", "boot_complete", "expected_snapshot"}
    DEFAULT_BOOT_TIME_COMMAND = BOOT_PROBE

    def run(self, tmp=None, task_vars=None):
        self._supports_check_mode = True
        if getattr(self._task, "async_val", 0):  # core would say so after the host is prepared
            return {"failed": True, "msg": f"{self._task.action} waits for the host by itself and takes no 'async'"}
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
        self._forget_directory()
        start = time.monotonic()
        self._trial = result.get("trial")
        rebooted = self._reboot(tmp, task_vars)
        result.update(rebooted)
        if rebooted.get("failed"):
            result["msg"] = (f"the {self._method} from snapshot {result['snapshot_before']} into {result['snapshot']} "
                             f"is not proved: {rebooted.get('msg', 'no message')}")
        else:
            self._prove(result, task_vars)
        if self._trial:
            self._decide(result, task_vars)
            result["elapsed"] = int(time.monotonic() - start)
        return result

    def _reboot(self, tmp, task_vars):
        """Core's part. In a trial the host may be cut off at first, and come back by itself."""
        args = dict(self._task.args)
        if self._trial:
            command = args.get("test_command") or self.DEFAULT_TEST_COMMAND
            self._task.args.update(
                reboot_timeout=2 * self._patience() + self._trial["seconds"],
                test_command=IN_SNAPSHOT.format(path=PATH, number=self._trial["snapshot"], command=command))
        try:
            return super().run(tmp, task_vars)
        finally:
            self._task.args = args

    def _patience(self):
        return int(self._task.args.get("reboot_timeout", self.DEFAULT_REBOOT_TIMEOUT))

    def _option(self, name, default):
        value = self._task.args.get(name)
        return default if value is None else boolean(value)

    def _ask_host(self, task_vars):
        return self._execute_module(module_name=MODULE, module_args=dict(self._task.args), task_vars=task_vars)

    def _would_reboot(self, task_vars):
        method = self._task.args.get("method", "reboot")
        if method in ("auto", "host"):
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

    def _forget_directory(self):
        """Where modules are copied to may be gone after a boot."""
        self._remove_tmp_path(self._connection._shell.tmpdir)
        self._connection._shell.tmpdir = None

    def _prove(self, result, task_vars):
        """A success only if the host runs the snapshot it was rebooted for, and is well."""
        after = _decision.ask(self, task_vars, MODULE, _after=result["snapshot"])
        if after.get("failed") or after.get("unreachable"):
            result.update({key: after[key] for key in ("unreachable", "exception") if key in after}, failed=True, msg=(
                f"the host is back, but its snapshot could not be read: {after.get('msg')}"))
            return
        result.update({key: after[key] for key in ("snapshot_booted", "pending", "decided_by", "decision")
                       if key in after})
        if self._trial and after["trial"].get("id") == self._trial["id"]:
            result["trial"].update(after["trial"])
        if "decided_by" in after:
            result.update(failed=True, msg=(
                f"rebooted for snapshot {result['snapshot']}, but snapshot {after['snapshot_booted']} came up, decided "
                f"by: {after['decided_by']} ({after['decision']}). Repair the cause and make the change again"
                + ("; to stay, use microos.transactional.rollback with drop_pending" if after["pending"] else "")))
        elif self._option("boot_complete", bool(self._trial)):
            self._complete(result)

    def _complete(self, result):
        """What is checked after each boot has to be in order."""
        script = BOOT_COMPLETE.format(path=f"export {PATH}", seconds=self._patience())
        deadline = time.monotonic() + self._patience()
        while True:
            try:
                said = self._low_level_execute_command(script, sudoable=True)
                break
            except AnsibleConnectionFailure as exc:
                _decision.reconnect(self)
                # in a trial, one that went back meanwhile tells so when it is asked for the confirmation
                if not self._trial or time.monotonic() > deadline:
                    result.update(failed=True, msg=(f"snapshot {result['snapshot']} came up, but the host was lost "
                                                    f"while it waited for boot-complete.target: {exc}"))
                    return
                time.sleep(_decision.POLL_SECONDS)
        result["failed_units"] = said["stdout_lines"]
        if said["rc"] != 0:
            result.update(failed=True, msg=(
                f"snapshot {result['snapshot']} came up, but boot-complete.target was "
                + (f"not reached within {self._patience()} s" if said["rc"] == 124 else "not reached")
                + f"; failed units: {'; '.join(said['stdout_lines']) or said['stderr'].strip() or 'none'}"))

    def _decide(self, result, task_vars):
        """Confirm the trial or see it end: the result tells where the host is at last."""
        identity = self._trial["id"]
        was_well = not result.get("failed")
        if was_well:
            if not self._option("confirm", True):
                return
            answer = _decision.ask(self, task_vars, state="confirmed", id=identity)
            if "trial" in answer and not answer.get("failed"):
                result["trial"].update(answer["trial"])
                self._tell_of_other_default(result, answer)
                return
            result.update(failed=True, msg=f"the trial could not be confirmed: {answer.get('msg')}")
        answer = _decision.ask(self, task_vars, state="reverted", id=identity)
        answer = _decision.wait(self, task_vars, answer, identity, 2 * self._patience() + self._trial["seconds"])
        result["trial"].update(answer.get("trial", {}))
        state = result["trial"]["state"]
        if _decision.is_under_way(answer):
            result["msg"] += f". The host was not seen to go back by itself: {answer.get('msg', state)}"
            return
        result.update(snapshot_booted=answer["booted"], pending=answer["pending"])
        if was_well and state == "confirmed":  # only the word of it was lost
            result["failed"] = False
            del result["msg"]
            self._tell_of_other_default(result, answer)
            return
        if result.get("decided_by") != "trial":
            result["msg"] += (f". The trial of snapshot {result['snapshot']} is {state} "
                              f"({result['trial'].get('reason')}); the host runs snapshot {answer['booted']} now")

    def _tell_of_other_default(self, result, answer):
        """Somebody made another snapshot from the one on trial: that is what the next boot takes."""
        reason = answer["trial"].get("reason")
        if reason:
            said = f"the trial of snapshot {result['snapshot']} is confirmed ({reason})"
            result.update(pending=answer["pending"], warnings=[*result.get("warnings", []), said])

    # The hosts run systemd: what core finds out by running two more modules is known.

    def get_distribution(self, task_vars):
        return {"name": "linux", "version": "", "family": "linux"}

    def get_shutdown_command(self, task_vars, distribution):
        if self._method in AT_ONCE:
            return f"{PATH} systemctl {AT_ONCE[self._method]}"
        if self._task.args.get("reboot_command"):
            return self._task.args["reboot_command"].split(" ", 1)[0]
        return f"{PATH} shutdown"

    def get_shutdown_command_args(self, distribution):
        return "" if self._method in AT_ONCE else super().get_shutdown_command_args(distribution)

    def perform_reboot(self, task_vars, distribution):
        if self._method in AT_ONCE:
            time.sleep(self.pre_reboot_delay)
        return super().perform_reboot(task_vars, distribution)
