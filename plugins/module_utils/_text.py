# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names and texts of any kind, so that every result can be sent and no message can be forged.

Python keeps a byte that is no UTF-8 as a surrogate. It is shown as ``\\xNN``, in results and in messages.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
import typing as t

# How many names a message has, and how many rows a list in a result
NAMES, ROWS = 20, 1000
NAME_LENGTH = 200
# What starts a new line, moves the cursor, or turns the direction of writing; and what is no UTF-8
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
UNSAFE_BUT_TAB = re.compile(UNSAFE.pattern.replace("\x00-\x1f", "\x00-\x08\x0a-\x1f"))
SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _escape(found: t.Match) -> str:
    letter = found.group()
    if "\udc80" <= letter <= "\udcff":
        return f"\\x{ord(letter) - 0xdc00:02x}"
    return SHORT.get(letter) or f"\\u{ord(letter):04x}"


def readable(name: str) -> str:
    """A name on one line, whatever is in it, for a message."""
    return UNSAFE.sub(_escape, name)


def readable_line(line: str) -> str:
    """As ``readable``, for a line of a text, which may have tabs."""
    return UNSAFE_BUT_TAB.sub(_escape, line)


def _shortened(name: str) -> str:
    half = NAME_LENGTH // 2
    return name if len(name) <= NAME_LENGTH else f"{name[:half]}...{name[-half:]}"


def listed(names: t.Sequence[str], limit: int = NAMES, count: int | None = None) -> str:
    """The first names, for a message, and how many more there are, of ``count`` if these are not all."""
    shown = names[:limit]
    more = (len(names) if count is None else count) - len(shown)
    return ", ".join(_shortened(readable(name)) for name in shown) + (f" and {more:,} more" if more > 0 else "")


def printable(value: t.Any) -> t.Any:
    """The same with texts that are valid UTF-8, so that it can be sent as JSON."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            return re.sub("[\ud800-\udfff]", _escape, value)
        return value
    if isinstance(value, t.Mapping):
        return {printable(key): printable(row) for key, row in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [printable(row) for row in value]
    return value
