# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ask ``rebootmgrctl`` for a reboot in the next maintenance window (rebootmgr 2.0 to 3.3).

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re

from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._tools import command


def is_active() -> bool:
    # without --quiet, its exit status means nothing
    return command.which("rebootmgrctl") is not None and command.run(["rebootmgrctl", "is-active", "--quiet"]).rc == 0


def parse_time(text: str) -> str | None:
    """When the reboot will be, from what a request or a status says; None if that is not known (rebootmgr 2)."""
    found = re.search(r"(?:[Ss]cheduled for:?|Reboot at:) *(.+?)(?:, ignoring new request)?$", text, re.MULTILINE)
    return found.group(1).strip() if found else None


def is_requested(status: str) -> bool:
    """Whether the status is that of a reboot that was asked for."""
    found = re.search(r"^Status: (.*)", status, re.MULTILINE)
    return found is not None and "not requested" not in found.group(1)


def is_disabled(status: str) -> bool:
    """Whether the strategy is "off", which version 3.3 tells here and nowhere else."""
    return "(reboots temporarily disabled)" in status


def status() -> str:
    return command.run(["rebootmgrctl", "status"]).stdout


def request() -> str:
    """Have the host rebooted when its policy allows it; returns what rebootmgr says of it.

    Version 2 ends with 0 whatever comes of a request, version 3 with 1 for a second one: the status is what counts.
    In its maintenance window, version 3.3 says when, reboots the host, and no reboot is requested any more.
    """
    result = command.run(["rebootmgrctl", "reboot"])
    said = status()
    taken = result.rc == 0 and parse_time(result.stdout) is not None
    if not taken and not is_requested(said):
        raise TransactionalError(
            f"rebootmgr did not take the request: {(result.stdout + result.stderr).strip() or 'it printed nothing'}; "
            f"{said.strip()}; see: rebootmgrctl get-strategy", cmd=result.argv, rc=result.rc)
    return result.stdout + said
