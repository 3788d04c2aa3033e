# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest

from ansible_collections.microos.transactional.plugins.module_utils import _target
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._tools import boot_records


def row(number, **userdata):
    return {"number": number, "description": "made by a test", "date": "2026-01-31 04:12:00",
            "userdata": {key.replace("_", "-"): value for key, value in userdata.items()}}


SNAPSHOTS = [
    row(1), row(2, ansible_base="1"), row(3, ansible_base="2"), row(5, ansible_base="1"),
    row(6, transactional_update_in_progress="yes"), row(7, ansible_failed="yes"), row(8), row(9, ansible_base="4"),
]
USABLE = [1, 2, 3, 5, 8, 9]


def test_usable_by_their_records():
    assert _target.usable_numbers(SNAPSHOTS) == USABLE


@pytest.mark.parametrize("current, expected", [
    (5, 1),  # recorded
    (3, 2),
    (8, 5),  # nothing recorded: the newest complete one before; 6 is open, 7 has failed
    (9, 8),  # what is recorded is gone
])
def test_previous(current, expected):
    assert _target.previous(SNAPSHOTS, USABLE, current) == expected


def test_no_previous():
    with pytest.raises(TransactionalError, match="no snapshot before the current one, 1"):
        _target.previous(SNAPSHOTS, USABLE, 1)


@pytest.mark.parametrize("text, moment", [
    ("2026-01-31", "2026-01-31 00:00:00+00:00"),
    ("2026-01-31 04:12", "2026-01-31 04:12:00+00:00"),
    (" 2026-01-31T04:12:30 ", "2026-01-31 04:12:30+00:00"),
    ("2026-01-31T04:12:30Z", "2026-01-31 04:12:30+00:00"),
    ("2026-01-31T04:12+01:30", "2026-01-31 04:12:00+01:30"),
])
def test_date(text, moment):
    assert str(_target.parse_date(text)) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "31.1.2026", "2026-02-31", "2026-01-31 25:00", "2026-01-31 04",
                                  "20260131", "2026-01-31+01:00", "2026-01-31 04:12 CET"])
def test_what_is_no_date(text):
    with pytest.raises(TransactionalError, match=f"before: '{text.replace('+', '.')}' is no date"):
        _target.parse_date(text)


def test_made():
    assert _target.made(row(1)) == _target.parse_date("2026-01-31T04:12:00Z")


def test_provenance():
    made = row(1, ansible_play="a; b: c", ansible_job="12", other="x")
    assert _target.has_provenance(made, {"job": 12})
    # as snapper had to keep it
    assert _target.has_provenance(made, {"play": "a, b= c", "job": "12"})
    assert not _target.has_provenance(made, {"job": "1"})
    assert not _target.has_provenance(made, {"job": "12", "user": ""})
    assert not _target.has_provenance(made, {"other": "x"})


JOURNAL = """\
{"__REALTIME_TIMESTAMP":"1767225600000000","MESSAGE":"Kernel command line: initrd=\\\\microos\\\\initrd root=UUID=1 \
rootflags=subvol=@/.snapshots/4/snapshot rw"}
{"__REALTIME_TIMESTAMP":"1767229200500000","MESSAGE":"Kernel command line: root=UUID=1 rw"}
"""


def test_journal():
    ((number, moment, is_boot),) = boot_records.parse_journal(JOURNAL)
    assert (number, str(moment), is_boot) == (4, "2026-01-01 00:00:00+00:00", True)


def journal(*messages):
    return "".join(json.dumps({"MESSAGE": message, "__REALTIME_TIMESTAMP": f"{1767225600 + second}000000"}) + "\n"
                   for second, message in enumerate(messages))


def kernel(number):
    return f"Kernel command line: root=UUID=1 rootflags=subvol=@/.snapshots/{number}/snapshot"


@pytest.mark.parametrize("messages, booted, given_up", [
    ([kernel(1), kernel(2)], {1, 2}, set()),
    ([kernel(1), kernel(2), "snapshot 2 on trial: running", "snapshot 2 on trial: reverting, nobody confirmed it",
      kernel(1), "snapshot 2 on trial: reverted, nobody confirmed it"], {1}, {2}),
    ([kernel(1), "snapshot 2 on trial: fell-back, it did not come up"], {1}, {2}),
    ([kernel(2), "snapshot 2 on trial: running", "snapshot 2 on trial: confirmed"], {2}, set()),
    # somebody wanted it again
    ([kernel(2), "snapshot 2 on trial: reverted, somebody asked for it", kernel(2)], {2}, set()),
    # another snapshot that had the number
    ([kernel(3), "snapshot 3 on trial: reverted, somebody asked for it"], set(), set()),
])
def test_what_failed_a_trial_does_not_work(monkeypatch, tmp_path, messages, booted, given_up):
    monkeypatch.setattr(boot_records, "_journal", lambda: journal(*messages))
    monkeypatch.setattr(boot_records, "TRANSACTIONAL_UPDATE", str(tmp_path / "none"))
    made = {number: _target.parse_date(f"2026-01-0{day}") for number, day in ((1, 1), (2, 1), (3, 2))}
    found = boot_records.history(made)
    assert (set(found.booted), found.given_up) == (booted, given_up)
