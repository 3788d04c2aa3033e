# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kernel has reserved memory for that of a crash, and its service was started."""


def test_memory_is_reserved(host):
    assert "crashkernel=128M" in host.file("/proc/cmdline").content_string.split()
    assert int(host.check_output("cat /sys/kernel/kexec_crash_size")) == 128 * 1024 ** 2


def test_the_service_ran_with_the_settings(host):
    assert "crashkernel=128M false" in host.check_output("journalctl --boot --unit=kdump.service --output=cat")
