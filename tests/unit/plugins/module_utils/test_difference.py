# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import shutil
import socket
import struct
import subprocess

import pytest

from ansible_collections.microos.transactional.plugins.module_utils import _difference, _trees
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError


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


@pytest.fixture
def deep(tmp_path):
    """Makes a chain of directories, and a file at its end; longer than rmtree, and any path, can be."""
    made = []

    def make(top, names):
        made.append(top)
        descriptor = os.open(top, os.O_RDONLY)
        for name in names:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, dir_fd=descriptor)
            below = os.open(name, os.O_RDONLY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        return descriptor
    yield make
    for top in made:
        subprocess.run(["rm", "-rf", top], check=True)


def put(directory, name, text):
    with open(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600, dir_fd=directory), "w") as stream:
        stream.write(text)


@pytest.mark.parametrize("open_levels", [2, 64])
def test_directories_1900_deep(trees, deep, monkeypatch, open_levels):
    monkeypatch.setattr(_trees, "OPEN_LEVELS", open_levels)
    before, after = trees
    ends = [deep(tree / "etc", ["d"] * 1900) for tree in trees]
    (before / "etc/zz").mkdir()  # the way leads up again
    for end in ends:
        put(end, "file", "text")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 3 * open_levels + 20, limits[1]))
    try:
        assert compare(trees) == [("/etc/zz", "removed")]
        then = _difference.manifest(str(after), "/etc")
        assert "/etc" + "/d" * 1900 + "/file" in then
        put(ends[1], "file", "other")
        path = "/etc" + "/d" * 1900 + "/file"
        assert compare(trees) == [(path, "modified"), ("/etc/zz", "removed")]
        assert list(_difference.compare_since(then, str(before), str(after), "/etc")) == [(path, "modified")]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for end in ends:
            os.close(end)


def test_what_has_no_path_that_a_system_call_takes_is_told_of_a_directory_above(trees, deep):
    before, after = trees
    names = ["n" * 250] * 100
    ends = [deep(tree / "etc", names) for tree in trees]
    for end in ends:
        put(end, "file", "text")
    assert compare(trees) == []
    then = _difference.manifest(str(after), "/etc")
    border = "/etc" + f"/{'n' * 250}" * 15
    assert max(map(len, then)) == len(border)
    put(ends[1], "file", "other")
    put(ends[1], "new", "")
    (after / "etc/zz").write_text("")
    assert list(_difference.changes(str(before), str(after)))[-1] == (border, "modified", ["below"])
    assert compare(trees) == [(border, "modified"), ("/etc/zz", "added")]
    assert list(_difference.compare_since(then, str(before), str(after), "/etc")) == [
        (border, "modified"), ("/etc/zz", "added")]
    assert compare(trees, top=border) == [(border, "modified")]
    for end in ends:
        os.close(end)


def test_a_deep_tree_that_is_new_is_told_as_far_as_there_are_paths(trees, deep):
    os.close(deep(trees[1] / "etc", ["n" * 250] * 100))
    found = compare(trees)
    assert [path for path, _kind in found] == ["/etc" + f"/{'n' * 250}" * depth for depth in range(1, 16)]
    assert {kind for _path, kind in found} == {"added"}


class Vanishing:
    """A directory in which some files vanish once their names are read."""

    def __init__(self, real):
        self.real = real

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self.real.close()

    def __iter__(self):
        for entry in self.real:
            if entry.name.startswith("vanish"):
                os.unlink(entry.name, dir_fd=self.directory)
            yield entry


def test_only_what_vanishes_meanwhile_is_left_out(trees, monkeypatch):
    before, after = trees
    (after / "etc/vanishes").write_text("")
    (after / "etc/file").write_text("other")
    real = os.scandir

    def scandir(directory):
        rows = Vanishing(real(directory))
        rows.directory = directory
        return rows
    monkeypatch.setattr(_trees.os, "scandir", scandir)
    assert compare(trees) == [("/etc/file", "modified")]
    (after / "etc/vanishes").write_text("")
    assert "/etc/vanishes" not in _difference.manifest(str(after), "/etc")


def test_what_vanishes_just_before_it_is_read_is_left_out(trees, monkeypatch):
    before, after = trees
    for tree in trees:
        (tree / "etc/other").write_text("")
    (after / "etc/file").write_text("tex2")
    (after / "etc/other").chmod(0o600)
    real = _difference.open_regular

    def open_regular(place):
        if place[1] == "file":
            with contextlib.suppress(FileNotFoundError):
                (after / "etc/file").unlink()
        return real(place)
    monkeypatch.setattr(_difference, "open_regular", open_regular)
    assert compare(trees) == [("/etc/other", "modified")]


def test_pipes_sockets_and_what_takes_the_place_of_a_file_are_not_opened(trees, monkeypatch):
    sockets = []
    for tree in trees:
        os.mkfifo(tree / "etc/pipe")
        sockets.append(socket.socket(socket.AF_UNIX))
        sockets[-1].bind(str(tree / "etc/socket"))
    assert compare(trees) == []
    (trees[1] / "etc/pipe").chmod(0o600)
    assert compare(trees) == [("/etc/pipe", "modified")]
    with pytest.raises(FileNotFoundError):
        _trees.open_regular((None, str(trees[1] / "etc/pipe")))
    for one in sockets:
        one.close()


def test_what_cannot_be_read_is_a_sentence(trees, monkeypatch):
    (trees[1] / "etc/file").write_text("tex2")

    def broken(*_arguments):
        raise OSError(5, "Input/output error")
    monkeypatch.setattr(_difference._content, "is_same", broken)
    with pytest.raises(TransactionalError, match="cannot compare /etc/file: Input/output error"):
        compare(trees)


def test_flags_of_chattr_are_compared(trees):
    path = str(trees[1] / "etc/file")
    with open(path, "rb") as stream:
        try:  # FS_IOC_SETFLAGS: 'd', no dump
            fcntl.ioctl(stream, 0x40086602, struct.pack("=Q", 0x40))
        except OSError as error:
            pytest.skip(f"no flags on this file system: {error}")
    assert list(_difference.changes(*map(str, trees))) == [("/etc/file", "modified", ["flags"])]


def test_since_a_manifest_no_link_of_the_tree_before_is_followed(trees, tmp_path):
    before, after = trees
    (tmp_path / "host").mkdir()
    (tmp_path / "host/deep").write_text("changed")
    then = _difference.manifest(str(after), "/etc")
    shutil.rmtree(before / "etc/nested")
    (before / "etc/nested").symlink_to(tmp_path / "host")
    (after / "etc/nested/deep").write_text("changed")
    assert list(_difference.compare_since(then, str(before), str(after), "/etc")) == [("/etc/nested/deep", "modified")]


def test_without_a_way_past_mounts_they_are_refused(trees, monkeypatch):
    def old_kernel(_root):
        raise OSError(38, "Function not implemented")
    monkeypatch.setattr(_trees, "_detached", old_kernel)
    assert compare(trees) == []
    mount = _trees.mounts.Mount(os.path.realpath(trees[1]) + "/etc/nested", "/", "tmpfs", frozenset())
    monkeypatch.setattr(_trees.mounts, "parse_mountinfo", lambda text: [mount])
    with pytest.raises(TransactionalError, match="mounted below .*/other, and .*: .*/other/etc/nested. Unmount"):
        compare(trees)


def test_names_of_any_bytes(trees):
    for name in (b"a\nb", b"lat\xffin", "nel\x85".encode(), b"form\x0cfeed"):
        with open(os.fsencode(trees[1]) + b"/etc/" + name, "wb"):
            pass
    assert sorted(os.fsencode(path) for path, _kind in compare(trees)) == [
        b"/etc/a\nb", b"/etc/form\x0cfeed", b"/etc/lat\xffin", "/etc/nel\x85".encode()]


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
