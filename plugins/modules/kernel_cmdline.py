#!/usr/bin/python
# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kernel_cmdline
short_description: Arguments of the kernel, in the snapshot of a transaction
version_added: 0.2.0
author:
  - microos.transactional contributors (@microos-transactional)
description:
  - Adds, replaces and removes arguments of the kernel in the snapshot of the transaction that it runs inside of, see
    M(microos.transactional.transaction). Several tasks in one transaction add up.
  - With GRUB it edits C(GRUB_CMDLINE_LINUX_DEFAULT) and C(GRUB_CMDLINE_LINUX) in C(/etc/default/grub), and makes
    C(/boot/grub2/grub.cfg) with C(grub2-mkconfig).
  - With boot entries as in the Boot Loader Specification (systemd-boot, GRUB BLS) it edits C(/etc/kernel/cmdline). The
    entries of the snapshot are written from it when the transaction closes, and those of older snapshots stay.
  - Arguments that find the system, such as C(root) and C(rootflags), are refused.
  - The running kernel gets them with the reboot. O(state=verified) tells then whether it did.
options:
  state:
    description:
      - V(present) makes the snapshot have the arguments as told.
      - V(verified) changes nothing. It fails unless C(/proc/cmdline) is as told. It runs outside of a transaction.
    type: str
    choices: [present, verified]
    default: present
  present:
    description:
      - Arguments to have, C(key) or C(key=value). Others with the same key stay, as in C(console=tty0 console=ttyS0).
    type: list
    elements: str
    default: []
  replaced:
    description: Arguments to have as the only ones with their key. A former value is replaced at its place.
    type: list
    elements: str
    default: []
  absent:
    description: Arguments not to have. C(key) stands for all with that key, C(key=value) for this one.
    type: list
    elements: str
    default: []
  loader:
    description: What starts the host, V(grub) with its own configuration, or boot entries V(bls). By default found out.
    type: str
    choices: [auto, grub, bls]
    default: auto
extends_documentation_fragment:
  - microos.transactional._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
seealso:
  - module: microos.transactional.reboot
notes:
  - Spaces, quotes and characters that a shell takes as its own cannot be part of an argument.
  - A soft-reboot keeps the running kernel and its arguments.
"""

EXAMPLES = r"""
# Inside of a transaction
- name: Reboot after a panic, and no other value of it
  microos.transactional.kernel_cmdline:
    replaced: [panic=10]
    absent: [quiet]

- name: Two consoles
  microos.transactional.kernel_cmdline:
    present: [console=tty0, "console=ttyS0,115200"]

# After the reboot, outside
- name: Did the kernel get it
  microos.transactional.kernel_cmdline:
    state: verified
    replaced: [panic=10]
    absent: [quiet]
"""

RETURN = r"""
cmdline:
  description: The arguments of the snapshot, predicted in check mode, or those of the running kernel.
  type: str
  returned: always
  sample: root=UUID=6d9b0d3c panic=10
loader:
  description: What starts the host.
  type: str
  returned: with O(state=present)
  sample: bls
entries:
  description:
    - Files that will carry the arguments. Boot entries are written when the transaction closes, and are named here as
      those that exist; a kernel that the transaction installs has one of its own.
  type: list
  elements: str
  returned: with O(state=present)
  sample: [/boot/efi/loader/entries/opensuse-microos-6.16.8-1-default-3.conf]
snapshot:
  description: Number of the snapshot.
  type: int
  returned: with O(state=present)
  sample: 3
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.microos.transactional.plugins.module_utils import _module
from ansible_collections.microos.transactional.plugins.module_utils._kernel_arguments import Request, validate
from ansible_collections.microos.transactional.plugins.module_utils._kernel_cmdline import ensure, verify


def main():
    arguments = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "verified"], "default": "present"},
            "present": arguments,
            "replaced": arguments,
            "absent": arguments,
            "loader": {"type": "str", "choices": ["auto", "grub", "bls"], "default": "auto"},
        },
        supports_check_mode=True,
    )
    request = Request(*(module.params[name] for name in Request._fields))

    def work(_host):
        validate(request)
        if module.params["state"] == "verified":
            return verify(request)
        return ensure(request, module.params["loader"], module.check_mode)

    _module.run(module, work)


if __name__ == "__main__":
    main()
