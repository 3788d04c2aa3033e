# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Repositories, cleanup and updates are as the roles set them."""

from __future__ import annotations

import json


def test_the_repository_is_used(host):
    assert "testbed-updates" in host.check_output("zypper --no-refresh repos --show-enabled-only")


def test_snapper_keeps_as_many(host):
    assert json.loads(host.check_output("snapper --jsonout get-config"))["NUMBER_LIMIT"] == "7"


def test_updates_came_with_the_snapshot(host):
    assert host.file("/etc/tukit.conf.d/50-ansible-updates.conf").contains("^REBOOT_ALLOW_SOFT_REBOOT=true$")
    assert host.file("/etc/rebootmgr.conf").contains("^window-start=03:30$")
    assert not host.file("/.snapshots/1/snapshot/etc/rebootmgr.conf").exists
