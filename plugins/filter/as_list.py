# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: as_list
short_description: A list, also of what was given as text
version_added: 0.2.0
author:
  - microos.transactional contributors (@microos-transactional)
description:
  - Makes a list of a variable in the way of module options of the type list. Ansible checks the variables of roles
    against their types, but leaves them as they are, so that C(-e) gives a text where a role expects a list.
  - It is for the roles of this collection, and may change with them.
options:
  _input:
    description: A list, a text with commas between the elements, or a single number. Nothing, or an empty text, is an
      empty list.
    type: raw
    required: true
"""

EXAMPLES = r"""
- name: Two names
  ansible.builtin.debug:
    msg: "{{ 'a, b' | microos.transactional.as_list }}"
"""

RETURN = r"""
_value:
  description: The elements.
  type: list
  elements: raw
"""

from ansible.errors import AnsibleFilterError
from ansible.module_utils.common.validation import check_type_list


def as_list(value):
    if value is None:
        return []
    if isinstance(value, str):
        return [word.strip() for word in value.split(",")] if value.strip() else []
    try:
        return check_type_list(value)
    except TypeError as exc:
        raise AnsibleFilterError(f"a list is expected, and not {value!r}") from exc


class FilterModule:
    def filters(self):
        return {"as_list": as_list}
