# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a trial is made of, and who decided which snapshot came up; that it works is tried on VMs."""

from __future__ import annotations

import subprocess

import pytest

from ansible_collections.microos.transactional.plugins.module_utils import _boot_choice, _trial, _trial_files
from ansible_collections.microos.transactional.plugins.module_utils._boot_choice import Facts
from ansible_collections.microos.transactional.plugins.module_utils._tools import boot_entries, boot_loader

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
    files = next(line for line in texts[_trial_files.SCRIPT].splitlines() if line.startswith("files="))
    removed = files[len("files='"):-1].split()
    assert sorted(removed) == sorted(list(texts) + list(_trial_files.links()))
    # together they do it again after a power cut
    assert {path.rsplit("/", 1)[1] for path in removed[-4:]} == {
        _trial_files.JUDGE, _trial_files.TIDY, "trial.sh"}
    assert removed[-1] == _trial_files.SCRIPT


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
