# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What snapper, btrfs, tukit, systemd and the kernel tell about the state of a host."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import subprocess
import tempfile
from unittest import mock

import pytest
from fuzzing import NASTY, Parser, answering, is_int, parser_tests, shell, text
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.microos.transactional.plugins.module_utils import (
    _facts,
    _host,
    _preflight_measures,
    _snapshot,
    _snapshot_cleanup,
    _target,
)
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._tools import (
    btrfs,
    mounts,
    rebootmgr,
    snapper,
    systemd,
    transactional_update,
    tukit,
)

SNAPPER_LIST = """{"root":[
 {"number":0,"default":false,"active":false,"type":"single","date":"","user":"root","cleanup":"",
  "description":"current","userdata":null,"pre-number":null,"post-number":null,"post-date":"","read-only":false},
 {"number":1,"default":true,"active":true,"type":"single","date":"2026-11-22 21:37:02","user":"root","cleanup":"number",
  "description":"first root filesystem","userdata":{"important":"yes"},"pre-number":null,"post-number":null,
  "post-date":"","read-only":true}]}
"""
SNAPPER_CONFIG = '{\n  "ALLOW_GROUPS": "",\n  "NUMBER_LIMIT": "2-10",\n  "QGROUP": "1/0",\n  "SUBVOLUME": "/"\n}\n'
MOUNTINFO = r"""22 1 0:20 /@/.snapshots/3/snapshot / ro,relatime shared:1 - btrfs /dev/vda3 ro,ssd,subvolid=268
24 22 0:22 / /proc rw,nosuid shared:12 - proc proc rw
30 22 0:20 /@/.snapshots/4/snapshot/usr /usr ro - btrfs /dev/vda3 ro,subvol=/@/.snapshots/4/snapshot
31 22 0:20 /@/home/a\040b /home/a\040b rw shared:2 master:3 - btrfs /dev/vda3 rw
32 22 254:1 / /boot/efi rw,relatime - vfat /dev/vda1 rw,fmask=0022
33 22 0:41 / /home/u/m rw,nosuid,nodev,relatime - fuse.sshfs u@h: rw,user_id=1000,group_id=1000
"""
DEVICE_STATS = "[/dev/vda3].write_io_errs    0\n[/dev/vda3].read_io_errs     2\n[/dev/vda3].corruption_errs  0\n"
OS_RELEASE = 'NAME="openSUSE MicroOS"\n# VERSION="2026"\nID="opensuse-microos"\nID_LIKE="suse opensuse"\nHOME=x # y\n'
USAGE = "Syntax: transactional-update [option...] command\n\nStandalone Commands:\napply             Apply it\n"
SETTINGS = '# how\nREBOOT_METHOD="rebootmgr"\n REBOOT_ALLOW_KEXEC = true\nUPDATE_METHOD=\'dup\'\nREBOOT_METHOD=\n'
REBOOTMGR = [
    "Status: Reboot requested, with maintenance window\nReboot at: Sat 2026-11-28 03:30:00 UTC\n",
    "Status: Reboot not requested\n", "Reboot already scheduled for: Sat 03:30, ignoring new request\n"]
NUMBERS_OF_LSM = "MemTotal:        2014952 kB\nMemFree:          123 kB\n"


def row_is_documented(row):
    assert is_int(row["number"])
    assert row["number"] > 0
    assert isinstance(row["userdata"], dict)
    for key, value in row["userdata"].items():
        assert isinstance(key, str)
        assert isinstance(value, str)
    for key in ("description", "cleanup", "date"):
        assert isinstance(row[key], str), key


def list_is_documented(rows):
    for row in rows:
        row_is_documented(row)


def texts_by_text(found):
    assert isinstance(found, dict)
    assert all(isinstance(key, str) and isinstance(value, str) for key, value in found.items())


def mounts_are_documented(found):
    for mount in found:
        assert mount.target.startswith("/")
        assert mount.fstype
        assert mounts.snapshot_number(mount) is None or mounts.snapshot_number(mount) >= 0


def asked(call):
    """A function that runs a command, as one of what the command says."""
    def parse(stdout):
        with answering(stdout), mock.patch.object(btrfs, "btrfsutil", None):
            return call()
    return parse


def is_number(found):
    assert is_int(found)
    assert found >= 0


def is_text(found):
    assert found is None or isinstance(found, str)


def is_line(found):
    assert found is None or isinstance(found, str)
    assert "\n" not in (found or "")


def is_truth(found):
    assert isinstance(found, bool)


def numbers_by_text(found):
    assert all(isinstance(key, str) and is_int(value) for key, value in found.items())


test_real, test_any_text, test_damaged, test_huge = parser_tests([
    Parser("snapper-list", snapper.parse_list, [SNAPPER_LIST], list_is_documented),
    Parser("snapper-config", asked(snapper.configuration), [SNAPPER_CONFIG], texts_by_text),
    Parser("snapper-create", asked(lambda: snapper.create(1, "")), ["3\n"], is_number),
    Parser("btrfs-get-default", btrfs.parse_get_default,
           ["ID 268 gen 11 top level 260 path @/.snapshots/1/snapshot\n", "ID 5 (FS_TREE)\n"], is_line),
    Parser("btrfs-rootid", asked(lambda: btrfs.subvolume_id("/")), ["268\n"], is_number),
    Parser("btrfs-property", asked(lambda: btrfs.is_read_only("/")), ["ro=true\n", "ro=false\n"], is_truth),
    Parser("tukit-open", tukit.parse_open, ["ID: 3\n", "tukit 6.1.3 started\nID: 3\nTransaction completed.\n"],
           is_number),
    Parser("systemd-version", systemd.parse_version, ["systemd 257 (257.9-1~deb13u1)\n+PAM\n"], is_number),
    Parser("soft-reboots", asked(systemd.soft_reboots), ["0\n", "3\n"], is_number),
    Parser("mountinfo", mounts.parse_mountinfo, [MOUNTINFO], mounts_are_documented),
    Parser("file-system", lambda value: _preflight_measures.parse_file_system(value, "/"), [MOUNTINFO],
           lambda found: found is None or (is_text(found[0]), [is_text(option) for option in found[1]])),
    Parser("esp", lambda value: _preflight_measures.find_esp(value, ["/boot/efi/loader/entries/m-1.conf"]),
           [MOUNTINFO], is_text),
    Parser("device-stats", _preflight_measures.parse_device_stats, [DEVICE_STATS], numbers_by_text),
    Parser("ram", _preflight_measures.parse_ram, [NUMBERS_OF_LSM], is_number),
    Parser("os-release", _facts.parse_variables, [OS_RELEASE], texts_by_text),
    Parser("version", _facts.parse_version, ["snapper 0.10.6\nlibsnapper 7.4.2\n", "6.1.3\n"], is_line),
    Parser("usage", transactional_update.offers_apply, [USAGE], is_truth),
    Parser("setting", lambda value: transactional_update.parse_setting("REBOOT_METHOD", [value, ""]), [SETTINGS],
           is_line),
    Parser("rebootmgr-time", rebootmgr.parse_time, REBOOTMGR, is_line),
    Parser("rebootmgr-requested", rebootmgr.is_requested, REBOOTMGR, is_truth),
    Parser("rebootmgr-disabled", rebootmgr.is_disabled, REBOOTMGR, is_truth),
    Parser("date", _target.parse_date, ["2026-01-31", "2026-01-31T04:00:00+01:00"]),
    Parser("date-of-snapshot", lambda value: _target.made({"number": 1, "date": value}), ["2026-11-22 21:37:02"]),
])


# --- snapper --------------------------------------------------------------------------------------------------------

ROW = json.loads(SNAPPER_LIST)["root"][1]
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), text, st.sampled_from(NASTY)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["root", *ROW]), inner)),
    max_leaves=8)


@given(json_values)
def test_json_that_is_no_list_of_snapshots(value):
    for whole in (value, {"root": value}, {"root": [value]}, *({"root": [dict(ROW, **{key: value})]} for key in ROW)):
        with contextlib.suppress(TransactionalError):
            list_is_documented(snapper.parse_list(json.dumps(whole)))


@given(st.data())
def test_a_cut_list_is_never_a_short_one(data):
    size = data.draw(st.integers(0, len(SNAPPER_LIST.rstrip()) - 1))
    with pytest.raises(TransactionalError):
        snapper.parse_list(SNAPPER_LIST[:size])


@given(st.dictionaries(st.one_of(text, st.sampled_from(NASTY)), st.one_of(st.none(), text, st.integers())))
def test_userdata_that_is_accepted_is_kept_by_snapper(userdata):
    try:
        wanted = _snapshot.check_userdata(userdata)
    except TransactionalError:
        return
    # as snapper takes it apart: at commas, then at the first equals sign, with the spaces around removed
    given_ = snapper._userdata(wanted)
    parts = dict(part.split("=", 1) for part in given_.split(",")) if given_ else {}
    assert {key.strip(): value.strip() for key, value in parts.items()} == wanted
    assert not any(character in given_ for character in "\0\n\r\ufffe\uffff")


@given(text)
def test_a_description_that_is_accepted_is_one_that_its_record_can_hold(value):
    try:
        accepted = _snapshot.check_description(value)
    except TransactionalError:
        return
    # XML 1.0
    assert not any(ord(character) < 0x20 or character in "\x7f\ufffe\uffff" for character in accepted)


@given(st.dictionaries(st.sampled_from(sorted(_snapshot_cleanup.OPTIONS)),
                       st.one_of(st.booleans(), st.integers(), text, st.sampled_from(NASTY),
                                 st.from_regex(r"\d{1,3}(-\d{1,3})?|0?\.\d+|\d+ ?[KkMGT]i?B", fullmatch=True))))
def test_settings_that_snapper_would_choke_on(wanted):
    kinds = {"bool": bool, "int": int, "str": str}
    wanted = {key: value for key, value in wanted.items()
              if isinstance(value, kinds[_snapshot_cleanup.OPTIONS[key][0]])}
    try:
        settings = _snapshot_cleanup.as_settings(wanted)
    except TransactionalError:
        return
    for value in settings.values():
        assert value.isascii(), "snapper reads numbers of ASCII only"
        assert "\n" not in value


@given(st.lists(st.one_of(st.integers(0, 99).map(str), text.filter(lambda name: "/" not in name and "\0" not in name),
                          st.sampled_from(["\u00b2", "\u0663", "1\n", "-1", " 1", "1_0"])), unique=True))
def test_names_beside_the_snapshots(names):
    with mock.patch.object(os, "listdir", return_value=names):
        found = snapper.directories()
    assert found == {int(name) for name in names if name.isascii() and name.isdigit() and len(name) < 11
                     and name == str(int(name))}


# --- mounts ---------------------------------------------------------------------------------------------------------

# whoever may mount by FUSE chooses these names; the kernel escapes no more of them than this
ESCAPED = {" ": r"\040", "\t": r"\011", "\n": r"\012", "\\": r"\134", "#": r"\043"}
names = st.one_of(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=20),
                  st.sampled_from(["a\rb", "a\x0bb", "a\x85b", "a\u2028b", "a\x1cb", " - ", "a\n1 2 3", "-"]))


def line(target):
    escaped = "".join(ESCAPED.get(character, character) for character in target)
    return f"40 22 0:41 / {escaped} rw,nosuid - fuse.x x:{escaped.rsplit('/', 1)[-1]} rw,user_id=1000"


@given(st.lists(names, min_size=1, max_size=4))
def test_mounts_of_hostile_users_hide_nothing(hostile):
    real = mounts.parse_mountinfo(MOUNTINFO)
    lines = MOUNTINFO.splitlines()
    targets = [f"/home/u/{name}" for name in hostile]
    lines[3:3] = map(line, targets)
    found = mounts.parse_mountinfo("\n".join(lines) + "\n")
    assert [mount.target for mount in found[3:3 + len(targets)]] == targets
    assert found[:3] + found[3 + len(targets):] == real
    assert _preflight_measures.parse_file_system("\n".join(lines), "/") == ("/dev/vda3", ["ro", "ssd", "subvolid=268"])


@given(st.lists(st.one_of(names.map(os.fsencode), st.binary(min_size=1, max_size=9).map(
    lambda name: name.translate(None, b"/\0 \t\n\\#") or b"x")), min_size=1, max_size=3))
def test_the_host_is_read_whatever_is_mounted(hostile):
    lines = MOUNTINFO.splitlines()
    for name in hostile:
        lines.insert(3, os.fsdecode(b"40 22 0:41 / /home/u/" + b"".join(
            ESCAPED.get(chr(octet), chr(octet)).encode("latin-1") for octet in name) + b" rw - fuse.x x rw"))
    with tempfile.NamedTemporaryFile() as stream:
        stream.write(os.fsencode("\n".join(lines) + "\n"))
        stream.flush()
        with mock.patch.object(mounts, "MOUNTINFO", stream.name):
            host = _host.Host()
    assert (host.booted, host.current) == (3, 4)
    assert {os.fsencode(point) for point in host.mount_points} >= {b"/home/u/" + name for name in hostile}


# --- settings -------------------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from(["REBOOT_METHOD=", "REBOOT_METHOD=''", "REBOOT_METHOD=auto", "UPDATE_METHOD=dup", "",
                                 "# REBOOT_METHOD=kexec", "  ", "REBOOT_METHOD", "REBOOT_METHODS=x", "\t"])))
def test_a_setting_is_that_of_its_own_line(lines):
    found = transactional_update.parse_setting("REBOOT_METHOD", ["\n".join(lines)])
    own = [line for line in lines if line.startswith("REBOOT_METHOD=")]
    assert found == (own[-1].partition("=")[2].strip("'") if own else None)


# what the specification of os-release leaves of the shell
words = st.lists(st.sampled_from(["a", "b", "#", "=", "'", '"', "\\", "#x", "'q r'", '"q r"', "' #'", "ä", "*"]),
                 max_size=5).map("".join)


@given(words, st.sampled_from(["", " ", " # don't", "\t#"]))
def test_variables_are_those_of_the_shell(word, rest):
    value = word + rest
    found = _facts.parse_variables(f"A={value}\nB=2\n")
    assert found["B"] == "2"
    try:
        told = shell(f"set -ef\nA={value}\nprintf '%s' \"$A\"")
    except subprocess.CalledProcessError:
        return
    if "\n" not in told.decode():
        assert found.get("A", "").encode() == told


def test_all_is_read_from_real_files(tmp_path):
    """The file of the kernel itself."""
    path = pathlib.Path("/proc/self/mountinfo")
    assert len(mounts.parse_mountinfo(os.fsdecode(path.read_bytes()))) == len(path.read_bytes().splitlines())
