# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bring packages into a wanted state, in one snapshot.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils import _resident
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._host import Host
from ansible_collections.microos.transactional.plugins.module_utils._namespace import read_only_view
from ansible_collections.microos.transactional.plugins.module_utils._tools import command, rpm, snapper, zypper
from ansible_collections.microos.transactional.plugins.module_utils._transaction import Transaction, choose_engine

MODULE = "microos.transactional.package"
# Anything else has a meaning of its own for zypper: -name and !name remove, name=1 and name>1 compare, kind:name
NAME = re.compile(r"[A-Za-z0-9/_][A-Za-z0-9/_.+-]*(?:\([^()\s]*\))*\Z")


def check_names(names: t.Sequence[str]) -> list[str]:
    """The names, each once, in their order; an error for what is not a plain name."""
    bad = [name for name in names if not NAME.match(name)]
    if bad:
        raise TransactionalError("not a plain package name: {}".format(", ".join(f"'{name}'" for name in bad)))
    return list(dict.fromkeys(names))


def select(names: t.Sequence[str], missing: t.Container[str], state: str) -> list[str]:
    """What zypper has to look at: the rpm database alone answers for the rest."""
    if state == "latest":
        return list(names)
    return [name for name in names if (name in missing) == (state == "present")]


def as_diff(changes: t.Mapping[str, t.Sequence[t.Mapping]]) -> dict:
    """The before and after of ``--diff``: one line for each package."""
    before, after = [], []
    for kind, packages in changes.items():
        for package in packages:
            line = f"{package['name']}-{package['version']}.{package['arch']}"
            if kind == "removed":
                before.append(line)
            else:
                after.append(line)
                if "old_version" in package:
                    before.append(f"{package['name']}-{package['old_version']}.{package['arch']}")
    return {"before": "".join(line + "\n" for line in sorted(before)),
            "after": "".join(line + "\n" for line in sorted(after)),
            "before_header": "packages", "after_header": "packages"}


class Packages:
    """One request: ``names`` in ``state``. ``result`` is complete after ``ensure``."""

    def __init__(self, host: Host, names: t.Sequence[str], state: str, engine: str, keep_failed: bool):
        self.names = check_names(names)
        self.state = state
        self.action = "remove" if state == "absent" else "install"
        self.warnings: list[str] = []
        self._host = host
        self._engine = choose_engine(host, engine)
        self._keep_failed = keep_failed
        # inside of a transaction the work is done there, and its end is not the business of this task
        self._inside = _resident.inside() is not None
        self._default = host.booted if self._inside else host.default()
        self.result = dict(
            {key: [] for key in zypper.SUMMARY.values()}, changed=False, engine=self._engine.name,
            base=self._default, snapshot=None, pending=self._default != host.current, reboot_suggested=False)

    def ensure(self, check_mode: bool) -> None:
        root = "/" if self._inside else self._host.root_of(self._default)
        missing = rpm.missing(root, self.names, capabilities=self.state != "absent")
        todo = select(self.names, missing, self.state)
        if not todo:
            return
        # only the solver knows whether "latest" has anything to do, and it can tell without a snapshot
        if check_mode or not missing and self.state == "latest":
            self._predict(todo, keep_cache=not check_mode)
            if check_mode or not self.result["changed"]:
                return
        self._change(todo)

    def _predict(self, names: t.Sequence[str], keep_cache: bool) -> None:
        """Ask the solver in a view of the pending snapshot that leaves no trace."""
        if self._inside:
            self._report(self._zypper(command.run, names, dry_run=True))
            return
        with read_only_view(snapper.path_of(self._default), self._host.mount_points, keep_cache) as view:
            answer = self._zypper(view.run, names, dry_run=True)
        self._report(answer)

    def _change(self, names: t.Sequence[str]) -> None:
        if self._inside:
            self._report(self._zypper(command.run, names))
            self.result.update(snapshot=self._default, pending=True)
            return
        description = f"package {self.state} {' '.join(names)}"
        with Transaction(self._engine, MODULE, description, self._keep_failed) as transaction:
            answer = self._zypper(transaction.run, names)
            self._report(answer)
            if not answer.is_empty:
                transaction.close()
        if transaction.recovered:
            numbers = ", ".join(map(str, transaction.recovered))
            self.warnings.append(f"deleted what an interrupted run had left: snapshot {numbers}")
        if self.result["changed"]:
            self.result.update(base=transaction.base, snapshot=transaction.snapshot, pending=True)

    def _zypper(self, run: t.Callable[..., command.Result], names: t.Sequence[str],
                dry_run: bool = False) -> zypper.Answer:
        result = run(zypper.argv(self.action, names, dry_run), env=zypper.ENVIRONMENT)
        answer = zypper.parse(result.stdout)
        if result.rc not in zypper.SUCCESS:
            raise TransactionalError(
                f"zypper could not {self.action} {' '.join(names)}, {zypper.explain(result.rc, answer, result.stderr)}",
                cmd=result.argv, rc=result.rc, stdout=result.stdout, stderr=result.stderr, base=self._default,
                messages=[text for _kind, text in answer.messages])
        if result.rc == zypper.REPOSITORIES_SKIPPED:
            self.warnings.append(f"zypper skipped a repository: {' / '.join(answer.text('warning', 'error'))}")
        self.result["reboot_suggested"] = answer.need_reboot or result.rc == zypper.REBOOT_NEEDED
        return answer

    def _report(self, answer: zypper.Answer) -> None:
        self.result.update(answer.changes, changed=not answer.is_empty, diff=as_diff(answer.changes))
