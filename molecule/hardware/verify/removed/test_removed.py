# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The host is as before the roles."""

from __future__ import annotations

# What stays, and means the same as if it were not there: empty directories, and files that say the defaults
DIRECTORIES = {"systemd/system.conf.d/", "tukit.conf.d/", "tuned/"}
CONTEXTS = "selinux/testbed/contexts/files/file_contexts.local"
DEFAULTS = {"rebootmgr.conf", "transactional-update.conf", "zypp/repos.d/testbed-updates.repo", CONTEXTS,
            f"{CONTEXTS}.bin"}
# The packages stay; systemd notes that it has seen a new /usr, with its libraries (ldconfig.service); the order of the
# kernel's arguments is another one
OTHERS = {"sysconfig/", "sysconfig/kdump", ".updated", "ld.so.cache", "kernel/cmdline"}


def arguments(host, path):
    return sorted(word for word in host.file(path).content_string.split()
                  if not word.startswith(("rootflags=", "initrd=")))


def test_etc_is_as_before(host):
    differ = host.check_output("rsync --archive --checksum --omit-dir-times --no-times --delete --dry-run "
                               "--itemize-changes --one-file-system /etc/ /var/lib/former/etc/").splitlines()
    names = {line.split(maxsplit=1)[1] for line in differ}
    left = sorted(names - DIRECTORIES - DEFAULTS - OTHERS)
    assert not left, "\n".join(left)
    assert not [name for name in DIRECTORIES & names if host.check_output(f"ls /etc/{name}")]


def test_the_kernel_has_the_arguments_of_before(host):
    for path in ("/proc/cmdline", "/etc/kernel/cmdline"):
        former = "/var/lib/former" + path.replace("/proc", "")
        assert arguments(host, path) == arguments(host, former)


def test_no_firmware_is_left(host):
    assert not host.check_output("rpm -qa '*-firmware'")


def test_the_watchdog_is_left_alone(host):
    assert host.check_output("systemctl show --property RuntimeWatchdogUSec --value") == "0"
    assert host.check_output("cat /sys/class/watchdog/watchdog0/state") == "inactive"


def test_the_driver_is_not_in_the_initrd_any_more(host):
    image = next(word for word in host.file("/proc/cmdline").content_string.split() if word.startswith("initrd="))
    listed = host.check_output("lsinitrd %s", "/boot/efi" + image.removeprefix("initrd=").replace("\\", "/"))
    assert "/btrfs.ko" in listed and "/dummy.ko" not in listed


def test_the_efi_partition_has_nothing_of_a_raspberry_pi(host):
    assert not host.run("cat /boot/efi/extraconfig.txt").stdout.strip()
