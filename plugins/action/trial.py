# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module of this name, on the host itself; and the wait until a host that is sent back is there."""

from __future__ import annotations

from ansible_collections.microos.transactional.plugins.plugin_utils import _decision
from ansible_collections.microos.transactional.plugins.plugin_utils._outside import OutsideAction, outside

TIMEOUT = 600


class ActionModule(OutsideAction):
    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        if result.get("failed") or not result["changed"] or self._task.check_mode \
                or self._task.args["state"] != "reverted":
            return result
        seconds = int(self._task.args.get("timeout", TIMEOUT))
        with outside(self._connection):
            answer = _decision.wait(self, task_vars, result, result["trial"]["id"], seconds)
        if _decision.is_under_way(answer):
            result.update(failed=True, msg=(
                f"the host was told to go back to snapshot {result['trial']['previous']}, but was not seen to do so "
                f"within {seconds} s: {answer.get('msg') or answer['trial']['state']}"))
        return dict(result, **{key: answer[key] for key in ("trial", "booted", "pending") if key in answer})
