# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module disk_encryption on real LUKS2 headers, in files."""

from __future__ import annotations

import json
import shutil

import pytest

pytestmark = pytest.mark.once

FAST = ("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000")
SECRETS = ("one", "two", "three")


@pytest.fixture
def device(host, tmp_path):
    """A device with a password (slot 0), a recovery key (1) and a key of a TPM (2), as far as its header tells."""
    path = tmp_path / "disk"
    with path.open("wb") as stream:
        stream.truncate(32 * 1024 ** 2)
    for secret in SECRETS:
        (tmp_path / secret).write_text(secret)
    first, *others = (tmp_path / secret for secret in SECRETS)
    host.check("cryptsetup", "luksFormat", "--batch-mode", "--type", "luks2", *FAST, str(path), str(first))
    for other in others:
        host.check("cryptsetup", "luksAddKey", *FAST, "--key-file", str(first), str(path), str(other))
    tokens = [{"type": "systemd-recovery", "keyslots": ["1"]},
              {"type": "systemd-tpm2", "keyslots": ["2"], "tpm2-blob": "AAAA", "tpm2-pcrs": [7],
               "tpm2-pcr-bank": "sha256", "tpm2-primary-alg": "ecc", "tpm2-policy-hash": "00" * 32, "tpm2-pin": False}]
    for token in tokens:
        done = host.run("cryptsetup", "token", "import", str(path), input=json.dumps(token))
        assert done.returncode == 0, done.stderr
    return str(path)


def slots(result):
    return {key["slot"]: key["kind"] for key in result["devices"][0]["keys"]}


def test_what_is_there_is_told(host, device):
    before = host.state()
    result = host.module("disk_encryption", devices=[device], present=["tpm2", "recovery", "password"], pcrs=[7])
    assert not result["changed"] and slots(result) == {0: "password", 1: "recovery", 2: "tpm2"}, result
    assert result["devices"][0]["keys"][2]["pcrs"] == [7]
    assert host.state() == before


def test_what_is_missing_is_an_error(host, device):
    result = host.module("disk_encryption", devices=[device], present=["fido2"], pcrs=[7, 11])
    assert result["failed"] and f"{device}: there is no fido2 key" in result["msg"]
    assert "the tpm2 key in slot 2 checks PCRs [7], not [7, 11]" in result["msg"]


def test_a_policy_of_pcrlock_does_not_tell_its_registers(host, device):
    token = json.dumps({"type": "systemd-tpm2", "keyslots": ["2"], "tpm2-blob": "AAAA", "tpm2-pcrs": [],
                        "tpm2-policy-hash": "00" * 32, "tpm2-pin": False, "tpm2_pcrlock": True})
    host.check("cryptsetup", "token", "remove", "--token-id", "1", device)
    assert host.run("cryptsetup", "token", "import", device, input=token).returncode == 0
    result = host.module("disk_encryption", devices=[device], present=["tpm2"])
    keys = result["devices"][0]["keys"]
    assert [(key["kind"], key["pcrlock"]) for key in keys] == [
        ("password", False), ("recovery", False), ("tpm2", True)]
    result = host.module("disk_encryption", devices=[device], pcrs=[7])
    assert result["failed"] and "the tpm2 key in slot 2 checks what the policy of systemd-pcrlock says" in result["msg"]


def test_a_removal_and_the_keys_that_stay(host, device, tmp_path):
    def opens():
        return [secret for secret in SECRETS if host.run(
            "cryptsetup", "open", "--test-passphrase", "--key-file", str(tmp_path / secret), device).returncode == 0]

    assert host.module("disk_encryption", devices=[device], absent=["password"], _check=True)["changed"]
    assert opens() == ["one", "two", "three"]
    result = host.module("disk_encryption", devices=[device], absent=["password"])
    assert result["changed"] and result["removed"] == [f"{device}: password"], result
    assert slots(result) == {1: "recovery", 2: "tpm2"}
    assert opens() == ["two", "three"]
    assert not host.module("disk_encryption", devices=[device], absent=["password"])["changed"]

    refused = host.module("disk_encryption", devices=[device], absent=["recovery"])
    assert refused["failed"] and "only the key of the TPM would be left (slot 2)" in refused["msg"], refused
    refused = host.module("disk_encryption", devices=[device], absent=["recovery", "tpm2"])
    assert refused["failed"] and "no key would be left" in refused["msg"]
    assert slots(host.module("disk_encryption", devices=[device])) == {1: "recovery", 2: "tpm2"}


def test_no_device_is_changed_if_one_must_not_be(host, device, tmp_path):
    other = tmp_path / "other"
    with other.open("wb") as stream:
        stream.truncate(32 * 1024 ** 2)
    host.check("cryptsetup", "luksFormat", "--batch-mode", "--type", "luks2", *FAST, str(other), str(tmp_path / "one"))
    result = host.module("disk_encryption", devices=[device, str(other)], absent=["password"])
    assert result["failed"] and f"{other}: keys of the kinds password are not removed" in result["msg"]
    assert slots(host.module("disk_encryption", devices=[device]))[0] == "password"


def test_no_luks(host, tmp_path):
    (tmp_path / "plain").write_bytes(b"\0" * 4096)
    result = host.module("disk_encryption", devices=[str(tmp_path / "plain")])
    assert result["failed"] and "is no LUKS2 device" in result["msg"]


def test_a_key_that_somebody_removes_meanwhile_is_told(host, device, tmp_path):
    """In place of the program that removes keys: somebody else takes the recovery key, then it goes on."""
    program = "/usr/bin/systemd-cryptenroll"
    real, stand_in = tmp_path / "real", tmp_path / "stand-in"
    shutil.copy(program, real)
    stand_in.write_text(f"#!/bin/sh\ncryptsetup luksKillSlot -q {device} 1\nexec {real} \"$@\"\n")
    stand_in.chmod(0o755)
    there = ("unshare", "--mount", "sh", "-c", f'mount --bind {stand_in} {program} && exec "$@"', "sh")
    result = host.module("disk_encryption", devices=[device], absent=["password"], _prefix=there)
    assert result["failed"] and "gone is recovery in slot 1; only the key of the TPM would be left" in result["msg"]
    assert slots(result) == {2: "tpm2"}


def test_tokens_of_others(host, device, tmp_path):
    """One that names two slots is passed over by systemd-cryptenroll, which takes both for passwords then."""
    other = json.dumps({"type": "recovery", "keyslots": ["1", "2"]})
    host.check("cryptsetup", "token", "remove", "--token-id", "0", device)
    assert host.run("cryptsetup", "token", "import", device, input=other).returncode == 0
    result = host.module("disk_encryption", devices=[device], present=["password"], absent=["recovery"])
    assert not result["changed"] and slots(result) == {0: "password", 1: "token recovery", 2: "tpm2"}, result
    result = host.module("disk_encryption", devices=[device], absent=["password"])
    assert result["changed"] and slots(result) == {1: "token recovery", 2: "tpm2"}, result
    host.check("cryptsetup", "open", "--test-passphrase", "--key-file", str(tmp_path / "two"), device)


def test_a_change_that_is_at_work_is_no_key(host, device, tmp_path):
    host.check("cryptsetup", "reencrypt", "--init-only", "--batch-mode", *FAST, "--key-file", str(tmp_path / "one"),
               "--key-slot", "0", device)
    keys = slots(host.module("disk_encryption", devices=[device]))
    assert "unbound" in keys.values(), keys


@pytest.mark.parametrize("path", ["-q", "relative", "/dev/null", "/dev/none"])
def test_what_is_no_device(host, path):
    result = host.module("disk_encryption", devices=[path], absent=["password"])
    assert result["failed"] and path in result["msg"] and "exception" not in result
