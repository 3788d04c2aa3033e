# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of modules that bring their snapshot into effect on request.

Note that this doc fragment is PRIVATE to the collection.
"""

from __future__ import annotations


class ModuleDocFragment:

    DOCUMENTATION = r"""
options:
  activate:
    description:
      - How to bring the default snapshot into effect afterwards, as O(microos.transactional.reboot#module:method) does.
        V(none) leaves that to a later task.
      - It happens whenever the default is not the current snapshot, even if this task itself had nothing to do. In
        check mode it is only told by C(changed).
    type: str
    choices: [none, auto, reboot, soft_reboot, kexec, apply, rebootmgr, host]
    default: none
    version_added: 0.2.0
  reboot_timeout:
    description:
      - Seconds to wait for the host to come back, as the option of M(microos.transactional.reboot), which has the
        default.
    type: int
    version_added: 0.2.0
  trial:
    description:
      - Seconds in which the first boot has to be confirmed, as the option of M(microos.transactional.reboot), which has
        the default.
    type: int
    version_added: 0.2.0
"""
