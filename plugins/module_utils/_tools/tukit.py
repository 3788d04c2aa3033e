# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run ``tukit`` (transactional-update 4.0 to 6.1, the subset that all of them have) and read its answers.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._tools import command, snapper

LOCK_FILE = "/run/tukit.lock"
# transactional-update keeps a lock of its own, a file that holds its process id
UPDATE_LOCK_FILE = "/run/transactional-update.pid"
BUSY = "Another instance of tukit is already running"
CLOSED = "is not an open transaction"


def argv(*args: str) -> list[str]:
    """A quiet call: without ``-q`` log lines are mixed into stdout."""
    return ["tukit", "-q"] + list(args)


def parse_open(stdout: str) -> int:
    found = re.search(r"^ID: (\d{1,10})$", stdout, re.MULTILINE)
    if not found:
        raise TransactionalError(f"cannot read a snapshot number from tukit's answer: {stdout.strip()}")
    return int(found.group(1))


def is_busy(stderr: str) -> bool:
    return BUSY in stderr


def is_closed(stderr: str) -> bool:
    return CLOSED in stderr


def open_(base: int, description: str) -> int:
    # tukit pastes the description into a shell command between single quotes.
    text = re.sub(rf"['\n{snapper.UNSTORABLE}]", " ", description)
    return parse_open(command.check(argv(f"--continue={base}", f"--description={text}", "open"),
                                    timeout=command.CHANGE_SECONDS).stdout)


def call_argv(number: int, cmd: t.Sequence[str]) -> list[str]:
    return argv("call", str(number), *cmd)


def close(number: int) -> None:
    command.check(argv("close", str(number)), timeout=command.CHANGE_SECONDS)


def abort(number: int) -> None:
    command.check(argv("abort", str(number)), timeout=command.CHANGE_SECONDS)


def version() -> str:
    return command.check(["tukit", "--version"]).stdout.strip()
