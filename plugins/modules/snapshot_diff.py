#!/usr/bin/python
# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: snapshot_diff
short_description: Tell what differs between two snapshots
version_added: 0.2.0
author:
  - microos.transactional contributors (@microos-transactional)
description:
  - Compares the packages and the files of two snapshots, by default those of the current and the default one, which is
    what the next boot will change. It only reads.
  - A file differs if its type, content, target, device, mode, owner, group, extended attributes (ACLs, SELinux label,
    capabilities) or flags (of C(chattr)) do. A mere new time of modification is no difference.
  - What vanishes while it is compared is left out. What is mounted below a snapshot is not looked at, and the place of
    a subvolume, which no snapshot has a part in, is no difference.
  - A list of files has 1000 entries at most, and another value tells how many there are. Bytes of a file name that are
    no valid UTF-8 are shown as V(\\xNN); in diffs, control characters are shown escaped, too.
  - What lies outside of the snapshots, such as C(/var) and C(/home), is not compared. The database of rpm is compared
    by the packages in it.
  - Where C(/etc) is a subvolume of its own in each snapshot (transactional-update 5.0 or later), that one is
    compared. The running C(/etc) can be changed and is the one of the current snapshot. Until the first boot of a
    snapshot that was made from the current one, it is compared with how the running C(/etc) was when the snapshot was
    made, as what was changed in the running C(/etc) since will be merged into it; RV(drift) tells that. Where C(/etc)
    is an overlay (transactional-update before 5.0), only its lowest layer is compared, and a warning says so.
  - On the connections of this collection too it looks at the host itself; an open transaction is compared by its
    number.
options:
  from:
    description:
      - The snapshot before. Its number, V(running) or V(current) for the one in use, V(default) for the one of the
        next boot, or V(previous) for the one that the current one was made from, see
        M(microos.transactional.rollback).
      - Snapshots that are open or were kept after a failure are allowed.
    type: str
    default: running
  to:
    description: The snapshot after, as in O(from).
    type: str
    default: default
  paths:
    description:
      - Absolute paths of files and directories. Only these and what is below them are compared; packages always are.
      - They must not lead through symbolic links.
    type: list
    elements: path
    default: [/]
  content:
    description:
      - Whether to return unified diffs of the text files below C(/etc) that were added, removed or got another content.
      - Files that not everybody may read, also for the sake of a directory on their way, the shadow files, and
        private keys are never shown, and passwords in URLs neither. Other secrets in files that everybody may read
        are shown; use C(no_log) for the task if there may be any.
    type: bool
    default: false
  content_limit:
    description:
      - The size in bytes up to which a file is shown with O(content=true). All diffs of a result together have 1 MiB at
        most, and a larger file is never shown.
    type: int
    default: 102400
  package_files:
    description: Whether to list the different files that changed packages explain, instead of only counting them.
    type: bool
    default: false
extends_documentation_fragment:
  - microos.transactional._attributes
  - microos.transactional._attributes.engine
attributes:
  check_mode:
    support: full
    details: This module only reads.
  diff_mode:
    support: full
    details: Ansible prints the diff of a task that changed something, so the task needs C(changed_when).
seealso:
  - module: microos.transactional.snapshot_info
  - module: microos.transactional.rollback
"""

EXAMPLES = r"""
- name: See what the next boot changes
  microos.transactional.snapshot_diff:
  register: waiting

- name: Say which packages get another version
  ansible.builtin.debug:
    msg: "{{ item.name }}: {{ item.old_version }} -> {{ item.version }}"
  loop: "{{ waiting.packages.upgraded + waiting.packages.downgraded }}"

- name: Print it with --diff, configuration files line by line
  microos.transactional.snapshot_diff:
    content: true
  register: waiting
  changed_when: waiting.differs

- name: Find what somebody changed in /etc between two snapshots
  microos.transactional.snapshot_diff:
    from: 12
    to: 14
    paths: [/etc]
    content: true

- name: Find what somebody changed in the running /etc since snapshot 12 was in use
  microos.transactional.snapshot_diff:
    from: 12
    to: running
    paths: [/etc]

- name: Warn of manual changes that the pending snapshot will not take over
  microos.transactional.snapshot_diff:
    paths: [/etc]
  register: waiting
  failed_when: (waiting.lost_count or 0) > 0
"""

RETURN = r"""
from:
  description: Number of the snapshot before.
  type: int
  returned: success
  sample: 12
to:
  description: Number of the snapshot after.
  type: int
  returned: success
  sample: 14
differs:
  description: Whether anything differs.
  type: bool
  returned: success
packages:
  description: The packages that differ, by what became of them. All empty on hosts without rpm.
  type: dict
  returned: success
  contains:
    installed:
      description: New packages, and further versions of packages that can be installed several times.
      type: list
      elements: dict
      sample: [{name: htop, version: 3.4.1-1.1, arch: x86_64}]
    removed:
      description: Packages that are gone, as RV(packages.installed).
      type: list
      elements: dict
    upgraded:
      description: Packages with a newer version, as rpm compares versions.
      type: list
      elements: dict
      sample: [{name: vim, version: 9.1.2-1.1, arch: x86_64, old_version: 9.1.1-1.1, old_arch: x86_64}]
    downgraded:
      description: Packages with an older version, as RV(packages.upgraded).
      type: list
      elements: dict
    changed_arch:
      description: Packages with the same version for another architecture, as RV(packages.upgraded).
      type: list
      elements: dict
files:
  description: The first 1000 of the different files that no changed package explains, in order of their paths.
  type: list
  elements: dict
  returned: success
  contains:
    path:
      description: Path inside the snapshots.
      type: str
      sample: /etc/hosts
    change:
      description: V(added), V(removed) or V(modified).
      type: str
    aspects:
      description:
        - In what a V(modified) one differs, of V(type), V(content), V(target) (of a symbolic link), V(device), V(mode),
          V(owner), V(group), V(label) (of SELinux), V(attributes) and V(flags) (of C(chattr)). Nothing else is said of
          one of another V(type).
        - V(below) is said of a directory that has a difference so deep below that its path has more than 4000 bytes.
      type: list
      elements: str
      sample: [content, mode]
    diff:
      description: Unified diff of the content.
      type: str
      returned: with O(content=true), for regular files below C(/etc) with a difference in their content
    withheld:
      description: Why there is no RV(files[].diff), for example V(not readable by everybody), V(binary).
      type: str
      returned: instead of RV(files[].diff)
files_count:
  description: How many different files there are that no changed package explains.
  type: int
  returned: success
  sample: 3
drift:
  description:
    - What was changed in the running C(/etc) since the snapshot O(to) was made, as RV(files), within O(paths). It
      counts neither for RV(differs) nor for RV(files), as the first boot of the snapshot merges it.
    - These are 1000 changes at most; those that are V(lost) have precedence.
    - Null if that is not known, as for a snapshot that was booted already, one that was not made from the current one,
      and where C(/etc) is no subvolume of its own.
  type: list
  elements: dict
  returned: success
  contains:
    lost:
      description:
        - Whether the merge leaves this change out, as the snapshot has changed the same file in another way, or has no
          such directory any more.
      type: bool
drift_count:
  description: How many changes RV(drift) is about. Null where that is.
  type: int
  returned: success
lost_count:
  description: How many of them the merge leaves out. Null where RV(drift) is.
  type: int
  returned: success
package_files_count:
  description: How many further files differ that belong to a changed package, before or after.
  type: int
  returned: success
  sample: 1733
package_files:
  description: The first 1000 of these files, as RV(files).
  type: list
  elements: dict
  returned: with O(package_files=true)
engine:
  description: The engine that modules of this collection use on this host.
  type: str
  returned: success
snapshots:
  description: Numbers of the snapshots that there are.
  type: list
  elements: int
  returned: if a wanted snapshot does not exist
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.microos.transactional.plugins.module_utils import _module
from ansible_collections.microos.transactional.plugins.module_utils._snapshot_diff import (
    as_diff,
    find_snapshot,
    snapshot_diff,
)
from ansible_collections.microos.transactional.plugins.module_utils._transaction import choose_engine


def main():
    module = AnsibleModule(
        argument_spec={
            "from": {"type": "str", "default": "running"},
            "to": {"type": "str", "default": "default"},
            "paths": {"type": "list", "elements": "path", "default": ["/"]},
            "content": {"type": "bool", "default": False},
            "content_limit": {"type": "int", "default": 102400},
            "package_files": {"type": "bool", "default": False},
            "engine": _module.ENGINE_ARGUMENT,
        },
        supports_check_mode=True,
    )
    wanted = module.params

    def work(host):
        old, new = (find_snapshot(host, wanted[option], option) for option in ("from", "to"))
        result = snapshot_diff(host, old, new, wanted["paths"], wanted["content"], wanted["content_limit"],
                               wanted["package_files"])
        if module._diff:
            result["diff"] = as_diff(old, new, result["packages"], result["files"], result["files_count"])
        return dict(result, engine=choose_engine(host, wanted["engine"]).name)

    _module.run(module, work)


if __name__ == "__main__":
    main()
