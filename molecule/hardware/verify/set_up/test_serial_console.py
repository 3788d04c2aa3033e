# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kernel writes to the serial port, and there is a login on it."""


def test_the_kernel_writes_to_the_port(host):
    assert "console=ttyS0,115200" in host.file("/proc/cmdline").content_string.split()
    assert "ttyS0" in host.file("/sys/class/tty/console/active").content_string.split()


def test_there_is_a_login(host):
    getty = host.service("serial-getty@ttyS0.service")
    assert getty.is_enabled and getty.is_running
