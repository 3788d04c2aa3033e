# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A table of faults: the options that say which, a line for each, and the sum."""

from __future__ import annotations

import argparse
import collections
import random
import re
import signal
import sys
import time
import typing as t
from pathlib import Path


class Wrong(Exception):
    """A promise that was not kept, or a fault that did not happen as meant."""


class Row:
    """One fault: what the cells say, and what was wrong."""

    def __init__(self, heads: t.Iterable[str], name: str):
        self.name = name
        self.wrong: list[str] = []
        self.cells = dict.fromkeys(heads, "-")
        self.cells["fault"] = name
        self.begin()

    def begin(self) -> None:
        """Its time counts from here."""
        self._start = time.monotonic()

    def expect(self, holds: bool, text: str) -> None:
        if not holds:
            self.wrong.append(text)

    def end(self) -> None:
        self.cells["s"] = f"{time.monotonic() - self._start:.0f}"
        self.cells[""] = "FAILED" if self.wrong else "passed"


class Table:
    """Prints rows as they come, and counts."""

    def __init__(self, columns: t.Mapping[str, int]):
        self._columns = columns
        self._passed = self._failed = 0
        self._start = time.monotonic()

    def head(self, text: str) -> None:
        print(f"{text}\n\n{self._line(self._columns)}", flush=True)

    def add(self, row: Row) -> None:
        print(self._line(row.cells.values()), flush=True)
        for text in row.wrong:
            print(re.sub("(?m)^", "    ", text), flush=True)
        self._passed += not row.wrong
        self._failed += bool(row.wrong)

    def _line(self, cells: t.Iterable) -> str:
        widths = self._columns.values()
        return " ".join(str(cell)[:width].ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()

    def sum(self) -> int:
        """The closing line; returns the exit status."""
        print(f"\n{self._passed} passed, {self._failed} failed in {time.monotonic() - self._start:.1f}s")
        return 1 if self._failed else 0


def named(wanted: t.Sequence[str], faults: t.Iterable[str]) -> list[str]:
    """The faults that are meant by what ``--faults`` was given."""
    return list(faults)[::2 if "half" in wanted else 1] if {"all", "half"}.intersection(wanted) else list(wanted)


def options(doc: str, faults: t.Iterable[str], cuts: int) -> argparse.ArgumentParser:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=["tukit", "snapper"], default="tukit", help="which guest (default: tukit)")
    parser.add_argument("--seed", type=int, default=random.randrange(10000), help="for the same moments again")
    parser.add_argument("--cuts", type=int, default=cuts, metavar="N", help=f"power cuts (default: {cuts})")
    parser.add_argument("--faults", nargs="*", metavar="NAME", choices=[*faults, "all", "half"], default=["all"],
                        help=f"other faults: all (default), half (every second), or {', '.join(faults)}; none without "
                             "a name")
    parser.add_argument("--logs", type=Path, metavar="DIR", help="keep what the plays said there")
    return parser


def moments(phases: t.Sequence[str], count: int, chance: random.Random) -> list[tuple[str, float]]:
    """Phases and shares of them: spread over the phases in their order, and over each phase."""
    wanted = [phases[index % len(phases)] for index in range(count)]
    totals, seen, found = collections.Counter(wanted), collections.Counter(), []
    for phase in wanted:
        found.append((phase, (seen[phase] + chance.random()) / totals[phase]))
        seen[phase] += 1
    return found
