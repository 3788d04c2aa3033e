# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Update the whole system, in one snapshot.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.microos.transactional.plugins.module_utils._host import Host
from ansible_collections.microos.transactional.plugins.module_utils._repository_files import configuration
from ansible_collections.microos.transactional.plugins.module_utils._tools import command, transactional_update, zypper
from ansible_collections.microos.transactional.plugins.module_utils._zypper_work import Run, ZypperWork

DUP, PATCH = "dup", "patch"
# In the private /run of a transaction or view
EXCLUSIONS = "/run/microos-transactional-update"
# Arguments: directory, zypp.conf, locks
WRITE_EXCLUSIONS = 'mkdir -p "$0" && printf %s "$1" >"$0/zypp.conf" && printf %s "$2" >"$0/locks"'
FLAGS = {
    "recommends": ("--recommends", "--no-recommends"),
    "allow_downgrade": ("--allow-downgrade", "--no-allow-downgrade"),
    "allow_vendor_change": ("--allow-vendor-change", "--no-allow-vendor-change"),
}
SWITCHES = {"replace_files": "--replacefiles", "auto_agree_with_licenses": "--auto-agree-with-licenses"}


def arguments(method: str, options: t.Mapping[str, t.Any]) -> list[str]:
    """The options of ``zypper dup | up | patch`` (1.14.89). A conflict is an error, never solved by removing things."""
    found = ["--no-force-resolution"]
    for name, (yes, no) in FLAGS.items():
        if options.get(name) is not None:
            found.append(yes if options[name] else no)
    found += [switch for name, switch in SWITCHES.items() if options.get(name)]
    if method == PATCH:
        found.append("--with-interactive" if options["include_reboot_patches"] else "--skip-interactive")
        found += ["--with-optional"] if options["include_optional_patches"] else []
        # else an excluded package would be a conflict with the patches that need it
        found += ["--skip-not-applicable-patches"] if options["exclude"] else []
        for name, option in (("categories", "--category"), ("severities", "--severity")):
            if options.get(name):
                found += [option, ",".join(options[name])]
    return found


def locks(names: t.Iterable[str]) -> str:
    """The entries of zypp's file of locks that keep packages as they are."""
    return "".join(f"\ntype: package\nmatch_type: glob\ncase_sensitive: on\nsolvable_name: {name}\n" for name in names)


class SystemUpdate(ZypperWork):
    """``result`` is complete after ``ensure``."""

    module = "microos.transactional.system_update"

    def __init__(self, host: Host, options: t.Mapping[str, t.Any]):
        super().__init__(host, options)
        method = options["method"]
        self.method = (transactional_update.update_method() or DUP) if method == "auto" else method
        self.result["method"] = self.method

    def ensure(self, check_mode: bool) -> None:
        if not check_mode:
            self._wait_for_libzypp()
        with self._view(keep_cache=not check_mode) as run:
            self._report(self._update(run, "/" if self._inside else self._host.root_of(self._default), dry_run=True))
        if check_mode or not self.result["changed"]:
            return
        self._transact(f"system update ({self.method})", self._update)

    def _update(self, run: Run, root: str, dry_run: bool = False) -> zypper.Answer:
        argv = zypper.argv(self.method, [], dry_run, arguments(self.method, self._options), self._global_options())
        return self._ask(self._excluding(run, root), argv, f"update the system ({self.method})", dry_run)

    def _excluding(self, run: Run, root: str) -> Run:
        """A way to run zypper with further locks, of which the snapshot gets to know nothing."""
        if not self._options.get("exclude"):
            return run
        settings = dict(configuration("" if root == "/" else root), **{"locksfile.path": f"{EXCLUSIONS}/locks"})
        zypp_conf = "[main]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items())
        written = run(["sh", "-c", WRITE_EXCLUSIONS, EXCLUSIONS, zypp_conf,
                       zypper.locks_file(root) + locks(self._options["exclude"])])
        if written.rc != 0:
            raise command.CommandError(written)
        return lambda argv, env, **more: run(argv, env=dict(env, ZYPP_CONF=f"{EXCLUSIONS}/zypp.conf"), **more)
