# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role health_check, alone and inside of a transaction."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

CHECKS = Path("/etc/microos-transactional/health")
PLUGIN = "health-checker/microos-transactional"


@pytest.fixture
def health(controller, host):
    """Makes a play that uses the role, in the role transaction if ``inside``."""
    def play(*checks, inside=False, tasks=(), **variables):
        variables = {f"health_check_{name}": value for name, value in variables.items()}
        variables["health_check_list"] = list(checks)
        role = "microos.transactional.health_check"
        if inside:
            variables["transaction_roles"] = [role]
            role = "microos.transactional.transaction"
        return {"hosts": "root", "gather_facts": False, "become": True, "tasks": [
            {"ansible.builtin.include_role": {"name": role}, "vars": variables}, *tasks]}
    yield play
    shutil.rmtree(CHECKS.parent, ignore_errors=True)
    for path in Path("/etc/systemd/system").rglob("microos-health-*"):
        path.unlink()


def test_alone(controller, host, health):
    checks = [{"name": "good", "command": ["test", "-e", "/etc/hostname"]},
              {"name": "ugly", "command": "echo no; false", "severity": "wanted", "retries": 0}]
    out = controller.check([health(*checks, run=True, tasks=[{"ansible.builtin.assert": {"that": [
        "health_check_result.healthy", "health_check_result.checks | map(attribute='ok') == [true, false]"]}}])])
    assert "health checks that are wanted failed: ugly (exit code 1" in " ".join(out.split())
    assert (CHECKS / "required.d/good.sh").exists() and (CHECKS / "wanted.d/ugly.sh").exists()
    assert host.snapshots() == [1]
    assert "changed=0" in controller.check([health(*checks)])
    controller.check([health({"name": "good", "state": "absent"}, {"name": "ugly", "state": "absent"})])
    assert not list(CHECKS.rglob("*.sh"))


def test_a_required_one_fails_the_host(controller, host, health):
    returncode, out = controller.run([health({"name": "bad", "command": "false", "retries": 0}, run=True)])
    assert returncode == 2 and "1 of 1 health checks failed: bad" in out


def test_check_mode(controller, host, health):
    out = controller.check([health({"name": "bad", "command": "false"}, run=True)], arguments=("--check", "--diff"))
    assert "changed=1" in out and "skipped=1" in out and "+ExecStart=" in out
    assert not CHECKS.exists()


def test_inside(controller, host, health):
    controller.check([health({"name": "web", "units": ["web.service"]}, inside=True, run=True)])
    assert host.snapshots() == [1, 2] and not CHECKS.exists()
    root = "/.snapshots/2/snapshot"
    assert os.path.exists(f"{root}{CHECKS}/required.d/web.sh")
    enabled = subprocess.run(["systemctl", f"--root={root}", "is-enabled", "microos-health-web.service"],
                             capture_output=True, text=True, check=False).stdout
    assert enabled == "enabled\n"


def test_inside_with_health_checker(controller, host, health):
    play = health({"name": "bad", "command": "false", "retries": 0}, inside=True)
    play["tasks"][0]["vars"]["transaction_roles"].insert(0, "checker")
    tasks = Path("/run/controller/roles/checker/tasks/main.yml")
    tasks.parent.mkdir(parents=True)
    tasks.write_text(json.dumps([{"ansible.builtin.copy": {
        "content": "#!/bin/sh\n", "dest": "/usr/sbin/health-checker", "mode": "0755"}}]))
    controller.check([play])
    shutil.rmtree("/run/controller/roles")
    root = "/.snapshots/2/snapshot"
    assert not os.path.exists(f"/usr/local/libexec/{PLUGIN}")
    assert not os.path.exists(f"{root}/etc/systemd/system/microos-health-bad.service")
    assert subprocess.run(["chroot", root, f"/usr/libexec/{PLUGIN}", "stop"], check=False).returncode == 0
    assert os.access(f"{root}/usr/libexec/{PLUGIN}", os.X_OK)


def test_a_wrong_check_is_refused_before_anything_happens(controller, host, health):
    returncode, out = controller.run([health({"name": "a", "command": "true"}, {"name": "b", "severity": "high"})])
    assert returncode == 2 and "severity" in out
    assert not CHECKS.exists()


def test_nothing_secret_is_printed(controller, host, health):
    url = "http://me:geheim@127.0.0.1:9/health?token=verborgen"
    checks = [{"name": "web", "url": url, "retries": 0, "severity": "wanted"}, {"name": "good", "command": "true"}]
    out = controller.check([health(*checks, run=True)], arguments=("-vvv", "--diff"))
    assert "health checks that are wanted failed: web" in " ".join(out.split())
    assert url in (CHECKS / "wanted.d/web.sh").read_text()
    returncode, refused = controller.run([health(*checks, {"name": "bad", "url": url + " "})],
                                         arguments=("-vvv", "--diff"))
    assert returncode == 2 and "'url' is not an address" in " ".join(refused.split())
    returncode, wrong = controller.run([health({"name": "bad", "url": url, "severity": "high"})], arguments=("-vvv",))
    assert returncode == 2 and "severity" in wrong
    for said in out, refused, wrong:
        assert "geheim" not in said and "verborgen" not in said
