#!/usr/bin/python
# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: disk_encryption
short_description: Check the keys of encrypted disks, and remove some but never the last
version_added: 0.2.0
author:
  - microos.transactional contributors (@microos-transactional)
description:
  - Tells which keys LUKS2 devices have, fails if kinds of keys are missing that should be there, and removes kinds that
    should not.
  - A removal is refused if it would leave no key, or only that of a TPM, which an update of the firmware can make
    useless. All devices are judged before any is changed.
  - Keys are enrolled by C(sdbootutil enroll) or C(systemd-cryptenroll), which ask for what must not be in a playbook.
  - The header of a device belongs to no snapshot. So this module works on the host itself, also while a transaction is
    open, and nothing takes back what it removes.
options:
  devices:
    description: The devices. Without any, those below the root file system.
    type: list
    elements: path
    default: []
  present:
    description: Kinds of keys that each device has to have.
    type: list
    elements: str
    choices: [password, recovery, tpm2, fido2, pkcs11]
    default: []
  pcrs:
    description:
      - The registers that a TPM has to check before it gives its key, all of them. Any if not given.
      - A key with a policy of C(systemd-pcrlock) never has them, as it is that policy that tells the registers, and not
        the device.
    type: list
    elements: int
    choices: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23]
  absent:
    description: Kinds of keys that are removed.
    type: list
    elements: str
    choices: [password, recovery, tpm2, fido2, pkcs11]
    default: []
extends_documentation_fragment:
  - microos.transactional._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
requirements:
  - cryptsetup 2.4 or later
  - systemd-cryptenroll for a removal
"""

EXAMPLES = r"""
- name: Be sure that the host starts by itself, and that somebody can get in if it does not
  microos.transactional.disk_encryption:
    present: [tpm2, recovery]
    pcrs: [7]

- name: No passwords any more
  microos.transactional.disk_encryption:
    present: [recovery]
    absent: [password]
"""

RETURN = r"""
devices:
  description: The devices, as they are now.
  type: list
  elements: dict
  returned: if they could be read
  contains:
    device:
      description: Its path.
      type: str
    keys:
      description: Its keys.
      type: list
      elements: dict
      contains:
        slot:
          description: Number of the key slot.
          type: int
        kind:
          description:
            - As in O(present), or the type of the token if somebody else's program made it.
            - V(unbound) is one that does not open the device. It counts as no key, and is not removed.
          type: str
        pcrs:
          description: The registers that the TPM checks, as far as the device tells.
          type: list
          elements: int
        pcrlock:
          description: Whether the TPM checks those of a policy of C(systemd-pcrlock).
          type: bool
        pin:
          description: Whether the TPM asks for a PIN.
          type: bool
removed:
  description: What was removed, predicted in check mode.
  type: list
  elements: str
  returned: success
  sample: ["/dev/vda2: password"]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.microos.transactional.plugins.module_utils import _module
from ansible_collections.microos.transactional.plugins.module_utils._disk_encryption import KINDS, Request, ensure
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError


def main():
    kinds = {"type": "list", "elements": "str", "choices": list(KINDS), "default": []}
    module = AnsibleModule(
        argument_spec={"devices": {"type": "list", "elements": "path", "default": []}, "present": kinds,
                       "pcrs": {"type": "list", "elements": "int", "choices": list(range(24))}, "absent": kinds},
        supports_check_mode=True,
    )
    wanted = Request(module.params["present"], module.params["pcrs"], module.params["absent"])

    def work(_host):
        both = sorted(set(wanted.present) & set(wanted.absent))
        if both:
            raise TransactionalError(f"keys are wanted and not wanted as well: {', '.join(both)}")
        return ensure(module.params["devices"], wanted, module.check_mode)

    _module.run(module, work)


if __name__ == "__main__":
    main()
