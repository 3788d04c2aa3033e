#!/usr/bin/python
# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: selinux
short_description: Set up SELinux in a snapshot, in a transaction
version_added: 0.2.0
author:
  - microos.transactional contributors (@microos-transactional)
description:
  - Sets the mode and the policy that the snapshot boots with, in C(/etc/selinux/config), and what differs from the
    policy as it came - booleans, contexts of files, types of ports. Run it inside of a transaction, see
    M(microos.transactional.transaction). The running kernel gets nothing of it.
  - If SELinux was disabled, or is not active in the running kernel, and is switched on, the next boot labels all files
    anew.
  - All of booleans, contexts and ports are set, or none. They go into the store of the policy, C(/var/lib/selinux),
    which is part of no snapshot, and what is made of it into C(/etc/selinux), which is. If the transaction is aborted,
    the store keeps them, and the next change of the policy brings them into effect, unless they are taken back with
    O(state=absent) before.
  - Contexts do not change the labels of files that are there, C(restorecon) does.
  - Tried with policycoreutils 3.8.1.
options:
  state:
    description: Whether O(booleans), O(contexts) and O(ports) differ from the policy as they say, or do not differ.
    type: str
    choices: [present, absent]
    default: present
  mode:
    description:
      - Mode that the snapshot boots with. It stays as it is without.
      - Files get their labels at the first boot with SELinux. With V(disabled), an order for this that no boot
        has carried out is taken back.
    type: str
    choices: [enforcing, permissive, disabled]
  policy:
    description: Name of the policy, such as V(targeted).
    type: str
  booleans:
    description: Booleans with their values. With O(state=absent) the values do not matter.
    type: dict
    default: {}
  contexts:
    description: Types of files.
    type: list
    elements: dict
    default: []
    suboptions:
      target:
        description: Regular expression for whole paths, without spaces and quotes.
        type: str
        required: true
      type:
        description: Type that the files get.
        type: str
        required: true
      file_type:
        description:
          - Kind of files - all (V(a)), regular files (V(f)), directories (V(d)), character devices (V(c)), block
            devices (V(b)), sockets (V(s)), links (V(l)), pipes (V(p)).
        type: str
        choices: [a, f, d, c, b, s, l, p]
        default: a
  ports:
    description: Types of ports.
    type: list
    elements: dict
    default: []
    suboptions:
      port:
        description: Port, or a range such as V(8000-8010).
        type: str
        required: true
      protocol:
        description: Protocol.
        type: str
        choices: [tcp, udp, dccp, sctp]
        default: tcp
      type:
        description: Type of the port.
        type: str
        required: true
extends_documentation_fragment:
  - microos.transactional._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
requirements:
  - semanage in the snapshot, for booleans, contexts and ports
seealso:
  - module: microos.transactional.kernel_cmdline
"""

EXAMPLES = r"""
# Inside of a transaction
- name: A web server with pages and a port of its own
  microos.transactional.selinux:
    booleans:
      httpd_can_network_connect: true
    contexts:
      - target: /srv/pages(/.*)?
        type: httpd_sys_content_t
    ports:
      - port: "8088"
        type: http_port_t
"""

RETURN = r"""
mode:
  description: Mode that the snapshot boots with, as far as its configuration decides.
  type: str
  returned: success
  sample: enforcing
relabel:
  description: Whether the next boot was told to label all files anew.
  type: bool
  returned: success
customizations:
  description: What C(semanage import) was told, or would be.
  type: list
  elements: str
  returned: success
  sample: [boolean -m -1 httpd_can_network_connect]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.microos.transactional.plugins.module_utils import _module
from ansible_collections.microos.transactional.plugins.module_utils._selinux import Request, ensure, validate


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "mode": {"type": "str", "choices": ["enforcing", "permissive", "disabled"]},
            "policy": {"type": "str"},
            "booleans": {"type": "dict", "default": {}},
            "contexts": {"type": "list", "elements": "dict", "default": [], "options": {
                "target": {"type": "str", "required": True},
                "type": {"type": "str", "required": True},
                "file_type": {"type": "str", "choices": ["a", "f", "d", "c", "b", "s", "l", "p"], "default": "a"},
            }},
            "ports": {"type": "list", "elements": "dict", "default": [], "options": {
                "port": {"type": "str", "required": True},
                "protocol": {"type": "str", "choices": ["tcp", "udp", "dccp", "sctp"], "default": "tcp"},
                "type": {"type": "str", "required": True},
            }},
        },
        supports_check_mode=True,
    )
    params = module.params
    booleans = {name: module.boolean(value) for name, value in params["booleans"].items()}
    wanted = Request(params["mode"], params["policy"], booleans, params["contexts"], params["ports"],
                     params["state"] == "present")

    def work(_host):
        validate(wanted)
        return ensure(wanted, module.check_mode)

    _module.run(module, work)


if __name__ == "__main__":
    main()
