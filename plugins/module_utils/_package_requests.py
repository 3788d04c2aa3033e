# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Understand what a task asks for: names, versions, kinds, files and addresses of RPMs.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
import typing as t
from urllib.parse import parse_qsl, unquote

from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._repository_safety import HIDDEN, hide

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
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+\Z")
LOGIN = re.compile(r"://([^/?#\s]*)@")
# Of libzypp's addresses, in which they may also be parameters
LOGIN_PARAMETERS = ("user", "username", "pass", "passwd", "password", "proxyuser", "proxypass")
QUERY = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,20}://[^\s?'\"<>]{0,2000})\?[^\s'\"<>]+")
ARCHITECTURE = re.compile(r"\.(?:noarch|x86_64|i[3-6]86|aarch64|armv[67]hl|ppc64le|s390x|riscv64)\Z")
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
    if "://" in text:
        return _rpm(_address(text), remove)
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


def _address(text: str) -> Request:
    if not ADDRESS.match(text):
        raise TransactionalError(f"'{shown(text)}' is no address of an RPM file")
    if secrets_in([text], logins_only=True):
        raise TransactionalError(
            f"'{shown(text)}' has a user name or password in it, which everybody could read in the list of processes "
            "and in zypper's history. Define the repository with microos.transactional.repository, which takes a "
            "username and a password, and name the package")
    return Request(shown(text), URL, text)


def _query(address: str) -> str:
    return address.partition("?")[2].partition("#")[0]


def shown(address: str) -> str:
    """An address for people: who may read this is not known, and parameters may be secrets as well."""
    place = re.split(r"[?#]", hide(address))[0]
    scheme, _sign, rest = place.partition("://")
    host, *path = rest.split("/")
    host = host.rpartition("@")[2]
    return f"{scheme}://" + "/".join([host, *(["\u2026"] if len(path) > 1 else []), *path[-1:]])


def without_queries(text: str) -> str:
    """A text without the logins and parameters of the addresses in it."""
    return QUERY.sub(rf"\1?{HIDDEN}", hide(text))


def secrets_in(texts: t.Iterable[str], logins_only: bool = False) -> set[str]:
    """What of the addresses in texts nobody may read: users and passwords, and parameters, which may be tokens."""
    found: set[str] = set()
    for text in texts:
        if "://" not in text:
            continue
        # one in the parameters of another is encoded
        for variant in (text, unquote(text)):
            for login in LOGIN.findall(variant):
                found |= {login, *login.split(":", 1)}
        found |= {value for key, value in parse_qsl(_query(text)) if key.lower() in LOGIN_PARAMETERS}
        if not logins_only and _query(text):
            found.add(_query(text))
    return found - {""}


def _rpm(request: Request, remove: bool) -> Request:
    if remove:
        raise TransactionalError(f"'{request.text}' is an RPM file; for its removal use the name of the package")
    return request


def parse_all(texts: t.Iterable[str], kind: str = PACKAGE, remove: bool = False) -> list[Request]:
    """All requests, each once, in their order; empty names are none."""
    return list(dict.fromkeys(parse(text.strip(), kind, remove) for text in texts if text.strip()))


def refuse_contradictions(requests: t.Sequence[Request]) -> None:
    """The same package cannot be installed and removed; different versions of one can."""
    for gone in (request for request in requests if request.remove and not request.is_glob):
        for wanted in (request for request in requests if not request.remove):
            if (wanted.kind == gone.kind and _bare(wanted) == _bare(gone)
                    and not (wanted.operator and gone.operator and wanted.version != gone.version)):
                raise TransactionalError(f"'{wanted.text}' asks for an installation and '{gone.text}' for the removal "
                                         "of the same; ask for one of them")


def _bare(request: Request) -> str:
    return ARCHITECTURE.sub("", request.name)


def label(address: str) -> str:
    """What the package of an RPM file is called if the file has the name that rpmbuild gave it, else nothing."""
    name = re.split(r"[?#]", address.rsplit("/", 1)[-1])[0]
    return name[:-len(".rpm")] if name.endswith(".rpm") else ""
