# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = """
name: local
short_description: Work in the open transaction of the controller itself
version_added: 0.2.0
author:
  - microos.transactional contributors (@microos-transactional)
description:
  - The connection P(ansible.builtin.local#connection) with all its options, but commands and files go into the
    transaction that M(microos.transactional.transaction) has opened in the same run, for a host that manages itself,
    with C(ansible-pull) for instance.
  - Without such a transaction every task fails. Nothing ever falls through to the running system.
  - A task that is delegated to a host that the play does not work on, and on which this run has not opened a
    transaction, is done on that host itself. An C(ansible_connection) of that host outweighs this.
extends_documentation_fragment:
  - microos.transactional._connection
  - microos.transactional._connection.local
  - connection_pipelining
notes:
  - The user who runs Ansible, and C(become_user), must exist in the transaction too.
"""

import os
import pwd

from ansible.plugins.connection.local import Connection as LocalConnection

from ansible_collections.microos.transactional.plugins.plugin_utils import _inside


class Connection(_inside.InsideConnection, LocalConnection):
    transport = "microos.transactional.local"

    def _configured_login(self):
        return pwd.getpwuid(os.geteuid()).pw_name

    def _without_terminal(self):
        return _inside.replaced(self, pipelining=True)
