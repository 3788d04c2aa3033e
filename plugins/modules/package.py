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
    opened it makes it the default. Beside a transaction that is open it changes nothing and fails.
  - If nothing has to be done, no snapshot is made. If anything fails, the snapshot is deleted and the default stays.
  - It is a backend for M(ansible.builtin.package), with C(ansible_package_use=microos.transactional.package), and takes
    the arguments of M(community.general.zypper).
options:
  name:
    description:
      - Names of packages. With O(state=present) a capability or the path of an installed file also counts as installed
        if an installed package provides it.
      - V(name=1.2), also with C(<), C(<=), C(>=) and C(>), is a version, without a release each one is right. A version
        allows for a downgrade to it.
      - V(name.arch) is an architecture.
      - C(pattern:), C(product:), C(patch:) or C(srcpackage:) before a name is the type of that name, see O(type).
      - The absolute path of an RPM file on the host, or its address, which has to end in C(.rpm). An address with a
        user name or password in it is refused, as everybody could read it on the host. A file is installed if exactly
        its package is, by name, version, release and architecture. Of an address these are known by the name of the
        file; if such a package is not installed, zypper loads the file to find out.
      - Shell patterns such as V(name-*) are allowed with O(state=absent).
      - A C(-) or C(~) before a name removes the package in the same step, a C(+) means nothing.
      - The same package to install and to remove is refused.
      - Empty names are ignored. V(*) is refused, see M(microos.transactional.system_update).
    type: list
    elements: str
    aliases: [pkg]
  optional:
    description:
      - More names. Those that no repository has are skipped, and listed in RV(skipped_names).
    type: list
    elements: str
    default: []
    version_added: 0.2.0
  state:
    description:
      - V(present) installs what is missing and leaves installed packages alone; V(installed) means the same.
      - V(latest) installs what is missing and updates what is installed, as far as the repositories offer it. A locked
        package stays as it is, with a warning, as does one that only another vendor has a newer version of.
      - V(absent) removes what is installed, together with what depends on it; V(removed) means the same.
      - V(dist-upgrade) is refused, see M(microos.transactional.system_update).
    type: str
    choices: [present, installed, latest, absent, removed, dist-upgrade]
    default: present
  type:
    description:
      - What the names are that do not say it themselves.
      - A V(pattern) or V(product) is installed if the package is that provides it; rpm knows. What it consists of is
        not looked at, only V(latest) does.
      - Whether a V(patch) is needed is known by zypper alone. A V(srcpackage) is installed each time, as nothing says
        whether it is there. Neither can be V(absent).
      - V(application) is refused.
    type: str
    choices: [package, patch, pattern, product, srcpackage, application]
    default: package
    version_added: 0.2.0
  recommends:
    description:
      - Whether to install what the packages recommend as well. Without it the configuration of the host decides,
        C(solver.onlyRequires) in C(zypp.conf).
    type: bool
    version_added: 0.2.0
  disable_recommends:
    description:
      - The opposite of O(recommends), for tasks of M(community.general.zypper), where it is V(true) by default.
    type: bool
    version_added: 0.2.0
  allow_downgrade:
    description:
      - Allow for an older version than the installed one. Implied by a version in a name.
    type: bool
    default: false
    aliases: [oldpackage]
    version_added: 0.2.0
  allow_vendor_change:
    description:
      - Allow for packages of another vendor than that of the installed ones.
    type: bool
    default: false
    version_added: 0.2.0
  replace_files:
    description:
      - Install packages even if they overwrite files of others.
    type: bool
    default: false
    aliases: [replacefiles]
    version_added: 0.2.0
  auto_agree_with_licenses:
    description:
      - Agree with the licences that packages ask to agree with. Otherwise these are an error that names the package.
    type: bool
    default: false
    version_added: 0.2.0
  clean_deps:
    description:
      - With O(state=absent), also remove what was installed for the sake of the packages and is needed no more.
    type: bool
    default: false
    version_added: 0.2.0
  allow_untrusted:
    description:
      - Install packages, and trust metadata, without a valid signature of a trusted key, in this task alone.
      - If the task names only RPM files, and these have no signature, all else is checked as ever. Otherwise zypper
        checks nothing, and works with a copy of its cache that is thrown away.
    type: bool
    default: false
    aliases: [disable_gpg_check]
    version_added: 0.2.0
  auto_import_keys:
    description:
      - Only V(false). Keys are imported by their fingerprint, with M(microos.transactional.repository).
    type: bool
    default: false
    version_added: 0.2.0
  force:
    description:
      - Of what has to be done, let zypper also downgrade, and change vendor or architecture. Packages that are
        installed as asked are not installed again.
    type: bool
    default: false
    version_added: 0.2.0
  force_resolution:
    description:
      - Let the solver choose a solution of a conflict, which may remove packages. Not with O(state=absent).
    type: bool
    default: false
    version_added: 0.2.0
  update_cache:
    description:
      - Refresh the metadata of all repositories first. Not in check mode.
    type: bool
    default: false
    aliases: [refresh]
    version_added: 0.2.0
  extra_args:
    description:
      - More options for the command of zypper, in one line as a shell has them.
    type: str
    version_added: 0.2.0
  extra_args_precommand:
    description:
      - More global options for zypper, in one line as a shell has them. With C(--no-gpg-checks) zypper works with a
        copy of its cache, as with O(allow_untrusted=true). C(--gpg-auto-import-keys) is refused as is
        O(auto_import_keys).
    type: str
    version_added: 0.2.0
  skip_post_errors:
    description:
      - Keep the snapshot and warn if a scriptlet failed after the installation or removal of its package, exit code 107
        of zypper. Otherwise this is a failure as any other. So it is where zypper does not notice, because the output
        of the scriptlet has no newline at its end, or because it is written in Lua. Whoever prints just what rpm
        prints then, counts as failed, too.
    type: bool
    default: false
    version_added: 0.2.0
  simple_errors:
    description:
      - Without effect, for tasks of M(community.general.zypper). Errors say what zypper said.
    type: bool
    default: false
    version_added: 0.2.0
  quiet:
    description:
      - Without effect, for tasks of M(community.general.zypper).
    type: bool
    default: true
    version_added: 0.2.0
  keep_failed:
    description:
      - Keep the snapshot of a failed change for a look, instead of deleting it. It never becomes the default, and
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
  - module: microos.transactional.reboot
  - module: microos.transactional.rollback
notes:
  - Exit codes 0, 102 (a reboot is suggested), 103 (zypper itself was updated, it runs again) and 106 (a repository was
    skipped, which gives a warning) of zypper count as success, and so does 107 with O(skip_post_errors=true), all
    others as failure. Whatever zypper says, rpm is asked afterwards whether it was done. Output of zypper that cannot
    be read to its end is a failure, never "nothing to do".
  - zypper only warns of metadata that is signed with an expired key; here that is an error, unless
    O(allow_untrusted=true).
  - Scriptlets run inside the snapshot; no service of the running system is restarted.
"""

EXAMPLES = r"""
- name: Have two packages at the next boot
  microos.transactional.package:
    name: [htop, tcpdump]

- name: Have a pattern, a certain version, and no newer one
  microos.transactional.package:
    name:
      - pattern:microos_cockpit
      - docker>=27
      - podman<6

- name: Remove a package and what it alone needed
  microos.transactional.package:
    name: tcpdump
    state: absent
    clean_deps: true

- name: Install a package of a vendor, whose key is trusted
  microos.transactional.package:
    name: https://download.example.com/agent-2.1-1.x86_64.rpm

- name: Let the roles that follow use this module
  ansible.builtin.set_fact:
    ansible_package_use: microos.transactional.package

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
skipped_names:
  description: Those of O(optional) that no repository has.
  type: list
  elements: str
  returned: success
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
from ansible_collections.microos.transactional.plugins.module_utils._package_requests import secrets_in
from ansible_collections.microos.transactional.plugins.module_utils._packages import Packages
from ansible_collections.microos.transactional.plugins.module_utils._zypper_work import TIMEOUT

SYNONYMS = {"installed": "present", "removed": "absent"}
FLAGS = ("clean_deps", "allow_vendor_change", "auto_agree_with_licenses", "auto_import_keys", "force",
         "force_resolution", "skip_post_errors", "simple_errors", "keep_failed")


def refusal(wanted):
    """What is wrong with the arguments together, if anything."""
    if wanted["state"] == "dist-upgrade":
        return "state 'dist-upgrade' is no state of packages; use microos.transactional.system_update"
    if wanted["type"] == "application":
        return "type 'application' is none of zypper any more; use type 'package'"
    if wanted["auto_import_keys"]:
        return ("auto_import_keys would trust any key; import the right one by its fingerprint with "
                "microos.transactional.repository")
    return None


def main():
    module = AnsibleModule(
        argument_spec=dict(
            {flag: {"type": "bool", "default": False} for flag in FLAGS},
            name={"type": "list", "elements": "str", "aliases": ["pkg"]},
            optional={"type": "list", "elements": "str", "default": []},
            state={"type": "str", "default": "present",
                   "choices": ["present", "installed", "latest", "absent", "removed", "dist-upgrade"]},
            type={"type": "str", "default": "package",
                  "choices": ["package", "patch", "pattern", "product", "srcpackage", "application"]},
            recommends={"type": "bool"},
            disable_recommends={"type": "bool"},
            allow_downgrade={"type": "bool", "default": False, "aliases": ["oldpackage"]},
            replace_files={"type": "bool", "default": False, "aliases": ["replacefiles"]},
            allow_untrusted={"type": "bool", "default": False, "aliases": ["disable_gpg_check"]},
            update_cache={"type": "bool", "default": False, "aliases": ["refresh"]},
            extra_args={"type": "str"},
            extra_args_precommand={"type": "str"},
            quiet={"type": "bool", "default": True},
            timeout={"type": "int", "default": TIMEOUT},
            engine=_module.ENGINE_ARGUMENT,
        ),
        required_one_of=[("name", "optional")],
        mutually_exclusive=[("recommends", "disable_recommends")],
        supports_check_mode=True,
    )
    wanted = module.params
    # they are refused, or hidden wherever people read, and must not be repeated with the arguments of the task
    module.no_log_values.update(secrets_in([
        *(wanted["name"] or []), *wanted["optional"],
        *(wanted["extra_args"] or "").split(), *(wanted["extra_args_precommand"] or "").split()]))
    problem = refusal(wanted)
    if problem:
        module.fail_json(msg=problem)
    if wanted["disable_recommends"] is not None:
        wanted["recommends"] = not wanted["disable_recommends"]
    state = SYNONYMS.get(wanted["state"], wanted["state"])

    def work(host):
        packages = Packages(host, wanted["name"] or [], state, wanted, wanted["optional"])
        packages.ensure(module.check_mode)
        for warning in packages.warnings:
            module.warn(warning)
        return packages.result

    _module.run(module, work)


if __name__ == "__main__":
    main()
