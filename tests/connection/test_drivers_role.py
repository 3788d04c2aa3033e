# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role drivers: real kernel modules, of the guest's kernel and of another one, out of packages."""

from __future__ import annotations

import pytest

CONFIG = "etc/modprobe.d/50-ansible-drivers.conf"
FITS = {"drivers_packages": ["testbed-driver"], "drivers_modules": ["testbed-driver", "btrfs"],
        "drivers_blacklist": ["pcspkr"], "drivers_options": {"testbed_driver": "numdummies=2"}}


def play(**variables):
    return {"hosts": "root", "gather_facts": False, "become": True, "tasks": [
        {"ansible.builtin.include_role": {"name": "microos.transactional.drivers"}, "vars": variables}]}


def test_one_that_fits(controller, host):
    out = controller.check([play(**FITS)], arguments=("--check", "--diff"))
    assert host.snapshots() == [1] and "+blacklist pcspkr" in out
    controller.check([play(**FITS)])
    root = host.snapshot()
    assert host.snapshots() == [1, 2]
    assert list(root.glob("usr/lib/modules/*/updates/testbed_driver.ko.xz"))
    assert (root / CONFIG).read_text().splitlines()[1:] == [
        "blacklist pcspkr", "options testbed_driver numdummies=2"]
    assert "changed=0" in controller.check([play(**FITS)]) and host.snapshots() == [1, 2]
    controller.check([play(**FITS, drivers_state="absent")])
    assert not (host.snapshot() / CONFIG).exists()


@pytest.mark.parametrize("package, module, said", [
    ("misfit", "testbed_misfit", "of testbed-driver-misfit-1.0-1.noarch): it was built for '"),
    ("elsewhere", "testbed_elsewhere", "has no module testbed_elsewhere, there is /usr/lib/modules/0.1-other/updates/"
                                       "testbed_elsewhere.ko of testbed-driver-elsewhere-1.0-1.noarch"),
    ("misfit", "testbed_nowhere", "has no module testbed_nowhere, and no other kernel has it")])
def test_one_that_does_not_fit_aborts(controller, host, package, module, said):
    returncode, out = controller.run([play(drivers_packages=[f"testbed-driver-{package}"], drivers_modules=[module])])
    assert returncode == 2 and said in " ".join(out.split())
    assert host.snapshots() == [1]


@pytest.mark.parametrize("variables, said", [
    ({"drivers_modules": ["a b"]}, "'a b' cannot be the name"),
    ({"drivers_modules": ["a-b"], "drivers_blacklist": ["a_b"]}, "and on the blacklist as well: a_b"),
    ({"drivers_options": {"a": "b c=$(x #"}}, "the options of a have to be words")])
def test_what_is_wrong_is_refused(controller, host, variables, said):
    returncode, out = controller.run([play(**variables)])
    assert returncode == 2 and said in " ".join(out.split())
    assert host.snapshots() == [1]
