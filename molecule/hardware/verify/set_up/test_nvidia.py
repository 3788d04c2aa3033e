# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The running kernel takes the driver of the version that is meant, and containers are told of it."""


def test_the_driver_loads_with_its_options(host):
    # it is the kernel's ifb under another name
    host.check_output("modprobe nvidia")
    assert host.check_output("cat /sys/module/ifb/version") == "580.95.05"
    assert host.interface("ifb2").exists
    host.check_output("rmmod ifb")


def test_containers_are_told_at_boot(host):
    assert host.check_output("systemctl show --property Result,ExecMainStatus,ActiveState microos-nvidia-cdi") == (
        "Result=success\nExecMainStatus=0\nActiveState=active")
