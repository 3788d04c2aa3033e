# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Boot entries, EFI variables, the journal, trials, locks, fstab: what is read around a boot."""

from __future__ import annotations

import datetime
import json
import os
import pathlib
import tempfile
from unittest import mock

from fuzzing import NASTY, Parser, damaged, is_int, octets, parser_tests, shell, text
from hypothesis import example, given
from hypothesis import strategies as st

from ansible_collections.microos.transactional.plugins.module_utils import (
    _boot_choice,
    _kexec,
    _nextroot,
    _processes,
    _trial,
    _trial_files,
)
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._tools import (
    boot_entries,
    boot_loader,
    boot_records,
)

ENTRY = """\
# made by sdbootutil
title openSUSE MicroOS 20261101
version 3@6.12.1-1-default
sort-key opensuse-microos
linux /opensuse-microos/6.12.1-1-default/linux-0123
initrd /opensuse-microos/6.12.1-1-default/initrd-4567
options root=UUID=1234 quiet rootflags=subvol=@/.snapshots/3/snapshot
"""
JOURNAL = """\
{"__REALTIME_TIMESTAMP":"1767225600000000","MESSAGE":"Kernel command line: initrd=\\\\microos\\\\initrd root=UUID=1 \
rootflags=subvol=@/.snapshots/4/snapshot rw"}
{"__REALTIME_TIMESTAMP":"1767229200500000","MESSAGE":"snapshot 5 on trial: reverted, nobody confirmed it"}
{"__REALTIME_TIMESTAMP":"1767229200500000","MESSAGE":[115,110,97]}
{"__REALTIME_TIMESTAMP":"1767229200500000","MESSAGE":null}
"""
RECORD = "id=u-1\nstate=running\nboots=1\nreason=\nsnapshot=3\nprevious=2\nseconds=90\n"
LOCKS = """\
1: FLOCK  ADVISORY  WRITE 711 00:17:45 0 EOF
1: -> FLOCK  ADVISORY  WRITE 999 00:17:45 0 EOF
2: POSIX  ADVISORY  WRITE 812 00:19:1034 0 EOF
3: LEASE  ACTIVE    READ  813 00:19:7 0 EOF
4: OFDLCK ADVISORY  READ -1 00:06:321 0 EOF
"""
FSTAB = r"""
# a comment
UUID=1 / btrfs ro=vfs 0 0
UUID=1 /var/lib/a\040b btrfs subvol=/@/x,x-initrd.mount 0 0
/etc /etc none bind,x-initrd.mount 0 0
overlay /etc overlay defaults,lowerdir=/sysroot/var/lib/overlay/1/etc:/sysroot/etc,x-initrd.mount 0 0
incomplete
"""
CMDLINE = "BOOT_IMAGE=/boot/vmlinuz root=UUID=1 rootflags=subvol=@/.snapshots/12/snapshot quiet\n"
HEALTH_CHECKER = 'LAST_WORKING_BTRFS_ID=268\nLAST_WORKING_SNAPSHOT="3"\nREBOOTED=0\n'


def starts(found):
    assert found is None or (is_int(found[0]) and isinstance(found[1], str))


def moments(found):
    for number, moment, is_boot in found:
        assert is_int(number)
        assert moment.tzinfo is datetime.UTC
        assert isinstance(is_boot, bool)


def number_or_none(found):
    assert found is None or (is_int(found) and found >= 0)


def record_is_documented(found):
    assert isinstance(found["state"], str)
    for key, value in found.items():
        assert isinstance(value, (str, int)), key
        assert "\n" not in str(value)


def told(value):
    with tempfile.NamedTemporaryFile() as stream:
        stream.write(value.encode("utf-8", "surrogatepass"))
        stream.flush()
        with mock.patch.object(_trial_files, "RECORD", stream.name):
            return _trial.tell()


def is_locked_by(value):
    return [_processes.parse_locks(value, os.makedev(0, device), inode)
            for device, inode in ((0x17, 45), (0x19, 1034), (0x06, 321))]


def commands(found):
    for argv in found:
        assert argv[0] == "mount"
        assert all(isinstance(word, str) for word in argv)
        assert argv[-1].startswith("/n")


test_real, test_any_text, test_damaged, test_huge = parser_tests([
    Parser("entry", boot_entries.parse, [ENTRY], starts),
    Parser("newest-entry", lambda value: boot_entries.newest([("/a.conf", value), ("/b.conf", ENTRY)]), [ENTRY]),
    Parser("entry-id", boot_entries.entry_id, ["/boot/efi/loader/entries/m-6.12-3+1-2.conf", "/efi/m.conf"],
           lambda found: isinstance(found, str)),
    Parser("renumbered", lambda value: boot_entries.renumbered(value, 3, 4),
           ["/boot/efi/loader/entries/m-6.12-3+1-2.conf", "/e/m-3.conf"],
           lambda found: found is None or found.endswith("-4.conf")),
    Parser("command-line", boot_entries.loaded_snapshot, [CMDLINE], number_or_none),
    Parser("trial-entry", lambda value: _trial_files.trial_entry(value, "panic=10"), [ENTRY],
           lambda found: found.startswith("title ") and found.endswith("\n")),
    Parser("kexec", lambda value: _kexec.parse("/efi/loader/entries/a.conf", value), [ENTRY],
           lambda found: found.linux.startswith("/efi")),
    Parser("journal", boot_records.parse_journal, [JOURNAL], moments),
    Parser("assignments", lambda value: dict(boot_records.ASSIGNMENT.findall(value)), [HEALTH_CHECKER]),
    Parser("record", told, [RECORD], record_is_documented),
    Parser("proc-locks", is_locked_by, [LOCKS], lambda found: [number_or_none(pid) for pid in found]),
    Parser("fstab", lambda value: _nextroot.plan(value, "/n"), [FSTAB], commands),
])


# --- entries --------------------------------------------------------------------------------------------------------

one_word = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1)


@given(damaged([ENTRY]), st.integers(1, 10**6), st.integers(1, 10**6))
def test_entries_that_differ_in_their_number_alone_start_the_same(entry, one, other):
    first, second = (boot_entries.parse(entry.replace("/3/snapshot", f"/{number}/snapshot")) for number in (one, other))
    if entry.count("/3/snapshot") == 1 and first and first[0] == one:
        assert second == (other, first[1])


@given(st.lists(st.one_of(st.sampled_from(ENTRY.splitlines()), text, st.sampled_from(
    ["title", "title ", "title  x", "options", "\ttitle y", "options\tquiet", "sort-key", "version"])), max_size=9))
@example(["title "])
@example(["title \t", "\ttitle x"])
def test_the_entry_of_a_trial_comes_last_and_has_what_was_added(lines):
    found = _trial_files.trial_entry("\n".join(lines) + "\n", "panic=10").splitlines()
    assert [line for line in found if line.split()[:1] == ["sort-key"]] == ["sort-key zzz-microos-trial"]
    assert [line for line in found if line.split()[:1] == ["version"]] == ["version 0"]
    assert len([line for line in found if line.split()[:1] == ["title"]]) == 1
    assert all(line.endswith("panic=10") for line in found if line.split()[:1] == ["options"])


@given(octets)
def test_variables_of_the_firmware(value):
    assert isinstance(boot_loader.decode(value), str)
    with mock.patch.object(boot_loader, "_variable", return_value=value):
        assert isinstance(boot_loader.knows_one_shot(), bool)


@given(one_word)
def test_a_variable_is_what_was_written(value):
    assert boot_loader.decode(value.encode("utf-16-le") + b"\0\0") == value


# --- the journal ----------------------------------------------------------------------------------------------------


@given(st.one_of(text, st.sampled_from(NASTY), st.integers(), st.none(), st.floats()),
       st.one_of(text, st.sampled_from(NASTY), st.none(), st.lists(st.integers(0, 255))))
def test_a_line_of_the_journal_takes_no_other_with_it(moment, message):
    strange = json.dumps({"__REALTIME_TIMESTAMP": moment, "MESSAGE": message})
    first, second = JOURNAL.splitlines()[:2]
    known = list(boot_records.parse_journal(JOURNAL))
    assert [number for number, _moment, _boot in known] == [4, 5]
    try:
        found = list(boot_records.parse_journal("\n".join([first, strange, second]) + "\n"))
    except TransactionalError:
        return
    assert (found[0], found[-1]) == (known[0], known[-1])


@given(st.one_of(text, st.sampled_from(NASTY), st.just("1" * 5000), st.just("1 \u00b2 2")))
def test_whatever_the_updates_left_is_no_number_or_one(said):
    with mock.patch.multiple(boot_records, _read=mock.Mock(return_value={
            "LAST_WORKING_SNAPSHOT": said, "LAST_WORKING_SNAPSHOTS": said}), _journal=mock.Mock(return_value="")):
        assert boot_records.last_working() is None
        assert boot_records.history({}) == ({}, set())


# --- the record of a trial ------------------------------------------------------------------------------------------


@given(octets)
def test_any_record(value):
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory, "trial")
        path.write_bytes(value)
        with mock.patch.object(_trial_files, "RECORD", str(path)):
            try:
                record = _trial.tell()
            except TransactionalError:
                return
            record_is_documented(record)
            assert isinstance(_trial.describe(record), str)


@given(st.integers(1), st.integers(1, 10**6), st.lists(st.integers(1, 99), min_size=1, max_size=3), one_word)
def test_the_script_has_the_plan_as_it_is(seconds, new, back, word):
    entry = word.replace("/", "_").replace(":", "_") + ".conf"
    plan = _trial_files.Plan("u-1", seconds, new, back, {new: entry}, f"/efi/loader/entries/{entry}")
    text = _trial_files.script(plan, ["/a", "/b"])
    head = text.split("\nset -u\n", maxsplit=1)[0]
    names = ("id", "seconds", "new", "back", "trial_entry")
    assert shell("\n".join([head, *(f"printf '%s\\n' \"${name}\"" for name in names)])) == (
        "\n".join(["u-1", str(seconds), str(new), " ".join(map(str, back)), plan.trial_entry]) + "\n").encode()
    assert shell(f"{head}\nprintf '%s' \"$files\"").split() == [b"/a", b"/b"]


# --- who decided ----------------------------------------------------------------------------------------------------

said = st.one_of(text, st.sampled_from(["", "m-3.conf", "/e/m-3+0-3.conf", "failed"]))


trials = st.fixed_dictionaries({"state": said}, optional={"snapshot": st.integers(0, 5), "reason": said})


@given(st.integers(0, 5), trials, said, said, said, said)
def test_who_decided(expected, trial, path, default, selected, health_checker):
    who, why = _boot_choice.judge(expected, _boot_choice.Facts(trial, path, default, selected, health_checker))
    assert who in ("trial", "boot counting", "health check", "boot menu", "boot loader", "unknown")
    assert isinstance(why, str)
