#!/usr/bin/python
# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: package
short_description: Install, update and remove packages in a new snapshot
version_added: 0.1.0
author:
  - microos.transactional contributors (@microos-transactional)
description:
  - Installs, updates or removes any number of packages with zypper in one new snapshot, which becomes the default.
    The change takes effect at the next boot, see M(microos.transactional.reboot).
  - State is judged where it will be, in the pending snapshot if there is one, and work continues from there.
  - Inside of a transaction, see M(microos.transactional.transaction), the packages go into its snapshot, and whoever
    opened it makes it the default.
  - If nothing has to be done, no snapshot is made. If anything fails, the snapshot is deleted and the default stays.
options:
  name:
    description:
      - Plain names of packages. With O(state=present) a capability or the path of a file also counts as installed if an
        installed package provides it.
      - Versions, comparisons, globs and kinds such as C(pattern:) are refused.
    type: list
    elements: str
    required: true
    aliases: [pkg]
  state:
    description:
      - V(present) installs what is missing and leaves installed packages alone; V(installed) means the same.
      - V(latest) installs what is missing and updates what is installed, as far as the repositories offer it.
      - V(absent) removes what is installed, together with what depends on it; V(removed) means the same.
    type: str
    choices: [present, installed, latest, absent, removed]
    default: present
  keep_failed:
    description:
      - Keep the snapshot of a failed change for a look, instead of deleting it. It never becomes the default, and
        snapper's cleanup deletes it some day.
    type: bool
    default: false
extends_documentation_fragment:
  - microos.transactional._attributes
  - microos.transactional._attributes.engine
attributes:
  check_mode:
    support: full
    details:
      - zypper's solver runs in a read-only view of the pending snapshot; no snapshot is made and nothing is written.
  diff_mode:
    support: full
seealso:
  - module: microos.transactional.reboot
  - module: microos.transactional.rollback
notes:
  - Exit codes 0, 102 (a reboot is suggested), 103 (zypper itself was updated) and 106 (a repository was skipped, which
    gives a warning) of zypper count as success, all others as failure.
  - Scriptlets run inside the snapshot; no service of the running system is restarted.
"""

EXAMPLES = r"""
- name: Have two packages at the next boot
  microos.transactional.package:
    name: [htop, tcpdump]

- name: Remove a package
  microos.transactional.package:
    name: tcpdump
    state: absent

- name: Bring the changes into effect
  microos.transactional.reboot:
"""

RETURN = r"""
base:
  description: Number of the snapshot that the new one was made from; without a change, the default snapshot.
  type: int
  returned: always
  sample: 1
snapshot:
  description: Number of the new snapshot, now the default. Null if nothing changed and in check mode.
  type: int
  returned: success
  sample: 2
pending:
  description: Whether the default snapshot differs from the current one, so that a reboot would change something.
  type: bool
  returned: success
reboot_suggested:
  description: Whether a package of the change asks for a reboot by its own declaration.
  type: bool
  returned: success
engine:
  description: The engine that was used.
  type: str
  returned: success
  sample: tukit
installed:
  description: Packages that were newly installed, dependencies included; predicted in check mode.
  type: list
  elements: dict
  returned: success
  sample: [{name: htop, version: 3.4.1-1.1, arch: x86_64}]
  contains: &package
    name:
      description: Name of the package.
      type: str
    version:
      description: Version and release, of the removed package for RV(removed).
      type: str
    arch:
      description: Architecture.
      type: str
    old_version:
      description: Version and release before the change.
      type: str
      returned: if another version was installed before
    repository:
      description: Repository that the package comes from.
      type: str
      returned: if zypper tells it
    type:
      description: What it is, if it is not a package.
      type: str
      returned: for patterns, patches and products
removed:
  description: Packages that were removed, dependents included.
  type: list
  elements: dict
  returned: success
  contains: *package
upgraded:
  description: Packages that got a higher version.
  type: list
  elements: dict
  returned: success
  contains: *package
downgraded:
  description: Packages that got a lower version.
  type: list
  elements: dict
  returned: success
  contains: *package
reinstalled:
  description: Packages that were installed again in the same version.
  type: list
  elements: dict
  returned: success
  contains: *package
changed_arch:
  description: Packages that changed their architecture.
  type: list
  elements: dict
  returned: success
  contains: *package
changed_vendor:
  description: Packages that changed their vendor.
  type: list
  elements: dict
  returned: success
  contains: *package
rc:
  description: Exit code of the command that failed, of zypper in most cases.
  type: int
  returned: if a command failed
  sample: 104
messages:
  description: All messages of zypper, in their order.
  type: list
  elements: str
  returned: if zypper failed
kept_snapshot:
  description: Number of the failed snapshot.
  type: int
  returned: on failure, with O(keep_failed=true)
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.microos.transactional.plugins.module_utils import _module
from ansible_collections.microos.transactional.plugins.module_utils._packages import Packages

SYNONYMS = {"installed": "present", "removed": "absent"}


def main():
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "list", "elements": "str", "required": True, "aliases": ["pkg"]},
            "state": {"type": "str", "default": "present",
                      "choices": ["present", "installed", "latest", "absent", "removed"]},
            "keep_failed": {"type": "bool", "default": False},
            "engine": _module.ENGINE_ARGUMENT,
        },
        supports_check_mode=True,
    )
    wanted = module.params
    state = SYNONYMS.get(wanted["state"], wanted["state"])

    def work(host):
        packages = Packages(host, wanted["name"], state, wanted["engine"], wanted["keep_failed"])
        packages.ensure(module.check_mode)
        for warning in packages.warnings:
            module.warn(warning)
        return packages.result

    _module.run(module, work)


if __name__ == "__main__":
    main()
