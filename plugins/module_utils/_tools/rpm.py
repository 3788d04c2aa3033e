# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ask an rpm database.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._tools import command, paths

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
# All arguments and the environment together have 128 KiB at least on every system
ARGUMENTS_SIZE = 64 << 10
# A file name as ':shescape' quotes it, the only format that tells where any name ends; perhaps after a label and a tab
QUOTED = re.compile(rb"(?:([^\t\n']*)\t)?'([^']*(?:'\\''[^']*)*)'\n")


def batches(names: t.Iterable[str]) -> t.Iterator[list[str]]:
    """The names in parts, each of which one command can take as its arguments."""
    batch: list[str] = []
    size = 0
    for name in names:
        length = len(os.fsencode(name)) + 9  # its end, and a pointer
        if batch and size + length > ARGUMENTS_SIZE:
            yield batch
            batch, size = [], 0
        batch.append(name)
        size += length
    if batch:
        yield batch


def _lines(text: str) -> list[str]:
    """Python's splitlines knows more ends of lines than rpm."""
    return [line for line in text.split("\n") if line]


def missing(root: str, names: t.Sequence[str], capabilities: bool) -> list[str]:
    """Those of ``names`` that the rpm database below ``root`` does not have, in their order.

    With ``capabilities`` a name also counts as there if an installed package provides it.
    """
    query = ["--whatprovides"] if capabilities else []
    unknown = set()
    for batch in batches(names):
        result = command.run(["rpm", "--root", root, "-q", "--qf", "installed %{NAME}\\n", *query, "--", *batch])
        lines = _lines(result.stdout) + _lines(result.stderr)
        # there is a whole line for each name at least; a signal may have ended it before
        if result.rc < 0 or len(lines) < len(batch) or not (result.stdout or "\n").endswith("\n"):
            raise command.CommandError(result)
        for line in lines:
            found = MISSING.match(line.strip())
            if found:
                unknown.add(next(group for group in found.groups() if group))
            elif not line.startswith("installed ") and line.strip():
                raise TransactionalError(f"cannot read the rpm database below {root}: {line}", cmd=result.argv)
    return [name for name in names if name in unknown]


def installed(root: str) -> list[dict]:
    """All packages of the rpm database below ``root``, keys as the modules report them."""
    told = command.check(["rpm", "--root", root, "-qa", "--qf", "%{NAME}\\t%{EVR}\\t%{ARCH}\\n"]).stdout
    return _rows(told, ("name", "version", "arch"))


def _rows(told: str, keys: t.Sequence[str]) -> list[dict]:
    rows = [dict(zip(keys, line.split("\t"))) for line in _lines(told)]
    if any(len(row) < len(keys) for row in rows):
        raise TransactionalError(f"cannot read the packages in rpm's answer: {told[-200:]}")
    return rows


def details(root: str) -> list[dict]:
    """All packages of the rpm database below ``root``, keys and values as those of core's package_facts."""
    keys = ("name", "version", "release", "epoch", "arch")
    told = command.check(["rpm", "--root", root, "-qa", "--qf",
                          "\\t".join(f"%{{{key.upper()}}}" for key in keys) + "\\n"]).stdout
    rows = _rows(told, keys)
    # package_facts (2.19 to 2.21) has the string too, no null
    return [{key: "None" if value == "(none)" else value for key, value in row.items()} for row in rows]


def parse_files(told: bytes) -> t.Iterator[tuple[bytes, str]]:
    """The label and the path of each file, from what rpm prints with ``:shescape``."""
    for found in QUOTED.finditer(told):
        yield found.group(1), os.fsdecode(found.group(2).replace(b"'\\''", b"'"))


def _every_file(root: str) -> t.Iterator[str]:
    chunks: list[bytes] = []  # more than other commands ever say
    command.check(["rpm", "--root", root, "-qa", "--qf", "[%{FILENAMES:shescape}\\n]"], consume=chunks.append)
    return (path for _label, path in parse_files(b"".join(chunks)))


def owned(root: str, candidates: t.Iterable[str]) -> set[str]:
    """Those of the paths that belong to a package; they lead through no symbolic links.

    All packages are asked for their files, as the question for one path can take rpm (4.20) a tenth of a second.
    """
    wanted = set(candidates)
    if not wanted or not command.which("rpm"):
        return set()
    found: set[str] = set()
    links: dict[str, str] = {}
    real: dict[str, str] = {}
    for name in _every_file(root):
        directory, _slash, last = name.rpartition("/")
        if directory not in real:
            try:
                real[directory] = paths.resolve(root, directory, links).rstrip("/")
            except OSError:
                real[directory] = directory
        path = f"{real[directory]}/{last}"
        if path in wanted:
            found.add(path)
    return found


def providing(root: str, capability: str) -> list[dict]:
    """The packages that provide a capability, keys as the modules report them."""
    told = command.run(["rpm", "--root", root, "-q", "--qf", "%{NAME}\\t%{EVR}\\t%{ARCH}\\n", "--whatprovides", "--",
                        capability]).stdout
    return [dict(zip(("name", "version", "arch"), line.split("\t"))) for line in _lines(told) if line.count("\t") == 2]


def label(row: t.Mapping) -> str:
    """How rpm calls one of the packages that ``installed`` returns."""
    return f"{row['name']}-{row['version']}.{row['arch']}"


def files_of(root: str, rows: t.Sequence[t.Mapping]) -> set[str]:
    """The files of some of the packages that ``installed`` returns."""
    wanted = {os.fsencode(label(row)) for row in rows}
    found = set()
    # asked by name alone, as not every rpm knows a label with an epoch
    for batch in batches(sorted({row["name"] for row in rows})):
        chunks: list[bytes] = []
        command.run(["rpm", "--root", root, "-q", "--qf", "[%{=NAME}-%{=EVR}.%{=ARCH}\\t%{FILENAMES:shescape}\\n]",
                     "--", *batch], consume=chunks.append)
        found.update(path for who, path in parse_files(b"".join(chunks)) if who in wanted)
    return found


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
        if len(told) != len(rows) or not set(told) <= {"-1", "0", "1"}:
            raise TransactionalError(f"cannot read rpm's comparison of versions: {' '.join(told)[:200]}")
        orders += [int(number) for number in told]
    return orders


def provided(root: str, names: t.Sequence[str]) -> list[tuple[str, str, str]]:
    """What the packages that provide ``names`` provide: the package, what, and its version or nothing."""
    wanted = set(names)
    rows: dict[tuple[str, ...], bool] = {}
    for batch in batches(names):
        told = command.run(["rpm", "--root", root, "-q", "--qf", "[%{=NAME}\\t%{PROVIDENAME}\\t%{PROVIDEVERSION}\\n]",
                            "--whatprovides", "--", *batch]).stdout
        rows.update((tuple(line.split("\t")), True) for line in _lines(told) if line.count("\t") == 2)
    return [row for row in rows if row[1] in wanted]


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
