# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kernel arguments as words, and as the text of the files that have them.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
import shlex
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError

# As the kernel splits them: only double quotes keep spaces
WORD = re.compile(r'(?:[^\s"]|"[^"]*"?)+')
# ASCII that can be seen, without what a shell or GRUB would take as theirs
ARGUMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(=[][A-Za-z0-9_.,:=/@+~^%-]*)?\Z")
# The kernel cuts the whole line at 2048 bytes on most machines, and boot loaders add what finds the system
LONGEST = 1856
# What finds the system. They belong to the installation and to the snapshot
RESERVED = ("BOOT_IMAGE", "init", "initrd", "ro", "root", "rootflags", "rootfstype", "rw")
# What follows is for init
END = "--"
CMDLINE = "/etc/kernel/cmdline"
GRUB_DEFAULTS = "/etc/default/grub"
GRUB_VARIABLES = ("GRUB_CMDLINE_LINUX", "GRUB_CMDLINE_LINUX_DEFAULT")


class Request(t.NamedTuple):
    """Arguments to have beside others with the same key, to have alone, and not to have: ``key`` or ``key=value``."""

    present: t.Sequence[str]
    replaced: t.Sequence[str]
    absent: t.Sequence[str]


def split(text: str) -> list[str]:
    return WORD.findall(text)


def key(argument: str) -> str:
    """The kernel does not tell ``-`` from ``_`` in it."""
    return argument.split("=", 1)[0].replace("-", "_")


def _canonical(argument: str) -> str:
    found = argument.split("=", 1)
    return "=".join([key(argument), *found[1:]])


def matches(word: str, pattern: str) -> bool:
    """Whether a word is the argument, or one with the key if the pattern has no value."""
    return _canonical(word) == _canonical(pattern) or ("=" not in pattern and key(word) == key(pattern))


def validate(request: Request) -> None:
    """Refuse what cannot be an argument, what must not be changed here, and contradictions."""
    for argument in (*request.present, *request.replaced, *request.absent):
        if not ARGUMENT.match(argument):
            raise TransactionalError(f"{argument!r} cannot be given as a kernel argument: it must be 'key' or "
                                     "'key=value', of letters, digits and []_.,:=/@+~^%-")
        if key(argument) in RESERVED:
            raise TransactionalError(f"'{argument}' is not changed here: {key(argument)} belongs to the installation "
                                     "and to the snapshot, and the host might not boot any more")
    keys = [key(argument) for argument in request.replaced]
    for argument in request.replaced:
        others = [other for other in request.present if key(other) == key(argument)]
        if keys.count(key(argument)) > 1 or others:
            raise TransactionalError(f"'{argument}' shall be the only argument with its key, but there is another one "
                                     "with the same key in 'replaced' or 'present'")
    for argument in (*request.present, *request.replaced):
        if any(matches(argument, pattern) for pattern in request.absent):
            raise TransactionalError(f"'{argument}' is wanted, and not wanted as well by 'absent'")


def _check(lines: t.Sequence[t.Sequence[str]], where: str) -> None:
    """Refuse a command line that the kernel would understand otherwise than it was meant."""
    words = [word for words in lines for word in words]
    quoted = next((word for word in words if word.count('"') % 2), None)
    if quoted is not None:
        raise TransactionalError(f"'{quoted}' in {where} has a quotation mark without its other one, and what comes "
                                 "after it would belong to it: mend that first")
    size = len(" ".join(words).encode("utf-8", "surrogateescape"))
    if size > LONGEST:
        raise TransactionalError(f"the kernel arguments in {where} would have {size} bytes, and the kernel might cut "
                                 f"what is more than {LONGEST}")


def lacks(words: t.Sequence[str], request: Request) -> list[str]:
    """What differs from the request, in words for the user."""
    has = [_canonical(word) for word in words]
    found = [f"'{argument}' is missing" for argument in (*request.present, *request.replaced)
             if _canonical(argument) not in has]
    found += [f"'{word}' is there beside '{argument}'" for argument in request.replaced for word in words
              if key(word) == key(argument) and _canonical(word) != _canonical(argument)]
    found += [f"'{word}' is there" for word in words if any(matches(word, pattern) for pattern in request.absent)]
    return found


def edit(lines: t.Sequence[t.Sequence[str]], request: Request) -> list[list[str]]:
    """Arguments from several places, which make one command line, as requested; what is new comes to the last place."""
    replaced = {key(argument): argument for argument in request.replaced}
    done = set()
    result = []
    tails = []
    for words in lines:
        end = words.index(END) if END in words else len(words)
        kept = []
        for word in words[:end]:
            if key(word) in replaced:
                if key(word) not in done:
                    kept.append(replaced[key(word)])
                    done.add(key(word))
            elif not any(matches(word, pattern) for pattern in request.absent):
                kept.append(word)
        result.append(kept)
        tails.append(list(words[end:]))
    has = {_canonical(word) for words in result for word in words}
    for argument in (*request.present, *request.replaced):
        if _canonical(argument) not in has:
            result[-1].append(argument)
            has.add(_canonical(argument))
    return [words + tail for words, tail in zip(result, tails)]


# --- /etc/kernel/cmdline -----------------------------------------------------------------------------------------


def parse_cmdline(text: str) -> list[str]:
    return split(" ".join(line for line in text.splitlines() if not line.lstrip().startswith("#")))


def edit_cmdline(text: str, request: Request) -> str:
    """The file with its comments first, or the same if nothing differs."""
    words = parse_cmdline(text)
    after = edit([words], request)[0]
    if after == words:
        return text
    _check([after], CMDLINE)
    comments = [line for line in text.splitlines() if line.lstrip().startswith("#")]
    return "\n".join([*comments, " ".join(after)]) + "\n"


# --- GRUB ----------------------------------------------------------------------------------------------------------


# What shlex and a shell understand alike: texts in quotes and plain ones, without anything that would be expanded, and
# a comment
_VISIBLE = r"[^\x00-\x08\x0a-\x1f\x7f"
PLAIN_VALUE = re.compile(rf"""(?:"(?:{_VISIBLE}"\\$`]|\\{_VISIBLE}$`])*"|'{_VISIBLE}'$`]*'|[A-Za-z0-9_.,:=/@+^%-])*"""
                         rf"""(?:[ \t]+#{_VISIBLE}]*|[ \t]*)\Z""")


def _assignment(name: str) -> t.Pattern:
    return re.compile(rf"^[ \t]*(?:export[ \t]+)?{name}(\+?)=(.*)$", re.MULTILINE)


def _grub_value(name: str, text: str) -> str:
    found = list(_assignment(name).finditer(text))
    if not found:
        return ""
    plus, value = found[-1].groups()
    if plus or not PLAIN_VALUE.match(value):
        raise TransactionalError(f"the line '{found[-1].group(0).strip()}' in {GRUB_DEFAULTS} is more than a text in "
                                 "quotes, and is not changed here: write it as one")
    words = [] if value[:1] in (" ", "\t") else shlex.split(value, comments=True)
    return words[0] if words else ""


def parse_grub(text: str) -> list[list[str]]:
    return [split(_grub_value(name, text)) for name in GRUB_VARIABLES]


def edit_grub(text: str, request: Request) -> str:
    """``/etc/default/grub`` with the arguments, or the same if nothing differs."""
    before = parse_grub(text)
    after = edit(before, request)
    if after == before:
        return text
    _check(after, GRUB_DEFAULTS)
    for name, old, new in zip(GRUB_VARIABLES, before, after):
        if new == old:
            continue
        value = " ".join(new).replace("\\", "\\\\").replace('"', '\\"')
        line = f'{name}="{value}"'
        found = list(_assignment(name).finditer(text))
        if found:
            text = text[:found[-1].start()] + line + text[found[-1].end():]
        else:
            text = text + ("" if text.endswith("\n") or not text else "\n") + line + "\n"
    return text


def first_linux_line(text: str) -> list[str] | None:
    """Arguments of the first entry in a ``grub.cfg``, which is the one that boots this snapshot."""
    for line in text.splitlines():
        words = split(line)
        if words and words[0] in ("linux", "linuxefi", "linux16"):
            return words[2:]
    return None
