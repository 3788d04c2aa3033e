# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ask an rpm database.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._tools import command

# rpm 4.20 says this of a capability, a package and a path that it does not know; with exit code = their number
MISSING = re.compile(r"no package provides (.+)$|package (.+) is not installed$|(?:error: )?file (.+): No such file")

SEPARATORS = re.compile(r"[^A-Za-z0-9.~^]")
# In its Lua every rpm has the comparison of single parts; only some compare what has an epoch. One word for each row.
ORDER = """%{lua:
local orders = {}
for _, row in ipairs({ROWS}) do
    local found = 0
    for part = 1, 3 do
        if found == 0 then found = rpm.vercmp(row[part], row[part + 3]) end
    end
    table.insert(orders, found)
end
print(table.concat(orders, " "))
}"""
# One argument of a command has 128 KiB at most
PAIRS_AT_ONCE = 500


def missing(root: str, names: t.Sequence[str], capabilities: bool) -> list[str]:
    """Those of ``names`` that the rpm database below ``root`` does not have, in their order.

    With ``capabilities`` a name also counts as there if an installed package provides it.
    """
    query = ["--whatprovides"] if capabilities else []
    result = command.run(["rpm", "--root", root, "-q", "--qf", "installed %{NAME}\\n"] + query + ["--"] + list(names))
    unknown = {}
    for line in (result.stdout + result.stderr).splitlines():
        found = MISSING.match(line.strip())
        if found:
            unknown[next(group for group in found.groups() if group)] = True
        elif not line.startswith("installed ") and line.strip():
            raise TransactionalError(f"cannot read the rpm database below {root}: {line}", cmd=result.argv)
    return [name for name in names if name in unknown]


def installed(root: str) -> list[dict]:
    """All packages of the rpm database below ``root``, keys as the modules report them."""
    told = command.check(["rpm", "--root", root, "-qa", "--qf", "%{NAME}\\t%{EVR}\\t%{ARCH}\\n"]).stdout
    return [dict(zip(("name", "version", "arch"), line.split("\t"))) for line in told.splitlines()]


def details(root: str) -> list[dict]:
    """All packages of the rpm database below ``root``, keys and values as those of core's package_facts."""
    keys = ("name", "version", "release", "epoch", "arch")
    told = command.check(["rpm", "--root", root, "-qa", "--qf",
                          "\\t".join(f"%{{{key.upper()}}}" for key in keys) + "\\n"]).stdout
    rows = [dict(zip(keys, line.split("\t"))) for line in told.splitlines()]
    # package_facts (2.19 to 2.21) has the string too, no null
    return [{key: "None" if value == "(none)" else value for key, value in row.items()} for row in rows]


def owned(root: str, paths: t.Sequence[str]) -> set[str]:
    """Those of ``paths`` that belong to a package."""
    if not paths:
        return set()
    told = command.run(["rpm", "--root", root, "-q", "--qf", "owned\\n", "--file", "--"] + list(paths)).stdout
    # one answer for each package, and one line for a path of none; a path may have several owners
    return {path for path in paths if f"file {path} is not owned by any package" not in told.splitlines()}


def files(root: str, names: t.Sequence[str]) -> set[str]:
    """The files of installed packages, given as name-version.arch."""
    if not names:
        return set()
    return set(command.run(["rpm", "--root", root, "-q", "--list", "--"] + list(names)).stdout.splitlines())


def providing(root: str, capability: str) -> list[dict]:
    """The packages that provide a capability, keys as the modules report them."""
    told = command.run(["rpm", "--root", root, "-q", "--qf", "%{NAME}\\t%{EVR}\\t%{ARCH}\\n", "--whatprovides", "--",
                        capability]).stdout
    return [dict(zip(("name", "version", "arch"), line.split("\t"))) for line in told.splitlines() if "\t" in line]


def label(row: t.Mapping) -> str:
    """How rpm calls one of the packages that ``installed`` returns."""
    return f"{row['name']}-{row['version']}.{row['arch']}"


def files_of(root: str, rows: t.Sequence[t.Mapping]) -> set[str]:
    """The files of some of the packages that ``installed`` returns."""
    if not rows:
        return set()
    wanted = {label(row) for row in rows}
    # asked by name alone, as not every rpm knows a label with an epoch
    told = command.run(["rpm", "--root", root, "-q", "--qf", "[%{=NAME}-%{=EVR}.%{=ARCH}\\t%{FILENAMES}\\n]", "--"]
                       + sorted({row["name"] for row in rows})).stdout
    return {path for who, _tab, path in (line.partition("\t") for line in told.splitlines()) if who in wanted}


def split_version(evr: str) -> list[str]:
    """Epoch, version and release, without characters that rpm's macros know; rpm takes all of them for separators."""
    epoch, _colon, rest = evr.rpartition(":")
    version, _dash, release = rest.partition("-")
    return [SEPARATORS.sub(".", part) for part in (epoch or "0", version, release)]


def order(pairs: t.Sequence[tuple[str, str]]) -> list[int]:
    """Compare pairs of versions, each with its epoch and release, as rpm does: -1 if the first is the older one."""
    orders: list[int] = []
    for start in range(0, len(pairs), PAIRS_AT_ONCE):
        rows = ["{{{}}}".format(",".join(f'"{part}"' for evr in pair for part in split_version(evr)))
                for pair in pairs[start:start + PAIRS_AT_ONCE]]
        told = command.check(["rpm", "--eval", ORDER.replace("ROWS", ",".join(rows))]).stdout.split()
        orders += [int(number) for number in told]
    return orders


def provided(root: str, names: t.Sequence[str]) -> list[tuple[str, str, str]]:
    """What the packages that provide ``names`` provide: the package, what, and its version or nothing."""
    if not names:
        return []
    told = command.run(["rpm", "--root", root, "-q", "--qf",
                        "[%{=NAME}\\t%{PROVIDENAME}\\t%{PROVIDEVERSION}\\n]", "--whatprovides", "--", *names]).stdout
    rows = [tuple(line.split("\t")) for line in told.splitlines() if line.count("\t") == 2]
    return [row for row in rows if row[1] in names]


def matching(root: str, patterns: t.Sequence[str]) -> list[str]:
    """The names of installed packages that match shell patterns."""
    told = command.check(["rpm", "--root", root, "-qa", "--qf", "%{NAME}\\n", "--", *patterns]).stdout
    return sorted(set(told.split()))


def label_of_file(path: str, pass_fds: t.Sequence[int] = ()) -> str:
    """The name-version-release.arch of the package in an RPM file; the signature is nothing to judge here."""
    return command.check(["rpm", "-q", "--nosignature", "--nodigest", "--qf", "%{NVRA}", "--package", "--",
                          path], pass_fds=pass_fds).stdout


def is_signed_wrongly(root: str, path: str, pass_fds: t.Sequence[int] = ()) -> bool:
    """Whether an RPM file has a signature that no key in the rpm database below ``root`` fits, or is damaged."""
    return command.run(["rpm", "--root", root, "--checksig", "--", path], pass_fds=pass_fds).rc != 0
