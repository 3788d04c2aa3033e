# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How roles take their variables."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.microos.transactional.plugins.filter.as_dict import as_dict
from ansible_collections.microos.transactional.plugins.filter.as_list import as_list
from ansible_collections.microos.transactional.plugins.test.one_line import one_line


@pytest.mark.parametrize("value, expected", [
    (None, []), ("", []), (" ", []), ("a", ["a"]), ("a,b", ["a", "b"]), ("a, b ", ["a", "b"]), (["a,b"], ["a,b"]),
    ([], []), (5, ["5"]), ("a\n", ["a"])])
def test_lists(value, expected):
    assert as_list(value) == expected


def test_what_is_no_list():
    with pytest.raises(AnsibleFilterError, match="a list is expected"):
        as_list({"a": 1})


@pytest.mark.parametrize("value, expected", [
    (None, {}), ("", {}), ({"a": True, "b": 0}, {"a": "1", "b": 0}), ("a=1, b='c d'", {"a": "1", "b": "c d"}),
    ('{"a": false}', {"a": "0"})])
def test_dictionaries(value, expected):
    assert as_dict(value, booleans=["0", "1"]) == expected


def test_booleans_stay_if_nothing_stands_for_them():
    assert as_dict({"a": True}) == {"a": True}


@pytest.mark.parametrize("value", [["a"], "a", 5])
def test_what_is_no_dictionary(value):
    with pytest.raises(AnsibleFilterError, match="a dictionary is expected"):
        as_dict(value)


@pytest.mark.parametrize("value, arguments", [
    ("a", {}), ("a b\tc", {}), (5, {}), (0, {"pattern": "[0-9]"}), (1.5, {}), ("\u00e9", {}), ("", {"empty": True}),
    ("ab", {"longest": 2}), ("%h $x `id`", {}), ("", {"empty": True, "pattern": "a"})])
def test_a_line(value, arguments):
    assert one_line(value, **arguments)


@pytest.mark.parametrize("value, arguments", [
    ("", {}), (None, {"empty": True}), (True, {}), (["a"], {}), ({}, {}), ("a\n", {}), ("\n", {}), ("a\rb", {}),
    ("a\0", {}), ("a\x0bb", {}), ("a\x1bb", {}), ("a\x85b", {}), ("a\u2028b", {}), ("a\n", {"pattern": "a$"}),
    ("ab", {"pattern": "a"}), ("abc", {"longest": 2}), ("\udce9", {}), (b"a", {})])
def test_no_line(value, arguments):
    assert not one_line(value, **arguments)
