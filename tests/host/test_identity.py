# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who holds a transaction, who ends it, and how it ends if somebody interferes."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import stat
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ansible_collections.microos.transactional.plugins.plugin_utils import _inside

DIRECTORY = "/run/microos-transactional"
LOCK = "/run/microos-transactional.lock"
AS_NOBODY = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]


def through_the_door(run, command):
    """What a connection sends."""
    return subprocess.run(["sh", "-c", _inside.OUTSIDE, "sh", f"{DIRECTORY}/{run.run['key']}", "nonce",
                           _inside.INSIDE, "root", command], capture_output=True, text=True, check=False, cwd="/tmp")


# --- who holds it -----------------------------------------------------------------------------------------------------


@pytest.fixture
def impostor(host, run):
    """An unprivileged user's process has the id of the holder, which has ended."""
    run.open()
    pid = int(host.check(sys.executable, str(Path(__file__).with_name("takeover.py")), DIRECTORY))
    assert pid == run.pid()
    assert os.path.exists(f"/proc/{pid}/root{DIRECTORY}/{run.info()['id']}")
    yield pid
    assert not os.path.exists(f"/proc/{pid}/root/stolen"), "root ran a program of the user's"
    assert os.path.exists(f"/proc/{pid}/root/ready"), "a process of somebody else was ended"
    os.kill(pid, signal.SIGKILL)


def test_an_impostor_is_not_entered(host, run, impostor):
    done = through_the_door(run, "touch /etc/probe")
    assert (done.returncode, done.stderr.strip()) == (_inside.REFUSED, "nonce dead 2"), done
    assert run.info()["alive"] is False
    closed = run("closed")
    assert closed["failed"] and "has ended before its close" in closed["msg"] and "was deleted" in closed["msg"], closed
    assert host.numbers() == [1]


def test_an_impostor_keeps_nobody_from_the_next_transaction(host, other, impostor):
    assert host.module("package", name="testbed-hello").get("changed")
    opened = other.open()
    assert opened["opened"], opened
    assert through_the_door(other, "echo x >/usr/probe").returncode == 0
    assert other("closed")["changed"]


def test_an_impostor_is_not_ended_by_an_abort(host, run, impostor):
    aborted = run("aborted")
    assert not aborted.get("failed"), aborted
    assert host.numbers() == [1]


def test_the_way_in_leads_to_the_holder(host, run):
    run.open()
    assert through_the_door(run, "pwd; findmnt --noheadings --output FSROOT --target /; echo x >/etc/probe").stdout == (
        "/\n/@/.snapshots/2/snapshot\n")
    assert os.path.exists("/.snapshots/2/snapshot/etc/probe")


@pytest.mark.tukit
def test_nobody_opens_while_the_holder_lives_without_tukit(host, run, other):
    run.open()
    tukit = int(host.check("ps", "-o", "ppid=", "-p", str(run.pid())))
    os.kill(tukit, signal.SIGKILL)
    host.wait_for(lambda: "tukit" not in host.run("ps", "-o", "args=", "-p", str(tukit)).stdout)
    busy = other.open()
    assert busy["failed"] and busy["busy"] and "opened by op@ctl" in busy["msg"], busy
    assert run.info()["alive"] and host.numbers() == [1, 2]


@pytest.mark.tukit
@pytest.mark.parametrize("who", ["nobody", "later"])
def test_a_lock_file_that_transactional_update_left_behind(host, who):
    """The process id in it is that of somebody else by now."""
    path = Path("/run/transactional-update.pid")
    with subprocess.Popen([*(AS_NOBODY if who == "nobody" else []), "sleep", "60"]) as process:
        path.write_text(str(process.pid), encoding="ascii")
        if who == "later":
            os.utime(path, (time.time() - 100, time.time() - 100))
        try:
            assert host.module("package", name="testbed-hello").get("changed")
        finally:
            path.unlink()
            process.kill()


# --- what others can read ---------------------------------------------------------------------------------------------


def modes():
    return {name: stat.S_IMODE(os.lstat(f"{DIRECTORY}/{name}").st_mode) for name in os.listdir(DIRECTORY)
            if name != "open"}


@pytest.mark.parametrize("umask", ["000", "077"])
def test_the_record_is_root_s_whatever_the_umask(host, run, umask):
    run.open(_prefix=["sh", "-c", f'umask {umask}; exec "$@"', "sh"])
    assert stat.S_IMODE(os.stat(DIRECTORY).st_mode) == 0o700
    assert set(modes().values()) == {0o600}, modes()
    for name in ("", "/open", f"/{run.run['key']}", f"/{run.run['key']}.note"):
        assert host.run(*AS_NOBODY, "cat", DIRECTORY + name).returncode != 0
    run.enter("mkdir /usr/probe")
    assert run.enter("umask").stdout  # of the caller
    root = Path("/.snapshots/2/snapshot")
    assert {stat.S_IMODE((root / name).stat().st_mode) for name in ("run", "var/log")} == {0o755}


def test_a_directory_that_others_could_write_to_is_put_right(host, run, other):
    assert not os.path.exists(f"{DIRECTORY}/open")
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    os.mkdir(DIRECTORY)
    os.chmod(DIRECTORY, 0o777)
    planted = Path(DIRECTORY, other.run["key"])
    planted.write_text('1 id 1 0 0\n{"id": "id", "snapshot": 1}\n', encoding="ascii")
    os.chown(planted, 65534, 65534)
    assert run.open()["opened"]
    assert stat.S_IMODE(os.stat(DIRECTORY).st_mode) == 0o700
    assert not planted.exists()


@pytest.mark.parametrize("made", ["link", "owner"])
def test_a_directory_that_is_not_root_s_is_refused(host, run, made, tmp_path):
    before = host.state()
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    if made == "link":
        os.symlink(tmp_path, DIRECTORY)
    else:
        os.mkdir(DIRECTORY)
        os.chown(DIRECTORY, 65534, 65534)
    try:
        refused = run.open()
        assert refused["failed"] and DIRECTORY in refused["msg"] and "remove it" in refused["msg"], refused
        assert "exception" not in refused
    finally:
        os.unlink(DIRECTORY) if made == "link" else os.rmdir(DIRECTORY)
    assert host.state() == before


def test_inside_everybody_sees_where_they_are(host, run):
    run.open()
    assert run.enter(f"setpriv --reuid=nobody --clear-groups cat {DIRECTORY}/inside").stdout.split()[1] == "2"
    assert run.enter(f"setpriv --reuid=nobody --clear-groups touch {DIRECTORY}/inside").returncode != 0


# --- two ends of one transaction --------------------------------------------------------------------------------------


@contextlib.contextmanager
def held_lock():
    with open(LOCK, "a", encoding="ascii") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def waits_for_the_lock(process):
    directory = f"/proc/{process.pid}/fd"
    with contextlib.suppress(OSError):
        return any(os.path.realpath(f"{directory}/{name}") == LOCK for name in os.listdir(directory))
    return False


@pytest.mark.parametrize("states", [("closed", "closed"), ("closed", "aborted"), ("aborted", "closed"),
                                    ("aborted", "aborted")], ids="-".join)
@pytest.mark.parametrize("join", [False, True])
def test_two_ends_at_once(host, run, other, states, join):
    """Whoever comes second finds it over, and touches nothing."""
    run.open()
    run.enter("echo x >/usr/probe")
    with held_lock():
        ends = [host.start_module("transaction", state=state, _run=who, join=True)
                for state, who in zip(states, (run.run, (other if join else run).run), strict=True)]
        host.wait_for(lambda: all(map(waits_for_the_lock, ends)))
    results = [run.read(end) for end in ends]
    closed = [result for state, result in zip(states, results, strict=True)
              if state == "closed" and not result.get("failed")]
    failed = [result["msg"] for result in results if result.get("failed")]
    assert not any("raceback" in message or "could not be deleted" in message for message in failed), failed
    if closed:
        assert [result["snapshot"] for result in closed] == [2] and closed[0]["changed"]
        assert (host.numbers(), host.default()) == ([1, 2], 2)
        assert os.path.exists("/.snapshots/2/snapshot/usr/probe")
        told = failed or [warning["event"]["msg"] for result in results for warning in result.get("warnings", [])]
        assert ["was closed meanwhile by another task or another run as snapshot 2, which is the default" in text
                for text in told] == [True], results
    else:
        assert (host.numbers(), host.default()) == ([1], 1)
        assert len(failed) == states.count("closed")
        assert all("was ended meanwhile" in message for message in failed), failed
    assert host.userdata(host.default()).get("ansible-closing") is None


def test_an_end_in_the_middle_of_another_one(host, run, other):
    """One closes, and is at it for a while."""
    run.open()
    run.enter("echo x >/usr/probe; setsid sh -c 'until [ -e /tmp/go ]; do sleep 0.1; done' >/dev/null 2>&1 &")
    first = host.start_module("transaction", state="closed", _run=run.run)
    host.wait_for(lambda: waits_for_the_lock(first))
    first.send_signal(signal.SIGSTOP)
    second = host.start_module("transaction", state="aborted", _run=other.run, join=True)
    host.wait_for(lambda: waits_for_the_lock(second))
    run.enter("touch /tmp/go")
    first.send_signal(signal.SIGCONT)
    assert run.read(first)["changed"]
    told = run.read(second)
    assert told["changed"] is False and "nothing was aborted: the transaction was closed meanwhile" in str(told), told
    assert host.default() == 2


def test_a_close_after_the_close(host, run):
    run.open()
    run.enter("echo x >/usr/probe")
    assert run("closed")["changed"]
    again = run("closed")
    assert again["failed"] and "closed or aborted already" in again["msg"]
    assert (host.numbers(), host.default()) == ([1, 2], 2)


def test_a_replaced_run_does_not_end_its_successor(host, run, other):
    """It was taken for dead, and comes to its end all the same."""
    first = run.open()
    with held_lock():
        late = host.start_module("transaction", state="closed", _run=run.run, join=True)
        host.wait_for(lambda: waits_for_the_lock(late))
        late.send_signal(signal.SIGSTOP)
    assert other.open(_replace=first["transaction"]["id"])["opened"]
    late.send_signal(signal.SIGCONT)
    assert "was ended meanwhile" in run.read(late)["msg"]
    assert other.info()["alive"]


def test_views_that_are_opened_at_once(host, run):
    """By two names of one host."""
    views = [host.start_module("transaction", state="open", _run=run.run, _check=True) for _view in range(3)]
    results = [run.read(view) for view in views]
    assert sorted(result.get("opened", result) for result in results) == [False, False, True]
    assert run.info()["alive"]
    assert not run("closed", _check=True).get("failed")


# --- interruptions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_during_a_close_that_waits(host, run, number):
    run.open()
    run.enter("echo x >/usr/probe; setsid sleep 30 >/dev/null 2>&1 &")
    closing = host.start_module("transaction", state="closed", _run=run.run)
    host.wait_for(lambda: waits_for_the_lock(closing))
    time.sleep(0.5)
    closing.send_signal(number)
    closing.send_signal(number)
    result = run.read(closing)
    assert f"ended by {number.name}" in result["msg"] and "Snapshot 2 stays open" in result["msg"], result
    assert run.info()["alive"] and host.default() == 1


def test_signals_during_a_step(host):
    """The second one comes while the snapshot is deleted."""
    before = host.state()
    step = host.start_module("package", name="testbed-app")
    host.wait_for(lambda: os.path.exists("/.snapshots/2/snapshot/usr"))
    for _time in range(20):
        step.send_signal(signal.SIGTERM)
        time.sleep(0.02)
    out, err = step.communicate(timeout=60)
    assert "ended by SIGTERM" in out and "Snapshot 2 was deleted; the default is 1" in out, out + err
    assert host.state() == before


@pytest.fixture
def full(host):
    """No space where the records are kept."""
    os.makedirs(DIRECTORY, exist_ok=True)
    host.check("mount", "-t", "tmpfs", "-o", "size=4k,mode=700", "tmpfs", DIRECTORY)
    Path(DIRECTORY, "filled.up").write_bytes(bytes(4096))
    yield
    host.check("umount", DIRECTORY)


def test_a_full_run_is_told(host, run, full):
    before = host.state()
    result = run.open()
    assert result["failed"] and "No space left on device" in result["msg"], result
    assert "Snapshot 2 was deleted; the default is 1" in result["msg"] and "exception" not in result, result
    assert host.state() == before


# --- time -------------------------------------------------------------------------------------------------------------


def test_a_clock_that_is_set_back_ends_nothing(host, run):
    run.open(idle_timeout=4)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        assert through_the_door(run, f"touch -d '2 days ago' {DIRECTORY}/*").returncode == 0
        time.sleep(0.3)
    assert through_the_door(run, "true").returncode == 0


# --- file systems that do not answer ----------------------------------------------------------------------------------


class Fuse:
    """A file system whose server answers for a second, as long as is needed to get in."""
    INIT, GETATTR = 26, 3

    def __init__(self, path):
        self.path = path
        os.makedirs(path, exist_ok=True)
        self.device = os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={self.device},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions"
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.mount(b"hung", os.fsencode(path), b"fuse", 0, os.fsencode(options)) == 0, ctypes.get_errno()
        self._answers = True
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        attributes = struct.pack("=QII6Q3I7I", 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, stat.S_IFDIR | 0o755, 2, 0, 0, 0,
                                 4096, 0)
        while True:
            try:
                request = os.read(self.device, 1 << 17)
            except OSError:
                return
            _length, kind, unique = struct.unpack_from("=IIQ", request)
            body, error = b"", -38  # ENOSYS
            if kind == self.INIT:
                body, error = struct.pack("=4I2H2I2H8I", 7, 31, 0, 0, 16, 12, 4096, 1, 1, 0, *[0] * 8), 0
            elif kind == self.GETATTR:
                body, error = attributes, 0
            if self._answers:
                os.write(self.device, struct.pack("=IiQ", 16 + len(body), error, unique) + body)

    def hang(self):
        self._answers = False
        time.sleep(1.1)  # what the kernel was told is out of date

    def close(self):
        """Without a server the kernel gives up what waits for it."""
        subprocess.run(["umount", "--lazy", self.path], check=True)
        os.close(self.device)


@pytest.fixture
def hung(host):
    """A process of the host has its root on a file system that does not answer."""
    fuse = Fuse("/run/hung")
    process = subprocess.Popen([sys.executable, "-c", f"import os, time; os.chroot({fuse.path!r}); os.write(1, b'in'); "
                                                      "time.sleep(1000)"], stdout=subprocess.PIPE)
    try:
        assert process.stdout.read(2) == b"in"
        fuse.hang()
        yield
    finally:
        process.kill()
        fuse.close()
        process.wait()


def test_a_root_that_does_not_answer_holds_up_no_end(host, run, hung):
    for state in ("aborted", "closed"):
        run.open()
        run.enter("echo x >/usr/probe")
        out, _err = host.start_module("transaction", state=state, _run=run.run).communicate(timeout=60)
        assert "msg" not in out, out
    assert host.default() > 1


def test_a_root_that_does_not_answer_holds_up_no_idle_timeout(host, run, hung):
    run.open(idle_timeout=1)
    host.wait_for(lambda: not run.info()["alive"])
