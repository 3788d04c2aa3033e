# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import types

import pytest

from ansible_collections.microos.transactional.plugins.module_utils import _packages, _zypper_work
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._tools import command

SUMMARY = """<?xml version='1.0'?>
<stream>
<install-summary download-size="10" space-usage-diff="20" need-reboot="0">
<to-install><solvable type="package" name="{name}" edition="1-1" arch="noarch"/></to-install>
</install-summary>
</stream>
"""


def test_diff_lists_each_package_on_its_side():
    package = {"name": "lib", "version": "2-1", "arch": "noarch"}
    diff = _zypper_work.as_diff({
        "installed": [dict(package, name="new")], "removed": [dict(package, name="old")],
        "upgraded": [dict(package, old_version="1-1")],
    })
    assert diff["before"] == "lib-1-1.noarch\nold-2-1.noarch\n"
    assert diff["after"] == "lib-2-1.noarch\nnew-2-1.noarch\n"


@pytest.fixture
def packages(monkeypatch):
    """A request for "new" on a host that is none; rpm and the engine are not asked."""
    monkeypatch.setattr(_zypper_work, "choose_engine", lambda *_arguments: types.SimpleNamespace(name="snapper"))
    host = types.SimpleNamespace(current=1, booted=1, default=lambda: 1)
    return lambda **options: _packages.Packages(host, ["new"], "present", options)


def runs(*codes):
    """A way to run zypper that answers with the given exit codes, each with one more package, and its runs."""
    done = []

    def run(argv, env, timeout, consume):
        assert timeout > 0
        done.append(argv)
        consume(SUMMARY.format(name=f"new{len(done)}").encode())
        return command.Result(argv, codes[len(done) - 1], "", "")
    return run, done


SUCCESSES = [(0,), (102,), (106,), (103, 0)]


@pytest.mark.parametrize("codes", SUCCESSES)
def test_exit_codes_of_success(packages, codes):
    run, done = runs(*codes)
    request = packages()
    answer = request._zypper(run, "/", request.requests)
    assert [package["name"] for package in answer.changes["installed"]] == [f"new{n + 1}" for n in range(len(codes))]
    assert answer.download_size == 10 * len(codes)
    assert len(done) == len(codes)
    assert request.result["reboot_suggested"] == (102 in codes)
    assert bool(request.warnings) == (106 in codes)


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5, 6, 7, 8, 100, 101, 104, 105, 107, 42, -9])
def test_exit_codes_of_failure(packages, code):
    run, _done = runs(code)
    request = packages()
    with pytest.raises(TransactionalError, match="What to do") as caught:
        request._zypper(run, "/", request.requests)
    assert caught.value.details["rc"] == code
    assert f"exit code {code}" in str(caught.value)


def test_a_failed_scriptlet_is_no_failure_on_request(packages):
    run, _done = runs(107)
    request = packages(skip_post_errors=True)
    assert not request._zypper(run, "/", request.requests).is_empty
    assert "scriptlet" in request.warnings[0]


def test_options_of_an_installation():
    assert _packages.install_options({}) == []
    assert _packages.install_options({"recommends": False, "replace_files": True, "clean_deps": True}) == [
        "--no-recommends", "--replacefiles"]


def test_a_version_allows_for_a_downgrade(packages):
    run, done = runs(0)
    request = packages()
    request._zypper(run, "/", request.requests)
    assert "--oldpackage" not in done[0]
