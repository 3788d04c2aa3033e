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
    if the default snapshot is the one that booted. There are quicker ways than a full reboot, see O(method), and a
    way back from a bad change, see O(trial).
  - Without anything pending it does nothing, see O(force).
  - If the boot loader counts the attempts to boot a snapshot and has given it up, the task fails, and the snapshot that
    it fell back to is the default again.
  - Fails while a transaction is open on the host, or another tool is in the middle of one.
options:
  method:
    description:
      - How the default snapshot comes into effect.
      - V(reboot) is a full reboot.
      - V(soft_reboot) ends all of the userspace and starts that of the default snapshot, under the kernel that runs
        already. Needs systemd 254 or later, and the modules of the running kernel in the default snapshot.
      - V(kexec) starts the kernel of the default snapshot from the running one, past firmware and boot loader. Needs
        kexec-tools, and a boot entry that names the kernel.
      - V(apply) is the C(apply) of transactional-update 4.2 or later, on hosts that have it. It mounts C(/usr), C(/etc)
        and C(/boot) of the default snapshot over those of the running system; no service is restarted.
      - V(auto) is the least of these that the change needs, and V(reboot) in doubt. V(reboot) if kernel, initrd, boot
        loader, firmware or kernel options differ, if a package that differs declares C(installhint(reboot-needed\)), or
        if C(/run/reboot-needed) asks for a reboot. Else V(soft_reboot), unless all differences are files that were
        added where nothing that runs looks for them; those need V(apply) only. What the host does not offer is skipped,
        and so is V(soft_reboot) where tukit.conf has C(REBOOT_ALLOW_SOFT_REBOOT=false). V(kexec) if
        C(/run/reboot-needed) says so and tukit.conf has C(REBOOT_ALLOW_KEXEC=true).
      - V(rebootmgr) asks rebootmgr for a reboot in the next maintenance window, and does not wait for it.
      - V(host) is what C(REBOOT_METHOD) in the host's C(transactional-update.conf) stands for. V(systemd) there is
        V(auto) here. V(kured) and V(notify) are passed on to C(tukit reboot), which does not wait either.
      - V(none) does nothing, and tells whether something is pending.
    type: str
    choices: [auto, reboot, soft_reboot, kexec, apply, rebootmgr, host, none]
    default: reboot
    version_added: 0.2.0
  trial:
    description:
      - Seconds that the new snapshot has, from its start on, until the host is found to be well. 0 for no such trial.
      - The host keeps the snapshot if this task reaches it in time, over a new connection, and O(test_command) and what
        O(boot_complete) waits for succeed. Otherwise it makes the former snapshot the default again and reboots into
        it, by systemd units that need neither the network nor Python; so it does if C(boot-complete.target) fails.
      - With a boot loader that takes an entry for a single boot, as systemd-boot does, the former snapshot also comes
        back if the new one does not start at all, panics or loses power. Where it does not, RV(trial.boot_loader) is
        V(none), and this is left to what else the host has, such as health-checker.
      - The way through a boot has to fit into it, from systemd's start on; what M(ansible.builtin.reboot) measures as
        C(elapsed) is a good guess, and not less than 120 is wise.
      - If nobody reboots the host within that time and O(pre_reboot_delay), as the controller is gone, the trial is
        over as if it had failed.
      - Without anything pending there is nothing to go back to, and no trial.
      - Meanwhile the timers of transactional-update and snapper wait. If somebody makes another snapshot the default by
        hand, the confirmation keeps that, with a warning, if it was made from the one on trial, and fails otherwise.
      - There is none either for a snapshot whose C(/etc) is not its own, as with transactional-update before 5.0, which
        mounts an overlay there. The task fails then, and does nothing.
      - On a host whose disk is unlocked by a TPM, kernel arguments are left as they are, and a kernel that panics
        restarts only if a watchdog or the host's own arguments make it; the task warns of that.
    type: int
    default: 0
    version_added: 0.2.0
  confirm:
    description:
      - Confirm the trial as soon as the host is back and well. With V(false) it is left to later tasks, which have what
        is left of the time for it, see M(microos.transactional.trial).
    type: bool
    default: true
    version_added: 0.2.0
  boot_complete:
    description:
      - Wait for C(boot-complete.target), which stands for all that is checked after a boot on this host, and fail with
        the names and last words of the units that failed. V(true) by default in a trial, V(false) otherwise.
    type: bool
    version_added: 0.2.0
  expected_snapshot:
    description: Number of the snapshot that has to be the default. If it is not, the task fails and reboots nothing.
    type: int
    version_added: 0.2.0
  _after:
    description: The snapshot that should have come up. The action plugin sets it, no playbook does.
    type: int
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
  - module: microos.transactional.trial
"""

EXAMPLES = r"""
- name: Bring what is pending into effect, if anything is
  microos.transactional.reboot:

- name: Reboot in any case, and wait until a service of the host answers
  microos.transactional.reboot:
    force: true
    test_command: systemctl is-active my.service

- name: Go back by itself if the host cannot be reached five minutes after the start of the new snapshot
  microos.transactional.reboot:
    trial: 300
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
scheduled_for:
  description: When rebootmgr will reboot the host, in its own words. Null if it does not tell.
  type: str
  returned: with V(rebootmgr)
snapshot_booted:
  description: Number of the snapshot that came up.
  type: int
  returned: after a reboot
  sample: 2
decided_by:
  description:
    - Who decided that another snapshot came up, V(trial), V(boot counting), V(health check), V(boot menu),
      V(boot loader) or V(unknown).
  type: str
  returned: if another snapshot came up
decision:
  description: What is known about the reason of it.
  type: str
  returned: if another snapshot came up
failed_units:
  description: The units that are failed after the boot, each with its last words.
  type: list
  elements: str
  returned: if O(boot_complete) was waited for
trial:
  description: The trial, as M(microos.transactional.trial) tells it.
  type: dict
  returned: if there was one
  contains:
    id:
      description: Its id.
      type: str
    state:
      description: What came of it, see RV(microos.transactional.trial#module:trial.state).
      type: str
    reason:
      description: Why, and what became of another default that was made during the trial.
      type: str
    boot_loader:
      description:
        - V(one-shot) if the boot loader goes back by itself, V(default) if it does so at the next reboot, after a
          soft reboot, and V(none) if it has no part in it.
      type: str
holder:
  description: The transaction that is open, as M(microos.transactional.transaction) tells it.
  type: dict
  returned: if it failed because of an open transaction
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.microos.transactional.plugins.module_utils import _boot_choice, _module
from ansible_collections.microos.transactional.plugins.module_utils._activation import activate
from ansible_collections.microos.transactional.plugins.module_utils._transaction import choose_engine


def main():
    """The part on the host; the rest is the action plugin's."""
    module = AnsibleModule(
        argument_spec={
            "method": {"type": "str", "choices": _module.METHODS + ["none"], "default": "reboot"},
            "trial": {"type": "int", "default": 0},
            "confirm": {"type": "bool", "default": True},
            "boot_complete": {"type": "bool"},
            "expected_snapshot": {"type": "int"},
            "_after": {"type": "int"},
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

    def work(host):
        engine = choose_engine(host, wanted["engine"])
        if wanted["_after"] is not None:
            return _boot_choice.came_up(engine, wanted["_after"])
        return activate(engine, wanted["method"], wanted["force"],
                        wanted["expected_snapshot"], wanted["trial"], wanted["pre_reboot_delay"], module.check_mode)
    _module.run(module, work)


if __name__ == "__main__":
    main()
