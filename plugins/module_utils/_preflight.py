# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a host is fit for a change: what was measured, against what is wanted.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import typing as t

OK, WARN, FAIL = "ok", "warn", "fail"
MEGABYTE = 10 ** 6


class Check(t.NamedTuple):
    """What one check came to."""

    name: str
    level: str
    message: str


class Size(t.NamedTuple):
    """A file system, in megabytes."""

    size: int
    free: int


class Measured(t.NamedTuple):
    """What the host is. None is what it does not tell."""

    lacks: str  # why it is no transactional host
    architecture: str
    ram: int  # megabytes
    root: Size
    var: Size | None  # None: it is part of the root file system
    esp: Size | None  # None: no kernels lie there
    read_only: bool | None
    degraded: bool
    device_errors: t.Mapping[str, int]
    booted: int | None
    current: int | None
    default: int | None
    open_snapshots: t.Sequence[str]  # what works on them
    clock_synchronized: bool | None
    failed_units: t.Sequence[str]
    insecure: t.Mapping[str, t.Sequence[str]]


class Wanted(t.NamedTuple):
    """Sizes in megabytes, as a minimum and as recommended."""

    architectures: t.Sequence[str]
    ram: tuple[int, int]
    root: tuple[int, int]
    var: tuple[int, int]
    root_free: int
    esp_free: int
    tolerance: int  # percent of a size that firmware, kernel or the file system may have taken


def _size(name: str, found: int, wanted: tuple[int, int], tolerance: int) -> Check:
    minimum, recommended = wanted
    told = f"{found} MB, at least {minimum} MB are needed and {recommended} MB are recommended"
    level = next((level for level, limit in ((FAIL, minimum), (WARN, recommended))
                  if found < limit * (100 - tolerance) / 100), OK)
    return Check(name, level, told if level != OK else f"{found} MB")


def _free(name: str, found: int, wanted: int) -> Check:
    if found < wanted:
        return Check(name, FAIL, f"{found} MB are free, {wanted} MB are needed for another snapshot")
    return Check(name, OK, f"{found} MB are free")


def _space(found: Measured, wanted: Wanted) -> t.Iterator[Check]:
    if found.var is None:
        both = (wanted.root[0] + wanted.var[0], wanted.root[1] + wanted.var[1])
        yield _size("/ with /var", found.root.size, both, wanted.tolerance)
    else:
        yield _size("/", found.root.size, wanted.root, wanted.tolerance)
        yield _size("/var", found.var.size, wanted.var, wanted.tolerance)
    yield _free("space on /", found.root.free, wanted.root_free)
    if found.esp:
        yield _free("space for kernels on the ESP", found.esp.free, wanted.esp_free)


def _snapshots(found: Measured) -> Check:
    if found.open_snapshots:
        return Check("transactions", FAIL, "; ".join(found.open_snapshots))
    if found.default != found.current:
        return Check("transactions", WARN, f"snapshot {found.default} is pending, {found.current} is in use")
    if found.booted != found.current:
        return Check("transactions", WARN, f"snapshot {found.current} was applied to the booted {found.booted}")
    return Check("transactions", OK, f"snapshot {found.current}, nothing is pending")


def _file_system(found: Measured) -> Check:
    if found.degraded:
        return Check("btrfs", FAIL, "it is mounted degraded, a device is missing")
    broken = [f"{name} {count}" for name, count in found.device_errors.items() if count]
    if broken:
        return Check("btrfs", FAIL, f"its devices had errors: {', '.join(broken)}; see btrfs scrub and device stats")
    if found.read_only is False:
        return Check("btrfs", FAIL, "the root is not read-only: what is written to it is lost with the next snapshot")
    return Check("btrfs", OK, "read-only root, no errors")


def judge(found: Measured, wanted: Wanted) -> list[Check]:
    """All checks, in the order of the report."""
    if found.lacks:
        return [Check("transactional host", FAIL, found.lacks)]
    checks = [Check("architecture", OK if found.architecture in wanted.architectures else FAIL, found.architecture)]
    checks.append(_size("RAM", found.ram, wanted.ram, wanted.tolerance))
    checks += _space(found, wanted)
    checks += [_file_system(found), _snapshots(found)]
    if found.clock_synchronized is not None:
        checks.append(Check("clock", OK, "synchronized") if found.clock_synchronized else
                      Check("clock", WARN, "not synchronized: certificates and signatures may seem invalid"))
    checks.append(Check("units", WARN, "failed: " + ", ".join(found.failed_units)) if found.failed_units else
                  Check("units", OK, "none failed"))
    checks.append(Check("repositories", WARN, "; ".join(f"{alias}: {', '.join(flaws)}" for alias, flaws in
                                                        sorted(found.insecure.items()))) if found.insecure else
                  Check("repositories", OK, "secure"))
    return checks


def report(name: str, checks: t.Iterable[Check]) -> str:
    """What is not as it should be on a host, in one line for each."""
    lines = [f"{name}: {check.level}: {check.name}: {check.message}" for check in checks if check.level != OK]
    return "\n".join(lines or [f"{name}: ok"])
