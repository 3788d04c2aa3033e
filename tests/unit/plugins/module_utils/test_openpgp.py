# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import hashlib

import pytest

from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._tools import command, keys, openpgp

# gpg, --quick-generate-key, an ed25519 key with a subkey for encryption
ARMORED = """\
-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEawtg1hYJKwYBBAHaRw8BAQdA5qTpRSi3qEVXz6oa30EQNChSu3dV5rb4jTfM
oZyG44e0FXRlc3RiZWQgPG9uZUB0ZXN0YmVkPoiQBBMWCAA4FiEEifFWSMZvVfpE
brJTZ4TG+KLlsF0FAmsLYNYCGwMFCwkIBwIGFQoJCAsCBBYCAwECHgECF4AACgkQ
Z4TG+KLlsF0lKQEA8hePxTE6fns69fL2HVGKxiuibLaJvBskLJhCB6UyWw8A/2et
agY6V296nTnweek+Tr5C14z4Lp2oB8+bDIu370QBuDgEawtg1hIKKwYBBAGXVQEF
AQEHQKneUu3vPkpSX/pmAfPFZROg7NlZF2+/5uZvLXBpyP44AwEIB4h4BBgWCAAg
FiEEifFWSMZvVfpEbrJTZ4TG+KLlsF0FAmsLYNYCGwwACgkQZ4TG+KLlsF13eAD/
aV5YNpjzE/aUQYTZvPPO/PGa+kF9ICS6sOKViXLZW/gA/22/KKpEfydG1TuYVfPN
0yEeDKdVlQ8OtWsEqLMmGQ8J
=+gqc
-----END PGP PUBLIC KEY BLOCK-----
"""
REAL = "89F15648C66F55FA446EB2536784C6F8A2E5B05D"
REAL_SUBKEY = "8676C4ACE9B057F282748E1FE7D322BBE495F26A"


def packet(tag, body, form="new"):
    if form == "old":
        return bytes([0x80 | tag << 2 | 1]) + len(body).to_bytes(2, "big") + body
    if form == "five":
        return bytes([0xC0 | tag, 255]) + len(body).to_bytes(4, "big") + body
    if len(body) < 192:
        return bytes([0xC0 | tag, len(body)]) + body
    high, low = divmod(len(body) - 192, 256)
    return bytes([0xC0 | tag, high + 192, low]) + body


def armored(data, kind="PUBLIC KEY BLOCK"):
    text = base64.encodebytes(data).decode()
    return f"-----BEGIN PGP {kind}-----\nComment: of a test\n\n{text}=AAAA\n-----END PGP {kind}-----\n".encode()


def key(name, version=4):
    return bytes([version]) + name.encode() * 30


def fingerprint(name):
    body = key(name)
    return hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body).hexdigest().upper()


A = packet(6, key("a"), "old") + packet(13, b"a@x") + packet(2, b"self")
B = packet(6, key("b")) + packet(13, b"b@x") + packet(14, key("a")) + packet(2, b"binding", "five")


def test_a_real_key():
    (certificate,) = openpgp.read(ARMORED.encode()).certificates
    assert (certificate.fingerprint, certificate.subkeys) == (REAL, [REAL_SUBKEY])
    assert [one.tag for one in certificate.packets] == [6, 13, 2, 14, 2]
    binary = openpgp.blocks(ARMORED.encode())[0]
    assert certificate.raw == binary
    assert openpgp.read(binary).certificates[0].contents == certificate.contents


@pytest.mark.parametrize("material", [
    A + B, B + A, armored(A + B), armored(B) + b"text\n" + armored(A), b"\xef\xbb\xbf" + armored(A) + armored(B),
    "gr\u00fc\u00dfe\n".encode() + armored(A).replace(b"\n", b"\r\n") + armored(B),
    armored(b"\xc2\x01x", "SIGNATURE") + armored(A) + armored(b"\xcb\xe0", "MESSAGE") + armored(B)])
def test_keys_are_told_apart_however_they_come(material):
    found = {certificate.fingerprint: certificate for certificate in openpgp.read(material).certificates}
    assert set(found) == {fingerprint("a"), fingerprint("b")}
    assert [one.tag for one in found[fingerprint("a")].packets] == [6, 13, 2]
    assert found[fingerprint("b")].subkeys == [fingerprint("a")]


def test_what_is_no_part_of_a_key_is_left_out():
    junk = packet(12, b"trust") + packet(10, b"PGP") + packet(60, b"?")
    content = openpgp.read(packet(2, b"revocation") + packet(13, b"nobody") + packet(14, key("c")) + A + junk + B)
    assert [one.body for one in content.loose] == [b"revocation"]
    assert b"".join(certificate.raw for certificate in content.certificates) == A + B


def test_fingerprints_of_other_versions():
    assert openpgp.fingerprint(key("a", 3)) is None
    assert openpgp.fingerprint(b"") is None
    body = key("a", 6)
    hashed = hashlib.sha256(b"\x9b" + len(body).to_bytes(4, "big") + body)
    assert openpgp.fingerprint(body) == hashed.hexdigest().upper()
    assert openpgp.fingerprint(b"\x04" + bytes(1 << 16)) is None
    assert len(openpgp.fingerprint(key("a", 5))) == 64


@pytest.mark.parametrize("material, words", [
    (A[:-1], "cut off"), (A + b"\xc6", "cut off"), (A + b"\xc6\xff\x00", "cut off"), (A + b"\x99\x00", "cut off"),
    (A + b"text", "no OpenPGP packet"), (A + packet(8, b"\x01bomb"), "compressed"), (A + b"\xa3\x01bomb", "compressed"),
    (A + b"\xc8\xe1x", "compressed"), (packet(5, b"x") + A, "secret key"), (A + packet(7, b"x"), "secret key"),
    (armored(packet(5, b"x"), "PRIVATE KEY BLOCK"), "secret key"), (A + b"\xcb\xe1x", "something else than keys"),
    (armored(A)[:-40], "no end"), (armored(A).partition(b"-----END")[0] + armored(B), "no end"),
    (armored(A).replace(b"END PGP PUBLIC", b"END PGP PRIVATE"), "end of another one"),
    (armored(A).replace(b"=AAAA", b"!!"), "no base64"),
])
def test_what_is_refused_as_a_whole(material, words):
    with pytest.raises(openpgp.Damaged, match=words):
        openpgp.read(material)


@pytest.mark.parametrize("material", [b"", b"<html>", b"\n\n", armored(b""), b"-----END PGP PUBLIC KEY BLOCK-----\n",
                                      armored(b"\xff", "SIGNATURE"), b"-----BEGIN PGP MESSAGE-----\n"])
def test_no_key_at_all(material):
    assert openpgp.read(material) == ([], [])


def test_many_beginnings_are_read_in_one_pass():
    with pytest.raises(openpgp.Damaged):
        openpgp.read(b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n" * 30000)
    assert openpgp.read(b"-----BEGIN PGP MESSAGE-----\n" * 30000) == ([], [])


# --- what rpm trusts -------------------------------------------------------------------------------------------------

class Rpm:
    """Entries of a database; ``importing`` is what it does to them when it is given a text."""

    def __init__(self, entries, importing=None):
        self.entries = dict(entries)
        self.argvs = []
        self._importing = importing or (lambda entries, text: entries.update({f"gpg-pubkey-new{len(entries)}": text}))

    def __call__(self, argv, data=None):
        self.argvs.append(list(argv))
        text = ""
        if argv[:2] == ["rpm", "--erase"]:
            del self.entries[argv[-1]]
        elif data is not None:
            self._importing(self.entries, data.decode())
        else:
            text = "".join(f"{keys.RECORD}{name}{keys.FIELD}{body}" for name, body in self.entries.items())
        return command.Result(list(argv), 0, text, "")


def wanted(data):
    (certificate,) = openpgp.read(data).certificates
    return keys.Key(certificate.fingerprint, "a@x", armored(data).decode(), certificate.contents)


OTHER = armored(packet(6, key("o")) + packet(13, b"o@x")).decode()
OLD = {"gpg-pubkey-old": OTHER}


def test_a_change_of_keys():
    rpm = Rpm(OLD)
    change = keys.Change(rpm, {fingerprint("a"): wanted(A)})
    change.make()
    change.verify()
    assert rpm.entries == {"gpg-pubkey-old": OTHER, "gpg-pubkey-new1": armored(A).decode()}
    # what is imported is no argument, which everybody sees and which has a limit
    assert not [argv for argv in rpm.argvs if "PGP" in " ".join(argv)]
    change = keys.Change(rpm, {fingerprint("a"): None})
    change.make()
    change.verify()
    assert rpm.entries == OLD


@pytest.mark.parametrize("importing, words", [
    (lambda entries, text: entries.update(a=text, b=armored(B).decode()), f"not asked for: {fingerprint('b')}"),
    (lambda entries, text: entries.update(a=armored(A + B).decode()), "together with others"),
    (lambda entries, text: entries.update(a=text, b=text), "is there 2 times"),
    (lambda entries, text: None, "is not in 'rpm -q gpg-pubkey'"),
    (lambda entries, text: entries.update(a=armored(A + packet(13, b"evil@x")).decode()), "parts that nobody gave it"),
    (lambda entries, text: entries.clear() or entries.update(a=text), f"lost what it trusted: {fingerprint('o')}"),
    (lambda entries, text: entries.update({"a": text, "gpg-pubkey-old": armored(B).decode()}), "not asked for"),
    (lambda entries, text: entries.update(a=text, b="unreadable"), "not asked for: b"),
])
def test_a_change_of_keys_that_does_something_else(importing, words):
    rpm = Rpm(OLD, importing)
    change = keys.Change(rpm, {fingerprint("a"): wanted(A)})
    change.make()
    with pytest.raises(TransactionalError, match=words):
        change.verify()


def test_a_change_of_keys_is_taken_back():
    before = {"gpg-pubkey-old": OTHER, "gpg-pubkey-a": armored(A[:-6]).decode()}

    def importing(entries, text):
        name = "gpg-pubkey-a" if text in before.values() else "gpg-pubkey-b"
        entries[name] = text

    rpm = Rpm(before, importing)
    change = keys.Change(rpm, {fingerprint("a"): wanted(A), fingerprint("o"): None})
    change.make()
    assert set(rpm.entries) == {"gpg-pubkey-b"}
    rpm._importing = lambda entries, text: entries.update(
        {next(name for name, body in before.items() if body == text): text})
    change.take_back()
    assert rpm.entries == before


def test_signers():
    listed = ("pub:u:255:22:A:1:::u:::scESC:::\nfpr:::::::::AA:\nsub:u:::::::::::e:\nfpr:::::::::CC:\n"
              "pub:u:255:22:B:1:::u:::cEC:::\nfpr:::::::::BB:\n")
    assert keys.signers(listed) == {"AA"}
