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
import selectors
import subprocess
import tempfile
import time
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
JOURNAL_SECONDS = 10
# No check may take longer, so that a mistake does not keep a boot waiting for days, nor overflow what counts seconds
LONGEST_SECONDS = 86400
# How long a check whose script tells no deadline may take, and how long what a check left behind may keep its output
UNKNOWN_SECONDS = 3600
LINGERING_SECONDS = 1
DEADLINE = re.compile(r"^deadline=([0-9]{1,5}) ", re.MULTILINE)


def validate(params: t.Mapping[str, t.Any]) -> None:
    """Refuse what would make a check that cannot work, or another than was meant."""
    name = params["name"]
    if name is not None and not _health_boot.NAME.match(name):
        raise TransactionalError(f"'{name}' cannot be the name of a health check: use letters, digits and _ . -, "
                                 "beginning with a letter or digit, 64 at most")
    for key, least in (("deadline", 1), ("delay", 1), ("retries", 0), ("timeout", 1)):
        if params[key] is not None and params[key] < least:
            raise TransactionalError(f"{key} must be {least} at least, not {params[key]}")
        if params[key] is not None and params[key] > LONGEST_SECONDS:
            raise TransactionalError(f"{key} must be {LONGEST_SECONDS} at most, not {params[key]}")
    for unit in params["units"] or []:
        if not _health_boot.UNIT.match(unit):
            raise TransactionalError(f"'{unit}' is not the name of a unit: it needs its suffix, as in 'sshd.service', "
                                     "and no spaces")
    if params["units"] == []:
        raise TransactionalError("'units' names no unit, so there is nothing to check")
    if params["command"] is not None:
        _validate_command(params["command"])
    if params["script"] is not None and not params["script"].strip():
        raise TransactionalError("'script' is empty, so there is nothing to check")
    if "\0" in (params["script"] or ""):
        raise TransactionalError("'script' has a NUL character, which no script can have")
    if params["url"] is not None:
        # the address may have a password, so the message does not have it
        if _health_scripts.parse_url(params["url"]) is None:
            raise TransactionalError(
                "'url' is not an address that can be checked: it needs to begin with http:// or https://, and to have "
                "a host, and no spaces (%20 stands for one). In a name or a password %40 stands for @, %2F for /, "
                "%3A for :, %3F for ? and %23 for #")
        if not params["status"] or not all(99 < status < 600 for status in params["status"]):
            raise TransactionalError(f"'status' must be status codes from 100 to 599, at least one, and not "
                                     f"{params['status']}")
    if params["port"] is not None and not 0 < params["port"] < 65536:
        raise TransactionalError(f"{params['port']} is not a port: it must be between 1 and 65535")
    if not HOST.match(params["host"]):
        raise TransactionalError(f"'{params['host']}' is neither the name nor the address of a host")


def _validate_command(given: t.Any) -> None:
    words = [given] if isinstance(given, str) else given
    if not isinstance(words, list) or not words or not str(words[0]).strip():
        raise TransactionalError("'command' must be a command line, or a list of a program and its arguments")
    for word in words:
        if isinstance(word, bool) or not isinstance(word, (str, int, float)):
            raise TransactionalError(f"'command' must be a list of texts and numbers, and {word!r} is neither: write "
                                     "it in quotes")
        if "\0" in str(word):
            raise TransactionalError("'command' has a NUL character, which no argument of a program can have")
    if str(words[0]).startswith("-"):
        raise TransactionalError(f"'command' must begin with a program, and {str(words[0]).split()[0]} is an option")


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
            diff=[_shown(edit) for edit in edits])
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


def _shown(edit: Edit) -> dict[str, str]:
    """Both versions for everybody to see; if they differ in what is not shown, that is said at least."""
    before, after = _health_scripts.hidden(edit.before), _health_scripts.hidden(edit.after)
    header = edit.path if (before == after) == (edit.before == edit.after) else f"{edit.path} (the address differs)"
    return {"before": before, "after": after, "before_header": edit.path, "after_header": header}


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


class _Running:
    """A check at work, and the end of what it prints."""

    def __init__(self, check: Check):
        self.check = check
        self.output = bytearray()
        found = DEADLINE.search(read(check.path))
        seconds = int(found.group(1)) if found else UNKNOWN_SECONDS
        # it ends by itself, unless somebody broke its script
        self._deadline = time.monotonic() + seconds + _health_boot.GRACE_SECONDS
        self._lingering: float | None = None
        self.process = subprocess.Popen(["sh", check.path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd="/",
                                        stderr=subprocess.STDOUT, env=command.environment(), start_new_session=True)
        os.set_blocking(self.process.stdout.fileno(), False)

    def close(self) -> None:
        command.end(self.process)
        self.process.stdout.close()

    def add(self, chunk: bytes) -> None:
        self.output += chunk
        del self.output[:-TAIL_BYTES]

    def is_over(self) -> bool:
        """Whether nothing more is read. What a check leaves behind may keep its output open, but not for long."""
        now = time.monotonic()
        if self._lingering is None:
            if self.process.poll() is None:
                if now < self._deadline:
                    return False
                command.end(self.process)
                self.add(b"\nit did not end by itself, and was ended\n")
            self._lingering = now + LINGERING_SECONDS
        return now > self._lingering


def _run_all(checks: t.Sequence[Check]) -> list[dict[str, t.Any]]:
    """All at the same time, as at boot."""
    with contextlib.ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        running = []
        for check in checks:
            one = _Running(check)
            stack.callback(one.close)
            selector.register(one.process.stdout, selectors.EVENT_READ, one)
            running.append(one)
        while selector.get_map():
            for key, _events in selector.select(0.05):
                chunk = os.read(key.fd, command.CHUNK)
                if chunk:
                    key.data.add(chunk)
                else:
                    selector.unregister(key.fileobj)
            for key in list(selector.get_map().values()):
                if key.data.is_over():
                    selector.unregister(key.fileobj)
        while not all(one.process.poll() is not None or one.is_over() for one in running):
            time.sleep(0.05)  # it closed its output, and is at work
        return [_outcome(one.check, one.process.wait(), bytes(one.output)) for one in running]


def _outcome(check: Check, rc: int, said: bytes) -> dict[str, t.Any]:
    text = _health_scripts.without_logins(said.decode("utf-8", "replace"))
    if os.path.exists(JOURNAL):
        with contextlib.suppress(TransactionalError):  # it is in the result, too
            command.run(["systemd-cat", f"--identifier={_health_boot.identifier(check.name)}"], timeout=JOURNAL_SECONDS,
                        data=text.encode("utf-8", "replace"))
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
