# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module snapshot_diff costs on a root with 200000 files, as a multiple of `snapper status` of the same pair.

Runs on the root disk of a guest, all in one go:  tests/host/run --engine tukit --script benchmarks/snapshot_diff.py
snapper compares two trees for good as well, by what btrfs sends, and keeps the answer; it is asked anew each time.
"""

from __future__ import annotations

import glob
import json
import os
import statistics
import subprocess
import sys
import time

ROUNDS = 3
DIRECTORIES, FILES = 2000, 100
CHANGED = 2000
RUN_MODULE = """
import json, runpy, sys
from ansible.module_utils.testing import patch_module_args
with patch_module_args(json.loads(sys.argv[2])):
    runpy.run_module(sys.argv[1], run_name="__main__")
"""
MODULE = "ansible_collections.microos.transactional.plugins.modules.snapshot_diff"


def snapper(*arguments):
    return subprocess.run(["snapper", "--no-dbus", *arguments], capture_output=True, text=True, check=True).stdout


def snapshot(base):
    return snapper("create", "--from", base, "--read-write", "--print-number").strip()


def write(number, text, step=1):
    for count in range(0, DIRECTORIES * FILES, step):
        directory = f"/.snapshots/{number}/snapshot/usr/share/many/{count // FILES}"
        if count % FILES == 0:
            os.makedirs(directory, exist_ok=True)
        with open(f"{directory}/{count % FILES}", "w", encoding="ascii") as stream:
            stream.write(text)


def by_module(old, new):
    done = subprocess.run([sys.executable, "-c", RUN_MODULE, MODULE, json.dumps({"from": old, "to": new})],
                          capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["files_count"]


def by_snapper(old, new):
    for kept in glob.glob("/.snapshots/*/filelist-*"):
        os.unlink(kept)
    return len({line for line in snapper("status", f"{old}..{new}").splitlines() if "/many/" in line})


def seconds(work, *arguments):
    start = time.perf_counter()
    found = work(*arguments)
    assert found == CHANGED, (work, found)
    return time.perf_counter() - start


old = snapshot("1")
write(old, "before")
new = snapshot(old)
write(new, "after", DIRECTORIES * FILES // CHANGED)
os.sync()
times = {by_snapper: [], by_module: []}
for _round in range(ROUNDS):
    for work, values in times.items():
        values.append(seconds(work, old, new))
status, module = (statistics.median(values) for values in times.values())
print(f"snapshot_diff {module / status:5.2f} x snapper status   (medians {module:.2f} s, {status:.2f} s)")
