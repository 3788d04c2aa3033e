#!/usr/bin/python
# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: system_update
short_description: Update the whole system in a new snapshot
version_added: 0.2.0
author:
  - microos.transactional contributors (@microos-transactional)
description:
  - Updates all packages with C(zypper dup), C(up) or C(patch) in one new snapshot, which becomes the default. The
    update takes effect at the next boot, see M(microos.transactional.reboot).
  - The solver looks first, in a read-only view of the pending snapshot. If everything is up to date, or if there is a
    conflict of dependencies, no snapshot is made. No conflict is solved by removing packages that nobody asked to
    remove; only V(dup) removes, what the repositories replace or drop.
  - If anything fails, the snapshot is deleted and the default stays.
  - Inside of a transaction, see M(microos.transactional.transaction), its snapshot is updated, and whoever opened it
    makes it the default.
options:
  method:
    description:
      - V(dup) brings the system to what the repositories have, older versions included, as on a rolling distribution.
      - V(up) updates packages to the newest version of the same vendor.
      - V(patch) installs the patches that are needed. If they concern zypper itself, that is updated first and the
        others by the new zypper, in the same snapshot.
      - V(auto) is what the host's own updates use, C(UPDATE_METHOD) in C(transactional-update.conf); V(dup) without it.
    type: str
    choices: [auto, dup, up, patch]
    default: auto
  categories:
    description:
      - With O(method=patch), only patches of these categories, for example V(security) or V(recommended).
    type: list
    elements: str
    default: []
  severities:
    description:
      - With O(method=patch), only patches of these severities, for example V(critical) or V(important).
    type: list
    elements: str
    default: []
  include_reboot_patches:
    description:
      - With O(method=patch), also install patches that ask for a reboot, or show a message. A snapshot is booted
        anyway.
    type: bool
    default: true
  include_optional_patches:
    description:
      - With O(method=patch), also install optional patches.
    type: bool
    default: false
  exclude:
    description:
      - Names of packages, or shell patterns of names, that stay as they are in this update. The locks of the host
        (C(zypper locks)) are respected in any case. With O(method=patch), patches that need them are skipped.
    type: list
    elements: str
    default: []
  recommends:
    description:
      - Whether to install what the packages recommend as well. Without it the configuration of the host decides.
    type: bool
  allow_downgrade:
    description:
      - Allow for older versions. Without it zypper's default for the method, V(true) for V(dup).
    type: bool
  allow_vendor_change:
    description:
      - Allow for packages of another vendor. Without it the configuration of the host decides, which allows it to no
        method in an unchanged C(zypp.conf).
    type: bool
  replace_files:
    description:
      - Install packages even if they overwrite files of others.
    type: bool
    default: false
  auto_agree_with_licenses:
    description:
      - Agree with the licences that packages ask to agree with. Otherwise these are an error that names the package.
    type: bool
    default: false
  keep_failed:
    description:
      - Keep the snapshot of a failed update for a look, instead of deleting it. It never becomes the default, and
        snapper's cleanup deletes it some day.
    type: bool
    default: false
  timeout:
    description:
      - Seconds that zypper may take for all its work in the task. After them it is ended, with what it started, and the
        snapshot is deleted. Raise it where a network is slow, or an update very large.
    type: int
    default: 3600
    version_added: 0.2.0
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
  - module: microos.transactional.package
  - module: microos.transactional.reboot
  - module: microos.transactional.snapshot_diff
notes:
  - Signatures are always checked. An expired key of a repository is an error.
  - A scriptlet that fails is a failure, also where zypper takes it for a success.
"""

EXAMPLES = r"""
- name: Update the system as it would update itself
  microos.transactional.system_update:
  register: update

- name: Boot into it, if there is something new
  microos.transactional.reboot:
  when: update.pending

- name: Install patches of security alone
  microos.transactional.system_update:
    method: patch
    categories: [security]
    severities: [critical, important]

- name: Update all but the kernel
  microos.transactional.system_update:
    exclude: ["kernel-*"]
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
download_size:
  description: Size of all packages to download in bytes, as zypper knows it before.
  type: int
  returned: success
  sample: 12600
size_difference:
  description: What the packages take more on the disk afterwards, in bytes.
  type: int
  returned: success
  sample: 71
method:
  description: The method that was used.
  type: str
  returned: success
  sample: dup
rc:
  description: Exit code of the command that failed, of zypper in most cases. It may be 0 for a scriptlet that failed.
  type: int
  returned: if a command failed
  sample: 104
messages:
  description:
    - Messages of zypper and of what it ran, in their order, the first and the last of them if there are very many.
      Logins and parameters of addresses are hidden. The XML is not returned.
  type: list
  elements: str
  returned: if zypper failed
problems:
  description: Problems that zypper's solver found.
  type: list
  elements: dict
  returned: if zypper failed
  contains:
    problem:
      description: What cannot be.
      type: str
    solutions:
      description: What the solver proposes instead.
      type: list
      elements: str
kept_snapshot:
  description: Number of the failed snapshot.
  type: int
  returned: on failure, with O(keep_failed=true)
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.microos.transactional.plugins.module_utils import _module
from ansible_collections.microos.transactional.plugins.module_utils._system_update import SystemUpdate
from ansible_collections.microos.transactional.plugins.module_utils._zypper_work import TIMEOUT


def main():
    module = AnsibleModule(
        argument_spec={
            "method": {"type": "str", "choices": ["auto", "dup", "up", "patch"], "default": "auto"},
            "categories": {"type": "list", "elements": "str", "default": []},
            "severities": {"type": "list", "elements": "str", "default": []},
            "include_reboot_patches": {"type": "bool", "default": True},
            "include_optional_patches": {"type": "bool", "default": False},
            "exclude": {"type": "list", "elements": "str", "default": []},
            "recommends": {"type": "bool"},
            "allow_downgrade": {"type": "bool"},
            "allow_vendor_change": {"type": "bool"},
            "replace_files": {"type": "bool", "default": False},
            "auto_agree_with_licenses": {"type": "bool", "default": False},
            "keep_failed": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": TIMEOUT},
            "engine": _module.ENGINE_ARGUMENT,
        },
        supports_check_mode=True,
    )

    def work(host):
        update = SystemUpdate(host, module.params)
        update.ensure(module.check_mode)
        for warning in update.warnings:
            module.warn(warning)
        return update.result

    _module.run(module, work)


if __name__ == "__main__":
    main()
