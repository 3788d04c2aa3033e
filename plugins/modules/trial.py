#!/usr/bin/python
# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: trial
short_description: Tell of the snapshot on trial, confirm or revert it
version_added: 0.2.0
author:
  - microos.transactional contributors (@microos-transactional)
description:
  - A snapshot is on trial after M(microos.transactional.reboot) was asked for it, until it is confirmed or the host
    goes back from it. That module confirms by itself, unless O(microos.transactional.reboot#module:confirm=false).
  - Without Ansible, C(sh /etc/microos-transactional/trial.sh confirm) or C(revert) does the same on the host.
options:
  state:
    description:
      - V(confirmed) keeps the snapshot. Fails if it is not on trial any more, and does nothing if it was confirmed.
      - If another snapshot became the default during the trial, as by C(transactional-update) on the host, it stays the
        default if it was made from the one on trial, and RV(trial.reason) and a warning tell that. If it was not,
        V(confirmed) fails.
      - V(reverted) makes the host go back at once, by a reboot, and waits until it is there. Nothing is done if no
        trial is under way.
      - Without this option, the module only tells.
    type: str
    choices: [confirmed, reverted]
  id:
    description: Id of the trial that is meant. Without it, the one that is under way.
    type: str
  timeout:
    description: Seconds to wait for a host that goes back.
    type: int
    default: 600
extends_documentation_fragment:
  - microos.transactional._attributes
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
seealso:
  - module: microos.transactional.reboot
"""

EXAMPLES = r"""
- name: Reboot into the new snapshot, on trial
  microos.transactional.reboot:
    trial: 300
    confirm: false

- name: Check whatever matters
  ansible.builtin.uri:
    url: "https://{{ inventory_hostname }}/health"
  delegate_to: localhost
  become: false

- name: Keep it
  microos.transactional.trial:
    state: confirmed
"""

RETURN = r"""
booted:
  description: Number of the snapshot that runs.
  type: int
  returned: success
pending:
  description: Whether the default snapshot differs from the current one.
  type: bool
  returned: success
trial:
  description: The trial under way, or the last one.
  type: dict
  returned: success
  contains:
    state:
      description:
        - V(armed) from the order to the reboot; V(running) until it is confirmed; V(reverting) on the way back;
          then V(confirmed), V(reverted) if the host went back, or V(fell-back) if the boot loader did, because the
          snapshot did not come up or the host was restarted. V(none) if there never was one.
      type: str
    id:
      description: Its id.
      type: str
    snapshot:
      description: Number of the snapshot on trial.
      type: int
    previous:
      description: Number of the snapshot that the host goes back to.
      type: int
    reason:
      description: Why the host went back, and what became of another default that was made during the trial.
      type: str
    seconds:
      description: The time for a confirmation, in seconds from the start of the snapshot on.
      type: int
    boots:
      description: How often the host was started since.
      type: int
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.microos.transactional.plugins.module_utils import _module, _trial


def main():
    module = AnsibleModule(
        argument_spec={"state": {"type": "str", "choices": ["confirmed", "reverted"]}, "id": {"type": "str"},
                       "timeout": {"type": "int", "default": 600}},
        supports_check_mode=True,
    )
    wanted = module.params

    def work(host):
        changed = False
        if wanted["state"] == "confirmed":
            changed = _trial.confirm(wanted["id"], module.check_mode)
        elif wanted["state"] == "reverted":
            changed = _trial.revert(wanted["id"], module.check_mode)
        trial = _trial.tell()
        return {"changed": changed, "trial": trial, "booted": host.booted, "pending": host.default() != host.current,
                "warnings": _trial.warnings(trial) if changed and not module.check_mode else []}
    _module.run(module, work)


if __name__ == "__main__":
    main()
