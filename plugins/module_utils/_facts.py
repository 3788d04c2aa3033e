# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Facts of a transactional host, and of any other the one fact that it is none.

What cannot be told, without root rights or from inside of a transaction, is None and no error.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import shlex
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils import _resident
from ansible_collections.microos.transactional.plugins.module_utils._activation import open_transaction
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._host import REBOOT_NEEDED, Host
from ansible_collections.microos.transactional.plugins.module_utils._tools import (
    boot_entries,
    btrfs,
    command,
    mounts,
    rpm,
    snapper,
)
from ansible_collections.microos.transactional.plugins.module_utils._transaction import choose_engine

# A line that assigns one word; its quotes may be anywhere in it
ASSIGNMENT = re.compile(r"""^[ \t]*([A-Za-z_][A-Za-z0-9_]*)=((?:[^\s"'\\]|\\.|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')*)"""
                        r"(?=[\s;]|\Z)", re.MULTILINE)
PACKAGE_MODULE = "microos.transactional.package"
NONE = dict.fromkeys(("engine", "engine_version", "booted", "current", "default", "pending", "reboot_level",
                      "boot_loader", "read_only", "transaction", "inside"))
# The first process of the host; from inside of a transaction it is seen too, and is the way out
INIT = "/proc/1"
SYSTEMD = "/usr/lib/systemd/systemd"

GRUB2, GRUB2_BLS, SYSTEMD_BOOT, UNKNOWN = "grub2", "grub2-bls", "systemd-boot", "unknown"
LOADER_CONFIG = "/etc/sysconfig/bootloader"
LOADER_TYPES = {"grub2": GRUB2, "grub2-efi": GRUB2, "grub2-bls": GRUB2_BLS, "systemd-boot": SYSTEMD_BOOT}
LOADER_INFO = "/sys/firmware/efi/efivars/LoaderInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
GRUB_CONFIG = "/boot/grub2/grub.cfg"


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


def parse_variables(text: str) -> dict[str, str]:
    """The assignments of a file such as os-release or those in /etc/sysconfig."""
    found = {}
    for name, value in ASSIGNMENT.findall(text):
        found[name] = "".join(shlex.split(value))
    return found


# --- the boot loader ------------------------------------------------------------------------------------------------


def choose_loader(configured: str, booted_by: str, has_entries: bool, has_grub_config: bool) -> str:
    """The family of the boot loader: as configured, else by the one that said its name at the boot, else by files.

    GRUB says the same with and without entries of the Boot Loader Specification.
    """
    if configured in LOADER_TYPES:
        return LOADER_TYPES[configured]
    if booted_by.startswith("systemd-boot"):
        return SYSTEMD_BOOT
    if booted_by.startswith("GRUB"):
        return GRUB2_BLS if has_entries else GRUB2
    if has_entries:  # which of the two reads them is unknown
        return UNKNOWN
    return GRUB2 if has_grub_config else UNKNOWN


def boot_loader() -> str:
    try:
        with open(LOADER_INFO, "rb") as stream:
            booted_by = stream.read()[4:].decode("utf-16-le", "replace")
    except OSError:
        booted_by = ""
    entries = any(glob.glob(f"{directory}/*.conf") for directory in boot_entries.DIRECTORIES)
    return choose_loader(parse_variables(_read(LOADER_CONFIG)).get("LOADER_TYPE", ""), booted_by, entries,
                         os.path.exists(GRUB_CONFIG))


# --- the state of the host ------------------------------------------------------------------------------------------


def is_transactional(host: Host) -> bool:
    return (host.booted is not None and command.which("snapper") is not None
            and os.path.exists(snapper.CONFIG_FILE))


def parse_version(text: str) -> str | None:
    """The number in ``snapper 0.10.6`` and in tukit's bare one."""
    found = re.search(r"(?<!\d)\d+(?:\.\w+)+", text)
    return found.group() if found else None


def _outside(inside: bool, host: Host) -> tuple[int | None, int | None, str | None]:
    """Booted and current snapshot, and where the host's own root is found; nothing where that cannot be seen."""
    if not inside:
        return host.booted, host.current, ""
    try:
        table = mounts.parse_mountinfo(mounts.read_mountinfo(f"{INIT}/mountinfo"))
    except OSError:
        table = []
    booted = mounts.snapshot_number(mounts.mount_at(table, "/"))
    return (booted, mounts.snapshot_number(mounts.mount_at(table, "/usr")) or booted,
            None if booted is None else f"{INIT}/root")


def _default(host: Host) -> int | None:
    with contextlib.suppress(TransactionalError):
        return host.default()
    return None


def _transaction(inside: tuple[str, int] | None) -> dict | None:
    """The open transaction, as only root can tell whether it still lives."""
    if inside:
        return {"id": inside[0], "snapshot": inside[1]}
    found = None
    with contextlib.suppress(PermissionError):
        found = open_transaction()
    return {key: found.details[key] for key in ("id", "snapshot", "base", "description", "since")} if found else None


def state(host: Host, engine: str) -> dict:
    """The fact ``transactional``."""
    inside = _resident.inside()
    chosen = choose_engine(host, engine)
    told = command.run(["tukit" if chosen.name == "tukit" else "snapper", "--version"])
    booted, current, way_out = _outside(inside is not None, host)
    default = _default(host)
    level = None
    if way_out is not None and os.path.exists(way_out + REBOOT_NEEDED):
        level = _read(way_out + REBOOT_NEEDED).strip()
    return dict(
        NONE, engine=chosen.name, engine_version=parse_version(told.stdout + told.stderr), booted=booted,
        current=current, default=default, pending=None if None in (default, current) else default != current,
        reboot_level=level, boot_loader=boot_loader(), read_only=btrfs.is_read_only("/"),
        transaction=_transaction(inside), inside=inside[1] if inside else None)


# --- what core gets wrong -------------------------------------------------------------------------------------------


def repairs(release: t.Mapping[str, str], use_package: bool, inside: bool, has_systemd: bool) -> dict[str, str]:
    """Core's facts that are other than core says, from ``/etc/os-release``."""
    found = {}
    if use_package:
        found["pkg_mgr"] = PACKAGE_MODULE
    if "suse" in [release.get("ID", ""), *release.get("ID_LIKE", "").split()]:
        found["os_family"] = "Suse"
        if release.get("VARIANT_ID") == "transactional":
            is_micro = "Micro" in release.get("VARIANT", "") + release.get("SUSE_SUPPORT_PRODUCT", "")
            found["distribution"] = "SL-Micro" if is_micro else release.get("NAME", "SL-Micro")
    if inside and has_systemd:
        # the private /run lacks the directory by which core knows systemd
        found["service_mgr"] = "systemd"
    return found


def as_facts(found: t.Mapping[str, str]) -> dict[str, str]:
    """Facts that outdo those of core's setup, also where both modules run side by side and setup ends later.

    Ansible removes the prefix from the names in their order, and a later one overwrites an earlier one; a value that is
    merged in keeps the place of the first one.
    """
    facts = {f"ansible_{name}": value for name, value in found.items()}
    facts.update(found)
    return facts


# --- packages -------------------------------------------------------------------------------------------------------


def packages(rows: t.Iterable[t.Mapping]) -> dict[str, list[dict]]:
    """Installed packages in the format of core's package_facts."""
    found: dict[str, list[dict]] = {}
    for row in rows:
        found.setdefault(row["name"], []).append(dict(row, source="rpm"))
    return found


def facts(engine: str, use_package: bool, packages_of: t.Callable[[Host], int] | None) -> dict:
    """All facts of this host."""
    try:
        host = Host()
    except OSError:  # not Linux
        return {"transactional": dict(NONE)}
    if not is_transactional(host):
        return {"transactional": dict(NONE)}
    found = {"transactional": state(host, engine)}
    release = parse_variables(_read("/etc/os-release"))
    found.update(as_facts(repairs(release, use_package, _resident.inside() is not None, os.path.exists(SYSTEMD))))
    if packages_of:
        found["packages"] = packages(rpm.details(host.root_of(packages_of(host))))
    return found
