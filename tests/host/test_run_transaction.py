# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The transaction of a run: opened by one task, entered by others, ended by the last one."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess

import pytest

DIRECTORY = "/run/microos-transactional"
INTERRUPTED = (
    "deleted what an interrupted run had left: snapshot 2. It was never closed, so nothing of its work was kept. "
    "If that run ended well, its play lacks the task 'microos.transactional.transaction: {state: closed}'")


def test_open_work_close(host, run):
    opened = run.open(description="Converge it", provenance={"git_commit": "abc", "user": "op, not=bob"})
    assert (opened["snapshot"], opened["base"], opened["changed"]) == (2, 1, False), opened
    assert host.userdata(2)["ansible-git_commit"] == "abc"
    assert host.userdata(2)["ansible-user"] == "op; not:bob"
    assert host.userdata(2)["ansible-transaction"] == opened["transaction"]["id"]
    assert run.enter("echo new >/etc/probe; echo kept >/tmp/note; chmod 600 /etc/motd; rm /etc/issue").returncode == 0
    assert run.enter("cat /tmp/note").stdout == "kept\n"
    assert not os.path.exists("/etc/probe")
    assert host.default() == 1
    closed = run("closed")
    assert closed["changed"] and closed["snapshot"] == 2 and closed["pending"], closed
    assert closed["files"] == [{"path": "/etc/issue", "change": "removed"}, {"path": "/etc/motd", "change": "modified"},
                               {"path": "/etc/probe", "change": "added"}]
    assert "file added: /etc/probe\n" in closed["diff"]["prepared"]
    assert host.default() == 2
    assert host.check("btrfs", "property", "get", "-ts", "/.snapshots/2/snapshot", "ro") == "ro=true"
    assert host.snapper("--csvout", "list", "--columns", "number,cleanup,description").splitlines()[-1] == (
        "2,number,ansible: Converge it")
    assert "transactional-update-in-progress" not in host.userdata(2)


def test_packages_are_told_and_explain_their_files(host, run):
    run.open()
    done = run.enter("zypper --non-interactive install testbed-app")
    assert done.returncode == 0, done.stdout
    run.enter("echo mine >/usr/mine")
    closed = run("closed")
    assert closed["changed"], closed
    assert [row["name"] for row in closed["installed"]] == ["testbed-app", "testbed-lib"], closed
    assert [row["path"] for row in closed["files"]] == ["/usr/mine", "/usr/share/testbed"]  # a directory of no package
    assert closed["files_of_packages"] > 2
    assert "package installed: testbed-app-" in closed["diff"]["prepared"]


def test_nothing_changed_nothing_remains(host, run):
    before = host.state()
    run.open()
    # what reads, and what ends up as it was, is no change
    assert run.enter("rpm -qa >/dev/null; echo x >/etc/probe; rm /etc/probe; cp -a /etc/motd /etc/motd.new; "
                     "mv /etc/motd.new /etc/motd; python3 -c 'import http.client'; "
                     "zypper --non-interactive refresh").returncode == 0
    closed = run("closed")
    assert closed["changed"] is False and closed["snapshot"] is None and closed["files"] == [], closed
    assert host.state() == before
    assert os.listdir(DIRECTORY) == []


def test_the_running_etc_may_change_meanwhile(host, run):
    before = host.state()
    run.open()
    try:
        with open("/etc/live-note", "w", encoding="ascii") as stream:
            stream.write("live\n")
        assert not run("closed")["changed"]
    finally:
        os.unlink("/etc/live-note")
    assert host.state() == before


def test_abort_leaves_no_trace(host, run):
    before = host.state()
    run.open()
    run.enter("echo x >/usr/probe; setsid sleep 1000 >/dev/null 2>&1 &")
    aborted = run("aborted")
    assert not aborted["changed"] and "sleep 1000" in aborted["ended"][0], aborted
    assert host.state() == before
    assert os.listdir(DIRECTORY) == []
    assert run("aborted")["ended"] == []


def test_abort_may_keep_it(host, run):
    run.open(keep_failed=True)
    run.enter("echo x >/usr/probe")
    assert run("aborted")["kept_snapshot"] == 2
    assert (host.default(), host.numbers(), host.userdata(2)["ansible-failed"]) == (1, [1, 2], "yes")
    assert os.path.exists("/.snapshots/2/snapshot/usr/probe")
    assert run.open()["snapshot"] == 3  # it is no leftover


def test_open_is_found_open(host, run):
    first = run.open()
    again = run.open()
    assert again["transaction"]["id"] == first["transaction"]["id"]
    assert host.numbers() == [1, 2]


def test_another_run_is_told_who_is_at_work(host, run, other):
    run.open()
    busy = other.open(wait=1)
    assert busy["failed"] and busy["busy"]
    assert "'ansible: play 'tests'', opened by op@ctl at 20" in busy["msg"]
    assert busy["holder"]["run"] == run.run["identity"]
    for state in "closed", "aborted":
        refused = other(state)
        assert refused["failed"] and "There is another one: 'ansible: play 'tests''" in refused["msg"]
    assert other.info()["own"] is False
    package = host.module("package", name=["testbed-hello"])
    assert package["failed"] and "opened by op@ctl" in package["msg"]
    rollback = host.module("rollback", to="1")
    assert not rollback["changed"]
    assert host.numbers() == [1, 2] and run.info()["alive"]
    assert other("aborted", join=True)["ended"] == []
    assert host.numbers() == [1]


def test_another_run_may_wait(host, run, other):
    run.open()
    waiting = host.start_module("transaction", state="open", _run=other.run, wait=30, description="second")
    host.wait_for(lambda: waiting.poll() is None)
    run.enter("echo x >/usr/probe")
    assert run("closed")["snapshot"] == 2
    assert waiting.wait(30) == 0
    assert other.info()["base"] == 2
    other("aborted")


def test_a_run_that_is_over_is_replaced(host, run, other):
    first = run.open()
    opened = other.open(_replace=first["transaction"]["id"])
    assert opened["transaction"]["own"] and opened["warnings"] == [INTERRUPTED], opened
    assert len(host.numbers()) == 2
    other("aborted")


def test_the_namespace_dies_with_its_holder(host, run):
    before = host.state()
    run.open()
    run.enter("echo x >/usr/probe")
    os.kill(run.pid(), 9)
    host.wait_for(lambda: not os.path.exists(f"/proc/{run.pid()}/root{DIRECTORY}"))
    closed = run("closed")
    assert closed["failed"] and "has ended before its close" in closed["msg"] and "was deleted" in closed["msg"], closed
    assert host.state() == before


def test_a_dead_leftover_is_cleaned_by_the_next_run(host, run, other):
    run.open()
    os.kill(run.pid(), 9)
    host.wait_for(lambda: not os.path.exists(f"/proc/{run.pid()}/root{DIRECTORY}"))
    opened = other.open()
    assert opened["warnings"] == [INTERRUPTED], opened
    other("aborted")


def test_after_a_reboot_nothing_is_open(host, run):
    run.open()
    os.kill(run.pid(), 9)
    for name in os.listdir(DIRECTORY):
        os.unlink(f"{DIRECTORY}/{name}")  # /run is empty after a boot
    closed = run("closed")
    assert closed["failed"] and "there is no open transaction to close" in closed["msg"]
    assert run.open()["warnings"] == [INTERRUPTED]


def test_it_ends_by_itself_if_nobody_enters(host, run):
    run.open(idle_timeout=1)
    job = subprocess.Popen(["nsenter", "--target", str(run.pid()), "--mount", "--root", "sleep", "5"])
    with pytest.raises(subprocess.TimeoutExpired):
        job.wait(2)
    assert run.info()["alive"]
    assert job.wait() == 0
    host.wait_for(lambda: not run.info()["alive"])


def test_the_default_must_not_move(host, run):
    run.open()
    run.enter("echo x >/usr/probe")
    moved = host.snapper("create", "--from", "1", "--print-number", "--description", "somebody else")
    host.snapper("modify", "--default", moved)
    closed = run("closed")
    assert closed["failed"] and f"the default is now {moved} ('somebody else'" in closed["msg"], closed
    assert host.numbers() == [1, int(moved)] and host.default() == int(moved)


@pytest.mark.tukit
def test_others_are_refused_by_tukit_meanwhile(host, run):
    run.open()
    other = host.run("tukit", "-q", "open")
    assert other.returncode == 1 and "Another instance of tukit is already running" in other.stderr
    run.enter("echo x >/usr/probe")
    assert run("closed")["changed"]
    assert host.run("tukit", "-q", "open").returncode == 0


def test_a_chosen_base(host, run):
    run.open()
    run.enter("echo x >/usr/probe")
    run("closed")
    assert run.open(base="current")["base"] == 1
    run.enter("echo y >/usr/other")
    closed = run("closed")
    assert (closed["snapshot"], host.default()) == (3, 3), closed
    assert not os.path.exists("/.snapshots/3/snapshot/usr/probe")
    refused = run.open(base="99")
    assert refused["failed"] and "there is no snapshot '99' to start from" in refused["msg"]


def test_a_job_that_still_runs_keeps_it_open(host, run):
    run.open()
    run.enter("echo x >/usr/probe; setsid sleep 8 >/dev/null 2>&1 &")
    closed = run("closed")
    assert closed["failed"] and "(sleep 8) since" in closed["running"][0], closed
    assert host.default() == 1 and run.info()["alive"]
    host.wait_for(lambda: run.info()["running"] == [])
    assert run("closed")["changed"]


def test_an_agent_that_zypper_left_behind_does_not(host, run):
    run.open()
    run.enter("echo x >/usr/probe; mkdir -m 700 -p /var/tmp/zypp.abc123/zypp-trusted-kr; "
              "gpg-agent --homedir /var/tmp/zypp.abc123/zypp-trusted-kr --use-standard-socket --daemon >/dev/null 2>&1")
    assert "(gpg-agent --homedir /var/tmp/zypp.abc123/" in run.info()["running"][0]
    assert run("closed")["changed"]


def test_writes_that_would_be_hidden_are_refused(host, run):
    run.open()
    run.enter("mkdir -p /home/bob/.ssh /srv/www /var/lib/app; echo x >/home/bob/.ssh/authorized_keys; "
              "echo x >/usr/probe; echo x >/usr/local/tool; echo live >/var/log/live; echo live >/opt/live")
    try:
        closed = run("closed")
        assert closed["failed"] and "The transaction stays open" in closed["msg"], closed
        assert closed["shadowed_writes"] == ["/home/bob", "/home/bob/.ssh", "/home/bob/.ssh/authorized_keys",
                                             "/srv/www", "/usr/local/tool", "/var/lib/app"]
        assert "mounted at /home, /srv, /usr/local, /var:" in closed["msg"]
        assert host.default() == 1
        warned = run("closed", shadowed_writes="warn")
        assert warned["changed"] and "/home/bob/.ssh/authorized_keys" in warned["warnings"][0], warned
    finally:
        os.unlink("/var/log/live")
        os.unlink("/opt/live")


def test_labels_count_unless_tukit_makes_them(host, run):
    label = "setfattr -n security.selinux -v system_u:object_r:testbed_t:s0"
    run.open()
    run.enter(f"{label} /var /var/lib; setfattr -n security.sehash -v 0x0102 /var/lib")
    assert not run("closed")["changed"] and host.default() == 1
    run.open()
    run.enter(f"{label} /usr/share")
    assert run("closed")["files"] == [{"path": "/usr/share", "change": "modified"}]


def files():
    """Every file of the host with the time of its last change, but what the test itself and the kernel write."""
    return {path: (about.st_ino, about.st_ctime_ns)
            for top in ("/etc", "/usr", "/var", "/root", "/home", "/opt", "/srv", "/boot", "/.snapshots")
            for directory, _names, names in os.walk(top)
            for path, about in [(f"{directory}/{name}", os.lstat(f"{directory}/{name}")) for name in [".", *names]]}


def test_check_mode_leaves_no_trace(host, run, other):
    other.open()
    before, files_before = host.state(), files()
    opened = run.open(_check=True)
    assert (opened["snapshot"], opened["transaction"]["view"]) == (None, True), opened
    assert run.enter("echo x >/etc/probe").returncode != 0
    assert run.enter("echo x >/tmp/probe && test -w /run && test -e /var/log && test -w /var/cache").returncode == 0
    solver = run.enter("zypper --non-interactive install --dry-run testbed-app")
    assert "testbed-lib" in solver.stdout and solver.returncode == 0, solver
    closed = run("closed", _check=True)
    assert not closed["changed"] and closed["files"] == [], closed
    assert host.state() == before
    assert files() == files_before
    assert run.info()["own"] is False
    other("aborted")


ODD = {
    b"a\nb": "a\\nb", b"lat\xe9in": "lat\\xe9in", "nel\x85x".encode(): "nel\\u0085x",
    b"form\x0cfeed": "form\\u000cfeed", "sep\u2028x".encode(): "sep\\u2028x", b"-dash": "-dash", b"st*r": "st*r",
    b"br[a]": "br[a]", b"%{NAME}": "%{NAME}"}


def create(number, directory, names):
    """Empty files in a snapshot, as a task inside of it would make them."""
    top = os.fsencode(f"/.snapshots/{number}/snapshot{directory}/")
    os.makedirs(top, exist_ok=True)
    for name in names:
        os.close(os.open(top + name, os.O_CREAT | os.O_WRONLY, 0o644))


def test_hidden_writes_with_odd_names_are_refused_each_by_its_name(host, run):
    snapshot = run.open()["snapshot"]
    for name, shown in ODD.items():
        create(snapshot, "/srv", [name])
        closed = run("closed")
        assert closed["failed"] and f"mounted at /srv: /srv/{shown}. The transaction stays" in closed["msg"], closed
        assert len(closed["msg"].splitlines()) == 1 and closed["shadowed_writes_count"] == 1
        os.unlink(os.fsencode(f"/.snapshots/{snapshot}/snapshot/srv/") + name)
    assert not run("closed")["changed"]
    assert host.default() == 1


def test_many_hidden_writes_are_refused_at_once(host, run):
    snapshot = run.open()["snapshot"]
    create(snapshot, "/srv", [b"%07d-%s" % (number, b"n" * 100) for number in range(30_000)])
    process = host.start_module("transaction", state="closed", _run=run.run)
    out, err = process.communicate(timeout=120)
    closed = json.loads(out)
    assert closed["failed"] and " and 29,980 more. The transaction stays open" in closed["msg"], err
    assert len(closed["msg"]) < 4000
    assert (len(closed["shadowed_writes"]), closed["shadowed_writes_count"]) == (1000, 30_000)
    assert host.default() == 1 and run.info()["alive"]


@pytest.fixture
def owner():
    """An RPM file with files and directories in /srv and /var/lib, one of them with a name that is no UTF-8."""
    home = "/run/owner"
    os.makedirs(f"{home}/root/srv/owned")
    for name in (b"plain", b"lat\xe9in", b"qu'ote", "nel\x85".encode()):
        os.close(os.open(os.fsencode(f"{home}/root/srv/owned/") + name, os.O_CREAT | os.O_WRONLY))
    with open(f"{home}/owner.spec", "w", encoding="utf-8") as stream:
        stream.write("Name: owner\nVersion: 1\nRelease: 1\nSummary: x\nLicense: x\nBuildArch: noarch\nAutoReqProv: no\n"
                     "%description\nx\n%install\nmkdir -p %{buildroot}/srv\ncp -a /run/owner/root/srv/owned "
                     "%{buildroot}/srv/\n%files\n/srv/owned\n")
    subprocess.run(["rpmbuild", "-bb", "--quiet", "--define", f"_topdir {home}/build", "--define", f"_rpmdir {home}",
                    "--define", "_invalid_encoding_terminates_build 0", "--define", "__os_install_post %{nil}",
                    f"{home}/owner.spec"], check=True, capture_output=True)
    shutil.copy(f"{home}/noarch/owner-1-1.noarch.rpm", "/opt/owner.rpm")  # /opt is seen inside
    yield "/opt/owner.rpm"
    os.unlink("/opt/owner.rpm")
    shutil.rmtree(home)


def test_only_the_very_paths_of_a_package_are_its_own(host, run, owner):
    snapshot = run.open()["snapshot"]
    done = run.enter(f"rpm --install --nodeps --nosignature {owner}")
    assert done.returncode == 0, done.stderr
    closed = run("closed", _check=True)
    assert not closed.get("failed"), closed
    (warning,) = closed["warnings"]
    assert warning.startswith("files of packages are hidden") and warning.endswith(
        ": /srv/owned/lat\\xe9in, /srv/owned/nel\\u0085, /srv/owned/plain, /srv/owned/qu'ote"), warning
    strange = [b"plain\n", b"lat\xe8in", b"plai*", b"pl", b"nel", b"nel\x85"]
    create(snapshot, "/srv/owned", strange)
    closed = run("closed")
    assert closed["failed"] and closed["shadowed_writes_count"] == len(strange), closed
    assert not {"/srv/owned/plain", "/srv/owned"} & set(closed["shadowed_writes"])
    json.dumps(closed, ensure_ascii=False).encode("utf-8")


def test_a_name_that_is_no_utf8_is_told_by_a_close_that_counts(host, run):
    run.open()
    assert run.enter("printf x >\"/etc/$(printf 'lat\\351in')\"").returncode == 0
    closed = run("closed")
    assert closed["changed"] and host.default() == 2, closed
    assert {"path": "/etc/lat\\xe9in", "change": "added"} in closed["files"]
    json.dumps(closed, ensure_ascii=False).encode("utf-8")


def test_a_result_has_an_end(host, run):
    snapshot = run.open()["snapshot"]
    create(snapshot, "/usr/share/many", [b"%06d" % number for number in range(5000)])
    closed = run("closed")
    assert closed["changed"] and (len(closed["files"]), closed["files_count"]) == (1000, 5001)
    assert closed["diff"]["prepared"].endswith("\nand 4,001 more files\n")


def test_a_flag_alone_is_a_change_that_stays(host, run):
    run.open()
    assert run.enter("chattr +i /usr/share/misc; chattr +i /etc/motd").returncode == 0
    closed = run("closed")
    assert closed["changed"] and closed["files"] == [
        {"path": "/usr/share/misc", "change": "modified"}, {"path": "/etc/motd", "change": "modified"}], closed
    for path in ("/usr/share/misc", "/etc/motd"):
        assert "i" in host.check("lsattr", "-d", f"/.snapshots/2/snapshot{path}").split()[0]
    assert run.open()["base"] == 2
    assert not run("closed")["changed"]
    # what is made from it has them, and can be changed and deleted all the same
    run.open()
    assert run.enter("chattr -i /etc/motd").returncode == 0
    closed = run("closed")
    assert [file["path"] for file in closed["files"]] == ["/etc/motd"], closed


@pytest.mark.parametrize("top", ["/etc", "/usr/share"])
def test_directories_1500_deep(host, run, top):
    snapshot = run.open()["snapshot"]
    here = os.open(f"/.snapshots/{snapshot}/snapshot{top}", os.O_RDONLY)
    for _level in range(1500):
        os.mkdir("d" * 10, dir_fd=here)
        below = os.open("d" * 10, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    closed = run("closed")
    assert closed["changed"] and 300 < closed["files_count"] < 400, closed.get("msg")
    assert run.open()["base"] == snapshot
    assert not run("closed")["changed"]


def test_what_is_mounted_below_does_not_hold_up_a_close(host, run):
    snapshot = run.open()["snapshot"]
    root = f"/.snapshots/{snapshot}/snapshot"
    for name in ("mounted", "dead"):
        os.mkdir(f"{root}/usr/share/{name}")
    host.check("mount", "-t", "tmpfs", "none", f"{root}/usr/share/mounted")
    channel = os.open("/dev/fuse", os.O_RDWR)  # a file system whose server never answers
    try:
        options = f"fd={channel},rootmode=40000,user_id=0,group_id=0".encode()
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.mount(b"dead", f"{root}/usr/share/dead".encode(), b"fuse", 0, options) == 0
        with open(f"{root}/usr/share/mounted/other", "w", encoding="ascii"):
            pass
        process = host.start_module("transaction", state="closed", _run=run.run, _check=True)
        out, err = process.communicate(timeout=100)
        assert [file["path"] for file in json.loads(out)["files"]] == [
            "/usr/share/dead", "/usr/share/mounted"], out + err
    finally:
        os.close(channel)
        host.check("umount", "--lazy", f"{root}/usr/share/dead")
        host.check("umount", f"{root}/usr/share/mounted")
    assert run("closed")["changed"]
