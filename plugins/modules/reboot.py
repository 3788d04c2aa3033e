#!/usr/bin/python
# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: reboot
short_description: Bring the default snapshot into effect and prove it
version_added: 0.1.0
author:
  - microos.transactional contributors (@microos-transactional)
description:
  - Reboots the host if the default snapshot differs from the current one, waits until it is back, and succeeds only
    if the default snapshot is the one that booted. There are quicker ways than a full reboot, see O(method).
  - Without anything pending it does nothing, see O(force).
  - Fails while a transaction is open on the host.
options:
  method:
    description:
      - How the default snapshot comes into effect.
      - V(reboot) is a full reboot.
      - V(soft_reboot) ends all of the userspace and starts that of the default snapshot, under the kernel that runs
        already. Needs systemd 254 or later, and the modules of the running kernel in the default snapshot.
      - V(apply) is the C(apply) of transactional-update 4.2 or later, on hosts that have it. It mounts C(/usr), C(/etc)
        and C(/boot) of the default snapshot over those of the running system; no service is restarted.
      - V(auto) is the least of these that the change needs, and V(reboot) in doubt. V(reboot) if kernel, initrd, boot
        loader, firmware or kernel options differ, if a package that differs declares C(installhint(reboot-needed\)), or
        if C(/run/reboot-needed) asks for a reboot. Else V(soft_reboot), unless all differences are files that were
        added where nothing that runs looks for them; those need V(apply) only. What the host does not offer is skipped,
        and so is V(soft_reboot) where tukit.conf has C(REBOOT_ALLOW_SOFT_REBOOT=false).
      - V(none) does nothing, and tells whether something is pending.
    type: str
    choices: [auto, reboot, soft_reboot, apply, none]
    default: reboot
    version_added: 0.2.0
  force:
    description:
      - Reboot even if nothing is pending. Then O(method=auto) is a full reboot, and O(method=apply) does nothing.
    type: bool
    default: false
  reboot_timeout:
    description: Seconds to wait for the host to come back and, once more, for O(test_command) to succeed.
    type: int
    default: 600
  connect_timeout:
    description: Seconds to wait for one connection while the host reboots, instead of the connection plugin's own time.
    type: int
  pre_reboot_delay:
    description: Seconds to wait before the reboot; before a full reboot rounded down to full minutes.
    type: int
    default: 0
  post_reboot_delay:
    description: Seconds to wait after the reboot was started before the host is asked for the first time.
    type: int
    default: 0
  msg:
    description: What users who are logged in read before a full reboot.
    type: str
    default: Reboot initiated by Ansible
  test_command:
    description: Command that has to succeed on the host before it counts as back.
    type: str
    default: whoami
  reboot_command:
    description: Command for a full reboot, instead of C(shutdown -r).
    type: str
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
notes:
  - Over a connection to the controller itself, V(reboot) and V(soft_reboot) are refused, V(auto) if it comes to them.
seealso:
  - module: ansible.builtin.reboot
  - module: microos.transactional.rollback
  - module: microos.transactional.transaction
"""

EXAMPLES = r"""
- name: Bring what is pending into effect, if anything is
  microos.transactional.reboot:

- name: Reboot in any case, and wait until a service of the host answers
  microos.transactional.reboot:
    force: true
    test_command: systemctl is-active my.service

- name: Disturb the host no more than the change needs
  microos.transactional.reboot:
    method: auto
"""

RETURN = r"""
method:
  description:
    - How the default snapshot came into effect; in check mode, how it would. V(none) if nothing was done.
  type: str
  returned: if the host could be asked
  sample: soft_reboot
reason:
  description: Why it is this method.
  type: str
  returned: if the host could be asked
  sample: running programs would not notice /usr/bin/hello
pending:
  description: Whether the default snapshot still waits to come into effect.
  type: bool
  returned: if the host could be asked
rebooted:
  description: Whether the host was rebooted, in full or softly.
  type: bool
  returned: always
elapsed:
  description: Seconds from the start of the reboot until the host was back, or that the C(apply) took.
  type: int
  returned: always
snapshot:
  description: Number of the snapshot that is brought into effect, the default one.
  type: int
  returned: if the host could be asked
  sample: 2
snapshot_before:
  description: Number of the snapshot that was in use before.
  type: int
  returned: if the host could be asked
  sample: 1
snapshot_booted:
  description: Number of the snapshot that came up.
  type: int
  returned: after a reboot
  sample: 2
holder:
  description: The transaction that is open, as M(microos.transactional.transaction) tells it.
  type: dict
  returned: if it failed because of an open transaction
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.microos.transactional.plugins.module_utils import _module
from ansible_collections.microos.transactional.plugins.module_utils._activation import activate
from ansible_collections.microos.transactional.plugins.module_utils._transaction import choose_engine


def main():
    """The part on the host; the rest is the action plugin's."""
    module = AnsibleModule(
        argument_spec={
            "method": {"type": "str", "choices": ["auto", "reboot", "soft_reboot", "apply", "none"],
                       "default": "reboot"},
            "force": {"type": "bool", "default": False},
            "reboot_timeout": {"type": "int", "default": 600},
            "connect_timeout": {"type": "int"},
            "pre_reboot_delay": {"type": "int", "default": 0},
            "post_reboot_delay": {"type": "int", "default": 0},
            "msg": {"type": "str", "default": "Reboot initiated by Ansible"},
            "test_command": {"type": "str", "default": "whoami"},
            "reboot_command": {"type": "str"},
            "engine": _module.ENGINE_ARGUMENT,
        },
        supports_check_mode=True,
    )
    wanted = module.params
    _module.run(module, lambda host: activate(choose_engine(host, wanted["engine"]), wanted["method"], wanted["force"],
                                              module.check_mode))


if __name__ == "__main__":
    main()
