# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one exception type that reaches the user.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations


class TransactionalError(Exception):
    """What happened and what to do about it, in words for the person who runs the play.

    ``details`` become keys of the task's result, next to ``msg``.
    """

    def __init__(self, message: str, **details):
        super().__init__(message)
        self.message = message
        self.details = details

    def add(self, sentence: str) -> None:
        """Append what became of the snapshot, known only where the transaction ends."""
        self.message = f"{self.message.rstrip('. ')}. {sentence}"

    def __str__(self) -> str:
        return self.message


class Interrupted(TransactionalError):
    """A signal has told this process to end. Whoever goes on after other errors has to pass this one on."""


class Busy(TransactionalError):
    """Somebody else is at work on this host: waiting may help."""

    def __init__(self, who: str, /, **details):
        super().__init__(f"another transaction is in progress: {who}; try again when it has ended",
                         busy=True, **details)


def tell(exc: BaseException | None, sentence: str) -> None:
    """Add what became of the snapshot to an error of any kind; ``_module`` reports it."""
    if isinstance(exc, TransactionalError):
        exc.add(sentence)
    elif exc is not None:
        exc.outcome = f"{getattr(exc, 'outcome', '')} {sentence}".strip()  # type: ignore[attr-defined]
