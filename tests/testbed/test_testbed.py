# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The testbed does what its README says, with VMs of its own."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest
import yaml

TESTBED = pathlib.Path(__file__).with_name("testbed.py")


class Testbed:
    """One user of the testbed, with a state directory of their own."""

    __test__ = False

    def __init__(self, state):
        self.state = state

    def run(self, *argv):
        return subprocess.run([sys.executable, TESTBED, *argv], env=dict(os.environ, TESTBED_STATE=str(self.state)),
                              capture_output=True, text=True, check=False)

    def __call__(self, *argv):
        done = self.run(*argv)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def pid(self, name, program="qemu"):
        return int((self.state / name / f"{program}.pid").read_text())


def runs(pid):
    """A process that has ended but was not waited for has no program any more."""
    return os.path.exists(f"/proc/{pid}/exe")


@pytest.fixture(scope="module")
def testbeds(tmp_path_factory):
    """Two users side by side, each with a VM of the same name."""
    pair = [Testbed(tmp_path_factory.mktemp(name)) for name in ("one", "two")]
    for testbed in pair:
        testbed("start", "vm", "--engine", "snapper")
    yield pair
    for testbed in pair:
        testbed("stop", "--all")


def test_two_users_do_not_meet(testbeds):
    one, two = testbeds
    one("ssh", "vm", "touch /var/mine")
    assert one("ssh", "vm", "ls /var/mine") == "/var/mine"
    assert two.run("ssh", "vm", "ls /var/mine").returncode == 2
    pid = two.pid("vm")
    assert runs(pid)
    two("stop", "vm")
    assert not runs(pid)
    assert not (two.state / "vm").exists()
    assert one("list") == "vm runs"
    assert two("list") == ""


def test_inventory(testbeds):
    host = yaml.safe_load(testbeds[0]("inventory", "vm"))["all"]["hosts"]["vm"]
    assert host["ansible_host"] == "127.0.0.1"
    assert os.path.exists(host["ansible_ssh_private_key_file"])


def test_snapshot_and_restore(testbeds):
    testbed = testbeds[0]
    testbed("ssh", "vm", "echo before > /var/note")
    testbed("snapshot", "vm", "here")
    testbed("ssh", "vm", "echo after > /var/note; sync")
    testbed("restore", "vm", "here")
    assert testbed("ssh", "vm", "cat /var/note") == "before"
    assert abs(int(testbed("ssh", "vm", "date +%s")) - int(subprocess.check_output(["date", "+%s"]))) < 30


def test_power_cut(testbeds):
    testbed = testbeds[0]
    testbed("ssh", "vm", "echo safe > /var/synced; sync; echo lost > /var/in-memory")
    testbed("ssh", "vm", "bootctl set-default testbed-*.conf")
    boot = testbed("ssh", "vm", "cat /proc/sys/kernel/random/boot_id")
    pid = testbed.pid("vm")
    testbed("cut", "vm")
    assert not runs(pid)
    assert testbed("ssh", "vm", "cat /proc/sys/kernel/random/boot_id") != boot
    assert testbed("ssh", "vm", "cat /var/synced") == "safe"
    # the variables of the firmware need no sync, as on a machine
    variable = "/sys/firmware/efi/efivars/LoaderEntryDefault-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
    assert "testbed-" in testbed("ssh", "vm", f"cat {variable} | tr -d '\\0'")
    assert testbed("ssh", "vm", "systemctl is-system-running") == "running"
    assert "Reached target" in testbed("log", "vm", "-n", "1000")


def test_hardware(tmp_path):
    testbed = Testbed(tmp_path)
    try:
        testbed("start", "vm", "--engine", "tukit", "--hardware")
        pids = [testbed.pid("vm", program) for program in ("qemu", "swtpm")]
        assert all(map(runs, pids))
        testbed("ssh", "vm", "udevadm wait --timeout=60 /dev/nvme0n1 /dev/tpmrm0")
        assert "PCI_ID=8086:10D3" in testbed("ssh", "vm", "cat /sys/bus/pci/devices/*/uevent")
    finally:
        testbed("stop", "--all")
    assert not any(map(runs, pids))


def test_what_is_not_there_is_told(testbeds):
    done = testbeds[0].run("ssh", "nowhere", "true")
    assert done.returncode == 1
    assert "there is no VM nowhere" in done.stderr
    assert "runs already" in testbeds[0].run("start", "vm").stderr
