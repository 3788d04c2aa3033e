# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The devices of the VM, as roles for hardware find them."""

from __future__ import annotations

import pytest


def test_the_tpm_measured_the_boot(host):
    assert host.check_output("cat /sys/class/tpm/tpm0/tpm_version_major") == "2"
    assert host.check_output("cat /sys/class/tpm/tpm0/pcr-sha256/0").strip("0\n")
    assert "/dev/tpmrm0" in host.check_output("systemd-cryptenroll --tpm2-device=list")


def test_the_nvme_disk(host):
    assert host.check_output("cat /sys/class/nvme/nvme0/serial").strip() == "nvme"
    assert host.check_output("lsblk --noheadings --nodeps --output SIZE,TYPE /dev/nvme0n1").split() == ["1G", "disk"]


def modalias(host, device):
    return host.check_output(f"grep --files-with-matches {device} /sys/bus/pci/devices/*/modalias")


def test_the_watchdog_s_driver_is_found_by_the_modalias(host):
    assert host.check_output(f"modprobe --resolve-alias $(cat {modalias(host, 'v00008086d000025AB')})") == "i6300esb"


@pytest.mark.parametrize("card", ["v00008086d000010D3", "v000010ECd00008139"])
def test_network_cards_without_a_driver(host, card):
    file = modalias(host, card)
    assert not host.file(file.replace("modalias", "driver")).exists
    assert host.run(f"modprobe --resolve-alias $(cat {file})").stdout == ""
