# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The verdict on a reboot; that a host really comes back is tried on VMs."""

from __future__ import annotations

import pytest

from ansible_collections.microos.transactional.plugins.action.reboot import ActionModule


@pytest.fixture
def prove():
    action = ActionModule.__new__(ActionModule)
    done = {"changed": True, "rebooted": True, "elapsed": 60, "snapshot": 3, "snapshot_before": 2}
    return lambda after: action._prove(dict(done), after)


def test_the_intended_snapshot_came_up(prove):
    result = prove({"booted": 3, "current": 3, "default": 3, "pending": False})
    assert "failed" not in result
    assert (result["changed"], result["snapshot_booted"]) == (True, 3)


def test_another_snapshot_came_up(prove):
    result = prove({"booted": 2, "current": 2, "default": 3, "pending": True})
    assert result["failed"]
    assert "rebooted for snapshot 3, but snapshot 2 came up" in result["msg"]


def test_the_host_cannot_tell(prove):
    result = prove({"failed": True, "msg": "no snapper"})
    assert result["failed"]
    assert "could not be read: no snapper" in result["msg"]
