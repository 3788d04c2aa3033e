# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which way brings the default snapshot into effect, and what has to be done for it on the host.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import os
import time
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils import (
    _difference,
    _kexec,
    _nextroot,
    _resident,
    _snapshot_diff,
    _trial,
)
from ansible_collections.microos.transactional.plugins.module_utils._engine.base import Engine
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._host import REBOOT_NEEDED, Host, reboot_needed
from ansible_collections.microos.transactional.plugins.module_utils._lock import Lock
from ansible_collections.microos.transactional.plugins.module_utils._tools import (
    boot_entries,
    command,
    rebootmgr,
    rpm,
    snapper,
    systemd,
    transactional_update,
)

NONE, APPLY, SOFT_REBOOT, KEXEC, REBOOT = "none", "apply", "soft_reboot", "kexec", "reboot"
# from the least to the most
WAYS = (APPLY, SOFT_REBOOT, KEXEC, REBOOT)
# These only leave word that a reboot is wanted; somebody else does it, some time
REBOOTMGR, KURED, NOTIFY = "rebootmgr", "kured", "notify"
SYSTEMD_WITH_SOFT_REBOOT = 254
HINT = "installhint(reboot-needed)"

# Only a boot brings in what lies here: kernel, firmware, initrd, boot loader, and what is set when the kernel starts
BOOT = ("/boot", "/usr/lib/modules", "/lib/modules", "/usr/lib/firmware", "/lib/firmware", "/usr/lib/systemd/boot",
        "/usr/share/efi", "/usr/share/grub2", "/usr/lib/modprobe.d", "/etc/modprobe.d", "/etc/kernel",
        "/etc/default/grub", "/etc/selinux", "/usr/share/selinux")
# Even what is merely added here is noticed by a newly started userspace only
START = ("/etc", "/usr/lib/systemd", "/usr/lib/udev", "/usr/lib/sysctl.d", "/usr/lib/modules-load.d",
         "/usr/share/dbus-1")
# Written with every change of packages, read anew by everybody
RECORDS = ("/usr/lib/sysimage", "/etc/ld.so.cache", "/etc/.updated")


class Change(t.NamedTuple):
    """What comes into effect with a snapshot."""

    level: str | None  # what /run/reboot-needed says
    boot: list[str]  # what only a boot brings in
    hints: list[str]  # changed packages that ask for a reboot
    userspace: list[str]  # what running programs would not notice


def _below(path: str, tops: t.Iterable[str]) -> bool:
    return any(path == top or path.startswith(top + "/") for top in tops)


def only_a_boot(differences: t.Iterable[tuple[str, str]]) -> list[str]:
    """Those of the different paths that a soft reboot does not reach."""
    return [path for path, _kind in differences if _below(path, BOOT)]


def only_a_start(differences: t.Iterable[tuple[str, str]]) -> list[str]:
    """Those of the different paths that programs which run already do not notice."""
    return [path for path, kind in differences
            if not _below(path, RECORDS) and (kind != _difference.ADDED or _below(path, START))]


def _some(names: t.Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def need(change: Change) -> tuple[str, str]:
    """The least way that a change needs, and why. What the tools ask for and what is found add up."""
    if change.level not in (None, "none", "soft-reboot", "kexec"):
        return REBOOT, f"{REBOOT_NEEDED} asks for it" + (f" ('{change.level}')" if change.level else "")
    if change.level == "kexec" and not change.hints:
        return KEXEC, f"{REBOOT_NEEDED} asks for it ('kexec')"
    if change.boot:
        return REBOOT, f"only a boot brings in {_some(change.boot)}"
    if change.hints:
        return REBOOT, f"packages ask for it: {_some(change.hints)}"
    if change.level == "soft-reboot":
        return SOFT_REBOOT, f"{REBOOT_NEEDED} asks for it"
    if change.userspace:
        return SOFT_REBOOT, f"running programs would not notice {_some(change.userspace)}"
    return APPLY, "files were added, and none changed"


def least(needed: str, why: str, obstacles: t.Mapping[str, str]) -> tuple[str, str]:
    """The first way from the needed one upwards that nothing stands against, and why it is this one.

    Nothing ever stands against a full reboot.
    """
    ways = WAYS[WAYS.index(needed):]
    chosen = next(way for way in ways if way not in obstacles)
    passed = [f"{way} is out of the question: {obstacles[way]}" for way in ways[:ways.index(chosen)]]
    return chosen, "; ".join([why] + passed)


def _packages_with_hint(old: str, new: str) -> list[str]:
    """Packages in another version, new or gone, that declare that they need a reboot."""
    if not command.which("rpm"):
        return []
    before, after = ({tuple(row.items()) for row in rpm.installed(root)} for root in (old, new))
    if before == after:
        return []
    hinting = {tuple(row.items()) for root in (old, new) for row in rpm.providing(root, HINT)}
    return sorted({dict(row)["name"] for row in hinting & (before ^ after)})


def _differences(host: Host, old: int, new: int) -> list[tuple[str, str]]:
    trees = _snapshot_diff.find_trees(host, old, new)
    return sorted((path, kind) for path, kind, _aspects in _snapshot_diff.changes_below(trees, "/"))


def _loaded(host: Host) -> int | None:
    """The snapshot that the running kernel came with, as far as it is known and still there."""
    with open("/proc/cmdline", encoding="utf-8", errors="replace") as stream:
        number = boot_entries.loaded_snapshot(stream.read())
    if number is None and not systemd.soft_reboots():
        return host.booted
    return number if number is not None and snapper.exists(number) else None


def find_change(host: Host, default: int) -> Change:
    """Compare the running snapshot with the default one."""
    differences = _differences(host, host.booted, default)
    loaded = _loaded(host)
    if loaded is None:
        boot = ["what changed since the kernel was started, from a snapshot that is not known any more"]
    else:
        boot = only_a_boot(differences if loaded == host.booted else _differences(host, loaded, default))
        entries = boot_entries.entries()
        if entries.get(loaded) != entries.get(default):
            boot.append("another boot entry")
    hints = _packages_with_hint(snapper.path_of(host.booted), snapper.path_of(default))
    return Change(reboot_needed(), boot, hints, only_a_start(differences))


def open_transaction() -> _resident.Resident | None:
    """The transaction that is open on this host, whoever opened it."""
    transaction = _resident.load(_resident.OPEN)
    return transaction if transaction and transaction.alive() else None


def find_obstacles(engine: Engine, default: int) -> dict[str, str]:
    """What stands against each way on this host."""
    found = {}
    version = systemd.version()
    if version < SYSTEMD_WITH_SOFT_REBOOT:
        found[SOFT_REBOOT] = f"systemd {version} cannot do it, {SYSTEMD_WITH_SOFT_REBOOT} is the first that can"
    if engine.name != "tukit" or not transactional_update.has_apply():
        found[APPLY] = "the host has no 'transactional-update apply'"
    release = os.uname().release
    modules = f"/usr/lib/modules/{release}"
    if (os.path.isdir(snapper.path_of(engine.host.booted) + modules)
            and not os.path.isdir(snapper.path_of(default) + modules)):
        found[APPLY] = found[SOFT_REBOOT] = f"snapshot {default} has no modules for the running kernel, {release}"
    kexec = _kexec.obstacle(default)
    if kexec:
        found[KEXEC] = kexec
    if not rebootmgr.is_active():
        found[REBOOTMGR] = "rebootmgr is not active"
    return found


def of_host(setting: str, rebootmgr_is_active: bool) -> str:
    """The method that the host's own setting, a REBOOT_METHOD of transactional-update, stands for."""
    if setting == "auto":
        return REBOOTMGR if rebootmgr_is_active else "auto"
    known = {"systemd": "auto", "soft-reboot": SOFT_REBOOT, NONE: NONE, KEXEC: KEXEC, REBOOTMGR: REBOOTMGR,
             KURED: KURED, NOTIFY: NOTIFY}
    if setting not in known:
        raise TransactionalError(f"REBOOT_METHOD={setting} in the host's transactional-update.conf is unknown; known "
                                 f"are {', '.join(sorted(known))} and auto")
    return known[setting]


def decide(engine: Engine, method: str, force: bool, trial: int) -> tuple[str, str]:
    """The way to go, and why; an error if the way that was asked for is closed."""
    host = engine.host
    default = host.default()
    if method == NONE:
        return NONE, "it was asked for"
    if default == host.current and (not force or method == APPLY):
        return NONE, "nothing is pending"
    transaction = open_transaction()
    if transaction:
        raise TransactionalError(f"a transaction is open: {transaction.describe()}; close or abort it first",
                                 holder=transaction.details)
    _trial.refuse_if_under_way()
    obstacles = find_obstacles(engine, default)
    if method in (REBOOTMGR, KURED, NOTIFY) and trial:
        raise TransactionalError(f"there is no trial with {method}: nobody would be there to confirm it")
    if trial:
        _trial.refuse_if_impossible(host, default)
        obstacles[APPLY] = "a trial ends with a reboot if it fails, and has to begin with one"
    if method != "auto":
        if method in obstacles:
            raise TransactionalError(f"{method} is out of the question: {obstacles[method]}; "
                                     "use method: auto or reboot")
        return method, "it was asked for"
    if default == host.current:
        return REBOOT, "it is forced, with nothing pending"
    if not transactional_update.allows_soft_reboot():
        obstacles.setdefault(SOFT_REBOOT, "REBOOT_ALLOW_SOFT_REBOOT in the host's tukit.conf forbids it")
    if not transactional_update.allows_kexec():
        obstacles.setdefault(KEXEC, "REBOOT_ALLOW_KEXEC in the host's tukit.conf does not allow it")
    return least(*need(find_change(host, default)), obstacles)


def activate(engine: Engine, method: str, force: bool, expected: int | None, trial: int, delay: int,
             check_mode: bool) -> dict:
    """Do what is done on the host: all of an ``apply``, and what comes before the command for the other ways.

    ``expected`` is the snapshot that has to be the default. ``trial`` is in seconds, 0 for none; there is none either
    if nothing is pending. The reboot itself is ordered up to ``delay`` seconds later.
    """
    lock = Lock()
    if not check_mode and method != NONE and (force or engine.host.default() != engine.host.current):
        lock.acquire("ansible: reboot")
    try:
        return _activate(engine, method, force, expected, trial, delay, check_mode)
    finally:
        lock.release()


def _activate(engine: Engine, method: str, force: bool, expected: int | None, trial: int, delay: int,
              check_mode: bool) -> dict:
    host = engine.host
    default = host.default()
    if expected not in (None, default):
        raise TransactionalError(f"snapshot {expected} is expected to come up, but the default is {default}: "
                                 "somebody else changed it; look at it, or make the expected one the default "
                                 "with microos.transactional.rollback")
    told = ""
    if method == "host":
        setting = transactional_update.reboot_method()
        told = f"REBOOT_METHOD is {setting}; "
        method = of_host(setting, rebootmgr.is_active())
    way, reason = decide(engine, method, force, trial)
    result = {"changed": way != NONE, "method": way, "reason": told + reason, "snapshot": default,
              "snapshot_before": host.current, "pending": default != host.current, "rebooted": False, "elapsed": 0}
    if way == NONE or check_mode:
        return result
    if way in WAYS:
        engine.refuse_if_busy()
    engine.mend_boot_entry()
    if way == APPLY:
        start = time.monotonic()
        transactional_update.apply()
        current = Host().current
        if current != default:
            raise TransactionalError(f"'transactional-update apply' succeeded, but /usr is that of snapshot {current} "
                                     f"and not that of the default, {default}; use method: reboot")
        result.update(pending=False, elapsed=int(time.monotonic() - start))
    elif way == REBOOTMGR:
        result["changed"] = not rebootmgr.is_requested(rebootmgr.status())
        said = rebootmgr.request()
        result["scheduled_for"] = rebootmgr.parse_time(said)
        if rebootmgr.is_disabled(said):
            result["warnings"] = ["rebootmgr took the request, and will not reboot before its reboots are enabled "
                                  "again: 'rebootmgrctl set-strategy on'"]
    elif way in (KURED, NOTIFY):
        transactional_update.leave_reboot(way)
    elif trial and default != host.current:
        with _trial.prepared(host, trial, delay, once=way == REBOOT) as result["trial"]:
            _prepare_way(host, way, default, _trial.REBOOT_ON_FAILURE)
        if way != SOFT_REBOOT and _trial.is_unlocked_by_measurement():
            result["warnings"] = ["a TPM unlocks a disk of this host and may refuse other kernel arguments, so the "
                                  f"trial starts snapshot {default} without '{_trial.REBOOT_ON_FAILURE}': if its "
                                  "kernel panics, the host stays there, unless a watchdog or its own arguments "
                                  "restart it"]
    else:
        _prepare_way(host, way, default)
    return result


def _prepare_way(host: Host, way: str, default: int, kernel_arguments: str = "") -> None:
    """What the command for the reboot needs."""
    with _nextroot.undone_if_it_fails():
        if way == SOFT_REBOOT and default != host.booted:
            _nextroot.prepare(default)
        else:
            # systemd would take what is there for the wish to go into it, even at a full reboot
            _nextroot.clear()
        if way != KEXEC:
            _kexec.unload()
        if way == SOFT_REBOOT and reboot_needed() == "soft-reboot":
            os.unlink(REBOOT_NEEDED)  # /run survives, the need does not
        if way == KEXEC:
            _kexec.load(default, kernel_arguments)
