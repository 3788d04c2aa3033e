# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""After the rollback: the old kernel runs with the old packages, and the update can be booted again."""

from __future__ import annotations

PACKAGES = "testbed-app testbed-config testbed-hello testbed-kernel testbed-lib"


def test_the_old_kernel_runs(host):
    assert host.run("rpm -qf /boot/vmlinuz-$(uname -r)").failed  # it came with the system
    assert "rootflags=subvol=@/.snapshots/2/snapshot" in host.file("/proc/cmdline").content_string
    assert host.run("modprobe dummy && grep -q ^dummy /proc/modules").succeeded


def test_the_old_packages_are_there(host):
    assert set(host.check_output(f"rpm -q --qf '%{{VERSION}}\n' {PACKAGES}").split()) == {"1.0"}


def test_all_entries_are_there_and_the_default_is_ours(host):
    assert sorted(host.file("/boot/efi/loader/entries").listdir()) == [f"microos-{n}.conf" for n in (1, 2, 3)]
    assert "/.snapshots/2/snapshot" in host.check_output("btrfs subvolume get-default /")


def test_the_host_is_healthy(host):
    assert host.check_output("systemctl is-system-running --wait") == "running"
