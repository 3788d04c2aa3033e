# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What packages say that they are for, and what the kernel says that it missed."""

from __future__ import annotations

from ansible_collections.microos.transactional.plugins.module_utils._firmware import (
    asked_for,
    matching,
    parse_supplements,
    wanted_names,
)
from ansible_collections.microos.transactional.plugins.module_utils._tools import zypper

# zypper 1.14.89
INFO = """<?xml version='1.0'?>
<stream>
<message type="info">Loading repository data...</message>
<message type="info">Repository     : main
Name           : kernel-firmware-network
Version        : 1-1
Supplements    : [2]
    namespace:modalias(pci:v000010ECd00008139sv*sd*bc*sc*i*)
    namespace:modalias(pci:v000010ECd00008168sv*sd*bc*sc*i*)
</message>
<message type="info">Repository     : main
Name           : ucode-amd
Description    :
    it is for modalias(nothing)
Supplements    : namespace:modalias(cpu:type%3Ax86%2Cven0002fam*mod*%3Afeature%3A*)
</message>
</stream>
"""
SEARCH = """<?xml version='1.0'?>
<stream>
<search-result version="0.0">
<solvable-list>
<solvable status="not-installed" name="ucode-amd" kind="package" edition="1-1" arch="noarch" repository="main"/>
<solvable status="not-installed" name="ucode-amd" kind="package" edition="0-1" arch="noarch" repository="main"/>
<solvable status="installed" name="nvidia-driver" kind="package" edition="1-1" arch="noarch" repository="main"/>
</solvable-list>
</search-result>
</stream>
"""


def test_what_packages_are_for():
    found = parse_supplements(zypper.parse(INFO).text("info"))
    assert found == {
        "kernel-firmware-network": ["pci:v000010ECd00008139sv*sd*bc*sc*i*", "pci:v000010ECd00008168sv*sd*bc*sc*i*"],
        "ucode-amd": ["cpu:type:x86,ven0002fam*mod*:feature:*"]}
    card, cpu = "pci:v000010ECd00008139sv00001AF4sd00001100bc02sc00i00", "cpu:type:x86,ven0002fam0019mod0011:feature:,0"
    assert matching(found["kernel-firmware-network"], [card, cpu]) == [card]
    assert matching(found["ucode-amd"], [card, cpu]) == [cpu]
    assert matching(["usb:v0BDAp8[0-9]*", "pci:?000010EC*", "ci:*"], ["usb:v0BDAp81", "usb:v0BDApA", card]) == [
        "usb:v0BDAp81", card]


def test_names_of_a_search():
    assert zypper.names(SEARCH) == ["ucode-amd", "nvidia-driver"]
    assert wanted_names(zypper.names(SEARCH), ["ucode-*"]) == ["ucode-amd"]


def test_what_the_kernel_missed():
    log = "\n".join([
        "iwlwifi 0000:03:00.0: Direct firmware load for iwlwifi-cc-a0-77.ucode failed with error -2",
        "r8169 0000:02:00.0: firmware: failed to load rtl_nic/rtl8168d-1.fw (-2)",  # Debian's kernel
        "x: Direct firmware load for late.bin failed with error -110",
        "x: Direct firmware load for $(id) failed with error -2",
        "iwlwifi 0000:03:00.0: Direct firmware load for iwlwifi-cc-a0-77.ucode failed with error -2"])
    assert asked_for(log) == ["iwlwifi-cc-a0-77.ucode", "rtl_nic/rtl8168d-1.fw"]
