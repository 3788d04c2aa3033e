# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host that was cut off by a change is back, without anybody's help and without a trace but the record."""

from __future__ import annotations


def test_the_old_snapshot_runs_and_is_the_default(host):
    assert host.check_output("findmnt --noheadings --output FSROOT /") == "/@/.snapshots/1/snapshot"
    assert host.check_output("btrfs subvolume get-default /").endswith("path @/.snapshots/1/snapshot")
    assert "MicroOS snapshot 1 (default) (selected)" in host.check_output("bootctl list")
    assert host.check_output("systemctl is-system-running --wait") == "running"


def test_the_change_is_in_the_other_snapshot_only(host):
    assert not host.file("/etc/systemd/network/10-fixed.network").exists
    assert host.file("/.snapshots/2/snapshot/etc/systemd/network/10-fixed.network").contains("10.0.2.99")


def test_nothing_of_the_trial_is_left(host):
    assert host.check_output("find /etc /.snapshots/*/snapshot/etc /boot/efi/loader -name '*trial*'") == ""
    assert host.run("systemctl cat microos-trial-deadline.timer").rc != 0
    record = host.file("/var/lib/microos-transactional/trial").content_string
    assert "state=reverted\n" in record
    assert "reason=nobody confirmed it within 60 s\n" in record


def test_the_journal_tells(host):
    said = host.check_output("journalctl --identifier=microos-trial --output=cat")
    assert "snapshot 2 on trial: reverting, nobody confirmed it within 60 s" in said
