# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bring packages into a wanted state, in one snapshot.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import time
import typing as t
import uuid

from ansible_collections.microos.transactional.plugins.module_utils import (
    _package_requests,
    _processes,
    _resident,
)
from ansible_collections.microos.transactional.plugins.module_utils._errors import Busy, TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._host import Host
from ansible_collections.microos.transactional.plugins.module_utils._namespace import read_only_view
from ansible_collections.microos.transactional.plugins.module_utils._package_requests import FILE, SOLVER_ONLY, URL
from ansible_collections.microos.transactional.plugins.module_utils._package_state import removable, unmet
from ansible_collections.microos.transactional.plugins.module_utils._tools import command, rpm, snapper, zypper
from ansible_collections.microos.transactional.plugins.module_utils._transaction import Transaction, choose_engine

MODULE = "microos.transactional.package"
# Seen inside of a transaction and no part of a snapshot
STAGE = "/var/cache/microos-transactional"
INSTALL_OPTIONS = {
    "allow_downgrade": "--oldpackage",
    "allow_vendor_change": "--allow-vendor-change",
    "replace_files": "--replacefiles",
    "auto_agree_with_licenses": "--auto-agree-with-licenses",
    "force": "--force",
    "force_resolution": "--force-resolution",
}
Run = t.Callable[..., command.Result]


def install_options(options: t.Mapping[str, t.Any]) -> list[str]:
    """The options of ``zypper install``; ``recommends`` None leaves it to the configuration of the host."""
    recommends = {True: ["--recommends"], False: ["--no-recommends"], None: []}[options.get("recommends")]
    return recommends + [option for name, option in INSTALL_OPTIONS.items() if options.get(name)]


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
    """One request: ``names`` in ``state``, ``optional`` names only if there are such packages.

    ``options`` are those of the module. ``result`` is complete after ``ensure``.
    """

    def __init__(self, host: Host, names: t.Sequence[str], state: str, options: t.Mapping[str, t.Any],
                 optional: t.Sequence[str] = ()):
        remove = state == "absent"
        kind = options.get("type") or _package_requests.PACKAGE
        self.optional = _package_requests.parse_all(optional, kind, remove)
        named = _package_requests.parse_all(names, kind, remove)
        self.requests = named + [request for request in self.optional if request not in named]
        self.optional = [request for request in self.optional if request not in named]
        self.state = state
        self.action = "remove" if remove else "install"
        self.warnings: list[str] = []
        self._options = dict(options)
        # whoever names a version means it
        self._options["allow_downgrade"] = options.get("allow_downgrade") or any(
            request.operator for request in self.requests)
        self._host = host
        self._engine = choose_engine(host, options.get("engine", "auto"))
        # inside of a transaction the work is done there, and its end is not the business of this task
        self._inside = _resident.inside() is not None
        self._default = host.booted if self._inside else host.default()
        self._labels: dict[str, str] = {}
        self._staged: dict[str, str] = {}
        self.result = dict(
            {key: [] for key in zypper.SUMMARY.values()}, changed=False, engine=self._engine.name,
            base=self._default, snapshot=None, pending=self._default != host.current, reboot_suggested=False,
            download_size=0, size_difference=0, skipped_names=[])

    # --- what has to be done ----------------------------------------------------------------------------------------

    def ensure(self, check_mode: bool) -> None:
        root = "/" if self._inside else self._host.root_of(self._default)
        if self._options.get("update_cache") and not check_mode:
            self._wait_for_libzypp()
            self._refresh()
        self._labels = {request.name: rpm.label_of_file(request.name)
                        for request in self.requests if request.kind == FILE}
        todo = self._todo(root, self.requests)
        if not todo:
            return
        if not check_mode:
            self._wait_for_libzypp()
        with self._stage(todo):
            todo = self._without_unknown(root, todo)
            todo = self._without_locked(root, todo)
            if not todo:
                return
            # the solver can tell without a snapshot whether there is anything to do where rpm cannot
            if check_mode or all(self._solver_decides(root, request) for request in todo):
                self._predict(root, todo, keep_cache=not check_mode)
                if check_mode or not self.result["changed"]:
                    return
            self._change(todo)

    def _todo(self, root: str, requests: t.Sequence[_package_requests.Request]) -> list[_package_requests.Request]:
        """The requests that rpm does not know to be fulfilled."""
        wanted = [request for request in requests if not request.remove]
        unwanted = [request for request in requests if request.remove]
        todo = wanted if self.state == "latest" else unmet(root, wanted, self._labels) if wanted else []
        there = set(removable(root, unwanted).values()) if unwanted else set()
        return [request for request in requests if request in todo or request in there]

    def _solver_decides(self, root: str, request: _package_requests.Request) -> bool:
        if request.remove:
            return False
        return request.kind in (*SOLVER_ONLY, URL) or (
            self.state == "latest" and not unmet(root, [request], self._labels))

    def _without_unknown(self, root: str, todo: list) -> list:
        """Leave out the optional names that the repositories do not have."""
        doubtful = [request for request in unmet(root, self.optional, self._labels)
                    if request in todo and not request.remove] if self.optional else []
        if not doubtful:
            return todo
        with self._view(keep_cache=False) as run:
            told = run(zypper.argv("install", self._arguments(root, doubtful), True,
                                   global_options=["--ignore-unknown"]), env=zypper.ENVIRONMENT)
        unknown = {"".join(name.split()) for name in zypper.parse(told.stdout).found(zypper.UNKNOWN)}
        gone = [request for request in doubtful if request.argument in unknown or request.name in unknown]
        self.result["skipped_names"] = [request.text for request in gone]
        return [request for request in todo if request not in gone]

    def _without_locked(self, root: str, todo: list) -> list:
        """An installed package with a lock has its latest version: that which it is locked at."""
        if self.state != "latest":
            return todo
        locks = zypper.locked_names(root)
        held = [request for request in todo if not request.remove and not request.operator and request.name in locks
                and not unmet(root, [request], self._labels)]
        self.warnings += [f"{request.name} is locked ('zypper locks') and stays as it is" for request in held]
        return [request for request in todo if request not in held]

    # --- how it is done ---------------------------------------------------------------------------------------------

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

    @contextlib.contextmanager
    def _stage(self, todo: t.Sequence[_package_requests.Request]) -> t.Iterator[None]:
        """Copies of RPM files where they are seen inside."""
        paths = [request.name for request in todo if request.kind == FILE]
        if self._inside or not paths:
            yield
            return
        directory = f"{STAGE}/{uuid.uuid4()}"
        try:
            for path in paths:
                self._staged[path] = f"{directory}/{len(self._staged)}/{os.path.basename(path)}"
                os.makedirs(os.path.dirname(self._staged[path]), mode=0o700)
                shutil.copyfile(path, self._staged[path])
            yield
        except OSError as exc:
            raise TransactionalError(f"cannot read {exc.filename}: {exc.strerror}") from exc
        finally:
            shutil.rmtree(directory, ignore_errors=True)
            with contextlib.suppress(OSError):
                os.rmdir(STAGE)

    def _arguments(self, root: str, todo: t.Sequence[_package_requests.Request]) -> list[str]:
        """What zypper is told to install, and to remove: the packages themselves, with a sign in an installation."""
        sign = "" if self.action == "remove" else "-"
        gone = removable(root, [request for request in todo if request.remove])
        return [self._staged.get(request.name, request.argument) for request in todo if not request.remove] + [
            sign + name for name in gone]

    def _refresh(self) -> None:
        with self._view(keep_cache=True) as run:
            result = run(zypper.refresh_argv(self._global_options()), env=zypper.ENVIRONMENT)
            answer = zypper.parse(result.stdout)
            self._refuse_expired(run, result, answer)
        if result.rc == zypper.REPOSITORIES_SKIPPED:
            self._warn_of_skipped(answer)
        elif result.rc != 0:
            self._fail("refresh", result, answer)

    def _predict(self, root: str, todo: t.Sequence[_package_requests.Request], keep_cache: bool) -> None:
        """Ask the solver in a view of the pending snapshot that leaves no trace."""
        with self._view(keep_cache) as run:
            answer = self._zypper(run, root, todo, dry_run=True)
        if answer.is_empty:
            self._refuse_unmet(root, todo, answer)
        self._report(answer)

    def _change(self, todo: t.Sequence[_package_requests.Request]) -> None:
        if self._inside:
            answer = self._zypper(command.run, "/", todo)
            self._refuse_unmet("/", todo, answer)
            self._report(answer)
            self.result.update(snapshot=self._default if self.result["changed"] else None, pending=True)
            return
        description = f"package {self.state} {' '.join(request.text for request in todo)}"
        with Transaction(self._engine, MODULE, description, self._options.get("keep_failed", False)) as transaction:
            root = snapper.path_of(transaction.snapshot)
            answer = self._zypper(transaction.run, root, todo)
            self._refuse_unmet(root, todo, answer)
            self._report(answer)
            if not answer.is_empty:
                transaction.close()
        if transaction.recovered:
            numbers = ", ".join(map(str, transaction.recovered))
            self.warnings.append(f"deleted what an interrupted run had left: snapshot {numbers}")
        if self.result["changed"]:
            self.result.update(base=transaction.base, snapshot=transaction.snapshot, pending=True)

    def _global_options(self) -> list[str]:
        options = shlex.split(self._options.get("extra_args_precommand") or "")
        return options + (["--no-gpg-checks"] if self._options.get("allow_untrusted") else [])

    def _zypper(self, run: Run, root: str, todo: t.Sequence[_package_requests.Request],
                dry_run: bool = False) -> zypper.Answer:
        options = install_options(self._options) if self.action == "install" else (
            ["--clean-deps"] if self._options.get("clean_deps") else [])
        argv = zypper.argv(self.action, self._arguments(root, todo), dry_run,
                           options + shlex.split(self._options.get("extra_args") or ""), self._global_options())
        result = run(argv, env=zypper.ENVIRONMENT)
        answer = zypper.parse(result.stdout)
        if result.rc == zypper.AGAIN and not dry_run:
            # the new zypper goes on where the old one stopped
            result = run(argv, env=zypper.ENVIRONMENT)
            answer = zypper.merge(answer, zypper.parse(result.stdout))
        self._judge(run, result, answer)
        self.result["reboot_suggested"] = answer.need_reboot or result.rc == zypper.REBOOT_NEEDED
        return answer

    # --- what came of it --------------------------------------------------------------------------------------------

    def _judge(self, run: Run, result: command.Result, answer: zypper.Answer) -> None:
        if result.rc == zypper.SCRIPTLET_FAILED and self._options.get("skip_post_errors"):
            self.warnings.append(f"a scriptlet failed: {' / '.join(answer.text('warning', 'error', 'output'))}")
        elif result.rc not in zypper.SUCCESS:
            self._fail(self.action, result, answer)
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

    def _fail(self, action: str, result: command.Result, answer: zypper.Answer) -> t.NoReturn:
        names = "" if action == "refresh" else " " + " ".join(request.text for request in self.requests)
        raise TransactionalError(
            f"zypper could not {action}{names}, {zypper.explain(result.rc, answer, result.stderr)}",
            cmd=result.argv, rc=result.rc, stdout=result.stdout, stderr=result.stderr, base=self._default,
            messages=[text for _kind, text in answer.messages], problems=answer.problems)

    def _refuse_unmet(self, root: str, todo: t.Sequence[_package_requests.Request], answer: zypper.Answer) -> None:
        """zypper also ends well where it did not do what was asked; rpm has the last word."""
        known = [request for request in todo if request.kind not in (*SOLVER_ONLY, URL)]
        left = [request for request in known if request.remove and removable(root, [request])]
        left += unmet(root, [request for request in known if not request.remove], self._labels)
        if left:
            said = answer.found(zypper.TOO_OLD) or [text for _kind, text in answer.messages]
            advice = "What to do: set allow_downgrade: true" if answer.found(zypper.TOO_OLD) else "See the messages"
            raise TransactionalError(
                f"zypper reported success, but did not {self.action} {', '.join(item.text for item in left)}: "
                f"{' / '.join(said).rstrip('.')}. {advice}",
                messages=[text for _kind, text in answer.messages], base=self._default)

    def _report(self, answer: zypper.Answer) -> None:
        self.result.update(answer.changes, changed=not answer.is_empty, diff=as_diff(answer.changes),
                           download_size=answer.download_size or 0, size_difference=answer.size_difference or 0)
