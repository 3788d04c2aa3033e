# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Let zypper work on the pending snapshot: where it runs, what it says, and what that means for the result.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import time
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils import _processes, _resident
from ansible_collections.microos.transactional.plugins.module_utils._errors import Busy, TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._host import Host
from ansible_collections.microos.transactional.plugins.module_utils._namespace import read_only_view
from ansible_collections.microos.transactional.plugins.module_utils._tools import command, snapper, zypper
from ansible_collections.microos.transactional.plugins.module_utils._transaction import Transaction, choose_engine

Run = t.Callable[..., command.Result]


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


class ZypperWork:
    """The work of one task. ``options`` are those of its module; ``result`` is complete when it is done."""

    module = ""

    def __init__(self, host: Host, options: t.Mapping[str, t.Any]):
        self.warnings: list[str] = []
        self._options = dict(options)
        self._host = host
        self._engine = choose_engine(host, options.get("engine", "auto"))
        # inside of a transaction the work is done there, and its end is not the business of this task
        self._inside = _resident.inside() is not None
        self._default = host.booted if self._inside else host.default()
        self.result = dict(
            {key: [] for key in zypper.SUMMARY.values()}, changed=False, engine=self._engine.name,
            base=self._default, snapshot=None, pending=self._default != host.current, reboot_suggested=False,
            download_size=0, size_difference=0)

    def _wait_for_libzypp(self) -> None:
        """Whoever works with libzypp on the host writes to the same cache; zypper itself would not see that inside."""
        deadline = time.monotonic() + float(os.environ.get("ZYPP_LOCK_TIMEOUT") or 0)
        while not self._inside:
            holder = zypper.lock_holder()
            if holder is None:
                return
            if time.monotonic() > deadline:
                raise Busy(f"zypp is locked by {_processes.describe(holder)}", pid=holder)
            time.sleep(0.1)

    @contextlib.contextmanager
    def _view(self, keep_cache: bool) -> t.Iterator[Run]:
        """A way to run commands on the pending snapshot that leave no trace in it."""
        if self._inside:
            yield command.run
            return
        with read_only_view(snapper.path_of(self._default), self._host.mount_points, keep_cache) as view:
            yield view.run

    def _refresh(self) -> None:
        with self._view(keep_cache=True) as run:
            result = run(zypper.refresh_argv(self._global_options()), env=zypper.ENVIRONMENT)
            answer = zypper.parse(result.stdout)
            self._refuse_expired(run, result, answer)
        if result.rc == zypper.REPOSITORIES_SKIPPED:
            self._warn_of_skipped(answer)
        elif result.rc != 0:
            self._fail("refresh", result, answer)

    def _transact(self, description: str, work: t.Callable[[Run, str], zypper.Answer]) -> None:
        """Do ``work``, given a way to run commands and the root, in a new snapshot; it stays if anything changed."""
        if self._inside:
            self._report(work(command.run, "/"))
            self.result.update(snapshot=self._default if self.result["changed"] else None, pending=True)
            return
        keep_failed = self._options.get("keep_failed", False)
        with Transaction(self._engine, self.module, description, keep_failed) as transaction:
            answer = work(transaction.run, snapper.path_of(transaction.snapshot))
            self._report(answer)
            if not answer.is_empty:
                transaction.close()
        self.warnings += transaction.warnings
        if transaction.recovered:
            numbers = ", ".join(map(str, transaction.recovered))
            self.warnings.append(f"deleted what an interrupted run had left: snapshot {numbers}")
        if self.result["changed"]:
            self.result.update(base=transaction.base, snapshot=transaction.snapshot, pending=True)

    def _global_options(self) -> list[str]:
        options = shlex.split(self._options.get("extra_args_precommand") or "")
        return options + (["--no-gpg-checks"] if self._options.get("allow_untrusted") else [])

    def _ask(self, run: Run, argv: t.Sequence[str], what: str, dry_run: bool = False) -> zypper.Answer:
        """Run zypper to do ``what``, and judge what came of it."""
        result = run(argv, env=zypper.ENVIRONMENT)
        answer = zypper.parse(result.stdout)
        if result.rc == zypper.AGAIN and not dry_run:
            # the new zypper goes on where the old one stopped
            result = run(argv, env=zypper.ENVIRONMENT)
            answer = zypper.merge(answer, zypper.parse(result.stdout))
        self._judge(run, result, answer, what)
        self.result["reboot_suggested"] = answer.need_reboot or result.rc == zypper.REBOOT_NEEDED
        return answer

    def _judge(self, run: Run, result: command.Result, answer: zypper.Answer, what: str) -> None:
        if result.rc == zypper.SCRIPTLET_FAILED and self._options.get("skip_post_errors"):
            self.warnings.append(f"a scriptlet failed: {' / '.join(answer.text('warning', 'error', 'output'))}")
        elif result.rc not in zypper.SUCCESS:
            self._fail(what, result, answer)
        self._refuse_expired(run, result, answer)
        if result.rc == zypper.REPOSITORIES_SKIPPED:
            self._warn_of_skipped(answer)
        self.warnings += answer.found(zypper.OTHER_VENDOR)

    def _refuse_expired(self, run: Run, result: command.Result, answer: zypper.Answer) -> None:
        """zypper only warns of an expired key."""
        if answer.found(zypper.EXPIRED) and not self._options.get("allow_untrusted"):
            # else the next run would take the metadata from the cache, unasked
            run(zypper.forget_argv(), env=zypper.ENVIRONMENT)
            raise TransactionalError(
                f"zypper would take metadata that is signed with an expired key: {' / '.join(answer.text('warning'))} "
                "What to do: get the new key of the repository and import it, or remove the repository",
                rc=result.rc, messages=[text for _kind, text in answer.messages], base=self._default)

    def _warn_of_skipped(self, answer: zypper.Answer) -> None:
        self.warnings.append(f"zypper skipped a repository: {' / '.join(answer.text('warning', 'error'))}")

    def _fail(self, what: str, result: command.Result, answer: zypper.Answer) -> t.NoReturn:
        raise TransactionalError(
            f"zypper could not {what}, {zypper.explain(result.rc, answer, result.stderr)}",
            cmd=result.argv, rc=result.rc, stdout=result.stdout, stderr=result.stderr, base=self._default,
            messages=[text for _kind, text in answer.messages], problems=answer.problems)

    def _report(self, answer: zypper.Answer) -> None:
        self.result.update(answer.changes, changed=not answer.is_empty, diff=as_diff(answer.changes),
                           download_size=answer.download_size or 0, size_difference=answer.size_difference or 0)
