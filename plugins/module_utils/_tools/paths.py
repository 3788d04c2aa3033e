# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a path leads below another root, whose symbolic links are meant for the time when it is the root.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import os

# As many as Linux follows
MOST_LINKS = 40


def resolve(root: str, path: str, known: dict[str, str] | None = None) -> str:
    """The path without symbolic links, as a process sees it whose root is ``root``; what does not exist stays.

    ``known`` keeps what was read, for further calls. Too many links are an error (ELOOP), as for the kernel.
    """
    known = {} if known is None else known
    todo, done, links = path.split("/")[::-1], "", 0
    while todo:
        name = todo.pop()
        if name in ("", "."):
            continue
        if name == "..":
            done = done.rpartition("/")[0]
            continue
        here = f"{done}/{name}"
        target = known.get(here)
        if target is None:
            try:
                target = os.readlink(root + here)
            except (OSError, ValueError):  # no link, or nothing that exists
                target = ""
            known[here] = target
        if not target:
            done = here
            continue
        links += 1
        if links > MOST_LINKS:
            raise OSError(40, "Too many levels of symbolic links", root + path)
        if target.startswith("/"):
            done = ""
        todo += target.split("/")[::-1]
    return done or "/"
