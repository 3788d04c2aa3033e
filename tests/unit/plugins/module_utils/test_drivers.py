# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.microos.transactional.plugins.module_utils._drivers import (
    Found,
    Kernel,
    Request,
    config_text,
    judge,
    newest,
    parse_modinfo,
    parse_versions,
    validate,
)
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError

FLAGS = "SMP preempt mod_unload modversions"
KERNEL = Kernel("6.2-1-default", f"6.2-1-default {FLAGS}", {"a": 1, "b": 2}, {"of_another"})
OLD = f"6.1-1-default {FLAGS}"
PATH = "/usr/lib/modules/6.2-1-default/weak-updates/x.ko"


@pytest.mark.parametrize("found, reason", [
    (Found("(builtin)", "", {}), None),
    (Found(PATH, KERNEL.vermagic, {}), None),
    (Found(PATH, OLD, {"a": 1, "of_another": 9}), None),
    (Found(PATH, OLD, {"a": 7, "b": 2, "gone": 1}),
     "it was built for 6.1-1-default, and uses what differs here: a, gone"),
    (Found(PATH, OLD, {f"s{n}": 1 for n in range(7)}), "s0, s1, s2, s3, s4 and 2 more"),
    (Found(PATH, OLD, {}), "nothing tells whether another kernel may load it"),
    (Found(PATH, "6.1-1-default SMP mod_unload", {"a": 1}), "and the kernel takes '6.2-1-default SMP preempt"),
])
def test_judge(found, reason):
    said = judge(found, KERNEL)
    assert said is None if reason is None else reason in said


def test_without_symvers_another_build_is_not_proved():
    assert "no symvers file" in judge(Found(PATH, OLD, {"a": 1}), KERNEL._replace(symbols=None))


def test_parsing():
    # kmod 34.2
    said = ("filename:       /usr/lib/modules/6.2/x.ko.xz\nalias:          pci:v1*\nalias:          pci:v2*\n"
            "vermagic:       6.2 SMP\n")
    assert parse_modinfo(said) == {
        "filename": "/usr/lib/modules/6.2/x.ko.xz", "alias": "pci:v1*", "vermagic": "6.2 SMP"}
    assert parse_versions("0xd272d446\t__fentry__\n0x5b8239ca\t__x86_return_thunk\n") == {
        "__fentry__": 0xd272d446, "__x86_return_thunk": 0x5b8239ca}
    assert parse_versions("0x12345678\tprintk\tvmlinux\tEXPORT_SYMBOL\t\n") == {"printk": 0x12345678}


def test_newest():
    assert newest(["6.9.1-1-default", "6.16.8-1-default", "6.16.8-1-rt"]) == "6.16.8-1-rt"
    assert newest(["6.9.12-1", "6.9.2-1"]) == "6.9.12-1"


def test_config():
    assert config_text(Request("drivers", ["a"], [], {})) == ""
    request = Request("drivers", [], ["b"], {"c": " d=1  e "})
    assert config_text(request) == "# Written by Ansible\nblacklist b\noptions c d=1 e\n"


@pytest.mark.parametrize("change", [
    {"name": "../x"}, {"name": "-x"}, {"name": "x\n"}, {"name": ""}, {"modules": ["-x"]}, {"modules": ["x\n"]},
    {"modules": ["no such"]}, {"blacklist": ["x\ninstall x /bin/sh"]}, {"options": {"x\n": "a=1"}},
    {"options": {"x": "a=1 # b"}}, {"options": {"x": "a=\\"}}, {"options": {"x": 'a="b'}},
    {"options": {"x": 'a="b c"'}},
    {"options": {"x": "a=\0"}}, {"options": {"x": "a=\u00e9"}}, {"options": {"x": ""}}, {"options": {"x": "-r"}},
])
def test_what_modprobe_would_not_read_as_it_was_meant_is_refused(change):
    with pytest.raises(TransactionalError, match="cannot be|have to be words"):
        validate(Request("x", [], [], {})._replace(**change))


def test_what_is_written_is_a_line_for_each():
    request = Request("x", ["a"], ["b", "c_d-e"], {"f": 'a=1\n\tb="c"  d', "g": "x=!$%&'()*+,-./:;<=>?@[]^_`{|}~"})
    validate(request)
    assert config_text(request).splitlines()[1:] == [
        "blacklist b", "blacklist c_d-e", 'options f a=1 b="c" d', "options g x=!$%&'()*+,-./:;<=>?@[]^_`{|}~"]
