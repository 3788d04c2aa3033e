# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest

from ansible_collections.microos.transactional.plugins.module_utils import _disk_encryption
from ansible_collections.microos.transactional.plugins.module_utils._disk_encryption import (
    Key,
    Request,
    ensure,
    lacks,
    parse_header,
    parse_lsblk,
    refusal,
)
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError

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


@pytest.mark.parametrize("text", [
    "", "no json", "[]", "{}", '{"keyslots": null}', '{"keyslots": {"a": {}}}', '{"keyslots": {"0": 5}}', 10000 * "[",
    '{"keyslots": {"0": {}}, "tokens": []}', '{"keyslots": {"0": {}}, "tokens": {"0": {"keyslots": ["0"]}}}',
    '{"keyslots": {"0": {}}, "tokens": {"0": {"type": ["systemd-tpm2"], "keyslots": ["0"]}}}',
    '{"keyslots": {"0": {}}, "tokens": {"0": {"type": "systemd-tpm2", "keyslots": ["0"], "tpm2-pcrs": 7}}}',
    '{"keyslots": {"0": {}}, "tokens": {"0": {"type": "systemd-tpm2", "keyslots": ["0"], "tpm2-pcrs": [1e999]}}}',
    '{"keyslots": {"0": {}}, "tokens": {"0": {"type": "a", "keyslots": ["x"]}}}',
    '{"keyslots": {"0": {}}, "digests": 5}',
])
def test_a_header_that_is_broken_is_an_error(text):
    with pytest.raises(TransactionalError, match="its header is not understood"):
        parse_header(text)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"blockdevices": 5}', '{"blockdevices": [5]}', 10000 * "["])
def test_an_answer_of_lsblk_that_is_broken_is_an_error(text):
    with pytest.raises(TransactionalError, match="what lsblk says of the disks is not understood"):
        parse_lsblk(text)


def header(*tokens, slots=("0", "1", "2"), **more):
    return json.dumps({"keyslots": {slot: {"type": "luks2"} for slot in slots},
                       "tokens": {str(number): token for number, token in enumerate(tokens)}, **more})


def test_foreign_names_are_no_kinds_of_ours():
    names = ("recovery", "unbound", "a\nb" + 100 * "x")
    keys = parse_header(header(*({"type": name, "keyslots": [str(slot)]} for slot, name in enumerate(names))))
    assert [key.kind for key in keys[:2]] == ["token recovery", "token unbound"]
    assert keys[2].kind.isprintable() and len(keys[2].kind) < 80
    assert lacks(keys, Request(["recovery"], None, [])) == ["there is no recovery key"]


@pytest.mark.parametrize("tokens", [("systemd-recovery", "systemd-tpm2"), ("systemd-tpm2", "systemd-recovery")])
def test_of_several_tokens_the_one_that_can_be_relied_on_least_counts(tokens):
    keys = parse_header(header(*({"type": name, "keyslots": ["0", "1"]} for name in tokens)))
    assert [key.kind for key in keys] == ["tpm2", "tpm2", "password"]
    assert "only the key of the TPM" in refusal(keys, ["password"])


def test_a_slot_that_does_not_open_the_device_is_no_key():
    digests = {"0": {"keyslots": ["0"], "segments": ["0"]}, "1": {"keyslots": ["1"], "segments": []}}
    keys = parse_header(header(slots=("0", "1", "2"), digests=digests))
    assert [key.kind for key in keys] == ["password", "unbound", "unbound"]
    assert "no key would be left" in refusal(keys, ["password"])
    change = json.dumps({"keyslots": {"0": {"type": "luks2"}, "1": {"type": "reencrypt"}}})
    assert [key.kind for key in parse_header(change)] == ["password", "unbound"]


@pytest.mark.parametrize("path", ["-q", "dev/vda2", "", "/dev/null", "/dev/none", "/tmp", "/a\nb", "/a\0b"])
def test_what_is_no_device(path, monkeypatch):
    monkeypatch.setattr(_disk_encryption.command, "run", None)
    with pytest.raises(TransactionalError):
        ensure([path], Request([], None, []), False)


@pytest.fixture
def told(monkeypatch, tmp_path):
    """The keys that each look at a device finds, one after the other, and the commands that were run."""
    looks, commands = [], []
    path = tmp_path / "disk"
    path.touch()
    monkeypatch.setattr(_disk_encryption, "read_keys", lambda _device: looks.pop(0))
    monkeypatch.setattr(_disk_encryption.command, "which", lambda name: name)
    monkeypatch.setattr(_disk_encryption.command, "check", lambda argv, **_more: commands.append(argv))
    return str(path), looks, commands


def test_keys_that_are_changed_before_the_removal(told):
    path, looks, commands = told
    looks += [[PASSWORD, RECOVERY, TPM], [PASSWORD, TPM]]
    with pytest.raises(TransactionalError, match="none was removed there"):
        ensure([path], Request([], None, ["password"]), False)
    assert not commands


@pytest.mark.parametrize("after, said", [
    ([TPM], "gone is recovery in slot 1; only the key of the TPM would be left"),
    ([PASSWORD, RECOVERY, TPM], "still there is password in slot 0"), ([], "no key would be left"),
])
def test_keys_that_are_changed_during_the_removal(told, after, said):
    path, looks, commands = told
    looks += [[PASSWORD, RECOVERY, TPM], [PASSWORD, RECOVERY, TPM], after]
    with pytest.raises(TransactionalError, match=said):
        ensure([path], Request([], None, ["password"]), False)
    assert commands == [["systemd-cryptenroll", "--wipe-slot=0", path]]


def test_a_device_that_is_named_twice_is_one(told, tmp_path):
    path, looks, commands = told
    (tmp_path / "link").symlink_to(path)
    looks += [[PASSWORD, RECOVERY], [PASSWORD, RECOVERY], [RECOVERY]]
    result = ensure([path, str(tmp_path / "link")], Request([], None, ["password"]), False)
    assert result["removed"] == [f"{path}: password"] and len(commands) == 1
