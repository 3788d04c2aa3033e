# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module package behind ``ansible.builtin.package``, as roles that know nothing of this collection call it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest

USE = {"ansible_package_use": "microos.transactional.package"}


def package(name, state="present", **keywords):
    return {"ansible.builtin.package": {"name": name, "state": state}, **keywords}


def packages(number):
    told = subprocess.check_output(["rpm", "--root", f"/.snapshots/{number}/snapshot", "-qa", "--qf", "%{NAME}\\n",
                                    "testbed-*"], text=True)
    return sorted(told.split())


def plain(*tasks):
    return {"hosts": "root", "gather_facts": False, "become": True, "connection": "ansible.builtin.ssh",
            "tasks": list(tasks)}


def test_a_task_makes_a_snapshot(controller, host):
    output = controller.check([plain(package(["testbed-hello", "testbed-left"]), package("testbed-left", "absent"),
                                     package("testbed-hello", "latest"))], variables=USE)
    assert "changed=2" in output
    assert host.snapshots() == [1, 2, 3]
    assert packages(3) == ["testbed-base", "testbed-hello"]


def test_use_of_a_single_task(controller, host):
    task = package("testbed-hello>=1.0")
    task["ansible.builtin.package"]["use"] = USE["ansible_package_use"]
    assert "changed=1" in controller.check([plain(task)])
    assert packages(2) == ["testbed-base", "testbed-hello"]


def test_check_mode_and_diff(controller, host):
    play = plain(package("testbed-app"))
    output = controller.check([play], variables=USE, arguments=["--check", "--diff"])
    assert "+testbed-lib-1.0-1.noarch" in output
    assert host.snapshots() == [1]


def test_many_tasks_in_one_transaction_make_one_snapshot(controller, host):
    tasks = [package(f"testbed-many-{number:03}") for number in range(1, 11)]
    output = controller.check([controller.play(controller.transaction("open"), *tasks,
                                               controller.transaction("closed"))], variables=USE)
    assert "failed=0" in output
    assert host.snapshots() == [1, 2]
    assert len(packages(2)) == 11


def test_the_scratch_of_zypper_is_no_change_and_not_in_the_way(controller, host):
    """It makes /var/adm/update-scripts, which the host's /var hides, for scriptlets that run after everything else."""
    controller.check([controller.play(controller.transaction("open"), package("testbed-posttrans"),
                                      controller.transaction("closed"))], variables=USE)
    assert host.snapshots() == [1, 2]
    assert (host.snapshot() / "usr/share/testbed/testbed-posttrans").read_text() == "done\n"


ROLE = {
    "defaults/main.yml": {"plain_state": "present", "plain_extra": []},
    "vars/Debian.yml": {"plain_packages": ["testbed-hello", "testbed-app"]},
    "vars/Suse.yml": {"plain_packages": ["testbed-left"]},
    "tasks/main.yml": [
        {"name": "Names of the distribution", "ansible.builtin.include_vars": "{{ item }}",
         "with_first_found": ["{{ ansible_facts.distribution }}.yml", "{{ ansible_facts.os_family }}.yml"]},
        {"name": "Packages", "ansible.builtin.package": {"name": "{{ plain_packages }}", "state": "{{ plain_state }}"},
         "register": "packages", "until": "packages is succeeded", "retries": 2, "notify": "told"},
        {"name": "More of them", "ansible.builtin.package": {"name": "{{ plain_extra }}", "state": "latest"},
         "when": "plain_extra | length > 0"},
        {"name": "Not wanted beside them", "ansible.builtin.package": {"name": "testbed-right", "state": "absent"}},
        {"name": "Configuration", "ansible.builtin.copy": {"dest": "/etc/plain.conf", "content": "x", "mode": "0644"}},
    ],
    "handlers/main.yml": [{"name": "told", "ansible.builtin.debug": {"msg": "the packages changed"}}],
}


@pytest.fixture
def plain_role(controller):
    """A role that was written for plain hosts."""
    for path, content in ROLE.items():
        file = controller.directory / "roles/plain" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content))
    yield "plain"
    shutil.rmtree(controller.directory / "roles")


def test_a_role_for_plain_hosts_in_a_transaction(controller, host, plain_role):
    play = {"hosts": "root", "gather_facts": True, "become": True, "tasks": [{
        "ansible.builtin.include_role": {"name": "microos.transactional.transaction"},
        "vars": {"transaction_roles": [plain_role]}}]}
    variables = dict(USE, plain_extra=["testbed-lib", "testbed-config"])
    output = controller.check([play], variables=variables)
    assert output.count("the packages changed") == 1
    assert host.snapshots() == [1, 2]
    assert packages(2) == ["testbed-app", "testbed-base", "testbed-config", "testbed-hello", "testbed-lib"]
    assert (host.snapshot() / "etc/plain.conf").exists()
    # and nothing to do the second time
    assert "the packages changed" not in controller.check([play], variables=variables)
    assert host.snapshots() == [1, 2]


def test_the_packages_of_a_role_for_plain_hosts_outside(controller, host, plain_role):
    play = {"hosts": "root", "become": True, "connection": "ansible.builtin.ssh", "roles": [plain_role]}
    assert "the packages changed" in controller.check([play], variables=USE)
    assert host.snapshots() == [1, 2]
    assert packages(2) == ["testbed-app", "testbed-base", "testbed-hello", "testbed-lib"]
    assert "changed=0" in controller.check([play], variables=USE)
    assert host.snapshots() == [1, 2]
    os.unlink("/etc/plain.conf")
