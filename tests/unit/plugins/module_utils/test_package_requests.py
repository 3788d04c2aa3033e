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


@pytest.mark.parametrize("address, text", [
    ("https://example.com/a.rpm", "https://example.com/a.rpm"),
    ("https://example.com/x/y/a.rpm?token=TOKEN#sha256=2", "https://example.com/\u2026/a.rpm"),
    ("HTTP://example.com:8080/x/a.rpm", "HTTP://example.com:8080/\u2026/a.rpm"),
    ("https://example.com?token=TOKEN", "https://example.com"),
    ("iso:///?iso=a.iso&url=https://example.com/x", "iso:///"),
])
def test_how_an_address_is_shown(address, text):
    request = requests.parse(address)
    assert (request.text, request.argument) == (text, address)


@pytest.mark.parametrize("address", [
    "http://user:SECRET@host/x.rpm", "HTTPS://user:SECRET@host/x.rpm", "http://SECRET@host/x.rpm",
    "https://host/x.rpm?username=a&password=SECRET", "https://host/x.rpm?proxyuser=a&proxypass=SECRET",
    "iso:///?iso=a.iso&url=http%3A%2F%2Fuser%3ASECRET%40host%2Fx", "http://user:SEC RET@host/x.rpm",
    "xx http://user:SECRET@host/x.rpm", "http://us/er:SECRET@host/x y.rpm?a=SECRET",
])
def test_a_login_in_an_address_is_refused_and_not_repeated(address):
    with pytest.raises(TransactionalError) as caught:
        requests.parse(address)
    assert "SECRET" not in str(caught.value)


def test_what_of_an_address_nobody_may_read():
    assert requests.secrets_in(["a", "https://host/a.rpm?token=T#x"]) == {"token=T"}
    assert requests.secrets_in(["http://user:SECRET@host/a"]) == {"user:SECRET", "user", "SECRET"}
    assert requests.without_queries("at 'https://a:b@host/c?token=T' it ended") == (
        "at 'https://********@host/c?********' it ended")


@pytest.mark.parametrize("names", [["a", "-a"], ["a", "~a"], ["!a", "+a"], ["a=1", "-a"], ["a", "-a=1"],
                                   ["a.noarch", "-a"], ["pattern:a", "-pattern:a"], ["a=1", "-a=1"]])
def test_contradictions_are_refused(names):
    with pytest.raises(TransactionalError, match="ask for one of them"):
        requests.refuse_contradictions(requests.parse_all(names))


@pytest.mark.parametrize("names", [["a", "-b"], ["a=2", "-a=1"], ["a", "-pattern:a"], ["-a", "-a"], ["a", "a=1"]])
def test_what_is_no_contradiction(names):
    requests.refuse_contradictions(requests.parse_all(names))
