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
