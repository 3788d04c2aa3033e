# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a trial is made of, and who decided which snapshot came up; that it works is tried on VMs."""

from __future__ import annotations

import os
import stat
import subprocess
import types

import pytest

from ansible_collections.microos.transactional.plugins.module_utils import _boot_choice, _trial, _trial_files
from ansible_collections.microos.transactional.plugins.module_utils._boot_choice import Facts
from ansible_collections.microos.transactional.plugins.module_utils._errors import Interrupted, TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._tools import (
    boot_entries,
    boot_loader,
    boot_records,
    command,
)

ENTRY = """\
title openSUSE MicroOS 20261101
version 3@6.12.1-1-default
sort-key opensuse-microos
linux /opensuse-microos/6.12.1-1-default/linux-0123
initrd /opensuse-microos/6.12.1-1-default/initrd-4567
options root=UUID=1234 quiet rootflags=subvol=@/.snapshots/3/snapshot
"""
PLAN = _trial_files.Plan("u-1", 90, 3, [2, 1], {3: "m-3.conf", 2: "m-2.conf"}, "/boot/efi/loader/entries/trial.conf")


@pytest.mark.parametrize("plan", [PLAN, PLAN._replace(entries={}, trial_entry="")])
def test_the_script_is_sound(plan, tmp_path):
    path = tmp_path / "trial.sh"
    path.write_text(_trial_files.texts(plan)[_trial_files.SCRIPT])
    done = subprocess.run(["shellcheck", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_units_are_sound(tmp_path):
    texts = _trial_files.texts(PLAN)
    units = {path.rsplit("/", 1)[1]: text for path, text in texts.items() if path.count("/") == 4}
    assert set(units) == {_trial_files.JUDGE, _trial_files.TIMER, _trial_files.REVERT, _trial_files.TIDY}
    for name, text in units.items():
        (tmp_path / name.replace("@", "@checks")).write_text(text)
    paths = sorted(str(path) for path in tmp_path.iterdir())
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *paths], capture_output=True, text=True,
                          check=False)
    assert [line for line in done.stderr.splitlines() if "microos-trial" in line] == []
    assert "OnActiveSec=90\n" in units[_trial_files.TIMER]


def test_everything_that_is_made_is_removed_and_the_script_last():
    texts = _trial_files.texts(PLAN)
    removed = texts[_trial_files.SCRIPT].split("\nfiles='")[1].split("'")[0].splitlines()
    assert sorted(removed) == sorted(texts)
    # together they do it again after a power cut
    assert [path[len(_trial_files.UNITS) + 1:] for path in removed[-4:-1]] == [
        _trial_files.TIDY, _trial_files.JUDGE, "sysinit.target.d/50-microos-trial.conf"]
    assert removed[-1] == _trial_files.SCRIPT


def test_the_units_are_wanted_without_links():
    """systemd removes links in a directory ".wants" at a first boot, if its presets say so."""
    wants = _trial_files.texts(PLAN)[f"{_trial_files.UNITS}/sysinit.target.d/50-microos-trial.conf"]
    assert wants == f"[Unit]\nWants={_trial_files.JUDGE} {_trial_files.TIMER}\n"


def test_the_entry_of_a_trial_is_never_chosen_by_itself():
    entry = _trial_files.trial_entry(ENTRY, "panic=10")
    assert entry == """\
title openSUSE MicroOS 20261101 (on trial)
sort-key zzz-microos-trial
version 0
linux /opensuse-microos/6.12.1-1-default/linux-0123
initrd /opensuse-microos/6.12.1-1-default/initrd-4567
options root=UUID=1234 quiet rootflags=subvol=@/.snapshots/3/snapshot panic=10
"""
    assert boot_entries.parse(entry)[0] == 3


HOSTILE = ("title \nsort-key x\n# options no\n\n\tlinux\t /a b$(reboot)\r\noptions  root=UUID=1\tquiet `id` %n\r\n"
           "initrd /i\noptions rootflags=subvol=@/.snapshots/3/snapshot x=\udcff\u2028y\x0bz \nefi\noptions\n")


@pytest.mark.parametrize("text, title, options", [
    (ENTRY.replace("title openSUSE MicroOS 20261101", "title"), "snapshot", None),
    (ENTRY.replace("title openSUSE MicroOS 20261101", "title  \t "), "snapshot", None),
    (ENTRY.replace("title openSUSE MicroOS 20261101\n", ""), "snapshot", None),
    (ENTRY.replace("title ", "\ttitle\t\t"), "openSUSE MicroOS 20261101", None),
    (ENTRY.replace("\n", "\r\n"), "openSUSE MicroOS 20261101", None),
    (ENTRY.replace("\n", "\r"), "openSUSE MicroOS 20261101", None),
    (ENTRY.replace("MicroOS", "Micro\u2028OS\x0c\x85"), "openSUSE Micro\u2028OS\x0c\x85 20261101", None),
    (ENTRY.replace("options root=UUID=1234 quiet ", "options root=UUID=1234\noptions\noptions quiet\noptions  "),
     "openSUSE MicroOS 20261101", None),
    (HOSTILE, "snapshot", "root=UUID=1\tquiet `id` %n rootflags=subvol=@/.snapshots/3/snapshot x=\udcff\u2028y\x0bz"),
])
def test_the_entry_of_a_trial_from_any_entry(text, title, options):
    entry = _trial_files.trial_entry(text, "panic=10")
    told = boot_entries.assignments(entry)
    assert told[:3] == [("title", f"{title} (on trial)"), ("sort-key", "zzz-microos-trial"), ("version", "0")]
    assert [value for key, value in told if key == "options"] == [
        (options or "root=UUID=1234 quiet rootflags=subvol=@/.snapshots/3/snapshot") + " panic=10"]
    assert len([key for key, _value in told if key == "linux"]) == 1
    assert "\r" not in entry
    assert boot_entries.parse(entry)[0] == boot_entries.parse(text)[0] == 3


def test_an_entry_without_options_gets_some():
    assert _trial_files.trial_entry("linux /l\n", "panic=10").endswith("linux /l\noptions panic=10\n")


@pytest.mark.parametrize("name", ["$(touch hacked)", "a'b", "a b", "a\nb;touch hacked", "`touch hacked`", "-e",
                                  "%s\\n"])
def test_names_from_a_boot_loader_mean_nothing_to_the_shell(name, tmp_path):
    plan = PLAN._replace(entries={3: name}, trial_entry=f"/esp/{name}/loader/entries/trial.conf")
    script = _trial_files.script(plan, ["/etc/x"])
    path = tmp_path / "head.sh"
    head = script.split("set -u\n", maxsplit=1)[0]
    path.write_text(f"{head}set -u; " + "planned_entry 3; printf '%s\\n' \"$trial_entry\"\n")
    for shell in ("sh", "bash"):
        done = subprocess.run([shell, path], capture_output=True, text=True, check=True, cwd=tmp_path)
        assert done.stdout == f"{name}\n{plan.trial_entry}\n"
    assert [found.name for found in tmp_path.iterdir()] == ["head.sh"]


def test_an_entry_that_is_read_and_written_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(boot_entries, "DIRECTORIES", (str(tmp_path),))
    (tmp_path / "m-3.conf").write_bytes(ENTRY.replace("quiet", "quiet x=\xff").encode("latin-1"))
    (tmp_path / "m-4.conf").write_bytes(b"\xff\xfe\0\0")
    (tmp_path / boot_entries.TRIAL).write_text(ENTRY)
    found = boot_entries.by_snapshot()
    assert list(found) == [3]
    path, text = found[3]
    assert path.endswith("/m-3.conf")
    boot_entries.write(str(tmp_path / boot_entries.TRIAL), _trial_files.trial_entry(text, ""))
    assert b"quiet x=\xff rootflags" in (tmp_path / boot_entries.TRIAL).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["m-3.conf", "m-4.conf", boot_entries.TRIAL])


def test_versions_with_odd_digits():
    odd = ENTRY.replace("6.12.1", "6.\u00b2.\u0663")
    assert boot_entries.newest([("odd.conf", odd), ("new.conf", ENTRY)])[3][0] in ("odd.conf", "new.conf")
    assert boot_entries.parse(ENTRY.replace("snapshots/3", "snapshots/\u0663")) is None


def test_a_damaged_record_is_told_all_the_same(tmp_path, monkeypatch):
    path = tmp_path / "trial"
    monkeypatch.setattr(_trial_files, "RECORD", str(path))
    monkeypatch.setattr(_trial_files, "SPARE", str(tmp_path / "spare"))
    assert _trial.tell() == {"state": "none"}
    path.write_bytes(b"state=running\nboots=\xc2\xb2\nsnapshot=3\nreason=\xff a\xc2\x85b\n=\n\0")
    told = _trial.tell()
    assert (told["state"], told["snapshot"], told["boots"], told["reason"]) == ("running", 3, "\xb2", "\ufffd a\x85b")
    (tmp_path / "spare").write_text("state=reverted\n")  # written as the other could not be
    assert _trial.tell() == {"state": "reverted"}
    (tmp_path / "spare").unlink()
    path.unlink()
    path.mkdir()
    with pytest.raises(TransactionalError, match=f"cannot read the record of the trial, {path}: Is a directory"):
        _trial.tell()


@pytest.mark.parametrize("status", sorted(_trial_files.REFUSALS))
def test_a_refused_confirmation_has_a_reason_in_words(status):
    said = _trial_files.REFUSALS[status]
    result = command.Result(["sh"], status, "", f"{said}\n")
    assert _trial.refusal(result) == said
    result = command.Result(["sh"], status, "", f"the default is snapshot 7\n{said}\n")
    assert _trial.refusal(result) == f"{said} (the default is snapshot 7)"


def test_a_script_that_is_gone():
    assert _trial.refusal(command.Result(["sh"], 2, "", "sh: 0: cannot open it\n")) == (
        "/etc/microos-transactional/trial.sh ended with exit code 2 (sh: 0: cannot open it)")


@pytest.mark.parametrize("path, valid", [
    ("m-2.conf", True), ("6a9857a393724b7a981ebb5b8495b9ea-6.12@3+git.conf", True), ("m 2.conf", False),
    ("-2.conf", False), ("@2.conf", False), ("m*.conf", False), ("m-2.conf\n", False), ("m\n-2.conf", False),
    ("m-2", False), ("m-\u00e4.conf", False),
])
def test_ids_that_a_boot_loader_can_be_told(path, valid):
    assert bool(boot_entries.ID.match(path)) == valid


def test_the_record():
    assert _trial_files.parse_record("id=u-1\nstate=reverted\nreason=a=b failed\n") == {
        "id": "u-1", "state": "reverted", "reason": "a=b failed"}


def test_where_to_go_back_to():
    rows = [{"number": number, "userdata": {}} for number in (1, 2, 3, 4, 5)]
    rows.append({"number": 6, "userdata": {"transactional-update-in-progress": "yes"}})
    assert _trial.way_back(rows, 4, 5, lambda number: True) == [4, 3, 2]
    assert _trial.way_back(rows, 4, 5, lambda number: number != 3) == [4, 2, 1]
    # a later one was given up, or never booted
    assert _trial.way_back(rows, 2, 5, lambda number: True) == [2, 1]
    assert _trial.way_back(rows, 4, 2, lambda number: True) == [4, 3, 1]
    assert _trial.way_back(rows[:1], 1, 5, lambda number: True) == [1]


@pytest.mark.parametrize("path, entry", [
    ("/boot/efi/loader/entries/m-2.conf", "m-2.conf"),
    ("/boot/efi/loader/entries/m-2+3.conf", "m-2.conf"),
    ("/boot/efi/loader/entries/m-2+1-2.conf", "m-2.conf"),
    ("m-6.12+git-2.conf", "m-6.12+git-2.conf"),
])
def test_the_id_of_an_entry_has_no_counter(path, entry):
    assert boot_entries.entry_id(path) == entry


def test_the_newest_kernel_stands_for_a_snapshot():
    older = ENTRY.replace("6.12.1", "6.9.10")
    found = boot_entries.newest([("new.conf", ENTRY), ("old.conf", older), ("windows.conf", "title Windows\n")])
    assert found == {3: ("new.conf", ENTRY)}


def test_texts_of_the_firmware():
    assert boot_loader.decode("m-2.conf\0".encode("utf-16-le")) == "m-2.conf"


NOTHING = Facts({"state": "none"}, "/boot/efi/loader/entries/m-3.conf", "m-3.conf", "m-3.conf", "")


@pytest.mark.parametrize("facts, who, why", [
    (NOTHING._replace(trial={"state": "reverted", "snapshot": 3, "reason": "no answer"}), "trial", "no answer"),
    (NOTHING._replace(trial={"state": "reverted", "snapshot": 2, "reason": "an old one"}), "unknown", "tells nothing"),
    (NOTHING._replace(trial={"state": "confirmed", "snapshot": 3}), "unknown", "tells nothing"),
    (NOTHING._replace(path="/x/m-3+0-3.conf"), "boot counting", "3 boots of m-3+0-3.conf failed"),
    (NOTHING._replace(health_checker='Health check failed! / ERROR: "logind check" failed'), "health check", "logind"),
    (NOTHING._replace(health_checker="Health check passed"), "unknown", "tells nothing"),
    (NOTHING._replace(selected="m-2.conf"), "boot menu", "m-2.conf was chosen instead of the default, m-3.conf"),
    (NOTHING._replace(selected="m-2.conf", default="m-2.conf"), "boot loader", "its default is m-2.conf"),
    (NOTHING._replace(path="", selected="m-2.conf"), "unknown", "tells nothing"),
])
def test_who_decided(facts, who, why):
    found, reason = _boot_choice.judge(3, facts)
    assert found == who
    assert why in reason


# --- what the journal tells afterwards --------------------------------------------------------------------------


def test_only_root_gives_a_snapshot_up(monkeypatch):
    """Everybody may log under the identifier of the script."""
    calls = []
    monkeypatch.setattr(boot_records.command, "which", lambda name: name)
    monkeypatch.setattr(boot_records.command, "run",
                        lambda argv, **_kwargs: calls.append(argv) or command.Result(argv, 0, "", ""))
    assert list(boot_records.parse_journal(boot_records._journal())) == []
    kernel, script = " ".join(calls[0]).split(" + ")
    assert kernel.endswith(" _TRANSPORT=kernel")
    assert script == "SYSLOG_IDENTIFIER=microos-trial _UID=0"


@pytest.mark.parametrize("line", ["{", "[]", "null", '{"MESSAGE": "x"}', '{"__REALTIME_TIMESTAMP": "1"}', "\x85", "1",
                                  '{"MESSAGE": null, "__REALTIME_TIMESTAMP": "1"}',
                                  '{"MESSAGE": "snapshot 2 on trial: reverted", "__REALTIME_TIMESTAMP": "x"}',
                                  '{"MESSAGE": "snapshot 2 on trial: reverted", "__REALTIME_TIMESTAMP": "9e99"}',
                                  '{"MESSAGE": "snapshot 2 on trial: reverted", "__REALTIME_TIMESTAMP": ' + 40 * "9"
                                  + "}"])
def test_a_damaged_line_of_the_journal(line):
    good = '{"MESSAGE": "snapshot 3 on trial: reverted, why", "__REALTIME_TIMESTAMP": "1000000"}'
    found = list(boot_records.parse_journal(f"{line}\n{good}\n{line}"))
    assert [(number, is_boot) for number, _moment, is_boot in found] == [(3, False)]


# --- errors and signals ------------------------------------------------------------------------------------------


class Busybody:
    """Stands for the host where a choice of the boot loader is to be mended."""

    booted = current = 2

    def default(self):
        return 3


def test_a_signal_is_not_taken_for_a_failed_rollback(monkeypatch):
    def rollback(*_args, **_kwargs):
        raise error
    monkeypatch.setattr(_boot_choice, "look", lambda expected: NOTHING._replace(path="/x/m-3+0-3.conf"))
    monkeypatch.setattr(_boot_choice._rollback, "rollback", rollback)
    monkeypatch.setattr(_boot_choice._trial, "tell", lambda: {"state": "none"})
    engine = types.SimpleNamespace(host=Busybody())
    error = TransactionalError("it is busy")
    assert "stays the default, as it is busy" in _boot_choice.came_up(engine, 3)["decision"]
    error = Interrupted("ended by signal 15")
    with pytest.raises(Interrupted, match="ended by signal 15"):
        _boot_choice.came_up(engine, 3)


@pytest.fixture
def preparation(monkeypatch, tmp_path):
    """A trial of snapshot 3 with all its files in a directory; calls of tools are kept."""
    calls = []
    for name, value in {"RECORD": "var/own/trial", "FLAG": "run/own/trial.running", "SPARE": "run/own/trial.record",
                        "UNITS": "etc/units", "SCRIPT": "etc/own/trial.sh"}.items():
        monkeypatch.setattr(_trial_files, name, str(tmp_path / value))
    entries = tmp_path / "esp"
    entries.mkdir()
    plan = PLAN._replace(back=[2], trial_entry=str(entries / boot_entries.TRIAL))
    monkeypatch.setattr(_trial, "_roots", lambda plan: ["", f"{tmp_path}/three"])
    monkeypatch.setattr(_trial, "make_plan", lambda host, seconds: (plan, "title x\n"))
    monkeypatch.setattr(_trial, "under_way", lambda: None)
    monkeypatch.setattr(_trial.disks, "flush", lambda: None)
    monkeypatch.setattr(os, "fchown", lambda *_args: None)
    monkeypatch.setattr(_trial.command, "check", lambda argv, **_kwargs: calls.append(argv))
    monkeypatch.setattr(_trial.command, "run", lambda argv, **_kwargs: calls.append(argv))
    for name in ("set_default", "set_one_shot"):
        monkeypatch.setattr(_trial.boot_loader, name, lambda entry, name=name: calls.append([name, entry]))

    def files():
        return sorted(path for path in tmp_path.rglob("*") if not path.is_dir())
    return types.SimpleNamespace(plan=plan, calls=calls, files=files, top=tmp_path)


@pytest.mark.parametrize("umask", [0, 0o077, 0o777])
def test_modes_of_what_is_prepared(preparation, umask):
    before = os.umask(umask)
    try:
        with _trial.prepared(Busybody(), 90, 0, once=True) as record:
            assert record["boot_loader"] == "one-shot"
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    top = preparation.top
    for path in (top / "var/own", top / "run/own", top / "etc/own", top / "three" / str(top)[1:] / "etc/own"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
    assert stat.S_IMODE((top / "var/own/trial").stat().st_mode) == 0o600
    assert stat.S_IMODE((top / "etc/own/trial.sh").stat().st_mode) == 0o700
    units = [path for path in preparation.files() if "units" in path.parts]
    assert len(units) == 20
    assert {stat.S_IMODE(path.stat().st_mode) for path in units} == {0o644}
    assert {stat.S_IMODE(path.parent.stat().st_mode) for path in units} == {0o755}
    assert stat.S_IMODE((top / "var").stat().st_mode) == 0o755
    assert (top / "esp" / boot_entries.TRIAL).read_text() == "title x\n"


@pytest.mark.parametrize("error, kind, said", [
    (OSError(28, "No space left on device"), TransactionalError, "nothing was rebooted: .*No space left on device"),
    (TransactionalError("it failed"), TransactionalError, "snapshot 3 could not be prepared, .*: it failed"),
    (Interrupted("ended by signal 15"), Interrupted, "ended by signal 15. The trial of snapshot 3 is not prepared"),
    (KeyboardInterrupt(), KeyboardInterrupt, None),
])
def test_a_preparation_that_does_not_come_to_its_end(preparation, error, kind, said):
    with pytest.raises(kind, match=said) as raised, _trial.prepared(Busybody(), 90, 0, once=True):
        assert len(preparation.files()) > 20
        raise error
    assert raised.type is kind
    assert preparation.files() == []
    assert preparation.calls[-2:] == [["set_one_shot", ""], ["set_default", "m-3.conf"]]


def test_a_boot_loader_that_cannot_be_told_again(preparation, monkeypatch):
    def refuse(entry):
        if entry == "m-3.conf":
            raise TransactionalError("bootctl hangs")
    monkeypatch.setattr(_trial.boot_loader, "set_default", refuse)
    with pytest.raises(TransactionalError, match="it failed. The boot loader may start another snapshot than 3 at the "
                                                 "next boot: bootctl hangs"), \
            _trial.prepared(Busybody(), 90, 0, once=True):
        raise TransactionalError("it failed")


@pytest.mark.parametrize("where", ["var/own", "run/own", "etc/own"])
def test_a_link_where_a_directory_of_roots_own_is_wanted(preparation, where):
    elsewhere = preparation.top / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    path = preparation.top / where
    path.parent.mkdir()
    path.symlink_to(elsewhere)
    with pytest.raises(TransactionalError, match=f"{path} has to be a directory of root's own"), \
            _trial.prepared(Busybody(), 90, 0, once=True):
        pass
    assert list(elsewhere.iterdir()) == []
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o755


def test_directories_that_others_could_write_to_are_made_right(preparation):
    path = preparation.top / "var/own"
    path.mkdir(parents=True)
    path.chmod(0o777)
    (path / ".trial.new").symlink_to(preparation.top / "precious")
    with _trial.prepared(Busybody(), 90, 0, once=True):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert not (preparation.top / "precious").exists()
