#!/usr/bin/python
# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: firmware_info
short_description: Tell which packages have the firmware that this hardware needs
version_added: 0.2.0
author:
  - microos.transactional contributors (@microos-transactional)
description:
  - Finds the packages with firmware and microcode that are for the devices of the host, by the C(modalias) of the
    devices and what the packages say themselves, C(Supplements modalias(...\)). Installed packages are listed too.
  - Also finds the files that the kernel asked for since the boot and did not get, and the packages that say they have
    them, C(Provides firmware(...\)).
  - The repositories are read as they were refreshed last. Tried with zypper 1.14.89.
options:
  names:
    description: Names of packages to take into account, as shell patterns. Drivers say what they are for as well.
    type: list
    elements: str
    default: [kernel-firmware-*, ucode-*, "*-firmware", firmware-*]
extends_documentation_fragment:
  - microos.transactional._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
seealso:
  - module: microos.transactional.package
"""

EXAMPLES = r"""
- name: What does this hardware need?
  microos.transactional.firmware_info:
  register: hardware

- name: Have it
  microos.transactional.package:
    name: "{{ hardware.packages | map(attribute='name') }}"
"""

RETURN = r"""
packages:
  description: The packages, by name.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: Name of the package.
      type: str
      sample: kernel-firmware-iwlwifi
    modaliases:
      description: The devices that it is for.
      type: list
      elements: str
    files:
      description: The files in it that the kernel did not find.
      type: list
      elements: str
missing:
  description: Files that the kernel did not find, and that no package says it has.
  type: list
  elements: str
  returned: success
  sample: [regulatory.db]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.microos.transactional.plugins.module_utils import _module
from ansible_collections.microos.transactional.plugins.module_utils._firmware import look

NAMES = ["kernel-firmware-*", "ucode-*", "*-firmware", "firmware-*"]


def main():
    module = AnsibleModule(
        argument_spec={"names": {"type": "list", "elements": "str", "default": NAMES}}, supports_check_mode=True)
    _module.run(module, lambda _host: look(module.params["names"]))


if __name__ == "__main__":
    main()
