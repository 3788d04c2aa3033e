# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read and edit ``.repo`` and ``.service`` files, by the rules of libzypp's own reader.

A comment begins with ``#`` or ``;`` at the start of a line only. A line without ``=``, or with one of ``:/?|,\\``
before it, goes on with the addresses above it. Keys are repeated at will: addresses add up, of all others the last one
counts.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
import typing as t

NOT_IN_A_KEY = re.compile(r"[:/?|,\\]")
ADDRESSES = ("baseurl", "gpgkey", "mirrorlist", "metalink")
SEPARATOR = re.compile(r"(?<![,\t ])[,\t ]*[\t ][,\t ]*")
TRUE = ("1", "yes", "true", "always", "on", "+")
FALSE = ("0", "no", "false", "never", "off", "-")
# dir:///path and dir:/path are the same
LOCAL = re.compile(r"(dir|file|hd|iso|cd|dvd):/+", re.IGNORECASE)

Value = t.Union[str, t.List[str]]


class Line(t.NamedTuple):
    text: str
    section: str | None
    # what the line is about; None for comments, empty lines and the section's own line
    key: str | None
    value: str


def truth(value: str) -> bool | None:
    """What libzypp takes a switch for; None if it is neither on nor off."""
    value = value.lower()
    return True if value in TRUE else False if value in FALSE else None


def address(url: str) -> str:
    """An address in the form that libzypp writes itself."""
    return LOCAL.sub(lambda found: found.group(1).lower() + ":/", url, count=1)


def _lines(text: str) -> t.Iterator[Line]:
    section = key = None
    # only a line feed ends a line, as in libzypp
    for line in (text[:-1] if text.endswith("\n") else text).split("\n") if text else ():
        stripped = line.strip()
        if not stripped or stripped[0] in "#;":
            yield Line(line, section, None, "")
        elif stripped[0] == "[" and "]" in stripped:
            section, key = stripped[1:stripped.rindex("]")], None
            yield Line(line, section, None, "")
        else:
            head, sign, tail = stripped.partition("=")
            if sign and not NOT_IN_A_KEY.search(head):
                key = head.rstrip()
                yield Line(line, section, key, tail.lstrip())
            else:
                yield Line(line, section, key, stripped)


def parse(text: str) -> dict[str, dict[str, Value]]:
    """Settings by alias. Addresses are lists, all else text."""
    found: dict[str, dict[str, Value]] = {}
    for line in _lines(text):
        if line.section is None:
            continue
        settings = found.setdefault(line.section, {})
        if line.key in ADDRESSES:
            settings.setdefault(line.key, []).extend(word for word in SEPARATOR.split(line.value) if word)
        elif line.key is not None:
            settings[line.key] = line.value
    return found


def same(one: Value | None, other: Value | None) -> bool:
    """Whether two values mean the same to libzypp."""
    if one is None or other is None:
        return one is other
    if isinstance(one, list):
        return [address(url) for url in one] == [address(url) for url in other]
    return one == other or (truth(one) is not None and truth(one) == truth(other)) or address(one) == address(other)


def _format(key: str, value: Value) -> list[str]:
    if isinstance(value, str):
        return [f"{key}={value}"]
    return [f"{key}={value[0]}"] + [" " * (len(key) + 1) + more for more in value[1:]]


def edit(text: str, alias: str, wanted: t.Mapping[str, Value | None]) -> str:
    """``text`` with the ``wanted`` settings of one alias, None for none; everything else stays as it is."""
    existing = parse(text)
    if alias not in existing:
        block = [f"[{alias}]"]
        for key, value in wanted.items():
            block += _format(key, value) if value is not None else []
        return text + ("\n" if text.strip() else "") + "\n".join(block) + "\n"
    todo = {key: value for key, value in wanted.items() if not same(existing[alias].get(key), value)}
    result: list[str] = []
    end = 0  # behind the last line of the section that says something
    for line in _lines(text):
        if line.section == alias and line.key in wanted and line.key not in todo:
            result.append(line.text)
        elif line.section == alias and line.key in wanted:
            value = todo[line.key]
            result += _format(line.key, value) if value is not None else []
            todo[line.key] = None
        else:
            result.append(line.text)
        if line.section == alias and line.text.strip():
            end = len(result)
    missing = [new for key, value in todo.items() if value is not None for new in _format(key, value)]
    result[end:end] = missing
    return "\n".join(result) + "\n"


def remove(text: str, alias: str) -> str:
    """``text`` without an alias; empty if nothing is left that says anything."""
    left = [line for line in _lines(text) if line.section != alias]
    if not any(line.section is not None for line in left):
        return ""
    return "\n".join(line.text for line in left) + "\n"


def made_at(repomd: str) -> int | None:
    """When metadata were made, by their index: the time of the newest part."""
    times = [int(text) for text in re.findall(r"<timestamp>\s*(\d{1,12})(?:\.\d+)?\s*</timestamp>", repomd)]
    return max(times) if times else None
