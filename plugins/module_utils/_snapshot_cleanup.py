# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which snapshots snapper's cleanup keeps: settings of the configuration of the root file system.

snapper takes any key and value, and then stops its cleanup at a wrong one with exit code 0, so all are checked here.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._tools import snapper

FRACTION = re.compile(r"(?:[0-9]*\.)?[0-9]+\Z")
# snapper wants it in the C locale
SIZE = re.compile(r"[0-9]+(?:\.[0-9]+)? ?(?:B|[kMGTPE]i?B)\Z", re.IGNORECASE | re.ASCII)


def _boolean(value: bool) -> str:
    return "yes" if value else "no"


def _seconds(value: int) -> str:
    if value < 0:
        raise ValueError("a number of seconds is expected")
    return str(value)


def _limit(value: str) -> str:
    found = re.match(r"([0-9]{1,9})(?:-([0-9]{1,9}))?\Z", value)
    if not found or int(found.group(2) or found.group(1)) < int(found.group(1)):
        raise ValueError("a number as 10 or a range as 2-10 is expected")
    return value


def _share(value: str) -> str:
    if not (SIZE.match(value) or FRACTION.match(value) and float(value) <= 1):
        raise ValueError("a part of the file system from 0 to 1, as 0.5, or a size, as '20 GiB', is expected")
    return value


BOOLEANS = ("number_cleanup", "timeline_create", "timeline_cleanup", "empty_pre_post_cleanup")
SECONDS = ("number_min_age", "timeline_min_age", "empty_pre_post_min_age")
LIMITS = ("number_limit", "number_limit_important", "timeline_limit_hourly", "timeline_limit_daily",
          "timeline_limit_weekly", "timeline_limit_monthly", "timeline_limit_quarterly", "timeline_limit_yearly")
SHARES = ("space_limit", "free_limit")
# Option -> its type for Ansible, and the function that makes snapper's text of a value
OPTIONS: dict[str, tuple[str, t.Callable[[t.Any], str]]] = {
    **dict.fromkeys(BOOLEANS, ("bool", _boolean)), **dict.fromkeys(SECONDS, ("int", _seconds)),
    **dict.fromkeys(LIMITS, ("str", _limit)), **dict.fromkeys(SHARES, ("str", _share))}


def as_settings(wanted: t.Mapping[str, t.Any]) -> dict[str, str]:
    """The settings of snapper for the options that were given."""
    settings = {}
    for option, (_type, text_of) in OPTIONS.items():
        if wanted.get(option) is not None:
            try:
                settings[option.upper()] = text_of(wanted[option])
            except ValueError as exc:
                raise TransactionalError(f"{option}: '{wanted[option]}' is not possible: {exc}") from exc
    return settings


def without_quota(configuration: t.Mapping[str, str]) -> list[str]:
    """The limits that are ranges, of which snapper knows the upper end only as long as it has no quota."""
    if configuration.get("QGROUP"):
        return []
    return [option.upper() for option in LIMITS if "-" in configuration.get(option.upper(), "")]


def snapshot_cleanup(wanted: t.Mapping[str, t.Any], check_mode: bool) -> dict:
    """Have the settings as they are wanted."""
    settings = as_settings(wanted)
    before = snapper.configuration()
    after = dict(before, **settings)
    if after != before and not check_mode:
        snapper.configure({key: value for key, value in settings.items() if before.get(key) != value})
        after = snapper.configuration()
        wrong = [key for key, value in settings.items() if after.get(key) != value]
        if wrong:
            raise TransactionalError(f"snapper ended without an error, but {snapper.CONFIG_FILE} has not got what was "
                                     f"asked for: {', '.join(f'{key}={after.get(key)}' for key in wrong)}")
    ranges = without_quota(after)
    warnings = [f"{', '.join(ranges)}: the lower end of a range counts only where snapper knows the quota group of its "
                "snapshots (QGROUP), which 'snapper setup-quota' sets up"] if ranges else []
    return {"changed": after != before, "settings": {option: after.get(option.upper()) for option in OPTIONS},
            "quota": bool(after.get("QGROUP")), "warnings": warnings,
            "diff": {side: "".join(f"{key}={of[key]}\n" for key in sorted(of)) for side, of in (
                ("before", before), ("after", after))}}
