# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role firmware. The devices are those of the machine that the tests run on: a package is made for one of them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

HOME = Path("/opt/firmware")
REPOSITORY = Path("/etc/zypp/repos.d/firmware.repo")
SPEC = """
Name: kernel-firmware-{name}
Version: 1
Release: 1
Summary: Firmware
License: GPL-3.0-or-later
BuildArch: noarch
{tags}
%description
Firmware
%install
mkdir -p %{{buildroot}}/usr
{install}
%files
{files}
"""
# What is there of a kernel's log
LOG = """\
x 1: Direct firmware load for vendor/asked-for.bin failed with error -2
x 1: Direct firmware load for vendor/nowhere.bin failed with error -2
"""


@pytest.fixture(scope="module", autouse=True)
def packages():
    """Firmware for a device that is there, encoded as rpm needs it, for one that is not, and a package with a file."""
    modalias = Path("/sys/devices/system/cpu/modalias").read_text().strip()
    encoded = "".join(char if char.isalnum() else f"%%{ord(char):02X}" for char in modalias[:24])
    HOME.mkdir()
    (HOME / "kernel.log").write_text(LOG)
    for name, tags, path, content in (
            ("here", f"Supplements: modalias({encoded}*)", "", ""),
            ("elsewhere", "Supplements: modalias(acpi:NOWHERE:*)", "", ""),
            ("listed", "", "", ""),
            ("asked", "Provides: firmware(vendor/asked-for.bin.xz)", "/usr/lib/firmware/vendor/asked-for.bin.xz", "."),
            # the log of this machine's kernel is not for tests to write to
            ("log", "", "/usr/bin/journalctl", f"#!/bin/sh\nexec cat {HOME}/kernel.log\n")):
        (HOME / name).write_text(content)
        (HOME / f"{name}.spec").write_text(SPEC.format(
            name=name, tags=tags, files=path,
            install=f"install -D -m 755 {HOME}/{name} %{{buildroot}}{path}" if path else ""))
    subprocess.run("rpmbuild -bb --quiet --define '_rpmdir repo' --define '_topdir /run/rpmbuild' *.spec && "
                   "createrepo_c --quiet repo", shell=True, cwd=HOME, check=True)
    REPOSITORY.write_text(f"[firmware]\nenabled=1\nautorefresh=0\ngpgcheck=0\nbaseurl=dir://{HOME}/repo\n")
    subprocess.run(["zypper", "--non-interactive", "refresh", "firmware"], check=True)
    yield
    REPOSITORY.unlink()
    shutil.rmtree(HOME)
    shutil.rmtree("/run/rpmbuild")


def play(**variables):
    return {"hosts": "root", "gather_facts": False, "become": True, "tasks": [
        {"ansible.builtin.include_role": {"name": "microos.transactional.firmware"}, "vars": variables}]}


def installed(root):
    return set(subprocess.run(["rpm", "--root", root, "-qa", "--queryformat", "%{NAME}\n", "kernel-firmware-*"],
                              capture_output=True, text=True, check=True).stdout.split())


def test_what_the_hardware_needs_and_what_is_listed(controller, host):
    wanted = play(firmware_packages=["kernel-firmware-listed"], firmware_missing="ignore")
    controller.check([wanted], arguments=("--check",))
    assert host.snapshots() == [1]
    controller.check([wanted])
    assert installed(host.snapshot()) == {"kernel-firmware-here", "kernel-firmware-listed"}
    assert "changed=0" in controller.check([wanted]) and host.snapshots() == [1, 2]
    controller.check([play(firmware_state="absent", firmware_packages=["kernel-firmware-listed"])])
    assert installed(host.snapshot()) == {"kernel-firmware-here"}


def test_what_the_kernel_asked_for(controller, host):
    controller.check([play(firmware_detect=False, firmware_packages=["kernel-firmware-log"])])
    returncode, out = controller.run([play(firmware_missing="fail")])
    assert returncode == 2 and "the kernel did not find vendor/nowhere.bin, and no package" in " ".join(out.split())
    assert host.snapshots() == [1, 2]
    assert "vendor/nowhere.bin" in controller.check([play()])
    assert "kernel-firmware-asked" in installed(host.snapshot())
    assert "changed=0" in controller.check([play()]) and host.snapshots() == [1, 2, 3]


def test_nothing_is_looked_for(controller, host):
    controller.check([play(firmware_detect=False)])
    assert host.snapshots() == [1]
    assert "kernel-firmware-here" not in controller.check([play(firmware_names=["ucode-*"], firmware_missing="ignore")])
    assert host.snapshots() == [1]


def test_why(controller):
    task = {"microos.transactional.firmware_info": None, "register": "found"}
    said = {"ansible.builtin.assert": {"that": [
        "found.packages | map(attribute='name') == ['kernel-firmware-here']",
        "found.packages[0].modaliases[0].startswith('cpu:')", "not found.packages[0].files"]}}
    controller.check([{"hosts": "root", "gather_facts": False, "become": True, "tasks": [task, said]}])
