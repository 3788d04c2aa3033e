# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Note that this doc fragment is PRIVATE to the collection."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
  diff_mode:
    description: Returns details on what has changed, or would change in C(check_mode), when in diff mode.
  platform:
    description: Target operating systems that can be operated against.
    platforms: posix
    support: full
    details:
      - A btrfs root in a snapper snapshot, with C(tukit) or without, such as openSUSE MicroOS, SL Micro, Leap Micro,
        Aeon and Kalpa.
  action_group:
    description: Use C(group/microos.transactional.transactional) in C(module_defaults) to serve all modules at once.
    support: full
    membership:
      - microos.transactional.transactional
requirements:
  - "root rights on the managed host (C(become: true))"
  - Python 3.8 or later on the managed host, standard library only
  - snapper, and C(tukit) (transactional-update 4.0 or later) for the engine V(tukit)
"""

    ENGINE = r"""
options:
  engine:
    description:
      - What opens, closes and deletes snapshots on the managed host.
      - V(auto) takes C(tukit) where it is installed and otherwise snapper.
    type: str
    choices: [auto, tukit, snapper]
    default: auto
"""
