# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""After the update: the kernel, the boot loader's files and rpm are asked."""

from __future__ import annotations

import re

NAMES = ("app", "config", "hello", "kernel", "lib")
FORMAT = "%{NAME} %{VERSION}\\n"
PACKAGES = [f"testbed-{name}" for name in NAMES]


def installed(host, root):
    return host.check_output(f"rpm --root {root} -q --qf '{FORMAT}' {' '.join(PACKAGES)}").splitlines()


def started(host, number):
    """The kernel and initrd that the boot entry of a snapshot starts."""
    entry = host.file(f"/boot/efi/loader/entries/microos-{number}.conf").content_string
    return re.findall(r"^(?:linux|initrd) (\S+)$", entry, re.MULTILINE)


def test_the_new_kernel_runs(host):
    release = host.check_output("uname -r")
    assert host.check_output(f"rpm -qf --qf '{FORMAT}' /boot/vmlinuz-{release}") == "testbed-kernel 2.0"
    assert "rootflags=subvol=@/.snapshots/3/snapshot" in host.file("/proc/cmdline").content_string
    # a module that is no part of the initrd, so it comes from the root
    assert host.run("modprobe dummy && grep -q ^dummy /proc/modules").succeeded


def test_the_boot_entry_starts_the_kernel_and_the_initrd_of_its_snapshot(host):
    release = host.check_output("uname -r")
    for path, own in zip(started(host, 3), (f"/boot/vmlinuz-{release}", f"/boot/initrd-{release}"), strict=True):
        assert host.run(f"cmp /boot/efi{path} {own}").succeeded
    assert f"lib/modules/{release}/" in host.check_output(f"lsinitrd /boot/initrd-{release}")
    assert not set(started(host, 3)) & set(started(host, 1))


def test_the_packages_of_each_snapshot(host):
    assert installed(host, "/") == [f"{name} 2.0" for name in PACKAGES]
    assert installed(host, "/.snapshots/2/snapshot") == [f"{name} 1.0" for name in PACKAGES]
    assert host.run(f"rpm --root /.snapshots/1/snapshot -q {' '.join(PACKAGES)}").rc == len(PACKAGES)
    assert host.file("/etc/testbed.conf").content_string == "version = 2.0\n"


def test_three_roles_of_packages_made_one_snapshot_and_the_update_another(host):
    assert host.check_output("snapper --csvout list --columns number").split() == ["number", "0", "1", "2", "3"]


def test_the_host_is_healthy(host):
    assert host.check_output("systemctl is-system-running --wait") == "running"
