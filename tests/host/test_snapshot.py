# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module snapshot, judged by snapper."""

from __future__ import annotations

import json
import os

import pytest


@pytest.fixture
def second(host):
    """The host, with a snapshot 2 that nobody needs."""
    assert host.snapper("create", "--from", "1", "--print-number", "--description", "made by hand", "--userdata",
                        "a=1,b=2,ansible-base=1", "--cleanup-algorithm", "number") == "2"
    return host


def record(host, number=2):
    listed = json.loads(host.snapper("--jsonout", "list", "--columns", "number,description,cleanup,userdata"))["root"]
    return next((row for row in listed if row["number"] == number), None)


def test_describe_and_pin(second):
    text = "Certified, as 'seen' by \"Jörg\" = OK"
    wanted = {"number": 2, "description": text, "pinned": True, "userdata": {"a": None, "b": 3, "ticket": "OPS 1 ü"}}
    before = second.state()
    predicted = second.module("snapshot", _check=True, **wanted)
    assert predicted["changed"]
    assert second.state() == before
    result = second.module("snapshot", **wanted)
    assert result == predicted
    assert result["snapshot"]["description"] == text
    assert '"cleanup": "number"' in result["diff"]["before"]
    assert record(second) == {"number": 2, "description": text, "cleanup": "",
                              "userdata": {"ansible-base": "1", "b": "3", "ticket": "OPS 1 ü"}}
    assert not second.module("snapshot", **wanted)["changed"]
    assert second.module("snapshot", number=2, pinned=False)["changed"]
    assert record(second)["cleanup"] == "number"
    assert not second.module("snapshot", number=2, pinned=False)["changed"]
    assert second.module("snapshot", number=2, description="")["changed"]
    assert record(second)["description"] == ""


def test_another_algorithm_stays(second):
    second.snapper("modify", "--cleanup-algorithm", "timeline", "2")
    assert not second.module("snapshot", number=2, pinned=False)["changed"]
    assert second.module("snapshot", number=2, pinned=True)["changed"]


@pytest.mark.parametrize("arguments, words", [
    ({"number": 9}, "there is no snapshot 9; there are 1, 2"),
    ({"number": 2, "userdata": {"ansible-base": "7"}}, "'ansible-base' records the making"),
    ({"number": 2, "userdata": {"transactional-update-in-progress": "yes"}}, "records the making"),
    ({"number": 2, "userdata": {"x": "a,b"}}, "snapper cannot keep 'a,b'"),
    ({"number": 2, "userdata": {"x=y": "a"}}, "snapper cannot keep 'x=y'"),
    ({"number": 2, "userdata": {"x": "a\nb"}}, "snapper cannot keep"),
    ({"number": 2, "userdata": {"x": " a"}}, "snapper cannot keep"),
    ({"number": 2, "userdata": {"": None}}, "snapper cannot keep"),
    ({"number": 2, "description": "a\nb"}, "has to be one line"),
    ({"number": 2, "state": "absent", "pinned": True}, "not for state: absent"),
    ({"number": 1, "state": "absent"}, "cannot be deleted: it is the default"),
])
def test_what_is_refused(second, arguments, words):
    before = second.state()
    for check in (True, False):
        result = second.module("snapshot", _check=check, **arguments)
        assert words in result["msg"], result
    assert second.state() == before


def test_delete(second):
    before = second.state()
    result = second.module("snapshot", number=2, state="absent", _check=True)
    assert (result["changed"], result["snapshot"]) == (True, None)
    assert second.state() == before
    assert second.module("snapshot", number=2, state="absent")["changed"]
    assert record(second) is None
    assert os.listdir("/.snapshots") == ["1"]
    again = second.module("snapshot", number=2, state="absent")
    assert (again["changed"], again.get("warnings")) == (False, None)


def test_the_current_one_is_not_deleted(host):
    host.module("package", name="testbed-hello")
    assert "cannot be deleted: it is the current one" in host.module("snapshot", number=1, state="absent")["msg"]
    assert "cannot be deleted: it is the default" in host.module("snapshot", number=2, state="absent")["msg"]
    host.module("rollback", drop_pending=True)
    assert host.module("snapshot", number=2, state="absent")["changed"]
    assert host.numbers() == [1]


def test_an_open_transaction(second):
    second.snapper("modify", "--userdata", "transactional-update-in-progress=yes", "2")
    assert "cannot be deleted: it is an open transaction" in second.module("snapshot", number=2, state="absent")["msg"]
    assert "is an open transaction, whose record stays" in second.module("snapshot", number=2, pinned=True)["msg"]
    assert not second.module("snapshot", number=2)["changed"]
    # kept after a failure, it is over
    second.snapper("modify", "--userdata", "ansible-failed=yes", "2")
    assert second.module("snapshot", number=2, pinned=True)["changed"]
    assert second.module("snapshot", number=2, state="absent")["changed"]


def test_what_the_open_transaction_needs(second):
    run = {"key": "0123456789abcdef", "identity": {"machine": "here", "pid": 1, "started": "1"}}
    opened = second.module("transaction", state="open", base="2", _run=run)
    assert opened["snapshot"] == 3, opened
    try:
        words = second.module("snapshot", number=2, state="absent")["msg"]
        assert "cannot be deleted: the open transaction was made from it" in words
        assert "cannot be deleted: it is an open transaction" in second.module(
            "snapshot", number=3, state="absent")["msg"]
    finally:
        second.module("transaction", state="aborted", _run=run)
    assert second.module("snapshot", number=2, state="absent")["changed"]


def test_remains_of_an_interrupted_deletion(host):
    os.mkdir("/.snapshots/7")
    try:
        (warning,) = host.module("snapshot", number=7, state="absent")["warnings"]
        assert "snapper has no snapshot 7, but there is /.snapshots/7" in str(warning)
    finally:
        os.rmdir("/.snapshots/7")
