# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots are described, and their cleanup is set, on the host itself, also while a transaction is open."""

from __future__ import annotations

from pathlib import Path

import pytest

CONFIGURATION = Path("/etc/snapper/configs/root")


@pytest.fixture
def policy(host):
    before = CONFIGURATION.read_bytes()
    yield host
    CONFIGURATION.write_bytes(before)


def claim(*that):
    return {"ansible.builtin.assert": {"that": list(that)}}


def test_beside_an_open_transaction(controller, policy):
    snapshot = "microos.transactional.snapshot"
    play = controller.play(
        controller.transaction("open"),
        {snapshot: {"number": 1, "userdata": {"probe": "yes"}}, "register": "described"},
        claim("described is changed", "described.snapshot.userdata.probe == 'yes'", "described.engine == 'snapper'"),
        {snapshot: {"number": 1, "userdata": {"probe": None}}},
        {snapshot: {"number": 2, "state": "absent"}, "register": "refused", "ignore_errors": True},
        claim("'it is an open transaction' in refused.msg"),
        {"microos.transactional.snapshot_cleanup": {"number_limit": 7}, "register": "set"},
        claim("set is changed", "set.settings.number_limit == '7'"),
        controller.transaction("aborted"),
        module_defaults={"group/microos.transactional.transactional": {"engine": "snapper"}})
    controller.check([play])
    assert 'NUMBER_LIMIT="7"' in CONFIGURATION.read_text()
