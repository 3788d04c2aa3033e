# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a task with nothing to do costs, as a multiple of the smallest module there is (ansible.builtin.ping).

Runs on the root disk of a guest, all in one go:  tests/host/run --engine tukit --script benchmarks/noop.py
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time

ROUNDS = 15
RUN_MODULE = """
import json, runpy, sys
from ansible.module_utils.testing import patch_module_args
with patch_module_args(json.loads(sys.argv[2])):
    runpy.run_module(sys.argv[1], run_name="__main__")
"""
OURS = "ansible_collections.microos.transactional.plugins.modules."
CASES = {
    "ping": ("ansible.modules.ping", {}),
    "package, installed already": (OURS + "package", {"name": ["testbed-base", "/bin/sh"]}),
    "package, absent already": (OURS + "package", {"name": "testbed-hello", "state": "absent"}),
    "rollback, default already": (OURS + "rollback", {"to": "1"}),
    "snapshot_info": (OURS + "snapshot_info", {}),
}


def seconds(module, arguments):
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", RUN_MODULE, module, json.dumps(arguments)], capture_output=True,
                          text=True, check=True)
    assert not json.loads(done.stdout).get("changed"), done.stdout
    return time.perf_counter() - start


# round by round, so that a busy moment of the machine hits all cases alike
times = {name: [] for name in CASES}
for _round in range(ROUNDS):
    for name, case in CASES.items():
        times[name].append(seconds(*case))
medians = {name: statistics.median(values) for name, values in times.items()}
for name, median in medians.items():
    print(f"{name:<28} {median / medians['ping']:5.2f} x ping   (median {median * 1000:.0f} ms)")
