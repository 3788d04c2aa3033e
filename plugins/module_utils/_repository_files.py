# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files below ``/etc/zypp`` of any root: what they say.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import glob

from ansible_collections.microos.transactional.plugins.module_utils._files import Edit, read
from ansible_collections.microos.transactional.plugins.module_utils._repository_safety import hide
from ansible_collections.microos.transactional.plugins.module_utils._tools import zypp_files

ZYPP = "/etc/zypp"
# is it a service? -> (directory, suffix, key of the address)
PLACES = {True: ("services.d", ".service", "url"), False: ("repos.d", ".repo", "baseurl")}
CREDENTIALS = f"{ZYPP}/credentials.d"
# What zypp.conf may say for all repositories; the admin's files win over the vendor's
CONFIGURATION = ("/usr/etc/zypp/zypp.conf", "/usr/etc/zypp/zypp.conf.d/*.conf",
                 "/etc/zypp/zypp.conf", "/etc/zypp/zypp.conf.d/*.conf")


def definitions(root: str, service: bool) -> list[tuple[str, str, dict]]:
    """All repositories or services below ``root``: alias, path without the root, settings."""
    directory, suffix, _key = PLACES[service]
    found = []
    for path in sorted(glob.glob(f"{glob.escape(root)}{ZYPP}/{directory}/*{suffix}")):
        found += [(alias, path[len(root):], settings) for alias, settings in zypp_files.parse(read(path)).items()]
    return found


def configuration(root: str) -> dict[str, str]:
    """The section main of zypp.conf, wherever its parts are."""
    found: dict[str, str] = {}
    for pattern in CONFIGURATION:
        for path in sorted(glob.glob(glob.escape(root) + pattern)):
            found.update(zypp_files.parse(read(path)).get("main", {}))
    return found


def as_diff(edit: Edit) -> dict[str, str]:
    """The before and after of ``--diff``, without secrets."""
    if edit.path.startswith(CREDENTIALS):
        before, after = ("secret\n" if edit.before else ""), ("another secret\n" if edit.before else "secret\n")
        after = after if edit.after else ""
    else:
        before, after = hide(edit.before), hide(edit.after)
    return {"before": before, "after": after, "before_header": edit.path, "after_header": edit.path}
