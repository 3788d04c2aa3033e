# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The variables of roles: more than a line is refused, text is taken for a list, and what is secret stays so."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from pathlib import Path

import pytest

LINE = "a\nb=c"
# Role, variables, and what is said
REFUSED = [
    ("tuning", {"tuning_sysctl": {"vm.swappiness": "1\nkernel.panic = 0"}}, "tuning_sysctl takes"),
    ("tuning", {"tuning_sysctl": {"vm.swappiness": "1\n"}}, "tuning_sysctl takes"),
    ("tuning", {"tuning_sysctl": {"vm.swappiness": None}}, "tuning_sysctl takes"),
    ("tuning", {"tuning_sysctl": {"vm.swappiness": [1]}}, "tuning_sysctl takes"),
    ("tuning", {"tuning_sysctl": {"vm.swappiness": "True"}}, "tuning_sysctl takes"),
    ("tuning", {"tuning_sysctl": {"vm.swappiness\n": 1}}, "tuning_sysctl takes"),
    ("tuning", {"tuning_sysctl": {"a = 1 # b": 1}}, "tuning_sysctl takes"),
    ("tuning", {"tuning_modules": ["overlay\n"]}, "tuning_sysctl takes"),
    ("tuning", {"tuning_modules": ["no such"]}, "tuning_sysctl takes"),
    ("tuning", {"tuning_modules": ["-r"]}, "tuning_sysctl takes"),
    ("tuning", {"tuning_profile": LINE}, "tuning_sysctl takes"),
    ("tuning", {"tuning_isolated_cpus": "1\n2"}, "cannot be given as a kernel argument"),
    ("watchdog", {"watchdog_device": "/dev/watchdog\nShowStatus=no"}, "watchdog_device takes"),
    ("watchdog", {"watchdog_device": "/dev/watchdog\n"}, "watchdog_device takes"),
    ("watchdog", {"watchdog_device": "/dev/%h"}, "watchdog_device takes"),
    ("watchdog", {"watchdog_module": "softdog\n"}, "watchdog_device takes"),
    ("watchdog", {"watchdog_module": "no such"}, "watchdog_device takes"),
    ("watchdog", {"watchdog_runtime": "60\nShowStatus=no"}, "watchdog_runtime"),
    ("updates", {"updates_randomized_delay": "1h\nOnCalendar=hourly"}, "are one line of text each"),
    ("updates", {"updates_randomized_delay": "1h\n"}, "are one line of text each"),
    ("updates", {"updates_randomized_delay": "banana"}, "updates_randomized_delay: 'banana' is no time span"),
    ("updates", {"updates_window_duration": "banana"}, "updates_window_duration: 'banana' is no time span"),
    ("updates", {"updates_window_start": "03:30", "updates_window_duration": "1h\nstrategy=off"}, "are one line"),
    ("updates", {"updates_window_start": "03:30\n"}, "are one line of text each"),
    ("updates", {"updates_on_calendar": "daily\n[Install]"}, "are one line of text each"),
    ("kdump", {"kdump_settings": {"KDUMP_SAVEDIR\n": "/x"}}, "kdump_settings takes"),
    ("kdump", {"kdump_settings": {"KDUMP_SAVEDIR": "/x\r"}}, "kdump_settings takes"),
    ("kdump", {"kdump_settings": {"KDUMP_SAVEDIR": "/x\u0000"}}, "kdump_settings takes"),
    ("kdump", {"kdump_settings": {"KDUMP_SAVEDIR": None}}, "kdump_settings takes"),
    ("kdump", {"kdump_settings": {"KDUMP_SAVEDIR": "`id`"}}, "kdump_settings takes"),
    ("kdump", {"kdump_crashkernel": ["256M\n"]}, "kdump_settings takes"),
    ("raspberry_pi", {"raspberry_pi_parameters": ["i2c=on\n"]}, "settings of the firmware are"),
    ("raspberry_pi", {"raspberry_pi_settings": {"kernel": None}}, "settings of the firmware are"),
    ("raspberry_pi", {"raspberry_pi_settings": {"kernel": "a\ninclude x"}}, "settings of the firmware are"),
    ("raspberry_pi", {"raspberry_pi_settings": {"gpu_mem": "True"}}, "settings of the firmware are"),
    ("serial_console", {"serial_console_port": "ttyS0\n"}, "serial_console_port takes"),
    ("serial_console", {"serial_console_port": ""}, "serial_console_port takes"),
    ("serial_console", {"serial_console_port": "../ttyS0"}, "serial_console_port takes"),
    ("bootstrap", {"bootstrap_packages": ["python3\n"]}, "cannot be the name of a package"),
    ("bootstrap", {"bootstrap_optional_packages": "python3,-x"}, "'-x' cannot be the name of a package"),
    ("kernel_cmdline", {"kernel_cmdline_present": ["a\n"]}, "cannot be given as a kernel argument"),
    ("drivers", {"drivers_options": {"a": "b=1 # c"}}, "have to be words"),
    ("drivers", {"drivers_blacklist": ["a\ninstall b /bin/sh"]}, "cannot be the name of a kernel module"),
    ("selinux", {"selinux_policy": "a\nSELINUX=disabled", "selinux_packages": []}, "cannot be the name of a policy"),
]


def run(name, variables):
    return {"ansible.builtin.include_role": {"name": f"microos.transactional.{name}"}, "vars": variables}


def play(*tasks):
    return {"hosts": "root", "gather_facts": False, "become": True, "tasks": list(tasks)}


def each(cases):
    """A task for each, which tells that it was refused and why."""
    said = {"ansible.builtin.debug": {"msg": "REFUSED {{ number }} {{ ansible_failed_result.msg }}"}}
    return [{"block": [run(role, variables)], "rescue": [said], "vars": {"number": number}}
            for number, (role, variables, _said) in enumerate(cases)]


def test_what_is_more_than_a_line_is_refused(controller, host):
    def etc():
        return {str(path): path.stat().st_mtime_ns for path in Path("/etc").rglob("*") if path.is_file()}
    before = etc()
    out = controller.check([play(*each(REFUSED))])
    # what came before each, and the message itself
    told = re.split(r"REFUSED (\d+) ", " ".join(out.split()))
    for number, (role, variables, said) in enumerate(REFUSED):
        assert str(number) in told[1::2], (role, variables)
        at = told.index(str(number))
        assert said in told[at - 1] + told[at + 1].split("}")[0], (role, variables)
    assert host.snapshots() == [1]
    assert etc() == before


TEXT = {
    "tuning_modules": "br_netfilter,overlay", "tuning_sysctl": "vm.swappiness=10, kernel.core_pattern=|/bin/x",
    "watchdog_panic_on": "hung_task,hardlockup", "watchdog_runtime": "60", "watchdog_panic": "7",
    "kernel_cmdline_present": "a=1,b=2", "kernel_cmdline_replaced": "c=3", "serial_console_speed": "9600",
    "kdump_packages": "testbed-kdump", "kdump_crashkernel": "72M", "kdump_settings": "KDUMP_SAVEDIR=/srv/x",
}
ROLES = ("kernel_cmdline", "watchdog", "serial_console", "tuning", "kdump")


def test_lists_and_dictionaries_as_text(controller, host):
    """As -e gives them."""
    roles = [f"microos.transactional.{role}" for role in ROLES]
    wanted = [play(run("transaction", {"transaction_roles": roles}))]
    arguments = [argument for name, value in TEXT.items() for argument in ("-e", f"{name}='{value}'")]
    controller.check(wanted, arguments=arguments)
    root = host.snapshot()
    lines = {path: (root / "etc" / path).read_text().splitlines() for path in (
        "sysctl.d/50-ansible-tuning.conf", "modules-load.d/50-ansible-tuning.conf", "sysctl.d/50-ansible-watchdog.conf",
        "sysconfig/kdump")}
    assert lines["sysctl.d/50-ansible-tuning.conf"][1:] == ["kernel.core_pattern = |/bin/x", "vm.swappiness = 10"]
    assert lines["modules-load.d/50-ansible-tuning.conf"][1:] == ["br_netfilter", "overlay"]
    assert lines["sysctl.d/50-ansible-watchdog.conf"][1:] == [
        "-kernel.panic = 7", "-kernel.panic_on_oops = 0", "-kernel.softlockup_panic = 0",
        "-kernel.hardlockup_panic = 1", "-kernel.hung_task_panic = 1"]
    assert 'KDUMP_SAVEDIR="/srv/x"' in lines["sysconfig/kdump"]
    words = (root / "etc/kernel/cmdline").read_text().split()
    assert {"a=1", "b=2", "c=3", "console=ttyS0,9600", "crashkernel=72M"} <= set(words)
    assert "changed=0" in controller.check(wanted, arguments=arguments)
    controller.check([play(run("kernel_cmdline", {"kernel_cmdline_state": "absent"}))], arguments=arguments)
    assert not {"a=1", "b=2", "c=3"} & set((host.snapshot() / "etc/kernel/cmdline").read_text().split())


@pytest.mark.parametrize("secret", [
    {"KDUMP_SAVEDIR": "ftp://me:geheim@h/"}, {"KDUMP_SMTP_PASSWORD": "geheim"}])
def test_a_password_of_kdump_stays_with_root(controller, host, secret):
    wanted = {"kdump_packages": ["testbed-kdump"]}
    verbose = ("--diff", "-vvv")
    out = controller.check([play(run("kdump", {**wanted, "kdump_settings": secret}))], arguments=verbose)
    path = host.snapshot() / "etc/sysconfig/kdump"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (name, value), = secret.items()
    said = subprocess.run(["sh", "-c", f". {path}; echo ${name}"], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == value
    # another one, and none: what was there is not shown either
    out += controller.check([play(run("kdump", {**wanted, "kdump_settings": {"KDUMP_SAVEDIR": "/srv"}}))],
                            arguments=verbose)
    assert "geheim" not in (host.snapshot() / "etc/sysconfig/kdump").read_text()
    out += controller.check([play(run("kdump", {**wanted, "kdump_settings": secret}))], arguments=verbose)
    out += controller.check([play(run("kdump", {**wanted, "kdump_state": "absent"}))], arguments=verbose)
    path = host.snapshot() / "etc/sysconfig/kdump"
    assert "geheim" not in path.read_text() and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "geheim" not in out


def test_the_mode_of_a_file_without_a_password_is_kept(controller, host, tmp_path):
    wanted = {"kdump_packages": ["testbed-kdump"], "kdump_settings": {"KDUMP_SAVEDIR": "/srv"}}
    tasks = Path("/run/controller/mode.yml")
    tasks.write_text(json.dumps([
        run("kdump", wanted), {"ansible.builtin.file": {"path": "/etc/sysconfig/kdump", "mode": "0640"}},
        run("kdump", {**wanted, "kdump_settings": {"KDUMP_SAVEDIR": "/var"}})]))
    controller.check([play(run("transaction", {"transaction_tasks": ["mode.yml"]}))])
    os.unlink(tasks)
    assert stat.S_IMODE((host.snapshot() / "etc/sysconfig/kdump").stat().st_mode) == 0o640
