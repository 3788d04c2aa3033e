# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An answer of zypper that is cut or broken is never taken for one that says that there is nothing to do."""

from __future__ import annotations

import json
import pathlib
from xml.etree import ElementTree

import pytest
from fuzzing import damaged
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._tools import zypper

RECORDED = pathlib.Path(__file__).parents[1] / "unit" / "recorded" / "zypper"
RUNS = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RECORDED.glob("*.json"))]
COMPLETE = sorted({run["stdout"] for run in RUNS if run["rc"] in zypper.SUCCESS and "</stream>" in run["stdout"]},
                  key=len)
CHANGING = [stdout for stdout in COMPLETE if not zypper.parse(stdout).is_empty][:20]


def test_recorded_answers_are_complete():
    assert len(COMPLETE) > 20
    assert len(CHANGING) > 10


def read(stdout):
    """As those do who act on an answer."""
    answer = zypper.parse(stdout)
    zypper.require_readable(answer, "install something")
    return answer


@given(st.sampled_from(COMPLETE[:30]), st.data())
def test_a_cut_answer_is_an_error(stdout, data):
    end = stdout.index("</stream>") + len("</stream>")
    with pytest.raises(TransactionalError):
        read(stdout[:data.draw(st.integers(0, end - 1))])


@given(st.sampled_from(CHANGING), st.sampled_from(["&", "<", "\0", "\x01", "<a>", "</message>", "&nbsp;", "<![CDATA["]),
       st.data())
def test_an_answer_with_something_else_in_it_is_read_whole_or_is_an_error(stdout, strange, data):
    """Scripts of packages, and keys, come between the elements as they are."""
    place = data.draw(st.integers(stdout.index("<stream>") + len("<stream>"), stdout.index("</stream>")))
    try:
        answer = read(stdout[:place] + strange + stdout[place:])
    except TransactionalError:
        return
    assert not answer.is_empty


@given(damaged(CHANGING))
def test_a_damaged_answer_is_never_nothing_to_do(stdout):
    try:
        answer = read(stdout)
    except TransactionalError:
        return
    if answer.is_empty:
        whole = ElementTree.fromstring(stdout[max(stdout.find("<?xml"), 0):])
        assert not [row for tag in zypper.SUMMARY for found in whole.iter(tag) for row in found.iter("solvable")]
