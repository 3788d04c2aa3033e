# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever `tukit` is on the guest, the stand-in or a real one, behaves as the real one was seen to.

Most of it is a comparison with recorded runs (transcripts/); what does not show in the output comes after that.
"""

from __future__ import annotations

import os
import pathlib
import re
import signal
import subprocess

import pytest

pytestmark = pytest.mark.tukit

TRANSCRIPTS = pathlib.Path(__file__).parent / "transcripts" / "tukit-6.1.3.txt"
LOCK = pathlib.Path("/run/tukit.lock")
SYNC_ETC = "/usr/libexec/transactional-update-sync-etc-state"
HELP = "[... the full text of `tukit --help` ...]"
# What differs from one run, or one guest, to the next
VARYING = [
    (r"/tmp/transactional-update-\w+", "/tmp/transactional-update-XXXXXX"),
    (r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\b", "YYYY-MM-DD hh:mm:ss"),
    (r"\b[A-Z][a-z]{2} [ \d]\d \d\d:\d\d\b", "Mon dd hh:mm"),
]
COUNT_OF_MOUNTS = (r"(?m)^\d+$", "COUNT")


# --- recorded runs -----------------------------------------------------------------------------------------------


def sessions():
    """Of each session its title, its settings and its steps: title, command, stdout, stderr and exit code."""
    for text in TRANSCRIPTS.read_text(encoding="utf-8").split("\n## ")[1:]:
        head, *steps = text.split("\n### ")
        title, *settings = head.strip().splitlines()
        yield pytest.param(dict(line.split(": ", 1) for line in settings), list(map(parse, steps)), id=title)


def parse(step):
    title, body = step.split("\n```\n# ", 1)
    command, _newline, output = body.partition("\n")
    parts = re.split(r"^\[(stdout|stderr|exit code)\]\s", output.rsplit("\n```", 1)[0] + "\n", flags=re.MULTILINE)
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    return title, command, found.get("stdout", ""), found.get("stderr", ""), int(found["exit code"])


def normal(text, *more):
    for pattern, replacement in (*VARYING, *more):
        text = re.sub(pattern, replacement, text)
    return text.rstrip("\n").splitlines()


@pytest.mark.parametrize("settings, steps", list(sessions()))
def test_recorded_session(tukit, settings, steps):
    tukit.have_snapshots(settings.get("Snapshots", ""))
    help_text = tukit.sh("tukit --help").stdout.rstrip("\n")
    tukit.sh(settings.get("Before", "true"), check=True)
    try:
        for title, command, stdout, stderr, code in steps:
            more = [COUNT_OF_MOUNTS] if "grep -c" in command else []
            done = tukit.sh(command)
            seen = title, normal(done.stdout, *more), normal(done.stderr), done.returncode
            assert seen == (title, normal(stdout.replace(HELP, help_text), *more), normal(stderr), code)
    finally:
        tukit.sh(settings.get("After", "true"), check=True)


# --- what a command sees -----------------------------------------------------------------------------------------


def test_mounts(tukit):
    """The table of what is the snapshot's, what is live and what is gone afterwards, and no other mount than these."""
    pathlib.Path("/run/systemd/journal").mkdir(parents=True, exist_ok=True)
    number = tukit.open()
    listed = tukit.call(number, "findmnt --list --noheadings --output TARGET,FSROOT,FSTYPE")
    mounts = {target: "tmpfs" if (fstype, root) == ("tmpfs", "/") else root for target, root, fstype in
              map(str.split, listed.splitlines()) if not re.match("/(dev|proc|sys)(/|$)", target)}
    var_lib = [f"/var/lib/{name}" for name in ("zypp", "alternatives", "selinux") if os.path.isdir(f"/var/lib/{name}")]
    assert mounts == {
        "/": f"/@/.snapshots/{number}/snapshot",
        **{path: f"/@{path}" for path in ("/.snapshots", "/boot/writable", "/opt", "/root", "/var/cache",
                                          "/var/lib/ca-certificates", "/var/log", *var_lib)},
        "/boot/efi": tukit.host.check("findmnt", "-no", "FSROOT", "--target", "/boot/efi").rstrip("/")
        + ("/boot/efi" if not os.path.ismount("/boot/efi") else ""),
        "/run": "tmpfs", "/tmp": "tmpfs", "/var/tmp": "tmpfs", "/run/systemd/journal": "/systemd/journal",
    }


def test_where_what_is_written_goes(tukit):
    number = tukit.open()
    root = f"/.snapshots/{number}/snapshot"
    snapshot = {"/usr", "/etc", "/boot", "/home", "/srv", "/usr/local", "/var/lib"}
    live = {"/root", "/opt", "/var/log", "/var/cache", "/var/lib/ca-certificates"}
    nowhere = {"/tmp", "/var/tmp", "/run"}
    paths = snapshot | live | nowhere
    tukit.call(number, "".join(f"echo >{path}/written; " for path in paths))
    written = tukit.call(number, f"ls -d {' '.join(f'{path}/written' for path in paths)} || true").split()
    assert set(written) == {f"{path}/written" for path in snapshot | live}
    assert {path for path in paths if os.path.exists(f"{path}/written")} == live
    assert {path for path in paths if os.path.exists(f"{root}{path}/written")} == snapshot
    for path in live:
        os.unlink(f"{path}/written")


def test_what_is_added_for_a_call_is_removed_afterwards(tukit):
    number = tukit.open()
    assert tukit.call(number, "readlink /var/run; test -d /var/spool && echo spool") == "/run\nspool"
    root = f"/.snapshots/{number}/snapshot"
    assert not [path for path in (f"{root}/var/run", f"{root}/var/spool") if os.path.lexists(path)]


def test_environment_and_signals_are_inherited(tukit):
    number = tukit.open()
    script = 'echo $KEPT; grep "^Sig[IBC]" /proc/self/status; umask'
    outside = tukit.sh(script, env=os.environ | {"KEPT": "kept"}).stdout
    assert tukit.sh(f"tukit -q call {number} sh -c '{script}'", env=os.environ | {"KEPT": "kept"}).stdout == outside


def test_a_call_is_seen_by_the_host_as_one_mount(tukit):
    """Its first mount is made before the namespace is private."""
    number = tukit.open()
    script = ("mount --make-rshared /; tukit -q call $0 sleep 1 & sleep .5; findmnt -rno TARGET,FSROOT | "
              "grep transactional-update; wait; findmnt -rno TARGET,FSROOT | grep transactional-update")
    seen = tukit.host.run("unshare", "--mount", "sh", "-c", script, number).stdout
    assert normal(seen) == [f"/tmp/transactional-update-XXXXXX /@/.snapshots/{number}/snapshot"]


# --- signals and death -------------------------------------------------------------------------------------------


def test_signals_to_tukit_alone_do_nothing(tukit):
    with tukit.calling(tukit.open(), "sleep 1; echo done; exit 3") as process:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            process.send_signal(number)
        assert (process.communicate()[0], process.returncode) == ("done\n", 3)


def test_killed(tukit):
    """The command goes on without its lock, and the transaction can be resumed."""
    number = tukit.open()
    with tukit.calling(number, "touch /usr/before; sleep 1; touch /usr/after") as process:
        process.kill()
    assert LOCK.exists()
    assert tukit.call(number, "ls /usr/before /usr/after || true") == "/usr/before"
    tukit.host.wait_for(pathlib.Path(f"/.snapshots/{number}/snapshot/usr/after").exists)
    for left in pathlib.Path("/tmp").glob("transactional-update-*"):
        left.rmdir()


def test_a_process_left_behind_writes_into_the_closed_snapshot(tukit):
    number = tukit.open()
    tukit.call(number, "(exec >/usr/late 2>&1; sleep 1; echo late) &")
    tukit.sh(f"tukit close {number}", check=True)
    assert tukit.host.check("btrfs", "property", "get", "-ts", f"/.snapshots/{number}/snapshot", "ro") == "ro=true"
    late = pathlib.Path(f"/.snapshots/{number}/snapshot/usr/late")
    tukit.host.wait_for(lambda: late.read_text(encoding="utf-8") == "late\n")


# --- snapper -----------------------------------------------------------------------------------------------------


def test_without_dbus_only_if_there_is_no_socket(tukit):
    socket = pathlib.Path("/run/dbus/system_bus_socket")
    socket.parent.mkdir()
    socket.touch()
    done = tukit.sh("tukit -q open")
    socket.unlink()
    socket.parent.rmdir()
    assert done.returncode == 1
    assert "ERROR: `snapper create --from 1 --read-write" in done.stderr


@pytest.mark.parametrize("read_only", ["true", "false"])
def test_a_closed_snapshot_is_read_only_if_the_default_is(tukit, read_only):
    tukit.have_snapshots("2*")
    tukit.host.check("btrfs", "property", "set", "-ts", "/.snapshots/2/snapshot", "ro", read_only)
    number = tukit.open()
    tukit.sh(f"tukit close {number}", check=True)
    ro = tukit.host.check("btrfs", "property", "get", "-ts", f"/.snapshots/{number}/snapshot", "ro")
    assert (tukit.host.default(), ro) == (int(number), f"ro={read_only}")


def test_a_deleted_snapshot_leaves_no_subvolume(tukit):
    before = tukit.host.state()["subvolumes"]
    number = tukit.open()
    path = f"@/.snapshots/{number}/snapshot"
    assert set(tukit.host.state()["subvolumes"]) - set(before) == {path, f"{path}/etc", f"{path}/etc/etc.syncpoint"}
    tukit.sh(f"tukit abort {number}", check=True)
    assert tukit.host.state()["subvolumes"] == before


# --- /etc --------------------------------------------------------------------------------------------------------


def first_boot(tukit, number):
    """The merge, as the initrd runs it; all paths that it leaves."""
    etc = f"/.snapshots/{number}/snapshot/etc"
    assert tukit.sh(f"cat {etc}/etc.syncpoint/transactional-update.comparewith").stdout == "1\n"
    tukit.sh(f"{SYNC_ETC} /.snapshots/1/snapshot/etc {etc} {etc}/etc.syncpoint", check=True)
    assert not os.path.exists(f"{etc}/etc.syncpoint")
    return pathlib.Path(etc)


def test_merge(tukit):
    """As recorded: the transaction wins where both changed a file, else the later change."""
    names = ("both", "del-in-running", "only-running")
    for name in names:
        pathlib.Path("/etc", name).write_text("base\n", encoding="utf-8")
    number = tukit.open()
    tukit.call(number, "echo tx >/etc/both; echo tx >/etc/new-in-tx")
    tukit.sh(f"tukit close {number}", check=True)
    tukit.sh("cd /etc; echo running >both; echo running >new-in-running; rm del-in-running; echo running >only-running")
    etc = first_boot(tukit, number)
    result = {name: (etc / name).read_text(encoding="utf-8").strip() if (etc / name).exists() else None
              for name in (*names, "new-in-tx", "new-in-running")}
    assert result == {"both": "tx", "new-in-tx": "tx", "new-in-running": "running", "del-in-running": None,
                      "only-running": "running"}


MERGES = {  # in the beginning, in the transaction, in the running system, what must be true then
    "mode": ("echo >f", "true", "chmod 600 f", "test $(stat -c %a f) = 600"),
    "owner": ("echo >f", "true", "chown 1:2 f", "test $(stat -c %u:%g f) = 1:2"),
    "attribute": ("echo >f", "true", "setfattr -n user.x -v y f", "getfattr -n user.x f"),
    "time is kept": ("echo >f", "true", "echo 1 >f; touch -d @1234567890 f", "test $(stat -c %Y f) = 1234567890"),
    "contents alone are not seen": ("echo 1 >f", "true", "echo 2 >f; touch -d @1000 f", "grep -x 1 f"),
    "directory": ("true", "true", "mkdir -p d/e; echo 1 >d/e/f", "grep -x 1 d/e/f"),
    "directory gone": ("mkdir -p d/e; echo 1 >d/e/f", "true", "rm -r d", "test -d d/e; ! test -e d/e/f"),
    "directory gone, but used": ("mkdir d; echo 1 >d/f", "echo 2 >d/g", "rm -r d", "grep -x 2 d/g; ! test -e d/f"),
    "directory gone in transaction": ("mkdir d; echo 1 >d/f", "rm -r d", "echo 2 >d/g", "! test -e d"),
    "deleted, but changed in transaction": ("echo 1 >f", "echo tx >f", "rm f", "grep -x tx f"),
    "changed, but deleted in transaction": ("echo 1 >f", "rm f", "echo 2 >f", "! test -e f"),
    "link": ("ln -s 1 f", "true", "ln -sfn 22 f", "test $(readlink f) = 22"),
    "link instead of file": ("echo 1 >f", "true", "ln -sf 22 f", "test $(readlink f) = 22"),
    "file instead of directory": ("mkdir d; echo 1 >d/f", "true", "rm -r d; echo 2 >d", "grep -x 2 d"),
    "directory instead of file": ("echo 1 >d", "true", "rm d; mkdir d; echo 2 >d/f", "grep -x 2 d/f"),
    "file instead of link": ("ln -s 1 f", "true", "rm f; echo 2 >f", "test ! -h f; grep -x 2 f"),
}


def test_merge_rules(tukit):
    """All in one transaction, each in a directory of its own."""
    directories = [pathlib.Path("/etc/merge", name) for name in MERGES]
    for directory, (beginning, *_rest) in zip(directories, MERGES.values(), strict=True):
        directory.mkdir(parents=True)
        tukit.sh(f"set -e; {beginning}; touch -d @1000 .; find . -maxdepth 1 -type f | xargs -r touch -d @1000",
                 cwd=directory, check=True)
    number = tukit.open()
    tukit.call(number, "".join(f"cd '{directory}'; {transaction}\n" for directory, (_old, transaction, *_rest) in
                               zip(directories, MERGES.values(), strict=True)))
    tukit.sh(f"tukit close {number}", check=True)
    for directory, (_old, _new, running, _result) in zip(directories, MERGES.values(), strict=True):
        tukit.sh(f"set -e; {running}", cwd=directory, check=True)
    etc = first_boot(tukit, number)
    assert [name for name, (*_steps, result) in MERGES.items()
            if tukit.sh(f"set -e; {result}", cwd=etc / "merge" / name).returncode] == []


def test_a_grandchild_takes_the_syncpoint_over(tukit):
    """Made from a pending snapshot, it is merged with what ran when the first one was made."""
    first = tukit.open()
    tukit.call(first, "echo first >/etc/first")
    tukit.sh(f"tukit close {first}; echo running >/etc/running", check=True)
    second = tukit.open("-c")
    tukit.call(second, "echo second >/etc/second")
    tukit.sh(f"tukit close {second}; echo late >/etc/late", check=True)
    etc = first_boot(tukit, second)
    assert [name for name in ("first", "running", "second", "late") if not (etc / name).exists()] == []


# --- the host ----------------------------------------------------------------------------------------------------


class Tukit:
    """The host, and what the tests do with tukit."""

    def __init__(self, host):
        self.host = host

    def sh(self, script, check=False, **kwargs):
        done = self.host.run("sh", "-c", script, **kwargs)
        assert not check or done.returncode == 0, f"{script}: {done.stdout}{done.stderr}"
        return done

    def open(self, *options):
        return self.host.check("tukit", "-q", *options, "open").removeprefix("ID: ")

    def call(self, number, script):
        return self.host.check("tukit", "-q", "call", number, "sh", "-c", script)

    def calling(self, number, script):
        """A call that has begun its command."""
        process = subprocess.Popen(["tukit", "-q", "call", number, "sh", "-c", f"echo; {script}"], text=True,
                                   stdout=subprocess.PIPE)
        process.stdout.readline()
        return process

    def have_snapshots(self, numbers):
        """Make these, and the one with a star the default."""
        wanted = numbers.replace("*", "").split()
        while wanted and str(self.host.numbers()[-1]) != wanted[-1]:
            self.host.snapper("create", "--from", "1")
        for number in map(str, self.host.numbers()[1:]):
            if wanted and number not in wanted:
                self.host.snapper("delete", number)
        for number in re.findall(r"(\d+)\*", numbers):
            self.host.snapper("modify", "--default", number)


@pytest.fixture
def tukit(host):
    """A host as in the recording, with its /etc for the tests to change."""
    info = pathlib.Path("/.snapshots/1/info.xml")
    saved = info.read_text(encoding="utf-8")
    host.snapper("modify", "--cleanup-algorithm", "", "--userdata", "important=", "1")
    host.check("btrfs", "subvolume", "snapshot", "-r", "/etc", "/.snapshots/etc")
    yield Tukit(host)
    host.check("rsync", "--archive", "--xattrs", "--acls", "--delete", "/.snapshots/etc/", "/etc/")
    host.check("btrfs", "subvolume", "delete", "/.snapshots/etc")
    info.write_text(saved, encoding="utf-8")
    LOCK.unlink(missing_ok=True)
