# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kernel arguments of the snapshot that this runs inside of, and of the running kernel.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils import _kernel_arguments as arguments
from ansible_collections.microos.transactional.plugins.module_utils import _resident
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._files import read, write
from ansible_collections.microos.transactional.plugins.module_utils._tools import boot_entries, command

CMDLINE = arguments.CMDLINE
# Where sdbootutil looks for it, in this order
CMDLINES = (CMDLINE, "/usr/lib/kernel/cmdline")
GRUB_DEFAULTS = arguments.GRUB_DEFAULTS
GRUB_CONFIG = "/boot/grub2/grub.cfg"
SDBOOTUTIL = "/usr/bin/sdbootutil"
# The line of sdbootutil that has the snapshot's own command line; since August 2025
OWN_CMDLINE = re.compile(r"subvol[^ ]*/etc/kernel/cmdline")


def find_loader() -> str:
    """``bls`` or ``grub``; products say nothing, as one may have either."""
    installed = os.path.exists(SDBOOTUTIL) and command.run([SDBOOTUTIL, "is-installed"]).rc == 0
    if installed or boot_entries.paths():
        return "bls"
    if os.path.exists(GRUB_DEFAULTS) and command.which("grub2-mkconfig"):
        return "grub"
    if os.path.exists(CMDLINE):
        return "bls"
    raise TransactionalError(f"no boot loader was found: there are neither boot entries nor {CMDLINE}, nor "
                             f"{GRUB_DEFAULTS} with grub2-mkconfig. Tell it with 'loader'")


def verify(request: arguments.Request) -> dict[str, t.Any]:
    """The running kernel got them, or the error says which not."""
    text = read("/proc/cmdline").strip()
    differs = arguments.lacks(arguments.split(text), request)
    if differs:
        raise TransactionalError(f"the running kernel was not started as wanted: {'; '.join(differs)}. A reboot into "
                                 "the snapshot that has it is needed, kexec or soft-reboot may not be enough",
                                 cmdline=text)
    return {"changed": False, "cmdline": text}


def ensure(request: arguments.Request, loader: str, check_mode: bool) -> dict[str, t.Any]:
    """Edit the files of the snapshot."""
    inside = _resident.inside()
    if inside is None:
        raise TransactionalError("kernel arguments belong to a snapshot: run this inside of a transaction, as the role "
                                 "microos.transactional.kernel_cmdline does")
    loader = find_loader() if loader == "auto" else loader
    work = _ensure_grub if loader == "grub" else _ensure_bls
    return {"loader": loader, "snapshot": inside[1], **work(request, inside[1], check_mode)}


def _result(path: str, before: str, after: str) -> dict[str, t.Any]:
    return {"changed": before != after,
            "diff": {"before": before, "after": after, "before_header": path, "after_header": path}}


def _ensure_bls(request: arguments.Request, snapshot: int, check_mode: bool) -> dict[str, t.Any]:
    tool = read(SDBOOTUTIL)
    if tool.startswith("#!") and not OWN_CMDLINE.search(tool):
        raise TransactionalError("this sdbootutil writes the boot entries with the arguments of the running system "
                                 "instead of the snapshot's: update it first, to one since August 2025")
    before = read(CMDLINE)
    text = before
    if not os.path.exists(CMDLINE):
        # what the entries have until now
        source = next((path for path in CMDLINES if os.path.exists(path)), "/proc/cmdline")
        words = [word for word in arguments.parse_cmdline(read(source))
                 if arguments.key(word) not in ("BOOT_IMAGE", "initrd", "rootflags")]
        if arguments.edit([words], request) != [words]:
            text = " ".join(words) + "\n"
    after = arguments.edit_cmdline(text, request)
    if after != before and not check_mode:
        write(CMDLINE, after, 0o644)
    return {**_result(CMDLINE, before, after), "cmdline": " ".join(arguments.parse_cmdline(after)),
            "entries": boot_entries.expected(snapshot)}


def _ensure_grub(request: arguments.Request, _snapshot: int, check_mode: bool) -> dict[str, t.Any]:
    before = read(GRUB_DEFAULTS)
    after = arguments.edit_grub(before, request)
    result = _result(GRUB_DEFAULTS, before, after)
    booted = arguments.first_linux_line(read(GRUB_CONFIG))
    # edited by somebody who did not make a new configuration
    result["changed"] = before != after or booted is None or bool(arguments.lacks(booted, request))
    if result["changed"] and not check_mode:
        write(GRUB_DEFAULTS, after, 0o644)
        command.check(["grub2-mkconfig", "-o", GRUB_CONFIG], timeout=command.CHANGE_SECONDS)
        differs = arguments.lacks(arguments.first_linux_line(read(GRUB_CONFIG)) or [], request)
        if differs:
            raise TransactionalError(f"grub2-mkconfig made a {GRUB_CONFIG} that differs from {GRUB_DEFAULTS}: "
                                     f"{'; '.join(differs)}. A file in /etc/grub.d or /etc/default/grub.d has its own "
                                     "arguments")
    words = [word for line in arguments.parse_grub(after) for word in line]
    return {**result, "cmdline": " ".join(words), "entries": [GRUB_CONFIG]}
