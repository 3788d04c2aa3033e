# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""On the host, after a failed installation, the rollback and the reboot."""

from __future__ import annotations

import re


def test_an_older_snapshot_is_booted_and_default(host):
    default = re.search(r"@/\.snapshots/(\d+)/snapshot$", host.check_output("btrfs subvolume get-default /"))
    assert host.check_output("findmnt --noheadings --output FSROOT /") == f"/{default[0]}"
    newest = host.check_output("snapper --csvout list --columns number").splitlines()[-1]
    assert int(default[1]) < int(newest)


def test_the_package_is_gone(host):
    assert host.run("rpm --query tree").failed
    assert not host.exists("tree")


def test_python_is_still_there(host):
    assert host.run("rpm --query --file /usr/bin/python3").succeeded
