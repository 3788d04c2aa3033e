# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The watchdog reset a host that hung, and it runs as before."""

from __future__ import annotations


def test_it_was_the_watchdog(host):
    assert host.check_output("cat /sys/class/watchdog/watchdog0/bootstatus") == "32", "the card reset the processor"


def test_the_same_snapshot_runs(host):
    assert host.check_output("systemctl is-system-running --wait") == "running"
    assert host.check_output("findmnt --noheadings --output FSROOT /") == "/@/.snapshots/2/snapshot"


def test_the_watchdog_is_fed_again(host):
    assert host.check_output("cat /sys/class/watchdog/watchdog0/state") == "active"
