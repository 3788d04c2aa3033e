# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Repositories, services and trusted keys in a wanted state.

Definitions lie in ``/etc``, which can be written without a snapshot. They are edited in the running system and in the
pending snapshot alike: whatever looks at the pending one sees them, and the merge at its first boot finds them equal.
Keys lie in the rpm database, a part of the snapshot: a key that is missing in the pending one takes a transaction.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import contextlib
import shutil
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils import _resident
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._files import Edit, roots_of_etc, written
from ansible_collections.microos.transactional.plugins.module_utils._host import Host
from ansible_collections.microos.transactional.plugins.module_utils._namespace import read_only_view
from ansible_collections.microos.transactional.plugins.module_utils._repository_files import as_diff
from ansible_collections.microos.transactional.plugins.module_utils._repository_requests import Wanted, WantedKey
from ansible_collections.microos.transactional.plugins.module_utils._repository_safety import LOCATIONS, hide
from ansible_collections.microos.transactional.plugins.module_utils._tools import (
    command,
    keys,
    snapper,
    zypp_files,
    zypper,
)
from ansible_collections.microos.transactional.plugins.module_utils._transaction import Transaction, choose_engine

MODULE = "microos.transactional.repository"
CACHES = ("raw", "solv", "packages")


class Repositories:
    """One request. ``result`` is complete after ``ensure``."""

    def __init__(self, host: Host, params: t.Mapping[str, t.Any], fetch: t.Callable[[str], bytes]):
        self.warnings: list[str] = []
        self._host = host
        self._params = params
        self._present = params["state"] == "present"
        self._wanted = Wanted(params) if params["name"] is not None else None
        self._keys = [WantedKey(key, params["allow_insecure"], fetch) for key in params["keys"]]
        self._engine = choose_engine(host, params["engine"])
        self._inside = _resident.inside() is not None
        self._default = host.booted if self._inside else host.default()
        self.result: dict[str, t.Any] = {
            "changed": False, "engine": self._engine.name, "base": self._default, "snapshot": None,
            "pending": self._default != host.current, "files": [], "keys_imported": [], "keys_removed": [],
            "refreshed": False, "diff": []}

    def ensure(self, check_mode: bool) -> None:
        root = "/" if self._inside else self._host.root_of(self._default)
        trusted = keys.trusted(root) if self._keys else []
        todo = [key for key in self._keys if not key.is_done(trusted)]
        for key in todo:
            if key.present:
                key.load()
        edits = self._edits(self._roots(self._default))
        self._report(edits, todo, trusted)
        refresh = self._params["refresh"] and self._wanted is not None and self._present
        if check_mode or not (edits or todo or refresh):
            return
        if todo and not self._inside:
            self._in_a_transaction(todo, trusted, refresh)
            return
        for key in todo:
            key.apply(command.run, trusted)
        with written(edits):
            self._forget_cache(edits)
            if refresh:
                self._refresh(None)

    def _in_a_transaction(self, todo: t.Sequence[WantedKey], trusted: t.Sequence[t.Mapping], refresh: bool) -> None:
        description = "trust " + ", ".join(key.fingerprint[-16:] for key in todo)
        with contextlib.ExitStack() as stack:
            transaction = stack.enter_context(
                Transaction(self._engine, MODULE, description, self._params["keep_failed"]))
            for key in todo:
                key.apply(transaction.run, trusted)
            edits = self._edits(self._roots(transaction.snapshot))
            stack.enter_context(written(edits))
            self._forget_cache(edits)
            if refresh:
                self._refresh(transaction)
            transaction.close()
        self.warnings += transaction.warnings
        if transaction.recovered:
            numbers = ", ".join(map(str, transaction.recovered))
            self.warnings.append(f"deleted what an interrupted run had left: snapshot {numbers}")
        self.result.update(base=transaction.base, snapshot=transaction.snapshot, pending=True)

    def _roots(self, snapshot: int) -> list[str]:
        return [""] if self._inside else roots_of_etc(snapshot)

    def _edits(self, roots: t.Sequence[str]) -> list[Edit]:
        if self._wanted is None:
            return []
        return [edit for root in roots for edit in self._wanted.edits(root, self._present)]

    def _report(self, edits: t.Sequence[Edit], todo: t.Sequence[WantedKey], trusted: t.Sequence[t.Mapping]) -> None:
        shown = {}
        for edit in edits:
            shown.setdefault(edit.path, edit)
        diff = [as_diff(edit) for edit in shown.values()]
        if todo:
            before = {key["fingerprint"]: key["user_id"] for key in trusted}
            after = dict(before)
            for key in todo:
                after.pop(key.fingerprint, None)
                if key.present:
                    after[key.fingerprint] = key.user_id
            diff.append({"before": _key_lines(before), "after": _key_lines(after),
                         "before_header": "trusted keys", "after_header": "trusted keys"})
        self.result.update(
            changed=bool(edits or todo), files=sorted(shown), diff=diff,
            keys_imported=[key.fingerprint for key in todo if key.present],
            keys_removed=[key.fingerprint for key in todo if not key.present])

    def _forget_cache(self, edits: t.Sequence[Edit]) -> None:
        """What was cached of another place or of a repository that is gone must not be taken for this one."""
        alias = self._wanted.alias if self._wanted else ""
        for edit in edits:
            old, new = (zypp_files.parse(text).get(alias, {}) for text in (edit.before, edit.after))
            if any(not zypp_files.same(old.get(key), new.get(key)) for key in LOCATIONS):
                for kind in CACHES:
                    shutil.rmtree(f"/var/cache/zypp/{kind}/{alias}", ignore_errors=True)

    def _refresh(self, transaction: Transaction | None) -> None:
        """In the root that has the keys; a service writes its repositories to ``/etc``, and needs none."""
        action = "refresh-services" if self._wanted.service else "refresh"
        argv = ["zypper", "--non-interactive", "--xmlout", action, self._wanted.alias]
        if transaction is not None and not self._wanted.service:
            result = transaction.run(argv, zypper.ENVIRONMENT)
        elif self._inside or self._wanted.service:
            result = command.run(argv, zypper.ENVIRONMENT)
        else:
            with read_only_view(snapper.path_of(self._default), self._host.mount_points, keep_cache=True) as view:
                result = view.run(argv, zypper.ENVIRONMENT)
        if result.rc != 0:
            answer = zypper.parse(result.stdout)
            stdout, stderr = hide(result.stdout), hide(result.stderr)
            raise TransactionalError(
                f"{self._wanted.alias} could not be refreshed, "
                f"{hide(zypper.explain(result.rc, answer, result.stderr))}. Its definition was left as it was before",
                cmd=result.argv, rc=result.rc, stdout=stdout, stderr=stderr,
                messages=[hide(text) for _kind, text in answer.messages])
        self.result["refreshed"] = True


def _key_lines(found: t.Mapping[str, str]) -> str:
    return "".join(f"{fingerprint} {user_id}\n" for fingerprint, user_id in sorted(found.items()))
