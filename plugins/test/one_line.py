# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: one_line
short_description: Whether a value is one line of text
version_added: 0.2.0
author:
  - microos.transactional contributors (@microos-transactional)
description:
  - Whether a value can stand in a line of a file and is nothing but that. It has to be a text or a number of characters
    that can be printed, among them no line break, no other control character and no NUL, or tabs.
  - It is for the roles of this collection, and may change with them.
options:
  _input:
    description: The value.
    type: raw
    required: true
  pattern:
    description: A regular expression of Python that the whole value has to match.
    type: str
    default: .*
  empty:
    description: Whether an empty text is right, too.
    type: bool
    default: false
  longest:
    description: How many characters the value may have.
    type: int
"""

EXAMPLES = r"""
- name: Refuse what is no name of a kernel module
  ansible.builtin.assert:
    that: module is microos.transactional.one_line('[a-z0-9_]+')
"""

RETURN = r"""
_value:
  description: Whether it is.
  type: bool
"""

import re


def one_line(value, pattern=".*", empty=False, longest=None):
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return False
    text = str(value)
    if not text:
        return bool(empty)
    if longest is not None and len(text) > longest:
        return False
    return text.replace("\t", " ").isprintable() and re.fullmatch(pattern, text) is not None


class TestModule:
    def tests(self):
        return {"one_line": one_line}
