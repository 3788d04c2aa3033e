# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A change that was checked during its trial, and confirmed."""

from __future__ import annotations


def test_the_new_snapshot_runs_and_is_the_default(host):
    assert host.check_output("findmnt --noheadings --output FSROOT /") == "/@/.snapshots/3/snapshot"
    assert host.check_output("btrfs subvolume get-default /").endswith("path @/.snapshots/3/snapshot")
    assert "title: MicroOS snapshot 3 (default)" in host.check_output("bootctl list")
    assert host.file("/etc/systemd/network/10-fixed.network").contains("10.0.2.15")


def test_its_health_was_checked_before_the_confirmation(host):
    said = host.check_output("journalctl --boot --identifier=microos-health-login --output=cat")
    assert "health check login: ok" in said
    assert host.check_output("systemctl is-active boot-complete.target microos-health-login").split() == ["active"] * 2


def test_nothing_of_the_trial_is_left(host):
    assert host.check_output("find /etc /.snapshots/*/snapshot/etc /boot/efi/loader -name '*trial*'") == ""
    assert "state=confirmed\n" in host.file("/var/lib/microos-transactional/trial").content_string
    assert host.run("systemctl is-active microos-trial-deadline.timer").rc != 0
    assert host.file("/boot/efi/loader/entries/microos-2.conf").exists, "the failed one can be looked at"
