# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read the entries of boot loaders that follow the Boot Loader Specification, as systemd-boot and GRUB's BLS do.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError

DIRECTORIES = ("/boot/efi/loader/entries", "/efi/loader/entries", "/boot/loader/entries")
# What is started and with which options; titles and versions differ without meaning
KEYS = ("linux", "initrd", "efi", "devicetree", "options")
COUNTER = re.compile(r"\+\d+(-\d+)?(?=\.conf\Z)", re.ASCII)
SNAPSHOT = re.compile(r"(?<=\s)(rootflags=\S*/\.snapshots/)(\d{1,10})(?=/snapshot)", re.ASCII)
# What systemd-boot takes for the id of an entry; to bootctl, "@" at the beginning has a meaning of its own
ID = re.compile(r"[A-Za-z0-9+_.][A-Za-z0-9+_.@-]*\.conf\Z")
# The entry of a snapshot on trial, there beside the snapshot's own as long as the trial is prepared
TRIAL = "microos-trial.conf"


def assignments(text: str) -> list[tuple[str, str]]:
    """Keys and values as systemd-boot (257) reads them: lines end with LF or CR, blanks and tabs separate."""
    lines = (line.strip(" \t") for line in re.split("[\r\n]+", text))
    parts = (re.split("[ \t]+", line, maxsplit=1) for line in lines if line and not line.startswith("#"))
    return [(part[0], part[1] if len(part) == 2 else "") for part in parts]


def parse(text: str) -> tuple[int, str] | None:
    """The snapshot of an entry, and what it starts, the same for all snapshots that start the same."""
    starts = "\n".join(f"{key} {value}" for key, value in assignments(text) if key in KEYS)
    found = SNAPSHOT.search(starts)
    return (int(found.group(2)), SNAPSHOT.sub(r"\1N", starts)) if found else None


def paths() -> list[str]:
    """The files of all entries of snapshots."""
    return [path for directory in DIRECTORIES for path in sorted(glob.glob(f"{directory}/*.conf"))
            if os.path.basename(path) != TRIAL]


def renumbered(path: str, before: int, after: int) -> str | None:
    """What the file of an entry is called for another snapshot, ``t-6.1-3.conf`` for ``t-6.1-2+1.conf``."""
    plain = os.path.join(os.path.dirname(path), entry_id(path))
    ending = f"-{before}.conf"
    return f"{plain[:-len(ending)]}-{after}.conf" if plain.endswith(ending) else None


def expected(number: int) -> list[str]:
    """The entries that the close of a snapshot will write, named after those of the newest that has any."""
    known = [(entry[0], path) for entry, path in ((parse(text), path) for path, text in _texts()) if entry]
    newest_number = max((known_number for known_number, path in known), default=0)
    names = [renumbered(path, newest_number, number) for known_number, path in known if known_number == newest_number]
    return sorted(name for name in names if name)


def _texts() -> t.Iterator[tuple[str, str]]:
    for path in paths():
        try:
            # what is no UTF-8 goes on as it is
            with open(path, encoding="utf-8", errors="surrogateescape", newline="") as stream:
                text = stream.read()
        except FileNotFoundError:  # removed meanwhile
            continue
        except OSError as exc:
            raise TransactionalError(f"cannot read the boot entry {path}: {exc.strerror}") from exc
        yield path, text


def entries() -> dict[int, set[str]]:
    """What the entries of each snapshot start."""
    found: dict[int, set[str]] = {}
    for entry in (parse(text) for path, text in _texts()):
        if entry:
            found.setdefault(entry[0], set()).add(entry[1])
    return found


def entry_id(path: str) -> str:
    """What the boot loader calls an entry: its file without the counter, ``m-2.conf`` for ``m-2+1-2.conf``."""
    return COUNTER.sub("", os.path.basename(path))


def newest(texts: t.Iterable[tuple[str, str]]) -> dict[int, tuple[str, str]]:
    """Path and text of one entry for each snapshot: with several kernels, that of the highest version."""
    def version(item: tuple[str, str]) -> list[tuple[int, str]]:
        told = " ".join(f"{key} {value}" for key, value in assignments(item[1]) if key in ("version", "linux"))
        return [(int(part), "") if part[0] in "0123456789" else (-1, part)
                for part in re.findall("[0-9]{1,18}|[^0-9]+", told)]
    found: dict[int, tuple[str, str]] = {}
    for item in sorted(texts, key=version):
        entry = parse(item[1])
        if entry:
            found[entry[0]] = item
    return found


def by_snapshot() -> dict[int, tuple[str, str]]:
    """Path and text of the entry that stands for each snapshot."""
    return newest(_texts())


def loaded_snapshot(cmdline: str) -> int | None:
    """The snapshot that the running kernel was started for, if its command line tells."""
    found = SNAPSHOT.search(" " + cmdline)
    return int(found.group(2)) if found else None


def write(path: str, text: str) -> None:
    """Make an entry, whole or not at all. The mode is that of its file system, which is vfat and refuses others."""
    directory, name = os.path.split(path)
    temporary = f"{directory}/.{name}.new"  # no name that a boot loader reads
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    with open(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(descriptor)
    os.replace(temporary, path)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
