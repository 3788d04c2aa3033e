# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest

from ansible_collections.microos.transactional.plugins.module_utils._disk_encryption import (
    Key,
    Request,
    lacks,
    parse_header,
    parse_lsblk,
    refusal,
)

PASSWORD, RECOVERY = Key(0, "password", [], False), Key(1, "recovery", [], False)
TPM = Key(2, "tpm2", [7], False)


def test_parse_header():
    # the shape of cryptsetup 2.7.5 and systemd 257, without what is not read
    header = {"keyslots": {slot: {"type": "luks2"} for slot in ("0", "1", "10", "2")},
              "tokens": {"0": {"type": "systemd-recovery", "keyslots": ["1"]},
                         "1": {"type": "systemd-tpm2", "keyslots": ["10"], "tpm2-pcrs": [7], "tpm2-pin": True,
                               "tpm2_pubkey_pcrs": [11]},
                         "2": {"type": "clevis", "keyslots": ["2"]}}}
    assert parse_header(json.dumps(header)) == [
        PASSWORD, RECOVERY, Key(2, "clevis", [], False), Key(10, "tpm2", [7, 11], True)]


def test_parse_lsblk():
    # util-linux 2.41
    told = {"blockdevices": [{"path": "/dev/mapper/root", "fstype": "btrfs", "children": [
        {"path": "/dev/vda2", "fstype": "crypto_LUKS", "children": [{"path": "/dev/vda", "fstype": None}]}]}]}
    assert parse_lsblk(json.dumps(told)) == ["/dev/vda2"]


@pytest.mark.parametrize("request_, said", [
    (Request(["tpm2"], None, []), []), (Request(["tpm2", "password"], [7], []), []),
    (Request(["fido2"], None, []), ["there is no fido2 key"]),
    (Request([], [7, 11], []), ["the tpm2 key in slot 2 checks PCRs [7], not [7, 11]"])])
def test_lacks(request_, said):
    assert lacks([PASSWORD, TPM], request_) == said


@pytest.mark.parametrize("keys, absent, said", [
    ([PASSWORD, RECOVERY, TPM], ["password"], None), ([PASSWORD, TPM], ["tpm2"], None),
    ([PASSWORD, TPM], ["password"], "only the key of the TPM would be left (slot 2)"),
    ([PASSWORD, RECOVERY], ["password", "recovery"], "no key would be left")])
def test_refusal(keys, absent, said):
    reason = refusal(keys, absent)
    assert reason is None if said is None else said in reason
