# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What makes a repository or an address insecure, and what of it nobody may read.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import os
import re
import stat
import typing as t
from urllib.parse import quote, unquote

from ansible_collections.microos.transactional.plugins.module_utils._tools import zypp_files

SAFE_SCHEMES = ("https", "dir", "file", "iso", "hd", "cd", "dvd", "plugin")
HIDDEN = "********"
# A password may hold any sign if its owner did not encode it; a port is no password
USER_IN_ADDRESS = re.compile(r"(?<=://)(?:[^/?#\s@:]*:(?!\d+[/?#])\S{0,8000}|[^/?#\s]{0,8000})@")
ENCODED_USER = re.compile(r"(?<=%3a%2f%2f)(?:(?!%2f)[^&/\s]){0,8000}%40", re.IGNORECASE)
# What servers know somebody by, in the query: "?TOKEN", or under a name such as proxypass
SECRET_OPTION = re.compile(r"(?:pass|passwd|password|passphrase|pwd|user|username|login|secret|token|signature)\Z"
                           r"|(?:sig|(?:api|access|account)_?key)\Z", re.IGNORECASE)
SECRET_INSIDE = re.compile(r"(?:pass|password|user|username)=", re.IGNORECASE)  # mountoptions=username=x,password=y
BARE_TOKEN = re.compile(r"[A-Za-z0-9_~.%+-]{32,}\Z")
IN_QUERY = re.compile(r"(?<=[?&])([^=&?#\s'\"<>]+)(=?)([^&#\s'\"<>]*)")
# A setting of a file; dnf knows these, for libzypp they are nothing
SECRET_SETTING = re.compile(r"^([ \t]*(?:proxy_)?(?:password|username)[ \t]*=[ \t]*)\S.*$", re.MULTILINE)
LOCATIONS = ("baseurl", "url", "mirrorlist", "metalink")
# How libzypp divides an address, and what it takes for a proxy that is none
PARTS = re.compile(r"(?:([^:/?#]+):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#.*)?\Z", re.DOTALL)
NO_PROXY = "_none_"
NESTED = 3
# Options that are files or directories: whoever may write there decides what is trusted, or what is mounted
PATHS = ("ssl_capath", "ssl_clientcert", "ssl_clientkey", "credentials", "device", "devices")
RESOLVER = re.compile(r"/*[A-Za-z0-9_][A-Za-z0-9_.+-]*\Z")


def scheme_of(url: str) -> str:
    return (PARTS.match(url).group(1) or "").lower()


def options_of(url: str) -> list[tuple[str, str]]:
    """The options in an address as libzypp reads them: apart at ``&`` alone, a plus is a plus, the last one counts."""
    query = PARTS.match(url).group(4) or ""
    pairs = (piece.partition("=") for piece in query.split("&") if piece)
    return [(unquote(key), unquote(value)) for key, _sign, value in pairs]


def is_open_to_others(path: str) -> bool:
    """Whether somebody else than root can put something there."""
    if not path.startswith("/") or ".." in path.split("/"):
        return True
    return any(_has_open_part(way) for way in (path, os.path.realpath(path)))


def _has_open_part(path: str) -> bool:
    sticky = False
    walked = "/"
    for name in ["", *filter(None, path.split("/"))]:
        walked = os.path.join(walked, name)
        try:
            about = os.lstat(walked)
        except OSError:  # where it is missing, anybody may make it who may write above
            return sticky
        if about.st_uid != 0:
            return True
        if stat.S_ISLNK(about.st_mode):  # its mode says nothing
            continue
        # devices belong to a group for administrators
        by_group = about.st_mode & 0o020 and about.st_gid != 0 and not stat.S_ISBLK(about.st_mode)
        writable = bool(by_group or about.st_mode & 0o002)
        sticky = writable and stat.S_ISDIR(about.st_mode) and bool(about.st_mode & stat.S_ISVTX)
        if writable and not sticky:
            return True
    return sticky


def flaws_of_address(url: str, depth: int = 0) -> list[str]:
    """Why what comes from an address may have been changed or read on its way, and what of it is told to everybody."""
    scheme, options = scheme_of(url), options_of(url)
    found = []
    if scheme not in SAFE_SCHEMES:
        found.append(f"'{hide(scheme or url)}' is not HTTPS")
    if scheme == "plugin" and not RESOLVER.match(unquote(PARTS.match(url).group(3))):
        found.append("a plugin is the name of a program of libzypp, not a path")
    if USER_IN_ADDRESS.search(url):
        found.append("a password or user name in the address is readable for everybody")
    keys = [key for key, _value in options]
    found += [f"'{hide(key)}' is there more than once" for key in sorted(set(keys)) if keys.count(key) > 1]
    for key, value in options:
        found += _flaws_of_option(key, value, depth)
    return list(dict.fromkeys(found))


def _flaws_of_option(key: str, value: str, depth: int = 0) -> t.Iterator[str]:
    if key == "ssl_verify" and value not in ("", "yes") and set(value.split(",")) != {"host", "peer"}:
        yield f"ssl_verify={value}"
    if key == "proxy" and value not in ("", NO_PROXY) and not value.lower().startswith("https://"):
        yield "proxy: the connection to it is not HTTPS"
    if key in PATHS and value:
        # those without a directory are in /etc/zypp/credentials.d
        paths = value.split(",") if key == "devices" else [value]
        if any(is_open_to_others(path) for path in paths if key != "credentials" or path.startswith("/")):
            yield f"{key}={value} can be changed by others than root"
    if key == "url" or (key == "proxy" and "://" in value):
        # iso:///?iso=FILE&url=WHERE
        inner = flaws_of_address(value, depth + 1) if depth < NESTED else ["there are too many addresses inside"]
        yield from (flaw for flaw in inner if key == "url" or "is not HTTPS" not in flaw)
    elif _is_secret(key, value):
        yield f"'{key if value else HIDDEN}' in the address is readable for everybody"


def _is_secret(key: str, value: str) -> bool:
    if not value:
        return BARE_TOKEN.match(key) is not None
    return SECRET_OPTION.search(key) is not None or SECRET_INSIDE.search(unquote(value)) is not None


def flaws(settings: t.Mapping[str, t.Any]) -> list[str]:
    """Why a repository cannot be trusted; ``settings`` as in the file, checks as they are in effect."""
    found = []
    for key in LOCATIONS + ("gpgkey",):
        value = settings.get(key) or []
        for url in [value] if isinstance(value, str) else value:
            found += [f"{key}: {flaw}" for flaw in flaws_of_address(url)]
    if settings.get("proxy"):
        # libzypp makes an option of the addresses of it
        found += list(_flaws_of_option("proxy", settings["proxy"]))
    if settings.get("type") == "plugin" and settings.get("url"):
        program = unquote(PARTS.match(settings["url"]).group(3))
        if is_open_to_others(program):
            found.append(f"url: {program}, which runs as root, can be changed by others than root")
    if settings.get("gpgcheck") is False:
        found.append("gpgcheck is off: nothing needs to be signed")
    if settings.get("repo_gpgcheck") is False:
        found.append("repo_gpgcheck is off: unsigned metadata are accepted")
    if settings.get("pkg_gpgcheck") is False and settings.get("gpgcheck") is not False:
        found.append("pkg_gpgcheck is off: unsigned packages are accepted if the metadata are signed")
    return found


def _hide_option(found: re.Match) -> str:
    key, sign, value = found.groups()
    if value and _is_secret(unquote(key), value):
        return f"{key}={HIDDEN}"
    return HIDDEN if not sign and _is_secret(key, "") else found.group(0)


def hide(text: str) -> str:
    """Without users, passwords and tokens in addresses and settings."""
    text = USER_IN_ADDRESS.sub(HIDDEN + "@", text)
    text = ENCODED_USER.sub(HIDDEN + "%40", text)
    return SECRET_SETTING.sub(rf"\1{HIDDEN}", IN_QUERY.sub(_hide_option, text))


def hide_setting(key: str, value: str) -> str:
    """One setting of a file."""
    return hide(f"{key}={value}").partition("=")[2]


def checks(settings: t.Mapping[str, t.Any], configuration: t.Mapping[str, str]) -> dict[str, bool]:
    """gpgcheck, repo_gpgcheck and pkg_gpgcheck as they are in effect, by libzypp's RepoInfo."""
    def said(key):
        return zypp_files.truth(settings.get(key, ""))

    own = said("gpgcheck")
    every = own if own is not None else zypp_files.truth(configuration.get("gpgcheck", "1")) is not False
    result = {"gpgcheck": every}
    for key in ("repo_gpgcheck", "pkg_gpgcheck"):
        value = said(key)
        # with a gpgcheck of its own a repository leaves zypp.conf behind
        if value is None and own is None:
            value = zypp_files.truth(configuration.get(key, ""))
        # left open, metadata are checked; packages only where these are not signed
        result[key] = value if value is not None else every and key == "repo_gpgcheck"
    return result


def _secrets_of_address(url: str) -> t.Iterator[str]:
    for found in USER_IN_ADDRESS.finditer(url):
        # the password may hold the sign itself
        ends = [at for at, sign in enumerate(found.group(0)) if sign == "@"]
        for whole in (found.group(0)[:end] for end in ends):
            yield whole
            yield from whole.partition(":")[::2]
    for key, _sign, value in IN_QUERY.findall(url):
        if _is_secret(unquote(key), value):
            yield value or key
        elif "://" in unquote(value):
            yield from _secrets_of_address(unquote(value))


def secrets_in(params: t.Mapping[str, t.Any]) -> set[str]:
    """What nobody may read of a task: users, passwords and tokens in addresses, and keys that are no public ones."""
    urls = (params["baseurl"] or []) + [params["mirrorlist"], params["metalink"]]
    urls += [key["url"] for key in params["keys"]]
    found = {part for url in urls for part in _secrets_of_address(url or "")}
    found |= {unquote(part) for part in found}
    # tools may tell it as it is in an address
    found |= {quote(params[key], safe="") for key in ("username", "password") if params.get(key)}
    found |= {key["content"] for key in params["keys"] if "PRIVATE KEY" in (key.get("content") or "")}
    return {part for part in found if part}
