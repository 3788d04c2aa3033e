# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kernel writes to the serial port, and there is a login on it: as seen at its other end."""

from __future__ import annotations

import pathlib
import time


def said(host, text):
    """Whether it is there, or comes: a console may lag behind."""
    log = pathlib.Path(host.ansible.get_variables()["testbed_directory"], "serial1.log")
    deadline = time.monotonic() + 60
    while text not in log.read_text(errors="replace"):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True


def test_the_kernel_writes_to_the_port(host):
    assert "console=ttyS1,115200" in host.file("/proc/cmdline").content_string.split()
    host.check_output("echo '<3>testbed: a message of the kernel' >/dev/kmsg")
    assert said(host, "testbed: a message of the kernel")


def test_systemd_tells_the_boot_on_the_port(host):
    assert said(host, "Reached target")


def test_there_is_a_login(host):
    getty = host.service("serial-getty@ttyS1.service")
    assert getty.is_enabled and getty.is_running
    assert said(host, "microos login: ")
