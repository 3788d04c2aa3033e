# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keys of LUKS2 devices: which there are, which are wanted, and which must stay.

Headers as of cryptsetup 2.7, tokens as systemd-cryptenroll 257 writes them.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import json
import os
import stat
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._tools import command

KINDS = ("password", "recovery", "tpm2", "fido2", "pkcs11")
TOKENS = {"systemd-tpm2": "tpm2", "systemd-recovery": "recovery", "systemd-fido2": "fido2", "systemd-pkcs11": "pkcs11"}
# Of a key slot that does not open the device: it has a key for something else, or for a change that is at work
UNBOUND = "unbound"
# A key that depends on this machine and on what it boots does not count as a way in
FRAGILE = ("tpm2",)


class Key(t.NamedTuple):
    slot: int
    kind: str  # one of KINDS, or the type of a token of somebody else
    pcrs: list[int]  # that a TPM checks
    pin: bool  # that a TPM asks for
    pcrlock: bool = False  # the registers are in the policy of systemd-pcrlock, and not in the header


class Request(t.NamedTuple):
    present: t.Sequence[str]
    pcrs: t.Sequence[int] | None  # of the TPM's key; None for any
    absent: t.Sequence[str]


# --- pure ----------------------------------------------------------------------------------------------------------


def parse_header(text: str) -> list[Key]:
    """Answer of ``cryptsetup luksDump --dump-json-metadata``. A slot that no token names is a password's."""
    try:
        return _parse_header(json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as exc:
        raise TransactionalError(f"its header is not understood ({type(exc).__name__}: {exc})") from exc


def _parse_header(header: dict) -> list[Key]:
    tokens: dict[int, list[dict]] = {}
    for token in header.get("tokens", {}).values():
        for slot in token.get("keyslots", []):
            tokens.setdefault(int(slot), []).append(token)
    bound = {int(slot) for digest in header["digests"].values() if digest["segments"]
             for slot in digest["keyslots"]} if "digests" in header else None
    found = []
    for number, keyslot in header["keyslots"].items():
        slot = int(number)
        if keyslot.get("type", "luks2") != "luks2" or (bound is not None and slot not in bound):
            found.append(Key(slot, UNBOUND, [], False))
            continue
        # if several tokens name it, what can be relied on least
        told = [(_kind(token), token) for token in tokens.get(slot, [])]
        kind, token = next((item for item in told if item[0] in FRAGILE), told[0]) if told else ("password", {})
        pcrs = {*token.get("tpm2-pcrs", []), *token.get("tpm2_pubkey_pcrs", [])} if kind == "tpm2" else set()
        found.append(Key(slot, kind, sorted(map(int, pcrs)), bool(token.get("tpm2-pin")),
                         bool(token.get("tpm2_pcrlock"))))
    return sorted(found)


def _kind(token: dict) -> str:
    """One of ``KINDS`` for tokens of systemd alone, whatever others call theirs."""
    name = token["type"]
    if not isinstance(name, str):
        raise TypeError("a token has no type")
    if name in TOKENS:
        return TOKENS[name]
    shown = name if name.isprintable() and len(name) <= 64 else f"{name[:64]!r}"
    return f"token {shown}" if shown in (*KINDS, UNBOUND) else shown


def parse_lsblk(text: str) -> list[str]:
    """The LUKS devices in an answer of ``lsblk --json --inverse --output PATH,FSTYPE``."""
    def walk(rows: t.Iterable[dict]) -> t.Iterator[str]:
        for row in rows:
            if row.get("fstype") == "crypto_LUKS":
                yield row["path"]
            yield from walk(row.get("children", []))
    try:
        return sorted(set(walk(json.loads(text)["blockdevices"])))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as exc:
        raise TransactionalError(f"what lsblk says of the disks is not understood ({type(exc).__name__}: {exc}); name "
                                 "them in 'devices'") from exc


def lacks(keys: t.Sequence[Key], request: Request) -> list[str]:
    """What is wanted and not there, in words for the user."""
    kinds = [key.kind for key in keys]
    found = [f"there is no {kind} key" for kind in request.present if kind not in kinds]
    if request.pcrs is not None:
        wanted = sorted(request.pcrs)
        for key in keys:
            if key.kind == "tpm2" and key.pcrlock:
                found.append(f"the tpm2 key in slot {key.slot} checks what the policy of systemd-pcrlock says, and its "
                             f"header does not tell whether that is PCRs {wanted}")
            elif key.kind == "tpm2" and key.pcrs != wanted:
                found.append(f"the tpm2 key in slot {key.slot} checks PCRs {key.pcrs or 'none'}, not {wanted}")
    return found


def refusal(keys: t.Sequence[Key], absent: t.Collection[str]) -> str | None:
    """Why keys must not be removed: somebody has to have a way in that does not depend on the TPM."""
    kept = [key for key in keys if key.kind not in (*absent, UNBOUND)]
    if not kept:
        return "no key would be left, and nobody could ever open the device again"
    if all(key.kind in FRAGILE for key in kept):
        slots = ", ".join(str(key.slot) for key in kept)
        return (f"only the key of the TPM would be left (slot {slots}): one update of the firmware, and nobody could "
                "open the device again")
    return None


# --- the devices ---------------------------------------------------------------------------------------------------


def devices_of_root() -> list[str]:
    source = command.check(["findmnt", "--noheadings", "--first-only", "--nofsroot", "--output", "SOURCE", "/"]).stdout
    return parse_lsblk(command.check(
        ["lsblk", "--json", "--inverse", "--output", "PATH,FSTYPE", source.strip()]).stdout)


def read_keys(device: str) -> list[Key]:
    if command.run(["cryptsetup", "isLuks", "--type", "luks2", device]).rc != 0:
        raise TransactionalError(f"{device} is no LUKS2 device. Only those tell which kinds of keys they have")
    try:
        return parse_header(command.check(["cryptsetup", "luksDump", "--dump-json-metadata", device]).stdout)
    except TransactionalError as exc:
        raise TransactionalError(f"{device}: {exc}", **exc.details) from exc


def _named(keys: t.Iterable[Key]) -> str:
    return ", ".join(f"{key.kind} in slot {key.slot}" for key in keys)


def validate(devices: t.Iterable[str]) -> None:
    """Nothing that a program would take as an option, or wait for."""
    for device in devices:
        if not device.startswith("/") or not device.isprintable():
            raise TransactionalError(f"{device!r} is not the path of a device: it has to begin with /")
        try:
            mode = os.stat(device).st_mode
        except OSError as exc:
            raise TransactionalError(f"{device}: {exc.strerror}") from exc
        if not stat.S_ISBLK(mode) and not stat.S_ISREG(mode):
            raise TransactionalError(f"{device} is neither a block device nor a file with an image")


def _remove(device: str, judged: t.Sequence[Key], kinds: t.Sequence[str]) -> list[Key]:
    """Remove the keys of these kinds; returns those that are there then.

    By their slots, so that it is these and no others whatever a token means to ``systemd-cryptenroll``. Somebody else
    may change keys at the same time, so they are looked at just before, and afterwards.
    """
    if read_keys(device) != judged:
        raise TransactionalError(f"the keys of {device} were changed by somebody else in the meantime, and none was "
                                 "removed there. Run it again")
    unwanted = [key for key in judged if key.kind in kinds]
    slots = ",".join(str(key.slot) for key in unwanted)
    command.check(["systemd-cryptenroll", f"--wipe-slot={slots}", device], timeout=command.CHANGE_SECONDS)
    left = read_keys(device)
    lost = [key for key in judged if key not in unwanted and key not in left]
    stays = [key for key in unwanted if key in left]
    wrong = ([f"gone is {_named(lost)}"] if lost else []) + ([f"still there is {_named(stays)}"] if stays else [])
    reason = refusal(left, [])
    wrong += [reason] if reason else []
    if wrong:
        raise TransactionalError(
            f"the keys of {device} are not what they should be after the removal of slot {slots}: {'; '.join(wrong)}. "
            f"There is now: {_named(left) or 'none'}. Somebody else changes keys at the same time, or a tool does not "
            "work as it should. Enrol what is missing while the device is open", devices=[_told(device, left)])
    return left


def _told(device: str, keys: t.Iterable[Key]) -> dict:
    return {"device": device, "keys": [key._asdict() for key in keys]}


def ensure(devices: t.Sequence[str], request: Request, check_mode: bool) -> dict:
    """Judge all devices before any is changed, then remove the keys that are not wanted."""
    validate(devices)
    # one that is named twice is one
    named = {os.path.realpath(device): device for device in reversed(devices)}
    devices = list(named.values())[::-1] or devices_of_root()
    if not devices:
        raise TransactionalError("no device below the root file system is encrypted with LUKS; name others in "
                                 "'devices'")
    keys = {device: read_keys(device) for device in devices}
    wrong, remove = [], {}
    for device, found in keys.items():
        wrong += [f"{device}: {text}" for text in lacks(found, request)]
        unwanted = [kind for kind in request.absent if any(key.kind == kind for key in found)]
        reason = refusal(found, unwanted) if unwanted else None
        if reason:
            wrong.append(f"{device}: keys of the kinds {', '.join(unwanted)} are not removed: {reason}")
        remove[device] = unwanted
    if wrong:
        raise TransactionalError(f"{'; '.join(wrong)}. Nothing was changed",
                                 devices=[_told(device, found) for device, found in keys.items()])
    changed = any(remove.values())
    if changed and command.which("systemd-cryptenroll") is None:
        raise TransactionalError("systemd-cryptenroll is missing, which removes keys: install it first. Nothing was "
                                 "changed")
    if not check_mode:
        for device, kinds in remove.items():
            if kinds:
                keys[device] = _remove(device, keys[device], kinds)
    return {"changed": changed, "devices": [_told(device, found) for device, found in keys.items()],
            "removed": [f"{device}: {kind}" for device, kinds in remove.items() for kind in kinds]}
