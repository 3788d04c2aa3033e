# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os

import pytest

from ansible_collections.microos.transactional.plugins.module_utils._tools import paths, rpm


def test_the_names_of_files_are_told_whatever_is_in_them():
    # rpm 4.20.1
    told = (b"warning: of rpm itself\n'/srv/plain'\n'/srv/lat\xffin'\n'/srv/q'\\''uote'\n'/srv/a\nb'\n"
            b"'/srv/a'\\''\n'\\''b'\n(none)\nlabel-1:1-1.noarch\t'/srv/nel\xc2\x85'\nlabel-2-1.noarch\t(none)\n'/srv/last'\n")
    assert list(rpm.parse_files(told)) == [
        (None, "/srv/plain"), (None, "/srv/lat\udcffin"), (None, "/srv/q'uote"), (None, "/srv/a\nb"),
        (None, "/srv/a'\n'b"), (b"label-1:1-1.noarch", "/srv/nel\x85"), (None, "/srv/last")]


def test_a_command_never_gets_more_names_than_it_can_take():
    names = [f"{number:0200}" for number in range(30_000)]
    batches = list(rpm.batches(names))
    assert [name for batch in batches for name in batch] == names
    assert max(sum(len(name) + 9 for name in batch) for batch in batches) <= rpm.ARGUMENTS_SIZE
    assert list(rpm.batches([])) == []
    assert list(rpm.batches(["x" * rpm.ARGUMENTS_SIZE * 2, "y"])) == [["x" * rpm.ARGUMENTS_SIZE * 2], ["y"]]


@pytest.fixture
def root(tmp_path):
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "lib").symlink_to("usr/lib")
    (tmp_path / "usr/local").symlink_to("/var/usrlocal")
    (tmp_path / "out").symlink_to("../../../../etc")
    (tmp_path / "loop").symlink_to("/loop/x")
    return str(tmp_path)


@pytest.mark.parametrize("path, real", [
    ("/", "/"), ("/lib/x", "/usr/lib/x"), ("/usr/local/bin/x", "/var/usrlocal/bin/x"), ("/nowhere/../x", "/x"),
    ("/out/passwd", "/etc/passwd"), ("//usr/./lib/", "/usr/lib"),
])
def test_links_lead_to_places_below_the_root(root, path, real):
    assert paths.resolve(root, path) == real


def test_links_that_lead_in_a_circle(root):
    with pytest.raises(OSError, match="Too many levels"):
        paths.resolve(root, "/loop")


def test_only_what_rpm_lists_is_owned(root, monkeypatch):
    listed = ["/srv/a", "/lib/b", "/usr/local/c", "/loop/d", "/srv/*", "/srv"]
    monkeypatch.setattr(rpm.command, "which", lambda name: name)
    monkeypatch.setattr(rpm, "_every_file", lambda where: iter(listed))
    asked = ["/srv/a", "/srv/a\nb", "/srv/a\x85", "/srv/ab", "/usr/lib/b", "/var/usrlocal/c", "/srv/d", "/srv/*",
             "/srv/-x"]
    assert rpm.owned(root, asked) == {"/srv/a", "/usr/lib/b", "/var/usrlocal/c", "/srv/*"}
    monkeypatch.setattr(rpm.command, "which", lambda name: None)
    assert rpm.owned(root, asked) == set()


def test_os_names_survive():
    assert os.fsencode(next(rpm.parse_files(b"'/srv/\xe9'\n"))[1]) == b"/srv/\xe9"
