# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os

import pytest

from ansible_collections.microos.transactional.plugins.module_utils import _content
from ansible_collections.microos.transactional.plugins.module_utils._content import Extent

MIB = 1 << 20


@pytest.mark.parametrize("one, other, ranges", [
    ([], [], []),
    ([(0, 10, 100)], [(0, 10, 100)], []),
    ([(0, 10, 100)], [(0, 10, 200)], [(0, 10)]),
    ([(0, 10, 100)], [], [(0, 10)]),
    ([(5, 10, 100)], [(0, 5, 100)], [(0, 5), (5, 10)]),
    # the middle was written anew
    ([(0, 30, 100)], [(0, 10, 100), (10, 20, 500), (20, 30, 120)], [(10, 20)]),
    # the same part of the disk at another place of the file
    ([(0, 10, 100), (10, 20, 110)], [(0, 10, 110), (10, 20, 100)], [(0, 10), (10, 20)]),
    # an end, and a hole
    ([(0, 10, 100), (50, 60, 150)], [(0, 10, 100), (50, 55, 150)], [(55, 60)]),
    # compressed: one address stands for several parts
    ([(0, 10, 100, True)], [(0, 10, 100, True)], [(0, 10)]),
    ([(0, 10, 100, False)], [(0, 10, 100, True)], [(0, 10)]),
])
def test_what_two_files_do_not_share(one, other, ranges):
    sides = [[Extent(*row[:3], row[3] if len(row) > 3 else False) for row in rows] for rows in (one, other)]
    assert list(_content.unshared(*sides)) == ranges
    assert list(_content.unshared(*sides[::-1])) == ranges


@pytest.fixture
def files(tmp_path):
    """Two sparse files of a size that nobody wants to read, and what is read of them."""
    opened = []
    for name in ("one", "other"):
        with open(tmp_path / name, "wb") as stream:
            stream.truncate(1 << 40)
            os.pwrite(stream.fileno(), b"data", 100 * MIB)
        opened.append(os.open(tmp_path / name, os.O_RDWR))
    yield opened
    for descriptor in opened:
        os.close(descriptor)


def test_holes_are_not_read(files):
    assert _content.is_same(*files, 1 << 40)
    os.pwrite(files[0], b"tail", (1 << 40) - 4)
    assert not _content.is_same(*files, 1 << 40)
    os.pwrite(files[1], b"tail", (1 << 40) - 4)
    assert _content.is_same(*files, 1 << 40)


def test_a_hole_is_the_same_as_zeros(files):
    os.pwrite(files[0], bytes(3 * MIB), 500 * MIB)
    assert _content.is_same(*files, 1 << 40)


@pytest.mark.parametrize("size", [0, 1, MIB, MIB + 1])
def test_content(tmp_path, size):
    data = os.urandom(size)
    for name, text in (("one", data), ("same", data), ("other", data[:-1] + bytes([data[-1] ^ 1]) if size else data)):
        (tmp_path / name).write_bytes(text)
    with open(tmp_path / "one", "rb") as one, open(tmp_path / "same", "rb") as same, \
            open(tmp_path / "other", "rb") as other:
        assert _content.is_same(one.fileno(), same.fileno(), size)
        assert _content.is_same(one.fileno(), other.fileno(), size) == (size == 0)
