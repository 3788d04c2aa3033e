# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Answers of zypper and rpm, and the names of packages that a task asks for."""

from __future__ import annotations

import json
import pathlib
import tempfile

import pytest
from fuzzing import NASTY, Parser, answering, is_int, parser_tests, shell, text
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.microos.transactional.plugins.module_utils import _package_requests
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._tools import rpm, zypper

RECORDED = pathlib.Path(__file__).parents[1] / "unit" / "recorded" / "zypper"
RUNS = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RECORDED.glob("*.json"))]
XML = sorted({run["stdout"] for run in RUNS if "<stream>" in run["stdout"]}, key=len)[:40]
SEARCH = """<?xml version='1.0'?>
<stream>
<search-result version="0.0">
<solvable-list>
<solvable status="not-installed" name="ucode-amd" kind="package" edition="1-1" arch="noarch" repository="main"/>
<solvable status="installed" name="nvidia-driver" kind="package" edition="1-1" arch="noarch" repository="main"/>
</solvable-list>
</search-result>
</stream>
"""
LOCKS = """
# comment
type: package
match_type: glob
case_sensitive: on
solvable_name: kernel-default

solvable_name: other
version: > 1
"""
INSTALLED = "bash\t5.2-1\tx86_64\nlibc\t1:2.41-3\tnoarch\n"
DETAILS = "bash\t5.2\t1\t(none)\tx86_64\nlibc\t2.41\t3\t1\tnoarch\n"
PROVIDED = "bash\tbash\t5.2-1\nbash\t/bin/sh\t\n"


def answer_is_documented(answer):
    assert set(answer.changes) == set(zypper.SUMMARY.values())
    for rows in answer.changes.values():
        for row in rows:
            assert isinstance(row["name"], str)
            assert isinstance(row["version"], str)
            assert isinstance(row["arch"], str)
    for kind, said in answer.messages:
        assert kind
        assert said
    assert isinstance(answer.need_reboot, bool)
    for size in (answer.download_size, answer.size_difference):
        assert size is None or is_int(size)
    assert isinstance(answer.problems, list)
    for pattern in (zypper.LOCKED, zypper.LICENCE, zypper.UNKNOWN, zypper.EXPIRED, zypper.TOO_OLD):
        assert all(isinstance(found, str) for found in answer.found(pattern))
    for rc in (4, 8, 104, 107, 1000):
        assert zypper.explain(rc, answer, "").startswith(f"exit code {rc}")


def names(found):
    assert all(isinstance(name, str) and name for name in found)


def rows_are_complete(rows):
    for row in rows:
        assert set(row) >= {"name", "version", "arch"}
        assert all(isinstance(value, str) and "\n" not in value for value in row.values())


def locked(value):
    with tempfile.TemporaryDirectory() as root:
        path = pathlib.Path(root, "etc/zypp/locks")
        path.parent.mkdir(parents=True)
        path.write_bytes(value.encode("utf-8", "surrogatepass"))
        return zypper.locked_names(root)


def asked(call, rc=0):
    """A function that runs rpm, as one of what rpm says."""
    def parse(stdout):
        with answering(stdout, rc):
            return call()
    return parse


test_real, test_any_text, test_damaged, test_huge = parser_tests([
    Parser("zypper", zypper.parse, XML, answer_is_documented),
    Parser("zypper-names", zypper.names, [SEARCH], names),
    Parser("zypper-locks", locked, [LOCKS], names),
    Parser("rpm-installed", asked(lambda: rpm.installed("/")), [INSTALLED], rows_are_complete),
    Parser("rpm-details", asked(lambda: rpm.details("/")), [DETAILS],
           lambda rows: [rows_are_complete(rows), [row["release"] + row["epoch"] for row in rows]]),
    Parser("rpm-missing", asked(lambda: rpm.missing("/", ["bash", "nano"], True), 1),
           ["installed bash\nno package provides nano\n"],
           lambda found: [name in ("bash", "nano") or pytest.fail(name) for name in found]),
    Parser("rpm-providing", asked(lambda: rpm.providing("/", "x")), [INSTALLED], rows_are_complete),
    Parser("rpm-provided", asked(lambda: rpm.provided("/", ["bash", "/bin/sh"])), [PROVIDED],
           lambda rows: [len(row) == 3 or pytest.fail(row) for row in rows]),
    Parser("rpm-matching", asked(lambda: rpm.matching("/", ["b*"])), ["bash\nbzip2\n"], names),
    Parser("rpm-order", asked(lambda: rpm.order([("1", "2"), ("2", "1")])), ["-1 1\n"],
           lambda found: len(found) == 2 and set(found) <= {-1, 0, 1} or pytest.fail(str(found))),
])


# --- rpm that was killed, or answers something else --------------------------------------------------------------

package = st.from_regex(r"[a-z][a-z0-9+-]{0,6}", fullmatch=True)


@given(st.lists(package, min_size=1, max_size=4, unique=True), st.sampled_from([-9, -15, 255]), st.data())
def test_a_killed_rpm_tells_of_no_installed_package(wanted, rc, data):
    whole = "".join(f"installed {name}\n" for name in wanted)
    said = whole[:data.draw(st.integers(0, len(whole) - 1))]
    with answering(said, rc):
        for capabilities in (True, False):
            try:
                missing = rpm.missing("/", wanted, capabilities)
            except TransactionalError:
                continue
            answered = {line.split()[1] for line in said.splitlines() if line.count(" ") == 1 and line.split()[1:]}
            assert set(wanted) - answered <= set(missing)


@given(st.lists(st.tuples(*[st.one_of(package, st.sampled_from(["1:2-3", "(none)"]))] * 3), max_size=4))
def test_installed_packages(rows):
    with answering("".join("\t".join(row) + "\n" for row in rows)):
        assert rpm.installed("/") == [dict(zip(("name", "version", "arch"), row, strict=True)) for row in rows]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=3))
def test_versions_reach_rpm_without_macros_and_quotes(versions):
    for version in versions:
        parts = rpm.split_version(version)
        assert len(parts) == 3
        for part in parts:
            assert not set(part) & set("%\"'{}()\\\n$")


# --- names ----------------------------------------------------------------------------------------------------------

fragment = st.sampled_from(["a", "kernel-default", "-", "+", "~", "!", "=", ">=", " ", "1.0-1", "pattern:", "patch:",
                            ":", "*", "?", "[", "]", "(", ")", "config(a)", "/usr/bin/x", ".rpm", "https://", "@", "\0",
                            "\n", "\t", "--", "-f", "--root", "'", '"', "$", "`", ";", "ä", "\u2028", "\x1c", ".x86_64",
                            "{", "}"])
request = st.one_of(st.lists(fragment, max_size=5).map("".join), text, st.sampled_from(NASTY))


@given(st.lists(request, max_size=4), st.sampled_from(_package_requests.KINDS), st.booleans())
def test_what_zypper_and_rpm_are_given_is_never_an_option(texts, kind, remove):
    for item in texts:
        try:
            found = _package_requests.parse_all([item], kind, remove)
        except TransactionalError:
            continue
        assert len(found) == (1 if item.strip() else 0)
        for one in found:
            assert not one.argument.startswith("-")
            assert not one.name.startswith("-")
            assert not set(one.argument) & set("\0\n\r\t"), "no program can be given this, or no list of names hold it"
            assert one.argument == one.argument.strip()
            assert one.remove or not remove
            assert isinstance(_package_requests.label(one.name), str)
            # whoever names it so again means the same
            assert _package_requests.parse_all([item, item], kind, remove) == found


@given(st.lists(request, max_size=3))
def test_the_command_has_all_names_behind_its_options(texts):
    try:
        found = [one.argument for one in _package_requests.parse_all(texts)]
    except TransactionalError:
        return
    argv = zypper.argv("install", ["-" + name if number % 2 else name for number, name in enumerate(found)], True)
    assert len(found) < 2 or argv[-len(found) - 1] == "--"
    assert [word.lstrip("-") for word in argv[len(argv) - len(found):]] == [name.lstrip("-") for name in found]
    if not any("\0" in word for word in argv):
        assert shell("printf '%s\\0' \"$@\"", *argv).decode().split("\0")[:-1] == argv
