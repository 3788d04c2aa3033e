# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which way the module reboot would go on a real snapshot; check mode, as there is no systemd here to do it."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess

import pytest

MARKER = pathlib.Path("/run/reboot-needed")
CONFIGURATION = pathlib.Path("/etc/tukit.conf.d/testbed.conf")
UPDATE_CONFIGURATION = pathlib.Path("/etc/transactional-update.conf")
REQUESTED, STRATEGY_OFF = pathlib.Path("/run/rebootmgr-requested"), pathlib.Path("/run/rebootmgr-off")
IN_WINDOW, DISABLED = pathlib.Path("/run/rebootmgr-in-window"), pathlib.Path("/run/rebootmgr-disabled")
# A real transactional-update may be on the guest; the stand-in for tukit brings none
HAS_APPLY = all(shutil.which(name, path="/usr/sbin") for name in ("tukit", "transactional-update"))
LEAST = "apply" if HAS_APPLY else "soft_reboot"


def auto(host, **arguments):
    return host.module("reboot", method="auto", _check=True, **arguments)


@pytest.fixture(autouse=True)
def allowed(files):
    """A real tukit comes with a configuration that forbids soft reboots."""
    files(CONFIGURATION, "REBOOT_ALLOW_SOFT_REBOOT=true\n")


@pytest.fixture
def pending(host):
    """Snapshot 2 with one package more is the default."""
    host.module("package", name="testbed-hello")
    return host


@pytest.fixture
def files():
    """Write files that are gone after the test."""
    written = set()

    def write(path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written.add(path)
    yield write
    for path in written:
        path.unlink()


@pytest.fixture
def change(pending):
    """Run a shell command in the root of snapshot 2."""
    def run(script):
        root = "/.snapshots/2/snapshot"
        pending.check("btrfs", "property", "set", "-ts", root, "ro", "false")
        pending.check("sh", "-euc", f"cd {root}; {script}")
        pending.check("btrfs", "property", "set", "-ts", root, "ro", "true")
    return run


@pytest.fixture
def rebootmgr(pending, tmp_path):
    """A stand-in for rebootmgrctl 3.3, in the words of its source; what the daemon keeps is a file."""
    program = tmp_path / "rebootmgrctl"
    program.write_text(f"""#!/bin/sh
when='Tue 2026-11-24 03:41:07 UTC'
case "$1" in
is-active) ;;
status)
    if [ -e {REQUESTED} ]; then
        [ ! -e {DISABLED} ] || disabled=' (reboots temporarily disabled)'
        printf 'Status: Reboot requested, waiting for maintenance window%s\\nScheduled for: %s\\n' "$disabled" "$when"
    else
        echo 'Status: Reboot not requested'
    fi
    ;;
reboot)
    if [ -e {STRATEGY_OFF} ]; then exit 1; fi
    if [ -e {REQUESTED} ]; then
        echo "A reboot is already scheduled for $when, ignoring new request"
        exit 1
    fi
    [ -e {IN_WINDOW} ] || touch {REQUESTED}
    echo "The reboot got scheduled for $when"
    ;;
*) exit 1 ;;
esac
""")
    program.chmod(0o755)
    pending.check("mount", "-t", "overlay", "-o", f"lowerdir={tmp_path}:/usr/bin", "overlay", "/usr/bin")
    yield
    pending.check("umount", "--lazy", "/usr/bin")
    for path in (REQUESTED, STRATEGY_OFF, IN_WINDOW, DISABLED):
        path.unlink(missing_ok=True)


def test_rebootmgr_is_asked_and_not_waited_for(pending, rebootmgr):
    result = pending.module("reboot", method="rebootmgr", _check=True)
    assert (result["changed"], result["method"], REQUESTED.exists()) == (True, "rebootmgr", False)
    result = pending.module("reboot", method="rebootmgr")
    assert (result["changed"], result["scheduled_for"]) == (True, "Tue 2026-11-24 03:41:07 UTC")
    assert result["pending"]
    again = pending.module("reboot", method="rebootmgr")
    assert (again["changed"], again["scheduled_for"]) == (False, "Tue 2026-11-24 03:41:07 UTC")


def test_rebootmgr_reboots_at_once(pending, rebootmgr):
    IN_WINDOW.touch()
    result = pending.module("reboot", method="rebootmgr")
    assert (result["changed"], result["scheduled_for"]) == (True, "Tue 2026-11-24 03:41:07 UTC")


def test_rebootmgr_waits_for_somebody(pending, rebootmgr):
    DISABLED.touch()
    result = pending.module("reboot", method="rebootmgr")
    assert result["scheduled_for"] and "set-strategy on" in str(result["warnings"])


def test_rebootmgr_refuses(pending, rebootmgr):
    STRATEGY_OFF.touch()
    result = pending.module("reboot", method="rebootmgr")
    assert "rebootmgr did not take the request" in result["msg"]
    assert "Status: Reboot not requested" in result["msg"]
    assert "nobody would be there" in pending.module("reboot", method="rebootmgr", trial=60)["msg"]


def test_rebootmgr_is_not_there(pending):
    assert "rebootmgr is not active" in pending.module("reboot", method="rebootmgr")["msg"]


def test_the_way_of_the_host(pending, files, rebootmgr):
    assert pending.module("reboot", method="host", _check=True)["method"] == "rebootmgr"
    for setting, method in (("systemd", LEAST), ("none", "none"), ("kured", "kured")):
        files(UPDATE_CONFIGURATION, f"REBOOT_METHOD={setting}\n")
        result = pending.module("reboot", method="host", _check=True)
        assert (result["method"], result["reason"].split(";")[0]) == (method, f"REBOOT_METHOD is {setting}")
    files(UPDATE_CONFIGURATION, "REBOOT_METHOD=magic\n")
    assert "REBOOT_METHOD=magic" in pending.module("reboot", method="host")["msg"]


def test_nothing_is_pending(host):
    result = auto(host)
    assert (result["changed"], result["method"], result["reason"]) == (False, "none", "nothing is pending")
    assert (result["snapshot"], result["snapshot_before"], result["pending"]) == (1, 1, False)


def test_forced_with_nothing_pending(host):
    result = auto(host, force=True)
    assert (result["changed"], result["method"]) == (True, "reboot")
    assert host.module("reboot", method="soft_reboot", force=True, _check=True)["method"] == "soft_reboot"
    assert not host.module("reboot", method="apply", force=True, _check=True)["changed"]


def test_none_only_tells(pending):
    before = pending.state()
    result = pending.module("reboot", method="none")
    assert (result["changed"], result["method"], result["pending"]) == (False, "none", True)
    assert (result["snapshot"], result["snapshot_before"]) == (2, 1)
    assert pending.state() == before


def test_added_files_need_no_reboot(pending):
    before = pending.state()
    result = auto(pending)
    assert (result["changed"], result["method"]) == (True, LEAST)
    assert result["reason"].startswith("files were added, and none changed")
    assert ("; apply is out of the question" in result["reason"]) == (not HAS_APPLY)
    assert pending.state() == before


@pytest.mark.skipif(HAS_APPLY, reason="it is offered here")
def test_apply_is_refused_where_it_is_not_offered(pending):
    result = pending.module("reboot", method="apply")
    assert result["failed"]
    assert "the host has no 'transactional-update apply'; use method: auto or reboot" in result["msg"]


@pytest.mark.parametrize("script, method, reason", [
    ("echo new >usr/bin/testbed-hello", LEAST, "files were added"),  # which the running system has not
    ("rm usr/bin/zypper", "soft_reboot", "running programs would not notice /usr/bin/zypper"),
    ("touch etc/new", "soft_reboot", "running programs would not notice /etc/new"),
    ("echo >>boot/initrd-$(ls usr/lib/modules)", "reboot", "only a boot brings in /boot/initrd-"),
    ("mkdir usr/lib/modules/99", "reboot", "only a boot brings in /usr/lib/modules/99"),
    ("echo quiet >etc/kernel/cmdline", "reboot", "only a boot brings in /etc/kernel/cmdline"),
])
def test_what_differs(pending, change, script, method, reason):
    change(script)
    result = auto(pending)
    assert (result["method"], result["reason"][:len(reason)]) == (method, reason)


def test_a_change_of_the_running_etc_is_none_of_the_snapshot(pending, files):
    files(pathlib.Path("/etc/testbed-written-later"), "x")
    assert auto(pending)["reason"].startswith("files were added, and none changed")


def test_a_package_asks_for_a_reboot(host):
    host.module("package", name=["testbed-hello", "testbed-needs-reboot"])
    result = auto(host)
    assert (result["method"], result["reason"]) == ("reboot", "packages ask for it: testbed-needs-reboot")


@pytest.mark.parametrize("level, method", [("none", LEAST), ("soft-reboot", "soft_reboot"), ("kexec", "reboot"),
                                           ("reboot", "reboot"), ("", "reboot")])
def test_what_the_tools_of_the_host_ask_for(pending, files, level, method):
    files(MARKER, level)
    assert auto(pending)["method"] == method


def test_the_host_forbids_soft_reboots_that_nobody_asked_for(pending, files):
    files(CONFIGURATION, "REBOOT_ALLOW_SOFT_REBOOT=false\n")
    files(MARKER, "soft-reboot")
    result = auto(pending)
    assert result["method"] == "reboot"
    assert "REBOOT_ALLOW_SOFT_REBOOT in the host's tukit.conf forbids it" in result["reason"]
    assert pending.module("reboot", method="soft_reboot", _check=True)["method"] == "soft_reboot"


def test_refused_while_a_transaction_is_open(pending, run):
    opened = run.open(description="work")["transaction"]
    for method in ("auto", "reboot", "soft_reboot"):
        result = pending.module("reboot", method=method, _check=True)
        assert "a transaction is open: 'ansible: work'" in result["msg"], result
        assert "close or abort it first" in result["msg"]
        assert result["holder"]["id"] == opened["id"]
    assert pending.module("reboot", method="none")["pending"]
    assert pending.module("snapshot_info")["transaction"]["id"] == opened["id"]
    os.kill(run.pid(), 9)
    pending.wait_for(lambda: pending.module("snapshot_info")["transaction"] is None)
    assert auto(pending)["changed"]


def test_no_modules_for_the_running_kernel(pending, change):
    """The kernel that runs here is not the guest's; both snapshots get a directory for it, then one loses it."""
    modules = f"usr/lib/modules/{os.uname().release}"
    if os.path.isdir("/" + modules):
        pytest.skip("the guest has the modules of this kernel")
    root = "/.snapshots/1/snapshot"
    pending.check("btrfs", "property", "set", "-ts", root, "ro", "false")
    os.mkdir(f"{root}/{modules}")
    try:
        for method in ("soft_reboot", "apply"):
            assert "snapshot 2 has no modules for the running kernel" in pending.module("reboot", method=method)["msg"]
        assert auto(pending)["method"] == "reboot"
        change(f"mkdir {modules}")
        assert pending.module("reboot", method="soft_reboot", _check=True)["method"] == "soft_reboot"
    finally:
        os.rmdir(f"{root}/{modules}")
        pending.check("btrfs", "property", "set", "-ts", root, "ro", "true")


@pytest.mark.parametrize("method", ["reboot", "soft_reboot"])
def test_what_an_earlier_try_left_for_a_soft_reboot_is_taken_away(host, files, method):
    """systemd would go into it, though the snapshot that runs is the one to boot."""
    files(MARKER, "soft-reboot")
    host.check("mount", "--mkdir", "--bind", "/usr", "/run/nextroot")
    try:
        result = host.module("reboot", method=method, force=True)
        assert result["method"] == method, result
        assert host.run("findmnt", "/run/nextroot").returncode == 1
        assert MARKER.exists() == (method == "reboot")
    finally:
        host.run("umount", "/run/nextroot")
        MARKER.touch()  # the fixture removes it


@pytest.mark.parametrize("trial", [0, 90])
@pytest.mark.parametrize("script, said", [
    ("rm etc/fstab", "the soft reboot could not be prepared: [Errno 2] No such file or directory: "
                     "'/run/nextroot/etc/fstab'; use method: reboot"),
    ("echo '/nowhere /srv/nowhere none bind,x-initrd.mount 0 0' >>etc/fstab", "/run/nextroot/srv/nowhere"),
])
def test_a_soft_reboot_that_cannot_be_prepared_leaves_nothing(pending, change, script, said, trial):
    """What it had mounted would turn a later reboot into a soft one."""
    change(script)
    result = pending.module("reboot", method="soft_reboot", trial=trial)
    assert result["failed"]
    assert said in result["msg"]
    assert pending.run("findmnt", "/run/nextroot").returncode == 1
    assert pending.module("trial")["trial"]["state"] == "none"
    assert not os.path.exists("/etc/microos-transactional/trial.sh")


def test_a_soft_reboot_is_prepared(pending):
    try:
        result = pending.module("reboot", method="soft_reboot")
        assert "failed" not in result, result
        shown = pending.check("findmnt", "--noheadings", "--output", "FSROOT", "/run/nextroot")
        assert shown == "/@/.snapshots/2/snapshot"
        # that somebody looks into it does not keep it there
        with subprocess.Popen(["sleep", "60"], cwd="/run/nextroot/usr") as process:
            assert pending.module("reboot", method="reboot")["method"] == "reboot"
            process.kill()
        assert pending.run("findmnt", "/run/nextroot").returncode == 1
    finally:
        pending.run("umount", "--recursive", "/run/nextroot")
