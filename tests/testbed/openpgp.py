"""Checks a detached OpenPGP signature with gpgv: all that is not one good signature by a pinned key is refused."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

STATUS = "[GNUPG:] "
# gpgv calls a signature valid and ends with 0 although it says these of it
REFUSED = {
    "BADSIG": "does not belong to the file: one of them was changed",
    "EXPSIG": "has expired",
    "EXPKEYSIG": "is of a key that has expired. Get the key anew, its owner may have extended it",
    "REVKEYSIG": "is of a key that was revoked",
    "ERRSIG": "cannot be checked: no usable key made it. Get the key of who signs today",
}
# SHA-256, SHA-384 and SHA-512 by their numbers in OpenPGP; gpgv takes SHA-1 too
HASHES = ("8", "9", "10")


class SignatureError(Exception):
    """Why a signature is refused."""


@dataclass(frozen=True)
class Signature:
    """A good one: the fingerprint of the primary key, and the day it was made."""

    fingerprint: str
    date: str


def verify(file: Path, signature: Path, keys: Path, pinned: Collection[str]) -> Signature:
    """``keys`` may hold any keys, as text or binary: which one is trusted is said by ``pinned`` alone."""
    with tempfile.TemporaryDirectory(prefix="testbed-gpg-") as home:
        # importing drops subkeys that the primary key does not own
        base = ["--homedir", home, "--quiet"]
        imported = run("gpg", *base, "--batch", "--no-autostart", "--import", keys)
        if imported.returncode != 0:
            raise SignatureError(f"there is no OpenPGP key in {keys.name}: {imported.stderr.strip()}")
        checked = run("gpgv", *base, "--keyring", Path(home, "pubring.kbx"), "--status-fd", "1", signature, file)
    statuses = [line.removeprefix(STATUS).split() for line in checked.stdout.splitlines() if line.startswith(STATUS)]
    return judge(statuses, checked, pinned)


def run(*argv: str | Path) -> subprocess.CompletedProcess:
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False)


def judge(statuses: list[list[str]], checked: subprocess.CompletedProcess, pinned: Collection[str]) -> Signature:
    """What gpgv's machine-readable lines come to."""
    said = [status[0] for status in statuses]
    if said.count("NEWSIG") != 1:
        raise SignatureError(f"it has to be exactly one detached signature, and is {said.count('NEWSIG')}: "
                             f"{checked.stderr.strip()}")
    for status, why in REFUSED.items():
        if status in said:
            raise SignatureError(f"the signature {why} ({checked.stderr.strip()})")
    if checked.returncode != 0 or said.count("GOODSIG") != 1 or said.count("VALIDSIG") != 1:
        raise SignatureError(f"the signature is not good: {checked.stderr.strip()}")
    # VALIDSIG fingerprint date timestamp expiry version reserved key-algorithm hash-algorithm class primary
    fields = statuses[said.index("VALIDSIG")]
    date, algorithm, primary = fields[2], fields[8], fields[10]
    if algorithm not in HASHES:
        raise SignatureError(f"the signature is made with a weak hash (number {algorithm} in OpenPGP)")
    if primary not in pinned:
        raise SignatureError(f"the signature is of the key {primary}, which is not pinned; pinned: {', '.join(pinned)}")
    return Signature(primary, date)
