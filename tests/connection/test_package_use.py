# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module package behind ``ansible.builtin.package``, as roles that know nothing of this collection call it."""

from __future__ import annotations

import subprocess

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
