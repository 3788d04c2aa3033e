# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Logins whose sudo is restricted: they work, or a task fails at once, and does nothing on the running system."""

from __future__ import annotations

from pathlib import Path

import pytest

RULES = Path("/etc/sudoers.d/zz-restricted")


@pytest.fixture
def restricted():
    def write(rules):
        RULES.write_text(rules)
        RULES.chmod(0o440)
    yield write
    RULES.unlink()


@pytest.mark.parametrize("rules", [
    "Defaults:admin use_pty",
    "Defaults:admin env_reset, !setenv\nDefaults:admin secure_path=/usr/sbin:/usr/bin:/sbin:/bin",
])
def test_it_works(controller, host, restricted, rules):
    restricted(rules + "\n")
    play = controller.play(controller.transaction("open"), {"command": "touch /etc/probe"},
                           {"copy": {"content": "probe", "dest": "/etc/probe"}}, controller.transaction("closed"),
                           hosts="sudo")
    controller.check([play])
    assert (host.snapshot() / "etc/probe").read_text() == "probe" and not Path("/etc/probe").exists()


@pytest.mark.parametrize("rules, said", [
    # the line in which sudo says so has the command, and the ssh connection takes it for the sign of success
    ("admin ALL=(ALL) NOPASSWD: !ALL, /usr/bin/true", "FAILED!"),
    ("admin ALL=(ALL) !ALL, NOPASSWD: /usr/bin/true", "password"),
    ("Defaults:admin requiretty", "you must have a tty"),
    ("Defaults:admin noexec", "ermission denied"),
])
def test_it_is_told(controller, host, restricted, rules, said):
    for tasks in ([controller.transaction("open")], [{"command": "touch /etc/probe"}],
                  [{"microos.transactional.package": {"name": "testbed-hello"}}]):
        restricted(rules + "\n")
        returncode, out = controller.run([controller.play(*tasks, hosts="sudo")], arguments=("--timeout", "30"))
        assert returncode in (2, 4) and said in out and "Traceback" not in out
        assert host.snapshots() == [1] and not Path("/etc/probe").exists()


def test_it_is_restricted_while_a_transaction_is_open(controller, host, restricted):
    rule = "admin ALL=(ALL) NOPASSWD: !ALL, /usr/bin/true\n"
    restrict = {"copy": {"content": rule, "dest": str(RULES), "mode": "0440"},
                "delegate_to": "root", "connection": "ssh"}
    returncode, out = controller.run([controller.play(
        controller.transaction("open"), {"command": "touch /etc/one"}, restrict, {"command": "touch /etc/probe"},
        hosts="sudo")], arguments=("--timeout", "30"))
    assert returncode == 2 and "changed=2" in out and "Traceback" not in out
    assert not Path("/etc/probe").exists() and not Path("/etc/one").exists()
