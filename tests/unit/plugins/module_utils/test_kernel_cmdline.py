# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kernel arguments and the files that have them."""

from __future__ import annotations

import subprocess

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
# Everything that a value may have
EXACT = "[]azAZ09_.,:=/@+~^%-"


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


@pytest.mark.parametrize("argument", [
    "a=1\r", "a=1\0", "a=\0", "a=\x1b[0m", "a=\x85", "a=\u2028b", "a=\xa0b", "a=\u00e9", "\u00e9=1", "-a", "--", "=a",
    "a=`id`", "a='b'", "a=\\", "a#b", "a=#b", "a={}", "{}", "a=b;c", "a=b&c", "a=b|c", "a=b>c", "a=*", "a=?", "a=!b",
    "a=$b", "a\n", "\n", "a\tb", "\tb", "a=b\x7f", "a=\udce9",
])
def test_what_is_not_one_word_everywhere_is_refused(argument):
    for wanted in request([argument]), request([], [argument]), request([], [], [argument]):
        with pytest.raises(TransactionalError, match="cannot be given as a kernel argument"):
            arguments.validate(wanted)


def test_values_of_all_kinds_are_taken():
    arguments.validate(request(["console=ttyS0,115200", "crashkernel=1G-4G:192M,4G-:512M@0", "isolcpus=2-3,5",
                                "a=" + EXACT], ["memmap=1G@4G", "hugepagesz=1G"], ["quiet"]))


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


def sourced(text, directory, shell):
    """What a real shell makes of /etc/default/grub."""
    path = directory / "grub"
    path.write_text(text)
    script = '. "$0"; printf "%s\\0" ' + " ".join(f'"${name}"' for name in arguments.GRUB_VARIABLES)
    done = subprocess.run([shell, "-c", script, path], capture_output=True, text=True, check=True)
    assert not done.stderr
    return done.stdout.split("\0")[:2]


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize("value", [
    "", "quiet", '"quiet a=b"', "'quiet a=b'", '"a=\\"b c\\" d"', "'a=\"b c\" d'", '"a=\\\\ b=\\x"', '"a"\'b\'c',
    '"a # b"', '"a" # b', "a # 'b", "'a' ", ' # "a"', '"a=[x]"', '"~/a"', "'a;b'", '"a\tb"',
    # these are more than a text, and refused
    "~/a", "a;b", "a&", "a|b", '"a"#b;c', '"a";b', "(a)", "a>b", '"a" b', '"a"\r', "$a", '"$a"', '"a\\$b"', "`a`",
    "a\\ b", '"a', "{a,b}", '"a\\',
])
def test_a_line_of_grub_is_understood_as_a_shell_does(value, shell, tmp_path):
    text = f"GRUB_CMDLINE_LINUX_DEFAULT={value}\nGRUB_TIMEOUT=1\n"
    try:
        after = arguments.edit_grub(text, request(["new=" + EXACT]))
    except TransactionalError as exc:
        assert "more than a text" in str(exc)
        return
    before = sourced(text, tmp_path, shell)[1]
    assert arguments.parse_grub(text)[1] == arguments.split(before)
    assert sourced(after, tmp_path, shell) == ["", " ".join([*arguments.split(before), "new=" + EXACT])]
    assert arguments.parse_grub(after)[1][-1] == "new=" + EXACT
    assert after.endswith("GRUB_TIMEOUT=1\n")


@pytest.mark.parametrize("value", ["a;b", '"a"#b', '"a";b', "~/a", "a>b", '"a"\r', "(a)", "a&", "a\\ b"])
def test_a_line_of_grub_that_a_shell_understands_otherwise_is_refused(value):
    with pytest.raises(TransactionalError, match="more than a text"):
        arguments.parse_grub(f"GRUB_CMDLINE_LINUX={value}\n")


@pytest.mark.parametrize("before", ['a="b c', 'x a=b"'])
def test_what_an_open_quotation_mark_would_swallow(before):
    with pytest.raises(TransactionalError, match="quotation mark without its other one"):
        arguments.edit_cmdline(before + "\n", request(["new=1"]))
    with pytest.raises(TransactionalError, match="quotation mark without its other one"):
        arguments.edit_grub(f"GRUB_CMDLINE_LINUX='{before}'\n", request(["new=1"]))
    assert arguments.edit_cmdline(before + "\n", request(absent=["new"])) == before + "\n"


def test_a_line_that_the_kernel_would_cut_is_refused():
    for edit in arguments.edit_cmdline, arguments.edit_grub:
        with pytest.raises(TransactionalError, match="would have 2002 bytes"):
            edit("", request(["a=" + 2000 * "x"]))
        assert 1800 * "x" in edit("", request(["a=" + 1800 * "x"]))


def test_an_entry_has_one_line_of_options():
    for before in "root=1 quiet", "# why\r\nroot=1\r\nquiet\x0ba\x0c\n", 'root=1 a="b\nc"\n':
        text = arguments.edit_cmdline(before, request(["new=" + EXACT]))
        options = [line for line in text.splitlines() if not line.startswith("#")]
        assert len(options) == 1 and options[0].isprintable()
        entry = f"title t\nlinux /vmlinuz\noptions {options[0]} rootflags=subvol=@/.snapshots/3/snapshot\n"
        number, starts = boot_entries.parse(entry)
        assert number == 3 and starts.count("options ") == 1 and f" new={EXACT} rootflags=" in starts


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
