# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.microos.transactional.plugins.module_utils import _package_requests as requests
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError


@pytest.mark.parametrize("text, kind, argument", [
    ("libstdc++6", "package", "libstdc++6"),
    ("/usr/bin/vi", "package", "/usr/bin/vi"),
    ("font(:lang=de)", "package", "font(:lang=de)"),
    ("libz.so.1()(64bit)", "package", "libz.so.1()(64bit)"),
    ("perl(Foo::Bar)", "package", "perl(Foo::Bar)"),
    ("name=1.2", "package", "name=1.2"),
    ("name == 1.2", "package", "name=1.2"),
    ("name >= 1:1.2~rc1-3.4", "package", "name>=1:1.2~rc1-3.4"),
    ("name<2", "package", "name<2"),
    ("package:name", "package", "name"),
    ("pattern:base", "pattern", "pattern:base"),
    ("product:MicroOS", "product", "product:MicroOS"),
    ("patch:openSUSE-2026-1", "patch", "patch:openSUSE-2026-1"),
    ("srcpackage:zypper", "srcpackage", "srcpackage:zypper"),
    ("/root/a.rpm", "file", "/root/a.rpm"),
    ("https://example.com/a.rpm?x=1", "url", "https://example.com/a.rpm?x=1"),
    ("+name", "package", "name"),
])
def test_requests(text, kind, argument):
    request = requests.parse(text)
    assert (request.kind, request.argument, request.remove) == (kind, argument, False)


@pytest.mark.parametrize("text, remove", [("-name", False), ("~name", False), ("!name", False), ("name", True)])
def test_removals(text, remove):
    assert requests.parse(text, remove=remove).remove


def test_the_type_is_that_of_names_without_one():
    found = requests.parse_all(["base", "package:vi"], kind="pattern")
    assert [request.argument for request in found] == ["pattern:base", "vi"]
    assert found[0].capability == ("pattern()", "is", "base")


def test_each_once_in_their_order_and_no_empty_ones():
    found = requests.parse_all(["b", "", "a", " ", "b", "a=1"])
    assert [request.argument for request in found] == ["b", "a", "a=1"]


@pytest.mark.parametrize("text", ["--force", "a b", "a\nb", "name=", "=1", "shape:square", "pattern:", "a;b", "a.rpm",
                                  "*", "a*", "pattern:a=1"])
def test_what_zypper_would_take_for_something_else_is_refused(text):
    with pytest.raises(TransactionalError):
        requests.parse(text)


@pytest.mark.parametrize("text", ["+name", "*", "/root/a.rpm", "https://example.com/a.rpm", "patch:a"])
def test_what_cannot_be_absent(text):
    with pytest.raises(TransactionalError):
        requests.parse(text, remove=True)


@pytest.mark.parametrize("address, label", [
    ("https://example.com/x/vi-9.1-2.x86_64.rpm", "vi-9.1-2.x86_64"),
    ("https://example.com/vi-9.1-2.x86_64.rpm?token=1#sha256=2", "vi-9.1-2.x86_64"),
    ("https://example.com/download", ""),
])
def test_label(address, label):
    assert requests.label(address) == label
