# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The file lies on the real FAT of the EFI partition."""


def test_the_lines_are_there(host):
    assert host.mount_point("/boot/efi").filesystem == "vfat"
    lines = host.file("/boot/efi/extraconfig.txt").content_string.splitlines()
    assert [line for line in lines if not line.startswith("#")] == ["[all]", "dtparam=i2c_arm=on"]
