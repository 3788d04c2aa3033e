# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bring packages into a wanted state, in one snapshot.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils import _package_requests
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._host import Host
from ansible_collections.microos.transactional.plugins.module_utils._package_files import PackageFile, forget_files
from ansible_collections.microos.transactional.plugins.module_utils._package_requests import FILE, SOLVER_ONLY, URL
from ansible_collections.microos.transactional.plugins.module_utils._package_state import removable, unmet
from ansible_collections.microos.transactional.plugins.module_utils._tools import zypper
from ansible_collections.microos.transactional.plugins.module_utils._zypper_work import Run, ZypperWork, words

UNSIGNED_FILES = "--allow-unsigned-rpm"
INSTALL_OPTIONS = {
    "allow_downgrade": "--oldpackage",
    "allow_vendor_change": "--allow-vendor-change",
    "replace_files": "--replacefiles",
    "auto_agree_with_licenses": "--auto-agree-with-licenses",
    "force": "--force",
    "force_resolution": "--force-resolution",
}


def install_options(options: t.Mapping[str, t.Any]) -> list[str]:
    """The options of ``zypper install``; ``recommends`` None leaves it to the configuration of the host."""
    recommends = {True: ["--recommends"], False: ["--no-recommends"], None: []}[options.get("recommends")]
    return recommends + [option for name, option in INSTALL_OPTIONS.items() if options.get(name)]


class Packages(ZypperWork):
    """One request: ``names`` in ``state``, ``optional`` names only if there are such packages.

    ``options`` are those of the module. ``result`` is complete after ``ensure``.
    """

    module = "microos.transactional.package"

    def __init__(self, host: Host, names: t.Sequence[str], state: str, options: t.Mapping[str, t.Any],
                 optional: t.Sequence[str] = ()):
        super().__init__(host, options)
        remove = state == "absent"
        kind = options.get("type") or _package_requests.PACKAGE
        self.optional = _package_requests.parse_all(optional, kind, remove)
        named = _package_requests.parse_all(names, kind, remove)
        self.requests = named + [request for request in self.optional if request not in named]
        self.optional = [request for request in self.optional if request not in named]
        _package_requests.refuse_contradictions(self.requests)
        self._more_options = words(options.get("extra_args"), "extra_args")
        self.state = state
        self.action = "remove" if remove else "install"
        # whoever names a version means it
        self._options["allow_downgrade"] = options.get("allow_downgrade") or any(
            request.operator for request in self.requests)
        self._files: dict[str, PackageFile] = {}
        self._labels: dict[str, str] = {}
        self._judged: bool | None = None
        self._staged: dict[str, str] = {}
        self.result["skipped_names"] = []

    # --- what has to be done ----------------------------------------------------------------------------------------

    def ensure(self, check_mode: bool) -> None:
        with contextlib.ExitStack() as stack:
            for request in self.requests:
                if request.kind == FILE:
                    self._files[request.name] = stack.enter_context(PackageFile(request.name))
            self._labels = {path: file.label for path, file in self._files.items()}
            stack.enter_context(self._workspace)
            self._ensure("/" if self._inside else self._host.root_of(self._default), check_mode)

    def _ensure(self, root: str, check_mode: bool) -> None:
        if self._options.get("update_cache") and not check_mode:
            self._wait_for_libzypp()
            self._refresh()
        todo = self._todo(root, self.requests)
        if not todo:
            return
        if not check_mode:
            self._wait_for_libzypp()
        self._stage(todo)
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
            argv = zypper.argv("install", self._arguments(root, doubtful), True,
                               global_options=[*self._global_options(), "--ignore-unknown"])
            result, answer = self._run(run, argv, "look for the optional names")
        if result.rc in zypper.SUCCESS:
            zypper.require_readable(answer, "look for the optional names", **self._details(result, answer))
        unknown = {"".join(name.split()) for name in answer.found(zypper.UNKNOWN)}
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

    def _stage(self, todo: t.Sequence[_package_requests.Request]) -> None:
        """Copies of RPM files where they are seen inside, and where nobody else can change them."""
        try:
            for request in todo:
                if request.kind == FILE and request.name not in self._staged:
                    directory = self._workspace.subdirectory(str(len(self._staged)))
                    self._staged[request.name] = self._files[request.name].copy_to(directory)
        except OSError as exc:
            raise TransactionalError(f"cannot copy the RPM files of the task: {exc.strerror}") from exc

    def _is_unchecked(self) -> bool:
        if self._judged is None:
            self._judged = super()._is_unchecked() or self._needs_unchecked()
        return self._judged

    def _needs_unchecked(self) -> bool:
        """Whether what is allowed takes more than zypper's option for unsigned files, which leaves all else checked."""
        if not self._options.get("allow_untrusted"):
            return False
        root = "/" if self._inside else self._host.root_of(self._default)
        return any(request.kind != FILE or self._files[request.name].is_signed_wrongly(root)
                   for request in self.requests if not request.remove)

    def _arguments(self, root: str, todo: t.Sequence[_package_requests.Request]) -> list[str]:
        """What zypper is told to install, and to remove: the packages themselves, with a sign in an installation."""
        sign = "" if self.action == "remove" else "-"
        gone = removable(root, [request for request in todo if request.remove])
        return [self._staged.get(request.name, request.argument) for request in todo if not request.remove] + [
            sign + name for name in gone]

    def _predict(self, root: str, todo: t.Sequence[_package_requests.Request], keep_cache: bool) -> None:
        """Ask the solver in a view of the pending snapshot that leaves no trace."""
        with self._view(keep_cache) as run:
            answer = self._zypper(run, root, todo, dry_run=True)
        if answer.is_empty:
            self._refuse_unmet(root, todo, answer)
        self._report(answer)

    def _change(self, todo: t.Sequence[_package_requests.Request]) -> None:
        def work(run: Run, root: str) -> zypper.Answer:
            answer = self._zypper(run, root, todo)
            self._refuse_unmet(root, todo, answer)
            return answer
        forget_files()
        try:
            self._transact(f"package {self.state} {' '.join(request.text for request in todo)}", work)
        finally:
            forget_files()

    def _zypper(self, run: Run, root: str, todo: t.Sequence[_package_requests.Request],
                dry_run: bool = False) -> zypper.Answer:
        options = install_options(self._options) if self.action == "install" else (
            ["--clean-deps"] if self._options.get("clean_deps") else [])
        if self.action == "install" and self._options.get("allow_untrusted") and self._staged:
            options = [*options, UNSIGNED_FILES]
        argv = zypper.argv(self.action, self._arguments(root, todo), dry_run,
                           options + self._more_options, self._global_options())
        names = " ".join(request.text for request in self.requests)
        return self._ask(run, argv, f"{self.action} {names}", dry_run)

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
                f"{self._hidden(' / '.join(said)).rstrip('.')}. {advice}",
                messages=self._messages(answer), base=self._default)
