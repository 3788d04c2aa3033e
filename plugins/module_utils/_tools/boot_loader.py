# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tell a boot loader that knows the Boot Loader Interface which entry to start, with ``bootctl`` (systemd 257).

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import struct

from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._tools import command

VARIABLES = "/sys/firmware/efi/efivars"
VENDOR = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
# bits of LoaderFeatures
DEFAULT_ENTRY, ONE_SHOT = 1 << 2, 1 << 3


def _variable(name: str) -> bytes | None:
    """What an EFI variable holds, without the attributes that come first; None where there is no such variable."""
    try:
        with open(f"{VARIABLES}/{name}-{VENDOR}", "rb") as stream:
            return stream.read()[4:]
    except OSError:
        return None


def decode(value: bytes) -> str:
    return value.decode("utf-16-le", "replace").rstrip("\0")


def variable(name: str) -> str | None:
    """The text of a variable, such as ``LoaderEntrySelected``."""
    value = _variable(name)
    return None if value is None else decode(value)


def knows_one_shot() -> bool:
    """Whether the boot loader takes a default entry and one for a single boot."""
    value = _variable("LoaderFeatures")
    if value is None or len(value) < 8 or not command.which("bootctl"):
        return False
    wanted = DEFAULT_ENTRY | ONE_SHOT
    return struct.unpack("<Q", value[:8])[0] & wanted == wanted


def _set(verb: str, name: str, entry: str) -> None:
    command.check(["bootctl", "--quiet", verb, entry], timeout=command.CHANGE_SECONDS)
    found = variable(name)
    # the firmware of some machines takes a variable and loses it
    if (found or "") != entry:
        raise TransactionalError(
            f"bootctl {verb} succeeded, but the EFI variable {name} is "
            + ("not there" if found is None else f"'{found}'") + f" instead of '{entry}': the firmware of this host "
            "does not keep what it is told, so nothing can choose what it boots; use 'trial: 0'")


def set_default(entry: str) -> None:
    _set("set-default", "LoaderEntryDefault", entry)


def set_one_shot(entry: str) -> None:
    """For the next boot only; empty for no such entry."""
    _set("set-oneshot", "LoaderEntryOneShot", entry)
