# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``transactional-update apply``, and the settings that transactional-update and tukit share.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils._tools import command

# As libeconf reads them: the first main file that exists, then all drop-ins, of which a later directory hides an
# earlier one's by name
MAIN = ("/etc/tukit.conf", "/run/tukit.conf", "/usr/etc/tukit.conf")
UPDATE_CONFIGURATION = ("/usr/etc/transactional-update.conf", "/etc/transactional-update.conf")
DROP_INS = ("/usr/etc/tukit.conf.d", "/run/tukit.conf.d", "/etc/tukit.conf.d")


def offers_apply(usage: str) -> bool:
    """Whether the usage of ``transactional-update`` has the command; 4.2 was the first."""
    return re.search(r"^apply\s", usage, re.MULTILINE) is not None


def has_apply() -> bool:
    return (command.which("transactional-update") is not None
            and offers_apply(command.run(["transactional-update", "--help"]).stdout))


def apply() -> None:
    """Bring the default snapshot's /usr, /etc and /boot into the running system."""
    command.check(["transactional-update", "--no-selfupdate", "--non-interactive", "apply"],
                  timeout=command.CHANGE_SECONDS)


def parse_setting(name: str, texts: t.Iterable[str]) -> str | None:
    """The value of a setting in configuration files, the last of which counts."""
    value = None
    for text in texts:
        for found in re.finditer(rf"^[ \t]*{name}[ \t]*=(.*)$", text, re.MULTILINE):
            value = found.group(1).strip().strip("\"'")
    return value


def _configuration() -> list[str]:
    drop_ins = {}
    for directory in DROP_INS:
        if os.path.isdir(directory):
            drop_ins.update({name: f"{directory}/{name}" for name in os.listdir(directory) if name.endswith(".conf")})
    paths = [path for path in MAIN if os.path.exists(path)][:1] + [drop_ins[name] for name in sorted(drop_ins)]
    texts = []
    for path in paths:
        with open(path, encoding="utf-8", errors="replace") as stream:
            texts.append(stream.read())
    return texts


def allows_soft_reboot() -> bool:
    """What the host says of soft reboots that nobody asked for by name; tukit's own default is yes."""
    return parse_setting("REBOOT_ALLOW_SOFT_REBOOT", _configuration()) in (None, "true")


def allows_kexec() -> bool:
    """What the host says of kexec that nobody asked for by name; tukit's own default is no."""
    return parse_setting("REBOOT_ALLOW_KEXEC", _configuration()) == "true"


def snapshot_manager() -> str:
    """What tukit (since 6.1) makes snapshots with: auto, which is snapper where there is one, snapper, or podman."""
    return parse_setting("SNAPSHOT_MANAGER", _configuration()) or "auto"


def _update_setting(name: str) -> str | None:
    """A setting of the host's own updates; of two files the administrator's counts (6.1.3)."""
    texts = []
    for path in UPDATE_CONFIGURATION:
        if os.path.exists(path):
            with open(path, encoding="utf-8", errors="replace") as stream:
                texts.append(stream.read())
    return parse_setting(name, texts)


def update_method() -> str | None:
    """The ``UPDATE_METHOD``, such as "dup"."""
    return _update_setting("UPDATE_METHOD")


def reboot_method() -> str:
    """The ``REBOOT_METHOD``: auto, systemd, rebootmgr, kexec, kured, notify or none."""
    return _update_setting("REBOOT_METHOD") or "auto"


def leave_reboot(method: str) -> None:
    """Let others see that a reboot is wanted: kured on a cluster, or a person who is notified."""
    command.check(["tukit", "--quiet", "reboot", method])
