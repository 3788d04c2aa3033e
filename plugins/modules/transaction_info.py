#!/usr/bin/python
# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: transaction_info
short_description: Tell which transaction is open on a host
version_added: 0.2.0
author:
  - microos.transactional contributors (@microos-transactional)
description:
  - Tells about the open transaction of a host, whoever opened it, and what runs inside of it.
options:
  _run:
    description: Which run of Ansible this is. The action plugin sets it, no playbook does.
    type: dict
extends_documentation_fragment:
  - microos.transactional._attributes
  - microos.transactional._attributes.engine
  - action_common_attributes
  - action_common_attributes.flow
attributes:
  action:
    support: full
  async:
    support: none
  bypass_host_loop:
    support: none
  check_mode:
    support: full
  diff_mode:
    support: none
  platform:
    platforms: posix
seealso:
  - module: microos.transactional.transaction
  - module: microos.transactional.snapshot_info
"""

EXAMPLES = r"""
- name: Ask who is at work on the host
  microos.transactional.transaction_info:
  register: open

- name: Clean up after a job that was cancelled
  microos.transactional.transaction:
    state: aborted
    join: true
  when: open.transaction is not none and open.transaction.running == []
"""

RETURN = r"""
transaction:
  description: The open transaction, this run's own if it has one. Null if there is none.
  type: dict
  returned: success
  contains:
    id:
      description: Its id, which is in the userdata of its snapshot too.
      type: str
    snapshot:
      description: Number of its snapshot.
      type: int
    base:
      description: Number of the snapshot that it was made from.
      type: int
    description:
      description: Description of the snapshot.
      type: str
    since:
      description: When it was opened, in UTC.
      type: str
    provenance:
      description: What is recorded about its making, such as C(play), C(user) and C(controller).
      type: dict
    alive:
      description: Whether it can still be entered.
      type: bool
    own:
      description: Whether it belongs to this run.
      type: bool
    view:
      description: Whether it is a mere view, for check mode.
      type: bool
    running:
      description: Processes that run inside.
      type: list
      elements: str
pending:
  description: Whether the default snapshot differs from the current one, so that a reboot would change something.
  type: bool
  returned: success
engine:
  description: The engine of the host.
  type: str
  returned: success
  sample: tukit
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.microos.transactional.plugins.module_utils import _module
from ansible_collections.microos.transactional.plugins.module_utils._run_transaction import RunTransaction


def main():
    module = AnsibleModule(
        argument_spec={"engine": _module.ENGINE_ARGUMENT, "_run": {"type": "dict"}},
        supports_check_mode=True,
    )
    _module.run(module, lambda host: RunTransaction(host, module.params["engine"], module.params["_run"]["key"]).info())


if __name__ == "__main__":
    main()
