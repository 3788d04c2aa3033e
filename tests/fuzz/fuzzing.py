# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the fuzz tests share: broken and huge input, and what may come of it.

A parser ends in a result of its documented types or in the collection's own error, in a time that grows with the input
and not with its square.
"""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import subprocess
import typing as t
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._tools import command

# Line breaks that only Python knows, digits that int() does not take, what separates in one format or another
NASTY = ["", "\0", "\n", "\r", "\r\n", "\x0b", "\x1c", "\x1e", "\x1f", "\x7f", "\x85", "\u2028", "\ufeff", "\ufffe",
         "\u00b2", "\u0663", "\xa0", " ", "  ", "\t", "\\", "\\040", "\\777", "'", '"', "`", "$", "$(id)", "%", "%s",
         "{", "}", "{0}", "[", "]", "<", ">", "&", ";", "#", "=", ":", ",", "-", "--", "+", "/", "..", "*", "?",
         "@", "0", "-1", "1e999", "9" * 30, "null", "NaN", "true", "[]", "{}", '""', "(", ")", "://", "://a:b@",
         "]]>", "<!--"]
HUGE = 50_000  # characters: what takes the square of it takes minutes,
SECONDS = 10  # and the rest much less than this, on a slow machine too

printable = st.text(st.characters(exclude_categories=["C", "Z"]))
# as decoded from what a tool printed: "replace" leaves no surrogates
text = st.one_of(st.text(st.characters(exclude_categories=["Cs"])),
                 st.lists(st.sampled_from(NASTY), max_size=12).map("".join))
# as a file or a process may hold them
octets = st.one_of(st.binary(), text.map(lambda value: value.encode("utf-8")))


def is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@contextlib.contextmanager
def in_time(seconds: float = SECONDS) -> t.Iterator[None]:
    def fail(_number, _frame):
        raise AssertionError(f"it did not end within {seconds} s")
    before = signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@st.composite
def damaged(draw: st.DrawFn, outputs: t.Sequence[str]) -> str:
    """Something real, cut or changed in a few places."""
    found = draw(st.sampled_from(outputs))
    for _count in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(found)))
        end = min(len(found), start + draw(st.sampled_from([0, 1, 2, 5, 20, 10_000])))
        kind = draw(st.sampled_from(["cut", "replace", "repeat", "move", "replace", "line"]))
        if kind == "cut":
            found = found[:start] + found[end:]
        elif kind == "replace":
            found = found[:start] + draw(st.sampled_from(NASTY)) + found[end:]
        elif kind == "repeat":
            found = found[:end] + found[start:]
        elif kind == "move":
            found = found[:start] + found[end:] + found[start:end]
        else:
            lines = found.splitlines(keepends=True) or [""]
            del lines[draw(st.integers(0, len(lines) - 1))]
            found = "".join(lines)
    return found


@dataclasses.dataclass(repr=False)
class Parser:
    """``outputs`` are real ones; ``check`` asserts that a result is what the parser promises."""

    name: str
    call: t.Callable[[str], t.Any]
    outputs: t.Sequence[str]
    check: t.Callable[[t.Any], t.Any] = lambda result: None
    errors: tuple[type[Exception], ...] = (TransactionalError,)

    def __repr__(self) -> str:
        return self.name

    def run(self, value: str) -> t.Any:
        try:
            with in_time():
                result = self.call(value)
                return list(result) if isinstance(result, t.Iterator) else result
        except Exception as exc:
            if not isinstance(exc, self.errors):
                raise
            assert str(exc)
            return exc

    def judge(self, value: str) -> None:
        result = self.run(value)
        if not isinstance(result, self.errors):
            self.check(result)


def parser_tests(parsers: t.Sequence[Parser]) -> tuple[t.Callable, t.Callable, t.Callable, t.Callable]:
    """The tests that each parser has to pass."""
    each = pytest.mark.parametrize("parser", parsers, ids=[parser.name for parser in parsers])

    @each
    def test_real(parser):
        for output in parser.outputs:
            result = parser.run(output)
            assert not isinstance(result, parser.errors), result
            parser.check(result)

    @each
    @given(data=st.data())
    def test_any_text(parser, data):
        parser.judge(data.draw(text))

    @each
    @given(data=st.data())
    def test_damaged(parser, data):
        parser.judge(data.draw(damaged(parser.outputs)))

    @each
    @settings(max_examples=settings.default.max_examples // 8)
    @given(data=st.data())
    def test_huge(parser, data):
        output = data.draw(st.sampled_from(parser.outputs))
        where = data.draw(st.integers(0, len(output)))
        piece = data.draw(st.one_of(st.sampled_from([other for other in NASTY if other]),
                                    st.integers(1, 4).map(lambda size: output[max(0, where - size):where] or " "),
                                    st.sampled_from(sorted(set(output)))))
        parser.judge(output[:where] + piece * (HUGE // len(piece)) + output[where:])

    return test_real, test_any_text, test_damaged, test_huge


@contextlib.contextmanager
def answering(stdout: str, rc: int = 0, stderr: str = "") -> t.Iterator[mock.Mock]:
    """Whichever command is run says this."""
    def run(argv, *_args, **_kwargs):
        return command.Result(list(argv), rc, stdout, stderr)
    with mock.patch.object(command, "run", side_effect=run) as fake:
        yield fake


def shell(script: str, *arguments: str) -> bytes:
    """What the real shell prints."""
    return subprocess.run(["sh", "-c", script, "sh", *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                          check=True, timeout=SECONDS).stdout
