# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The parser against recorded runs of zypper 1.14.89; each recording says what rpm had before and after."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import random

import pytest

from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
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


SUMMARY = "<install-summary download-size='1' packages-to-change='0'></install-summary>"


def stream(*parts):
    return "<?xml version='1.0'?>\n<stream>" + SUMMARY + "".join(parts) + "</stream>"


def message(text, kind="info"):
    return f'<message type="{kind}">{text}</message>'


@pytest.mark.parametrize("name", RUNS)
def test_recorded_runs_are_read_to_their_end(name):
    run = RUNS[name]
    answer = zypper.parse(run["stdout"])
    assert answer.flaw == ""
    if run["rc"] in zypper.SUCCESS and run["argv"][3] in ("install", "remove", "update"):
        assert answer.is_decided


@pytest.mark.parametrize("length", range(0, len(RUNS["install"]["stdout"]) - len("</stream>\n"), 211))
def test_half_an_answer_is_none(length):
    answer = zypper.parse(RUNS["install"]["stdout"][:length])
    assert answer.flaw
    with pytest.raises(TransactionalError, match="cannot read what zypper said"):
        zypper.require_readable(answer, "install")
    with pytest.raises(TransactionalError, match="cannot read what zypper said"):
        zypper.names(RUNS["install"]["stdout"][:length])


@pytest.mark.parametrize("broken", [
    stream().replace(SUMMARY, "Key: <a@b> & more" + SUMMARY),
    stream(message("a & b")),
    stream("</stream>").replace("</stream></stream>", "</strea></stream>"),
    "<?xml version='1.0'?><stream>" + SUMMARY,
    "<?xml version='1.0'?><other/>",
    "<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b 'c'>]><stream>&b;</stream>",
    "<?xml version='1.0'?><!DOCTYPE stream SYSTEM 'file:///etc/passwd'><stream/>",
    stream("<a>" * 100 + "</a>" * 100),
    stream("<install-summary download-size='many'/>"),
    stream("<install-summary download-size='1' packages-to-change='2'/>"),
    "", "all is well", "<?xml", "\0",
])
def test_what_is_no_answer(broken):
    assert zypper.parse(broken).flaw


def test_a_word_without_an_end_is_not_kept():
    reader = zypper.Reader()
    reader.feed(b"<?xml version='1.0'?><stream><progress name='")
    for _chunk in range(100):
        reader.feed(b"x" * (64 << 10))
    assert "a word of more than 1 MiB" in reader.answer().flaw


def test_what_comes_after_the_stream_is_of_no_interest():
    assert zypper.parse(stream() + "bye & thanks <").flaw == ""


def test_nothing_was_decided():
    assert not zypper.parse("<?xml version='1.0'?><stream>" + message("Loading") + "</stream>").is_decided
    assert zypper.parse("<?xml version='1.0'?><stream>" + message("Nothing to do.") + "</stream>").is_decided


@pytest.mark.parametrize("size", [1, 7, 100])
def test_the_pieces_in_which_it_comes_make_no_difference(size):
    for run in ("install-dependency", "install-conflict", "install-file-conflict", "install-licence"):
        whole = RUNS[run]["stdout"].encode()
        reader = zypper.Reader()
        for start in range(0, len(whole), size):
            reader.feed(whole[start:start + size])
        assert reader.answer() == zypper.parse(whole)


def test_what_is_no_text_is_replaced():
    answer = zypper.parse(stream(message("a*b")).encode().replace(b"*", b"\xfe\x01\xff\x1b"))
    assert (answer.flaw, answer.messages) == ("", [("output", "a\ufffd\ufffd\ufffd\ufffdb")])


@pytest.mark.parametrize("line, found", [
    ("warning: %post(a-1-1.noarch) scriptlet failed, exit status 1", ("%post(a-1-1.noarch): exit status 1",)),
    ("oopswarning: %post(a-1-1.noarch) scriptlet failed, signal 9", ("%post(a-1-1.noarch): signal 9",)),
    ("x" * 100000 + "error: %preun(a-1-1.noarch) scriptlet failed, exit status 2\n\n",
     ("%preun(a-1-1.noarch): exit status 2",)),
    ("one\nwarning: %filetriggerin(a-1-1.noarch) scriptlet failed, exit status 1\nmore",
     ("%filetriggerin(a-1-1.noarch): exit status 1",)),
    ('oopserror: lua script failed: [string "%post(a-1-1.noarch)"]:1: boom', ("%post(a-1-1.noarch): 1: boom",)),
    ('error: lua script failed: [string "%post(a-1-1.noarch)"]:1: ' + "x" * 100000,
     ("%post(a-1-1.noarch): 1: " + "x" * 199,)),
    ("%post(a-1-1.noarch) scriptlet failed, exit status 1, they say", ()),
    ("scriptlet failed, exit status 1", ()),
])
@pytest.mark.parametrize("size", [50, 1 << 20])
def test_scriptlets_that_failed(line, found, size):
    text = stream(message(line.replace('"', "&quot;"))).encode()
    reader = zypper.Reader()
    for start in range(0, len(text), size):
        reader.feed(text[start:start + size])
    assert reader.answer().failed_scriptlets == found


@pytest.mark.parametrize("text", [message("x" * 70) * 100000, message("x" * (10 << 20)), message("y\n" * (1 << 20)),
                                  message("x" * 30000) * 500])
def test_much_output_is_kept_in_part(text):
    last = message("the end", "error")
    answer = zypper.parse(stream(text, last), bounded=True)
    assert answer.flaw == ""
    assert sum(len(said) for _kind, said in answer.messages) < 1 << 20
    assert len(answer.messages) < 1200
    assert answer.messages[-1] == ("error", "the end")
    assert any("left out" in said or "more messages" in said for _kind, said in answer.messages)


def test_errors_are_kept_whatever_scriptlets_print():
    noise = message("x" * 1000) * 2000
    answer = zypper.parse(stream(noise, message("it broke", "error"), noise), bounded=True)
    assert answer.text("error") == ["it broke"]


def test_random_bytes_never_raise():
    source = random.Random(7)
    whole = RUNS["install-file-conflict"]["stdout"].encode()
    for _try in range(300):
        broken = bytearray(whole)
        for _change in range(source.randrange(1, 8)):
            broken[source.randrange(len(broken))] = source.randrange(256)
        answer = zypper.parse(bytes(broken[:source.randrange(len(broken))]))
        zypper.explain(source.randrange(-20, 256), answer, "")
        assert answer.problems is not None
        with contextlib.suppress(TransactionalError):
            zypper.names(bytes(broken))


def test_two_answers_together():
    one, other = zypper.parse(RUNS["install"]["stdout"]), zypper.parse(stream(message(
        "warning: %post(a-1-1.noarch) scriptlet failed, exit status 1")))
    both = zypper.merge(one, other)
    assert (both.flaw, both.failed_scriptlets) == ("", other.failed_scriptlets)
    assert zypper.merge(zypper.parse(""), other).flaw


@pytest.mark.parametrize("pid, uid, library, holds", [
    ("self", 0, True, True), ("self", 0, False, False), ("self", 65534, True, False), ("99999999", 0, True, False)])
def test_who_holds_zypps_lock(tmp_path, monkeypatch, pid, uid, library, holds):
    """A number in an old file may be that of anybody by now."""
    pid = str(os.getpid()) if pid == "self" else pid
    (tmp_path / "lock").write_text(pid + "\n")
    (tmp_path / "status").write_text(f"Name:\tx\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n")
    (tmp_path / "maps").write_text("00-ff r--p 0 00:00 1 /usr/lib64/libzypp.so.1735\n" if library else "\n")
    monkeypatch.setattr(zypper, "LOCK", str(tmp_path / "lock"))
    real = open

    def redirected(path, *arguments, **options):
        name = os.path.basename(str(path))
        if str(path).startswith(f"/proc/{os.getpid()}/") and name in ("status", "maps"):
            path = tmp_path / name
        return real(path, *arguments, **options)
    monkeypatch.setattr("builtins.open", redirected)
    assert zypper.lock_holder() == (int(pid) if holds else None)
