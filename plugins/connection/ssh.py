# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = """
name: ssh
short_description: Work in the open transaction of a host, over OpenSSH
version_added: 0.2.0
author:
  - microos.transactional contributors (@microos-transactional)
description:
  - The connection P(ansible.builtin.ssh#connection) with all its options, but commands and files go into the
    transaction that M(microos.transactional.transaction) has opened on the host in the same run.
  - Without such a transaction every task fails. Nothing ever falls through to the running system.
  - A task that is delegated to a host that the play does not work on, and on which this run has not opened a
    transaction, is done on that host itself. An C(ansible_connection) of that host outweighs this.
extends_documentation_fragment:
  - microos.transactional._connection
  - microos.transactional._connection.ssh
  - connection_pipelining
notes:
  - Pipelining saves several round trips for each task, and the transfer of the module.
  - Files are sent the way commands are. What concerns C(sftp) and C(scp) matters only for the tasks of this collection
    that work on the host itself.
  - The user who logs in, and C(become_user), must exist in the transaction too.
"""

from ansible.plugins.connection.ssh import Connection as SshConnection

from ansible_collections.microos.transactional.plugins.plugin_utils import _inside


class Connection(_inside.InsideConnection, SshConnection):
    transport = "microos.transactional.ssh"

    def _configured_login(self):
        return self.get_option("remote_user") or self._play_context.remote_user

    def _login_depends_on(self):
        options = ("host", "port", "ssh_executable", "ssh_args", "ssh_common_args", "ssh_extra_args")
        return [self.get_option(name) for name in options]

    def _without_terminal(self):
        return _inside.replaced(self, use_tty=False)
