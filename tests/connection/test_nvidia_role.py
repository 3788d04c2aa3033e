# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role nvidia, on packages of the real names. Their driver is one of the guest's kernel, as no card can be had."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1] / "testbed" / "repos" / "nvidia.py"
KMP = "nvidia-open-driver-G06-signed-kmp"
OTHER = "nvidia-driver-G06-kmp"
UTILS = "nvidia-compute-utils-G06"
CHECKS = "etc/microos-transactional/health/required.d"
CONFIG = "etc/modprobe.d/50-ansible-nvidia.conf"
UNIT = "etc/systemd/system/microos-nvidia-cdi.service"
WANTED = "etc/systemd/system/multi-user.target.wants/microos-nvidia-cdi.service"


@pytest.fixture(scope="module", autouse=True)
def packages():
    done = subprocess.run([sys.executable, REPOSITORY], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    yield
    for name in ("zypp.conf", "repos.d/nvidia.repo"):
        Path("/etc/zypp", name).unlink()
    shutil.rmtree("/opt/nvidia")


def play(**variables):
    return {"hosts": "root", "gather_facts": False, "become": True, "tasks": [
        {"ansible.builtin.include_role": {"name": "microos.transactional.nvidia"}, "vars": variables}]}


def package(name):
    return {"hosts": "root", "gather_facts": False, "become": True, "tasks": [
        {"microos.transactional.package": {"name": name}}]}


def installed(root):
    out = subprocess.run(["rpm", "--root", root, "-qa", "--queryformat", "%{NAME} %{VERSION}\n", "nvidia*"],
                         capture_output=True, text=True, check=True).stdout
    found = {}
    for line in sorted(out.splitlines()):
        name, version = line.split()
        found[name] = f"{found[name]} {version}" if name in found else version
    return found


def test_driver_and_user_space_of_one_version(controller, host):
    variables = {"nvidia_container_toolkit": True, "nvidia_options": {"nvidia": "numifbs=2"}}
    wanted = play(nvidia_version="580.95.05", **variables)
    controller.check([wanted], arguments=("--check", "--diff"))
    assert host.snapshots() == [1]
    controller.check([wanted])
    root = host.snapshot()
    assert installed(root) == {
        f"{KMP}-default": "580.95.05_k6.12.1", UTILS: "580.95.05", "nvidia-container-toolkit": "1.18"}
    assert (root / CONFIG).read_text().splitlines()[1:] == ["blacklist nouveau", "options nvidia numifbs=2"]
    assert (root / WANTED).is_symlink() and "ExecStartPre=/usr/sbin/modprobe nvidia\n" in (root / UNIT).read_text()
    assert "nvidia-smi" in next((root / CHECKS).glob("nvidia*")).read_text()
    assert "changed=0" in controller.check([wanted]) and host.snapshots() == [1, 2]
    # an installed driver stays, and so does its user space, though newer ones are there
    assert "changed=0" in controller.check([play(**variables)])


def test_the_other_flavour_without_containers_and_removal(controller, host):
    controller.check([play(nvidia_version="580.95.05", nvidia_container_toolkit=True)])
    controller.check([play(nvidia_flavour="proprietary", nvidia_health_check=False)])
    root = host.snapshot()
    assert f"{OTHER}-default" in installed(root) and f"{KMP}-default" not in installed(root)
    assert not (root / WANTED).is_symlink() and not (root / UNIT).exists() and not list((root / CHECKS).glob("nvidia*"))
    controller.check([play(nvidia_state="absent")], arguments=("--check", "--diff"))
    assert host.snapshots() == [1, 2, 3]
    controller.check([play(nvidia_state="absent")])
    root = host.snapshot()
    assert installed(root) == {} and not (root / CONFIG).exists()
    assert "changed=0" in controller.check([play(nvidia_state="absent")])


def test_a_driver_for_another_kernel_aborts(controller, host):
    returncode, out = controller.run([play()])  # the newest
    assert returncode == 2 and "would not load nvidia" in " ".join(out.split())
    assert host.snapshots() == [1]


def test_the_version_is_that_of_the_kernel_that_is_booted(controller, host):
    """As after an update of the kernel, where the former one stays with its driver."""
    controller.check([package(f"{KMP}-default=570.1_k0.1_other")])
    controller.check([play(nvidia_version="580.95.05", nvidia_health_check=False)])
    assert installed(host.snapshot()) == {f"{KMP}-default": "570.1_k0.1_other 580.95.05_k6.12.1", UTILS: "580.95.05"}
    returncode, out = controller.run([play(nvidia_version="570.1")])
    assert returncode == 2 and "would load nvidia 580.95.05" in " ".join(out.split())
    assert host.snapshots() == [1, 2, 3]
    controller.check([play(nvidia_state="absent")])
    assert installed(host.snapshot()) == {}


def test_user_space_of_another_version_aborts(controller, host):
    controller.check([package("nvidia-gl-G06")])
    returncode, out = controller.run([play(nvidia_version="580.95.05")])
    assert returncode == 2 and "the driver is 580.95.05, and nvidia-gl-G06=570.1 would not" in " ".join(out.split())
    assert host.snapshots() == [1, 2]


@pytest.mark.parametrize("variables, said", [
    ({"nvidia_flavour": "open_cuda"}, f"{UTILS}=585.1"),  # nobody has it
    ({"nvidia_flavour": "other"}, "value of nvidia_flavour must be one of: open, open_cuda, proprietary"),
    ({"nvidia_cdi": True}, "nvidia_cdi needs nvidia_container_toolkit"),
    ({"nvidia_version": "1.2.3"}, "nvidia-open-driver-G06-signed-kmp=1.2.3")])
def test_what_cannot_be_is_refused(controller, host, variables, said):
    returncode, out = controller.run([play(**variables)])
    assert returncode == 2 and said in " ".join(out.split())
    assert host.snapshots() == [1]
