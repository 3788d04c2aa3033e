# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signatures: one good one by a pinned key is taken, all else is refused, with the real gpg and gpgv."""

from __future__ import annotations

import subprocess

import openpgp
import pytest

PAST, LATER = "20200101T000000", "20200601T000000"  # by then a key of the past is there for sure


@pytest.fixture(scope="module")
def keys(gpg):
    """Fingerprints by name."""
    found = {name: gpg.key(name) for name in ("one", "other", "revoked")}
    found["expired"] = gpg.key("expired", "1y", when=PAST)
    found["aged"] = gpg.key("aged", when=PAST)
    found["family"] = gpg.key("family", usage="cert")
    gpg.run("--quick-add-key", found["family"], "ed25519", "sign", "never")
    return found


@pytest.fixture
def check(gpg, keys, tmp_path):
    """Signs a file as a test wants it, and verifies it."""
    file = tmp_path / "file"
    file.write_text("what is signed\n")

    def run(signature, public=None, pinned=("one",), said=None):
        paths = [tmp_path / name for name in ("file.asc", "key.asc")]
        paths[0].write_bytes(signature)
        paths[1].write_bytes(gpg.export() if public is None else public)
        fingerprints = [keys.get(name, name) for name in pinned]
        if said is None:
            return openpgp.verify(file, *paths, fingerprints)
        with pytest.raises(openpgp.SignatureError, match=said):
            openpgp.verify(file, *paths, fingerprints)
        return None
    run.file = file
    return run


def test_one_good_signature_by_a_pinned_key(check, gpg, keys):
    signature = gpg.sign("one", check.file)
    for public in (gpg.export("one"), gpg.export("one", armor=False), gpg.export(),
                   gpg.export("other") + gpg.export("one")):
        assert check(signature, public).fingerprint == keys["one"]
    binary = subprocess.run(["gpg", "--dearmor"], input=signature, capture_output=True, check=True).stdout
    assert check(binary, pinned=("other", "one")).fingerprint == keys["one"]


def test_the_day_is_told(check, gpg, keys):
    assert check(gpg.sign("aged", check.file, when="20240229T120000"), pinned=["aged"]) == openpgp.Signature(
        keys["aged"], "2024-02-29")


def test_it_is_the_primary_key_that_is_pinned(check, gpg, keys):
    primary, sub = gpg.fingerprints("family")
    signature = gpg.sign(sub + "!", check.file)
    assert check(signature, pinned=["family"]).fingerprint == primary
    check(signature, pinned=[sub], said="not pinned")


def test_a_changed_file(check, gpg):
    signature = gpg.sign("one", check.file)
    check.file.write_text("what was not signed\n")
    check(signature, said="one of them was changed")


def test_a_key_that_is_not_pinned(check, gpg, keys):
    check(gpg.sign("other", check.file), said=f"of the key {keys['other']}, which is not pinned")
    # the end of a fingerprint, as many a tool would take it
    check(gpg.sign("one", check.file), pinned=[keys["one"][-16:]], said="not pinned")
    check(gpg.sign("one", check.file), pinned=[], said="not pinned")


def test_a_key_that_is_not_there(check, gpg):
    check(gpg.sign("one", check.file), gpg.export("other"), said="no usable key made it")


def test_no_key(check, gpg):
    for public in (b"", b"<html>not found</html>\n", gpg.sign("one", check.file)):
        check(gpg.sign("one", check.file), public, said="there is no OpenPGP key")


def test_an_expired_key(check, gpg):
    check(gpg.sign("expired", check.file, when=LATER), pinned=["expired"], said="key that has expired")


def test_an_extended_key(check, gpg):
    """The same key, known as it was and as it is."""
    gpg.key("extended", "1y", when=PAST)
    fingerprint, before = gpg.fingerprints("extended")[0], gpg.export("extended")
    signature = gpg.sign("extended", check.file, when=LATER)
    check(signature, before, [fingerprint], said="its owner may have extended it")
    gpg.run("--quick-set-expire", fingerprint, "never")
    assert check(signature, gpg.export("extended"), [fingerprint]).fingerprint == fingerprint
    assert check(signature, before + gpg.export("extended"), [fingerprint]).fingerprint == fingerprint


def test_an_expired_signature(check, gpg):
    signature = gpg.sign("aged", check.file, "--default-sig-expire", "1d", when="20240101T000000")
    check(signature, pinned=["aged"], said="has expired")


def test_a_revoked_key(check, gpg, keys):
    signature = gpg.sign("revoked", check.file)
    assert check(signature, pinned=["revoked"])
    certificate = (gpg.home / "openpgp-revocs.d" / f"{keys['revoked']}.rev").read_text().replace(":-----", "-----")
    gpg.run("--import", input=certificate.encode())
    check(signature, pinned=["revoked"], said="was revoked")


def test_a_weak_hash(check, gpg):
    check(gpg.sign("one", check.file, "--digest-algo", "SHA1"), said="weak hash")


def test_no_signature(check):
    empty = b"-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n"
    for signature in (b"", b"<html>not found</html>\n", empty):
        check(signature, said="exactly one detached signature, and is 0")


@pytest.mark.parametrize("added", ["one", "other", "expired"])
@pytest.mark.parametrize("first", [True, False])
def test_a_signature_too_many(check, gpg, added, first):
    pair = [gpg.sign("one", check.file), gpg.sign(added, check.file, when=LATER if added == "expired" else None)]
    parts = pair if first else pair[::-1]
    check(b"".join(parts), said="exactly one detached signature, and is 2")
    binary = [subprocess.run(["gpg", "--dearmor"], input=part, capture_output=True, check=True).stdout
              for part in parts]
    check(b"".join(binary), said="exactly one detached signature, and is 2")


@pytest.mark.parametrize("kind", ["--clear-sign", "--sign"])
def test_a_signature_that_brings_its_own_text(check, gpg, kind, tmp_path):
    """It is good for what it brings, which need not be what the file says."""
    other = tmp_path / "other"
    other.write_text("what nobody asked for\n")
    signature = gpg.run("--local-user", "one", "--armor", "--output", "-", kind, other)
    check(signature, said="exactly one detached signature, and is 0")


def packets(data):
    """An export without armor, cut into its packets with their tags."""
    while data:
        if data[0] & 0x40:  # the new format, with short lengths alone
            assert data[1] < 192
            tag, head, length = data[0] & 0x3f, 2, data[1]
        else:
            size = 1 << (data[0] & 3)
            tag, head, length = data[0] >> 2 & 0xf, 1 + size, int.from_bytes(data[1:1 + size])
        yield tag, data[:head + length]
        data = data[head + length:]


def test_a_foreign_subkey_below_the_pinned_key(check, gpg, keys):
    """A server can add to a key what its owner never had: the fingerprint of the primary key stays the same."""
    sub = gpg.fingerprints("family")[1]
    parts = list(packets(gpg.export("family", armor=False)))
    start = [tag for tag, _packet in parts].index(14)  # the first subkey
    forged = gpg.export("one", armor=False) + b"".join(packet for _tag, packet in parts[start:])
    signature = gpg.sign(sub + "!", check.file)
    assert check(signature, gpg.export("family", armor=False), ["family"])
    check(signature, forged, ["one"], said="no usable key made it")
