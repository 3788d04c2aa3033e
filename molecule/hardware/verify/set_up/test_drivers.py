# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The running kernel takes the driver that was proved before, with its options."""


def test_the_driver_loads_with_its_options(host):
    # it is the kernel's driver of dummy network cards under another name
    host.check_output("modprobe testbed_driver")
    assert host.check_output("modinfo --field filename testbed_driver").endswith("/updates/testbed_driver.ko.xz")
    assert host.interface("dummy0").exists and host.interface("dummy1").exists
    host.check_output("rmmod dummy")
