# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.microos.transactional.plugins.module_utils import _facts as subject

MICROOS = {"ID": "opensuse-microos", "ID_LIKE": "suse opensuse opensuse-tumbleweed", "NAME": "openSUSE MicroOS"}
SL_MICRO = {"ID": "sles", "ID_LIKE": "suse opensuse", "NAME": "SLES", "VARIANT_ID": "transactional", "VARIANT": "Micro"}
OTHER = {"ID": "opensuse-leap", "ID_LIKE": "suse opensuse", "NAME": "openSUSE Leap", "VARIANT_ID": "transactional"}
PACKAGE = {"pkg_mgr": "microos.transactional.package"}


@pytest.mark.parametrize("configured, booted_by, has_entries, has_grub_config, expected", [
    ("grub2-efi", "systemd-boot 257", True, True, "grub2"),
    ("grub2-bls", "", False, False, "grub2-bls"),
    ("none", "systemd-boot 257.9\0", True, True, "systemd-boot"),
    ("", "GRUB 2.12\0", True, True, "grub2-bls"),
    ("", "GRUB 2.12\0", False, True, "grub2"),
    ("", "", True, True, "unknown"),
    ("", "", False, True, "grub2"),
    ("u-boot", "", False, False, "unknown"),
])
def test_boot_loader(configured, booted_by, has_entries, has_grub_config, expected):
    assert subject.choose_loader(configured, booted_by, has_entries, has_grub_config) == expected


@pytest.mark.parametrize("release, expected", [
    (MICROOS, {"os_family": "Suse"}),
    (SL_MICRO, {"os_family": "Suse", "distribution": "SL-Micro"}),
    (OTHER, {"os_family": "Suse", "distribution": "openSUSE Leap"}),
    ({"ID": "debian"}, {}),
    ({}, {}),
])
def test_what_core_gets_wrong(release, expected):
    assert subject.repairs(release, True, False, True) == dict(expected, **PACKAGE)
    assert subject.repairs(release, False, False, True) == expected


@pytest.mark.parametrize("has_systemd, expected", [(True, {"service_mgr": "systemd"}), (False, {})])
def test_the_service_manager_inside(has_systemd, expected):
    assert subject.repairs({}, False, True, has_systemd) == expected


@pytest.mark.parametrize("ours_first", [True, False])
def test_our_facts_win_whichever_module_ends_first(ours_first):
    """Merged as the action gather_facts does, and renamed as the variable manager does."""
    vars_ = pytest.importorskip("ansible.utils.vars")
    clean = pytest.importorskip("ansible.vars.clean")
    both = [{"ansible_pkg_mgr": "zypper", "ansible_other": 1}, subject.as_facts(PACKAGE)]
    found = {}
    for facts in both[::-1] if ours_first else both:
        found = vars_.merge_hash(found, {"ansible_facts": facts}, list_merge="append_rp")
    assert clean.namespace_facts(found["ansible_facts"])["ansible_facts"] == {
        "pkg_mgr": "microos.transactional.package", "other": 1}


@pytest.mark.parametrize("text, expected", [
    ("snapper 0.10.6\nlibsnapper 7.4.3\n", "0.10.6"), ("6.1.3\n", "6.1.3"), ("tukit: error", None)])
def test_version(text, expected):
    assert subject.parse_version(text) == expected


def test_variables():
    text = '# LOADER_TYPE="no"\nLOADER_TYPE="grub2-efi" # why\nNAME=\'a b\'\nEMPTY=\nBROKEN="\n'
    assert subject.parse_variables(text) == {"LOADER_TYPE": "grub2-efi", "NAME": "a b", "EMPTY": ""}


def test_packages_by_name():
    rows = [{"name": "kernel", "version": version} for version in ("5", "6")]
    assert subject.packages(rows) == {"kernel": [{"name": "kernel", "version": "5", "source": "rpm"},
                                                 {"name": "kernel", "version": "6", "source": "rpm"}]}
