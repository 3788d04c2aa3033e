# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ask ``systemctl``.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import os
import re

from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._tools import command


def parse_version(stdout: str) -> int:
    """The number in ``systemd 257 (257.9-1~deb13u1)``."""
    found = re.match(r"systemd (\d{1,9})(?!\d)", stdout)
    if not found:
        raise TransactionalError(f"cannot read systemd's version from: {stdout.strip()}")
    return int(found.group(1))


def version() -> int:
    return parse_version(command.check(["systemctl", "--version"]).stdout)


def has_unit(name: str) -> bool:
    return command.run(["systemctl", "cat", "--", name]).rc == 0


def soft_reboots() -> int:
    """How often the userspace was replaced since the kernel was started; 0 where systemd cannot do that."""
    told = command.run(["systemctl", "show", "--property=SoftRebootsCount", "--value"]).stdout.strip()
    return int(told) if re.match(r"[0-9]{1,9}\Z", told) else 0


def runs() -> bool:
    """Whether it is the init system here; in a chroot it can only be asked about files."""
    return os.path.isdir("/run/systemd/system")


def reload() -> None:
    """Have it read unit files that were changed."""
    command.check(["systemctl", "daemon-reload"])
