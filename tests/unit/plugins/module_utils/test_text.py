# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest

from ansible_collections.microos.transactional.plugins.module_utils import _text


@pytest.mark.parametrize("name, shown", [
    ("plain ~name", "plain ~name"), ("Grüße 日本", "Grüße 日本"), ("dev-disk\\x2dlabel", "dev-disk\\x2dlabel"),
    ("a\nb\tc\rd", "a\\nb\\tc\\rd"), ("a\udcffb", "a\\xffb"), ("a\x85b\u2028c", "a\\u0085b\\u2028c"),
    ("\x1b[2Jname", "\\u001b[2Jname"), ("abc\u202ecba", "abc\\u202ecba"), ("\x0c", "\\u000c"), ("\ud800", "\\ud800"),
])
def test_a_name_stays_on_its_line(name, shown):
    assert _text.readable(name) == shown
    shown.encode("utf-8")


def test_a_line_of_a_text_keeps_its_tabs():
    assert _text.readable_line("key\tvalue\r\x1b") == "key\tvalue\\r\\u001b"


def test_listed():
    assert _text.listed(["a", "b\n"]) == "a, b\\n"
    many = _text.listed([str(number) for number in range(30_000)])
    assert many.startswith("0, 1, ") and many.endswith(", 19 and 29,980 more")
    assert len(_text.listed(["d" * 5000])) == _text.NAME_LENGTH + 3


def test_whatever_a_result_has_can_be_sent():
    told = _text.printable({
        "a\udce9": ["b\udcff", {"c": (b"\xfe", None, 1, True)}], "kept": "a\nb\\x41 \u2028", "s": {"x"}})
    assert told == {"a\\xe9": ["b\\xff", {"c": ["\\xfe", None, 1, True]}], "kept": "a\nb\\x41 \u2028", "s": ["x"]}
    json.dumps(told, ensure_ascii=False).encode("utf-8")
