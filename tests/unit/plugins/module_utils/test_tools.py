# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Short answers of tools, as recorded."""

from __future__ import annotations

import pytest

from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._tools import btrfs, rpm, snapper, tukit

# snapper 0.10.6
SNAPPER_LIST = """{"root":[
 {"number":0,"default":false,"active":false,"type":"single","date":"","user":"root","cleanup":"",
  "description":"current","userdata":null,"pre-number":null,"post-number":null,"post-date":"","read-only":false},
 {"number":1,"default":true,"active":true,"type":"single","date":"2026-11-22 21:37:02","user":"root","cleanup":"number",
  "description":"first root filesystem","userdata":{"important":"yes"},"pre-number":null,"post-number":null,
  "post-date":"","read-only":true}]}"""


def test_snapper_list():
    (row,) = snapper.parse_list(SNAPPER_LIST)
    assert row["number"] == 1
    assert row["read_only"] is True
    assert row["userdata"] == {"important": "yes"}
    assert row["pre_number"] is None


@pytest.mark.parametrize("stdout", ["", "Failure (org.freedesktop.DBus.Error.FileNotFound).", '{"other": []}'])
def test_snapper_list_that_is_none(stdout):
    with pytest.raises(TransactionalError, match="cannot read the snapshot list"):
        snapper.parse_list(stdout)


@pytest.mark.parametrize("stdout", [
    "ID: 3\n",  # -q
    "tukit 6.1.3 started\nUsing snapshot 1 as base for new snapshot 3.\nID: 3\nTransaction completed.\n",
    "2024-09-09 10:00:00 tukit 4.1.9 started\nID: 3\n2024-09-09 10:00:01 Transaction completed.\n",
])
def test_tukit_open(stdout):
    assert tukit.parse_open(stdout) == 3


def test_tukit_open_without_a_number():
    with pytest.raises(TransactionalError, match="cannot read a snapshot number"):
        tukit.parse_open("")


def test_tukit_busy():
    assert tukit.is_busy("ERROR: Another instance of tukit is already running: Resource temporarily unavailable\n")
    assert not tukit.is_busy("ERROR: Snapshot 99 does not exist.\n")


@pytest.mark.parametrize("stdout, path", [
    ("ID 268 gen 11 top level 260 path @/.snapshots/1/snapshot\n", "@/.snapshots/1/snapshot"),
    ("ID 5 (FS_TREE)\n", ""),
])
def test_btrfs_get_default(stdout, path):
    assert btrfs.parse_get_default(stdout) == path


@pytest.mark.parametrize("line, name", [
    ("no package provides testbed-unknown", "testbed-unknown"),
    ("package testbed-unknown is not installed", "testbed-unknown"),
    ("error: file /usr/bin/nope: No such file or directory", "/usr/bin/nope"),
])
def test_rpm_missing(line, name):
    assert name in rpm.MISSING.match(line).groups()
