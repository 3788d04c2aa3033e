# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What roles find inside of a transaction besides the snapshot."""

from __future__ import annotations

import json
from pathlib import Path

SETTING = "vm/oom_dump_tasks"


def told(tasks, name="said"):
    """Tasks, and what they register, as a file of the snapshot."""
    return [*tasks, {"ansible.builtin.copy": {"content": "{{ [" + ", ".join(
        task["register"] for task in tasks if "register" in task) + "] | to_json }}", "dest": f"/etc/{name}",
        "mode": "0600"}}]


def command(line, number, **keywords):
    return {"ansible.builtin.shell": line, "register": f"said_{number}", "failed_when": False, **keywords}


def test_what_a_host_has_after_its_boot(controller, host):
    """sshd tests its configuration, as it does for the option 'validate' of modules; nothing of it is work."""
    opened, closed = controller.transaction("open"), dict(controller.transaction("closed"), register="closed")
    key = {"ansible.builtin.command": "ssh-keygen -q -t ed25519 -N '' -f /run/hostkey"}
    controller.check([
        controller.play(opened, key, {"ansible.builtin.command": "/usr/sbin/sshd -t -f /dev/null -h /run/hostkey"},
                        {"ansible.builtin.command": "test -d /var/lib/empty -a ! -e /run/systemd/system"}, closed,
                        {"ansible.builtin.assert": {"that": "not closed.changed"}}, hosts=way)
        for way in ("root", "sudo")])
    assert host.snapshots() == [1]
    controller.check([controller.play(opened, {"ansible.builtin.copy": {"content": "x", "dest": "/etc/probed",
                                                                        "mode": "0644"}}, closed, {
        "ansible.builtin.assert": {"that": "closed.files == [{'path': '/etc/probed', 'change': 'added'}]"}})])
    assert not (host.snapshot() / "var/lib/empty").exists()


def test_the_running_kernel_is_left_as_it_is(controller, host):
    setting = Path("/proc/sys") / SETTING
    before = setting.read_text().strip()
    other, name = "10"[int(before)], SETTING.replace("/", ".")
    lines = [f"echo {other} >{setting}", f"/usr/sbin/sysctl -w {name}={other}", f"sysctl -w {name}={other}",
             f"sysctl {name}={other}", "sysctl --system", "sysctl -qp /etc/sysctl.conf", f"sysctl -n {name}",
             "sysctl -e --values kernel.ostype", "env PATH=/:$PATH sysctl -n kernel.ostype"]
    tasks = [command(line, number) for number, line in enumerate(lines)]
    check = controller.play(controller.transaction("open"), command(f"echo {other} >{setting}", "view"),
                            {"ansible.builtin.assert": {"that": "said_view is skipped or said_view.rc != 0"}},
                            {"ansible.builtin.slurp": {"src": "/proc/self/mountinfo"}, "register": "mounts"},
                            {"ansible.builtin.assert": {"that": "' /proc/sys ro,' in mounts.content | b64decode"}},
                            controller.transaction("aborted"))
    controller.check([controller.play(controller.transaction("open"), *told(tasks),
                                      controller.transaction("closed"))])
    assert setting.read_text().strip() == before
    said = json.loads((host.snapshot() / "etc/said").read_text())
    assert [answer["rc"] != 0 for answer in said] == [True, True, *[False] * 7]
    assert all("nothing is set in the running kernel" in answer["stderr"] for answer in said[2:6])
    assert [answer["stdout"] for answer in said[6:]] == [before, "Linux", "Linux"]
    controller.check([check], arguments=("--check",))


def test_a_service_that_does_not_run_is_not_said_to(controller, host):
    asked = ["is-active x.service", "-q is-active x", "is-failed x", "status --no-pager -n 0 x y", "is-system-running"]
    other = ["start x", "restart x.service", "daemon-reload", "show -p ActiveState x", "is-enabled ssh",
             "-p is-active show x"]
    tasks = [command(f"systemctl {words}", number) for number, words in enumerate([*asked, *other])]
    as_user = command("systemctl is-active x", "user", become=True, become_user="worker")
    controller.check([controller.play(controller.transaction("open"), *told([*tasks, as_user]),
                                      controller.transaction("closed"), hosts="sudo")])
    said = json.loads((host.snapshot() / "etc/said").read_text())
    assert [answer["rc"] for answer in said] == [3, 3, 1, 3, 1, 0, 0, 0, 0, 0, 0, 3]
    assert [answer["stdout"] for answer in said[:3]] == ["inactive", "", "inactive"]
    assert len(said[3]["stdout_lines"]) == 2 and all("inactive (dead)" in line for line in said[3]["stdout_lines"])


def test_the_modules_of_services_work_and_the_close_tells_what_begins(controller, host):
    unit = {"ansible.builtin.copy": {"content": "[Service]\nExecStart=true\n[Install]\nWantedBy=multi-user.target\n",
                                     "dest": "/etc/systemd/system/probe@.service", "mode": "0644"}}
    closed = dict(controller.transaction("closed"), register="closed")
    controller.check([controller.play(
        controller.transaction("open"), unit,
        {"ansible.builtin.systemd": {"name": "ssh", "enabled": False, "state": "started"}, "register": "one"},
        {"ansible.builtin.systemd": {"name": "probe@1", "enabled": True, "state": "restarted", "daemon_reload": True}},
        {"ansible.builtin.assert": {"that": ["one is changed"]}}, closed,
        {"ansible.builtin.assert": {"that": ["closed.services == [{'name': 'probe@1.service', 'change': 'enabled'}, "
                                             "{'name': 'ssh.service', 'change': 'disabled'}]"]}})])
    unit["ansible.builtin.copy"]["content"] += "#\n"
    controller.check([controller.play(
        controller.transaction("open"), unit, closed,
        {"ansible.builtin.assert": {"that": [
            "closed.services == [{'name': 'probe@1.service', 'change': 'modified'}]"]}})])
