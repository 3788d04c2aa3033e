# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The repositories, services and trusted keys of a host, and which are insecure.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.microos.transactional.plugins.module_utils import _resident
from ansible_collections.microos.transactional.plugins.module_utils._host import Host
from ansible_collections.microos.transactional.plugins.module_utils._repository_files import configuration, definitions
from ansible_collections.microos.transactional.plugins.module_utils._repository_safety import (
    checks,
    flaws,
    hide,
    hide_setting,
)
from ansible_collections.microos.transactional.plugins.module_utils._tools import keys, zypp_files


def _hidden(value: zypp_files.Value) -> zypp_files.Value:
    return hide(value) if isinstance(value, str) else [hide(url) for url in value]


def _other(settings: t.Mapping, known: t.Container[str]) -> dict:
    return {key: hide_setting(key, value) if isinstance(value, str) else _hidden(value)
            for key, value in settings.items() if key not in known}


def describe_repository(alias: str, path: str, settings: t.Mapping, zypp_conf: t.Mapping[str, str]) -> dict:
    """One repository as the user sees it, with libzypp's defaults."""
    in_effect = checks(settings, zypp_conf)
    priority = settings.get("priority", "")
    row: dict[str, t.Any] = {
        "alias": alias, "name": settings.get("name", alias), "file": path, "service": settings.get("service"),
        "enabled": zypp_files.truth(settings.get("enabled", "1")) is True,
        "autorefresh": zypp_files.truth(settings.get("autorefresh", "0")) is True,
        "keep_packages": zypp_files.truth(settings.get("keeppackages", "0")) is True,
        "priority": int(priority) if priority.isdigit() and int(priority) else 99}
    row.update(in_effect)
    row.update({key: _hidden(settings.get(key, [])) for key in ("baseurl", "mirrorlist", "metalink")})
    row["other"] = _other(settings, {*row, "keeppackages"})
    row["insecure"] = flaws(dict(settings, **in_effect))
    return row


def describe_service(alias: str, path: str, settings: t.Mapping) -> dict:
    row: dict[str, t.Any] = {
        "alias": alias, "name": settings.get("name", alias), "file": path, "type": settings.get("type"),
        "url": _hidden(settings.get("url", "")),
        "enabled": zypp_files.truth(settings.get("enabled", "1")) is True,
        "autorefresh": zypp_files.truth(settings.get("autorefresh", "0")) is True}
    row["other"] = _other(settings, row)
    row["insecure"] = flaws(settings)
    return row


def overview(host: Host) -> dict:
    """All repositories and services of the running system, and the keys that the pending snapshot trusts."""
    zypp_conf = configuration("")
    repositories = [describe_repository(*definition, zypp_conf) for definition in definitions("", service=False)]
    services = [describe_service(*definition) for definition in definitions("", service=True)]
    root = "/" if _resident.inside() else host.root_of(host.default())
    return {
        "changed": False, "repositories": repositories, "services": services, "keys": keys.trusted(root),
        "insecure": {row["alias"]: row["insecure"] for row in repositories + services
                     if row["enabled"] and row["insecure"]}}
