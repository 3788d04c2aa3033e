# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Health checks: define and remove them in the pending state, and run them now.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils import _health_boot, _health_scripts, _resident
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._files import (
    LINK,
    Edit,
    read,
    read_link,
    roots_of_etc,
    write,
    written,
)
from ansible_collections.microos.transactional.plugins.module_utils._host import Host
from ansible_collections.microos.transactional.plugins.module_utils._lock import Lock
from ansible_collections.microos.transactional.plugins.module_utils._tools import command, systemd

KINDS = ("command", "units", "url", "port", "script")
HOST = re.compile(r"[A-Za-z0-9_.:%-]+\Z")
# Of the output of one check: enough to see why, and little enough for a result
TAIL_BYTES = 8192
JOURNAL = "/run/systemd/journal/stdout"


def validate(params: t.Mapping[str, t.Any]) -> None:
    """Refuse what would make a check that cannot work, or another than was meant."""
    name = params["name"]
    if name is not None and not _health_boot.NAME.match(name):
        raise TransactionalError(f"'{name}' cannot be the name of a health check: use letters, digits and _ . -, "
                                 "beginning with a letter or digit, 64 at most")
    for key, least in (("deadline", 1), ("delay", 1), ("retries", 0), ("timeout", 1)):
        if params[key] is not None and params[key] < least:
            raise TransactionalError(f"{key} must be {least} at least, not {params[key]}")
    for unit in params["units"] or []:
        if not _health_boot.UNIT.match(unit):
            raise TransactionalError(f"'{unit}' is not the name of a unit: it needs its suffix, as in 'sshd.service', "
                                     "and no spaces")
    if params["units"] == []:
        raise TransactionalError("'units' names no unit, so there is nothing to check")
    given = params["command"]
    words = [given] if isinstance(given, str) else given
    if given is not None and (not isinstance(words, list) or not words or not str(words[0]).strip()):
        raise TransactionalError("'command' must be a command line, or a list of a program and its arguments")
    if params["script"] is not None and not params["script"].strip():
        raise TransactionalError("'script' is empty, so there is nothing to check")
    url = params["url"]
    if url is not None and (not url.startswith(("http://", "https://")) or not url.isprintable() or " " in url):
        raise TransactionalError(f"'{url}' is not an address: it needs to begin with http:// or https://, and to have "
                                 "no spaces (%20 stands for one)")
    if params["port"] is not None and not 0 < params["port"] < 65536:
        raise TransactionalError(f"{params['port']} is not a port: it must be between 1 and 65535")
    if not HOST.match(params["host"]):
        raise TransactionalError(f"'{params['host']}' is neither the name nor the address of a host")


def _has(root: str, program: str) -> bool:
    return any(os.path.lexists(f"{root}{directory}/{program}") for directory in command.PATH.split(":"))


class Definition:
    """One check to define or remove in the state of the next boot. ``result`` is complete after ``ensure``."""

    def __init__(self, host: Host, params: t.Mapping[str, t.Any]):
        self._params = params
        self._name: str = params["name"]
        self._inside = _resident.inside() is not None
        default = host.booted if self._inside else host.default()
        # In the running system only if that is what boots next: what comes with a pending snapshot judges that one
        self._root = "" if self._inside else roots_of_etc(default)[-1]
        self._health_checker = _health_boot.has_health_checker(self._root)
        self.result: dict[str, t.Any] = {
            "changed": False, "snapshot": default, "pending": default != host.current,
            "backend": "health-checker" if self._health_checker else "boot-complete", "files": [], "diff": []}

    def ensure(self, check_mode: bool) -> None:
        edits = self._edits()
        self.result.update(
            changed=bool(edits), files=[edit.path for edit in edits],
            diff=[{"before": edit.before, "after": edit.after, "before_header": edit.path, "after_header": edit.path}
                  for edit in edits])
        if check_mode or not edits:
            return
        if self._root:
            self._write_beside(edits)
        else:
            with written(edits):
                if systemd.runs():
                    systemd.reload()
        if self._params["state"] == "absent":
            _health_boot.remove_empty_directories(self._root)

    def _write_beside(self, edits: t.Sequence[Edit]) -> None:
        """Into the pending snapshot. What is open was made from it, and would not have the check."""
        lock = Lock()
        lock.acquire(f"ansible: health_check {self._params['state']} {self._name}")
        try:
            _resident.refuse_if_open()
            with written(edits):
                pass
        finally:
            lock.release()

    def _edits(self) -> list[Edit]:
        wanted = {}
        if self._params["state"] == "present":
            program = _health_scripts.needs(self._params)
            if program and not _has(self._root, program):
                raise TransactionalError(
                    f"the health check {self._name} needs {program}, which snapshot {self.result['snapshot']} does not "
                    "have, so it would always fail: install it first, with microos.transactional.package")
            script = _health_scripts.render(self._name, self._params, _health_boot.content_path(self._name))
            wanted = _health_boot.texts(self._name, script, self._params, self._health_checker)
        edits, removals = [], []
        for path, mode in _health_boot.all_paths(self._name).items():
            before = (read_link if mode == LINK else read)(self._root + path)
            after = wanted.get(path, "")
            if before != after:
                (edits if after else removals).append(Edit(self._root, path, before, after, mode))
        if wanted and self._health_checker:
            # It stays when the checks are gone: without any it does nothing, and other snapshots may have some
            path = _health_boot.plugin_path(self._inside)
            before = read(path)
            if before != _health_boot.PLUGIN:
                edits.append(Edit("", path, before, _health_boot.PLUGIN, 0o755))
        # Whatever it ends in, a boot finds what it is told to run
        return edits + removals[::-1]


class Check(t.NamedTuple):
    name: str
    severity: str
    path: str


def _to_run(params: t.Mapping[str, t.Any], directory: str) -> list[Check]:
    """The check that the arguments describe, or those that are defined here."""
    if any(params[kind] is not None for kind in KINDS):
        check = Check(params["name"] or "now", params["severity"], f"{directory}/check.sh")
        content = f"{directory}/script"
        write(check.path, _health_scripts.render(check.name, params, content), 0o600)
        write(content, params["script"] or "", 0o700)
        return [check]
    defined = _health_boot.defined()
    if params["name"] is None:
        names = list(defined)
    elif params["name"] in defined:
        names = [params["name"]]
    else:
        raise TransactionalError(f"there is no health check '{params['name']}' in the running system; defined are: "
                                 f"{', '.join(defined) or 'none'}. One of a pending snapshot comes with the reboot")
    return [Check(name, defined[name], _health_boot.script_path(name, defined[name])) for name in names]


def _run_all(checks: t.Sequence[Check]) -> list[dict[str, t.Any]]:
    """All at the same time, as at boot. Each ends by itself, at its deadline."""
    with contextlib.ExitStack() as stack:
        running = []
        for check in checks:
            # a file, as a process that a check leaves behind would keep a pipe open
            said = stack.enter_context(tempfile.TemporaryFile())
            process = subprocess.Popen(["sh", check.path], stdin=subprocess.DEVNULL, stdout=said, cwd="/",
                                       stderr=subprocess.STDOUT, env=command.environment())
            stack.callback(process.kill)
            running.append((check, process, said))
        return [_outcome(check, process.wait(), said) for check, process, said in running]


def _outcome(check: Check, rc: int, said: t.IO[bytes]) -> dict[str, t.Any]:
    said.seek(max(0, said.seek(0, os.SEEK_END) - TAIL_BYTES))
    text = said.read().decode("utf-8", "replace")
    if os.path.exists(JOURNAL):
        subprocess.run(["systemd-cat", f"--identifier={_health_boot.identifier(check.name)}"], check=False,
                       input=text.encode("utf-8"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    found = _health_scripts.parse(rc, text)
    return {"name": check.name, "severity": check.severity, "ok": rc == 0, "rc": rc, "attempts": found.attempts,
            "seconds": found.seconds, "output": found.output.rstrip("\n")}


def describe(outcome: t.Mapping[str, t.Any]) -> str:
    """One failed check in one line: what it said before it said that it failed."""
    lines = [line for line in outcome["output"].splitlines() if not line.startswith("attempt ")]
    said = f": {lines[-1].strip()}" if lines else ""
    return (f"{outcome['name']} (exit code {outcome['rc']}, {outcome['attempts']} attempts in "
            f"{outcome['seconds']} seconds{said})")


def run_now(params: t.Mapping[str, t.Any], warn: t.Callable[[str], None]) -> dict[str, t.Any]:
    """Run checks; those that are wanted may fail with a warning."""
    with tempfile.TemporaryDirectory(prefix="microos-health-") as directory:
        outcomes = _run_all(_to_run(params, directory))
    failed = {severity: [describe(outcome) for outcome in outcomes if not outcome["ok"]
                         and outcome["severity"] == severity] for severity in _health_boot.SEVERITIES}
    if failed["wanted"]:
        warn(f"health checks that are wanted failed: {'; '.join(failed['wanted'])}")
    result = {"changed": False, "checks": outcomes, "healthy": not failed["required"]}
    if failed["required"]:
        raise TransactionalError(f"{len(failed['required'])} of {len(outcomes)} health checks failed: "
                                 f"{'; '.join(failed['required'])}", **result)
    return result
