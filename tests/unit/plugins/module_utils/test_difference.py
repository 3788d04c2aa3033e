# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import shutil

import pytest

from ansible_collections.microos.transactional.plugins.module_utils import _difference


@pytest.fixture
def trees(tmp_path):
    """Two trees that are alike."""
    one = tmp_path / "one"
    (one / "etc/nested").mkdir(parents=True)
    (one / "etc/file").write_text("text")
    (one / "etc/nested/deep").write_text("deep")
    (one / "etc/link").symlink_to("file")
    other = tmp_path / "other"
    shutil.copytree(one, other, symlinks=True)
    return one, other


def compare(trees, **kwargs):
    return _difference.compare(*map(str, trees), **kwargs)


def test_the_same_is_no_difference_whatever_its_inode_and_times(trees):
    os.utime(trees[1] / "etc/file", (1, 1))
    assert compare(trees) == []


@pytest.mark.parametrize("change, expected", [
    (lambda etc: (etc / "file").write_text("tex2"), [("/etc/file", "modified")]),
    (lambda etc: (etc / "file").write_text("longer text"), [("/etc/file", "modified")]),
    (lambda etc: (etc / "file").chmod(0o600), [("/etc/file", "modified")]),
    (lambda etc: (etc / "nested").chmod(0o700), [("/etc/nested", "modified")]),
    (lambda etc: os.chown(etc / "file", os.getuid() + 1, -1), [("/etc/file", "modified")]),
    (lambda etc: ((etc / "link").unlink(), (etc / "link").symlink_to("other")), [("/etc/link", "modified")]),
    (lambda etc: ((etc / "link").unlink(), (etc / "link").write_text("file")), [("/etc/link", "modified")]),
    (lambda etc: (etc / "new").write_text(""), [("/etc/new", "added")]),
    (lambda etc: (etc / "file").unlink(), [("/etc/file", "removed")]),
    (lambda etc: shutil.rmtree(etc / "nested"), [("/etc/nested", "removed"), ("/etc/nested/deep", "removed")]),
    (lambda etc: (shutil.rmtree(etc / "nested"), (etc / "nested").write_text("")),
     [("/etc/nested", "modified"), ("/etc/nested/deep", "removed")]),
    (lambda etc: (shutil.rmtree(etc / "nested"), (etc / "nested").symlink_to("/etc")),  # not followed
     [("/etc/nested", "modified"), ("/etc/nested/deep", "removed")]),
])
def test_a_change_is_found(trees, change, expected):
    change(trees[1] / "etc")
    assert compare(trees) == expected


def test_an_attribute_is_compared(trees):
    try:
        os.setxattr(trees[1] / "etc/file", "user.probe", b"x")
    except OSError as error:
        pytest.skip(f"no extended attributes on this file system: {error}")
    assert compare(trees) == [("/etc/file", "modified")]


def test_what_is_skipped_is_not_looked_at(trees):
    (trees[1] / "etc/nested/deep").write_text("else")
    (trees[1] / "etc/file").write_text("else")
    assert compare(trees, skipped={"/etc/nested"}) == [("/etc/file", "modified")]


def test_since_a_manifest_only_the_tree_itself_counts(trees):
    before, after = trees
    then = _difference.manifest(str(after), "/etc")
    assert set(then) == {"/etc/file", "/etc/nested", "/etc/nested/deep", "/etc/link"}
    (before / "etc/file").write_text("changed in the tree before")
    (before / "etc/only-before").write_text("")
    (after / "etc/nested/deep").write_text("changed")
    (after / "etc/new").write_text("")
    (after / "etc/link").unlink()
    found = list(_difference.compare_since(then, str(before), str(after), "/etc"))
    assert found == [("/etc/link", "removed"), ("/etc/nested/deep", "modified"), ("/etc/new", "added")]


def test_since_a_manifest_what_came_back_is_no_difference(trees):
    before, after = trees
    then = _difference.manifest(str(after), "/etc")
    (after / "etc/file").unlink()
    (after / "etc/file").write_text("text")
    assert list(_difference.compare_since(then, str(before), str(after), "/etc")) == []


def row(name, version="1-1", arch="noarch"):
    return {"name": name, "version": version, "arch": arch}


def test_packages():
    before = [row("a"), row("b"), row("kernel", "1-1"), row("kernel", "2-1"), row("gone"), row("lib", arch="i586")]
    after = [row("a"), row("b", "2-1"), row("kernel", "2-1"), row("kernel", "3-1"), row("new"), row("lib", arch="i586"),
             row("lib", arch="x86_64")]
    assert _difference.packages(before, after) == {
        "installed": [row("lib", arch="x86_64"), row("new")],
        "updated": [dict(row("b", "2-1"), old_version="1-1"), dict(row("kernel", "3-1"), old_version="1-1")],
        "removed": [row("gone")]}
