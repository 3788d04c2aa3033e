# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import re
import socket
import stat

import pytest

from ansible_collections.microos.transactional.plugins.module_utils import _files
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError


def mode(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


@pytest.fixture(params=[0o000, 0o077])
def umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.fixture
def steps(monkeypatch):
    """The calls that make a file survive a power cut, in their order."""
    found = []

    def noted(name):
        real = getattr(os, name)

        def call(*arguments, **kwargs):
            if name == "fsync":
                found.append((name, os.path.basename(os.readlink(f"/proc/self/fd/{arguments[0]}"))))
            else:
                found.append((name, os.path.basename(arguments[-1])))
            return real(*arguments, **kwargs)
        monkeypatch.setattr(_files.os, name, call)
    for name in ("fsync", "replace", "unlink"):
        noted(name)
    return found


def test_modes_do_not_depend_on_the_umask(tmp_path, umask):
    path = str(tmp_path / "a/b/file")
    _files.write(path, "text", 0o640)
    assert (mode(path), mode(tmp_path / "a"), mode(tmp_path / "a/b")) == (0o640, 0o755, 0o755)
    _files.write(str(tmp_path / "secret/file"), "text", 0o600, directory_mode=0o700)
    assert mode(tmp_path / "secret") == 0o700
    _files.write(path, "other", 0o666)
    assert mode(path) == 0o640  # never more than it had
    assert _files.read(path) == "other"


def test_a_file_and_its_name_are_on_the_disk(tmp_path, steps):
    _files.write(str(tmp_path / "new/file"), "text", 0o644)
    assert steps[-3:] == [("fsync", ".file.new"), ("replace", "file"), ("fsync", "new")]
    assert ("fsync", tmp_path.name) in steps  # the new directory's own name
    _files.write(str(tmp_path / "new/file"), "", 0o644)
    assert steps[-2:] == [("unlink", "file"), ("fsync", "new")]
    _files.write(str(tmp_path / "new/link"), "target", _files.LINK)
    assert steps[-2:] == [("replace", "link"), ("fsync", "new")]
    assert os.readlink(tmp_path / "new/link") == "target"


def test_owner_and_attributes_are_kept(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    try:
        os.chown(path, 4711, 4712)
        os.setxattr(path, "user.probe", b"kept")
    except OSError as error:
        pytest.skip(f"not possible here: {error}")
    path.chmod(0o660)
    _files.write(str(path), "new", 0o666)
    about = path.stat()
    assert (about.st_uid, about.st_gid, mode(path), os.getxattr(path, "user.probe")) == (4711, 4712, 0o660, b"kept")


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("old")

    def full(descriptor):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(_files.os, "fsync", full)
    with pytest.raises(TransactionalError, match="cannot write .*/file: No space left on device"):
        _files.write(str(path), "new", 0o644)
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["file"]


def test_what_lies_in_the_way_is_never_written_through(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (tmp_path / ".file.new").symlink_to(victim)
    (tmp_path / "file").symlink_to(victim)
    _files.write(str(tmp_path / "file"), "text", 0o644)
    assert victim.read_text() == "untouched"
    assert not (tmp_path / "file").is_symlink() and (tmp_path / "file").read_text() == "text"


def test_a_link_in_another_snapshot_does_not_lead_into_the_running_system(tmp_path, monkeypatch):
    running, snapshot = tmp_path / "running", tmp_path / "2/snapshot"
    monkeypatch.setattr(_files, "IN_SNAPSHOT", re.compile(f"({re.escape(str(snapshot))})(/.*)", re.DOTALL))
    for top in (running, snapshot):
        top.mkdir(parents=True)
    (snapshot / "etc").mkdir()
    (snapshot / "etc/conf.d").symlink_to(running)  # as if that were the root
    (snapshot / "etc/file").symlink_to(running / "file")
    (running / "file").write_text("of the running system")
    assert _files.read(f"{snapshot}/etc/file") == ""
    _files.write(f"{snapshot}/etc/conf.d/file", "new", 0o644)
    assert (running / "file").read_text() == "of the running system"
    assert _files.read(f"{snapshot}/etc/conf.d/file") == _files.read(f"{snapshot}/etc/file") == "new"
    assert (snapshot / str(running).lstrip("/") / "file").read_text() == "new"


def test_reading(tmp_path):
    assert _files.read(str(tmp_path / "none")) == ""
    (tmp_path / "file").write_bytes(b"\xff")
    assert _files.read(str(tmp_path / "file")) == "\udcff"
    assert _files.read(str(tmp_path / "file/below")) == ""
    (tmp_path / "masked").symlink_to("/dev/null")
    assert _files.read(str(tmp_path / "masked")) == ""


def test_only_regular_files_of_a_size_are_read(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
    for name in ("pipe", "socket", "."):
        with pytest.raises(TransactionalError, match="no regular file|cannot read"):
            _files.read(str(tmp_path / name))
    monkeypatch.setattr(_files, "LIMIT", 3)
    (tmp_path / "large").write_text("four")
    with pytest.raises(TransactionalError, match="cannot be right"):
        _files.read(str(tmp_path / "large"))


def test_edits_are_taken_back_as_far_as_possible(tmp_path, monkeypatch):
    edits = [_files.Edit(str(tmp_path), f"/{name}", "", "new", 0o644) for name in "abc"]
    real = _files._write

    def write(path, place, text, *modes):
        if path.endswith("/c") or path.endswith("/b") and not text:
            raise OSError(5, "Input/output error")
        real(path, place, text, *modes)
    monkeypatch.setattr(_files, "_write", write)
    with pytest.raises(TransactionalError, match="cannot write .*/c: Input.*could not be taken back in .*/c, .*/b$"), \
            _files.written(edits):
        raise AssertionError("not reached")
    assert os.listdir(tmp_path) == ["b"]


def test_new_files_get_the_label_of_the_policy(tmp_path, monkeypatch):
    selinux = pytest.importorskip("ansible.module_utils.compat.selinux", exc_type=ImportError)
    asked, given = [], []
    monkeypatch.setattr(_files, "SELINUX", str(tmp_path))
    monkeypatch.setattr(selinux, "matchpathcon", lambda path, mode: asked.append(path) or [0, "u:r:x_t:s0"])
    monkeypatch.setattr(_files.os, "setxattr", lambda *arguments, **kwargs: given.append(arguments[1:]))
    path = str(tmp_path / "new/file")
    _files.write(path, "text", 0o644)
    assert asked == [str(tmp_path / "new"), path]
    assert given == [("security.selinux", b"u:r:x_t:s0\0")] * 2
