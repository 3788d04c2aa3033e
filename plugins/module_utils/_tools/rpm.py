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
