# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The collection's own playbooks, as far as they go without a reboot."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

SMALL = {f"preflight_{name}": 1 for name in ("ram_minimum", "root_minimum", "var_minimum", "root_free")}
UPDATES = Path("/etc/zypp/repos.d/testbed-updates.repo")


def named(name):
    return f"microos.transactional.{name}"


@pytest.fixture
def updates():
    saved = UPDATES.read_text()
    UPDATES.write_text(saved.replace("enabled=0", "enabled=1"))
    yield
    UPDATES.write_text(saved)


def test_converge_report_and_roll_back(controller, host):
    variables = {"targets": "root", "converge_activate": "none", "converge_roles": [named("serial_console")]}
    controller.check(named("converge"), variables={**variables, "serial_console_port": "ttyS3"})
    assert "console=ttyS3" in (host.snapshot() / "etc/kernel/cmdline").read_text()
    assert host.snapshots() == [1, 2]

    out = controller.check(named("report"), variables={"targets": "root", **SMALL})
    assert "root: snapshot 1, pending 2" in out and "warn: transactions: snapshot 2 is pending" in out

    controller.check(named("rollback"), variables={"targets": "root", "rollback_to": "1", "rollback_activate": "none"})
    out = controller.check(named("report"), variables={"targets": "root", **SMALL})
    assert "root: snapshot 1\"" in out

    variables = {"targets": "root", "rollback_activate": "none", "rollback_provenance": {"play": "Converge"}}
    controller.check(named("rollback"), variables=variables)
    out = controller.check(named("report"), variables={"targets": "root", **SMALL})
    assert "root: snapshot 1, pending 2" in out
    returncode, out = controller.run(named("rollback"), variables={**variables, "rollback_to": "1"})
    assert returncode == 2 and "mutually exclusive" in out


@pytest.mark.skipif(shutil.which("transactional-update", path="/usr/sbin") is not None, reason="it would apply it here")
def test_converge_and_apply(controller, host):
    variables = {"targets": "root", "converge_activate": "apply", "converge_roles": [named("watchdog")]}
    returncode, out = controller.run(named("converge"), variables=variables)
    # not that a trial stands against it
    assert returncode == 2
    assert "apply is out of the question: the host has no 'transactional-update apply'" in " ".join(out.split())
    assert host.snapshots() == [1, 2]


@pytest.mark.parametrize("way, trial", [("reboot", 600), ("none", 0), ("rebootmgr", 0)])
def test_a_rollback_is_on_trial_where_that_can_be(controller, host, way, trial):
    variables = {"targets": "root", "rollback_to": "1", "rollback_activate": way}
    out = controller.check(named("rollback"), variables=variables, arguments=("--check", "-vvv"))
    assert f'"trial": {trial}' in out


def test_update(controller, host, updates):
    controller.check([{"hosts": "root", "gather_facts": False, "become": True, "tasks": [
        {"microos.transactional.package": {"name": "testbed-hello=1.0"}}]}])
    variables = {"targets": "root", "update_activate": "none", **SMALL}
    out = controller.check(named("update"), variables=variables, arguments=("--check",))
    assert "testbed-hello" in out and host.snapshots() == [1, 2]
    controller.check(named("update"), variables=variables)
    assert host.snapshots() == [1, 2, 3]
    out = controller.check(named("update"), variables=variables)
    assert "changed=0" in out and host.snapshots() == [1, 2, 3]


@pytest.mark.parametrize("name, variables", [
    ("update", {"update_trial": "soon"}), ("rollback", {"rollback_activate": "maybe"}), ("converge", {}),
])
def test_wrong_variables_are_refused(controller, host, name, variables):
    returncode, out = controller.run(named(name), variables={"targets": "root", **variables})
    assert returncode == 2 and "Refuse wrong variables" in out and "ok=0" in out
