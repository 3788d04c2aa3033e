# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The variables of roles, held against their argument specs before the first of the roles runs.

Ansible does so when the turn of a role comes, and then the roles before it have done their work.

Note that this plugin util is PRIVATE to the collection.
"""

from __future__ import annotations

import os
import re
import typing as t

from ansible import constants
from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.playbook.role.include import RoleInclude

REBOOT = re.compile(r"^(\w+_transactional_update_reboot_ok)\s*:", re.MULTILINE)


def options(path: str, loader: t.Any) -> dict:
    """What the spec of a role says of its variables, read from where Ansible reads it."""
    for name in ("argument_specs", "main"):
        for extension in constants.YAML_FILENAME_EXTENSIONS:
            file = os.path.join(path, "meta", name + extension)
            if loader.path_exists(file):
                specs = (loader.load_from_file(file) or {}).get("argument_specs") or {}
                return (specs.get("main") or {}).get("options") or {}
    return {}


def _values(options: t.Iterable[str], task_vars: t.Mapping, templar: t.Any) -> dict:
    """What is known by now. What is not may come of an earlier role, or of the role's own defaults."""
    values: dict = {}
    for name in options:
        if name in task_vars:
            try:
                values.update(templar.template({name: task_vars[name]}))
            except AnsibleError:
                continue
    return values


def _path(role: str, collections: t.Sequence[str], loader: t.Any) -> str | None:
    """Where a role is, as Ansible finds it. One that is not found is an error of Ansible's when its turn comes."""
    try:
        return RoleInclude.load(role, play=None, loader=loader, collection_list=collections).get_role_path()
    except AnsibleError:
        return None


def reboots(roles: t.Iterable[str], collections: t.Sequence[str], task_vars: t.Mapping, loader: t.Any) -> list[str]:
    """Variables, not set, by which roles ask whether they may reboot a transactional host after each package.

    Roles of linux-system-roles do not go on before they have an answer. Inside of a transaction it can only be no.
    """
    found: dict[str, None] = {}
    for path in filter(None, (_path(role, collections, loader) for role in dict.fromkeys(roles))):
        for extension in constants.YAML_FILENAME_EXTENSIONS:
            file = os.path.join(path, "defaults", "main" + extension)
            if loader.path_exists(file):
                with open(file, encoding="utf-8", errors="replace") as stream:
                    found.update(dict.fromkeys(REBOOT.findall(stream.read())))
    return [name for name in found if name not in task_vars]


def problems(roles: t.Iterable[str], collections: t.Sequence[str], task_vars: t.Mapping, templar: t.Any,
             loader: t.Any) -> list[str]:
    """What is wrong, by role."""
    found = []
    for role in dict.fromkeys(roles):
        path = _path(role, collections, loader)
        try:
            known = options(path, loader) if path else {}
        except AnsibleError:
            continue
        values = _values(known, task_vars, templar)
        spec = {name: known[name] for name in values}
        errors = ArgumentSpecValidator(spec).validate(values, validate_role_argument_spec=True).error_messages
        if errors:
            found.append(f"role {role}: {'; '.join(errors)}")
    return found
