# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which run of Ansible this is: a transaction belongs to the run that opened it.

Every task runs in a worker, a child of the one process that is the run. Host names and machine ids repeat among
containers; the boot of the kernel, the namespace of process ids, the process and its start do not.

Note that this plugin util is PRIVATE to the collection.
"""

from __future__ import annotations

import hashlib
import os
import platform
import typing as t


def _started(pid: int) -> str:
    """When a process started, in ticks since boot; empty if it is gone, and where there is no /proc."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            fields = stream.read().rpartition(b")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == b"Z" else fields[19].decode("ascii")


def _machine() -> str:
    """This boot of this machine, as far as the process ids of this process count."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
            return f"{stream.read().strip()}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return platform.node()


def identity() -> dict[str, t.Any]:
    """What tells this run from every other one, to be kept on the managed host."""
    pid = os.getppid()
    return {"machine": _machine(), "pid": pid, "started": _started(pid)}


def key(run: t.Mapping[str, t.Any]) -> str:
    """The name that a run's transaction has on the managed host."""
    text = "{machine} {pid} {started}".format(**run)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]


def as_argument() -> dict[str, t.Any]:
    """This run, as the modules are told."""
    run = identity()
    return {"key": key(run), "identity": run}


def has_ended(run: t.Mapping[str, t.Any]) -> bool:
    """Whether a run is known to be over; False also if it cannot be told from here."""
    if run.get("machine") != _machine() or not run.get("started"):
        return False
    return _started(run.get("pid", 0)) != run["started"]
