# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module rollback brings into effect by itself; that a host really reboots is tried on VMs."""

from __future__ import annotations

import os
import subprocess

import pytest


def claim(*that):
    return {"ansible.builtin.assert": {"that": list(that)}}


def rollback(register, /, check_mode=False, **arguments):
    return {"microos.transactional.rollback": arguments, "register": register, "check_mode": check_mode,
            "ignore_errors": True}


@pytest.mark.skipif(os.path.exists("/usr/sbin/transactional-update"), reason="it would really apply a snapshot")
def test_activation(controller, host):
    subprocess.run(["snapper", "--no-dbus", "create", "--from", "1"], check=True)
    controller.check([controller.play(
        rollback("predicted", check_mode=True, to="2", activate="reboot"),
        claim("predicted is changed", "predicted.pending", "predicted.activation is undefined"),
        # reaches the reboot of this collection, which knows that nothing here can do it
        rollback("refused", to="2", activate="apply", reboot_timeout=1),
        claim("refused is failed", "refused is changed", "refused.pending", "refused.activation is failed",
              "'snapshot 2 is the default now, but: ' in refused.msg", "'apply is out of the question' in refused.msg"),
        # there is something to do as long as it is pending
        rollback("again", to="2", activate="apply"),
        claim("again is failed", "again is not changed"),
        rollback("predicted", check_mode=True, to="2", activate="reboot"),
        claim("predicted is changed"),
        rollback("waits", to="2"),
        claim("waits is not changed", "waits.pending", "waits.activation is undefined"),
        rollback("dropped", drop_pending=True, activate="reboot"),
        claim("dropped is changed", "not dropped.pending", "dropped.activation is undefined"),
        rollback("unknown", to="2", activate="at once"),
        claim("unknown is failed", "'value of activate must be one of' in unknown.msg"))])


def test_dates_of_yaml(controller, host):
    controller.check([controller.play(
        rollback("unquoted", before="{{ '2026-01-31' | to_datetime('%Y-%m-%d') }}"),
        claim("unquoted is not changed", "unquoted.reason is search('made before 2026-01-31 00:00:00 UTC')"))])
