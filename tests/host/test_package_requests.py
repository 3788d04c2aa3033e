# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module package: all that can be asked for, and that it is asked for only once."""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import shutil
import threading

import pytest

REPOSITORIES = "/opt/testbed/repos"


def rpm_file(repository, name, version="1.0"):
    return f"{REPOSITORIES}/{repository}/noarch/testbed-{name}-{version}-1.noarch.rpm"


@contextlib.contextmanager
def served(directory):
    """The address of a web server for a directory, and the paths that were asked for."""
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_arguments):
            asked.append(self.path)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=directory))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


@contextlib.contextmanager
def no_zypper(host):
    """A host on which every start of zypper fails."""
    empty = "/run/no-zypper"
    with open(empty, "w", encoding="ascii") as stream:
        stream.write("#!/bin/sh\nexit 42\n")
    os.chmod(empty, 0o755)
    host.check("mount", "--bind", empty, "/usr/bin/zypper")
    try:
        yield
    finally:
        host.check("umount", "/usr/bin/zypper")
        os.unlink(empty)


@pytest.mark.parametrize("name, installed", [
    ("testbed-hello=1.0", "testbed-hello-1.0"),
    ("testbed-hello = 1.0-1", "testbed-hello-1.0"),
    ("testbed-hello<2.0", "testbed-hello-1.0"),
    ("testbed-hello<=2.0", "testbed-hello-2.0"),
    ("testbed-hello>=1.0", "testbed-hello-2.0"),
    ("testbed-hello>1.0", "testbed-hello-2.0"),
    ("testbed-hello.noarch", "testbed-hello-2.0"),
    ("/bin/testbed-missing", None),
    ("pattern:testbed_pattern", "testbed-pattern-1.0"),
    ("product:testbed-product", "testbed-product-1.0"),
    ("pattern() = testbed_pattern", "testbed-pattern-1.0"),
    (rpm_file("main", "left"), "testbed-left-1.0"),
])
def test_what_can_be_installed_is_installed_once(host, name, installed):
    host.enable("testbed-updates")
    predicted = host.module("package", _check=True, name=name)
    result = host.module("package", name=name)
    if not installed:
        assert result["failed"]
        assert name in result["msg"]
        return
    assert result.get("changed"), result
    assert installed in host.packages(2)
    for key in ("changed", "installed", "diff", "download_size", "size_difference"):
        assert predicted[key] == result[key]
    assert result["download_size"] > 0
    before = host.state()
    with no_zypper(host):
        again = host.module("package", name=name)
        assert again.get("changed") is False, again
    assert host.state() == before


def test_type_says_what_the_names_are(host):
    result = host.module("package", name="testbed_pattern", type="pattern")
    assert "testbed-hello-1.0" in host.packages(2)
    assert not host.module("package", name="testbed_pattern", type="pattern")["changed"]
    assert [package["type"] for package in result["installed"] if "type" in package] == ["pattern"]
    gone = host.module("package", name="testbed_pattern", type="pattern", state="absent")
    assert [package["name"] for package in gone["removed"]] == ["testbed-pattern"]
    assert not host.module("package", name="testbed_pattern", type="pattern", state="absent")["changed"]


def test_a_version_that_is_there_already_is_judged_by_rpm(host):
    host.enable("testbed-updates")
    host.module("package", name="testbed-hello=1.0")
    higher = host.module("package", name=["testbed-hello>1.0"])
    assert [(package["old_version"], package["version"]) for package in higher["upgraded"]] == [("1.0-1", "2.0-1")]
    lower = host.module("package", name=["testbed-hello<2.0"])
    assert [(package["old_version"], package["version"]) for package in lower["downgraded"]] == [("2.0-1", "1.0-1")]
    assert "testbed-hello-1.0" in host.packages(lower["snapshot"])


def test_a_version_that_is_nowhere(host):
    before = host.state()
    result = host.module("package", name="testbed-hello>=9")
    assert result["rc"] == 104
    assert "testbed-hello" in result["msg"]
    assert host.state() == before


def test_patches(host):
    host.module("package", name=["testbed-hello", "testbed-base"])
    host.enable("testbed-updates", snapshot=2)
    result = host.module("package", name="patch:testbed-2026-1")
    assert [package["version"] for package in result["upgraded"]] == ["2.0-1"]
    before = host.state()
    for name in ("patch:testbed-2026-1", "patch:testbed-2026-2"):
        assert host.module("package", name=name).get("changed") is False
    assert host.state() == before
    assert "cannot be removed" in host.module("package", name="patch:testbed-2026-1", state="absent")["msg"]


def test_patterns_of_names_are_removed(host):
    host.module("package", name=["testbed-app", "testbed-hello", "testbed-left"])
    before = host.state()
    assert not host.module("package", name=["testbed-x*", "nothing-*"], state="absent")["changed"]
    assert "state 'absent'" in host.module("package", name=["testbed-*"])["msg"]
    assert host.state() == before
    result = host.module("package", name=["testbed-h*", "testbed-[al]*"], state="absent")
    assert host.packages(result["snapshot"]) == {"testbed-base-1.0"}


def test_a_version_is_removed_only_if_it_is_there(host):
    host.module("package", name="testbed-hello")
    assert not host.module("package", name="testbed-hello>1.0", state="absent")["changed"]
    result = host.module("package", name="testbed-hello<=1.0", state="absent")
    assert [package["name"] for package in result["removed"]] == ["testbed-hello"]


def test_install_and_remove_in_one_step(host):
    host.module("package", name="testbed-left")
    result = host.module("package", name=["-testbed-left", "+testbed-right", "~testbed-hello"])
    assert host.packages(result["snapshot"]) == {"testbed-base-1.0", "testbed-right-1.0"}
    assert not host.module("package", name=["-testbed-left", "+testbed-right", "~testbed-hello"])["changed"]


def test_a_file_where_the_snapshot_does_not_see_it(host):
    os.makedirs("/tmp/files")
    path = shutil.copy(rpm_file("main", "left"), "/tmp/files")
    try:
        result = host.module("package", name=[path, "testbed-hello"])
        assert {"testbed-left-1.0", "testbed-hello-1.0"} <= host.packages(2), result
        assert not host.module("package", name=path)["changed"]
    finally:
        shutil.rmtree("/tmp/files")
    assert not os.path.exists("/var/cache/microos-transactional")
    assert "cannot read /tmp/none.rpm: No such file" in host.module("package", name="/tmp/none.rpm")["msg"]
    assert "use the name of the package" in host.module("package", name="/tmp/none.rpm", state="absent")["msg"]


def test_an_older_file_needs_permission(host):
    host.enable("testbed-updates")
    host.module("package", name="testbed-hello")
    before = host.state()
    refused = host.module("package", name=rpm_file("main", "hello"))
    assert "allow_downgrade" in refused["msg"]
    assert "allow_downgrade" in host.module("package", _check=True, name=rpm_file("main", "hello"))["msg"]
    assert host.state() == before
    allowed = host.module("package", name=rpm_file("main", "hello"), allow_downgrade=True)
    assert "testbed-hello-1.0" in host.packages(allowed["snapshot"])


def test_the_signature_of_a_file_decides(host):
    before = host.state()
    for path in (rpm_file("unsigned", "unsigned"), rpm_file("wrongkey", "wrong-signature")):
        assert "Signature verification failed" in host.module("package", name=path)["msg"]
        assert host.state() == before
    for path in (rpm_file("unsigned", "unsigned"), rpm_file("wrongkey", "wrong-signature")):
        assert host.module("package", name=path, disable_gpg_check=True).get("changed")


def test_an_address_is_loaded_once(host):
    with served(f"{REPOSITORIES}/main/noarch") as (address, asked):
        url = f"{address}/testbed-left-1.0-1.noarch.rpm"
        assert host.module("package", name=url)["snapshot"] == 2
        assert "testbed-left-1.0" in host.packages(2)
        asked.clear()
        before = host.state()
        assert not host.module("package", name=url)["changed"]
        assert not asked
        assert host.state() == before


def test_an_address_that_says_nothing_of_the_version(host, tmp_path):
    shutil.copy(rpm_file("main", "left"), tmp_path / "latest.rpm")
    with served(tmp_path) as (address, _asked):
        assert host.module("package", name=f"{address}/latest.rpm")["snapshot"] == 2
        before = host.state()
        assert not host.module("package", name=f"{address}/latest.rpm")["changed"]
        missing = host.module("package", name=f"{address}/none.rpm")
        assert missing["failed"]
        assert "none.rpm" in missing["msg"]
        assert host.state() == before


def test_everything_is_the_business_of_another_module(host):
    for arguments in ({"name": "*", "state": "latest"}, {"name": "*", "state": "dist-upgrade"}):
        assert "microos.transactional.system_update" in host.module("package", **arguments)["msg"]
