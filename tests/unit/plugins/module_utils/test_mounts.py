# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.microos.transactional.plugins.module_utils._tools import mounts

# a MicroOS-like guest after a live "apply" of snapshot 5: /usr of 5 over the booted 2
MOUNTINFO = r"""
22 1 0:20 /@/.snapshots/2/snapshot / ro,relatime shared:1 - btrfs /dev/vda rw,subvolid=263
23 22 0:20 /@/var /var rw,relatime shared:2 - btrfs /dev/vda rw,subvolid=257,subvol=/@/var
24 22 0:21 / /tmp rw,nosuid shared:3 - tmpfs tmpfs rw
25 24 0:22 / /tmp/with\040space rw - tmpfs tmpfs rw
26 22 0:20 /@/.snapshots/5/snapshot/usr /usr ro,relatime shared:4 - btrfs /dev/vda rw,subvolid=270
""".strip()


def test_numbers_of_booted_and_current():
    table = mounts.parse_mountinfo(MOUNTINFO)
    assert mounts.snapshot_number(mounts.mount_at(table, "/")) == 2
    assert mounts.snapshot_number(mounts.mount_at(table, "/usr")) == 5


def test_other_mounts_are_no_snapshots():
    table = mounts.parse_mountinfo(MOUNTINFO)
    assert mounts.snapshot_number(mounts.mount_at(table, "/var")) is None
    assert mounts.snapshot_number(mounts.mount_at(table, "/tmp")) is None
    assert mounts.snapshot_number(mounts.mount_at(table, "/nowhere")) is None


def test_escapes_and_options():
    table = mounts.parse_mountinfo(MOUNTINFO)
    assert mounts.mount_at(table, "/tmp/with space").fstype == "tmpfs"
    assert "ro" in mounts.mount_at(table, "/").options


def test_the_last_mount_covers_the_earlier_ones():
    table = mounts.parse_mountinfo(MOUNTINFO + "\n30 22 0:30 / / rw - overlay overlay rw")
    assert mounts.mount_at(table, "/").fstype == "overlay"
