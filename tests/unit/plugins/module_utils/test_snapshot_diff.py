# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import subprocess

import pytest

from ansible_collections.microos.transactional.plugins.module_utils import _difference
from ansible_collections.microos.transactional.plugins.module_utils import _snapshot_diff as subject
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._tools import rpm


def row(name, version, arch="noarch"):
    return {"name": name, "version": version, "arch": arch}


@pytest.fixture
def trees(tmp_path):
    for name in ("before", "after"):
        (tmp_path / name / "etc").mkdir(parents=True)
    before, after = str(tmp_path / "before"), str(tmp_path / "after")
    return subject.Trees(before, after, f"{before}/etc")


def write(tree, path, text="", mode=0o644):
    path = f"{tree}/{path}"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(text)
    os.chmod(path, mode)


def test_packages_by_what_became_of_them():
    before = [row("up", "1-1"), row("down", "1:2-1"), row("arch", "1-1"), row("gone", "1-1"), row("kernel", "5-1"),
              row("same", "1-1")]
    after = [row("up", "2-1"), row("down", "1:1-1"), row("arch", "1-1", "x86_64"), row("new", "1-1"),
             row("kernel", "5-1"), row("kernel", "6-1"), row("same", "1-1")]
    asked = []

    def order(pairs):
        asked.extend(pairs)
        return [0, 1, -1]
    assert _difference.package_changes(before, after, order) == {
        "installed": [row("kernel", "6-1"), row("new", "1-1")], "removed": [row("gone", "1-1")],
        "changed_arch": [dict(row("arch", "1-1", "x86_64"), old_version="1-1", old_arch="noarch")],
        "downgraded": [dict(row("down", "1:1-1"), old_version="1:2-1", old_arch="noarch")],
        "upgraded": [dict(row("up", "2-1"), old_version="1-1", old_arch="noarch")]}
    assert asked == [("1-1", "1-1"), ("1:2-1", "1:1-1"), ("1-1", "2-1")]


@pytest.mark.parametrize("evr, parts", [
    ("1.0-1", ["0", "1.0", "1"]), ("2:1.0~rc1-1.2", ["2", "1.0~rc1", "1.2"]), ("1", ["0", "1", ""]),
    ("1^git+5_x-1", ["0", "1^git.5.x", "1"]),
    # nothing that rpm's macros or Lua would take for their own
    ('%{lua:"}\\-1', ["..lua", "...", "1"]),
])
def test_split_version(evr, parts):
    assert rpm.split_version(evr) == parts


def test_a_directory_that_became_a_link_is_not_followed(trees, tmp_path):
    write(tmp_path, "host/secret")
    write(trees.before, "lib/file")
    os.symlink(tmp_path / "host", f"{trees.after}/lib")
    assert [tuple(file.values()) for file in subject.find_files(trees, ["/"])] == [
        ("/lib", "modified", ["type"]), ("/lib/file", "removed", [])]
    assert subject.find_files(trees, ["/lib"]) == subject.find_files(trees, ["/"])
    with pytest.raises(TransactionalError, match="through the symbolic link /lib"):
        subject.check_paths(trees, ["/lib/file"])


def test_hidden_places_databases_and_records_of_the_merge_are_no_differences(trees):
    for path in ("var/cache/x", "usr/lib/sysimage/rpm/db", "etc/etc.syncpoint/hosts", "etc/hosts", "usr/bin/new"):
        write(trees.after, path)
    found = subject.find_files(trees._replace(hidden=frozenset(["/var"])), ["/"])
    assert [file["path"] for file in found] == [
        "/etc/hosts", "/usr", "/usr/bin", "/usr/bin/new", "/usr/lib", "/usr/lib/sysimage"]


def test_check_paths(trees):
    assert subject.check_paths(trees, ["/usr/lib/", "/usr/lib/x", "/usr/libexec", "//etc"]) == [
        "/etc", "/usr/lib", "/usr/libexec"]
    with pytest.raises(TransactionalError, match="'etc' is not absolute"):
        subject.check_paths(trees, ["etc"])


def test_what_packages_explain():
    files = [{"path": path, "change": kind} for path, kind in [
        ("/etc/ld.so.cache", "modified"), ("/usr/new", "added"), ("/usr/new/file", "added"), ("/usr", "modified"),
        ("/etc/other", "added")]]
    explained, others = subject.explain(files, {"/usr/new/file"}, True)
    assert [file["path"] for file in explained] == ["/etc/ld.so.cache", "/usr/new", "/usr/new/file"]
    assert [file["path"] for file in others] == ["/usr", "/etc/other"]
    assert subject.explain(files, (), False) == ([], files)


@pytest.mark.parametrize("name, text, mode, reason", [
    ("shadow", "", 0o644, "holds secrets"), ("gshadow-", "", 0o644, "holds secrets"),
    ("shadow.rpmsave", "", 0o644, "holds secrets"), ("file", "", 0o640, "not readable by everybody"),
    ("file", "x\0", 0o644, "binary"), ("file", "x" * 11, 0o644, "larger than 10 bytes"),
])
def test_what_is_never_shown(trees, name, text, mode, reason):
    write(trees.after, f"etc/{name}", text, mode)
    assert subject.content(trees, f"/etc/{name}", 10) == {"withheld": reason}


def test_what_became_private_is_not_shown_either(trees):
    write(trees.before, "etc/file", "secret", 0o600)
    write(trees.after, "etc/file", "public")
    assert subject.content(trees, "/etc/file", 100) == {"withheld": "not readable by everybody"}


@pytest.mark.parametrize("name, is_secret", [("shadow", True), ("opasswd", True), ("shadowsocks.conf", False)])
def test_secret_names(name, is_secret):
    assert bool(subject.SECRET_NAME.match(name)) == is_secret


def diff(old, new):
    return "".join(subject.unified([f"{line}\n" for line in old], [f"{line}\n" for line in new], "/etc/file"))


def test_diffs_are_as_those_of_diff(tmp_path):
    numbers = list(map(str, range(5000)))
    changed = numbers[:10] + ["new"] + numbers[10:4000] + numbers[4001:]
    for old, new in [([], ["a"]), (["a"], []), (["a"] * 9, ["a"] * 5 + ["b"] + ["a"] * 4), (numbers, changed),
                     (changed, numbers), (["x", "y", "x"], ["y", "x", "y"])]:
        for name, lines in (("old", old), ("new", new)):
            (tmp_path / name).write_text("".join(f"{line}\n" for line in lines))
        done = subprocess.run(["diff", "-u", "old", "new"], cwd=tmp_path, capture_output=True, text=True, check=False)
        (tmp_path / "patch").write_text(diff(old, new))
        assert done.stdout.count("\n@@ ") == diff(old, new).count("\n@@ ")
        subprocess.run(["patch", "-s", "old", "patch"], cwd=tmp_path, check=True)
        assert (tmp_path / "old").read_text() == (tmp_path / "new").read_text()


def test_a_diff_of_much_that_has_nothing_in_common_ends():
    lines = [f"line {number}" for number in range(20_000)]
    text = diff(lines, lines[::-1])
    assert text.count("\n-line") == text.count("\n+line") == 19_999
    text = diff(["same"] * 20_000, ["other"] * 20_000)
    assert text.count("\n-same") == text.count("\n+other") == 20_000


def test_no_line_of_a_diff_can_be_forged(trees):
    name = "file\n--- forged"
    write(trees.after, f"etc/{name}", "a\x85b\rc\x1b[2Jd\te\u2028\nlast")
    assert subject.content(trees, f"/etc/{name}", 100) == {"diff": (
        "--- a/etc/file\\n--- forged\n+++ b/etc/file\\n--- forged\n@@ -0,0 +1,2 @@\n"
        "+a\\u0085b\\rc\\u001b[2Jd\te\\u2028\n+last\n\\ No newline at end of file\n")}


def test_all_diffs_together_have_a_limit(trees, monkeypatch):
    monkeypatch.setattr(subject, "MOST_CONTENT", 1000)
    for name in "abc":
        write(trees.after, f"etc/{name}", f"{name}\n" * 150)
    write(trees.after, "etc/large", "x" * 1001)
    files = [{"path": f"/etc/{name}", "aspects": []} for name in ("large", "a", "b", "c")]
    subject._add_contents(trees, files, 1 << 30)
    assert ["diff" in file for file in files] == [False, True, True, False]
    assert files[0]["withheld"] == "larger than 1000 bytes" and files[3]["withheld"] == subject.ENOUGH


def test_of_much_drift_what_is_lost_is_told():
    drift = [{"path": f"/etc/{number:05}", "lost": number >= 4990} for number in range(5000)]
    told = subject._told_drift(drift)
    assert (len(told["drift"]), told["drift_count"], told["lost_count"]) == (1000, 5000, 10)
    assert [file["path"] for file in told["drift"] if file["lost"]] == [file["path"] for file in drift[4990:]]
    assert subject._told_drift(None) == {"drift": None, "drift_count": None, "lost_count": None}


@pytest.mark.parametrize("path, words", [("/etc/a\0b", "null character"), ("etc\nx", "'etc.nx' is not absolute")])
def test_paths_that_are_none(trees, path, words):
    with pytest.raises(TransactionalError, match=words):
        subject.check_paths(trees, [path])


def test_diff_output():
    packages = {"installed": [row("new", "1-1")], "removed": [row("gone", "1-1")],
                "upgraded": [dict(row("up", "2-1"), old_version="1-1", old_arch="noarch")]}
    files = [{"path": "/etc/a", "change": "modified", "aspects": ["content", "mode"], "diff": "--- a\n"},
             {"path": "/etc/b", "change": "removed", "aspects": []}]
    assert subject.as_diff(1, 2, packages, files, 1002) == [
        {"before": "gone-1-1.noarch\nup-1-1.noarch\n", "after": "new-1-1.noarch\nup-2-1.noarch\n",
         "before_header": "packages of snapshot 1", "after_header": "packages of snapshot 2"},
        {"prepared": "~ /etc/a (content, mode)\n--- a\n- /etc/b\nand 1,000 more files\n"}]
