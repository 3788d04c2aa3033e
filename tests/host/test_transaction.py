# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The promises of a transaction, below the modules."""

from __future__ import annotations

import os
import subprocess

import pytest

from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._host import Host
from ansible_collections.microos.transactional.plugins.module_utils._tools import btrfs, command
from ansible_collections.microos.transactional.plugins.module_utils._transaction import Transaction, choose_engine


@pytest.fixture
def begin(host):
    return lambda **kwargs: Transaction(choose_engine(Host()), "test", "for a test", **kwargs)


def make_default(host):
    """Somebody else moves the default."""
    number = host.snapper("create", "--from", "1", "--print-number", "--description", "made by somebody else")
    host.snapper("modify", "--default", number)
    return int(number)


def test_close_fails_if_the_default_was_moved(host, begin):
    with pytest.raises(TransactionalError) as caught, begin() as transaction:
        other = make_default(host)
        transaction.close()
    assert f"snapshot 2 was made from 1, but the default is now {other} ('made by somebody else', made" in (
        str(caught.value))
    assert f"Snapshot 2 was deleted; the default is {other}" in str(caught.value)
    assert (host.numbers(), host.default()) == ([1, other], other)


@pytest.fixture
def half_closed(host, begin):
    """What a power cut in a close can leave: the snapshot is closed, and nothing made it the default for good."""
    with begin() as transaction:
        transaction.close()
    host.snapper("modify", "--userdata", "ansible-closing=yes", "2")
    return transaction


def test_a_half_closed_snapshot_is_deleted_by_the_next_run(host, begin, half_closed):
    host.snapper("modify", "--default", "1")
    with begin() as transaction:
        transaction.close()
    assert transaction.recovered == [2]
    assert (host.numbers(), host.default()) == ([1, transaction.snapshot], transaction.snapshot)


def test_a_close_of_which_only_the_end_is_missing_is_ended(host, begin, half_closed):
    with begin() as transaction:
        assert transaction.base == 2
    assert host.numbers() == [1, 2]
    assert "ansible-closing" not in host.userdata(2)


def test_a_half_closed_snapshot_that_others_came_after_is_kept(host, begin, half_closed):
    other = make_default(host)
    with begin():
        pass
    assert host.numbers() == [1, 2, other]
    assert "ansible-closing" not in host.userdata(2)


def test_leaving_without_close_deletes_the_snapshot(host, begin):
    before = host.state()
    with begin() as transaction:
        assert transaction.run(["touch", "/usr/probe"]).rc == 0
        assert os.path.exists(f"/.snapshots/{transaction.snapshot}/snapshot/usr/probe")
    assert host.state() == before


def test_an_error_of_any_kind_deletes_the_snapshot(host, begin):
    before = host.state()
    with pytest.raises(ZeroDivisionError), begin():
        print(1 / 0)
    assert host.state() == before


def test_a_close_that_fails_at_its_very_end_leaves_no_trace(host, begin, monkeypatch):
    """As tukit does with a plugin that fails: by then the snapshot is the default."""
    before = host.state()
    with pytest.raises(TransactionalError, match="a plugin failed. Snapshot 2 was deleted; the default is 1"), \
            begin() as transaction:
        close = transaction.engine.close

        def fail(number):
            close(number)
            raise TransactionalError("a plugin failed")
        monkeypatch.setattr(transaction.engine, "close", fail)
        transaction.close()
    assert host.state() == before


def test_commands_share_one_namespace(host, begin):
    with begin() as transaction:
        assert transaction.run(["sh", "-c", "echo kept > /tmp/note; echo kept > /run/note"]).rc == 0
        assert transaction.run(["cat", "/tmp/note", "/run/note"]).stdout == "kept\nkept\n"
        assert transaction.run(["sh", "-c", "echo out; echo err >&2; exit 7"])[1:4] == (7, "out\n", "err\n")
        assert transaction.run(["sh", "-c", "echo $TRANSACTIONAL_UPDATE $TRANSACTIONAL_UPDATE_ROOT; pwd"]).stdout == (
            f"true /.snapshots/{transaction.snapshot}/snapshot\n/\n")
    assert not os.path.exists("/tmp/note")


# path -> whether a file written there inside is seen on the running system, as in tukit 6.1.3
VIEW = {"/root": True, "/opt": True, "/var/log": True, "/var/cache": True, "/var/lib/ca-certificates": True,
        "/usr": False, "/etc": False, "/tmp": False, "/run": False, "/var/tmp": False, "/home": False, "/srv": False,
        "/usr/local": False, "/var/lib": False}


@pytest.mark.parametrize("path, live", VIEW.items())
def test_the_view_is_that_of_tukit(host, begin, path, live):
    probe = f"{path}/testbed-probe"
    try:
        with begin() as transaction:
            assert transaction.run(["touch", probe]).rc == 0
            assert os.path.exists(probe) == live
    finally:
        if os.path.exists(probe):
            os.unlink(probe)


def test_a_process_that_stays_behind_is_ended_before_the_close(host, begin):
    with begin() as transaction:
        transaction.run(["sh", "-c", "setsid sh -c 'while :; do date > /usr/clock; sleep 0.1; done' >/dev/null 2>&1 &"])
        host.wait_for(lambda: os.path.exists(f"/.snapshots/{transaction.snapshot}/snapshot/usr/clock"))
        transaction.run(["touch", "/usr/probe"])
        transaction.close()
        clock = os.stat(f"/.snapshots/{transaction.snapshot}/snapshot/usr/clock")
    assert host.run("pgrep", "-f", "/usr/clock").returncode == 1
    assert os.stat(f"/.snapshots/{transaction.snapshot}/snapshot/usr/clock").st_mtime == clock.st_mtime
    assert host.default() == transaction.snapshot


def test_a_dead_holder_is_an_error_and_never_the_running_root(host, begin):
    before = host.state()
    with pytest.raises(TransactionalError, match="held the snapshot open has ended"), begin() as transaction:
        os.kill(transaction._namespace.pid, 9)
        transaction._namespace._process.wait()
        transaction.run(["touch", "/root/wrong-root"])
    assert not os.path.exists("/root/wrong-root")
    assert host.state() == before


def test_a_snapshot_that_cannot_be_deleted_is_told(host):
    engine = choose_engine(Host())
    number = engine.open(1, "ansible: for a test", {})
    host.snapper("modify", "--default", str(number))  # snapper refuses to delete it, and ends with 0 all the same
    with pytest.raises(TransactionalError, match=f"snapshot.* {number}"):
        engine.abort(number)


@pytest.mark.tukit
def test_a_snapshot_that_is_half_closed_is_deleted_too(host):
    engine = choose_engine(Host())
    number = engine.open(1, "ansible: for a test", {})
    host.snapper("modify", "--userdata", "transactional-update-in-progress=", str(number))
    engine.abort(number)
    assert host.numbers() == [1]


@pytest.mark.tukit
def test_a_tukit_that_cannot_mount_leaves_no_trace(host, begin):
    before = host.state()
    os.rename("/var/lib/ca-certificates", "/var/lib/ca-certificates.away")
    try:
        with pytest.raises(TransactionalError, match="Mounting '/var/lib/ca-certificates'"), begin():
            pass
    finally:
        os.rename("/var/lib/ca-certificates.away", "/var/lib/ca-certificates")
    assert host.state() == before


@pytest.mark.tukit
def test_nobody_slips_in_while_the_transaction_is_open(begin):
    with begin():
        other = subprocess.run(["tukit", "-q", "open"], capture_output=True, text=True, check=False)
    assert other.returncode == 1
    assert "Another instance of tukit is already running" in other.stderr


@pytest.mark.snapper  # tukit calls it by its path
@pytest.mark.parametrize("made", ["true", "btrfs subvolume snapshot / /.snapshots/2/snapshot"])
def test_what_a_killed_snapper_half_made_is_deleted(host, begin, made, monkeypatch, tmp_path):
    snapper = tmp_path / "snapper"
    snapper.write_text(f"""#!/bin/sh
        case " $* " in
            *" create "*) mkdir /.snapshots/2; {made}; kill -KILL $$ ;;
        esac
        exec /usr/bin/snapper "$@"
    """)
    snapper.chmod(0o755)
    monkeypatch.setattr(command, "PATH", f"{tmp_path}:{command.PATH}")
    before = host.state()
    with pytest.raises(TransactionalError), begin():
        pass
    assert host.state() == before
    assert os.listdir("/.snapshots") == ["1"]


@pytest.mark.snapper
def test_a_missing_etc_plugin_is_told(host, begin):
    plugins = "/usr/lib/snapper/plugins"
    before = host.state()
    host.check("mount", "-t", "tmpfs", "tmpfs", plugins)
    try:
        with pytest.raises(TransactionalError, match="the plugin 50-etc of snapper, a part of"), begin():
            pass
    finally:
        host.check("umount", plugins)
    assert host.state() == before


@pytest.mark.parametrize("library", [True, False], ids=["libbtrfsutil", "btrfs command"])
def test_btrfs(host, monkeypatch, library):
    assert btrfs.btrfsutil is not None, "the guest has python3-btrfsutil"
    if not library:
        monkeypatch.setattr(btrfs, "btrfsutil", None)
    number = host.snapper("create", "--from", "1", "--read-write", "--print-number")
    path = f"/.snapshots/{number}/snapshot"
    assert btrfs.default_subvolume("/") == "@/.snapshots/1/snapshot"
    btrfs.set_default_subvolume(path)
    assert host.default() == int(number)
    assert btrfs.default_subvolume("/") == f"@{path}"
    assert btrfs.is_subvolume(path)
    assert not btrfs.is_subvolume(path + "/usr")
    assert not btrfs.is_read_only(path)
    btrfs.set_read_only(path, True)
    assert btrfs.is_read_only(path)
    assert host.check("btrfs", "property", "get", "-ts", path, "ro") == "ro=true"
    with pytest.raises(TransactionalError):
        btrfs.is_read_only("/.snapshots/99/snapshot")
