# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""After the soft reboot: systemd and the kernel are asked, not our modules."""

from __future__ import annotations

MOUNTS = {
    "/": "/@/.snapshots/2/snapshot", "/etc": "/@/.snapshots/2/snapshot/etc", "/var": "/@/var", "/root": "/@/root",
    "/home": "/@/home", "/opt": "/@/opt", "/srv": "/@/srv", "/usr/local": "/@/usr/local",
    "/boot/writable": "/@/boot/writable", "/.snapshots": "/@/.snapshots",
}


def test_it_was_a_soft_reboot(host):
    assert host.check_output("systemctl show --property=SoftRebootsCount --value") == "1"
    assert "rootflags=subvol=@/.snapshots/1/snapshot" in host.file("/proc/cmdline").content_string


def test_everything_is_mounted_as_after_a_boot_and_nothing_else(host):
    listed = host.check_output("findmnt --list --noheadings --types btrfs --output TARGET,FSROOT")
    assert dict(line.split() for line in listed.splitlines()) == MOUNTS


def test_the_root_is_read_only_and_etc_is_not(host):
    assert "ro" in host.check_output("findmnt --noheadings --output OPTIONS /").split(",")
    assert host.run("touch /etc/testbed-probe && rm /etc/testbed-probe").succeeded


def test_the_change_is_there(host):
    assert host.file("/etc/testbed.conf").content_string == "version = 1.0\n"


def test_what_was_written_to_etc_meanwhile_is_merged(host):
    assert host.file("/etc/testbed-note").content_string == "written after the snapshot was made\n"
    assert not host.file("/etc/etc.syncpoint").exists


def test_the_word_of_the_tools_is_gone(host):
    assert not host.file("/run/reboot-needed").exists


def test_the_host_is_healthy(host):
    assert host.check_output("systemctl is-system-running --wait") == "running"
