# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.microos.transactional.plugins.module_utils import _rollback
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError


def row(number, **userdata):
    return {"number": number, "description": "made by a test",
            "userdata": {key.replace("_", "-"): value for key, value in userdata.items()}}


SNAPSHOTS = [
    row(1), row(2, ansible_base="1"), row(3, ansible_base="2"), row(5, ansible_base="1"),
    row(6, transactional_update_in_progress="yes"), row(7, ansible_failed="yes"), row(8), row(9, ansible_base="4"),
]


@pytest.mark.parametrize("current, expected", [
    (5, 1),  # recorded
    (3, 2),
    (8, 5),  # nothing recorded: the newest complete one before; 6 is open, 7 has failed
    (9, 8),  # what is recorded is gone
])
def test_previous(current, expected):
    assert _rollback.choose(SNAPSHOTS, current, "previous") == expected


def test_no_previous():
    with pytest.raises(TransactionalError, match="no snapshot before the current one, 1"):
        _rollback.choose(SNAPSHOTS, 1, "previous")


def test_number_and_current():
    assert _rollback.choose(SNAPSHOTS, 5, "3") == 3
    assert _rollback.choose(SNAPSHOTS, 5, "current") == 5


@pytest.mark.parametrize("to, words", [
    ("99", "there is no snapshot 99; usable are 1, 2, 3, 5, 8, 9"),
    ("6", "snapshot 6 was never completed"),
    ("7", "snapshot 7 was never completed"),
    ("last", "neither the number of a snapshot nor 'previous'"),
    ("-1", "neither the number"),
    ("", "neither the number"),
])
def test_what_cannot_be_rolled_back_to(to, words):
    with pytest.raises(TransactionalError, match=words):
        _rollback.choose(SNAPSHOTS, 5, to)
