# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Let zypper work on the pending snapshot: where it runs, what it says, and what that means for the result.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import contextlib
import glob
import os
import shlex
import time
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils import _key_file, _processes, _resident
from ansible_collections.microos.transactional.plugins.module_utils._errors import Busy, TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._host import Host
from ansible_collections.microos.transactional.plugins.module_utils._namespace import read_only_view
from ansible_collections.microos.transactional.plugins.module_utils._package_files import Workspace, private_cache
from ansible_collections.microos.transactional.plugins.module_utils._package_requests import secrets_in, without_queries
from ansible_collections.microos.transactional.plugins.module_utils._tools import (
    command,
    keys,
    openpgp,
    snapper,
    zypper,
)
from ansible_collections.microos.transactional.plugins.module_utils._transaction import Transaction, choose_engine

Run = t.Callable[..., command.Result]

# Seconds for all that zypper does in one task: an update of everything over a slow network takes its time
TIMEOUT = 3600
# A new zypper may find a still newer one, but not for ever
REPEATS = 3
# Options of zypper, which takes them abbreviated
UNCHECKED, IMPORTING = "--no-gpg-checks", "--gpg-auto-import-keys"
PACKAGED_KEYS = "/usr/lib/rpm/gnupg/keys"


def words(options: str | None, name: str) -> list[str]:
    """What a task has as further options, as a shell would read it."""
    try:
        found = shlex.split(options or "")
    except ValueError as exc:
        raise TransactionalError(f"{name} cannot be read as a shell would: {exc}") from exc
    if secrets_in(found, logins_only=True):
        raise TransactionalError(f"{name} has a user name or password in an address, which everybody could read; "
                                 "define the repository with microos.transactional.repository")
    return found


def has_option(found: t.Iterable[str], option: str) -> bool:
    """Whether a long option is among others, perhaps abbreviated."""
    return any(len(word) > len("--n") and option.startswith(word.partition("=")[0]) for word in found)


def packaged_keys(root: str) -> list[openpgp.Certificate]:
    """What lies below ``root`` where libzypp takes the keys of a distribution from."""
    found: list[openpgp.Certificate] = []
    for path in sorted(glob.glob(f"{glob.escape(root)}{PACKAGED_KEYS}/*")):
        with contextlib.suppress(OSError, TransactionalError, openpgp.Damaged):
            found += openpgp.read(_key_file.read_file(path)).certificates
    return found


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
        timeout = self._options.get("timeout")
        self._timeout = self._seconds_left = float(TIMEOUT if timeout is None else timeout)
        if self._timeout <= 0:
            raise TransactionalError(f"timeout is {timeout}, but zypper needs some seconds")
        self._workspace = Workspace()
        self._private_cache = ""
        self._more_global_options = words(self._options.get("extra_args_precommand"), "extra_args_precommand")
        if has_option(self._more_global_options, IMPORTING):
            raise TransactionalError(f"{IMPORTING} would trust any key; import the right one by its fingerprint with "
                                     "microos.transactional.repository")
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
        deadline = time.monotonic() + self._patience()
        while not self._inside:
            holder = zypper.lock_holder()
            if holder is None:
                return
            if time.monotonic() > deadline:
                raise Busy(f"zypp is locked by {_processes.describe(holder)}", pid=holder)
            time.sleep(0.1)

    def _patience(self) -> float:
        """Seconds to wait for others, as libzypp reads them: less than none is without end."""
        try:
            seconds = int(os.environ.get("ZYPP_LOCK_TIMEOUT") or 0)
        except ValueError:
            return 0
        return min(seconds, self._timeout) if seconds >= 0 else self._timeout

    @contextlib.contextmanager
    def _view(self, keep_cache: bool) -> t.Iterator[Run]:
        """A way to run commands on the pending snapshot that leave no trace in it."""
        self._global_options()  # a cache that is made later would not be seen in the view
        if self._inside:
            yield command.run
            return
        with read_only_view(snapper.path_of(self._default), self._host.mount_points, keep_cache) as view:
            yield view.run

    def _refresh(self) -> None:
        what = "refresh the repositories"
        with self._view(keep_cache=True) as run:
            result, answer = self._run(run, zypper.refresh_argv(self._global_options()), what)
            self._refuse_expired(run, result, answer)
        if result.rc == zypper.REPOSITORIES_SKIPPED:
            self._warn_of_skipped(answer)
        elif result.rc != 0:
            self._fail(what, result, answer)
        zypper.require_readable(answer, what, **self._details(result, answer))
        self._pass_on_warnings(answer)

    def _transact(self, description: str, work: t.Callable[[Run, str], zypper.Answer]) -> None:
        """Do ``work``, given a way to run commands and the root, in a new snapshot; it stays if anything changed."""
        if self._inside:
            with self._same_keys(command.run, "/"):
                answer = work(command.run, "/")
            self._report(answer)
            self.result.update(snapshot=self._default if self.result["changed"] else None, pending=True)
            return
        keep_failed = self._options.get("keep_failed", False)
        with Transaction(self._engine, self.module, description, keep_failed) as transaction:
            root = snapper.path_of(transaction.snapshot)
            with self._same_keys(transaction.run, root):
                answer = work(transaction.run, root)
            self._report(answer)
            if not answer.is_empty:
                transaction.close()
        self.warnings += transaction.warnings
        if transaction.recovered:
            numbers = ", ".join(map(str, transaction.recovered))
            self.warnings.append(f"deleted what an interrupted run had left: snapshot {numbers}")
        if transaction.ended:
            self.warnings.append("ended what the scriptlets of the packages had left running: "
                                 + zypper.shortened("; ".join(transaction.ended)))
        if self.result["changed"]:
            self.result.update(base=transaction.base, snapshot=transaction.snapshot, pending=True)

    @contextlib.contextmanager
    def _same_keys(self, run: Run, root: str) -> t.Iterator[None]:
        """A context after which rpm trusts no key that it did not trust before.

        libzypp trusts keys that signed metadata name, and a scriptlet may import some. What a package brings to the
        place from which libzypp takes the keys of a distribution is vouched for by that package's own signature.
        """
        change = keys.Change(run, {})
        change.make()
        yield
        gained = change.gained() and change.gained(packaged_keys(root))
        if not gained:
            return
        if self._inside:
            change.take_back()
        raise TransactionalError(
            f"while zypper was at work, rpm came to trust {', '.join(gained)}, which nobody has asked for; a "
            "repository or a scriptlet brought it along. What to do: if it is right, import it by its fingerprint with "
            "microos.transactional.repository first", keys=gained, base=self._default)

    # --- zypper ------------------------------------------------------------------------------------------------------

    def _is_unchecked(self) -> bool:
        """Whether zypper is told to do without signatures."""
        return has_option(self._more_global_options, UNCHECKED)

    def _global_options(self) -> list[str]:
        if not self._is_unchecked():
            return self._more_global_options
        # what nobody has checked must not be in the cache that later runs trust, whatever becomes of this one
        self._private_cache = self._private_cache or private_cache(self._workspace)
        return [*self._more_global_options, "--cache-dir", self._private_cache, UNCHECKED]

    def _run(self, run: Run, argv: t.Sequence[str], what: str) -> tuple[command.Result, zypper.Answer]:
        """Run zypper as long as the time of the task lasts."""
        reader = zypper.Reader()
        begin = time.monotonic()
        try:
            if self._seconds_left <= 0:
                self._time_is_over(what, "was not started")
            result = run(argv, env=zypper.ENVIRONMENT, timeout=self._seconds_left, consume=reader.feed)
        except command.TimedOut as exc:
            said = [text for _kind, text in reader.answer().messages[-2:]]
            fate = "was killed, but does not end, as it waits for something in the kernel" if (
                "does not end" in exc.message) else "was ended"
            if said:
                fate += f"; the last that it said: {self._hidden(' / '.join(said)).rstrip('.')}"
            self._time_is_over(what, fate)
        finally:
            self._seconds_left -= time.monotonic() - begin
        if result.lingered:
            self._warn("a process that zypper had started kept its output open, and was ended")
        return result, reader.answer()

    def _time_is_over(self, what: str, fate: str) -> t.NoReturn:
        raise TransactionalError(
            f"zypper did not {what} in time and {fate}. All its work in one task may take {self._timeout:g} s: find "
            "out what holds it up, or set the option timeout for a slow network or a large update",
            timeout=self._timeout, base=self._default)

    def _ask(self, run: Run, argv: t.Sequence[str], what: str, dry_run: bool = False) -> zypper.Answer:
        """Run zypper to do ``what``, and judge what came of it."""
        answer: zypper.Answer | None = None
        for _repeat in range(REPEATS):
            result, said = self._run(run, argv, what)
            self._judge(run, result, said, what)
            answer = zypper.merge(answer, said) if answer else said
            # else the new zypper goes on where the old one stopped
            if dry_run or result.rc != zypper.AGAIN:
                break
        else:
            raise TransactionalError(
                f"zypper was to {what}, and asked {REPEATS} times to be run again (exit code {result.rc}), which "
                "cannot be right. What to do: see its messages and /var/log/zypper.log",
                **self._details(result, answer))
        self.result["reboot_suggested"] = answer.need_reboot or result.rc == zypper.REBOOT_NEEDED
        return answer

    def _judge(self, run: Run, result: command.Result, answer: zypper.Answer, what: str) -> None:
        is_success = result.rc in zypper.SUCCESS
        if not is_success and result.rc != zypper.SCRIPTLET_FAILED:
            self._fail(what, result, answer)
        zypper.require_readable(answer, what, **self._details(result, answer))
        if not answer.is_decided:
            flawed = answer._replace(flaw="neither what it did nor that there was nothing to do")
            zypper.require_readable(flawed, what, **self._details(result, answer))
        if not is_success or answer.failed_scriptlets:
            self._judge_scriptlets(result, answer, what)
        self._refuse_expired(run, result, answer)
        if result.rc == zypper.REPOSITORIES_SKIPPED:
            self._warn_of_skipped(answer)
        self._pass_on_warnings(answer)

    def _judge_scriptlets(self, result: command.Result, answer: zypper.Answer, what: str) -> None:
        """zypper itself misses most of those that fail behind an output without an end of line, or in Lua."""
        said = answer.text("warning", "error", "output")
        if self._options.get("skip_post_errors"):
            self._warn(f"a scriptlet failed: {' / '.join(answer.failed_scriptlets or said)}")
        elif result.rc == zypper.SCRIPTLET_FAILED:
            self._fail(what, result, answer)
        else:
            raise TransactionalError(
                f"a scriptlet of a package failed, though zypper ended with exit code {result.rc}: "
                f"{self._hidden(' / '.join([*answer.failed_scriptlets, *said]))}. "
                f"What to do: {zypper.FAILURES[zypper.SCRIPTLET_FAILED][1]}", **self._details(result, answer))

    def _refuse_expired(self, run: Run, result: command.Result, answer: zypper.Answer) -> None:
        """zypper only warns of an expired key."""
        if not answer.found(zypper.EXPIRED, "warning", "error", "info") or self._is_unchecked() or (
                self._options.get("allow_untrusted")):
            return
        # else the next run would take the metadata from the cache, unasked
        forgotten = run(zypper.forget_argv(), env=zypper.ENVIRONMENT, timeout=command.CHANGE_SECONDS)
        more = "" if forgotten.rc == 0 else (
            " Its metadata could not be taken from the cache again: run 'zypper clean --all' before anything else.")
        raise TransactionalError(
            "zypper would take metadata that is signed with an expired key: "
            f"{self._hidden(' / '.join(answer.text('warning')))} "
            f"What to do: get the new key of the repository and import it, or remove the repository.{more}",
            **self._details(result, answer))

    def _warn(self, warning: str) -> None:
        """Once, as the solver may say it before, too."""
        warning = self._hidden(warning)
        if warning not in self.warnings:
            self.warnings.append(warning)

    def _warn_of_skipped(self, answer: zypper.Answer) -> None:
        self._warn(f"zypper skipped a repository: {' / '.join(answer.text('warning', 'error'))}")

    def _pass_on_warnings(self, answer: zypper.Answer) -> None:
        for warning in answer.found(zypper.OTHER_VENDOR) + answer.found(zypper.NOTABLE, "warning", "error", "info"):
            self._warn(" ".join(warning.split()))

    def _fail(self, what: str, result: command.Result, answer: zypper.Answer) -> t.NoReturn:
        flaw = f" Not all that it said could be read: {answer.flaw}." if answer.flaw else ""
        raise TransactionalError(
            self._hidden(f"zypper could not {what}, {zypper.explain(result.rc, answer, result.stderr)}.{flaw}"),
            **self._details(result, answer))

    def _details(self, result: command.Result, answer: zypper.Answer) -> dict[str, t.Any]:
        """What a failure has besides the sentence; the XML is none of it."""
        problems = [{"problem": self._hidden(row["problem"]),
                     "solutions": [self._hidden(solution) for solution in row["solutions"]]} for row in answer.problems]
        return {"cmd": [self._hidden(word) for word in result.argv], "rc": result.rc, "base": self._default,
                "messages": self._messages(answer), "problems": problems}

    @staticmethod
    def _messages(answer: zypper.Answer) -> list[str]:
        return [without_queries(text) for _kind, text in answer.messages]

    @staticmethod
    def _hidden(text: str) -> str:
        """As much of a text as people read, without what they may not."""
        return zypper.shortened(without_queries(text))

    def _report(self, answer: zypper.Answer) -> None:
        self.result.update(answer.changes, changed=not answer.is_empty, diff=as_diff(answer.changes),
                           download_size=answer.download_size or 0, size_difference=answer.size_difference or 0)
