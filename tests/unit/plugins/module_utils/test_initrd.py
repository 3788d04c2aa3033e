# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The configuration of dracut, and what lsinitrd says of an initrd."""

from __future__ import annotations

import subprocess

import pytest

from ansible_collections.microos.transactional.plugins.module_utils import _initrd
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._initrd import (
    Request,
    config_text,
    lacks,
    parse_lsinitrd,
    validate,
)

NOTHING = Request([], [], [], [], [])
# dracut 106, shortened
LISTED = """Image: /boot/initrd-6.12.117+deb13-cloud-amd64: 18M
========================================================================
Version:

Arguments:  --quiet --force --kver '6.12.117+deb13-cloud-amd64'

dracut modules:
dash
systemd
btrfs
========================================================================
drwxr-xr-x  12 root     root            0 Nov 23 19:39 .
crw-r--r--   1 root     root       5,   1 Nov 23 19:39 dev/console
lrwxrwxrwx   1 root     root            7 Nov 23 19:39 bin -> usr/bin
-rw-r--r--   1 root     root           21 Nov 23 19:39 etc/cmdline.d/00-btrfs.conf
-rwxr-xr-x   1 root     root           21 Nov 23 19:39 usr/bin/findmnt
-rw-r--r--   1 root     root        25240 Nov 12 09:30 usr/lib/modules/6.12/kernel/arch/x86/crypto/aesni-intel.ko.xz
========================================================================
"""


def test_the_configuration():
    assert config_text(NOTHING) == ""
    assert config_text(Request(["a", "b"], ["c"], ["d"], ["e"], ["/etc/f"])) == (
        '# Written by Ansible\nadd_dracutmodules+=" a b "\nomit_dracutmodules+=" c "\nadd_drivers+=" d "\n'
        'omit_drivers+=" e "\ninstall_items+=" /etc/f "\n')


@pytest.mark.parametrize("request_, message", [
    (NOTHING._replace(drivers=["a b"]), "'a b' cannot be given to dracut"),
    (NOTHING._replace(drivers=['$(id)"']), "cannot be given to dracut"),
    (NOTHING._replace(modules=["a\n"]), "cannot be given to dracut"),
    (NOTHING._replace(modules=["-a"]), "cannot be given to dracut"),
    (NOTHING._replace(files=["/a\0"]), "cannot be given to dracut"),
    (NOTHING._replace(files=["/\u00e9"]), "cannot be given to dracut"),
    (NOTHING._replace(modules=["a"], omit_modules=["a"]), "wanted and omitted as well: a"),
    (NOTHING._replace(drivers=["a-b"], omit_drivers=["a_b"]), "drivers are wanted and omitted as well: a_b"),
    (NOTHING._replace(files=["etc/a"]), "need their whole path: etc/a"),
])
def test_what_is_refused(request_, message):
    with pytest.raises(TransactionalError) as caught:
        validate(request_)
    assert message in str(caught.value)


def test_what_an_initrd_contains():
    contents = parse_lsinitrd(LISTED)
    assert contents.modules == {"dash", "systemd", "btrfs"}
    assert {"bin", "etc/cmdline.d/00-btrfs.conf", "dev/console"} <= set(contents.paths)
    fine = Request(["btrfs"], ["crypt"], ["aesni_intel", "loop"], ["nouveau"],
                   ["/etc/cmdline.d/00-btrfs.conf", "/bin/findmnt"])
    assert lacks(contents, fine, ["kernel/drivers/block/loop.ko"]) == []
    assert lacks(contents, Request(["crypt"], ["dash"], ["nvme"], ["aesni-intel"], ["/etc/x"]), []) == [
        "dracut module crypt is missing", "dracut module dash is there", "driver nvme is missing",
        "driver aesni-intel is there", "file /etc/x is missing"]


def test_a_shell_reads_what_was_given(tmp_path):
    path = tmp_path / "dracut.conf"
    every = "aZ09_./+:@-"
    path.write_text(config_text(Request([every], ["b"], [every, "c"], ["d"], ["/" + every])))
    names = "add_dracutmodules", "omit_dracutmodules", "add_drivers", "omit_drivers", "install_items"
    script = '. "$0"; printf "%s|" ' + " ".join(f'"${name}"' for name in names)
    done = subprocess.run(["bash", "-c", script, path], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (f" {every} | b | {every} c | d | /{every} |", "")


def test_a_file_of_another_name_is_not_written_into_the_script(monkeypatch, tmp_path):
    for name in ("50-ansible-good.conf", "50-ansible-$(touch x).conf", "50-ansible-a b.conf"):
        (tmp_path / name).touch()
    monkeypatch.setattr(_initrd, "MODPROBE", f"{tmp_path}/50-ansible-*.conf")
    assert _initrd._with_modprobe(NOTHING._replace(modules=["a"])).files == [f"{tmp_path}/50-ansible-good.conf"]
