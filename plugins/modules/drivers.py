#!/usr/bin/python
# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: drivers
short_description: Prove that kernel modules fit the kernel of the snapshot, in a transaction
version_added: 0.2.0
author:
  - microos.transactional contributors (@microos-transactional)
description:
  - Fails unless the kernel that the snapshot will boot takes the kernel modules that are wanted. Run inside of a
    transaction, see M(microos.transactional.transaction), it keeps a snapshot whose driver does not fit its kernel from
    ever becoming the default. No module is loaded.
  - A module fits if its C(vermagic) is that of the kernel's own modules. If it was built for another kernel, as with
    the weak updates of kernel module packages, all symbols that it uses have to have the version that the kernel's
    C(symvers.gz) tells.
  - Also writes a file in C(/etc/modprobe.d), as a whole. Another task with the same O(name) replaces it.
  - The kernel is the one that C(/boot/vmlinuz) leads to, else the newest one that has modules. Tried with kmod 34.
options:
  name:
    description: What the file is for, C(/etc/modprobe.d/50-ansible-NAME.conf).
    type: str
    default: drivers
  modules:
    description: Kernel modules that have to be there and to fit, by their names. Those that are built in do.
    type: list
    elements: str
    default: []
  blacklist:
    description: Kernel modules that are not loaded because of the hardware that is found.
    type: list
    elements: str
    default: []
  options:
    description: Options of kernel modules, each a text such as V(numdummies=2), by the names of the modules.
    type: dict
    default: {}
extends_documentation_fragment:
  - microos.transactional._attributes
attributes:
  check_mode:
    support: full
    details: Modules whose packages are not installed yet are told in RV(unproved), and no error.
  diff_mode:
    support: full
    details: Of the configuration.
requirements:
  - kmod in the snapshot
seealso:
  - module: microos.transactional.initrd
  - module: microos.transactional.package
"""

EXAMPLES = r"""
# Inside of a transaction
- name: Install a driver
  microos.transactional.package:
    name: drbd-kmp-default

- name: Never boot a kernel that does not take it
  microos.transactional.drivers:
    modules: [drbd]
"""

RETURN = r"""
kernel:
  description: Version of the kernel that the snapshot boots.
  type: str
  returned: always, if the snapshot has one
  sample: 6.16.8-1-default
drivers:
  description: The modules, as that kernel finds them.
  type: list
  elements: dict
  returned: always, if the snapshot has a kernel
  contains:
    name:
      description: The name that was asked for.
      type: str
    path:
      description: The file, or C((builtin\)).
      type: str
    package:
      description: The package of the file.
      type: str
    vermagic:
      description: What it was built for.
      type: str
    version:
      description: Its own version, empty if it does not tell.
      type: str
unproved:
  description: What would be an error outside of check mode.
  type: list
  elements: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.microos.transactional.plugins.module_utils import _module
from ansible_collections.microos.transactional.plugins.module_utils._drivers import Request, ensure, validate


def main():
    names = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec={"name": {"type": "str", "default": "drivers"}, "modules": names, "blacklist": names,
                       "options": {"type": "dict", "default": {}}},
        supports_check_mode=True,
    )
    options = {name: str(text) for name, text in module.params["options"].items()}
    wanted = Request(module.params["name"], module.params["modules"], module.params["blacklist"], options)

    def work(_host):
        validate(wanted)
        return ensure(wanted, module.check_mode)

    _module.run(module, work)


if __name__ == "__main__":
    main()
