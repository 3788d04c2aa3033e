# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How modules write files, by the example of those of repositories."""

from __future__ import annotations

import os

DIRECTORY = "/etc/zypp/repos.d"
FILE = f"{DIRECTORY}/testbed-updates.repo"
NO_UMASK = ("sh", "-c", 'umask 000; exec "$@"', "sh")


def test_what_is_replaced_keeps_its_owner_acl_and_label(host):
    label = b"system_u:object_r:testbed_t:s0"
    os.chown(FILE, 0, 12)
    os.chmod(FILE, 0o640)
    host.check("setfacl", "--modify", "user:nobody:r", FILE)
    os.setxattr(FILE, "security.selinux", label)
    before = host.check("getfacl", "--absolute-names", FILE)
    inode = os.stat(FILE).st_ino
    result = host.module("repository", _prefix=NO_UMASK, name="testbed-updates", enabled=True)
    assert result.get("changed"), result
    assert host.check("getfacl", "--absolute-names", FILE) == before and "user:nobody:r--" in before
    assert os.getxattr(FILE, "security.selinux") == label
    assert os.stat(FILE).st_ino != inode and os.stat(FILE).st_gid == 12
    with open(FILE, encoding="utf-8") as stream:
        assert "enabled=1" in stream.read()
    assert [name for name in os.listdir(DIRECTORY) if name.startswith(".")] == []


def test_an_acl_for_new_files_gives_no_rights_on_what_is_replaced(host):
    host.check("setfacl", "--modify", "default:user:nobody:rwx", DIRECTORY)
    try:
        assert host.module("repository", name="testbed-updates", enabled=True)["changed"]
        assert "nobody" not in host.check("getfacl", FILE)
    finally:
        host.check("setfacl", "--remove-default", DIRECTORY)


def test_an_immutable_file_is_a_sentence(host):
    host.check("chattr", "+i", FILE)
    try:
        result = host.module("repository", name="testbed-updates", enabled=True)
        assert result.get("failed") and f"cannot write {FILE}: Operation not permitted. Is it" in result["msg"]
        assert [name for name in os.listdir(DIRECTORY) if name.startswith(".")] == []
    finally:
        host.check("chattr", "-i", FILE)
