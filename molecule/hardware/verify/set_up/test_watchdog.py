# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The running systemd and kernel have the settings."""


def test_systemd_feeds_the_watchdog(host):
    assert host.check_output("cat /sys/class/watchdog/watchdog0/state") == "active"
    assert host.check_output("cat /sys/class/watchdog/watchdog0/timeout") == "60"
    assert host.check_output("systemctl show --property RuntimeWatchdogUSec --value") == "1min"
    assert host.check_output("systemctl show --property RebootWatchdogUSec --value") == "10min"


def test_the_watchdog_has_not_reset_the_host(host):
    assert host.check_output("cat /sys/class/watchdog/watchdog0/bootstatus") == "0"


def test_the_kernel_reboots_after_a_panic(host):
    assert host.check_output("cat /proc/sys/kernel/panic") == "7"
    assert host.check_output("cat /proc/sys/kernel/panic_on_oops") == "1"
    assert "panic=7" in host.file("/proc/cmdline").content_string.split()
