# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.microos.transactional.plugins.module_utils import _snapshot, _snapshot_cleanup
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError

BEFORE = _snapshot.Record("made by a test", "number", {"important": "yes", "ansible-base": "1"})


@pytest.mark.parametrize("arguments, after", [
    ((None, {}, None), BEFORE),
    (("", {}, True), BEFORE._replace(description="", cleanup="")),
    ((None, {"important": "", "other": "", "new": "x"}, None),
     BEFORE._replace(userdata={"ansible-base": "1", "new": "x"})),
    ((None, {}, False), BEFORE),
])
def test_plan(arguments, after):
    assert _snapshot.plan(BEFORE, *arguments) == after


@pytest.mark.parametrize("cleanup, after", [("", "number"), ("number", "number"), ("timeline", "timeline")])
def test_unpin(cleanup, after):
    assert _snapshot.plan(BEFORE._replace(cleanup=cleanup), None, {}, False).cleanup == after


def test_userdata():
    wanted = {"a": None, "b": "", "c": 3, "a b": "it's \"so\"", "ü": "ö"}
    assert _snapshot.check_userdata(wanted) == {"a": "", "b": "", "c": "3", "a b": "it's \"so\"", "ü": "ö"}


@pytest.mark.parametrize("userdata", [
    {"": "x"}, {" a": "x"}, {"a": "x "}, {"a": "x,y"}, {"a": "x=y"}, {"a,b": "x"}, {"a": "\n"}, {"a": "x\x7f"},
    {"ansible-play": None}, {"transactional-update-in-progress": "yes"},
])
def test_userdata_that_cannot_be_kept(userdata):
    with pytest.raises(TransactionalError, match="userdata: "):
        _snapshot.check_userdata(userdata)


@pytest.mark.parametrize("option, value, text", [
    ("number_cleanup", True, "yes"), ("timeline_create", False, "no"), ("number_min_age", 0, "0"),
    ("number_limit", "0", "0"), ("number_limit", "2-10", "2-10"), ("number_limit", "10-10", "10-10"),
    ("space_limit", "0.5", "0.5"), ("space_limit", "1", "1"), ("free_limit", ".25", ".25"),
    ("space_limit", "20 GiB", "20 GiB"), ("space_limit", "1.5TB", "1.5TB"), ("free_limit", "100 B", "100 B"),
])
def test_settings(option, value, text):
    assert _snapshot_cleanup.as_settings({option: value, "engine": "auto"}) == {option.upper(): text}


@pytest.mark.parametrize("option, value", [
    ("number_min_age", -1), ("number_limit", ""), ("number_limit", "10-2"), ("number_limit", "2 - 10"),
    ("number_limit", "2-"), ("space_limit", "20"), ("space_limit", "0,5"), ("space_limit", "20 apples"),
    ("space_limit", "-1 GiB"), ("free_limit", "50%"), ("free_limit", "1e-1"), ("free_limit", ""),
])
def test_settings_that_are_not_possible(option, value):
    with pytest.raises(TransactionalError, match=f"{option}: '{value}' is not possible"):
        _snapshot_cleanup.as_settings({option: value})


def test_ranges_without_quota():
    configuration = {"NUMBER_LIMIT": "2-10", "NUMBER_LIMIT_IMPORTANT": "4", "QGROUP": ""}
    assert _snapshot_cleanup.without_quota(configuration) == ["NUMBER_LIMIT"]
    assert _snapshot_cleanup.without_quota(dict(configuration, QGROUP="1/0")) == []
