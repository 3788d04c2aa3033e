# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role selinux: the real semanage, on a small policy."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

POLICY = Path(__file__).parent / "policy.cil"
CONFIG = "etc/selinux/config"
ALL = {"selinux_booleans": {"testbed_reads_web": True}, "selinux_ports": [{"port": "2222", "type": "port_t"}],
       "selinux_contexts": [{"target": "/srv/web(/.*)?", "type": "web_t"}]}
EXPORTED = ["boolean -m -1 testbed_reads_web", "port -a -t port_t -p tcp 2222",
            "fcontext -a -f a -t web_t '/srv/web(/.*)?'"]


@pytest.fixture(autouse=True)
def policy(host):
    Path("/etc/selinux/testbed/contexts/files").mkdir(parents=True)
    Path("/var/lib/selinux").mkdir(exist_ok=True)
    Path("/", CONFIG).write_text("# of the host\nSELINUX=disabled\nSELINUXTYPE=testbed\n")
    subprocess.run(["semodule", "--noreload", "--install", POLICY], check=True)
    yield
    shutil.rmtree("/etc/selinux")
    shutil.rmtree("/var/lib/selinux/testbed")


def play(*more, **variables):
    return {"hosts": "root", "gather_facts": False, "become": True, "tasks": [
        {"ansible.builtin.include_role": {"name": "microos.transactional.selinux"},
         "vars": dict({"selinux_packages": []}, **variables)}, *more]}


def local():
    out = subprocess.run(["semanage", "export"], check=True, capture_output=True, text=True).stdout
    return [line for line in out.splitlines() if not line.endswith(" -D")]


def compiled(root):
    """What the kernel would load, and what restorecon would read."""
    return (next(root.glob("etc/selinux/testbed/policy/policy.*")).read_bytes(),
            [line for path in root.glob("etc/selinux/testbed/contexts/files/file_contexts.local")
             for line in path.read_text().splitlines() if line.startswith("/")])


def test_what_differs_from_the_policy(controller, host):
    before = compiled(Path("/"))
    out = controller.check([play(**ALL)], arguments=("--check", "--diff"))
    assert f"semanage {EXPORTED[0]}" in out.replace("+", "") and local() == [] and host.snapshots() == [1]
    controller.check([play(**ALL)])
    assert local() == EXPORTED
    after = compiled(host.snapshot())
    assert after[0] != before[0] and after[1] == ["/srv/web(/.*)?    system_u:object_r:web_t"]
    assert compiled(Path("/")) == before
    assert "changed=0" in controller.check([play(**ALL)]) and host.snapshots() == [1, 2]
    controller.check([play(selinux_state="absent", **ALL)])
    assert local() == [] and compiled(host.snapshot()) == before


def test_what_an_aborted_transaction_left_is_taken_up(controller, host):
    failing = {"hosts": "root", "gather_facts": False, "become": True, "tasks": [
        {"ansible.builtin.include_role": {"name": "microos.transactional.transaction"}, "vars": {
            "transaction_roles": ["microos.transactional.selinux", "microos.transactional.drivers"],
            "selinux_packages": [], "drivers_modules": ["nowhere"], **ALL}}]}
    assert controller.run([failing])[0] == 2
    assert host.snapshots() == [1] and local() == EXPORTED
    before = compiled(Path("/"))
    controller.check([play(**ALL)])
    assert host.snapshots() == [1, 2] and compiled(host.snapshot()) != before


@pytest.fixture
def kernel():
    """Have the running kernel look as if it had a policy, from a call on."""
    def load():
        subprocess.run(["sh", "-ec", """
            mkdir /run/fs; mount --rbind /sys/fs /run/fs; mount -t tmpfs fs /sys/fs
            mkdir /sys/fs/cgroup /sys/fs/selinux; mount --rbind /run/fs/cgroup /sys/fs/cgroup
            touch /sys/fs/selinux/enforce"""], check=True)
    yield load
    if Path("/run/fs").exists():
        subprocess.run(["sh", "-ec", "umount -Rl /sys/fs; umount -Rl /run/fs; rmdir /run/fs"], check=True)


def test_the_mode(controller, host, kernel):
    controller.check([play(selinux_mode="permissive")])
    root = host.snapshot()
    assert (root / CONFIG).read_text() == "# of the host\nSELINUX=permissive\nSELINUXTYPE=testbed\n"
    mark = root / "etc/selinux/.autorelabel"
    assert mark.exists()
    assert "security=selinux selinux=1" in (root / "etc/kernel/cmdline").read_text()
    assert "changed=0" in controller.check([play(selinux_mode="permissive")])
    mark.unlink()
    kernel()
    assert "changed=0" in controller.check([play(selinux_mode="permissive")])
    controller.check([play(selinux_mode="enforcing")])
    assert not (host.snapshot() / "etc/selinux/.autorelabel").exists()
    controller.check([play(selinux_mode="disabled")])
    arguments = (host.snapshot() / "etc/kernel/cmdline").read_text().split()
    assert "selinux=0" in arguments and "security=selinux" not in arguments and "selinux=1" not in arguments


def test_labels_are_made_where_the_kernel_has_no_selinux_and_the_configuration_has(controller, host):
    """As after the installation of a policy, and with selinux=0."""
    Path("/", CONFIG).write_text("SELINUX=enforcing\nSELINUXTYPE=testbed\n")
    controller.check([play(selinux_mode="enforcing")])
    assert (host.snapshot() / "etc/selinux/.autorelabel").exists()
    assert "changed=0" in controller.check([play(selinux_mode="enforcing")]) and host.snapshots() == [1, 2]


def test_labels_are_not_made_for_a_host_without_selinux(controller, host):
    controller.check([play(selinux_mode="permissive")])
    controller.check([play(selinux_mode="disabled")])
    assert not (host.snapshot() / "etc/selinux/.autorelabel").exists()
    assert "changed=0" in controller.check([play(selinux_mode="disabled")])


@pytest.mark.parametrize("variables, said", [
    ({"selinux_mode": "on"}, "value of selinux_mode must be one of"),
    ({"selinux_ports": [{"port": "1", "type": "port_t", "proto": "udp"}]}, "selinux_ports.proto"),
    ({"selinux_booleans": {"nowhere": True}}, "Boolean nowhere is not defined"),
    ({"selinux_contexts": [{"target": "/srv", "type": "nowhere_t"}]}, "Type nowhere_t is invalid")])
def test_what_cannot_be_is_refused(controller, host, variables, said):
    returncode, out = controller.run([play(**variables)])
    assert returncode == 2 and said in " ".join(out.split()), out
    assert host.snapshots() == [1] and local() == []
