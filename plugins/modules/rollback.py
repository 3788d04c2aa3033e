#!/usr/bin/python
# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rollback
short_description: Make another snapshot the default
version_added: 0.1.0
author:
  - microos.transactional contributors (@microos-transactional)
description:
  - Makes an existing snapshot the default, or drops what is pending. A rollback takes effect at the next boot, see
    O(activate) and M(microos.transactional.reboot); dropping what is pending needs none.
  - The snapshot is named, or found by its date, by what it records about its making, or by its packages. Only usable
    snapshots are found, and another one that is named is refused with the reason.
  - Not usable are the snapshot of an open transaction, one that was kept after a failure or left by an interrupted run,
    one that somebody is deleting or was interrupted at deleting (its C(/etc) is gone, or there is a directory in
    C(/.snapshots) that snapper does not list), and one that has neither a kernel nor a boot entry on a host that keeps
    kernels in its snapshots.
  - No snapshot is deleted. Data outside the root file system, such as C(/var) and C(/home), is not rolled back.
  - With O(before), O(provenance) and O(without) the default stays as it is if it fulfils the wish itself, and a
    snapshot that failed its last trial is passed over. So what was given up once does not come back by accident.
options:
  to:
    description:
      - The number of a snapshot, V(previous) or V(last_working).
      - V(previous) is the snapshot that the current one was made from. Where that is not recorded or the snapshot is
        not usable, it is the newest usable one with a lower number.
      - V(last_working) is the snapshot that passed the last checks of health-checker, where that is installed; this is
        usually the running one. Otherwise it is the newest usable snapshot that is known to have been booted and is
        older than the default and the current one, or than the default if something newer than the current one is
        pending. Known to have been booted is the running one, those that C(transactional-update) has as last working
        ones, and those that kernels in the journal were started for and that did not fail a trial then.
      - On a host with a read-write root a read-only snapshot gets a read-write copy, which becomes the default. It
        stays that as long as it is the copy of the snapshot that is meant.
    type: str
  before:
    description:
      - The newest usable snapshot that was made before this date, or date and time, as in V(2026-01-31),
        V(2026-01-31 04:00) or V(2026-01-31T04:00:00+01:00). UTC, as the dates of
        M(microos.transactional.snapshot_info), if it names no other time zone. A date alone is its first moment.
    type: str
    version_added: 0.2.0
  provenance:
    description:
      - The newest usable snapshot that recorded all of this about its making, for example the C(git_commit) of the
        playbook, see the option of the same name of M(microos.transactional.transaction). Values are compared as a
        whole; a C(git_commit) with changes that were not committed has a C(+) behind it.
    type: dict
    version_added: 0.2.0
  without:
    description:
      - The newest usable snapshot that does not have this package, as in V(htop), or not in such a version, as in
        V(htop>3.3) or V(htop=3.4.1-1.1), compared as rpm does. Without a release any release is meant. Also a
        shell pattern of names.
    type: str
    version_added: 0.2.0
  drop_pending:
    description: Make the current snapshot the default again, so that the next boot changes nothing.
    type: bool
extends_documentation_fragment:
  - microos.transactional._attributes
  - microos.transactional._attributes.engine
  - microos.transactional._activate
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
    support: full
    details:
      - Also tells how the packages and the files in C(/etc) of the target differ from those of the running system,
        before anything is done. See M(microos.transactional.snapshot_diff) for more.
  platform:
    platforms: posix
seealso:
  - module: microos.transactional.reboot
  - module: microos.transactional.snapshot_info
  - module: microos.transactional.snapshot_diff
"""

EXAMPLES = r"""
- name: Forget the changes that wait for a reboot
  microos.transactional.rollback:
    drop_pending: true

- name: Go back to what was there before the last change
  microos.transactional.rollback:
    to: previous

- name: Go back to a certain snapshot
  microos.transactional.rollback:
    to: 12

- name: Bring the rollback into effect
  microos.transactional.reboot:

- name: Go back to the snapshot that proved to boot, and into it
  microos.transactional.rollback:
    to: last_working
    activate: reboot

- name: See what going back to last Friday would mean (run with --check --diff)
  microos.transactional.rollback:
    before: "2026-01-31T18:00:00+01:00"

- name: Go back to what a certain commit of the playbooks has made
  microos.transactional.rollback:
    provenance:
      git_commit: 0c6ab3f1f1d4a9b8e3c2d5f60718293a4b5c6d7e

- name: Get rid of a bad version
  microos.transactional.rollback:
    without: openssl>=3.5.0
"""

RETURN = r"""
snapshot:
  description: Number of the snapshot that is the default now; in check mode, the one that would be.
  type: int
  returned: success
  sample: 12
reason:
  description: Why it is this snapshot.
  type: str
  returned: success
  sample: health-checker found it working
previous_default:
  description: Number of the snapshot that was the default before.
  type: int
  returned: success
  sample: 14
current:
  description: Number of the snapshot that was in use.
  type: int
  returned: success
  sample: 14
pending:
  description: Whether the default differs from the current snapshot, so that a reboot is needed.
  type: bool
  returned: success
activation:
  description: The result of M(microos.transactional.reboot).
  type: dict
  returned: if O(activate) asked for it and something was pending
default:
  description: Number of the snapshot that is the default.
  type: int
  returned: if somebody else moved it meanwhile
engine:
  description: The engine that was used.
  type: str
  returned: success
  sample: tukit
snapshots:
  description: Numbers of the usable snapshots.
  type: list
  elements: int
  returned: if no usable snapshot was meant
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.microos.transactional.plugins.module_utils import _module
from ansible_collections.microos.transactional.plugins.module_utils._rollback import rollback
from ansible_collections.microos.transactional.plugins.module_utils._transaction import choose_engine

SELECTORS = ("to", "before", "provenance", "without", "drop_pending")


def main():
    module = AnsibleModule(
        argument_spec={
            "to": {"type": "str"},
            "before": {"type": "str"},
            "provenance": {"type": "dict"},
            "without": {"type": "str"},
            "drop_pending": {"type": "bool"},
            "engine": _module.ENGINE_ARGUMENT,
            **_module.ACTIVATE_ARGUMENTS,
        },
        mutually_exclusive=[SELECTORS],
        required_one_of=[SELECTORS],
        supports_check_mode=True,
    )
    wanted = module.params
    if wanted["drop_pending"] is False:
        module.fail_json(msg=f"drop_pending: false asks for nothing; give 'drop_pending: true' or another of "
                             f"{', '.join(SELECTORS)}")
    selector = next(name for name in SELECTORS if wanted[name] is not None)
    _module.run(module, lambda host: rollback(choose_engine(host, wanted["engine"]), selector, wanted[selector],
                                              module.check_mode, module._diff))


if __name__ == "__main__":
    main()
