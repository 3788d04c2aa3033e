#!/usr/bin/python
# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rollback
short_description: Make another snapshot the default
version_added: 0.1.0
author:
  - microos.transactional contributors (@microos-transactional)
description:
  - Makes an existing snapshot the default, or drops what is pending. A rollback takes effect at the next boot, see
    M(microos.transactional.reboot); dropping what is pending needs none.
  - No snapshot is deleted. Data outside the root file system, such as C(/var) and C(/home), is not rolled back.
options:
  to:
    description:
      - The number of a snapshot, or V(previous) for the snapshot that the current one was made from. Where that is not
        recorded or the snapshot is gone, V(previous) means the newest complete snapshot with a lower number.
      - On a host with a read-write root a read-only snapshot gets a read-write copy, which becomes the default.
    type: str
  drop_pending:
    description: Make the current snapshot the default again, so that the next boot changes nothing.
    type: bool
extends_documentation_fragment:
  - microos.transactional._attributes
  - microos.transactional._attributes.engine
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
seealso:
  - module: microos.transactional.reboot
  - module: microos.transactional.snapshot_info
"""

EXAMPLES = r"""
- name: Forget the changes that wait for a reboot
  microos.transactional.rollback:
    drop_pending: true

- name: Go back to what was there before the last change
  microos.transactional.rollback:
    to: previous

- name: Go back to a certain snapshot
  microos.transactional.rollback:
    to: 12

- name: Bring the rollback into effect
  microos.transactional.reboot:
"""

RETURN = r"""
snapshot:
  description: Number of the snapshot that is the default now; in check mode, the one that would be.
  type: int
  returned: success
  sample: 12
previous_default:
  description: Number of the snapshot that was the default before.
  type: int
  returned: success
  sample: 14
current:
  description: Number of the snapshot that is in use now.
  type: int
  returned: success
  sample: 14
pending:
  description: Whether the default differs from the current snapshot, so that a reboot is needed.
  type: bool
  returned: success
engine:
  description: The engine that was used.
  type: str
  returned: success
  sample: tukit
snapshots:
  description: Numbers of the snapshots that can be rolled back to.
  type: list
  elements: int
  returned: if the wanted snapshot does not exist or was never completed
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.microos.transactional.plugins.module_utils import _module
from ansible_collections.microos.transactional.plugins.module_utils._rollback import rollback
from ansible_collections.microos.transactional.plugins.module_utils._transaction import choose_engine


def main():
    module = AnsibleModule(
        argument_spec={
            "to": {"type": "str"},
            "drop_pending": {"type": "bool"},
            "engine": _module.ENGINE_ARGUMENT,
        },
        mutually_exclusive=[("to", "drop_pending")],
        required_one_of=[("to", "drop_pending")],
        supports_check_mode=True,
    )
    wanted = module.params
    if wanted["drop_pending"] is False:
        module.fail_json(msg="drop_pending: false asks for nothing; give 'to' or 'drop_pending: true'")
    to = "current" if wanted["drop_pending"] else wanted["to"]
    _module.run(module, lambda host: rollback(choose_engine(host, wanted["engine"]), to, module.check_mode))


if __name__ == "__main__":
    main()
