# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All checks ran at the boot; the one that may fail did, and held nothing up."""

from __future__ import annotations

import pytest


def test_the_change_is_kept(host):
    assert host.check_output("findmnt --noheadings --output FSROOT /") == "/@/.snapshots/2/snapshot"
    assert "state=confirmed\n" in host.file("/var/lib/microos-transactional/trial").content_string
    assert host.check_output("systemctl is-active boot-complete.target") == "active"


@pytest.mark.parametrize("name, result, words", [
    ("unit", "ok", ""), ("port", "ok", ""), ("script", "ok", "it is bash"),
    ("never", "failed, exit code 4", "this is why")])
def test_each_check_ran_and_the_journal_tells(host, name, result, words):
    said = host.check_output(f"journalctl --boot --identifier=microos-health-{name} --output=cat")
    assert f"health check {name}: {result}" in said and words in said
    state = host.run(f"systemctl is-active microos-health-{name}.service").stdout.strip()
    assert state == ("failed" if name == "never" else "active")


def test_nothing_else_failed_nor_waits_for_itself(host):
    failed = host.check_output("systemctl --failed --plain --no-legend").splitlines()
    assert [line.split()[0] for line in failed] == ["microos-health-never.service"]
    assert host.run("journalctl --boot --quiet --grep 'ordering cycle'").rc == 1
