# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What work in a transaction costs, as a multiple of the same work outside, over ssh with pipelining.

Runs on the root disk of a guest, all in one go:  tests/host/run --engine tukit --script benchmarks/inside.py
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "connection"))

from conftest import a_controller

ROUNDS = 15
MEGABYTES = 100
INSIDE, OUTSIDE = "microos.transactional.ssh", "ssh"
MODULES = {
    "command": {"ansible.builtin.command": "true"},
    "stat": {"ansible.builtin.stat": {"path": "/etc/os-release"}},
    "copy": {"ansible.builtin.copy": {"content": "text", "dest": "/etc/bench", "mode": "0644"}},
    "lineinfile": {"ansible.builtin.lineinfile": {"path": "/etc/hosts", "line": "127.0.0.9 bench"}},
    "setup": {"ansible.builtin.setup": {"gather_subset": ["min"]}},
}
INSTALLED = ("hello", "lib", "app", "config", "left", "needs-reboot", "service")
REMOVED = ("hello", "app", "left")
MIXED = (
    [{"ansible.builtin.command": f"zypper --non-interactive install testbed-{name}"} for name in INSTALLED]
    + [{"ansible.builtin.command": f"zypper --non-interactive remove testbed-{name}"} for name in REMOVED]
    + [{"ansible.builtin.copy": {"content": f"{number}", "dest": f"/etc/mixed-{number}", "mode": "0644"}}
       for number in range(5)]
    + [{"ansible.builtin.lineinfile": {"path": "/etc/hosts", "line": f"127.0.1.{number} host-{number}"}}
       for number in range(5)]
    + [{"ansible.builtin.file": {"path": f"/usr/share/mixed-{number}", "state": "directory", "mode": "0755"}}
       for number in range(5)]
    + [{"ansible.builtin.user": {"name": "mixed", "create_home": False}},
       {"ansible.builtin.group": {"name": "mixed2"}},
       {"ansible.builtin.systemd_service": {"name": "ssh.service", "enabled": True}},
       {"ansible.builtin.setup": {"gather_subset": ["min"]}},
       {"ansible.builtin.command": "rpm -qa"}])
# Tells how long each task took
CALLBACK = '''
import json, time
from ansible.plugins.callback import CallbackBase
class CallbackModule(CallbackBase):
    CALLBACK_VERSION, CALLBACK_TYPE, CALLBACK_NAME = 2.0, "aggregate", "stopwatch"
    def v2_playbook_on_task_start(self, task, is_conditional):
        self.name, self.start = task.get_name(), time.perf_counter()
    def v2_runner_on_ok(self, result):
        with open("/run/controller/times", "a") as stream:
            print(json.dumps([self.name, time.perf_counter() - self.start]), file=stream)
'''
TRANSACTION = "microos.transactional.transaction"


def transaction(state, name):
    return {"name": name, "connection": INSIDE, TRANSACTION: {"state": state}}


def measure(*tasks):
    """Run the tasks in one play; the seconds of each name."""
    times = Path("/run/controller/times")
    times.unlink(missing_ok=True)
    with contextlib.redirect_stdout(io.StringIO()):  # what the play prints
        controller.check([controller.play(*tasks) | {"connection": OUTSIDE}],
                         ANSIBLE_CALLBACK_PLUGINS="/run/controller", ANSIBLE_CALLBACKS_ENABLED="stopwatch")
    found = {}
    for line in times.read_text().splitlines():
        name, seconds = json.loads(line)
        found.setdefault(name, []).append(seconds)
    return found


def report(what, inside, outside):
    print(f"{what:<44} {inside / outside:6.2f} x   ({inside * 1000:.0f} ms, {outside * 1000:.0f} ms)", flush=True)


def named(tasks, name, connection):
    return [dict(task, name=name, connection=connection) for task in tasks]


def per_task():
    rounds = [dict(task, name=f"{where} {module}", connection=connection)
              for _round in range(ROUNDS) for module, task in MODULES.items()
              for where, connection in (("outside", OUTSIDE), ("inside", INSIDE))]
    found = measure(transaction("open", "open"), *rounds, transaction("aborted", "aborted"))
    for module in MODULES:
        report(f"task with {module}, inside / outside", *(
            statistics.median(found[f"{where} {module}"]) for where in ("inside", "outside")))


def open_and_close():
    tasks = [{"name": "ping", "ansible.builtin.ping": {}}, transaction("open", "open"), transaction("closed", "closed")]
    found = measure(*tasks * ROUNDS)
    report("open and close without work / ping", sum(statistics.median(found[name]) for name in ("open", "closed")),
           statistics.median(found["ping"]))


def transfers():
    with open("/run/controller/large", "wb") as stream:
        for _megabyte in range(MEGABYTES):
            stream.write(os.urandom(1 << 20))
    tasks = [transaction("open", "open")]
    for where, connection in (("outside", OUTSIDE), ("inside", INSIDE)):
        copy = {"src": "/run/controller/large", "dest": "/usr/share/large", "mode": "0644"}
        fetch = {"src": "/usr/share/large", "dest": "/run/controller/back", "flat": True}
        tasks += [{"name": f"{where} copy", "connection": connection, "ansible.builtin.copy": copy},
                  {"name": f"{where} fetch", "connection": connection, "ansible.builtin.fetch": fetch}]
    found = measure(*tasks, transaction("aborted", "aborted"))
    for what in ("copy", "fetch"):
        report(f"{what} of {MEGABYTES} MB, inside / outside", found[f"inside {what}"][0], found[f"outside {what}"][0])


def whole_play():
    """Inside first: what the work outside does to the root afterwards does not help it."""
    inside = measure(transaction("open", "edge"), *named(MIXED, "work", INSIDE), transaction("closed", "edge"))
    subprocess.run(["snapper", "--no-dbus", "modify", "--default", "1"], check=True)
    each = measure(*[step for task in MIXED for step in (
        transaction("open", "edge"), dict(task, name="work", connection=INSIDE), transaction("closed", "edge"))])
    subprocess.run(["snapper", "--no-dbus", "modify", "--default", "1"], check=True)
    outside = measure(*named(MIXED, "work", OUTSIDE))
    total = {name: sum(map(sum, times.values())) for name, times in (
        ("inside", inside), ("each", each), ("outside", outside))}
    report(f"{len(MIXED)} tasks: one transaction / read-write root", total["inside"], total["outside"])
    report(f"{len(MIXED)} tasks: one snapshot for each / one transaction", total["each"], total["inside"])


# the read-write root to compare with
subprocess.run(["btrfs", "property", "set", "-ts", "/.snapshots/1/snapshot", "ro", "false"], check=True)
subprocess.run(["mount", "-o", "remount,rw", "/"], check=True)
with a_controller() as controller:
    Path("/run/controller/stopwatch.py").write_text(CALLBACK)
    per_task()
    open_and_close()
    transfers()
    whole_play()
