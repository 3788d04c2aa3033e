# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The roles for crash dumps and for the firmware of a Raspberry Pi."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

CMDLINE = "etc/kernel/cmdline"
KDUMP = {"kdump_packages": ["testbed-kdump"], "kdump_crashkernel": ["72M,low", "512M,high"],
         "kdump_settings": {"KDUMP_SAVEDIR": "/srv/crash dumps", "KDUMP_IMMEDIATE_REBOOT": False}}
PI = {"raspberry_pi_force": True, "raspberry_pi_overlays": ["w1-gpio,gpiopin=4"],
      "raspberry_pi_parameters": ["i2c_arm=on"], "raspberry_pi_settings": {"gpu_mem": 16, "enable_uart": True}}


def play(role, **variables):
    role = f"microos.transactional.{role}"
    return {"hosts": "root", "gather_facts": False, "become": True, "tasks": [
        {"ansible.builtin.include_role": {"name": role}, "vars": variables}]}


def settings(root):
    """What a shell finds in the file of kdump."""
    names = ("KDUMP_SAVEDIR", "KDUMP_UPDATE_BOOTLOADER", "KDUMP_CRASHKERNEL")
    script = f". {root}/etc/sysconfig/kdump; " + "; ".join(f"echo ${name}" for name in names)
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout.splitlines()


def is_enabled(root):
    return (root / "etc/systemd/system/multi-user.target.wants/kdump.service").is_symlink()


def test_kdump(controller, host):
    before = Path("/", CMDLINE).read_text()
    out = controller.check([play("kdump", **KDUMP)], arguments=("--check", "--diff"))
    assert host.snapshots() == [1] and "KDUMP_SAVEDIR" in out
    controller.check([play("kdump", **KDUMP)])
    root = host.snapshot()
    assert settings(root) == ["/srv/crash dumps", "false", "crashkernel=72M,low crashkernel=512M,high"]
    assert (root / CMDLINE).read_text().split() == [*before.split(), "crashkernel=72M,low", "crashkernel=512M,high"]
    assert '\nKDUMP_IMMEDIATE_REBOOT="false"\n' in (root / "etc/sysconfig/kdump").read_text()
    assert is_enabled(root)
    assert "changed=0" in controller.check([play("kdump", **KDUMP)]) and host.snapshots() == [1, 2]

    controller.check([play("kdump", **KDUMP, kdump_state="absent")])
    root = host.snapshot()
    assert settings(root) == ["/var/crash", "true", ""]
    assert (root / CMDLINE).read_text().split() == before.split() and not is_enabled(root)
    assert "changed=0" in controller.check([play("kdump", **KDUMP, kdump_state="absent")])
    assert host.snapshots() == [1, 2, 3]


@pytest.mark.parametrize("variables", [
    {"kdump_crashkernel": ["much"]}, {"kdump_settings": {"KDUMP_SAVEDIR": "$(reboot)"}},
    {"kdump_settings": {"KDUMP_UPDATE_BOOTLOADER": "true"}}])
def test_kdump_refuses_before_anything_is_opened(controller, host, variables):
    returncode, out = controller.run([play("kdump", **variables)])
    assert returncode == 2 and "kdump_settings takes names" in out
    assert host.snapshots() == [1]


def test_raspberry_pi(controller, host, tmp_path):
    path = tmp_path / "extraconfig.txt"
    path.write_text("[pi4]\ndtoverlay=mine\n")
    wanted = {**PI, "raspberry_pi_file": str(path)}
    controller.check([play("raspberry_pi", **wanted)], arguments=("--check",))
    assert path.read_text() == "[pi4]\ndtoverlay=mine\n"
    out = controller.check([play("raspberry_pi", **wanted)])
    assert f"{path} has changed, and the firmware reads it at the next reboot" in out
    assert [line for line in path.read_text().splitlines() if not line.startswith("#")] == [
        "[pi4]", "dtoverlay=mine", "[all]", "dtoverlay=w1-gpio,gpiopin=4", "dtparam=i2c_arm=on", "enable_uart=1",
        "gpu_mem=16"]
    assert "changed=0" in controller.check([play("raspberry_pi", **wanted)])
    controller.check([play("raspberry_pi", **wanted, raspberry_pi_state="absent")])
    assert path.read_text() == "[pi4]\ndtoverlay=mine\n"
    assert host.snapshots() == [1]


@pytest.mark.parametrize("variables, said", [
    ({"raspberry_pi_force": "false"}, "this is no Raspberry Pi, but"),
    ({"raspberry_pi_settings": {"a": "b c"}}, "name=value"),
    ({"raspberry_pi_parameters": ["a=" + 98 * "x"]}, "98 characters")])
def test_raspberry_pi_refuses(controller, tmp_path, variables, said):
    path = tmp_path / "extraconfig.txt"
    returncode, out = controller.run([play("raspberry_pi", **{**PI, "raspberry_pi_file": str(path), **variables})])
    assert returncode == 2 and said in " ".join(out.split())
    assert not path.exists()
