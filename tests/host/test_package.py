# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module package, judged by what snapper, btrfs and rpm say on the host afterwards."""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import subprocess

import pytest


def names(packages):
    return sorted(package["name"] for package in packages)


def test_install_goes_into_one_new_snapshot(host):
    result = host.module("package", name=["testbed-hello", "testbed-app"])
    assert result.get("changed"), result
    assert (result["base"], result["snapshot"], result["pending"]) == (1, 2, True)
    assert result["engine"] == host.engine
    assert names(result["installed"]) == ["testbed-app", "testbed-hello", "testbed-lib"]
    assert result["installed"][0]["repository"] == "testbed-main"
    assert not result["reboot_suggested"]
    assert result["diff"]["after"].splitlines() == [
        "testbed-app-1.0-1.noarch", "testbed-hello-1.0-1.noarch", "testbed-lib-1.0-1.noarch"]
    # the host agrees
    assert (host.numbers(), host.default()) == ([1, 2], 2)
    assert {"testbed-hello-1.0", "testbed-app-1.0", "testbed-lib-1.0"} <= host.packages(2)
    assert host.packages() == {"testbed-base-1.0"}
    assert host.check("btrfs", "property", "get", "-ts", "/.snapshots/2/snapshot", "ro") == "ro=true"


def test_the_snapshot_explains_itself(host):
    host.module("package", name="testbed-hello")
    userdata = host.userdata(2)
    assert userdata.pop("ansible-transaction")
    assert userdata == {"ansible-base": "1", "ansible-module": "microos.transactional.package"}
    listed = host.snapper("--csvout", "list", "--columns", "number,cleanup,description").splitlines()
    assert listed[-1] == "2,number,ansible: package present testbed-hello"


def test_etc_of_the_snapshot_is_a_copy_of_the_running_one(host):
    host.module("package", name="testbed-config")
    assert os.path.exists("/.snapshots/2/snapshot/etc/testbed.conf")
    assert not os.path.exists("/etc/testbed.conf")
    assert os.path.exists("/.snapshots/2/snapshot/etc/fstab")
    assert os.stat("/.snapshots/2/snapshot/etc").st_ino == 256  # a subvolume of its own


@pytest.mark.parametrize("state", ["present", "installed", "latest"])
def test_nothing_to_do_makes_no_snapshot_and_takes_no_lock(host, state):
    host.module("package", name="testbed-hello")
    before = host.state()
    # a transaction of somebody else must not be in the way of a task with nothing to do
    with subprocess.Popen(["flock", "--no-fork", "/run/microos-transactional.lock", "sleep", "60"]) as holder:
        host.wait_for(lambda: host.run("flock", "--nonblock", "/run/microos-transactional.lock", "true").returncode)
        result = host.module("package", name="testbed-hello", state=state)
        holder.terminate()
    assert not result["changed"], result
    assert (result["base"], result["snapshot"], result["pending"]) == (2, None, True)
    assert host.state() == before


def test_a_capability_that_is_provided_counts_as_installed(host):
    before = host.state()
    assert not host.module("package", name="/bin/sh")["changed"]
    assert host.state() == before


def test_work_continues_from_the_pending_snapshot(host):
    host.module("package", name="testbed-hello")
    result = host.module("package", name="testbed-app")
    assert (result["base"], result["snapshot"]) == (2, 3)
    assert {"testbed-hello-1.0", "testbed-app-1.0"} <= host.packages(3)


def test_absent_removes_with_dependents(host):
    host.module("package", name=["testbed-app", "testbed-hello"])
    result = host.module("package", name=["testbed-lib", "testbed-unknown"], state="absent")
    assert names(result["removed"]) == ["testbed-app", "testbed-lib"]
    assert host.packages(result["snapshot"]) == {"testbed-base-1.0", "testbed-hello-1.0"}
    assert not host.module("package", name="testbed-lib", state="removed")["changed"]


def test_present_leaves_an_installed_version_and_latest_updates_it(host):
    host.module("package", name=["testbed-hello", "testbed-app"])
    host.enable("testbed-updates", snapshot=2)
    present = host.module("package", name=["testbed-hello", "testbed-left"])
    assert names(present["installed"]) == ["testbed-left"]
    assert "testbed-hello-1.0" in host.packages(present["snapshot"])
    latest = host.module("package", name=["testbed-hello", "testbed-left"], state="latest")
    assert [(package["name"], package["old_version"], package["version"]) for package in latest["upgraded"]] == [
        ("testbed-hello", "1.0-1", "2.0-1")]
    assert {"testbed-hello-2.0", "testbed-app-1.0"} <= host.packages(latest["snapshot"])
    before = host.state()
    assert not host.module("package", name=["testbed-hello", "testbed-left"], state="latest")["changed"]
    assert host.state() == before


def test_reboot_suggested(host):
    assert host.module("package", name="testbed-needs-reboot")["reboot_suggested"]


def tree(directory):
    return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_size) for path in pathlib.Path(directory).rglob("*")}


def everything(host):
    return dict(host.state(), cache=tree("/var/cache/zypp"), lib=tree("/var/lib/zypp"), log=tree("/var/log"),
                etc=tree("/etc"), rpm=tree("/usr/lib/sysimage/rpm"))


@pytest.mark.parametrize("arguments", [
    {"name": ["testbed-hello", "testbed-app"]},
    {"name": "testbed-lib", "state": "absent"},
    {"name": ["testbed-hello"], "state": "latest"},
])
def test_check_mode_predicts_exactly_and_touches_nothing(host, arguments):
    if arguments.get("state") == "absent":
        host.module("package", name="testbed-app")
    before = everything(host)
    predicted = host.module("package", _check=True, **arguments)
    assert everything(host) == before
    real = host.module("package", **arguments)
    for key in ("changed", "installed", "removed", "upgraded", "diff", "base"):
        assert predicted[key] == real[key]
    assert predicted["changed"]
    assert predicted["snapshot"] is None


def test_check_mode_tells_what_would_fail(host):
    before = everything(host)
    result = host.module("package", _check=True, name=["testbed-left", "testbed-right"])
    assert result["failed"]
    assert result["rc"] == 4
    assert everything(host) == before


FAILURES = [
    ("unknown", None, "testbed-unknown", 104, "No provider of 'testbed-unknown' found"),
    ("conflict", None, ["testbed-left", "testbed-right"], 4, "conflicts with"),
    ("missing-dep", None, "testbed-missing-dep", 4, "nothing provides 'testbed-nowhere'"),
    ("pre", None, "testbed-pre-fails", 8, "scriptlet failed, exit status 1"),
    ("pre-after-good", None, ["testbed-hello", "testbed-pre-fails"], 8, "scriptlet failed, exit status 1"),
    ("post", None, "testbed-post-fails", 107, "%post"),
    ("wrong-signature", "testbed-wrongkey", "testbed-wrong-signature", 8, "Signature verification failed"),
    ("unsigned", "testbed-unsigned", "testbed-unsigned", 8, "Signature verification failed"),
    ("unsigned-metadata", "testbed-unsigned-metadata", "testbed-unsigned-metadata", 104, "is unsigned"),
    ("unknown-key", "testbed-unknown-key", "testbed-unknown-key", 104, "Signature verification failed"),
    ("tampered", "testbed-tampered", "testbed-tampered", 8, "Digest verification failed"),
    ("unreachable", "testbed-unreachable", "testbed-only-there", 104, "Failed to connect to 127.0.0.1 port 1"),
]


@pytest.mark.parametrize("repository, package, code, words", [case[1:] for case in FAILURES],
                         ids=[case[0] for case in FAILURES])
def test_failure_is_told_and_leaves_no_trace(host, repository, package, code, words):
    if repository:
        host.enable(repository)
    before = host.state()
    result = host.module("package", name=package)
    assert result["failed"]
    assert result["rc"] == code
    assert words in result["msg"]
    assert "Snapshot 2 was deleted; the default is 1" in result["msg"]
    assert result["msg"].startswith(host.check("hostname"))
    assert host.state() == before


def test_a_skipped_repository_is_a_warning(host):
    host.enable("testbed-unreachable")
    result = host.module("package", name="testbed-hello")
    assert result.get("changed"), result
    assert "testbed-unreachable" in str(result["warnings"])
    assert "testbed-hello-1.0" in host.packages(2)


def test_keep_failed(host):
    result = host.module("package", name=["testbed-hello", "testbed-pre-fails"], keep_failed=True)
    assert result["failed"]
    assert result["kept_snapshot"] == 2
    assert "kept for a look at /.snapshots/2/snapshot" in result["msg"]
    assert (host.numbers(), host.default()) == ([1, 2], 1)
    assert "testbed-hello-1.0" in host.packages(2)
    # it is neither continued nor deleted by later work, nor can it be booted
    assert host.module("package", name="testbed-app")["base"] == 1
    assert host.numbers() == [1, 2, 3]
    assert "never completed" in host.module("rollback", to="2")["msg"]


def test_no_space(host):
    free = int(host.check("sh", "-c", "df --output=avail -B1 / | tail -1"))
    host.check("fallocate", "-l", str(free - 100 * 2 ** 20), "/var/fill")
    try:
        before = host.state()
        result = host.module("package", name="testbed-big")
        assert result["failed"]
        assert "space" in result["msg"]
        assert host.state() == before
    finally:
        os.unlink("/var/fill")


@pytest.mark.parametrize("name", ["--force", "testbed-hello=", "shape:square", "a b", "pattern:base=1", "a.rpm"])
def test_names_that_are_none(host, name):
    before = host.state()
    assert f"'{name}'" in host.module("package", name=[name])["msg"]
    assert host.state() == before


def test_without_root_rights(host):
    result = host.module("package", name="testbed-hello", _prefix=["setpriv", "--reuid=65534", "--clear-groups"])
    assert "become: true" in result["msg"]


def test_on_a_host_that_is_not_transactional(host):
    enter = ("mkdir -p /tmp/other; mount -t tmpfs tmpfs /tmp/other; cd /tmp/other; "
             "mkdir u w r; mount -t overlay -o lowerdir=/,upperdir=u,workdir=w overlay r; "
             "mount --rbind /run r/run; mount --rbind /proc r/proc; mount --rbind /dev r/dev; rm r/usr/bin/snapper; "
             'exec chroot r "$@"')
    result = host.module("package", name="testbed-hello", _prefix=["unshare", "--mount", "sh", "-c", enter, "sh"])
    shutil.rmtree("/tmp/other")
    assert "this is not a transactional host: its root file system is overlay, not btrfs; snapper is not installed" in (
        result["msg"])


def test_another_transaction_of_the_collection(host):
    before = host.state()
    with open("/run/microos-transactional.lock", "w", encoding="ascii") as stream:
        stream.write("ansible: package present something")
    with subprocess.Popen(["flock", "--no-fork", "/run/microos-transactional.lock", "sleep", "60"]) as holder:
        host.wait_for(lambda: host.run("flock", "--nonblock", "/run/microos-transactional.lock", "true").returncode)
        result = host.module("package", name="testbed-hello")
        pid = holder.pid
        host.run("kill", str(pid))
    assert "another transaction is in progress: 'ansible: package present something', pid" in result["msg"]
    assert "since" in result["msg"]
    assert host.state() == before


@pytest.mark.tukit
def test_tukit_at_work(host):
    number = host.check("tukit", "-q", "open").split()[1]
    with subprocess.Popen(["tukit", "-q", "call", number, "sleep", "60"], start_new_session=True) as holder:
        host.wait_for(lambda: host.run("pgrep", "--full", "--exact", "sleep 60").returncode == 0)
        before = host.state()
        result = host.module("package", name="testbed-hello")
        assert "another transaction is in progress: tukit is held by pid" in result["msg"]
        assert "sleep 60" in result["msg"]
        assert host.state() == before
        os.killpg(holder.pid, signal.SIGKILL)


@pytest.mark.tukit
def test_a_tukit_that_is_busy_for_a_moment_is_waited_for(host):
    number = host.check("tukit", "-q", "open").split()[1]
    with subprocess.Popen(["tukit", "-q", "call", number, "sleep", "2"]):
        host.wait_for(lambda: host.run("pgrep", "--full", "--exact", "sleep 2").returncode == 0)
        assert host.module("package", name="testbed-hello").get("changed")


@pytest.mark.tukit
def test_transactional_update_at_work(host):
    host.snapper("create", "--from", "1")
    with subprocess.Popen(["sleep", "60"]) as holder:
        pathlib.Path("/run/transactional-update.pid").write_text(str(holder.pid), encoding="ascii")
        results = [host.module("package", name="testbed-hello"), host.module("rollback", to="2")]
        pathlib.Path("/run/transactional-update.pid").unlink()
        holder.kill()
    for result in results:
        assert f"transactional-update, pid {holder.pid} (sleep 60)" in result["msg"]
    assert (host.numbers(), host.default()) == ([1, 2], 1)


def test_what_a_killed_run_left_is_cleaned_by_the_next(host):
    process = host.start_module("package", name="testbed-app")
    host.wait_for(lambda: os.path.exists("/.snapshots/2/snapshot/usr"))
    process.kill()
    process.communicate()
    assert host.default() == 1
    result = host.module("package", name="testbed-hello")
    assert result.get("changed"), result
    assert "deleted what an interrupted run had left: snapshot 2" in str(result["warnings"])
    assert (host.numbers(), host.default()) == ([1, 2], 2)
    assert "testbed-app-1.0" not in host.packages(2)


def test_a_terminated_run_cleans_up_itself(host):
    before = host.state()
    process = host.start_module("package", name="testbed-app")
    host.wait_for(lambda: os.path.exists("/.snapshots/2/snapshot/usr"))
    process.terminate()
    out, _err = process.communicate()
    assert "ended by SIGTERM" in out
    assert host.state() == before


@pytest.mark.tukit
def test_the_snapper_engine_also_works_where_tukit_is(host):
    result = host.module("package", name="testbed-hello", engine="snapper")
    assert (result["engine"], result["snapshot"]) == ("snapper", 2)
    assert "testbed-hello-1.0" in host.packages(2)
    assert host.default() == 2


@pytest.mark.snapper
def test_the_tukit_engine_without_tukit(host):
    assert "tukit is not installed on this host" in host.module("package", name="testbed-hello", engine="tukit")["msg"]
