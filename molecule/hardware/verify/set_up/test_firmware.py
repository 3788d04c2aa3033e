# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Firmware came for a network card, and for a driver that said that it misses a file."""


def test_packages_for_the_hardware_are_there(host):
    installed = host.check_output("rpm -qa --queryformat '%{NAME} ' '*-firmware'").split()
    assert sorted(installed) == ["testbed-network-firmware", "testbed-other-firmware"]
    assert host.file("/usr/lib/firmware/testbed/asked-for.bin").exists
