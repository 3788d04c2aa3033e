# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.microos.transactional.plugins.module_utils._transaction import leftovers


def row(number, description="", **userdata):
    return {"number": number, "description": description,
            "userdata": {key.replace("_", "-"): value for key, value in userdata.items()}}


def test_leftovers_are_our_own_open_snapshots():
    in_progress = {"transactional_update_in_progress": "yes"}
    assert leftovers([
        row(1),
        row(2, "ansible: package present a", ansible_transaction="u"),  # closed
        row(3, "ansible: package present a", ansible_transaction="u", **in_progress),
        row(4, "ansible: package present a", **in_progress),  # killed between open and tagging
        row(5, "ansible: package present a", ansible_transaction="u", ansible_failed="yes", **in_progress),  # kept
        row(6, "Snapshot Update of #1", **in_progress),  # somebody else's
        row(7, "ansible: package present a", ansible_transaction="u", **in_progress),  # booted from the boot menu
    ], in_use={7}) == [3, 4]


def test_half_closed_is_a_leftover_while_it_is_the_newest():
    closing = {"ansible_transaction": "u", "ansible_closing": "yes"}
    assert leftovers([row(1), row(2, **closing)], in_use={1}) == [2]
    assert leftovers([row(1), row(2, **closing)], in_use={2}) == []  # only the end of its close is missing
    assert leftovers([row(1), row(2, **closing), row(3)], in_use={3}) == []
    assert leftovers([], in_use=set()) == []
