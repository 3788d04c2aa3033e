# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The running kernel is tuned."""


def test_settings_and_modules(host):
    assert host.check_output("cat /proc/sys/vm/swappiness") == "11"
    assert host.file("/sys/module/loop").exists


def test_huge_pages_and_isolated_processors(host):
    assert host.check_output("cat /proc/sys/vm/nr_hugepages") == "8"
    assert "isolcpus=managed_irq,domain,1" in host.file("/proc/cmdline").content_string.split()


def test_tuned_was_started_with_the_profile(host):
    assert host.service("tuned.service").is_running
    assert host.file("/etc/tuned/active_profile").content_string == "throughput-performance\n"
