# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The running system came from an initrd with the driver, which has none without the role."""


def test_the_initrd_has_the_driver(host):
    image = next(word for word in host.file("/proc/cmdline").content_string.split() if word.startswith("initrd="))
    path = "/boot/efi" + image.removeprefix("initrd=").replace("\\", "/")
    assert "/dummy.ko" in host.check_output("lsinitrd %s", path)
