#!/usr/bin/python
# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: transaction
short_description: Open, close or abort a transaction that any task can enter
version_added: 0.2.0
author:
  - microos.transactional contributors (@microos-transactional)
description:
  - Opens a new snapshot that stays open from task to task. Tasks with the connection plugins
    P(microos.transactional.ssh#connection) and P(microos.transactional.local#connection) work inside of it, unchanged.
    Closing makes it the default snapshot, which takes effect at the next boot; aborting deletes it.
  - A transaction belongs to the run of Ansible that opened it. On a host there is one at a time, and while it is open
    C(tukit) and C(transactional-update) refuse to start there.
  - In check mode there is a read-only view of the pending snapshot instead, which modules predict in and nothing
    remains of.
options:
  state:
    description:
      - V(open) opens a transaction, or finds the one that this run has open already.
      - V(closed) makes its snapshot the default, or deletes the snapshot if nothing differs from its base. The snapshot
        is deleted too, with an error, if the default is no longer what it was at the opening. If a process still runs
        inside, or for O(shadowed_writes=fail), the close is refused and the transaction stays open.
      - V(aborted) deletes the snapshot, ending what still runs inside. Nothing happens if none is open.
      - One of several tasks that end a transaction at the same time, such as those of two inventory names of a host,
        comes first. The others find it over and touch nothing; V(closed) fails then, and says how it ended, V(aborted)
        warns if it was closed.
      - M(microos.transactional.transaction_info) tells what is open.
    type: str
    choices: [open, closed, aborted]
    required: true
  base:
    description:
      - The snapshot to start from, V(default), V(current) or a number. With anything but the default, what is pending
        is left out.
    type: str
    default: default
  description:
    description:
      - Description of the snapshot. The name of the play is taken if this is empty.
      - Everybody on the host can read it and O(provenance). A password of the play, or a value that comes from a vault,
        is refused in both, and both are refused in a task with C(no_log).
    type: str
    default: ''
  provenance:
    description:
      - What else the snapshot shall record about its making, as C(ansible-KEY) in its userdata.
      - C(play), C(user), C(controller), C(git_commit) of the playbook's directory, and C(job) of AWX are recorded by
        themselves; an empty value leaves one out.
    type: dict
    default: {}
  roles:
    description:
      - Roles that will run inside. O(state=open) fails, with nothing done on the host, if a variable does not fit the
        argument spec of one of them. A variable that cannot be told yet is left to the role's own check.
    type: list
    elements: str
    default: []
  keep_failed:
    description:
      - Keep the snapshot for a look when the transaction is aborted or its close fails, instead of deleting it. It
        never becomes the default, and snapper's cleanup deletes it some day. With O(state=open) or O(state=aborted).
    type: bool
    default: false
  wait:
    description:
      - Seconds to wait for the end of another transaction, before O(state=open) fails and says whose it is.
    type: int
    default: 0
  idle_timeout:
    description:
      - Seconds after which an open transaction that nobody enters, and in which nothing runs, may end by itself; it
        does so after twice this time at the latest. It cannot be closed then, and the next run deletes its snapshot. So
        a run that was cancelled does not block the host's own updates for ever. V(0) for no end.
    type: int
    default: 3600
  shadowed_writes:
    description:
      - What O(state=closed) does if something was written to a place where another file system will be mounted at the
        boot, such as C(/home), C(/srv) or most of C(/var), and so would be lost.
    type: str
    choices: [fail, warn, ignore]
    default: fail
  join:
    description:
      - Close or abort the transaction of another run too.
    type: bool
    default: false
  _run:
    description: Which run of Ansible this is. The action plugin sets it, no playbook does.
    type: dict
  _replace:
    description: The id of a transaction whose run is over. The action plugin sets it, no playbook does.
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
    details:
      - Opens a read-only view instead of a snapshot; nothing is created on the host.
  diff_mode:
    support: full
    details:
      - Closing shows the packages and files that differ.
  platform:
    platforms: posix
notes:
  - The task that opens must use one of the two connections itself; otherwise the tasks that follow would not enter the
    transaction, and it is refused. An C(ansible_connection) in the inventory outweighs the keyword C(connection).
  - A run that failed before the close leaves the transaction open. The next run from the same controller finds that the
    old one is over and starts anew; other controllers have to wait for O(idle_timeout), or abort with O(join=true).
seealso:
  - plugin: microos.transactional.ssh
    plugin_type: connection
  - plugin: microos.transactional.local
    plugin_type: connection
  - module: microos.transactional.transaction_info
  - module: microos.transactional.reboot
"""

EXAMPLES = r"""
- name: A play in one transaction
  hosts: microos
  become: true
  gather_facts: false
  connection: microos.transactional.ssh
  pre_tasks:
    - name: Open it
      microos.transactional.transaction:
        state: open
        wait: 300

    - name: Gather the facts of the new snapshot
      ansible.builtin.setup:

  roles:
    - any.existing.role

  post_tasks:
    - name: Make it the default
      microos.transactional.transaction:
        state: closed

    - name: Bring it into effect
      microos.transactional.reboot:
"""

RETURN = r"""
snapshot:
  description:
    - Number of the open snapshot, or of the new default. Null if there is none (any more), and in check mode.
  type: int
  returned: with O(state) V(open), V(closed) or V(aborted)
  sample: 2
base:
  description: Number of the snapshot that it was made from.
  type: int
  returned: with O(state) V(open) or V(closed)
  sample: 1
opened:
  description: Whether it was opened now; false if this run had it open already.
  type: bool
  returned: with O(state=open)
engine:
  description: The engine that was used.
  type: str
  returned: success
  sample: tukit
pending:
  description: Whether the default snapshot differs from the current one, so that a reboot would change something.
  type: bool
  returned: with O(state=closed)
transaction:
  description:
    - The open transaction with its C(id), C(snapshot), C(base), C(description), C(since) (UTC), C(provenance), whether
      it is C(alive), this run's C(own), and only a C(view). Null after the close.
  type: dict
  returned: with O(state) V(open) or V(closed)
installed:
  description: Packages that the base has not, or not in this version.
  type: list
  elements: dict
  returned: with O(state=closed)
  sample: [{name: htop, version: 3.4.1-1.1, arch: x86_64}]
updated:
  description: Packages that the base has in another version, which is their C(old_version).
  type: list
  elements: dict
  returned: with O(state=closed)
removed:
  description: Packages that only the base has.
  type: list
  elements: dict
  returned: with O(state=closed)
files:
  description:
    - The first 1000 of the files that were added, modified or removed, and that do not belong to one of the packages
      above. Bytes of a file name that are no valid UTF-8 are shown as V(\\xNN).
    - If something differs so deep below a directory that its path has more than 4000 bytes, it is the directory that
      is told as V(modified).
  type: list
  elements: dict
  returned: with O(state=closed)
  sample: [{path: /etc/motd, change: modified}]
  contains:
    path:
      description: Path of the file, seen from inside.
      type: str
    change:
      description: V(added), V(modified) or V(removed).
      type: str
files_count:
  description: How many such files there are.
  type: int
  returned: with O(state=closed)
services:
  description:
    - Units of systemd that behave in another way from the activation on. Nothing is started, restarted or stopped
      inside.
  type: list
  elements: dict
  returned: with O(state=closed)
  sample: [{name: chronyd.service, change: enabled}]
  contains:
    name:
      description: Name of the unit.
      type: str
    change:
      description:
        - V(enabled) or V(disabled), or V(modified) if it is enabled as before, but its unit file or a drop-in of it
          differs.
      type: str
files_of_packages:
  description: Number of further files that differ because of the packages above.
  type: int
  returned: with O(state=closed)
shadowed_writes:
  description: The first 1000 paths that would be hidden after the boot.
  type: list
  elements: str
  returned: if the close is refused for them
shadowed_writes_count:
  description: How many such paths there are.
  type: int
  returned: if the close is refused for them
running:
  description: Processes that still run inside.
  type: list
  elements: str
  returned: if the close is refused for them
ended:
  description: Processes that still ran inside and were ended.
  type: list
  elements: str
  returned: with O(state=aborted)
kept_snapshot:
  description: Number of the snapshot that was kept.
  type: int
  returned: on failure and with O(state=aborted), if O(keep_failed=true)
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.microos.transactional.plugins.module_utils import _module
from ansible_collections.microos.transactional.plugins.module_utils._run_transaction import RunTransaction


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "required": True, "choices": ["open", "closed", "aborted"]},
            "base": {"type": "str", "default": "default"},
            "description": {"type": "str", "default": ""},
            "provenance": {"type": "dict", "default": {}},
            "roles": {"type": "list", "elements": "str", "default": []},  # for the action plugin
            "keep_failed": {"type": "bool", "default": False},
            "wait": {"type": "int", "default": 0},
            "idle_timeout": {"type": "int", "default": 3600},
            "shadowed_writes": {"type": "str", "default": "fail", "choices": ["fail", "warn", "ignore"]},
            "join": {"type": "bool", "default": False},
            "engine": _module.ENGINE_ARGUMENT,
            "_run": {"type": "dict"},
            "_replace": {"type": "str"},
        },
        supports_check_mode=True,
    )
    wanted = module.params

    def work(host):
        transaction = RunTransaction(host, wanted["engine"], wanted["_run"]["key"])
        if wanted["state"] == "open":
            details = {"provenance": wanted["provenance"], "run": wanted["_run"]["identity"]}
            result = transaction.open(
                wanted["base"], wanted["description"], details, wanted["keep_failed"], wanted["wait"],
                wanted["idle_timeout"], module.check_mode, wanted["_replace"])
        elif wanted["state"] == "closed":
            result = transaction.close(wanted["join"], wanted["shadowed_writes"], module.check_mode)
        else:
            result = transaction.abort(wanted["join"], wanted["keep_failed"], module.check_mode)
        for warning in transaction.warnings:
            module.warn(warning)
        return result

    _module.run(module, work)


if __name__ == "__main__":
    main()
