# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The change that failed its check is undone, and its check with it."""

from __future__ import annotations


def test_the_former_snapshot_runs_and_is_the_default(host):
    assert host.check_output("findmnt --noheadings --output FSROOT /") == "/@/.snapshots/2/snapshot"
    assert host.check_output("btrfs subvolume get-default /").endswith("path @/.snapshots/2/snapshot")
    assert "MicroOS snapshot 2 (default) (selected)" in host.check_output("bootctl list")
    assert host.run("rpm --query testbed-config").rc == 1


def test_the_check_is_in_the_other_snapshot_only(host):
    found = host.check_output("find /etc /.snapshots/3/snapshot/etc -name 'microos-health-bad.service' -type f")
    assert found == "/.snapshots/3/snapshot/etc/systemd/system/microos-health-bad.service"


def test_the_journal_of_the_failed_boot_tells_why(host):
    said = host.check_output("journalctl --identifier=microos-health-bad --output=cat")
    assert "it is broken" in said and "health check bad: failed, exit code 1" in said
