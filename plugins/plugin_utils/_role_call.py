# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can be wrong with a use of the role ``transaction``, told before anything is done.

Ansible itself passes over variables that a role does not know.

Note that this plugin util is PRIVATE to the collection.
"""

from __future__ import annotations

import difflib
import os
import typing as t

ROLE = "microos.transactional.transaction"
PREFIX = "transaction_"
# What the role tells, and a user may look at
TOLD = ("transaction_is_open", "transaction_result")
# How alike a name must be to one of the role's to be taken for it, where it may be meant for something else
ALIKE = 0.8


def is_role(task: t.Any) -> bool:
    """Whether a task is one of the role's own."""
    return bool(task._role) and task._role.get_name() == ROLE


def given(task: t.Any) -> set[str]:
    """The names of variables that stand where the role is used, in the blocks around it, or in the play."""
    role = task._role
    return {name for variables in (task.get_vars(), role.vars, role.get_role_params(), task.get_play().get_vars())
            for name in variables}


def misspelt(known: t.Iterable[str], variables: t.Iterable[str],
             meant: t.Container[str]) -> tuple[list[str], list[str]]:
    """What is wrong with the names of variables, and what may be.

    ``meant`` are those that stand where the role is used. The others may belong to something else of the host's.
    """
    wrong, doubtful = [], []
    names = {name.removeprefix(PREFIX): name for name in known}
    for name in sorted(variables):
        if not name.startswith(PREFIX) or name in names.values() or name in TOLD:
            continue
        near = difflib.get_close_matches(name.removeprefix(PREFIX), names, 1, ALIKE)
        if near:
            wrong.append(f"the role {ROLE} has no variable '{name}'. Is '{names[near[0]]}' meant?")
        elif name in meant:
            wrong.append(f"the role {ROLE} has no variable '{name}'")
        else:
            doubtful.append(f"the role {ROLE} has no variable '{name}', which is passed over")
    return wrong, doubtful


def work(roles: t.Sequence[t.Any], tasks: t.Sequence[t.Any], checks: t.Sequence[t.Any], places: t.Sequence[str],
         exists: t.Callable[[str], bool] = os.path.exists) -> list[str]:
    """What is wrong with the work that the role is given."""
    if not roles and not tasks:
        return [f"the role {ROLE} has nothing to run: neither transaction_roles nor transaction_tasks names anything"]
    wrong = [f"{name}: {what} is needed, but {item!r} is none"
             + (". The variables of a role are those of the play, of the host, or of the task that includes "
                f"{ROLE}" if name == "transaction_roles" else "")
             for name, what, items in (("transaction_roles", "the name of a role", roles),
                                       ("transaction_tasks", "the name of a file", tasks),
                                       ("transaction_checks", "the name of a file", checks))
             for item in items if not isinstance(item, str) or not item.strip()]
    for name, items in (("transaction_tasks", tasks), ("transaction_checks", checks)):
        wrong += [f"{name}: there is no file '{item}' in {' or in '.join(places)}" for item in items
                  if isinstance(item, str) and item.strip()
                  and not any(exists(os.path.join(place, item)) for place in places)]
    return wrong
