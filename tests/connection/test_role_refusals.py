# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Uses of the role transaction that are refused, with a sentence, before anything is opened; and what it tells."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

FILES = Path("/run/controller")
STATE = Path("/run/microos-transactional")
COPY = {"ansible.builtin.copy": {"content": "x", "dest": "/etc/converged", "mode": "0644"}}
WORK = {"tasks": "converge.yml"}
VAULT_PASSWORD = "of the vault"


def write(path, data):
    path = FILES / path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(data if isinstance(data, str) else json.dumps(data))


@pytest.fixture
def files(controller):
    write("tasks/converge.yml", [COPY])
    yield
    for name in "tasks", "roles":
        shutil.rmtree(FILES / name, ignore_errors=True)


def use(keyword="include_role", **variables):
    return {f"ansible.builtin.{keyword}": {"name": "microos.transactional.transaction"},
            "vars": {f"transaction_{name}": value for name, value in variables.items()}}


def refusals(controller, *tasks, **kwargs):
    """What each of the tasks says when it fails, in one play in which they all have to fail."""
    def attempt(task):
        return {"block": [task, {"ansible.builtin.set_fact": {"said": "{{ said | default([]) + ['it worked'] }}"}}],
                "rescue": [{"ansible.builtin.set_fact": {
                    "said": "{{ said | default([]) + [ansible_failed_result.msg] }}"}}]}
    keywords = kwargs.pop("keywords", {})
    tell = {"ansible.builtin.copy": {"content": "{{ said | to_json }}", "dest": "/run/controller/said", "mode": "0600"}}
    controller.check([{"hosts": "root", "gather_facts": False, "become": True, **keywords,
                       "tasks": [*map(attempt, tasks), tell]}], **kwargs)
    return json.loads((FILES / "said").read_text())


def untouched(host):
    return host.snapshots() == [1] and not (STATE.exists() and os.listdir(STATE))


def test_a_call_that_cannot_be_meant(controller, host, files):
    said = refusals(
        controller, use(), use(tasks=[], roles=[]), use(checks="converge.yml"), use(role=["x"]),
        use(**WORK, acivate="reboot"), use("import_role", **WORK, frobnicate=1), use(roles=[{"role": "x"}]),
        use(roles=[["x"], None]), use(tasks=["converge.yml", 7]), use(tasks="missing.yml"),
        use(**WORK, checks="not/there.yml"))
    expected = [
        "nothing to run: neither transaction_roles nor transaction_tasks",
        "nothing to run", "nothing to run",
        "no variable 'transaction_role'. Is 'transaction_roles' meant?",
        "no variable 'transaction_acivate'. Is 'transaction_activate' meant?",
        "no variable 'transaction_frobnicate'",
        "transaction_roles: the name of a role is needed, but {'role': 'x'} is none",
        "but None is none", "transaction_tasks: the name of a file is needed, but 7 is none",
        "there is no file 'missing.yml' in ", "transaction_checks: there is no file 'not/there.yml' in "]
    for words, text in zip(expected, said, strict=True):
        assert words in text and text.endswith("Nothing was opened, and nothing was done on the host")
    assert "/run/controller/tasks" in said[9] and untouched(host)


def test_a_misspelt_variable_wherever_it_stands(controller, host, files):
    """A variable of the host's that is like none of the role's may belong to something else: it is told, no more."""
    block = {"block": [use(**WORK)], "vars": {"transaction_tasc": "x"}}
    assert "no variable 'transaction_tasc'" in refusals(controller, block)[0]
    for way in ({"keywords": {"vars": {"transaction_unknown": 1}}}, {"variables": {"transaction_trail": 300}}):
        assert "no variable 'transaction_" in refusals(controller, use(**WORK), **way)[0]
    assert untouched(host)
    controller.inventory["all"]["hosts"]["root"]["transaction_log_directory"] = "/var/lib/database"
    try:
        out = controller.check([{"hosts": "root", "gather_facts": False, "become": True, "tasks": [use(**WORK)]}])
    finally:
        del controller.inventory["all"]["hosts"]["root"]["transaction_log_directory"]
    assert "no variable 'transaction_log_directory'" in " ".join(out.split()) and host.snapshots() == [1, 2]


def test_within_the_work_too(controller, host, files):
    write("roles/nests/tasks/main.yml", [use(task="x")])
    assert "Is 'transaction_tasks' meant?" in refusals(controller, use(roles=["nests"]))[0]
    assert untouched(host)


def test_a_refused_close_tells_what_the_role_does(controller, host, files):
    os.makedirs("/run/other", exist_ok=True)
    write("tasks/job.yml", [{"ansible.builtin.command": "sleep 300", "async": 300, "poll": 0}])
    write("tasks/hidden.yml", [{"ansible.builtin.copy": {"content": "x", "dest": "/srv/hidden", "mode": "0644"}}])
    mounted = os.path.ismount("/srv")
    if not mounted:
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/srv"], check=True)
    try:
        job, hidden = refusals(controller, use(tasks="job.yml"), use(tasks="hidden.yml"))
    finally:
        if not mounted:
            subprocess.run(["umount", "/srv"], check=True)
    assert "sleep 300" in job and "/srv/hidden" in hidden and "set transaction_shadowed_writes to 'warn'" in hidden
    for text in job, hidden:
        assert "The transaction is aborted" in text and "again" not in text and "stays open" not in text
    assert untouched(host)


def test_a_secret_is_not_told_to_everybody(controller, host, files):
    (FILES / "vault").write_text(VAULT_PASSWORD)
    vaulted = subprocess.run(
        ["python3", "-m", "ansible", "vault", "encrypt_string", "--vault-password-file", "/run/controller/vault",
         "correct horse", "--name", "database"], check=True, capture_output=True, text=True, cwd=FILES,
        env=dict(os.environ, ANSIBLE_HOME="/run/controller/home-vault")).stdout
    write("tasks/vault.yml", vaulted)
    silent = dict(controller.transaction("open", description="x"), no_log=True, connection="microos.transactional.ssh")
    said = refusals(
        controller, use(**WORK, description="with {{ database }}"), use(**WORK, provenance={"key": "{{ database }}"}),
        use(**WORK, description="{{ root_password }}{{ ansible_become_password }}"), silent,
        keywords={"vars_files": ["tasks/vault.yml"], "vars": {"ansible_become_password": "secret it is"}},
        arguments=("--vault-password-file", "/run/controller/vault"))
    for words, text in zip(("the description has a secret", "the provenance 'key' has a secret",
                            "the description has a secret", "'no_log' and the description is given"), said,
                           strict=True):
        assert words in text and "correct" not in text
    assert untouched(host)


def test_provenance_as_text(controller, host, files):
    said = refusals(controller, use(**WORK, provenance="[1"), use(**WORK, provenance={"a key": "x"}))
    assert all("provenance" in text and "sequence element" not in text for text in said) and untouched(host)
    play = {"hosts": "root", "gather_facts": False, "become": True, "tasks": [use(**WORK)]}
    controller.check([play], arguments=("-e", "transaction_provenance={}"))
    assert host.snapshots() == [1, 2]
    COPY["ansible.builtin.copy"]["content"] = "y"
    write("tasks/converge.yml", [COPY])
    controller.check([play], arguments=("-e", "transaction_provenance='{\"ticket\": \"42\"}'"))
    assert "ansible-ticket=42" in subprocess.check_output(["snapper", "--no-dbus", "list"], text=True)


def test_a_role_that_asks_whether_it_may_reboot_is_told_no(controller, host, files):
    """As roles of linux-system-roles do, with a variable each; the owner's own answer stays."""
    for name in "sudo", "ssh":
        write(f"roles/fedora.linux_system_roles.{name}/defaults/main.yml",
              yaml.safe_dump({f"{name}_transactional_update_reboot_ok": None}))
        write(f"roles/fedora.linux_system_roles.{name}/tasks/main.yml", [COPY, {"ansible.builtin.set_fact": {
            f"answer_{name}": "{{ " + name + "_transactional_update_reboot_ok }}"}}])
    controller.check([{"hosts": "root", "gather_facts": False, "become": True,
                       "vars": {"ssh_transactional_update_reboot_ok": "mine"}, "tasks": [
                           use(roles=["fedora.linux_system_roles.sudo", "fedora.linux_system_roles.ssh"]),
                           {"ansible.builtin.assert": {"that": ["answer_sudo is false", "answer_ssh == 'mine'"]}}]}])
