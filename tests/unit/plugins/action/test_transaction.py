# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a transaction says that it comes from."""

from __future__ import annotations

import subprocess

import pytest

from ansible_collections.microos.transactional.plugins.action import transaction


@pytest.fixture
def checkout(tmp_path):
    def git(*arguments):
        return subprocess.run(["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@example.org",
                               *arguments], check=True, capture_output=True, text=True).stdout.strip()
    git("init", "--quiet")
    (tmp_path / "site.yml").write_text("one\n")
    git("add", ".")
    git("commit", "--quiet", "--message", "one")
    return tmp_path, git("rev-parse", "HEAD")


def test_the_commit_and_whether_it_was_changed(checkout):
    directory, commit = checkout
    assert transaction.git_commit(str(directory)) == commit
    (directory / "site.yml").write_text("two\n")
    assert transaction.git_commit(str(directory)) == commit + "+"


def test_no_checkout(tmp_path):
    assert transaction.git_commit(str(tmp_path)) == ""


def test_a_git_that_hangs_holds_up_nothing(tmp_path, monkeypatch):
    fake = tmp_path / "git"
    fake.write_text("#!/bin/sh\nexec sleep 1000\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(transaction, "GIT_SECONDS", 0.3)
    assert transaction.git_commit(str(tmp_path)) == ""
