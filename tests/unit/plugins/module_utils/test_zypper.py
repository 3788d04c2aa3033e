# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The parser against recorded runs of zypper 1.14.89; each recording says what rpm had before and after."""

from __future__ import annotations

import json
import pathlib

import pytest

from ansible_collections.microos.transactional.plugins.module_utils._tools import zypper

RECORDED = pathlib.Path(__file__).parents[2] / "recorded" / "zypper"
RUNS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(RECORDED.glob("*.json"))}
CHANGING = [name for name, run in RUNS.items() if run["rc"] in zypper.SUCCESS and "--dry-run" not in run["argv"]
            and run["argv"][3] in ("install", "remove", "update")]


def identity(package, version):
    return f"{package['name']}-{package[version]}.{package['arch']}"


def applied(before, changes):
    """What rpm has after the changes that were read."""
    after = set(before)
    for kind, packages in changes.items():
        for package in packages:
            if "old_version" in package:
                after.remove(identity(package, "old_version"))
            if kind == "removed":
                after.remove(identity(package, "version"))
            elif kind != "reinstalled" and "type" not in package:
                after.add(identity(package, "version"))
    return sorted(after)


@pytest.mark.parametrize("name", CHANGING)
def test_changes_are_what_rpm_says_afterwards(name):
    run = RUNS[name]
    answer = zypper.parse(run["stdout"])
    assert applied(run["packages_before"], answer.changes) == run["packages_after"]
    assert answer.is_empty == (run["packages_before"] == run["packages_after"])


@pytest.mark.parametrize("name", ["install-dry-run", "remove-dry-run", "update-dry-run"])
def test_dry_run_predicts(name):
    answer = zypper.parse(RUNS[name]["stdout"])
    assert not answer.is_empty
    assert RUNS[name]["packages_before"] == RUNS[name]["packages_after"]


@pytest.mark.parametrize("name, code, words", [
    ("install-unknown", 104, "No provider of 'testbed-unknown' found"),
    ("install-known-and-unknown", 104, "'testbed-unknown'"),
    ("install-conflict", 4, "testbed-left-1.0-1.noarch conflicts with 'testbed-right'"),
    ("install-conflict-with-installed", 4, "conflicts with"),
    ("install-missing-dependency", 4, "testbed-nowhere"),
    ("install-locked-package", 4, "testbed-hello"),
    ("install-pre-fails", 8, "testbed: %pre fails on purpose"),
    ("install-pre-fails", 8, "%prein(testbed-pre-fails-1.0-1.noarch) scriptlet failed, exit status 1"),
    ("install-post-fails", 107, "%post"),
    ("install-wrong-signature", 8, "Signature verification failed"),
    ("install-unsigned", 8, "Signature verification failed"),
    ("install-unsigned-metadata", 104, "is unsigned"),
    ("install-tampered", 8, "Digest verification failed"),
    ("install-file-conflict", 8, "/usr/bin/testbed-hello is in testbed-file-conflict and in testbed-hello"),
    ("install-unreachable-only-repo", 104, "Failed to connect to 127.0.0.1 port 1"),
    ("install-no-space-big", 8, "needs 271MB more space on the / filesystem"),
    ("install-zypp-locked", 7, "System management is locked by the application with pid"),
    ("install-read-only-root", 5, "mounted as read-only"),
    ("install-not-root", 5, "Root privileges are required"),
    ("remove-unknown", 104, "testbed-unknown"),
    ("install-bad-option", 2, "no-such-option"),
])
def test_failures_are_explained_in_zyppers_words(name, code, words):
    run = RUNS[name]
    assert run["rc"] == code
    text = zypper.explain(run["rc"], zypper.parse(run["stdout"]), run["stderr"])
    assert text.startswith(f"exit code {code}, ")
    assert words in text
    assert "What to do: " in text
    assert zypper.BOILERPLATE not in text


def test_a_skipped_repository_is_a_success_that_is_told():
    run = RUNS["install-unreachable-other-repo"]
    assert run["rc"] == zypper.REPOSITORIES_SKIPPED
    answer = zypper.parse(run["stdout"])
    assert [package["name"] for package in answer.changes["installed"]] == ["testbed-hello"]
    assert any("Skipping repository 'testbed-unreachable'" in text for text in answer.text("warning"))


def test_a_package_that_asks_for_a_reboot():
    assert zypper.parse(RUNS["install-needs-reboot"]["stdout"]).need_reboot
    assert not zypper.parse(RUNS["install"]["stdout"]).need_reboot


@pytest.mark.parametrize("length", range(0, len(RUNS["install-dependency"]["stdout"]), 97))
def test_an_unfinished_stream_is_read_as_far_as_it_goes(length):
    whole = zypper.parse(RUNS["install-dependency"]["stdout"])
    part = zypper.parse(RUNS["install-dependency"]["stdout"][:length])
    assert part.messages == whole.messages[:len(part.messages)]
    assert part.changes in (whole.changes, zypper.parse("").changes)


def test_text_before_the_stream_is_ignored():
    stdout = RUNS["install"]["stdout"]
    assert zypper.parse("some script printed this\n" + stdout) == zypper.parse(stdout)


@pytest.mark.parametrize("name, action, packages, dry_run", [
    ("install-several", "install", ["testbed-hello", "testbed-config", "testbed-service"], False),
    ("remove", "remove", ["testbed-hello"], False),
    ("remove-dry-run", "remove", ["testbed-lib"], True),
])
def test_commands_are_the_recorded_ones(name, action, packages, dry_run):
    assert zypper.argv(action, packages, dry_run) == RUNS[name]["argv"]


def test_problems_and_solutions():
    assert zypper.parse(RUNS["install-conflict"]["stdout"]).problems == [{
        "problem": "the to be installed testbed-left-1.0-1.noarch conflicts with 'testbed-right' provided by the to be "
                   "installed testbed-right-1.0-1.noarch",
        "solutions": ["do not install testbed-right-1.0-1.noarch", "do not install testbed-left-1.0-1.noarch"],
    }]


def test_sizes():
    answer = zypper.parse(RUNS["install-dry-run"]["stdout"])
    assert (answer.download_size, answer.size_difference) == (12600, 32)


@pytest.mark.parametrize("name, pattern, found", [
    ("install-locked-package", zypper.LOCKED, ["testbed-hello-1.0-1.noarch"]),
    ("remove-locked", zypper.LOCKED, ["testbed-tool-1.0-1.noarch"]),
    ("install-licence", zypper.LICENCE, ["testbed-licence"]),
    ("install-ignore-unknown", zypper.UNKNOWN, ["testbed-unknown>=2", "testbed-unknown"]),
    ("install-conflict", zypper.LOCKED, []),
])
def test_found(name, pattern, found):
    assert zypper.parse(RUNS[name]["stdout"]).found(pattern) == found


@pytest.mark.parametrize("name, pattern", [
    ("install-expired-key", zypper.EXPIRED),
    ("install-older-file", zypper.TOO_OLD),
    ("install-other-vendor", zypper.OTHER_VENDOR),
])
def test_what_zypper_only_mentions(name, pattern):
    assert zypper.parse(RUNS[name]["stdout"]).found(pattern)
    assert not zypper.parse(RUNS["install"]["stdout"]).found(pattern)


@pytest.mark.parametrize("name, words", [
    ("install-locked-package", "a lock is in the way of testbed-hello-1.0-1.noarch"),
    ("install-licence", "the licence of testbed-licence asks for agreement"),
])
def test_what_is_in_the_way_is_said_by_name(name, words):
    run = RUNS[name]
    assert words in zypper.explain(run["rc"], zypper.parse(run["stdout"]), run["stderr"])


def test_names_with_a_minus_are_no_options():
    argv = zypper.argv("install", ["a", "-b"], options=["--force"], global_options=["--no-refresh"])
    assert argv[3:] == ["--no-refresh", "install", "--no-confirm", "--force", "--", "a", "-b"]


def test_locked_names(tmp_path):
    assert zypper.locked_names(str(tmp_path)) == set()
    locks = tmp_path / "etc" / "zypp" / "locks"
    locks.parent.mkdir(parents=True)
    locks.write_text("\ntype: package\nmatch_type: glob\nsolvable_name: one\n\n"
                     "type: package\nsolvable_name: two\nversion: < 3\n\ntype: patch\nsolvable_name: three\n")
    assert zypper.locked_names(str(tmp_path)) == {"one"}
