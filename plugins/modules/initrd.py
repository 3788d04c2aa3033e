#!/usr/bin/python
# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: initrd
short_description: What the initrd contains, in the snapshot of a transaction
version_added: 0.2.0
author:
  - microos.transactional contributors (@microos-transactional)
description:
  - Configures dracut in the snapshot of the transaction that it runs inside of, see
    M(microos.transactional.transaction), makes the initrds of its kernels anew if they do not fit, and fails if they do
    not contain what they should. So a snapshot that would not boot for want of a driver never becomes the default.
  - The configuration is C(/etc/dracut.conf.d/50-ansible-initrd.conf), as a whole. Another task with other options
    replaces it.
  - What M(microos.transactional.drivers) writes into C(/etc/modprobe.d) is in the initrds that are made, and one that
    has it otherwise is made anew. So run it behind that one.
  - Tried with dracut 106. An initrd lies in C(/boot), or beside the kernel's modules where C(sdbootutil) takes it from.
    There it stays, also with O(state=absent), as long as the kernel does. C(sdbootutil) would take the one of the
    snapshot before in its place.
options:
  state:
    description: V(absent) removes the configuration, and makes the initrds anew without it.
    type: str
    choices: [present, absent]
    default: present
  modules:
    description: Modules of dracut to add, as C(dracut --list-modules) names them.
    type: list
    elements: str
    default: []
  omit_modules:
    description: Modules of dracut to leave out.
    type: list
    elements: str
    default: []
  drivers:
    description: Kernel modules to add, by their names. Those that are built into the kernel are there already.
    type: list
    elements: str
    default: []
  omit_drivers:
    description: Kernel modules to leave out, by their names.
    type: list
    elements: str
    default: []
  files:
    description: Files of the snapshot to add, by their whole paths.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - microos.transactional._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Of the configuration.
requirements:
  - dracut in the snapshot
seealso:
  - module: microos.transactional.kernel_cmdline
"""

EXAMPLES = r"""
# Inside of a transaction
- name: Find the root file system behind that controller
  microos.transactional.initrd:
    drivers: [megaraid_sas]

- name: No configuration of ours any more
  microos.transactional.initrd:
    state: absent
"""

RETURN = r"""
images:
  description: The initrds of all kernels in the snapshot.
  type: list
  elements: str
  returned: success
  sample: [/boot/initrd-6.16.8-1-default]
rebuilt:
  description: Those that were made anew, predicted in check mode.
  type: list
  elements: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.microos.transactional.plugins.module_utils import _module
from ansible_collections.microos.transactional.plugins.module_utils._initrd import Request, ensure, validate


def main():
    names = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec={"state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
                       "modules": names, "omit_modules": names, "drivers": names, "omit_drivers": names,
                       "files": names},
        supports_check_mode=True,
    )
    wanted = Request(*(module.params[name] for name in Request._fields))

    def work(_host):
        validate(wanted)
        return ensure(wanted if module.params["state"] == "present" else Request([], [], [], [], []), module.check_mode)

    _module.run(module, work)


if __name__ == "__main__":
    main()
