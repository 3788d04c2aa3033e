# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run an external command and keep everything it said.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError

# The path that tukit itself forces on its helpers; an ssh session may lack the sbin directories.
PATH = "/usr/bin:/usr/sbin:/bin:/sbin"


class Result(t.NamedTuple):
    argv: list[str]
    rc: int
    stdout: str
    stderr: str


class CommandError(TransactionalError):
    """A command ended with an exit status that its caller does not accept."""

    def __init__(self, result: Result):
        said = (result.stderr.strip() or result.stdout.strip() or "it printed nothing").splitlines()
        super().__init__(
            f"'{' '.join(result.argv)}' failed with exit code {result.rc}: {' / '.join(said[-5:])}",
            cmd=result.argv, rc=result.rc, stdout=result.stdout, stderr=result.stderr,
        )
        self.result = result


def which(name: str) -> str | None:
    return shutil.which(name, path=PATH)


def environment(extra: t.Mapping[str, str] | None = None) -> dict[str, str]:
    """The caller's environment, with messages in English and UTF-8, and a complete path."""
    env = dict(os.environ, LC_ALL="C.UTF-8", LANGUAGE="C", PATH=PATH)
    env.update(extra or {})
    return env


def run(argv: t.Sequence[str], env: t.Mapping[str, str] | None = None) -> Result:
    """Run ``argv`` without a shell, stdin closed. A missing program is an error, an exit status is not."""
    argv = list(argv)
    try:
        done = subprocess.run(argv, env=environment(env), stdin=subprocess.DEVNULL, check=False,
                              capture_output=True)
    except OSError as exc:
        raise TransactionalError(f"cannot run '{argv[0]}': {exc.strerror}", cmd=argv) from exc
    return Result(argv, done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))


def check(argv: t.Sequence[str], env: t.Mapping[str, str] | None = None) -> Result:
    """As ``run``, but any exit status other than 0 raises ``CommandError``."""
    result = run(argv, env)
    if result.rc != 0:
        raise CommandError(result)
    return result
