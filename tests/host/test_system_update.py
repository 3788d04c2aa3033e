# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module system_update, judged by what snapper, btrfs and rpm say on the host afterwards."""

from __future__ import annotations

import pathlib

import pytest


@pytest.fixture
def outdated(host):
    """A host with packages that another repository has newer; its pending snapshot is 2."""
    host.check("zypper", "modifyrepo", "--enable", "testbed-updates")
    host.module("package", name=[f"testbed-{name}=1.0" for name in ("hello", "app", "lib", "config")])
    yield host
    host.check("zypper", "modifyrepo", "--disable", "testbed-updates")


def versions(host, number):
    """The versions of the packages of the testbed, but for the one that is always there."""
    found = dict(name.rsplit("-", 1) for name in host.packages(number))
    return {name.removeprefix("testbed-"): version for name, version in found.items() if name != "testbed-base"}


def upgraded(result):
    return sorted(f"{row['name']} {row['old_version']} {row['version']}" for row in result["upgraded"])


ALL = ["testbed-app 1.0-1 2.0-1", "testbed-config 1.0-1 2.0-1", "testbed-hello 1.0-1 2.0-1", "testbed-lib 1.0-1 2.0-1"]


@pytest.mark.parametrize("method", ["auto", "dup", "up"])
def test_everything_is_updated_in_one_snapshot(outdated, method):
    host = outdated
    plan = host.module("system_update", method=method, _check=True)
    assert plan["changed"] and upgraded(plan) == ALL
    assert (host.numbers(), host.default()) == ([1, 2], 2)
    result = host.module("system_update", method=method)
    assert result["changed"], result
    assert (result["base"], result["snapshot"], result["method"]) == (2, 3, "dup" if method == "auto" else method)
    assert upgraded(result) == ALL
    assert (host.numbers(), host.default()) == ([1, 2, 3], 3)
    assert versions(host, 3) == dict.fromkeys(["app", "config", "hello", "lib"], "2.0")
    before = host.state()
    assert host.module("system_update", method=method).get("changed") is False
    assert host.state() == before


def test_the_method_of_the_host(outdated):
    path = pathlib.Path("/etc/transactional-update.conf")
    path.write_text("# comment\nUPDATE_METHOD=up\n")
    try:
        assert outdated.module("system_update", _check=True)["method"] == "up"
    finally:
        path.unlink()


@pytest.mark.parametrize("arguments, expected", [
    ({}, ["app", "hello", "lib"]),
    ({"categories": ["security"]}, ["app", "lib"]),
    ({"severities": ["moderate"]}, ["hello"]),
    ({"categories": ["security", "recommended"], "severities": ["moderate", "important"]}, ["app", "hello", "lib"]),
    ({"include_optional_patches": True}, ["app", "config", "hello", "lib"]),
    ({"include_optional_patches": True, "include_reboot_patches": False}, ["app", "hello", "lib"]),
    ({"exclude": ["testbed-hel*"]}, ["app", "lib"]),
])
def test_patches(outdated, arguments, expected):
    result = outdated.module("system_update", method="patch", **arguments)
    assert result["changed"], result
    found = versions(outdated, outdated.default())
    assert sorted(name for name, version in found.items() if version == "2.0") == expected
    assert result["reboot_suggested"] == ("config" in expected)


@pytest.mark.parametrize("method", ["dup", "up"])
def test_what_is_excluded_stays(outdated, method):
    host = outdated
    result = host.module("system_update", method=method, exclude=["testbed-hello", "testbed-c*"])
    assert upgraded(result) == ["testbed-app 1.0-1 2.0-1", "testbed-lib 1.0-1 2.0-1"]
    assert versions(host, 3) == {"app": "2.0", "config": "1.0", "hello": "1.0", "lib": "2.0"}
    assert not pathlib.Path("/.snapshots/3/snapshot/etc/zypp/locks").exists()


def test_a_conflict_makes_no_snapshot(outdated):
    lock = pathlib.Path("/.snapshots/2/snapshot/etc/zypp/locks")
    lock.write_text("type: package\nmatch_type: glob\ncase_sensitive: on\nsolvable_name: testbed-lib\n")
    before = outdated.state()
    result = outdated.module("system_update", method="patch")
    assert result.get("failed"), result
    assert "testbed-2026-2" in result["problems"][0]["problem"]
    assert "a lock is in the way of testbed-lib" in result["msg"]
    assert outdated.state() == before
