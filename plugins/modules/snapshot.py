#!/usr/bin/python
# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: snapshot
short_description: Describe, pin or delete a snapshot
version_added: 0.2.0
author:
  - microos.transactional contributors (@microos-transactional)
description:
  - Changes the description and the userdata of a snapshot of the root file system, protects it from snapper's cleanup,
    or deletes it. What is in a snapshot is not changed.
  - It makes no snapshot; what changes a host does, such as M(microos.transactional.package) and
    M(microos.transactional.transaction).
  - The record of an open transaction is not changed, and neither are the keys that record the making of a snapshot.
options:
  number:
    description: Number of the snapshot.
    type: int
    required: true
  state:
    description:
      - V(present) has the snapshot described as the other options say. It fails if there is no such snapshot.
      - V(absent) deletes it, and fails with the reason if it is the default, current or booted one, an open
        transaction, or what the open transaction was made from. One that is missing already is no error.
    type: str
    choices: [present, absent]
    default: present
  description:
    description: Description of the snapshot, one line.
    type: str
  userdata:
    description:
      - Keys to set in the userdata; all others stay. A key with null or an empty value is removed.
      - C(important=yes) makes snapper's cleanup count the snapshot with the important ones.
      - Keys and values have neither commas nor equals signs nor spaces around them, as snapper cannot keep those. Keys
        that begin with C(ansible-), and C(transactional-update-in-progress), are refused.
    type: dict
    default: {}
  pinned:
    description:
      - Whether snapper's cleanup leaves the snapshot alone, which is so if it has no cleanup algorithm.
      - V(false) has a pinned snapshot cleaned up by number some day. The algorithm of another one stays.
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
  - module: microos.transactional.snapshot_info
  - module: microos.transactional.snapshot_cleanup
  - module: microos.transactional.rollback
"""

EXAMPLES = r"""
- name: Look at the snapshots
  microos.transactional.snapshot_info:
  register: host

- name: Keep what runs now until further notice, and say why
  microos.transactional.snapshot:
    number: "{{ host.current }}"
    description: Certified for the audit
    userdata:
      ticket: OPS-1234
    pinned: true

- name: Let the cleanup have it again
  microos.transactional.snapshot:
    number: 12
    userdata:
      ticket: null
    pinned: false

- name: Delete a snapshot that was kept for a look
  microos.transactional.snapshot:
    number: 17
    state: absent
"""

RETURN = r"""
snapshot:
  description:
    - The snapshot as M(microos.transactional.snapshot_info) tells it, as it is now; in check mode, as it would be. Null
      with O(state=absent).
  type: dict
  returned: success
  sample: {number: 12, description: Certified for the audit, cleanup: "", userdata: {ticket: OPS-1234}}
engine:
  description: The engine that modules of this collection use on this host.
  type: str
  returned: success
snapshots:
  description: Numbers of the snapshots that there are.
  type: list
  elements: int
  returned: if there is no such snapshot
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.microos.transactional.plugins.module_utils import _module
from ansible_collections.microos.transactional.plugins.module_utils._snapshot import delete, describe
from ansible_collections.microos.transactional.plugins.module_utils._transaction import choose_engine


def main():
    module = AnsibleModule(
        argument_spec={
            "number": {"type": "int", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "description": {"type": "str"},
            "userdata": {"type": "dict", "default": {}},
            "pinned": {"type": "bool"},
            "engine": _module.ENGINE_ARGUMENT,
        },
        supports_check_mode=True,
    )
    wanted = module.params
    if wanted["state"] == "absent" and (wanted["description"] is not None or wanted["userdata"]
                                        or wanted["pinned"] is not None):
        module.fail_json(msg="description, userdata and pinned are for a snapshot that stays, not for state: absent")

    def work(host):
        engine = choose_engine(host, wanted["engine"])
        if wanted["state"] == "absent":
            result = delete(engine, wanted["number"], module.check_mode)
        else:
            result = describe(wanted["number"], wanted["description"], wanted["userdata"], wanted["pinned"],
                              module.check_mode)
        return dict(result, engine=engine.name)

    _module.run(module, work)


if __name__ == "__main__":
    main()
