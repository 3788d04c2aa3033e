# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the owner's own roles, modules and task files are called is the owner's business, inside too."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

COLLECTION = Path(__file__).parents[2]
FILES = Path("/run/controller")
OURS = sorted(os.listdir(COLLECTION / "roles"))
# Names that the role itself uses or has used, and that are as likely for an owner's
TASK_FILES = ("main", "tasks", "role", "take", "nested", "judge", "transaction", "work")


def write(path, text):
    path = FILES / path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(text))


def ran(name):
    """A task that costs no round trip to the host."""
    return {"ansible.builtin.set_fact": {"ran": "{{ ran | default([]) + ['" + name + "'] }}"}}


def tell(name="ran"):
    return {"ansible.builtin.copy": {"content": "{{ ran | sort | to_json }}", "dest": f"/etc/{name}", "mode": "0644"}}


@pytest.fixture
def owner(controller):
    """The owner has a role of each name that the collection has, and a task file of each name as well."""
    for name in OURS:
        write(f"roles/{name}/tasks/main.yml", [ran(name)])
    for name in TASK_FILES:
        write(f"tasks/{name}.yml", [ran(f"{name}.yml")])
    yield
    for name in "tasks", "roles", "playbooks":
        shutil.rmtree(FILES / name, ignore_errors=True)


def play(**variables):
    include = {"ansible.builtin.include_role": {"name": "microos.transactional.transaction"},
               "vars": {f"transaction_{name}": value for name, value in variables.items()}}
    return {"hosts": "root", "gather_facts": False, "become": True, "tasks": [include]}


def told(host, name="ran"):
    return json.loads((host.snapshot() / "etc" / name).read_text())


def test_a_listed_role_is_the_owners(controller, host, owner):
    write("tasks/tell.yml", [tell()])
    # what the collection's roles of these names would refuse
    wrong = {"selinux_mode": 7, "updates_window_start": ["x"], "tuning_sysctl": "x"}
    controller.check([dict(play(roles=OURS, tasks="tell.yml"), vars=wrong)])
    assert told(host) == OURS


@pytest.mark.parametrize("keyword", ["include_role", "import_role"])
def test_a_role_in_a_task_file_is_the_owners(controller, host, owner, keyword):
    write("tasks/all.yml", [{f"ansible.builtin.{keyword}": {"name": name}} for name in OURS]
          + [{"ansible.builtin.include_tasks": "deeper.yml"}])
    write("tasks/deeper.yml", [{"block": [{keyword: {"name": OURS[0]}}, tell()]}])
    controller.check([play(tasks="all.yml")])
    assert told(host) == sorted([*OURS, OURS[0]])


def test_a_role_that_another_needs_is_the_owners(controller, host, owner):
    write("roles/site/meta/main.yml", {"dependencies": [{"role": name} for name in OURS[:-1]]})
    write("roles/site/tasks/main.yml", [{"include_role": {"name": OURS[-1]}}, {"import_role": {"name": OURS[0]}},
                                        tell()])
    controller.check([play(roles=["site"])])
    assert told(host) == sorted([*OURS, OURS[0]])


def test_the_collections_role_has_its_full_name(controller, host, owner):
    write("tasks/ours.yml", [
        {"include_role": {"name": "microos.transactional.serial_console"}, "vars": {"serial_console_speed": 7}}])
    for variables in ({"tasks": "ours.yml"}, {"roles": ["microos.transactional.serial_console"]}):
        returncode, out = controller.run([dict(play(**variables), vars={"serial_console_speed": 7})])
        assert returncode == 2 and "value of serial_console_speed must be" in " ".join(out.split())


def test_a_module_in_a_task_file_is_ansibles(controller, host, owner):
    """Modules of the collection have such names too."""
    write("tasks/plain.yml", [{"package": {"no_such_option": True}, "register": "told", "ignore_errors": True},
                              {"ansible.builtin.set_fact": {"ran": ["{{ told.msg }}"]}}, tell()])
    controller.check([play(tasks="plain.yml")])
    assert "microos.transactional" not in told(host)[0]


def test_a_task_file_of_a_task_file_is_the_owners(controller, host, owner):
    write("tasks/all.yml", [{f"ansible.builtin.{'import' if number % 2 else 'include'}_tasks": f"{name}.yml"}
                            for name in TASK_FILES for number in (0, 1)] + [tell()])
    controller.check([play(tasks="all.yml")])
    assert told(host) == sorted(f"{name}.yml" for name in TASK_FILES * 2)


def test_the_playbook_of_the_collection_runs_the_owners_roles(controller, host, owner):
    """For a playbook of a collection, Ansible looks for all that has a short name in that collection first."""
    write("roles/site/tasks/main.yml", [{"include_role": {"name": name}} for name in OURS] + [
        {"package": {"no_such_option": True}, "register": "told", "ignore_errors": True},
        {"ansible.builtin.set_fact": {"ran": "{{ ran + [told.msg] }}"}}, tell()])
    controller.check("microos.transactional.converge", ANSIBLE_ROLES_PATH=str(FILES / "roles"), arguments=("-b",),
                     variables={"targets": "root", "converge_roles": [*OURS, "site"], "converge_activate": "none"})
    names = told(host)
    assert sorted(name for name in names if name in OURS) == sorted(OURS * 2)
    assert not any("microos.transactional" in name for name in names)
