# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""After the installation and the reboot: btrfs, snapper, rpm and the kernel are asked, not our modules."""

from __future__ import annotations


def snapper(host):
    listed = host.check_output("snapper --csvout list --columns number,default,active,read-only,userdata")
    return [line.split(",") for line in listed.splitlines()[2:]]  # without the heading and number 0


def test_the_new_snapshot_is_booted_default_and_explained(host):
    newest = snapper(host)[-1]
    assert newest[1:4] == ["yes", "yes", "yes"]
    assert "ansible-module=microos.transactional.package" in ",".join(newest)
    assert "in-progress" not in ",".join(newest)
    assert f"@/.snapshots/{newest[0]}/snapshot" in host.check_output("btrfs subvolume get-default /")
    assert host.check_output("findmnt --noheadings --output FSROOT /") == f"/@/.snapshots/{newest[0]}/snapshot"


def test_the_package_is_there_and_works(host):
    assert host.check_output("rpm --query --qf '%{NAME}' tree") == "tree"
    assert "root" in host.check_output("tree -d -L 1 /")


def test_the_root_is_read_only_and_etc_is_not(host):
    assert host.check_output("btrfs property get -ts / ro") == "ro=true"
    assert host.run("touch /usr/testbed-probe").failed
    assert host.run("touch /etc/testbed-probe && rm /etc/testbed-probe").succeeded


def test_what_was_written_to_etc_meanwhile_is_merged_at_boot(host):
    assert host.file("/etc/testbed-note").content_string == "written after the snapshot was made\n"


def test_nothing_is_left_behind(host):
    assert host.run("ls -d /tmp/transactional-update-*").failed
    assert host.check_output("findmnt --noheadings --list --output TARGET").count("/.snapshots/") == 0
