# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Note that this doc fragment is PRIVATE to the collection.

The options of the stock connections are taken from the ansible-core that runs, so none is missing and none is too many.
"""

from __future__ import annotations

from ansible.module_utils.common.yaml import yaml_dump, yaml_load
from ansible.plugins.connection import local, ssh


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  join:
    description:
      - Enter the transaction of another run, for a look or a repair.
    type: bool
    default: false
    vars:
      - name: ansible_transaction_join
  become_method:
    description:
      - Only root can enter. This is how a user who is not root becomes root for a task without C(become).
    type: str
    default: sudo
    keyword:
      - name: become_method
    vars:
      - name: ansible_become_method
  become_exe:
    description:
      - Executable of O(become_method).
    type: str
    keyword:
      - name: become_exe
    vars:
      - name: ansible_become_exe
  become_flags:
    description:
      - Flags for O(become_method).
    type: str
    keyword:
      - name: become_flags
    vars:
      - name: ansible_become_flags
  become_pass:
    description:
      - Password for O(become_method).
    type: str
    vars:
      - name: ansible_become_password
      - name: ansible_become_pass
"""


def _options(documentation: str) -> str:
    """The options of a stock plugin without the core versions that brought them, which mean nothing here."""
    def strip(node):
        if isinstance(node, dict):
            return {key: strip(value) for key, value in node.items() if key != "version_added"}
        return [strip(item) for item in node] if isinstance(node, list) else node
    return yaml_dump({"options": strip(yaml_load(documentation).get("options", {}))})


# assigned here, as sanity's yamllint reads only literals inside the class
ModuleDocFragment.SSH = _options(ssh.DOCUMENTATION)
ModuleDocFragment.LOCAL = _options(local.DOCUMENTATION)
