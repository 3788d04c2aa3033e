# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""On the host, after a failed installation, the rollback and the reboot."""

from __future__ import annotations


def test_the_old_snapshot_is_booted_and_default(host):
    assert "@/.snapshots/1/snapshot" in host.check_output("btrfs subvolume get-default /")
    assert host.check_output("findmnt --noheadings --output FSROOT /") == "/@/.snapshots/1/snapshot"


def test_the_packages_are_gone(host):
    assert host.run("rpm -q testbed-hello").failed
    assert host.run("rpm -q testbed-app").failed
    assert not host.exists("testbed-hello")


def test_the_failed_installation_left_nothing(host):
    numbers = host.check_output("snapper --csvout list --columns number").splitlines()
    assert numbers == ["number", "0", "1", "2"]
    assert host.run("rpm --root /.snapshots/2/snapshot -q testbed-post-fails").failed
    assert host.check_output("ls /.snapshots").split() == ["1", "2"]


def test_the_host_is_healthy(host):
    assert host.check_output("systemctl is-system-running --wait") == "running"
