# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module package costs.

* with nothing to do, as a multiple of a task that only runs ``rpm -q`` (target: 1.3)
* installing packages, as a multiple of a task that opens a snapshot, runs plain zypper in it, and closes it
  (target: 1.15)

Runs on the root disk of a guest, all in one go:

    tests/host/run --engine tukit --script benchmarks/package.py [rounds] [numbers of packages]
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 5
NUMBERS = [int(number) for number in sys.argv[2:]] or [1, 10, 100]
RUN_MODULE = """
import json, runpy, sys
from ansible.module_utils.testing import patch_module_args
with patch_module_args(json.loads(sys.argv[2])):
    runpy.run_module(sys.argv[1], run_name="__main__")
"""
COLLECTION = "ansible_collections.microos.transactional.plugins."
# A module too, as both have to start
PLAIN = f"""
import json, sys
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from {COLLECTION}module_utils._host import Host
from {COLLECTION}module_utils._tools import zypper
from {COLLECTION}module_utils._transaction import Transaction, choose_engine
with patch_module_args(json.loads(sys.argv[1])):
    names = AnsibleModule({{"name": {{"type": "list"}}}}).params["name"]
with Transaction(choose_engine(Host()), "benchmark", "benchmark") as transaction:
    argv = ["zypper", "--non-interactive", "install", "--no-confirm", *names]
    done = transaction.run(argv, zypper.ENVIRONMENT)
    assert done.rc == 0, done.stdout
    transaction.close()
"""
RPM = ("ansible.modules.command", {"_raw_params": "rpm -q testbed-base"})
NO_OP = (COLLECTION + "modules.package", {"name": "testbed-base"})


def seconds(*argv):
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return time.perf_counter() - start


def module(name, arguments):
    return seconds(RUN_MODULE, name, json.dumps(arguments))


def back():
    """The state before an installation."""
    subprocess.run(["snapper", "--no-dbus", "modify", "--default", "1"], check=True)
    for number in os.listdir("/.snapshots"):
        if number != "1":
            subprocess.run(["snapper", "--no-dbus", "delete", number], check=True)
    subprocess.run(["sync"], check=True)


def report(what, ours, theirs):
    # round by round, so that a busy moment of the machine hits both alike
    one, other = statistics.median(ours), statistics.median(theirs)
    print(f"{what:<24} {one / other:5.2f} x   (medians {one:.2f} s and {other:.2f} s)", flush=True)


pairs = [(module(*NO_OP), module(*RPM)) for _round in range(3 * ROUNDS)]
report("nothing to do", *zip(*pairs))
back()
for count in NUMBERS:
    packages = [f"testbed-many-{number:03}" for number in range(1, count + 1)]
    pairs = []
    for _round in range(ROUNDS):
        ours = module(NO_OP[0], {"name": packages})
        back()
        pairs.append((ours, seconds(PLAIN, json.dumps({"name": packages}))))
        back()
    report(f"{count} packages", *zip(*pairs))
