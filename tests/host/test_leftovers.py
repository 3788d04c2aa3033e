# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever work leaves in a snapshot, and whichever tool fails: it is deleted, or it is told what became of it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ansible_collections.microos.transactional.plugins.module_utils import _transaction
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._host import Host
from ansible_collections.microos.transactional.plugins.module_utils._tools import btrfs, command, snapper, tukit
from ansible_collections.microos.transactional.plugins.module_utils._transaction import Transaction, choose_engine

# Done inside; all of it keeps "btrfs subvolume delete" and snapper from the deletion of the snapshot
WORK = {
    "nested": "btrfs subvolume create /usr/a",
    "deeply nested": "mkdir -p /var/lib/x/y; btrfs subvolume create /var/lib/x/y/a; mkdir /var/lib/x/y/a/d; "
                     "btrfs subvolume create /var/lib/x/y/a/d/b; btrfs subvolume create /var/lib/x/y/a/d/b/c",
    "in /etc": "btrfs subvolume create /etc/a; btrfs subvolume create /etc/a/b",
    "at the top": "btrfs subvolume create /a; btrfs subvolume create /a/etc; btrfs subvolume create /a/etc/etc",
    "read-only": "btrfs subvolume create /usr/a; btrfs subvolume create /usr/a/b; "
                 "btrfs property set -ts /usr/a/b ro true; btrfs property set -ts /usr/a ro true",
    "odd names": "(btrfs subvolume create \"$(printf '/usr/o d\\n\\377')\"; "
                 "btrfs subvolume create '/usr/--') >/dev/null",
    "immutable directory": "mkdir /usr/a; btrfs subvolume create /usr/a/b; chattr +i /usr/a",
    "immutable subvolume": "btrfs subvolume create /usr/a; btrfs subvolume create /usr/a/b; chattr +i /usr/a/b /usr/a",
    "append only": "btrfs subvolume create /usr/a; mkdir /usr/a/b; btrfs subvolume create /usr/a/b/c; "
                   "chattr +a /usr/a/b /usr/a",
    "immutable root": "chattr +i /",
    "immutable /etc": "chattr +i /etc/motd /etc",
    "immutable and read-only": "btrfs subvolume create /usr/a; chattr +i /usr/a; btrfs property set -ts /usr/a ro true",
    "many": "for n in $(seq 150); do btrfs subvolume create /usr/many-$n; done",
    "mounted": "btrfs subvolume create /usr/a; mount -t tmpfs tmpfs /usr/a; mount --bind /etc /mnt",
}


@pytest.mark.parametrize("work", WORK.values(), ids=WORK.keys())
def test_what_work_leaves_is_deleted(host, run, work):
    before = host.state()
    run.open()
    done = run.enter(f"set -e; {work}")
    assert done.returncode == 0, done
    aborted = run("aborted")
    assert not aborted.get("failed"), aborted
    assert host.state() == before


@pytest.mark.parametrize("work", ["deeply nested", "in /etc", "immutable root", "read-only"])
def test_what_work_of_an_interrupted_run_leaves_is_deleted(host, run, other, work):
    before = host.state()
    run.open()
    assert run.enter(f"set -e; {WORK[work]}").returncode == 0
    os.kill(run.pid(), 9)
    host.wait_for(lambda: not run.info()["alive"])
    told, = other.open()["warnings"]
    assert told.startswith("deleted what an interrupted run had left: snapshot 2.")
    other("aborted")
    assert host.state() == before


@pytest.mark.parametrize("where", ["", "/usr", "/etc"])
def test_what_others_mount_there_is_taken_off(host, run, where):
    before = host.state()
    run.open()
    run.enter("btrfs subvolume create /usr/a")
    host.check("mount", "-t", "tmpfs", "tmpfs", f"/.snapshots/2/snapshot{where}")
    aborted = run("aborted")
    assert not aborted.get("failed"), aborted
    assert host.state() == before


def test_one_that_cannot_be_deleted_blocks_nobody(host, monkeypatch):
    engine = choose_engine(Host())
    with Transaction(engine, "test", "for a test") as transaction:
        transaction.leave_open()
    transaction._namespace.release()

    def refuse(_engine, number):
        raise TransactionalError(f"snapshot {number} is dear to somebody")
    with monkeypatch.context() as context:
        context.setattr(type(engine), "_delete", refuse)
        with Transaction(choose_engine(Host()), "test", "for a test") as transaction:
            transaction.leave_open()
        transaction._namespace.release()
    told, = transaction.warnings
    assert "snapshot 2 of an interrupted run could not be deleted: snapshot 2 is dear to somebody" in told
    assert (transaction.recovered, transaction.snapshot) == ([], 3)
    assert host.userdata(2)["ansible-undeleted"] == "yes"
    with Transaction(choose_engine(Host()), "test", "for a test") as transaction:
        pass
    assert (transaction.recovered, transaction.warnings, host.numbers()) == ([3], [], [1, 2])


def test_a_chroot_below_is_ended_too(host, run):
    """It is no root of a subvolume, but writes into one."""
    before = host.state()
    run.open()
    run.enter("mkdir -p /usr/jail; cp -a /usr/bin /usr/jail/; mkdir /usr/jail/lib /usr/jail/lib64; "
              "mount --bind /usr/lib /usr/jail/lib; mount --bind /usr/lib64 /usr/jail/lib64; "
              "setsid chroot /usr/jail /bin/sleep 1234 >/dev/null 2>&1 &")
    host.wait_for(lambda: host.run("pgrep", "--full", "--exact", "/bin/sleep 1234").returncode == 0)
    aborted = run("aborted")
    assert "sleep 1234" in aborted["ended"][0], aborted
    assert host.state() == before


# --- tools that fail or hang ------------------------------------------------------------------------------------------


@pytest.fixture
def begin(host):
    return lambda: Transaction(choose_engine(Host()), "test", "for a test")


@pytest.mark.tukit
def test_gone_is_gone_whatever_tukit_says(host, begin, monkeypatch):
    abort = tukit.abort

    def fail(number):
        abort(number)
        raise command.CommandError(command.Result(["tukit", "abort"], 1, "", "No space left on device"))
    monkeypatch.setattr(tukit, "abort", fail)
    before = host.state()
    with pytest.raises(TransactionalError, match="for a reason. Snapshot 2 was deleted; the default is 1"), begin():
        raise TransactionalError("for a reason")
    assert host.state() == before


@pytest.fixture
def fake_snapper(monkeypatch, tmp_path):
    """Put a script before snapper; a case of it for its arguments."""
    def put(case):
        path = tmp_path / "snapper"
        path.write_text(f'#!/bin/sh\ncase " $* " in\n{case}\nesac\nexec /usr/bin/snapper "$@"\n')
        path.chmod(0o755)
        monkeypatch.setattr(command, "PATH", f"{tmp_path}:{command.PATH}")
    return put


@pytest.mark.snapper  # tukit calls it by its path
@pytest.mark.parametrize("made", [False, True])
def test_a_snapper_that_hangs_in_the_opening(host, begin, fake_snapper, monkeypatch, made):
    fake_snapper(f'*" create "*) {"/usr/bin/snapper" if made else "true"} "$@"; exec sleep 1000;;')
    monkeypatch.setattr(command, "CHANGE_SECONDS", 3)
    before = host.state()
    with pytest.raises(TransactionalError) as caught, begin():
        pass
    assert "did not end within 3 s" in str(caught.value)
    assert ("Snapshot 2, which was made, was deleted" in str(caught.value)) == made
    assert host.state() == before


@pytest.mark.snapper
def test_a_snapper_that_hangs_in_the_deletion(host, begin, fake_snapper, monkeypatch):
    fake_snapper('*" delete "*) exec sleep 1000;;')
    monkeypatch.setattr(command, "CHANGE_SECONDS", 1)
    with pytest.raises(TransactionalError) as caught, begin():
        raise TransactionalError("for a reason")
    assert "Snapshot 2 could not be deleted, the next run will try again: 'snapper" in str(caught.value)
    assert host.default() == 1


@pytest.mark.snapper
def test_a_close_whose_last_step_fails_is_a_close(host, begin, fake_snapper):
    """After the default has moved an error would be taken for a change that was not made."""
    fake_snapper('*" ansible-closing= "*) exit 1;;')
    with begin() as transaction:
        transaction.run(["touch", "/usr/probe"])
        transaction.close()
    assert host.default() == 2
    assert "keeps the mark 'ansible-closing'" in transaction.warnings[0]


# --- snapshots that others make at that moment ------------------------------------------------------------------------


@pytest.fixture
def another_snapper(tmp_path):
    """One that is at work for some seconds."""
    program = tmp_path / "other" / "snapper"
    program.parent.mkdir()
    shutil.copy("/usr/bin/sleep", program)
    started = []

    def start(seconds):
        started.append(subprocess.Popen([program, str(seconds)]))
        return started[-1]
    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.snapper
def test_what_another_snapper_makes_is_left_alone(host, begin, fake_snapper, another_snapper, monkeypatch):
    monkeypatch.setattr(snapper, "MAKING_SECONDS", 2)
    process = another_snapper(1000)
    fake_snapper('*" create "*) mkdir /.snapshots/7; exit 1;;')
    with pytest.raises(TransactionalError, match="at work on /.snapshots/7, which was left alone"), begin():
        pass
    assert os.path.isdir("/.snapshots/7")
    process.kill()
    os.rmdir("/.snapshots/7")


@pytest.mark.snapper
def test_what_another_snapper_completes_is_left_alone(host, begin, fake_snapper, another_snapper):
    another_snapper(2)
    # the script goes on while ours has failed
    fake_snapper('*" create "*) mkdir /.snapshots/7 /.snapshots/8; '
                 '(sleep 1; echo "<snapshot/>" >/.snapshots/7/info.xml) >/dev/null 2>&1 & exit 1;;')
    with pytest.raises(TransactionalError), begin():
        pass
    assert os.path.exists("/.snapshots/7/info.xml")
    assert not os.path.exists("/.snapshots/8"), "nobody completes this one"
    shutil.rmtree("/.snapshots/7")


# --- configurations that do not fit -----------------------------------------------------------------------------------


@pytest.mark.tukit
def test_another_manager_of_snapshots_is_refused(host, run):
    path = Path("/etc/tukit.conf.d/manager.conf")
    path.parent.mkdir(exist_ok=True)
    path.write_text('SNAPSHOT_MANAGER="podman"\n', encoding="ascii")
    try:
        refused = run.open()
        assert refused["failed"] and "not make snapshots with snapper, but with podman" in refused["msg"], refused
    finally:
        path.unlink()
        with contextlib.suppress(OSError):
            path.parent.rmdir()
    assert host.numbers() == [1]


@pytest.mark.parametrize("library", [True, False], ids=["libbtrfsutil", "btrfs command"])
def test_a_tree_of_subvolumes(host, monkeypatch, library):
    if not library:
        monkeypatch.setattr(btrfs, "btrfsutil", None)
    before = host.state()
    top = Path("/.snapshots/tree")
    for path in (top, top / "a", top / "a/b", top / "etc"):
        host.check("btrfs", "subvolume", "create", str(path))
    btrfs.set_read_only(str(top / "a"), True)
    btrfs.delete_subvolume(str(top))
    assert host.state() == before
    assert _transaction.UNDELETED == "ansible-undeleted"
