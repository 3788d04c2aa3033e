#!/usr/bin/python
# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: facts
short_description: Facts of a transactional host
version_added: 0.2.0
author:
  - microos.transactional contributors (@microos-transactional)
description:
  - Tells the state of a transactional host as C(ansible_facts.transactional), and puts right what Ansible's own facts
    get wrong there. It can be used as a task, or with every gathering of facts, see the examples.
  - On any other host it changes nothing and does not fail, and C(ansible_facts.transactional.engine) is null. So it
    can be set for all hosts.
  - It runs where the connection leads. Inside of a transaction it tells about the host as far as that can be seen
    there.
  - Where C(ansible_facts_modules) is set, C(ansible.builtin.setup) must be named in it. The order does not matter,
    and neither does C(ansible_facts_parallel). Injected variables such as C(ansible_pkg_mgr), however, may be core's
    if both modules run in parallel; use C(ansible_facts.pkg_mgr).
  - "Put right on transactional hosts: RV(ansible_facts.pkg_mgr), with O(use_package); RV(ansible_facts.os_family),
    which core does not know for Leap Micro, SLE Micro 5, Aeon and Kalpa, nor before ansible-core 2.19 for MicroOS;
    RV(ansible_facts.distribution), as core 2.19 and later takes every host with the variant V(transactional) for
    SL-Micro and older ones none; RV(ansible_facts.service_mgr) inside of a transaction."
options:
  use_package:
    description:
      - Whether RV(ansible_facts.pkg_mgr) names M(microos.transactional.package), so that M(ansible.builtin.package)
        uses it.
      - Roles that compare the fact with V(zypper) need V(false). Then set the variable C(ansible_package_use) to
        V(microos.transactional.package) instead, which has the same effect.
    type: bool
    default: true
  packages_of:
    description:
      - Also tell the packages of a snapshot, in the format of M(ansible.builtin.package_facts). Its number,
        V(running) or V(current) for the one in use, V(default) for the one of the next boot, or V(previous) for the
        one that the current one was made from.
      - Inside of a transaction V(current) is the transaction's own snapshot. Needs root rights. Ignored on hosts that
        are not transactional.
    type: str
extends_documentation_fragment:
  - microos.transactional._attributes
  - microos.transactional._attributes.engine
attributes:
  check_mode:
    support: full
    details: This module only reads.
  diff_mode:
    support: none
  facts:
    description: Action returns an C(ansible_facts) dictionary that will update existing host facts.
    support: full
requirements:
  - Root rights for the facts that are marked so, and for no other.
seealso:
  - module: microos.transactional.snapshot_info
  - module: ansible.builtin.package_facts
"""

EXAMPLES = r"""
# Gathered with all other facts, for example in group_vars/all.yml:
#
#   ansible_facts_modules: [ansible.builtin.setup, microos.transactional.facts]
#
# or in ansible.cfg:
#
#   [defaults]
#   facts_modules = ansible.builtin.setup, microos.transactional.facts

- name: Look at the state of the host
  microos.transactional.facts:

- name: Say what waits for a reboot
  ansible.builtin.debug:
    msg: "Snapshot {{ ansible_facts.transactional.default }} is pending."
  when: ansible_facts.transactional.pending

- name: Know the packages of the next boot
  microos.transactional.facts:
    packages_of: default

- name: Do something where a package will be there
  ansible.builtin.debug:
    msg: "htop {{ ansible_facts.packages.htop[0].version }}"
  when: "'htop' in ansible_facts.packages"
"""

RETURN = r"""
ansible_facts:
  description: Facts to add to ansible_facts. The corrected ones are there with and without the prefix C(ansible_).
  type: dict
  returned: success
  contains:
    transactional:
      description: The state of the host. All keys are always there, and null on a host that is not transactional.
      type: dict
      returned: success
      contains:
        engine:
          description: The engine that modules of this collection use on this host.
          type: str
          sample: tukit
        engine_version:
          description: Version of tukit or snapper.
          type: str
          sample: 6.1.3
        booted:
          description:
            - Number of the snapshot that is mounted as the root file system. Inside of a transaction, the host's.
          type: int
        current:
          description: Number of the snapshot that is in use, see M(microos.transactional.snapshot_info).
          type: int
        default:
          description: Number of the snapshot that the next boot uses. Null without root rights.
          type: int
        pending:
          description: Whether the default differs from the current snapshot. Null without root rights.
          type: bool
        reboot_level:
          description:
            - What C(/run/reboot-needed) says, null if there is no such file, see
              M(microos.transactional.snapshot_info).
          type: str
        boot_loader:
          description:
            - V(grub2), V(grub2-bls), V(systemd-boot), or V(unknown).
            - By C(LOADER_TYPE) in C(/etc/sysconfig/bootloader), else by what the loader told at the boot, else by its
              files.
          type: str
        read_only:
          description: Whether the root file system is read-only, as seen by this module.
          type: bool
        transaction:
          description:
            - The transaction that is open on the host, with V(id), V(snapshot), V(base), V(description) and V(since);
              inside of it, with the first two. Null if there is none, and without root rights.
          type: dict
        inside:
          description: The number of the transaction's snapshot if the module runs inside of one, else null.
          type: int
    pkg_mgr:
      description: V(microos.transactional.package).
      type: str
      returned: on transactional hosts, with O(use_package=true)
    os_family:
      description: V(Suse).
      type: str
      returned: on transactional hosts of that family
    distribution:
      description: V(SL-Micro), or the name of the distribution for those that are not SL Micro.
      type: str
      returned: on transactional hosts of the family V(Suse) with C(VARIANT_ID=transactional) in C(/etc/os-release)
    service_mgr:
      description: V(systemd).
      type: str
      returned: inside of a transaction
    packages:
      description:
        - The packages of a snapshot, by name, with V(name), V(version), V(release), V(epoch), V(arch), V(source).
      type: dict
      returned: on transactional hosts, with O(packages_of)
      sample: {htop: [{name: htop, version: 3.4.1, release: "1.1", epoch: "None", arch: x86_64, source: rpm}]}
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.microos.transactional.plugins.module_utils import _module
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._facts import facts
from ansible_collections.microos.transactional.plugins.module_utils._snapshot_diff import find_snapshot
from ansible_collections.microos.transactional.plugins.module_utils._text import printable


def main():
    module = AnsibleModule(
        argument_spec={
            "use_package": {"type": "bool", "default": True},
            "packages_of": {"type": "str"},
            "engine": _module.ENGINE_ARGUMENT,
        },
        supports_check_mode=True,
    )
    wanted = module.params["packages_of"]

    def packages_of(host):
        if os.geteuid() != 0:
            raise TransactionalError("packages_of needs root rights: set 'become: true' for the task or the play")
        return find_snapshot(host, wanted, "packages_of")

    try:
        found = facts(module.params["engine"], module.params["use_package"], packages_of if wanted else None)
    except TransactionalError as exc:
        module.fail_json(**printable(dict(exc.details, msg=str(exc))))
    module.exit_json(changed=False, ansible_facts=printable(found))


if __name__ == "__main__":
    main()
