# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Actions that concern the host itself, also where the play's connection leads into a transaction.

Note that this plugin util is PRIVATE to the collection.
"""

from __future__ import annotations

import contextlib

from ansible.plugins.action import ActionBase


def outside(connection):
    """A context in which a connection leads to the host itself."""
    return connection.outside() if hasattr(connection, "outside") else contextlib.nullcontext()


class OutsideAction(ActionBase):
    """Runs the module of the same name on the host itself."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        with outside(self._connection):
            return dict(result, **self._execute_module(module_args=self.arguments(), task_vars=task_vars))

    def arguments(self):
        """What the module is given."""
        return self._task.args
