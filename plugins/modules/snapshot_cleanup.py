#!/usr/bin/python
# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: snapshot_cleanup
short_description: Say which snapshots are kept
version_added: 0.2.0
author:
  - microos.transactional contributors (@microos-transactional)
description:
  - Sets how many snapshots of the root file system snapper's cleanup keeps, for how long, and in how much space.
    Options that are not given stay as they are. Nothing is deleted at once; C(snapper-cleanup.timer) does so.
  - Values are checked, which snapper does not do; it would take a wrong one and end its cleanup there from then on.
  - The settings are written to C(/etc) of the running system at once, without a snapshot. What is pending gets them at
    its first boot, unless the same file was changed there too.
  - Without any option it only tells the settings.
options:
  number_cleanup:
    description: Whether snapshots with the cleanup algorithm C(number) are cleaned up, as those of this collection.
    type: bool
  number_limit:
    description:
      - How many snapshots are kept, as V(10), or as a range V(2-10). The lower end of a range is how many are kept even
        if the space of O(space_limit) or O(free_limit) runs out. It needs a quota group, see RV(quota).
      - Important ones are those with C(important=yes) in their userdata; they are counted on their own.
    type: str
  number_limit_important:
    description: As O(number_limit), for the important ones.
    type: str
  number_min_age:
    description: Age in seconds before which none of them is deleted.
    type: int
  space_limit:
    description: >-
      How much of the file system all snapshots may use, as a part (V(0.5)) or as a size (V(20 GiB), snapper 0.9 or
      later). It needs a quota group, see RV(quota).
    type: str
  free_limit:
    description: How much of the file system is to be left free, as O(space_limit).
    type: str
  timeline_create:
    description: Whether a snapshot is made each hour. Not of use for a read-only root file system.
    type: bool
  timeline_cleanup:
    description: Whether snapshots with the cleanup algorithm C(timeline) are cleaned up.
    type: bool
  timeline_min_age:
    description: Age in seconds before which none of them is deleted.
    type: int
  timeline_limit_hourly:
    description: How many hourly snapshots are kept, a number or range as in O(number_limit).
    type: str
  timeline_limit_daily:
    description: How many daily snapshots are kept, a number or range as in O(number_limit).
    type: str
  timeline_limit_weekly:
    description: How many weekly snapshots are kept, a number or range as in O(number_limit).
    type: str
  timeline_limit_monthly:
    description: How many monthly snapshots are kept, a number or range as in O(number_limit).
    type: str
  timeline_limit_quarterly:
    description: How many quarterly snapshots are kept, a number or range as in O(number_limit).
    type: str
  timeline_limit_yearly:
    description: How many yearly snapshots are kept, a number or range as in O(number_limit).
    type: str
  empty_pre_post_cleanup:
    description: Whether pairs of snapshots before and after a change that do not differ are cleaned up.
    type: bool
  empty_pre_post_min_age:
    description: Age in seconds before which none of them is deleted.
    type: int
extends_documentation_fragment:
  - microos.transactional._attributes
  - microos.transactional._attributes.engine
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
seealso:
  - module: microos.transactional.snapshot
    description: Protects a single snapshot from the cleanup.
  - module: microos.transactional.snapshot_info
"""

EXAMPLES = r"""
- name: Keep the last twenty snapshots, and none that is younger than a day goes
  microos.transactional.snapshot_cleanup:
    number_cleanup: true
    number_limit: 20
    number_limit_important: 10
    number_min_age: 86400

- name: Keep at least two and at most ten, as space allows
  microos.transactional.snapshot_cleanup:
    number_limit: 2-10
    space_limit: 20 GiB
    free_limit: 0.2
"""

RETURN = r"""
settings:
  description:
    - All settings that this module has options for, by the names of the options, as snapper has them. Null for one that
      the host's configuration does not have.
  type: dict
  returned: success
  sample: {number_cleanup: "yes", number_limit: 2-10, space_limit: "0.5"}
quota:
  description: Whether snapper has a quota group, which limits of space and the lower ends of ranges need.
  type: bool
  returned: success
engine:
  description: The engine that modules of this collection use on this host.
  type: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.microos.transactional.plugins.module_utils import _module
from ansible_collections.microos.transactional.plugins.module_utils._snapshot_cleanup import OPTIONS, snapshot_cleanup
from ansible_collections.microos.transactional.plugins.module_utils._transaction import choose_engine


def main():
    module = AnsibleModule(
        argument_spec={
            **{option: {"type": type_} for option, (type_, _text) in OPTIONS.items()},
            "engine": _module.ENGINE_ARGUMENT,
        },
        supports_check_mode=True,
    )
    _module.run(module, lambda host: dict(snapshot_cleanup(module.params, module.check_mode),
                                          engine=choose_engine(host, module.params["engine"]).name))


if __name__ == "__main__":
    main()
