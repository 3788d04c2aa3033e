# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""After the full reboot, which something on the host would have turned into a soft one."""

from __future__ import annotations


def test_it_was_a_full_reboot(host):
    assert host.check_output("systemctl show --property=SoftRebootsCount --value") == "0"
    assert "rootflags=subvol=@/.snapshots/3/snapshot" in host.file("/proc/cmdline").content_string
    assert host.check_output("findmnt --noheadings --output FSROOT /") == "/@/.snapshots/3/snapshot"


def test_all_changes_are_there(host):
    assert host.check_output("rpm -q --qf '%{NAME} ' testbed-config testbed-needs-reboot").split() == [
        "testbed-config", "testbed-needs-reboot"]
    assert host.file("/etc/testbed-note").content_string == "written after the snapshot was made\n"
