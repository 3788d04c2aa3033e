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
import glob
import os
import re
import shutil
import time
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils import _resident
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._files import (
    Edit,
    read,
    roots_of_etc,
    written,
)
from ansible_collections.microos.transactional.plugins.module_utils._host import Host
from ansible_collections.microos.transactional.plugins.module_utils._namespace import read_only_view
from ansible_collections.microos.transactional.plugins.module_utils._repository_files import CREDENTIALS, as_diff
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
CACHE = "/var/cache/zypp"
CACHES = ("raw", "solv", "packages")
# With other ones, what is in the cache is not what they would have let in
JUDGED_BY = LOCATIONS + ("path", "proxy", "gpgcheck", "repo_gpgcheck", "pkg_gpgcheck")
INDEX = "repomd.xml"
# All of a refresh: a server may send a byte now and then
REFRESH_SECONDS = 900
LEFT = "Its definition was left as it was before"
UNVERIFIED = re.compile(r"[Ss]ignature verification failed|signed with (?:an )?unknown key")


class Unverified(TransactionalError):
    """Metadata whose signature is of no key that is trusted and valid."""


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
        try:
            self._ensure(check_mode, renew=False)
        except Unverified as exc:
            # its owner may sign with a subkey that the trusted copy of a key does not have yet
            if not self._can_renew(exc):
                raise
            self._ensure(check_mode, renew=True)

    @property
    def _root(self) -> str:
        return "/" if self._inside else self._host.root_of(self._default)

    def _ensure(self, check_mode: bool, renew: bool) -> None:
        trusted, copies = keys.look(self._root) if self._keys else ([], {})
        todo = [key for key in self._keys if self._is_todo(key, trusted, copies, renew)]
        for key in todo:
            if key.present and key.key is None:
                key.load(copies.get(key.fingerprint))
        edits = self._edits(self._roots(self._default))
        self._report(edits, todo, trusted)
        refresh = self._params["refresh"] and self._wanted is not None and self._present
        if check_mode or not (edits or todo or refresh):
            return
        if todo and not self._inside:
            self._in_a_transaction(todo, refresh)
            return
        with self._written(edits):
            change = keys.Change(command.run, {key.fingerprint: key.key for key in todo})
            if self._inside and (todo or refresh):
                with _taken_back(change):
                    change.make()
                    change.verify()
            self._forget_cache(edits)
            self._forget_signed(todo)
            if refresh:
                self._refresh(None)
                if self._inside:
                    with _taken_back(change):
                        change.verify()

    def _can_renew(self, exc: Unverified) -> bool:
        """Whether there is a newer copy of a key where it was not fetched, as it is trusted already."""
        untouched = [key for key in self._keys if key.is_remote and key.key is None]
        copies = keys.look(self._root)[1] if untouched else {}
        try:
            return any(key.is_newer(copies[key.fingerprint]) for key in untouched if key.fingerprint in copies)
        except TransactionalError as second:
            exc.add(f"A newer key was looked for: {second}")
            return False

    def _is_todo(self, key: WantedKey, trusted: t.Sequence[t.Mapping], copies: t.Mapping, renew: bool) -> bool:
        if not key.is_done(trusted):
            return True
        copy = copies.get(key.fingerprint)
        # where a look costs nothing, or something does not work as it is
        return key.present and copy is not None and (renew or not key.is_remote) and key.is_newer(copy)

    def _in_a_transaction(self, todo: t.Sequence[WantedKey], refresh: bool) -> None:
        description = "trust " + ", ".join(key.fingerprint[-16:] for key in todo)
        with contextlib.ExitStack() as stack:
            transaction = stack.enter_context(
                Transaction(self._engine, MODULE, description, self._params["keep_failed"]))
            change = keys.Change(transaction.run, {key.fingerprint: key.key for key in todo})
            change.make()
            change.verify()
            edits = self._edits(self._roots(transaction.snapshot))
            stack.enter_context(self._written(edits))
            self._forget_cache(edits)
            self._forget_signed(todo)
            if refresh:
                self._refresh(transaction)
                # libzypp trusts other keys that a repository brings along if a trusted one signed its metadata
                change.verify()
            transaction.close()
        self.warnings += transaction.warnings
        if transaction.recovered:
            numbers = ", ".join(map(str, transaction.recovered))
            self.warnings.append(f"deleted what an interrupted run had left: snapshot {numbers}")
        self.result.update(base=transaction.base, snapshot=transaction.snapshot, pending=True)

    @contextlib.contextmanager
    def _written(self, edits: t.Sequence[Edit]) -> t.Iterator[None]:
        for edit in edits:
            if edit.path.startswith(CREDENTIALS) and edit.after:
                os.makedirs(edit.root + CREDENTIALS, mode=0o700, exist_ok=True)
        with written(edits):
            yield

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
        """What came unchecked, from another place, or of a repository that is gone must not be taken for this one."""
        alias = self._wanted.alias if self._wanted else ""
        for edit in edits:
            old, new = (zypp_files.parse(text).get(alias, {}) for text in (edit.before, edit.after))
            if any(not zypp_files.same(old.get(key), new.get(key)) for key in JUDGED_BY):
                for kind in CACHES:
                    shutil.rmtree(f"{CACHE}/{kind}/{self._wanted.cache}", ignore_errors=True)

    def _forget_signed(self, todo: t.Sequence[WantedKey]) -> None:
        """What is in the cache was checked when it came: it may be signed with a key that is trusted no more."""
        if any(not key.present for key in todo):
            for kind in CACHES[:2]:
                for place in glob.glob(f"{CACHE}/{kind}/*"):
                    shutil.rmtree(place, ignore_errors=True)

    def _refresh(self, transaction: Transaction | None) -> None:
        """In the root that has the keys; a service writes its repositories to ``/etc``, and needs none."""
        action = "refresh-services" if self._wanted.service else "refresh"
        # what is not there cannot be lent to the view, and what zypper loads would be lost with it
        os.makedirs(CACHE, exist_ok=True)
        before = self._revision()
        if transaction is not None and not self._wanted.service:
            self._judge(transaction.run, action)
        elif self._inside or self._wanted.service:
            self._judge(command.run, action)
        else:
            with read_only_view(snapper.path_of(self._default), self._host.mount_points, keep_cache=True) as view:
                self._judge(view.run, action)
        after = self._revision()
        if before is not None and after is not None and after < before:
            # their signature is good, so that libzypp takes them without a word
            self.warnings.append(
                f"the metadata of {self._wanted.alias} are older (of {_date(after)}) than those that this host had (of "
                f"{_date(before)}): the server, or somebody between, may be holding back updates")
        self.result["refreshed"] = True

    def _revision(self) -> int | None:
        """When the cached metadata were made."""
        place = os.path.join(CACHE, "raw", self._wanted.cache)
        found = [folder for folder, _folders, names in os.walk(place) if INDEX in names]
        return zypp_files.made_at(read(os.path.join(found[0], INDEX))) if len(found) == 1 else None

    def _judge(self, run: keys.Run, action: str) -> None:
        def ask(*arguments: str) -> command.Result:
            return run(["zypper", "--non-interactive", "--xmlout", *arguments], zypper.ENVIRONMENT,
                       timeout=REFRESH_SECONDS)

        try:
            result = ask(action, *self._named())
        except command.TimedOut as exc:
            exc.add(LEFT)
            raise
        answer = zypper.parse(result.stdout)
        told = [hide(text) for _kind, text in answer.messages]
        if result.rc != 0:
            kind = Unverified if UNVERIFIED.search(" ".join(told)) else TransactionalError
            raise kind(
                f"{self._wanted.alias} could not be refreshed, "
                f"{hide(zypper.explain(result.rc, answer, result.stderr))}. {LEFT}",
                cmd=result.argv, rc=result.rc, stdout=hide(result.stdout), stderr=hide(result.stderr), messages=told)
        # zypper only warns of it; and what could not be read may have been this warning
        is_expired = bool(answer.found(zypper.EXPIRED)) and not self._params["allow_insecure"]
        if answer.flaw or is_expired:
            # else the next task would take the metadata from the cache, unasked
            ask("clean", "--metadata", "--raw-metadata", *self._named())
        zypper.require_readable(answer, f"refresh {self._wanted.alias}", cmd=result.argv, rc=result.rc,
                                stdout=hide(result.stdout), stderr=hide(result.stderr))
        warnings = [hide(text) for text in answer.text("warning")]
        if is_expired:
            raise Unverified(
                f"the metadata of {self._wanted.alias} are signed with an expired key: {' / '.join(warnings)} {LEFT}. "
                "What to do: get the current key of the repository and import it",
                rc=result.rc, messages=told)
        self.warnings += warnings

    def _named(self) -> list[str]:
        # an alias that is a number, or looks like an option, is none of them
        return ["--", self._wanted.alias]


@contextlib.contextmanager
def _taken_back(change: keys.Change) -> t.Iterator[None]:
    """In somebody else's transaction a failure must not leave half a change."""
    try:
        yield
    except BaseException as exc:
        try:
            change.take_back()
        except TransactionalError as second:
            if not isinstance(exc, TransactionalError):
                raise
            exc.add(f"The trusted keys could not be put back, abort the transaction: {second}")
        raise


def _date(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def _key_lines(found: t.Mapping[str, str]) -> str:
    return "".join(f"{fingerprint} {user_id}\n" for fingerprint, user_id in sorted(found.items()))
