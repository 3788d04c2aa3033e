# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Understand what a task asks for: names, versions, kinds, files and addresses of RPMs.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError

PACKAGE = "package"
# What rpm says the packages provide that stand for a pattern or product
PROVIDED = {"pattern": "pattern()", "product": "product()"}
# Only the solver knows these
SOLVER_ONLY = ("patch", "srcpackage")
KINDS = (PACKAGE, *PROVIDED, *SOLVER_ONLY)
FILE, URL = "file", "url"

# The first character is no option and no modifier; with brackets only the capabilities that rpm makes
NAME = r"[A-Za-z0-9/_][A-Za-z0-9/_.+-]*(?:\([^()\s]*\))*"
REQUEST = re.compile(rf"(?P<sign>[-+~!]?)(?:(?P<kind>{'|'.join(KINDS)}):)?(?P<name>{NAME})"
                     r"(?:\s*(?P<operator><=|>=|==|=|<|>)\s*(?P<version>[A-Za-z0-9._+~^:-]+))?\Z")
GLOB = re.compile(r"[A-Za-z0-9_*?\[\]][A-Za-z0-9_.+*?\[\]!-]*\Z")
ADDRESS = re.compile(r"[a-z]+://\S+\Z")
EVERYTHING = "use microos.transactional.system_update for an update of the whole system"


class Request(t.NamedTuple):
    """One thing that a task asks for. ``text`` is how the task calls it."""

    text: str
    kind: str
    name: str
    operator: str = ""
    version: str = ""
    remove: bool = False

    @property
    def is_glob(self) -> bool:
        return self.kind == PACKAGE and any(character in self.name for character in "*?[")

    @property
    def argument(self) -> str:
        """What zypper is told, without the sign."""
        prefix = "" if self.kind in (PACKAGE, FILE, URL) else self.kind + ":"
        return f"{prefix}{self.name}{self.operator}{self.version}"

    @property
    def capability(self) -> tuple[str, str, str]:
        """The name, operator and version that rpm knows a package by that fulfills the request."""
        if self.kind in PROVIDED:
            return PROVIDED[self.kind], "is", self.name
        return self.name, self.operator, self.version


def parse(text: str, kind: str = PACKAGE, remove: bool = False) -> Request:
    """Read one name; ``kind`` and ``remove`` are what it means if it does not say otherwise itself."""
    if text == "*":
        raise TransactionalError(f"'*' is no package name; {EVERYTHING}")
    if ADDRESS.match(text):
        return _rpm(Request(text, URL, text), remove)
    if text.endswith(".rpm"):
        if not text.startswith("/"):
            raise TransactionalError(f"'{text}' is an RPM file without its absolute path on the host")
        return _rpm(Request(text, FILE, text), remove)
    found = REQUEST.match(text)
    if not found:
        if GLOB.match(text) and kind == PACKAGE:
            if not remove:
                raise TransactionalError(f"'{text}' could mean any number of packages; patterns of names are only "
                                         "allowed with state 'absent', for 'present' name the packages")
            return Request(text, PACKAGE, text, remove=True)
        raise TransactionalError(
            f"'{text}' is no package name: a name, NAME=VERSION (or <, <=, >=, >), KIND:NAME with one of the kinds "
            f"{', '.join(KINDS)}, the absolute path of an RPM file, or its address is expected")
    request = Request(text, found["kind"] or kind, found["name"], (found["operator"] or "").replace("==", "="),
                      found["version"] or "", remove or found["sign"] not in ("", "+"))
    if remove and found["sign"] == "+":
        raise TransactionalError(f"'{text}' asks for an installation, but the state is 'absent'")
    if request.remove and request.kind in SOLVER_ONLY:
        raise TransactionalError(f"'{text}' cannot be removed: a {request.kind} is not a thing that stays installed")
    if request.operator and request.kind in PROVIDED:
        raise TransactionalError(f"'{text}' has a version, which is not supported for a {request.kind}")
    return request


def _rpm(request: Request, remove: bool) -> Request:
    if remove:
        raise TransactionalError(f"'{request.text}' is an RPM file; for its removal use the name of the package")
    return request


def parse_all(texts: t.Iterable[str], kind: str = PACKAGE, remove: bool = False) -> list[Request]:
    """All requests, each once, in their order; empty names are none."""
    return list(dict.fromkeys(parse(text.strip(), kind, remove) for text in texts if text.strip()))


def label(address: str) -> str:
    """What the package of an RPM file is called if the file has the name that rpmbuild gave it, else nothing."""
    name = re.split(r"[?#]", address.rsplit("/", 1)[-1])[0]
    return name[:-len(".rpm")] if name.endswith(".rpm") else ""
