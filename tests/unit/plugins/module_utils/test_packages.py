# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.microos.transactional.plugins.module_utils import _packages
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError


@pytest.mark.parametrize("state, expected", [
    ("present", ["a", "c"]),
    ("absent", ["b"]),
    ("latest", ["a", "b", "c"]),
])
def test_select(state, expected):
    assert _packages.select(["a", "b", "c"], {"a", "c"}, state) == expected


def test_names_are_kept_once_in_their_order():
    names = ["b", "a", "libstdc++6", "/usr/bin/vi", "font(:lang=de)", "libz.so.1()(64bit)", "perl(Foo::Bar)"]
    assert _packages.check_names([*names, "b"]) == names


@pytest.mark.parametrize("name", ["-a", "!a", "~a", "+a", "a=1", "a>=1", "pattern:base", "*", "a b", "", "a\n"])
def test_what_zypper_would_take_for_something_else_is_refused(name):
    with pytest.raises(TransactionalError, match="not a plain package name"):
        _packages.check_names(["good", name])


def test_diff_lists_each_package_on_its_side():
    package = {"name": "lib", "version": "2-1", "arch": "noarch"}
    diff = _packages.as_diff({
        "installed": [dict(package, name="new")], "removed": [dict(package, name="old")],
        "upgraded": [dict(package, old_version="1-1")],
    })
    assert diff["before"] == "lib-1-1.noarch\nold-2-1.noarch\n"
    assert diff["after"] == "lib-2-1.noarch\nnew-2-1.noarch\n"
