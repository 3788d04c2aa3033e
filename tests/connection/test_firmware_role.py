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
%files
"""


@pytest.fixture(scope="module", autouse=True)
def packages():
    """Firmware for a device that is there, encoded as rpm needs it, for one that is not, and a package with a file."""
    modalias = Path("/sys/devices/system/cpu/modalias").read_text().strip()
    encoded = "".join(char if char.isalnum() else f"%%{ord(char):02X}" for char in modalias[:24])
    HOME.mkdir()
    for name, pattern in {"here": f"{encoded}*", "elsewhere": "acpi:NOWHERE:*", "listed": ""}.items():
        tags = f"Supplements: modalias({pattern})" if pattern else ""
        (HOME / f"{name}.spec").write_text(SPEC.format(name=name, tags=tags))
    subprocess.run("rpmbuild -bb --quiet --define '_rpmdir repo' --define '_topdir /run/rpmbuild' *.spec && "
                   "createrepo_c --quiet repo", shell=True, cwd=HOME, check=True)
    Path("/etc/zypp/repos.d/firmware.repo").write_text(
        f"[firmware]\nenabled=1\nautorefresh=0\ngpgcheck=0\nbaseurl=dir://{HOME}/repo\n")
    subprocess.run(["zypper", "--non-interactive", "refresh", "firmware"], check=True)
    yield
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
