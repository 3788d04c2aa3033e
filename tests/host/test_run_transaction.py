# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The transaction of a run: opened by one task, entered by others, ended by the last one."""

from __future__ import annotations

import os
import subprocess

import pytest

DIRECTORY = "/run/microos-transactional"
LEFT = ("deleted what an interrupted run had left: snapshot 2. It was never closed, so nothing of its work was kept. "
        "If that run ended well, its play lacks the task 'microos.transactional.transaction: {state: closed}'")
RUN = {"key": "0123456789abcdef", "identity": {"machine": "here", "pid": 1, "started": "1"}}
OTHER = {"key": "fedcba9876543210", "identity": {"machine": "there", "pid": 2, "started": "2"}}


class Run:
    """A run of Ansible on the host: what its action plugin asks of the module, and what its connection does."""

    def __init__(self, host, run):
        self.host = host
        self.run = run

    def __call__(self, state, /, **arguments):
        result = self.host.module("transaction", state=state, _run=self.run, **arguments)
        warnings = [warning["event"]["msg"] for warning in result.get("warnings", [])]
        return dict({"changed": None}, **dict(result, warnings=warnings))

    def info(self):
        return self.host.module("transaction_info", _run=self.run)["transaction"]

    def open(self, **arguments):
        told = {"description": "play 'tests'", "provenance": {"user": "op", "controller": "ctl"}}
        return self("open", **dict(told, **arguments))

    def enter(self, script, **kwargs):
        with open(f"{DIRECTORY}/{self.run['key']}", encoding="utf-8") as stream:
            pid = stream.readline().split()[0]
        return subprocess.run(["nsenter", "--target", pid, "--mount", "--root", "--wd", "sh", "-c", script],
                              capture_output=True, text=True, check=False, **kwargs)

    def pid(self):
        with open(f"{DIRECTORY}/{self.run['key']}", encoding="utf-8") as stream:
            return int(stream.readline().split()[0])


@pytest.fixture
def run(host):
    run = Run(host, RUN)
    yield run
    for one in run, Run(host, OTHER):
        state = one("aborted", join=True)
        assert not state.get("failed"), state


@pytest.fixture
def other(host):
    return Run(host, OTHER)


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
    assert busy["holder"]["run"] == RUN["identity"]
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
    waiting = host.start_module("transaction", state="open", _run=OTHER, wait=30, description="second")
    host.wait_for(lambda: waiting.poll() is None)
    run.enter("echo x >/usr/probe")
    assert run("closed")["snapshot"] == 2
    assert waiting.wait(30) == 0
    assert other.info()["base"] == 2
    other("aborted")


def test_a_run_that_is_over_is_replaced(host, run, other):
    first = run.open()
    opened = other.open(_replace=first["transaction"]["id"])
    assert opened["transaction"]["own"] and opened["warnings"] == [LEFT], opened
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
    assert opened["warnings"] == [LEFT], opened
    other("aborted")


def test_after_a_reboot_nothing_is_open(host, run):
    run.open()
    os.kill(run.pid(), 9)
    for name in os.listdir(DIRECTORY):
        os.unlink(f"{DIRECTORY}/{name}")  # /run is empty after a boot
    closed = run("closed")
    assert closed["failed"] and "there is no open transaction to close" in closed["msg"]
    assert run.open()["warnings"] == [LEFT]


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
