# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module snapshot_cleanup, judged by the configuration and what snapper's cleanup does with it."""

from __future__ import annotations

import pathlib

import pytest

CONFIGURATION = pathlib.Path("/etc/snapper/configs/root")


@pytest.fixture
def policy(host):
    before = CONFIGURATION.read_bytes()
    yield host
    CONFIGURATION.write_bytes(before)


def test_set_what_was_given(policy):
    before = CONFIGURATION.read_text()
    wanted = {"number_limit": 3, "number_min_age": 0, "number_cleanup": True, "free_limit": "5 GiB",
              "timeline_limit_quarterly": "4"}
    predicted = policy.module("snapshot_cleanup", _check=True, **wanted)
    assert predicted["changed"]
    assert CONFIGURATION.read_text() == before
    result = policy.module("snapshot_cleanup", **wanted)
    assert result == predicted
    assert (result["settings"]["number_limit"], result["settings"]["space_limit"]) == ("3", "0.5")
    assert (result["quota"], result.get("warnings")) == (False, None)
    changed = set(CONFIGURATION.read_text().splitlines()) ^ set(before.splitlines())
    assert changed == {'NUMBER_LIMIT="10"', 'NUMBER_LIMIT="3"', 'NUMBER_MIN_AGE="3600"', 'NUMBER_MIN_AGE="0"',
                       'FREE_LIMIT="0.2"', 'FREE_LIMIT="5 GiB"', 'TIMELINE_LIMIT_QUARTERLY="0"',
                       'TIMELINE_LIMIT_QUARTERLY="4"'}
    assert not policy.module("snapshot_cleanup", **wanted)["changed"]
    assert not policy.module("snapshot_cleanup")["changed"]


def test_the_cleanup_keeps_to_it(policy):
    for _number in range(4):
        policy.snapper("create", "--from", "1", "--cleanup-algorithm", "number")
    policy.module("snapshot", number=2, pinned=True)
    policy.module("snapshot_cleanup", number_limit=2, number_min_age=0)
    policy.snapper("cleanup", "number")
    # 1 is in use, 2 is pinned
    assert policy.numbers() == [1, 2, 4, 5]


def test_a_range_needs_quota(policy):
    result = policy.module("snapshot_cleanup", number_limit="2-10")
    assert result["changed"]
    assert "NUMBER_LIMIT: the lower end of a range counts only where snapper knows the quota group" in str(
        result["warnings"])


@pytest.mark.parametrize("wanted, words", [
    ({"number_limit": "10-2"}, "number_limit: '10-2' is not possible: a number as 10 or a range"),
    ({"number_limit_important": "-1"}, "a number as 10"),
    ({"timeline_limit_daily": "many"}, "a number as 10"),
    ({"space_limit": "1.5"}, "a part of the file system from 0 to 1"),
    ({"space_limit": "20%"}, "a part of the file system"),
    ({"free_limit": ""}, "a part of the file system"),
    ({"number_min_age": -1}, "a number of seconds"),
    ({"number_min_age": "1h"}, "cannot be converted to an int"),
    ({"number_cleanup": "maybe"}, "is not a valid boolean"),
])
def test_values_that_would_stop_the_cleanup(policy, wanted, words):
    before = CONFIGURATION.read_text()
    result = policy.module("snapshot_cleanup", **wanted)
    assert result.get("failed"), result
    assert words in result["msg"]
    assert CONFIGURATION.read_text() == before
