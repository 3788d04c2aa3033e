# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role initrd: real initrds by the real dracut."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

FILES = Path("/run/controller")
CONFIG = "etc/dracut.conf.d/50-ansible-initrd.conf"
DRIVER = "dummy"


def play(**variables):
    return {"hosts": "root", "gather_facts": False, "become": True, "tasks": [
        {"ansible.builtin.include_role": {"name": "microos.transactional.initrd"}, "vars": variables}]}


def drivers(root):
    image, = (root / "boot").glob("initrd-*")
    listed = subprocess.run(["lsinitrd", image], capture_output=True, text=True, check=True).stdout
    return listed.count(f"/{DRIVER}.ko")


def test_a_driver_comes_and_goes(controller, host):
    assert drivers(Path("/")) == 0
    out = controller.check([play(initrd_drivers=[DRIVER])], arguments=("--check", "--diff"))
    assert DRIVER in out and host.snapshots() == [1]
    controller.check([play(initrd_drivers=[DRIVER])])
    assert host.snapshots() == [1, 2]
    assert drivers(host.snapshot()) == 1 and (host.snapshot() / CONFIG).exists()
    assert "changed=0" in controller.check([play(initrd_drivers=[DRIVER])])
    assert host.snapshots() == [1, 2]
    controller.check([play(initrd_drivers=[DRIVER], initrd_state="absent")])
    assert drivers(host.snapshot()) == 0 and not (host.snapshot() / CONFIG).exists()


def together(*roles, **variables):
    return {"hosts": "root", "gather_facts": False, "become": True, "tasks": [
        {"ansible.builtin.include_role": {"name": "microos.transactional.transaction"},
         "vars": {"transaction_roles": list(roles), **variables}}]}


def test_other_options_of_a_driver_are_in_the_initrd(controller, host):
    def wanted(options):
        return together("microos.transactional.drivers", "microos.transactional.initrd",
                        initrd_drivers=[DRIVER], drivers_options={DRIVER: options} if options else {})

    def options():
        image, = (host.snapshot() / "boot").glob("initrd-*")
        done = subprocess.run(["lsinitrd", "--file", "etc/modprobe.d/50-ansible-drivers.conf", image],
                              capture_output=True, text=True, check=True)
        return done.stdout.splitlines()[1:]

    controller.check([play(initrd_drivers=[DRIVER])])
    for number in ("numdummies=1", "numdummies=2"):
        controller.check([wanted(number)])
        assert options() == [f"options {DRIVER} {number}"]
    assert "changed=0" in controller.check([wanted("numdummies=2")]) and host.snapshots() == [1, 2, 3, 4]
    controller.check([wanted("")])
    assert options() == [] and drivers(host.snapshot()) == 1


def test_a_driver_is_left_out(controller, host):
    image, = Path("/boot").glob("initrd-*")
    listed = subprocess.run(["lsinitrd", image], capture_output=True, text=True, check=True).stdout
    assert "/virtio-rng.ko" in listed or "/virtio_net.ko" in listed, listed
    controller.check([play(initrd_omit_drivers=["virtio-net"])])
    image, = (host.snapshot() / "boot").glob("initrd-*")
    assert "/virtio_net.ko" not in subprocess.run(["lsinitrd", image], capture_output=True, text=True,
                                                  check=True).stdout


@pytest.fixture
def sdbootutil():
    """A role of the test's for a host as sdbootutil has it: it makes the initrds, on the ESP."""
    path = FILES / "roles/sdbootutil/tasks/main.yml"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps([
        {"ansible.builtin.copy": {"content": "#!/bin/false\n", "dest": "/usr/bin/sdbootutil", "mode": "0755"}},
        {"ansible.builtin.shell": "rm /boot/initrd-*"}]))
    yield "sdbootutil"
    shutil.rmtree(FILES / "roles")


def test_nothing_is_made_for_sdbootutil_that_nobody_wants(controller, host, sdbootutil):
    def own():
        return list((host.snapshot() / "usr/lib/modules").glob("*/initrd"))

    controller.check([together(sdbootutil)])
    for state in ("present", "absent"):
        assert "changed=0" in controller.check([play(initrd_state=state)]) and host.snapshots() == [1, 2]
    controller.check([play(initrd_drivers=[DRIVER])])
    assert own()
    controller.check([play(initrd_state="absent")])
    listed = subprocess.run(["lsinitrd", *own()], capture_output=True, text=True, check=True).stdout
    assert f"/{DRIVER}.ko" not in listed
    assert "changed=0" in controller.check([play(initrd_state="absent")]) and host.snapshots() == [1, 2, 3, 4]


def test_what_dracut_cannot_find_aborts(controller, host):
    returncode, out = controller.run([play(initrd_files=["/etc/not-there"])])
    assert returncode == 2 and "file /etc/not-there is missing" in " ".join(out.split())
    assert host.snapshots() == [1]


def test_what_is_wrong_is_refused(controller, host):
    returncode, out = controller.run([play(initrd_drivers=["a b"])])
    assert returncode == 2 and "'a b' cannot be given to dracut" in out
    assert host.snapshots() == [1]
