# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compare what a task asks for with an rpm database, as far as that can tell.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.microos.transactional.plugins.module_utils._package_requests import (
    ARCHITECTURE,
    FILE,
    PACKAGE,
    SOLVER_ONLY,
    URL,
    Request,
    label,
)
from ansible_collections.microos.transactional.plugins.module_utils._tools import rpm

SAME_RELEASE = "-0"
# Operator -> the orders of the provided version to the wanted one that fulfill it
ORDERS = {"=": (0,), "<": (-1,), "<=": (-1, 0), ">": (1,), ">=": (0, 1)}


def compares(rows: t.Sequence[tuple[str, str]], operator: str, version: str) -> bool:
    """Whether one of the packages and versions fulfills a comparison; a release that was not asked for is no matter."""
    versions = [provided for _package, provided in rows if provided]
    if "-" not in version:
        version += SAME_RELEASE
        versions = [provided.partition("-")[0] + SAME_RELEASE for provided in versions]
    return any(order in ORDERS[operator] for order in rpm.order([(provided, version) for provided in versions]))


def providers(root: str, requests: t.Sequence[Request]) -> dict[Request, list[str]]:
    """The installed packages that fulfill requests with a version or of a kind that is known by what is provided."""
    asked = list(dict.fromkeys(request.capability[0] for request in requests))
    rows = rpm.provided(root, asked)
    found = {}
    for request in requests:
        name, operator, version = request.capability
        mine = [(package, provided) for package, what, provided in rows if what == name]
        found[request] = list(dict.fromkeys(
            package for package, provided in mine
            if (provided == version if operator == "is" else compares([(package, provided)], operator, version))))
    return found


def unmet(root: str, requests: t.Sequence[Request], labels: t.Mapping[str, str]) -> list[Request]:
    """The requests for something that is not there, in their order; what only the solver can tell is among them.

    ``labels`` has the name-version-release.arch of RPM files by their path.
    """
    plain = [request for request in requests if request.kind == PACKAGE and not request.operator]
    names = [request.name for request in plain]
    missing = set(rpm.missing(root, names, capabilities=True)) if names else set()
    # an architecture is no capability, but part of what rpm -q understands
    exact = {name: name for name in missing if ARCHITECTURE.search(name)}
    exact.update({request.name: labels.get(request.name) or label(request.name)
                  for request in requests if request.kind in (FILE, URL)})
    known = [name for name in exact.values() if name]
    gone = set(rpm.missing(root, known, capabilities=False)) if known else set()
    missing -= {name for name, exactly in exact.items() if exactly and exactly not in gone}
    missing |= {name for name, exactly in exact.items() if not exactly or exactly in gone}
    versioned = [request for request in requests if request.kind not in (*SOLVER_ONLY, FILE, URL)
                 and request not in plain]
    found = providers(root, versioned) if versioned else {}
    return [request for request in requests
            if request.kind in SOLVER_ONLY or request.name in missing and request not in found
            or request in found and not found[request]]


def removable(root: str, requests: t.Sequence[Request]) -> dict[str, Request]:
    """The installed packages that requests for a removal mean, by name, each with its request."""
    found: dict[str, Request] = {}
    plain = [request for request in requests if request.kind == PACKAGE and not request.operator]
    names = [request.name for request in plain if not request.is_glob]
    missing = set(rpm.missing(root, names, capabilities=False)) if names else set()
    others = [request for request in requests if request not in plain]
    provides = providers(root, others) if others else {}
    for request in requests:
        if request.is_glob:
            packages = rpm.matching(root, [request.name])
        elif request in plain:
            packages = [] if request.name in missing else [request.name]
        else:
            # a comparison is about the package of that name, not about others that provide it
            packages = [name for name in provides[request] if request.kind != PACKAGE or name == request.name]
        for name in packages:
            found.setdefault(name, request)
    return found
