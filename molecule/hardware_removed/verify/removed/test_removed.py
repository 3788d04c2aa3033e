# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The host is as before the roles."""

from __future__ import annotations

# what stays, and means the same as if it were not there
DIRECTORIES = set()
DEFAULTS = set()


def test_etc_is_as_before(host):
    differ = host.run("cd /etc && rsync --archive --checksum --omit-dir-times --no-times --delete --dry-run "
                      "--itemize-changes --one-file-system /etc/ /var/lib/former/etc/").stdout.splitlines()
    assert {line.split(maxsplit=1)[1] for line in differ} == DIRECTORIES | DEFAULTS, differ


def test_the_kernel_has_the_arguments_of_before(host):
    def arguments(path):
        return sorted(word for word in host.file(path).content_string.split()
                      if not word.startswith(("rootflags=", "initrd=")))
    assert arguments("/proc/cmdline") == arguments("/var/lib/former/cmdline")


def test_the_watchdog_is_left_alone(host):
    assert host.check_output("systemctl show --property RuntimeWatchdogUSec --value") == "infinity"
    assert not host.file("/sys/module/i6300esb").exists


def test_nothing_is_in_the_initrd_and_on_the_efi_partition(host):
    assert "i6300ESB" not in host.check_output("journalctl --boot --output cat")
    assert not host.file("/boot/efi/extraconfig.txt").exists or not host.file("/boot/efi/extraconfig.txt").size
