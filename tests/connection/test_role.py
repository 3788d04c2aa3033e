# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role transaction, as plays of all kinds use it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

FILES = Path("/run/controller")


def write(path, text):
    path = FILES / path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text if isinstance(text, str) else json.dumps(text))


def file(name, **keywords):
    return {"ansible.builtin.copy": {"content": "x", "dest": f"/etc/{name}", "mode": "0644"}, **keywords}


@pytest.fixture
def role(controller):
    """Makes a play that uses the role; what it includes lies beside the play."""
    write("tasks/converge.yml", [file("converged", notify="play handler")])
    write("tasks/fails.yml", [file("converged"), {"name": "The broken one", "ansible.builtin.command": "ls /missing"},
                              file("never")])
    write("roles/foreign/tasks/main.yml", [file("foreign", notify="role handler")])
    write("roles/foreign/handlers/main.yml", [{"name": "role handler", **file("role-handler")}])

    def play(hosts="root", more=(), keywords=None, **variables):
        include = {"ansible.builtin.include_role": {"name": "microos.transactional.transaction"}, "tags": "always",
                   "vars": {f"transaction_{name}": value for name, value in variables.items()}}
        return {"hosts": hosts, "gather_facts": False, "become": True, "tasks": [include, *more],
                "handlers": [{"name": "play handler", **file("play-handler")}], **(keywords or {})}
    yield play
    for name in "tasks", "roles":
        shutil.rmtree(FILES / name)


def etc(root):
    wanted = ("converged", "foreign", "role-handler", "play-handler", "never", "tagged", "nested")
    return [name for name in wanted if os.path.exists(f"{root}/etc/{name}")]


def is_clean(host):
    """Neither a transaction nor anything of it in the running system."""
    state = Path("/run/microos-transactional")  # none before the first one
    return not (state.exists() and os.listdir(state)) and not etc("/")


def test_roles_tasks_and_all_handlers_run_inside(controller, host, role):
    out = controller.check([role(tasks="converge.yml", roles=["foreign"], description="All of it", more=[
        {"ansible.builtin.command": "test ! -e /etc/converged"},  # outside again
        {"ansible.builtin.debug": {"var": "transaction_result.files | map(attribute='path')"}}])])
    assert host.snapshots() == [1, 2] and is_clean(host)
    assert etc("/.snapshots/2/snapshot") == ["converged", "foreign", "role-handler", "play-handler"]
    assert "/etc/role-handler" in out
    listed = subprocess.check_output(["snapper", "--no-dbus", "--csvout", "list", "--columns", "default,description"],
                                     text=True)
    assert listed.splitlines()[-1] == "yes,ansible: All of it"


def test_a_second_run_changes_nothing(controller, host, role):
    controller.check([role(tasks="converge.yml", roles=["foreign"])])
    out = controller.check([role(tasks="converge.yml", roles=["foreign"], activate="reboot", more=[
        {"ansible.builtin.assert": {"that": ["not transaction_result.changed", "not transaction_result.activated",
                                             "transaction_result.pending"]}}])])
    assert "changed=0" in out
    assert host.snapshots() == [1, 2] and is_clean(host)


def test_a_failure_is_that_of_the_task_and_leaves_no_trace(controller, host, role):
    returncode, out = controller.run([role(tasks="fails.yml", roles=["foreign"])])
    assert returncode == 2
    assert "No such file or directory" in out and "The broken one" in out
    assert "failed=1" in out and "unreachable=0" in out
    assert host.snapshots() == [1] and is_clean(host)


def test_a_caller_may_rescue(controller, host, role):
    play = role(tasks="fails.yml")
    play["tasks"] = [{"block": play["tasks"], "rescue": [
        {"ansible.builtin.assert": {"that": ["ansible_failed_task.name == 'The broken one'",
                                             "ansible_failed_result.rc == 2"]}},
        {"ansible.builtin.command": "test ! -e /run/microos-transactional/inside"}]}]
    controller.check([play])
    assert host.snapshots() == [1] and is_clean(host)


def test_a_failed_handler_aborts(controller, host, role):
    play = role(tasks="converge.yml")
    play["handlers"] = [{"name": "play handler", "ansible.builtin.command": "false"}]
    assert controller.run([play])[0] == 2
    assert host.snapshots() == [1] and is_clean(host)


def test_a_failed_one_may_be_kept(controller, host, role):
    assert controller.run([role(tasks="fails.yml", keep_failed=True)])[0] == 2
    assert etc("/.snapshots/2/snapshot") == ["converged"] and is_clean(host)


def test_check_mode_predicts_and_leaves_no_trace(controller, host, role):
    play = role(tasks="converge.yml", roles=["foreign"], gather_facts=True, activate="reboot")
    out = controller.check([play], arguments=("--check", "--diff"))
    assert "changed=4" in out and "+x" in out
    assert host.snapshots() == [1] and is_clean(host)


def test_the_failure_of_one_host_aborts_all_where_that_is_wanted(controller, host, role):
    write("tasks/one.yml", [file("converged"), {"ansible.builtin.command": "false",
                                                "when": "inventory_hostname == 'sudo'"}, file("never")])
    returncode, out = controller.run([role("root:sudo", tasks="one.yml", wait=60, keywords={"any_errors_fatal": True})])
    assert returncode == 2
    assert host.snapshots() == [1] and is_clean(host)


def test_an_unreachable_host_leaves_the_others_alone(controller, host, role):
    controller.inventory["all"]["hosts"]["gone"] = {"ansible_host": "127.0.0.1", "ansible_port": 1}
    try:
        returncode, out = controller.run([role("root:gone", tasks="converge.yml")])
    finally:
        del controller.inventory["all"]["hosts"]["gone"]
    assert returncode == 4 and "unreachable=1" in out
    assert etc("/.snapshots/2/snapshot") == ["converged", "play-handler"] and is_clean(host)


def test_hosts_in_turn(controller, host, role):
    write("tasks/mine.yml", [file("{{ inventory_hostname }}-was-here")])
    controller.check([role("root:sudo", tasks="mine.yml", keywords={"serial": 1})])
    assert host.snapshots() == [1, 2, 3]
    assert os.path.exists("/.snapshots/3/snapshot/etc/root-was-here")
    assert os.path.exists("/.snapshots/3/snapshot/etc/sudo-was-here")


def test_one_host_after_the_other_for_each_task(controller, host, role):
    write("tasks/mine.yml", [{"ansible.builtin.command": "sh -c 'mkdir /etc/turn && sleep 1 && rmdir /etc/turn'"},
                             file("converged")])
    controller.check([role("root:sudo", tasks="mine.yml", wait=60, keywords={"throttle": 1})])
    assert etc("/.snapshots/2/snapshot") == ["converged"] and is_clean(host)


def test_only_what_is_tagged_runs(controller, host, role):
    write("tasks/converge.yml", [file("converged"), file("tagged", tags="web")])
    controller.check([role(tasks="converge.yml")], arguments=("--tags", "web"))
    assert etc("/.snapshots/2/snapshot") == ["tagged"] and is_clean(host)


def test_a_role_that_uses_the_role_joins(controller, host, role):
    write("roles/foreign/tasks/main.yml", [
        {"ansible.builtin.include_role": {"name": "microos.transactional.transaction"},
         "vars": {"transaction_tasks": "nested.yml", "transaction_activate": "reboot"}}, file("foreign")])
    elsewhere = {"ansible.builtin.command": "true", "delegate_to": "localhost"}
    write("roles/foreign/tasks/nested.yml", [file("nested"), elsewhere])
    out = controller.check([role(tasks="converge.yml", roles=["foreign"])])
    assert etc("/.snapshots/2/snapshot") == ["converged", "foreign", "play-handler", "nested"]
    assert host.snapshots() == [1, 2] and is_clean(host)
    assert "[WARNING]: The loop variable" not in out


def test_a_role_that_uses_the_role_works_alone(controller, host, role):
    write("roles/foreign/tasks/main.yml", [
        {"ansible.builtin.include_role": {"name": "microos.transactional.transaction"},
         "vars": {"transaction_tasks": "nested.yml"}}])
    write("roles/foreign/tasks/nested.yml", [file("nested")])
    controller.check([{"hosts": "root", "gather_facts": False, "become": True, "roles": ["foreign"]}])
    assert etc("/.snapshots/2/snapshot") == ["nested"] and is_clean(host)


def test_an_inventory_that_chooses_the_connection_is_led_inside_too(controller, host, role):
    controller.inventory["all"]["hosts"]["root"]["ansible_connection"] = "ssh"
    try:
        controller.check([role(tasks="converge.yml", more=[
            {"ansible.builtin.assert": {"that": "hostvars[inventory_hostname].ansible_connection == 'ssh'"}}])])
    finally:
        del controller.inventory["all"]["hosts"]["root"]["ansible_connection"]
    assert etc("/.snapshots/2/snapshot") == ["converged", "play-handler"] and is_clean(host)


def test_a_host_that_manages_itself(controller, host, role):
    controller.check([role("root", tasks="converge.yml", keywords={"connection": "local"})])
    assert etc("/.snapshots/2/snapshot") == ["converged", "play-handler"] and is_clean(host)


def test_an_extra_variable_that_outweighs_the_role_is_refused(controller, host, role):
    returncode, out = controller.run([role(tasks="converge.yml")], variables={"ansible_connection": "ssh"})
    assert returncode == 2 and "would work on the running system instead" in " ".join(out.split())
    assert host.snapshots() == [1] and is_clean(host)


def test_a_wrong_variable_is_refused_before_anything_happens(controller, host, role):
    returncode, out = controller.run([role(tasks="converge.yml", activate="perhaps")])
    assert returncode == 2 and "transaction_activate" in out
    assert "Open the transaction" not in out


@pytest.fixture
def typed(role):
    """A play of a role that sets a fact, one of ours, and one with a spec of its own."""
    write("roles/typed/meta/argument_specs.yml", {"argument_specs": {"main": {"options": {
        "typed_number": {"type": "int"}, "typed_of_a_role": {"choices": ["told"], "required": True},
        "typed_list": {"type": "list", "elements": "dict", "options": {"name": {"required": True}}}}}}})
    write("roles/typed/tasks/main.yml", [file("converged")])
    write("roles/foreign/tasks/main.yml", [{"ansible.builtin.set_fact": {"foreign_told": "told"}}, file("foreign")])

    def play(**variables):
        return role(roles=["foreign", "microos.transactional.serial_console", "typed"],
                    keywords={"vars": {"typed_of_a_role": "{{ foreign_told }}", **variables}})
    return play


@pytest.mark.parametrize("arguments", [(), ("--check",)])
def test_a_wrong_variable_of_any_role_is_refused_before_anything_happens(controller, host, typed, arguments):
    returncode, out = controller.run([typed(typed_number="many", typed_list=[{"nam": "x"}], serial_console_speed=7)],
                                     arguments=arguments)
    said = " ".join(out.split())
    for words in ("role microos.transactional.serial_console: value of serial_console_speed must be", "role typed: ",
                  "'many'", "missing required arguments: name found in typed_list", "Nothing was opened"):
        assert returncode == 2 and words in said
    assert "TASK [foreign" not in out and host.snapshots() == [1] and is_clean(host)


def test_a_variable_that_a_role_sets_is_left_to_the_turn_of_the_next(controller, host, typed):
    controller.check([typed()])
    assert etc("/.snapshots/2/snapshot") == ["converged", "foreign"]
    returncode, out = controller.run([typed(typed_of_a_role="{{ foreign_told }}?")])
    assert returncode == 2 and "TASK [foreign" in out and "value of typed_of_a_role must be one of: told" in out


def test_the_next_run_takes_over_from_a_killed_controller(controller, host, role):
    write("tasks/slow.yml", [file("converged"), {"ansible.builtin.command": "sleep 60"}])
    process = controller.start([role(tasks="slow.yml")])
    host.wait_for(lambda: host.snapshots() == [1, 2] and etc("/.snapshots/2/snapshot"))
    process.send_signal(signal.SIGKILL)
    process.wait()
    out = controller.check([role(tasks="converge.yml")])
    assert "deleted what an interrupted run had left: snapshot 2" in out
    assert len(host.snapshots()) == 2 and is_clean(host)


def test_packages_go_into_the_open_snapshot(controller, host, role):
    package = {"microos.transactional.package": {"name": ["testbed-app"]}, "register": "package"}

    def be_sure(*conditions):
        return {"ansible.builtin.assert": {"that": list(conditions)}}
    write("tasks/predict.yml", [package, be_sure("package.changed", "package.installed | length == 2")])
    assert "changed=1" in controller.check([role(tasks="predict.yml")], arguments=("--check",))
    assert host.snapshots() == [1] and is_clean(host)
    write("tasks/converge.yml", [
        package, be_sure("package.snapshot == 2",
                         "package.installed | map(attribute='name') | sort == ['testbed-app', 'testbed-lib']"),
        package, be_sure("not package.changed", "package.snapshot is none")])
    controller.check([role(tasks="converge.yml")])
    assert host.snapshots() == [1, 2] and is_clean(host)
    assert subprocess.run(["rpm", "--root", "/.snapshots/2/snapshot", "-q", "testbed-lib"], check=False).returncode == 0


def test_a_package_that_fails_aborts_all_of_it(controller, host, role):
    write("tasks/converge.yml", [file("converged"), {"microos.transactional.package": {"name": "testbed-post-fails"}}])
    returncode, out = controller.run([role(tasks="converge.yml")])
    assert returncode == 2 and "107" in out
    assert host.snapshots() == [1] and is_clean(host)
