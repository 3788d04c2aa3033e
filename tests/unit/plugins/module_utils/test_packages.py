# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time
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


def answers(*answers):
    """A way to run zypper that answers with exit codes and outputs."""
    left = list(answers)

    def run(argv, env, timeout=None, consume=None):
        code, stdout = left.pop(0)
        if consume:
            consume(stdout.encode())
        return command.Result(argv, code, "", "")
    return run


@pytest.mark.parametrize("output", ["", "Nothing to do.", SUMMARY.format(name="new")[:-20],
                                    "<?xml version='1.0'?><stream></stream>",
                                    SUMMARY.format(name="new").replace("<install", "Key <a@b> & c<install", 1)])
@pytest.mark.parametrize("code", [0, 102, 106, 107])
def test_a_success_that_cannot_be_read_is_a_failure(packages, output, code):
    request = packages(skip_post_errors=True)
    with pytest.raises(TransactionalError, match="cannot read what zypper said") as caught:
        request._zypper(answers((code, output)), "/", request.requests)
    assert caught.value.details["rc"] == code
    assert not {"stdout", "stderr"} & set(caught.value.details)


def test_a_zypper_that_is_never_done_with_itself(packages):
    run, done = runs(*[103] * 10)
    request = packages()
    with pytest.raises(TransactionalError, match="3 times to be run again"):
        request._zypper(run, "/", request.requests)
    assert len(done) == 3
    # a prediction is none of that
    run, done = runs(103)
    assert not request._zypper(run, "/", request.requests, dry_run=True).is_empty


FAILED = "<message type='info'>oopswarning: %post(a-1-1.noarch) scriptlet failed, exit status 1</message>"


@pytest.mark.parametrize("code", [0, 102, 106])
def test_a_scriptlet_that_fails_unnoticed(packages, code):
    output = SUMMARY.format(name="new").replace("</stream>", FAILED + "</stream>")
    request = packages()
    with pytest.raises(TransactionalError, match=r"%post\(a-1-1.noarch\): exit status 1") as caught:
        request._zypper(answers((code, output)), "/", request.requests)
    assert caught.value.details["rc"] == code
    request = packages(skip_post_errors=True)
    assert not request._zypper(answers((code, output)), "/", request.requests).is_empty
    assert "%post(a-1-1.noarch)" in str(request.warnings)


def test_the_time_is_that_of_the_task(packages):
    given = []

    def run(argv, env, timeout, consume):
        given.append(timeout)
        time.sleep(0.05)
        raise command.TimedOut(argv, timeout, [], "", "")
    request = packages(timeout=1)
    for _run in range(2):
        with pytest.raises(TransactionalError, match="option timeout") as caught:
            request._zypper(run, "/", request.requests)
        assert "ended" in str(caught.value)
    assert given[1] < given[0] <= 1
    request._seconds_left = 0
    with pytest.raises(TransactionalError, match="was not started"):
        request._zypper(run, "/", request.requests)
    assert len(given) == 2
    with pytest.raises(TransactionalError, match="timeout is -1"):
        packages(timeout=-1)


def test_warnings_of_a_success_are_passed_on_once(packages):
    warning = "<message type='warning'>Repository 'r' metadata expired since 2020.</message>"
    output = SUMMARY.format(name="new").replace("</stream>", warning * 2 + "</stream>")
    request = packages()
    for _run in range(2):
        request._zypper(answers((0, output)), "/", request.requests)
    assert request.warnings == ["Repository 'r' metadata expired since 2020."]


def test_addresses_in_messages_are_hidden(packages):
    said = "<message type='error'>cannot load http://user:SECRET@host/a?token=TOKEN</message>"
    request = packages()
    with pytest.raises(TransactionalError) as caught:
        request._zypper(answers((4, SUMMARY.format(name="new").replace("</stream>", said + "</stream>"))), "/",
                        request.requests)
    text = str(caught.value) + str(caught.value.details)
    assert "SECRET" not in text and "TOKEN" not in text and "user" not in text
    assert "host/a" in text


@pytest.mark.parametrize("options, unchecked", [
    ("", False), ("--no-refresh", False), ("--no-gpg-checks", True), ("-v --no-gpg", True), ("--no-g", True),
    ("--no-cd --no-color", False)])
def test_options_that_leave_out_the_checks(packages, options, unchecked):
    assert packages(extra_args_precommand=options)._is_unchecked() == unchecked


@pytest.mark.parametrize("options, words", [
    ({"extra_args_precommand": "--gpg-auto-import-keys"}, "by its fingerprint"),
    ({"extra_args_precommand": "--gpg"}, "by its fingerprint"),
    ({"extra_args_precommand": "'"}, "extra_args_precommand cannot be read"),
    ({"extra_args": "a 'b"}, "extra_args cannot be read"),
])
def test_options_that_are_refused(packages, options, words):
    with pytest.raises(TransactionalError, match=words):
        packages(**options)


@pytest.mark.parametrize("value, seconds", [(None, 0), ("", 0), ("x", 0), ("30", 30), ("-1", 3600), ("999999", 3600)])
def test_how_long_others_are_waited_for(packages, monkeypatch, value, seconds):
    monkeypatch.delenv("ZYPP_LOCK_TIMEOUT", raising=False)
    if value is not None:
        monkeypatch.setenv("ZYPP_LOCK_TIMEOUT", value)
    assert packages()._patience() == seconds


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
