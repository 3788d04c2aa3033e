# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: as_dict
short_description: A dictionary, also of what was given as text
version_added: 0.2.0
author:
  - microos.transactional contributors (@microos-transactional)
description:
  - Makes a dictionary of a variable in the way of module options of the type dict. Ansible checks the variables of
    roles against their types, but leaves them as they are, so that C(-e) gives a text where a role expects a
    dictionary.
  - It is for the roles of this collection, and may change with them.
options:
  _input:
    description: A dictionary, or a text such as C(a=1, b=2) or one in JSON. Nothing, or an empty text, is an empty
      dictionary.
    type: raw
    required: true
  booleans:
    description: What stands for false and true in the values, if given.
    type: list
    elements: str
"""

EXAMPLES = r"""
- name: Lines of a file
  ansible.builtin.debug:
    msg: "{{ {'a': true} | microos.transactional.as_dict(booleans=['0', '1']) | dictsort | map('join', '=') }}"
"""

RETURN = r"""
_value:
  description: Names and values.
  type: dict
"""

from ansible.errors import AnsibleFilterError
from ansible.module_utils.common.validation import check_type_dict


def as_dict(value, booleans=None):
    if value is None or (isinstance(value, str) and not value.strip()):
        return {}
    try:
        found = check_type_dict(value)
    except TypeError as exc:
        raise AnsibleFilterError(f"a dictionary is expected: {exc}") from exc
    if booleans is None:
        return found
    return {name: booleans[one] if isinstance(one, bool) else one for name, one in found.items()}


class FilterModule:
    def filters(self):
        return {"as_dict": as_dict}
