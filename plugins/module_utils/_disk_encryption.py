# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keys of LUKS2 devices: which there are, which are wanted, and which must stay.

Headers as of cryptsetup 2.7, tokens as systemd-cryptenroll 257 writes them.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import json
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._tools import command

KINDS = ("password", "recovery", "tpm2", "fido2", "pkcs11")
TOKENS = {"systemd-tpm2": "tpm2", "systemd-recovery": "recovery", "systemd-fido2": "fido2", "systemd-pkcs11": "pkcs11"}
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
    header = json.loads(text)
    tokens = {int(slot): token for token in header.get("tokens", {}).values() for slot in token.get("keyslots", [])}
    found = []
    for slot in sorted(map(int, header["keyslots"])):
        token = tokens.get(slot, {})
        kind = TOKENS.get(token.get("type"), token.get("type")) or "password"
        pcrs = {*token.get("tpm2-pcrs", []), *token.get("tpm2_pubkey_pcrs", [])} if kind == "tpm2" else set()
        found.append(Key(slot, kind, sorted(pcrs), bool(token.get("tpm2-pin")), bool(token.get("tpm2_pcrlock"))))
    return found


def parse_lsblk(text: str) -> list[str]:
    """The LUKS devices in an answer of ``lsblk --json --inverse --output PATH,FSTYPE``."""
    def walk(rows: t.Iterable[dict]) -> t.Iterator[str]:
        for row in rows:
            if row.get("fstype") == "crypto_LUKS":
                yield row["path"]
            yield from walk(row.get("children", []))
    return sorted(set(walk(json.loads(text)["blockdevices"])))


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
    kept = [key for key in keys if key.kind not in absent]
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
    return parse_header(command.check(["cryptsetup", "luksDump", "--dump-json-metadata", device]).stdout)


def _told(device: str, keys: t.Iterable[Key]) -> dict:
    return {"device": device, "keys": [key._asdict() for key in keys]}


def ensure(devices: t.Sequence[str], request: Request, check_mode: bool) -> dict:
    """Judge all devices before any is changed, then remove the keys that are not wanted."""
    devices = list(devices) or devices_of_root()
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
    if not check_mode:
        for device, kinds in remove.items():
            if kinds:
                command.check(["systemd-cryptenroll", f"--wipe-slot={','.join(kinds)}", device])
                keys[device] = read_keys(device)
    return {"changed": changed, "devices": [_told(device, found) for device, found in keys.items()],
            "removed": [f"{device}: {kind}" for device, kinds in remove.items() for kind in kinds]}
