# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two real trees with names of any bytes, and what differs in them."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile

from fuzzing import in_time
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ansible_collections.microos.transactional.plugins.module_utils import _difference, _snapshot_diff
from ansible_collections.microos.transactional.plugins.module_utils._difference import ADDED, MODIFIED, REMOVED
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError

names = st.one_of(
    st.binary(min_size=1, max_size=12).map(lambda name: name.translate(None, b"/\0")),
    st.sampled_from([b"a", b"b", b"a\nb", b"a\r", b"\xff\xfe", b"\xe9", b"-rf", b" ", b"\\", b"\xc2\x85"]),
).filter(lambda name: name not in (b"", b".", b"..", b"etc"))
leaves = st.one_of(st.binary(max_size=6), st.sampled_from([("link", b"target"), ("link", b"\xff\n"), ("fifo",)]))
trees = st.dictionaries(
    names, st.recursive(leaves, lambda inner: st.dictionaries(names, inner, max_size=3), max_leaves=6), max_size=4)


def make(top, tree):
    for name, what in tree.items():
        path = os.path.join(top, name)
        if isinstance(what, dict):
            os.mkdir(path)
            make(path, what)
        elif isinstance(what, tuple):
            if what[0] == "link":
                os.symlink(what[1], path)
            else:
                os.mkfifo(path)
        else:
            with open(path, "wb") as stream:
                stream.write(what or b"")


def flat(tree, top=""):
    found = {}
    for name, what in tree.items():
        path = f"{top}/{os.fsdecode(name)}"
        found[path] = "directory" if isinstance(what, dict) else what or b""
        if isinstance(what, dict):
            found.update(flat(what, path))
    return found


def expected(before, after):
    was, is_ = flat(before), flat(after)
    return {path: REMOVED if path not in is_ else ADDED if path not in was else MODIFIED
            for path in was.keys() | is_.keys() if was.get(path) != is_.get(path)}


@settings(suppress_health_check=[*settings.default.suppress_health_check, HealthCheck.filter_too_much])
@given(trees, trees, st.booleans())
@example({b"a": {b"b": b""}}, {b"a": b""}, False)
@example({b"a": b"x"}, {b"a": b"y"}, False)
def test_all_differences_are_found_and_no_others(before, after, alike):
    after = before if alike else after
    with tempfile.TemporaryDirectory() as directory, in_time():
        one, other = (os.path.join(directory, side) for side in ("before", "after"))
        for top, tree in ((one, before), (other, after)):
            os.makedirs(os.path.join(top, "etc"))
            make(os.fsencode(top), tree)
        found = {path: kind for path, kind, _aspects in _difference.changes(one, other)}
        assert found == expected(before, after)
        assert dict(_difference.compare(one, other)) == found
        shown = _snapshot_diff.find_files(_snapshot_diff.Trees(one, other, one + "/etc"), ["/"])
        assert {row["path"]: row["change"] for row in shown} == found


@given(trees)
def test_a_manifest_is_of_all_and_says_that_nothing_changed(tree):
    with tempfile.TemporaryDirectory() as directory:
        os.mkdir(f"{directory}/etc")
        make(os.fsencode(f"{directory}/etc"), tree)
        then = _difference.manifest(directory, "/etc")
        assert set(then) == {"/etc" + path for path in flat(tree)}
        assert list(_difference.compare_since(then, directory, directory, "/etc")) == []


@contextlib.contextmanager
def deep(name, depths):
    """Trees of one directory in another, one tree for each depth."""
    directory = tempfile.mkdtemp()
    try:
        for side, depth in enumerate(depths):
            where = pathlib.Path(directory, str(side), "etc")
            where.mkdir(parents=True)
            descriptor = os.open(where, os.O_RDONLY)
            for _level in range(depth):
                os.mkdir(name, dir_fd=descriptor)
                inner = os.open(name, os.O_RDONLY, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = inner
            os.close(descriptor)
        yield [f"{directory}/{side}" for side in range(len(depths))]
    finally:
        subprocess.run(["rm", "-rf", directory], check=True)  # Python's own does not go so deep


def test_deeper_than_python_goes_into_itself():
    depth = sys.getrecursionlimit() + 100
    with deep("d", [depth, depth + 2]) as (one, other), in_time():
        assert len(list(_difference.changes(one, other))) == 2
        then = _difference.manifest(other, "/etc")
        assert len(then) == depth + 2
        assert list(_difference.compare_since(then, other, other, "/etc")) == []


def test_deeper_than_a_path_can_be():
    with deep("d" * 200, [30, 31]) as (one, other), in_time():
        try:
            assert list(_difference.changes(one, other))
            assert _difference.manifest(other, "/etc")
        except TransactionalError as exc:
            assert "long" in str(exc)


@given(st.lists(st.one_of(names.map(lambda name: "/" + os.fsdecode(name)), st.sampled_from(
    ["/etc", "/etc/", "//", "/", ".", "", "/etc/..", "/a/../b", "relative"])), max_size=4))
def test_paths_to_compare(paths):
    with tempfile.TemporaryDirectory() as directory:
        trees_ = _snapshot_diff.Trees(directory, directory, directory + "/etc")
        try:
            found = _snapshot_diff.check_paths(trees_, paths)
        except TransactionalError:
            return
    assert all(path.startswith("/") and "/../" not in path + "/" for path in found)
    assert len(set(found)) == len(found)
