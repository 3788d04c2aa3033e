# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.microos.transactional.plugins.module_utils import _system_update

PATCHES = {"include_reboot_patches": True, "include_optional_patches": False, "exclude": []}


@pytest.mark.parametrize("method, options, expected", [
    ("dup", {}, []),
    ("up", {"recommends": False, "allow_vendor_change": True}, ["--no-recommends", "--allow-vendor-change"]),
    ("dup", {"allow_downgrade": False, "replace_files": True}, ["--no-allow-downgrade", "--replacefiles"]),
    # these are about patches
    ("dup", dict(PATCHES, categories=["security"]), []),
    ("patch", PATCHES, ["--with-interactive"]),
    ("patch", dict(PATCHES, include_reboot_patches=False, exclude=["a"]),
     ["--skip-interactive", "--skip-not-applicable-patches"]),
    ("patch", dict(PATCHES, include_optional_patches=True, categories=["security", "recommended"], severities=["low"]),
     ["--with-interactive", "--with-optional", "--category", "security,recommended", "--severity", "low"]),
])
def test_arguments(method, options, expected):
    assert _system_update.arguments(method, options) == ["--no-force-resolution", *expected]


def test_locks_are_blocks():
    blocks = _system_update.locks(["one", "two-*"]).strip().split("\n\n")
    assert [block.splitlines()[-1] for block in blocks] == ["solvable_name: one", "solvable_name: two-*"]
