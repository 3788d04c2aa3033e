#!/usr/bin/python
# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: snapshot_info
short_description: List the snapshots of a transactional host
version_added: 0.1.0
author:
  - microos.transactional contributors (@microos-transactional)
description:
  - Tells all snapshots of the root file system, which of them is booted, current and default, and whether something is
    pending.
options:
  used_space:
    description: Also tell how much space each snapshot uses alone. Needs quota on the file system, and takes time.
    type: bool
    default: false
extends_documentation_fragment:
  - microos.transactional._attributes
  - microos.transactional._attributes.engine
attributes:
  check_mode:
    support: full
    details: This module only reads.
  diff_mode:
    support: none
seealso:
  - module: microos.transactional.rollback
"""

EXAMPLES = r"""
- name: Look at the snapshots
  microos.transactional.snapshot_info:
  register: host

- name: Say what waits for a reboot
  ansible.builtin.debug:
    msg: "Snapshot {{ host.default }} is pending."
  when: host.pending
"""

RETURN = r"""
snapshots:
  description: All snapshots, lowest number first, with every field that snapper has.
  type: list
  elements: dict
  returned: success
  contains:
    number:
      description: Number of the snapshot.
      type: int
    type:
      description: V(single), V(pre) or V(post).
      type: str
    pre_number:
      description: Number of the snapshot before, for the type V(post).
      type: int
    post_number:
      description: Number of the snapshot after, for the type V(pre).
      type: int
    date:
      description: When it was made, UTC.
      type: str
      sample: "2026-01-31 04:12:00"
    post_date:
      description: When the snapshot after was made, UTC, for the type V(pre).
      type: str
    user:
      description: Who made it.
      type: str
    cleanup:
      description: Cleanup algorithm, empty if the cleanup leaves it alone.
      type: str
    description:
      description: Description.
      type: str
    userdata:
      description: Userdata; keys of this collection begin with C(ansible-).
      type: dict
    used_space:
      description: Space in bytes that only this snapshot uses, null where it is not known.
      type: int
      returned: with O(used_space=true)
    default:
      description: Whether the next boot uses it.
      type: bool
    active:
      description: Whether it is mounted as the root file system.
      type: bool
    read_only:
      description: Whether it is read-only.
      type: bool
booted:
  description: Number of the snapshot that is mounted as the root file system.
  type: int
  returned: success
current:
  description:
    - Number of the snapshot that is in use, the one mounted at C(/usr). Differs from RV(booted) after a live C(apply).
  type: int
  returned: success
default:
  description: Number of the snapshot that the next boot uses.
  type: int
  returned: success
pending:
  description: Whether the default differs from the current snapshot, so that a reboot would change something.
  type: bool
  returned: success
reboot_needed:
  description:
    - What C(/run/reboot-needed) says, V(none), V(soft-reboot), V(kexec), V(reboot), or nothing. Null if there is no
      such file.
    - It is written by transactional-update and libzypp, not by C(tukit) or this collection; RV(pending) is what counts.
  type: str
  returned: success
transaction:
  description:
    - The transaction that is open on the host, as M(microos.transactional.transaction) tells it. Null if there is none.
  type: dict
  returned: success
engine:
  description: The engine that modules of this collection use on this host.
  type: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.microos.transactional.plugins.module_utils import _module
from ansible_collections.microos.transactional.plugins.module_utils._activation import open_transaction
from ansible_collections.microos.transactional.plugins.module_utils._host import reboot_needed
from ansible_collections.microos.transactional.plugins.module_utils._tools import snapper
from ansible_collections.microos.transactional.plugins.module_utils._transaction import choose_engine


def main():
    module = AnsibleModule(
        argument_spec={
            "used_space": {"type": "bool", "default": False},
            "engine": _module.ENGINE_ARGUMENT,
        },
        supports_check_mode=True,
    )

    def work(host):
        default = host.default()
        transaction = open_transaction()
        return {
            "changed": False, "engine": choose_engine(host, module.params["engine"]).name,
            "snapshots": snapper.snapshots(module.params["used_space"]),
            "booted": host.booted, "current": host.current, "default": default, "pending": default != host.current,
            "reboot_needed": reboot_needed(),
            "transaction": transaction.details if transaction else None}

    _module.run(module, work)


if __name__ == "__main__":
    main()
