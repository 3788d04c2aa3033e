# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Take key files apart, by RFC 4880 and RFC 9580, before any other program reads them.

``gpg`` and ``rpm`` take all keys of a file, look for a fingerprint among subkeys too, and unpack what is compressed.
Here a file is divided into its certificates (a primary key with its user IDs, subkeys and signatures), so that the
others never reach them. Whether the signatures are good is left to gpg.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import typing as t

SIGNATURE, SECRET_KEY, PUBLIC_KEY, SECRET_SUBKEY, COMPRESSED = 2, 5, 6, 7, 8
USER_ID, PUBLIC_SUBKEY, USER_ATTRIBUTE = 13, 14, 17
PARTS = (SIGNATURE, USER_ID, PUBLIC_SUBKEY, USER_ATTRIBUTE)
# of a key's version: what is hashed before it, bytes of its length, the hash
FINGERPRINTS = {4: (b"\x99", 2, hashlib.sha1), 5: (b"\x9a", 4, hashlib.sha256), 6: (b"\x9b", 4, hashlib.sha256)}
BOUNDARY = re.compile(rb"[ \t]*-----(BEGIN|END) PGP ([A-Z0-9 ,/]+)-----[ \t]*\Z")
KEYS = (b"PUBLIC KEY BLOCK", b"PRIVATE KEY BLOCK")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
CHECKSUM = re.compile(rb"=[A-Za-z0-9+/]{4}\Z")


class Damaged(ValueError):
    """Why a file is refused as a whole."""


class Packet(t.NamedTuple):
    tag: int
    body: bytes
    raw: bytes


class Certificate:
    """A primary key and all that follows it."""

    def __init__(self, primary: Packet):
        self.fingerprint = fingerprint(primary.body)
        self.packets = [primary]

    @property
    def raw(self) -> bytes:
        return b"".join(packet.raw for packet in self.packets)

    @property
    def contents(self) -> frozenset:
        """What two copies of one key are compared by: the order of packets does not matter."""
        return frozenset((packet.tag, packet.body) for packet in self.packets)

    @property
    def subkeys(self) -> list[str | None]:
        return [fingerprint(packet.body) for packet in self.packets if packet.tag == PUBLIC_SUBKEY]


class Content(t.NamedTuple):
    certificates: list[Certificate]
    # Without a key before them: this is how a key's revocation is published
    loose: list[Packet]


def fingerprint(body: bytes) -> str | None:
    """Of the body of a key's packet; None for a version that has none that could be relied on."""
    if not body or body[0] not in FINGERPRINTS:
        return None
    prefix, size, algorithm = FINGERPRINTS[body[0]]
    if len(body) >= 1 << 8 * size:
        return None
    return algorithm(prefix + len(body).to_bytes(size, "big") + body).hexdigest().upper()


def blocks(material: bytes) -> list[bytes]:
    """The binary contents: of each armored key block of a text, or all of what is binary."""
    if not _is_text(material):
        return [material]
    found: list[bytes] = []
    kind: bytes | None = None
    lines: list[bytes] = []
    for line in material[len(BYTE_ORDER_MARK) if material.startswith(BYTE_ORDER_MARK) else 0:].splitlines():
        boundary = BOUNDARY.match(line)
        if boundary is None:
            lines.append(line.strip())
        elif boundary.group(1) == b"BEGIN":
            if kind in KEYS:
                raise Damaged("a key block has no end")
            kind, lines = boundary.group(2), []
        elif kind is not None:
            if kind in KEYS and boundary.group(2) != kind:
                raise Damaged("a key block has the end of another one")
            if kind in KEYS:
                found.append(_decoded(lines))
            kind = None
    if kind in KEYS:
        raise Damaged("a key block has no end, it seems to be cut off")
    return found


def _is_text(material: bytes) -> bool:
    if material[:1] < b"\x80":
        return True
    try:
        material.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _decoded(lines: t.Sequence[bytes]) -> bytes:
    # headers have a colon, base64 has none
    data = [line for line in lines if line and b":" not in line and not CHECKSUM.match(line)]
    try:
        return base64.b64decode(b"".join(data), validate=True)
    except binascii.Error as exc:
        raise Damaged(f"a key block is no base64 ({exc})") from exc


def packets(data: bytes) -> t.Iterator[Packet]:
    at = 0
    while at < len(data):
        try:
            tag, start, length = _header(data, at)
        except IndexError:
            raise Damaged("it is cut off") from None
        if tag == COMPRESSED:
            raise Damaged("it is compressed inside, which keys never are")
        if tag in (SECRET_KEY, SECRET_SUBKEY):
            raise Damaged("it holds a secret key. Whoever has seen it can sign in its owner's name: do not trust it")
        if length is None:
            raise Damaged("it holds something else than keys")
        if start + length > len(data):
            raise Damaged("it is cut off")
        yield Packet(tag, data[start:start + length], data[at:start + length])
        at = start + length


def _header(data: bytes, at: int) -> tuple[int, int, int | None]:
    """Tag, start of the body, and its length; None for lengths that only messages have."""
    first = data[at]
    if not first & 0x80:
        raise Damaged("it holds something that is no OpenPGP packet")
    if not first & 0x40:
        size = (1, 2, 4, 0)[first & 3]
        field = data[at + 1:at + 1 + size]
        if len(field) != size:
            raise IndexError
        return (first >> 2) & 15, at + 1 + size, int.from_bytes(field, "big") if size else None
    one = data[at + 1]
    if one < 192:
        return first & 63, at + 2, one
    if one < 224:
        return first & 63, at + 3, ((one - 192) << 8) + data[at + 2] + 192
    if one < 255:
        return first & 63, at + 2, None
    field = data[at + 2:at + 6]
    if len(field) != 4:
        raise IndexError
    return first & 63, at + 6, int.from_bytes(field, "big")


def read(material: bytes) -> Content:
    """What is in a key file. Of anything but keys and their signatures nothing is kept."""
    content = Content([], [])
    for block in blocks(material):
        current: Certificate | None = None
        for packet in packets(block):
            if packet.tag == PUBLIC_KEY:
                current = Certificate(packet)
                content.certificates.append(current)
            elif packet.tag in PARTS and current is not None:
                current.packets.append(packet)
            elif packet.tag == SIGNATURE:
                content.loose.append(packet)
    return content
