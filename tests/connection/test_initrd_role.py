# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role initrd: real initrds by the real dracut."""

from __future__ import annotations

import subprocess
from pathlib import Path

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


def test_what_dracut_cannot_find_aborts(controller, host):
    returncode, out = controller.run([play(initrd_files=["/etc/not-there"])])
    assert returncode == 2 and "file /etc/not-there is missing" in " ".join(out.split())
    assert host.snapshots() == [1]


def test_what_is_wrong_is_refused(controller, host):
    returncode, out = controller.run([play(initrd_drivers=["a b"])])
    assert returncode == 2 and "'a b' cannot be given to dracut" in out
    assert host.snapshots() == [1]
