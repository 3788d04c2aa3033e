# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Load the kernel of a snapshot, so that the next reboot goes into it past the firmware and the boot loader.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._tools import boot_entries, command

LOADED = "/sys/kernel/kexec_loaded"


class Kernel(t.NamedTuple):
    linux: str
    initrds: list[str]
    options: str


def parse(path: str, text: str) -> Kernel:
    """What a boot entry starts; its paths are those of the file system that the entry is on."""
    top = path.split("/loader/entries/")[0]
    lines = [(key, value) for key, value in boot_entries.assignments(text) if value]
    linux = next((top + value for key, value in lines if key == "linux"), "")
    if not linux:
        raise TransactionalError(f"the boot entry {path} names no kernel; use method: reboot")
    return Kernel(linux, [top + value for key, value in lines if key == "initrd"],
                  " ".join(value for key, value in lines if key == "options"))


def obstacle(number: int) -> str | None:
    """What stands against it on this host."""
    if not command.which("kexec"):
        return "kexec is not installed (package kexec-tools)"
    if number not in boot_entries.by_snapshot():
        return f"snapshot {number} has no boot entry that tells its kernel"
    return None


def load(number: int, more_options: str) -> None:
    """Load what the entry of the snapshot starts; ``systemctl kexec`` then goes into it (kexec-tools 2.0.29)."""
    kernel = parse(*boot_entries.by_snapshot()[number])
    if len(kernel.initrds) > 1:
        raise TransactionalError(f"the boot entry of snapshot {number} has several initrds, which kexec cannot take; "
                                 "use method: reboot")
    command.check(["kexec", "--load", kernel.linux] + [f"--initrd={path}" for path in kernel.initrds]
                  + [f"--command-line={kernel.options} {more_options}".rstrip()], timeout=command.CHANGE_SECONDS)


def unload() -> None:
    """Forget a kernel that an earlier try loaded: any reboot would go into it instead of through the firmware."""
    try:
        with open(LOADED, encoding="ascii") as stream:
            loaded = stream.read().strip() == "1"
    except OSError:  # a kernel without kexec
        return
    if loaded and command.which("kexec"):
        command.check(["kexec", "--unload"])
