# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Definitions of health checks, and the scripts and units that are made of them."""

from __future__ import annotations

import pathlib
import subprocess
import tempfile

import pytest
from fuzzing import NASTY, SECONDS, Parser, is_int, octets, parser_tests, printable, text
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.microos.transactional.plugins.module_utils import _health_boot, _health_checks, _health_scripts
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError

NOTHING = {"name": "web", "state": "present", "command": None, "units": None, "url": None, "port": None, "script": None,
           "timeout": None, "host": "127.0.0.1", "status": [200], "validate_certs": True, "severity": "required",
           "deadline": 60, "delay": 5, "retries": None}
SAID = "it works\nattempt 1 failed with exit code 1\nhealth check web: ok, exit code 0, attempts 2, seconds 7\n"


def result_is_documented(found):
    assert is_int(found.rc)
    assert is_int(found.attempts)
    assert is_int(found.seconds)
    assert isinstance(found.output, str)
    assert isinstance(_health_checks.describe(dict(found._asdict(), name="web")), str)


test_real, test_any_text, test_damaged, test_huge = parser_tests([
    Parser("result", lambda value: _health_scripts.parse(1, value), [SAID], result_is_documented)])

anything = st.one_of(text, printable, st.sampled_from(NASTY), st.lists(st.sampled_from(NASTY), max_size=6).map("".join))
definition = st.one_of(
    st.fixed_dictionaries({"command": st.one_of(anything, st.lists(anything, max_size=4))}),
    st.fixed_dictionaries({"script": anything}),
    st.fixed_dictionaries({"url": anything.map(lambda part: "https://" + part), "status": st.lists(
        st.integers(100, 599), min_size=1, max_size=3), "validate_certs": st.booleans()}),
    st.fixed_dictionaries({"port": st.integers(-1, 70000), "host": st.one_of(anything, st.just("::1"))}),
    st.fixed_dictionaries({"units": st.lists(st.one_of(anything, st.from_regex(
        r"[A-Za-z0-9:_.\\-]{1,9}(@[a-z\\]{1,5})?\.(service|target)", fullmatch=True)), max_size=3)}))
times = st.fixed_dictionaries({}, optional={
    "deadline": st.integers(-1, 10**7), "delay": st.integers(-1, 10**5), "timeout": st.integers(-1, 10**5),
    "retries": st.integers(-1, 99), "severity": st.sampled_from(_health_boot.SEVERITIES),
    "name": st.one_of(anything, st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,9}", fullmatch=True))})


def accepted(wanted):
    try:
        _health_checks.validate(wanted)
    except TransactionalError:
        return False
    return True


def sh(*arguments, **more):
    return subprocess.run(["sh", *arguments], stdin=subprocess.DEVNULL, capture_output=True, check=False,
                          timeout=SECONDS, **more)


@given(definition, times)
def test_the_real_shell_takes_each_script(what, when):
    wanted = {**NOTHING, **what, **when}
    if not accepted(wanted):
        return
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory, "check.sh")
        path.write_text(_health_scripts.render(wanted["name"], wanted, f"{directory}/it's"), encoding="utf-8",
                        errors="surrogateescape", newline="\n")
        done = sh("-n", path)
        assert done.returncode == 0, done.stderr


@given(st.lists(anything, min_size=1, max_size=3))
def test_a_program_gets_its_arguments_as_they_were_given(arguments):
    wanted = dict(NOTHING, command=["printf", "%s\\n", *arguments])
    if not accepted(wanted):
        return
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory, "check.sh")
        path.write_text(_health_scripts.render("web", wanted, ""), encoding="utf-8", newline="\n")
        done = sh(path, "try")
    assert done.stdout == "".join(one + "\n" for one in arguments).encode()


@given(anything, st.booleans())
def test_what_a_script_says_is_no_command(said, fails):
    """Whatever a check prints, its outcome is its exit status."""
    with tempfile.TemporaryDirectory() as directory:
        content = pathlib.Path(directory, "output")
        content.write_text(said, encoding="utf-8", newline="\n")
        wanted = dict(NOTHING, command=f"cat '{content}'; exit {int(fails)}", deadline=1, retries=0)
        path = pathlib.Path(directory, "check.sh")
        path.write_text(_health_scripts.render("web", wanted, ""), encoding="utf-8")
        done = sh(path)
    assert done.returncode == int(fails)
    found = _health_scripts.parse(done.returncode, done.stdout.decode("utf-8", "replace"))
    assert (found.rc, found.attempts) == (int(fails), 1)


@given(st.integers(0, 255), octets)
def test_any_output(rc, said):
    result_is_documented(_health_scripts.parse(rc, said.decode("utf-8", "replace")))


# each takes systemd a good part of a second
@settings(max_examples=max(settings.default.max_examples // 10, 3))
@given(definition, times)
def test_the_real_systemd_takes_each_unit(what, when):
    wanted = {**NOTHING, **what, **when, "script": None}
    if not accepted(wanted):
        return
    name = wanted["name"]
    texts = {path: said for path, said in _health_boot.texts(name, "", wanted, False).items() if "[Unit]" in said}
    assert len(texts) == 1
    with tempfile.TemporaryDirectory() as directory:
        paths = []
        for path, said in texts.items():
            paths.append(pathlib.Path(directory, pathlib.PurePath(path).name))
            paths[-1].write_text(said)
        try:
            done = subprocess.run(["systemd-analyze", "verify", "--man=no", *paths], capture_output=True, text=True,
                                  check=False, timeout=60)
        except FileNotFoundError:
            pytest.skip("there is no systemd-analyze")
    assert not [line for line in done.stderr.splitlines() if _health_boot.PREFIX in line and "not found" not in line]
