# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kernel arguments and the files that have them."""

from __future__ import annotations

import pytest

from ansible_collections.microos.transactional.plugins.module_utils import _kernel_arguments as arguments
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._kernel_cmdline import OWN_CMDLINE
from ansible_collections.microos.transactional.plugins.module_utils._tools import boot_entries

GRUB = """\
# If you change this file, run grub2-mkconfig
GRUB_TIMEOUT=8
GRUB_CMDLINE_LINUX="console=tty0 net.ifnames=0"
GRUB_CMDLINE_LINUX_DEFAULT="quiet security=selinux dyndbg=\\"file a.c +p\\"" # ours
GRUB_TERMINAL='gfxterm'
"""


def request(present=(), replaced=(), absent=()):
    return arguments.Request(present, replaced, absent)


@pytest.mark.parametrize("line, wanted, after", [
    ("a b=1", request(present=["c"]), "a b=1 c"),
    ("console=tty0", request(present=["console=ttyS0"]), "console=tty0 console=ttyS0"),
    ("a b=1 c b=2", request(replaced=["b=3"]), "a b=3 c"),
    ("a b=1 c b=2 b", request(absent=["b"]), "a c"),
    ("a b=1 c b=2", request(absent=["b=2"]), "a b=1 c"),
    ("rd-x=1 y", request(replaced=["rd_x=2"]), "rd_x=2 y"),
    ("rd-x=1 y", request(present=["rd_x=1"]), "rd-x=1 y"),
    ('x="a b" y', request(absent=["y"]), 'x="a b"'),
    ("a -- b", request(present=["b"]), "a b -- b"),
    ("a", request(present=["b", "b"]), "a b"),
])
def test_edit(line, wanted, after):
    assert arguments.edit([arguments.split(line)], wanted) == [arguments.split(after)]
    assert arguments.edit([arguments.split(after)], wanted) == [arguments.split(after)]


def test_what_is_lacking():
    words = ["a", "b=1", "b=2", "c"]
    assert arguments.lacks(words, request(["a"], [], ["d"])) == []
    assert arguments.lacks(words, request(["d"], ["b=1"], ["c"])) == [
        "'d' is missing", "'b=2' is there beside 'b=1'", "'c' is there"]


@pytest.mark.parametrize("wanted, said", [
    (request(present=["root=/dev/sda1"]), "belongs to the installation"),
    (request(absent=["rootflags"]), "belongs to the installation"),
    (request(replaced=["ro"]), "belongs to the installation"),
    (request(present=["a b"]), "cannot be given"),
    (request(present=['a="b"']), "cannot be given"),
    (request(present=["a=$(reboot)"]), "cannot be given"),
    (request(present=["a=1\n"]), "cannot be given"),
    (request(present=[""]), "cannot be given"),
    (request(replaced=["a=1", "a=2"]), "the only argument"),
    (request(present=["a=1"], replaced=["a=2"]), "the only argument"),
    (request(present=["a=1"], absent=["a"]), "not wanted as well"),
])
def test_refused(wanted, said):
    with pytest.raises(TransactionalError, match=said):
        arguments.validate(wanted)


def test_values_of_all_kinds_are_taken():
    arguments.validate(request(["console=ttyS0,115200", "crashkernel=200M,high", "isolcpus=2-3,5"],
                               ["memmap=1G@4G"], ["quiet"]))


def test_cmdline_file():
    text = "# why\nroot=UUID=1\n quiet  panic=5\n"
    assert arguments.edit_cmdline(text, request(replaced=["panic=5"])) == text
    assert arguments.edit_cmdline(text, request(absent=["quiet"])) == "# why\nroot=UUID=1 panic=5\n"


def test_grub():
    assert arguments.edit_grub(GRUB, request(present=["quiet", "console=tty0"])) == GRUB
    after = arguments.edit_grub(GRUB, request(["a"], ["net.ifnames=1"], ["quiet"]))
    assert after == GRUB.replace("net.ifnames=0", "net.ifnames=1").replace(
        '"quiet security=selinux dyndbg=\\"file a.c +p\\"" # ours', '"security=selinux dyndbg=\\"file a.c +p\\" a"')
    assert arguments.parse_grub(after)[1] == ["security=selinux", 'dyndbg="file a.c +p"', "a"]
    assert arguments.edit_grub("A=1", request(["a"])) == 'A=1\nGRUB_CMDLINE_LINUX_DEFAULT="a"\n'


@pytest.mark.parametrize("value", ["=\"$OTHER quiet\"", "=`cat x`", "+=\" a\"", "=a b", "=\"a"])
def test_a_grub_line_that_is_a_program_is_not_touched(value):
    with pytest.raises(TransactionalError, match="more than a text"):
        arguments.edit_grub(f"GRUB_CMDLINE_LINUX_DEFAULT{value}\n", request(["a"]))


def test_the_first_entry_of_grub():
    text = "if x; then\n  linux=1\nfi\nmenuentry 'a' {\n\tlinux /boot/vmlinuz root=UUID=1  quiet a\n}\n\tlinux /b c\n"
    assert arguments.first_linux_line(text) == ["root=UUID=1", "quiet", "a"]
    assert arguments.first_linux_line("") is None


@pytest.mark.parametrize("path, after", [
    ("/e/opensuse-6.16.8-1-default-12.conf", "/e/opensuse-6.16.8-1-default-13.conf"),
    ("/e/microos-12+1-2.conf", "/e/microos-13.conf"),
    ("/e/12.conf", None),
])
def test_the_name_of_the_next_entry(path, after):
    assert boot_entries.renumbered(path, 12, 13) == after


def test_the_sdbootutil_that_takes_the_arguments_of_the_snapshot():
    assert OWN_CMDLINE.search('for i in "${subvol:1}/etc/kernel/cmdline" /etc/kernel/cmdline /proc/cmdline; do')
    assert not OWN_CMDLINE.search("for i in /etc/kernel/cmdline /usr/lib/kernel/cmdline /proc/cmdline; do")
