# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Python came with a package, in the snapshot that runs."""

from __future__ import annotations


def test_the_package_brought_it(host):
    assert host.check_output("rpm --query --file /usr/bin/python3") == "testbed-python3-1.0-1.noarch"
    assert not host.file("/.snapshots/1/snapshot/usr/bin/python3").exists


def test_the_new_snapshot_runs_and_is_the_default(host):
    assert host.check_output("findmnt --noheadings --output FSROOT /") == "/@/.snapshots/2/snapshot"
    assert host.check_output("btrfs subvolume get-default /").endswith("path @/.snapshots/2/snapshot")
    assert host.check_output("systemctl is-system-running --wait") == "running"
