# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of the module package, and what zypper's answers come to."""

from __future__ import annotations

import os

import pytest


def names(packages):
    return sorted(package["name"] for package in packages)


@pytest.fixture
def locks(host):
    """Locks on packages, as an administrator makes them."""
    yield lambda *packages: host.check("zypper", "addlock", *packages)
    if os.path.exists("/etc/zypp/locks"):
        os.unlink("/etc/zypp/locks")


def test_optional_names_may_be_missing(host):
    result = host.module("package", name="testbed-hello", optional=["testbed-nowhere", "testbed-left"])
    assert result["skipped_names"] == ["testbed-nowhere"]
    assert {"testbed-hello-1.0", "testbed-left-1.0"} <= host.packages(2)
    before = host.state()
    assert not host.module("package", optional=["testbed-nowhere", "testbed-left"])["changed"]
    assert host.module("package", name="testbed-other", optional=["testbed-nowhere"])["rc"] == 104
    assert host.state() == before


@pytest.mark.parametrize("arguments, recommended", [
    ({"recommends": True}, True),
    ({"recommends": False}, False),
    ({"disable_recommends": True}, False),
    ({"disable_recommends": False}, True),
])
def test_recommends(host, arguments, recommended):
    result = host.module("package", name="testbed-recommends", **arguments)
    assert ("testbed-config" in names(result["installed"])) == recommended


def test_recommends_said_twice(host):
    result = host.module("package", name="testbed-recommends", recommends=True, disable_recommends=True)
    assert "mutually exclusive" in result["msg"]


def test_another_vendor_needs_permission(host):
    host.module("package", name="testbed-tool")
    host.enable("testbed-vendor", snapshot=2)
    before = host.state()
    left = host.module("package", name="testbed-tool", state="latest")
    assert not left["changed"]
    assert "from vendor 'somebody else'" in str(left["warnings"])
    assert host.state() == before
    changed = host.module("package", name="testbed-tool", state="latest", allow_vendor_change=True)
    assert names(changed["changed_vendor"]) == ["testbed-tool"]
    assert "testbed-tool-2.0" in host.packages(changed["snapshot"])


def test_a_licence_needs_agreement(host):
    before = host.state()
    for check in (False, True):
        result = host.module("package", name="testbed-licence", _check=check)
        assert "the licence of testbed-licence asks for agreement" in result["msg"]
        assert "auto_agree_with_licenses" in result["msg"]
        assert host.state() == before
    assert host.module("package", name="testbed-licence", auto_agree_with_licenses=True).get("changed")


def test_files_of_others_need_permission(host):
    host.module("package", name="testbed-hello")
    before = host.state()
    refused = host.module("package", name="testbed-file-conflict")
    assert "file conflict: /usr/bin/testbed-hello" in refused["msg"]
    assert host.state() == before
    assert host.module("package", name="testbed-file-conflict", replacefiles=True).get("changed")


def test_clean_deps(host):
    host.module("package", name="testbed-app")
    result = host.module("package", name="testbed-app", state="absent", clean_deps=True)
    assert names(result["removed"]) == ["testbed-app", "testbed-lib"]


def test_force_resolution_chooses_a_solution(host):
    host.module("package", name="testbed-left")
    refused = host.module("package", name="testbed-right")
    assert refused["rc"] == 4
    assert "conflicts" in refused["problems"][0]["problem"]
    assert "deinstallation of testbed-left-1.0-1.noarch" in str(refused["problems"][0]["solutions"])
    result = host.module("package", name="testbed-right", force_resolution=True)
    assert names(result["removed"]) == ["testbed-left"]


def test_a_lock_is_respected(host, locks):
    locks("testbed-left")
    before = host.state()
    result = host.module("package", name="testbed-left")
    assert "a lock is in the way of testbed-left" in result["msg"]
    assert host.state() == before


def test_a_locked_package_is_neither_removed_nor_updated(host, locks):
    locks("testbed-hello")
    host.check("zypper", "removelock", "testbed-hello")
    host.module("package", name="testbed-hello")
    host.enable("testbed-updates", snapshot=2)
    with open("/.snapshots/2/snapshot/etc/zypp/locks", "w", encoding="ascii") as stream:
        stream.write("\ntype: package\nmatch_type: glob\ncase_sensitive: on\nsolvable_name: testbed-hello\n")
    before = host.state()
    latest = host.module("package", name="testbed-hello", state="latest")
    assert not latest["changed"]
    assert "testbed-hello is locked" in str(latest["warnings"])
    refused = host.module("package", name="testbed-hello", state="absent")
    assert "a lock is in the way of testbed-hello" in refused["msg"]
    assert host.state() == before


def test_metadata_is_refreshed_on_demand(host):
    assert host.module("package", name="testbed-base", update_cache=True).get("changed") is False
    assert os.path.exists("/var/cache/zypp/raw/testbed-main")
    host.enable("testbed-unknown-key")
    before = host.state()
    assert "Signature verification failed" in str(host.module("package", name="testbed-base", refresh=True))
    assert host.state() == before


def test_more_arguments_for_zypper(host):
    result = host.module("package", name="testbed-recommends", extra_args="--no-recommends --details",
                         extra_args_precommand="--no-refresh")
    assert names(result["installed"]) == ["testbed-recommends"]


def test_a_failing_scriptlet_may_be_accepted(host):
    result = host.module("package", name="testbed-post-fails", skip_post_errors=True)
    assert result.get("changed"), result
    assert "a scriptlet failed" in str(result["warnings"])
    assert "testbed-post-fails-1.0" in host.packages(2)
    assert host.default() == 2


@pytest.mark.parametrize("arguments, words", [
    ({"state": "dist-upgrade"}, "microos.transactional.system_update"),
    ({"type": "application"}, "type 'application'"),
    ({"auto_import_keys": True}, "microos.transactional.repository"),
])
def test_what_is_not_supported_says_what_is(host, arguments, words):
    before = host.state()
    assert words in host.module("package", name="testbed-hello", **arguments)["msg"]
    assert host.state() == before


def test_what_has_no_effect_is_accepted(host):
    assert host.module("package", name="testbed-hello", quiet=False, simple_errors=True, force=True).get("changed")
    assert not host.module("package", name="testbed-hello", quiet=False, simple_errors=True, force=True)["changed"]


def test_empty_names_are_none(host):
    before = host.state()
    assert host.module("package", name=["", " "]).get("changed") is False
    assert host.state() == before
