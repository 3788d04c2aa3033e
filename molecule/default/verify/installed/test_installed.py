# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""After the installation and the reboot: btrfs, snapper, rpm and the kernel are asked, not our modules."""

from __future__ import annotations


def snapper(host):
    listed = host.check_output("snapper --csvout list --columns number,default,active,read-only,userdata,cleanup")
    return [line.split(",") for line in listed.splitlines()[2:]]  # without the heading and number 0


def test_the_new_snapshot_is_booted_and_default(host):
    assert "@/.snapshots/2/snapshot" in host.check_output("btrfs subvolume get-default /")
    assert host.check_output("findmnt --noheadings --output FSROOT /") == "/@/.snapshots/2/snapshot"
    assert "rootflags=subvol=@/.snapshots/2/snapshot" in host.file("/proc/cmdline").content_string


def test_there_is_one_new_snapshot_closed_and_explained(host):
    first, second = snapper(host)
    assert first[:4] == ["1", "no", "no", "yes"]
    assert second[:4] == ["2", "yes", "yes", "yes"]
    assert "ansible-base=1" in ",".join(second)
    assert "ansible-module=microos.transactional.package" in ",".join(second)
    assert "in-progress" not in ",".join(second)
    assert second[-1] == "number"


def test_the_packages_are_there_and_work(host):
    assert host.check_output("rpm -q --qf '%{NAME} ' testbed-hello testbed-app testbed-lib").split() == [
        "testbed-hello", "testbed-app", "testbed-lib"]
    assert "1.0" in host.check_output("testbed-hello")


def test_the_root_is_read_only_and_etc_is_not(host):
    assert host.check_output("btrfs property get -ts / ro") == "ro=true"
    assert host.run("touch /usr/testbed-probe").failed
    assert host.run("touch /etc/testbed-probe && rm /etc/testbed-probe").succeeded


def test_what_was_written_to_etc_meanwhile_is_merged_at_boot(host):
    assert host.file("/etc/testbed-note").content_string == "written after the snapshot was made\n"


def test_nothing_is_left_behind(host):
    assert host.run("ls -d /tmp/transactional-update-*").failed
    assert host.check_output("findmnt --noheadings --list --output TARGET").count("/.snapshots/") == 0
