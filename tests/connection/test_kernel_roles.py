# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The roles that give kernel arguments, alone and together in one transaction."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

FILES = Path("/run/controller")
CMDLINE = "etc/kernel/cmdline"
ROLES = ("kernel_cmdline", "watchdog", "serial_console", "tuning")
SETTINGS = {
    "kernel_cmdline_present": ["seen=1"], "kernel_cmdline_replaced": ["loglevel=5"], "kernel_cmdline_absent": ["quiet"],
    "watchdog_module": "softdog", "watchdog_panic": 7, "watchdog_device": "/dev/watchdog1",
    "serial_console_port": "ttyS1", "tuning_sysctl": {"vm.swappiness": 10, "net.ipv4.ip_forward": "1"},
    "tuning_modules": ["br_netfilter", "overlay"], "tuning_hugepages": 4, "tuning_hugepages_size": "1G",
    "tuning_isolated_cpus": "2-3", "tuning_profile": "throughput-performance", "tuning_package": "testbed-tuned",
}
PLACES = ("systemd/system.conf.d", "sysctl.d", "modules-load.d")


def run(name, variables):
    return {"ansible.builtin.include_role": {"name": f"microos.transactional.{name}"}, "vars": variables}


def play(*tasks):
    return {"hosts": "root", "gather_facts": False, "become": True, "tasks": list(tasks)}


def together(**variables):
    wanted = [f"microos.transactional.{role}" for role in ROLES]
    return run("transaction", {"transaction_roles": wanted, **SETTINGS, **variables})


def drop_ins(root):
    return sorted(str(path.relative_to(root)) for place in PLACES
                  for path in (root / "etc" / place).glob("50-ansible-*"))


def links(root):
    return sorted(path.name for path in (root / "etc/systemd/system").rglob("*")
                  if path.is_symlink() and path.name in ("serial-getty@ttyS1.service", "tuned.service"))


def test_all_of_them_are_one_snapshot_and_go_again(controller, host):
    before = Path("/", CMDLINE).read_text()
    out = controller.check([play(together())], arguments=("--check", "--diff"))
    assert host.snapshots() == [1] and "+RuntimeWatchdogSec=60" in out and "seen=1" in out

    controller.check([play(together())])
    assert host.snapshots() == [1, 2]
    root = host.snapshot()
    words = (root / CMDLINE).read_text().split()
    assert words == [word for word in before.split() if word != "quiet"] + [
        "seen=1", "loglevel=5", "panic=7", "oops=panic", "console=tty0", "console=ttyS1,115200",
        "default_hugepagesz=1G", "hugepagesz=1G", "hugepages=4",
        "isolcpus=managed_irq,domain,2-3", "nohz_full=2-3", "rcu_nocbs=2-3"]
    assert drop_ins(root) == sorted([
        "etc/systemd/system.conf.d/50-ansible-watchdog.conf", "etc/sysctl.d/50-ansible-watchdog.conf",
        "etc/modules-load.d/50-ansible-watchdog.conf", "etc/sysctl.d/50-ansible-tuning.conf",
        "etc/modules-load.d/50-ansible-tuning.conf"])
    system = (root / "etc/systemd/system.conf.d/50-ansible-watchdog.conf").read_text()
    assert "RuntimeWatchdogSec=60\n" in system and "WatchdogDevice=/dev/watchdog1\n" in system
    assert "\n-kernel.panic = 7\n" in (root / "etc/sysctl.d/50-ansible-watchdog.conf").read_text()
    assert "\nsoftdog\n" in (root / "etc/modules-load.d/50-ansible-watchdog.conf").read_text()
    assert (root / "etc/sysctl.d/50-ansible-tuning.conf").read_text().splitlines()[1:] == [
        "net.ipv4.ip_forward = 1", "vm.swappiness = 10"]
    assert (root / "etc/modules-load.d/50-ansible-tuning.conf").read_text().splitlines()[1:] == [
        "br_netfilter", "overlay"]
    assert (root / "etc/tuned/active_profile").read_text() == "throughput-performance\n"
    assert links(root) == ["serial-getty@ttyS1.service", "tuned.service"]
    assert Path("/", CMDLINE).read_text() == before and not drop_ins(Path("/"))

    out = controller.check([play(together())])
    assert "changed=0" in out and host.snapshots() == [1, 2]

    controller.check([play(together(kernel_cmdline_absent=[], **{f"{role}_state": "absent" for role in ROLES}))])
    root = host.snapshot()
    assert host.snapshots() == [1, 2, 3]
    left = [word for word in before.split() if word != "quiet"]
    assert (root / CMDLINE).read_text().split() == [*left, "console=tty0"]
    assert not drop_ins(root) and not links(root) and not (root / "etc/tuned/active_profile").exists()


def test_alone(controller, host):
    arguments = {"kernel_cmdline_present": ["a=1"]}
    returncode, out = controller.run([play(
        run("kernel_cmdline", arguments), run("kernel_cmdline", {**arguments, "kernel_cmdline_state": "verified"}))])
    assert returncode == 2 and "the running kernel was not started as wanted: 'a=1' is missing" in " ".join(out.split())
    assert host.snapshots() == [1, 2]
    assert (host.snapshot() / CMDLINE).read_text().split()[-1] == "a=1"
    out = controller.check([play(run("kernel_cmdline", arguments))])
    assert "changed=0" in out and host.snapshots() == [1, 2]


def test_tuning_alone(controller, host):
    settings = {"net.ipv4.ip_forward": True, "net.ipv4.tcp_ecn": False, "kernel.domainname": "True.example"}
    wanted = {"tuning_sysctl": settings}
    returncode, out = controller.run([play(run("tuning", {**wanted, "tuning_activate": "rebootmgr"}))])
    # it closes its own transaction, and there is no rebootmgr here to bring it into effect
    assert returncode == 2 and "rebootmgr is out of the question: rebootmgr is not active" in " ".join(out.split())
    assert host.snapshots() == [1, 2]
    assert (host.snapshot() / "etc/sysctl.d/50-ansible-tuning.conf").read_text().splitlines()[1:] == [
        "kernel.domainname = True.example", "net.ipv4.ip_forward = 1", "net.ipv4.tcp_ecn = 0"]
    assert "changed=0" in controller.check([play(run("tuning", wanted))])


def test_tuned_that_never_was_there_is_gone(controller, host):
    removal = {"tuning_state": "absent", "tuning_profile": "throughput-performance"}
    assert "changed=0" in controller.check([play(run("tuning", removal))])
    assert host.snapshots() == [1]


def test_a_serial_console_without_the_screen(controller, host):
    # as -e gives it
    controller.check([play(run("serial_console", {"serial_console_screen": "false"}))])
    words = (host.snapshot() / CMDLINE).read_text().split()
    assert words[-1] == "console=ttyS0,115200" and "console=tty0" not in words


@pytest.mark.parametrize("role, variables, said", [
    ("kernel_cmdline", {"kernel_cmdline_present": ["root=/dev/sda1"]}, "belongs to the installation"),
    ("kernel_cmdline", {"kernel_cmdline_loader": "lilo"}, "kernel_cmdline_loader"),
    ("tuning", {"tuning_hugepages_size": "3M"}, "tuning_hugepages_size"),
])
def test_what_is_wrong_leaves_no_trace(controller, host, role, variables, said):
    returncode, out = controller.run([play(run(role, variables))])
    assert returncode == 2 and said in out
    assert host.snapshots() == [1]


@pytest.fixture
def grub():
    """A role of the test's that gives the snapshot GRUB: makes one entry from what /etc/default/grub says."""
    made = ("#!/bin/sh\n. /etc/default/grub\n"
            "echo \"linux /boot/vmlinuz root=UUID=1 $GRUB_CMDLINE_LINUX $GRUB_CMDLINE_LINUX_DEFAULT\" >$2\n")
    files = {"/etc/default/grub": 'GRUB_TIMEOUT=1\nGRUB_CMDLINE_LINUX="b=0"\nGRUB_CMDLINE_LINUX_DEFAULT="quiet"\n',
             "/usr/sbin/grub2-mkconfig": made}
    tasks = [{"ansible.builtin.file": {"path": "/boot/grub2", "state": "directory", "mode": "0755"}}]
    tasks += [{"ansible.builtin.copy": {"content": text, "dest": path, "force": False, "mode": "0755"}}
              for path, text in files.items()]
    path = FILES / "roles/grub/tasks/main.yml"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(tasks))
    yield "grub"
    shutil.rmtree(FILES / "roles")


def test_grub(controller, host, grub):
    wanted = run("transaction", {"transaction_roles": [grub, "microos.transactional.kernel_cmdline"],
                                 "kernel_cmdline_present": ["a=1"], "kernel_cmdline_replaced": ["b=1"],
                                 "kernel_cmdline_absent": ["quiet"], "kernel_cmdline_loader": "grub"})
    controller.check([play(wanted)])
    root = host.snapshot()
    assert (root / "etc/default/grub").read_text() == (
        'GRUB_TIMEOUT=1\nGRUB_CMDLINE_LINUX="b=1"\nGRUB_CMDLINE_LINUX_DEFAULT="a=1"\n')
    assert "root=UUID=1 b=1 a=1\n" in (root / "boot/grub2/grub.cfg").read_text()
    assert "changed=0" in controller.check([play(wanted)])
    assert host.snapshots() == [1, 2]
