# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which packages have the firmware and microcode that this hardware needs.

Packages of openSUSE say it themselves, as ``Supplements: modalias(PATTERN)``, and zypper finds them (1.14.89). What
they do not say is in the kernel's log: the files that a driver asked for and that were not there.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import fnmatch
import glob
import re
import typing as t
import urllib.parse

from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._files import read
from ansible_collections.microos.transactional.plugins.module_utils._tools import command, zypper

MODALIASES = ("/sys/bus/*/devices/*/modalias", "/sys/class/*/*/modalias", "/sys/devices/system/cpu/modalias")
DIRECTORIES = ("/lib/firmware", "/lib/firmware/updates")
# Linux, and how Debian's kernel says it. ENOENT; others are no want of a file
ABSENT = re.compile(r"Direct firmware load for (\S+) failed with error -2$"
                    r"|firmware: failed to load (\S+) \(-2\)$", re.MULTILINE)
# Files may be compressed, and not all packages leave that out of what they provide
COMPRESSED = ("", ".xz", ".zst")
WILDCARD = re.compile(r"[*?[]")
# What a shell, or zypper's own pattern matching, would take as more than a name
FILE = re.compile(r"[A-Za-z0-9_.+,:@/=-]+\Z")
# In the line of the headline if it is the only one
SUPPLEMENT = re.compile(r"^(?:Supplements +:)? +(?:namespace:)?modalias\((.*)\)$", re.MULTILINE)
NAME = re.compile(r"^Name +: (\S+)$", re.MULTILINE)


# --- pure ----------------------------------------------------------------------------------------------------------


def parse_supplements(messages: t.Iterable[str]) -> dict[str, list[str]]:
    """By package, the patterns of what ``zypper info --supplements`` says; rpm has some characters encoded."""
    found: dict[str, list[str]] = {}
    for text in messages:
        name = NAME.search(text)
        if name:
            patterns = found.setdefault(name[1], [])
            patterns += [urllib.parse.unquote(pattern) for pattern in SUPPLEMENT.findall(text)]
    return found


def matching(patterns: t.Iterable[str], modaliases: t.Iterable[str]) -> list[str]:
    """The modaliases that a package is for."""
    # packages have thousands of patterns: most differ in what comes first, and that is cheap to see
    split = [(WILDCARD.split(pattern, 1)[0], pattern) for pattern in patterns]
    return [modalias for modalias in modaliases
            if any(modalias.startswith(first) and fnmatch.fnmatchcase(modalias, pattern) for first, pattern in split)]


def asked_for(log: str) -> list[str]:
    """Files that the kernel did not find, each once, in the order of the log."""
    return list(dict.fromkeys(one or other for one, other in ABSENT.findall(log) if FILE.match(one or other)))


def wanted_names(names: t.Iterable[str], patterns: t.Sequence[str]) -> list[str]:
    return sorted({name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)})


# --- the host ------------------------------------------------------------------------------------------------------


def _modaliases() -> list[str]:
    """A device of the ACPI may have one in each of two lines."""
    return sorted({line for pattern in MODALIASES for path in glob.glob(pattern) for line in read(path).split()})


def _log() -> str:
    """Of the kernel that runs, as far back as it is kept."""
    if command.which("journalctl"):
        said = command.run(["journalctl", "--quiet", "--no-pager", "--dmesg", "--output=cat"])
        if said.rc == 0 and said.stdout.strip():
            return said.stdout
    return command.check(["dmesg", "--notime"]).stdout


def _absent(files: t.Iterable[str]) -> list[str]:
    """Those that no package has brought since, compressed or not."""
    return [file for file in files
            if not any(glob.glob(f"{directory}/{glob.escape(file)}*") for directory in DIRECTORIES)]


def _ask(*arguments: str, empty: t.Container[int] = ()) -> str:
    said = command.run(["zypper", "--non-interactive", "--no-refresh", "--xmlout", *arguments], zypper.ENVIRONMENT)
    if said.rc not in zypper.SUCCESS and said.rc not in empty:
        raise TransactionalError(f"zypper could not tell which packages have firmware, "
                                 f"{zypper.explain(said.rc, zypper.parse(said.stdout), said.stderr)}")
    return said.stdout


def _supplements(patterns: t.Sequence[str]) -> dict[str, list[str]]:
    listed = zypper.names(_ask("search", "--supplements", "modalias", empty=[zypper.NOT_FOUND]))
    names = wanted_names(listed, patterns)
    if not names:
        return {}
    answer = zypper.parse(_ask("info", "--supplements", *names))
    zypper.require_readable(answer, "tell what packages are for")
    return parse_supplements(answer.text("info"))


def _providers(file: str) -> list[str]:
    wanted = [f"firmware({file}{suffix})" for suffix in COMPRESSED]
    return zypper.names(_ask("search", "--provides", "--match-exact", *wanted, empty=[zypper.NOT_FOUND]))


def look(patterns: t.Sequence[str]) -> dict[str, t.Any]:
    """Packages with what they are for, and the files that no package has."""
    found: dict[str, dict[str, t.Any]] = {}
    modaliases = _modaliases()
    for name, supplements in _supplements(patterns).items():
        devices = matching(supplements, modaliases)
        if devices:
            found[name] = {"name": name, "modaliases": devices, "files": []}
    missing = []
    for file in _absent(asked_for(_log())):
        providers = _providers(file)
        if not providers:
            missing.append(file)
            continue
        name = next((name for name in providers if name in found), providers[0])
        found.setdefault(name, {"name": name, "modaliases": [], "files": []})["files"].append(file)
    return {"changed": False, "packages": [found[name] for name in sorted(found)], "missing": missing}
