# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The running kernel got the arguments that the role gave."""


def test_all_roles_made_one_snapshot(host):
    assert host.check_output("ls /.snapshots").split() == ["1", "2"]
    assert host.check_output("findmnt --noheadings --output FSROOT /") == "/@/.snapshots/2/snapshot"


def test_there_was_one_reboot(host):
    boots = host.check_output("journalctl --quiet --list-boots").splitlines()
    assert len(boots) == len(host.file("/var/lib/former/boots").content_string.splitlines()) + 1


def test_the_kernel_got_them(host):
    words = host.file("/proc/cmdline").content_string.split()
    assert "testbed.seen=1" in words
    assert [word for word in words if word.startswith("loglevel=")] == ["loglevel=5"]
    assert any(word.startswith("root=") for word in words)
