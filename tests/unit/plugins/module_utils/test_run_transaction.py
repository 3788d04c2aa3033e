# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.microos.transactional.plugins.module_utils import _run_transaction
from ansible_collections.microos.transactional.plugins.module_utils._tools.mounts import Mount


def mount(target, root="/", fstype="btrfs"):
    return Mount(target, root, fstype, frozenset())


def test_what_is_hidden_after_the_boot():
    table = [mount("/", "/@/.snapshots/1/snapshot"), mount("/etc", "/@/.snapshots/1/snapshot/etc"),
             mount("/usr", "/@/.snapshots/2/snapshot/usr"), mount("/var", "/@/var"), mount("/home", "/@/home"),
             mount("/opt", "/@/opt"), mount("/.snapshots", "/@/.snapshots"), mount("/run", fstype="tmpfs"),
             mount("/run/user/0", fstype="tmpfs"), mount("/dev/shm", fstype="tmpfs"), mount("/sys/fs/cgroup"),
             mount("/data", "/", "xfs")]
    assert _run_transaction.hidden(table, live={"/opt"}) == ["/data", "/home", "/var"]


def test_below():
    assert _run_transaction.below("/var/lib/app", ["/home", "/var"])
    assert not _run_transaction.below("/variety", ["/var"])
    assert not _run_transaction.below("/var", ["/var"])


def test_what_mere_reading_leaves_is_no_change():
    assert _run_transaction.is_trace("/usr/lib/sysimage/rpm/rpmdb.sqlite-shm")
    assert _run_transaction.is_trace("/usr/lib/python3.13/__pycache__/abc.cpython-313.pyc")
    assert not _run_transaction.is_trace("/usr/lib/sysimage/rpm/rpmdb.sqlite")
    assert not _run_transaction.is_trace("/usr/lib/python3.13/abc.py")
