# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What makes a repository or an address insecure, and what of it nobody may read.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
import typing as t
from urllib.parse import parse_qs, urlsplit

from ansible_collections.microos.transactional.plugins.module_utils._tools import zypp_files

SAFE_SCHEMES = ("https", "dir", "file", "iso", "hd", "cd", "dvd", "plugin")
USER_IN_ADDRESS = re.compile(r"(?<=://)([^/?#\s]*)@")
HIDDEN = "********"
LOCATIONS = ("baseurl", "url", "mirrorlist", "metalink")


def flaws_of_address(url: str) -> list[str]:
    """Why what comes from an address may have been changed or read on its way."""
    parts = urlsplit(url)
    options = parse_qs(parts.query)
    found = []
    if parts.scheme.lower() not in SAFE_SCHEMES:
        found.append(f"'{parts.scheme or url}' is not HTTPS")
    if options.get("ssl_verify", ["yes"])[-1] != "yes":
        found.append(f"ssl_verify={options['ssl_verify'][-1]}")
    # iso:///?iso=FILE&url=WHERE
    return found + [flaw for inner in options.get("url", []) for flaw in flaws_of_address(inner)]


def flaws(settings: t.Mapping[str, t.Any]) -> list[str]:
    """Why a repository cannot be trusted; ``settings`` as in the file, checks as they are in effect."""
    found = []
    for key in LOCATIONS:
        value = settings.get(key) or []
        for url in [value] if isinstance(value, str) else value:
            found += [f"{key}: {flaw}" for flaw in flaws_of_address(url)]
            if USER_IN_ADDRESS.search(url):
                found.append(f"{key}: a password or user name in the address is readable for everybody")
    if settings.get("gpgcheck") is False:
        found.append("gpgcheck is off: nothing needs to be signed")
    if settings.get("repo_gpgcheck") is False:
        found.append("repo_gpgcheck is off: unsigned metadata are accepted")
    if settings.get("pkg_gpgcheck") is False and settings.get("gpgcheck") is not False:
        found.append("pkg_gpgcheck is off: unsigned packages are accepted if the metadata are signed")
    return found


def hide(text: str) -> str:
    """Without users and passwords in addresses."""
    return USER_IN_ADDRESS.sub(HIDDEN + "@", text)


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


def secrets_in(params: t.Mapping[str, t.Any]) -> set[str]:
    """Users and passwords in the addresses of a task."""
    urls = (params["baseurl"] or []) + [params["mirrorlist"], params["metalink"]]
    urls += [key["url"] for key in params["keys"]]
    found = [whole for url in urls for whole in USER_IN_ADDRESS.findall(url or "")]
    return {part for whole in found for part in [whole] + whole.split(":") if part}
