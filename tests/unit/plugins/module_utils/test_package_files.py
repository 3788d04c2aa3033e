# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import socket
import stat

import pytest

from ansible_collections.microos.transactional.plugins.module_utils import _package_files
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._package_files import PackageFile, Workspace
from ansible_collections.microos.transactional.plugins.module_utils._tools import command, rpm


@pytest.fixture(autouse=True)
def labels(monkeypatch):
    """A file is the package that its text names; rpm is not asked."""
    def label_of_file(path, pass_fds=()):
        with open(path, encoding="utf-8") as stream:
            text = stream.read()
        if not text:
            raise command.CommandError(command.Result(["rpm"], 1, "", f"error: open of {path} failed"))
        return text
    monkeypatch.setattr(rpm, "label_of_file", label_of_file)


def written(path, text):
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_the_copy_is_the_file_that_was_opened(tmp_path):
    path = written(tmp_path / "a.rpm", "a-1-1.noarch")
    (tmp_path / "copies").mkdir()
    with PackageFile(path) as file:
        os.unlink(path)
        written(tmp_path / "a.rpm", "evil-1-1.noarch")
        copy = file.copy_to(str(tmp_path / "copies"))
        assert file.label == "a-1-1.noarch"
    assert os.path.basename(copy) == "a.rpm"
    with open(copy, encoding="utf-8") as stream:
        assert stream.read() == "a-1-1.noarch"
    assert stat.S_IMODE(os.stat(copy).st_mode) == 0o600


def test_a_file_that_somebody_writes_to_is_refused(tmp_path):
    path = written(tmp_path / "a.rpm", "a-1-1.noarch")
    (tmp_path / "copies").mkdir()
    with PackageFile(path) as file:
        written(tmp_path / "a.rpm", "b-1-1.noarch")
        with pytest.raises(TransactionalError, match="changed while it was read"):
            file.copy_to(str(tmp_path / "copies"))


@pytest.mark.parametrize("make, words", [
    (os.mkfifo, "no regular file"),
    (os.mkdir, "no regular file"),
    (lambda path: os.symlink("/dev/zero", path), "no regular file"),
    (lambda path: os.symlink(path, path), "cannot read"),
    (lambda path: socket.socket(socket.AF_UNIX).bind(path), "cannot read"),
    (lambda path: None, "cannot read"),
    (lambda path: open(path, "w", encoding="ascii").close(), "no RPM file"),
], ids=["pipe", "directory", "device", "loop", "socket", "nothing", "empty"])
def test_what_is_no_file(tmp_path, make, words):
    path = str(tmp_path / "a.rpm")
    make(path)
    with pytest.raises(TransactionalError, match=words) as caught, PackageFile(path):
        pass
    assert "/proc/self" not in str(caught.value)


@pytest.mark.parametrize("label", ["a-1-1.noarch\nb", "a b", "../a"])
def test_a_package_without_a_proper_name(tmp_path, label):
    with pytest.raises(TransactionalError, match="no proper name"), PackageFile(written(tmp_path / "a.rpm", label)):
        pass


def test_a_file_of_which_there_is_no_room_for_a_copy(tmp_path, monkeypatch):
    monkeypatch.setattr(_package_files, "RESERVE", 1 << 60)
    with PackageFile(written(tmp_path / "a.rpm", "a-1-1.noarch")) as file:
        with pytest.raises(TransactionalError, match="no room"):
            file.copy_to(str(tmp_path))


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_a_workspace_is_of_root_alone(tmp_path, umask):
    parent = tmp_path / "cache" / "ours"
    (tmp_path / "cache").mkdir()
    before = os.umask(umask)
    try:
        with Workspace(str(parent)) as workspace:
            assert not parent.exists()
            inner = workspace.subdirectory("x")
            for path in (str(parent), workspace.path, inner):
                assert stat.S_IMODE(os.stat(path).st_mode) == 0o700
    finally:
        os.umask(before)
    assert not parent.exists()


def test_what_a_killed_run_left_is_deleted_and_what_is_in_use_is_not(tmp_path):
    parent = str(tmp_path / "ours")
    with Workspace(parent) as mine:
        assert mine.path
        os.mkdir(os.path.join(parent, "left"))
        with Workspace(parent) as other:
            assert {other.path, mine.path} == {os.path.join(parent, name) for name in os.listdir(parent)}
        assert os.listdir(parent) == [os.path.basename(mine.path)]
    assert not os.path.exists(parent)


def test_a_directory_that_others_can_write_to_is_refused(tmp_path):
    parent = tmp_path / "ours"
    parent.mkdir()
    parent.chmod(0o777)
    with pytest.raises(TransactionalError, match="only root writes to"), Workspace(str(parent)) as workspace:
        assert workspace.path
    parent.rmdir()
    os.symlink("/tmp", parent)
    with pytest.raises(TransactionalError, match="cannot make"), Workspace(str(parent)) as workspace:
        assert workspace.path


def test_a_private_cache_begins_as_that_of_the_host(tmp_path, monkeypatch):
    monkeypatch.setattr(_package_files, "ZYPP_CACHE", str(tmp_path / "zypp"))
    with Workspace(str(tmp_path / "one")) as workspace:
        assert os.listdir(_package_files.private_cache(workspace)) == []
    (tmp_path / "zypp" / "raw" / "repository").mkdir(parents=True)
    written(tmp_path / "zypp" / "raw" / "repository" / "repomd.xml", "x")
    (tmp_path / "zypp" / "packages").mkdir()
    with Workspace(str(tmp_path / "two")) as workspace:
        path = _package_files.private_cache(workspace)
        assert os.listdir(path) == ["raw"]
        with open(f"{path}/raw/repository/repomd.xml", "w", encoding="ascii") as stream:
            stream.write("y")
    assert (tmp_path / "zypp" / "raw" / "repository" / "repomd.xml").read_text() == "x"
