#!/usr/bin/python
# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: reboot
short_description: Reboot into the default snapshot and prove it
version_added: 0.1.0
author:
  - microos.transactional contributors (@microos-transactional)
description:
  - Reboots the host if the default snapshot differs from the current one, waits until it is back, and succeeds only
    if the default snapshot is the one that booted.
  - Without anything pending it does nothing, see O(force).
options:
  force:
    description: Reboot even if nothing is pending.
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
    description: Seconds to wait before the reboot, rounded down to full minutes.
    type: int
    default: 0
  post_reboot_delay:
    description: Seconds to wait after the reboot was started before the host is asked for the first time.
    type: int
    default: 0
  msg:
    description: What users who are logged in read before the reboot.
    type: str
    default: Reboot initiated by Ansible
  test_command:
    description: Command that has to succeed on the host before it counts as back.
    type: str
    default: whoami
  reboot_command:
    description: Command that reboots the host, instead of C(shutdown -r).
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
  - The option O(engine) does not influence the reboot; it is there so that C(module_defaults) can serve all modules of
    the collection.
seealso:
  - module: ansible.builtin.reboot
  - module: microos.transactional.rollback
"""

EXAMPLES = r"""
- name: Bring what is pending into effect, if anything is
  microos.transactional.reboot:

- name: Reboot in any case, and wait until a service of the host answers
  microos.transactional.reboot:
    force: true
    test_command: systemctl is-active my.service
"""

RETURN = r"""
rebooted:
  description: Whether the host was rebooted.
  type: bool
  returned: always
elapsed:
  description: Seconds from the start of the reboot until the host was back.
  type: int
  returned: always
snapshot:
  description: Number of the snapshot that the reboot is for, the default one.
  type: int
  returned: if the host could be asked
  sample: 2
snapshot_before:
  description: Number of the snapshot that was booted before.
  type: int
  returned: if the host could be asked
  sample: 1
snapshot_booted:
  description: Number of the snapshot that came up.
  type: int
  returned: after a reboot
  sample: 2
"""
