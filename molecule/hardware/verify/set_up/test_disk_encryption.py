# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keys of a disk that was encrypted, after the boot."""

from __future__ import annotations

import json


def test_the_keys_that_are_wanted_are_there(host):
    header = json.loads(host.check_output("cryptsetup luksDump --dump-json-metadata /dev/nvme0n1"))
    assert [token["type"] for token in header["tokens"].values()] == ["systemd-tpm2"]
    assert len(header["keyslots"]) == 2
    host.check_output("printf secret | cryptsetup open --test-passphrase --key-file - /dev/nvme0n1")


def test_the_tpm_opens_the_disk(host):
    host.check_output("systemd-cryptsetup attach opened /dev/nvme0n1 none headless=1,tpm2-device=auto")
    assert host.file("/dev/mapper/opened").exists
    host.check_output("systemd-cryptsetup detach opened")
