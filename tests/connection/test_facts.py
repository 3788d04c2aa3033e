# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The facts module, gathered with core's own facts, outside and inside of a transaction."""

from __future__ import annotations

import pytest

BOTH = ["ansible.builtin.setup", "microos.transactional.facts"]


def claim(*that):
    return {"ansible.builtin.assert": {"that": list(that)}}


@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize("modules", [BOTH, BOTH[::-1]])
def test_gathered_with_all_facts(controller, host, parallel, modules):
    play = controller.play(
        claim("ansible_facts.transactional.default == 1", "ansible_facts.transactional.inside is none",
              "ansible_facts.pkg_mgr == 'microos.transactional.package'", "ansible_facts.os_family == 'Debian'"),
        # what asks for the package manager by fact asks our module
        {"ansible.builtin.package": {"name": "testbed-base", "state": "present"}, "register": "asked"},
        claim("asked is not changed", "asked.engine is defined"),
        gather_facts=True)
    play["connection"] = "ansible.builtin.ssh"
    controller.check([play], variables={"ansible_facts_modules": modules, "ansible_facts_parallel": parallel,
                                        "ansible_async_dir": str(controller.directory)})


def test_beside_and_inside_of_a_transaction(controller, host):
    outside = {"microos.transactional.facts": {}, "vars": {"ansible_connection": "ansible.builtin.ssh"}}
    controller.check([controller.play(
        controller.transaction("open"),
        outside,
        claim("ansible_facts.transactional.transaction.snapshot == 2", "ansible_facts.transactional.inside is none",
              "ansible_facts.transactional.booted == 1"),
        {"ansible.builtin.setup": {}},
        {"microos.transactional.facts": {"packages_of": "current"}},
        claim("ansible_facts.transactional.inside == 2", "ansible_facts.transactional.transaction.snapshot == 2",
              "not ansible_facts.transactional.read_only", "ansible_facts.service_mgr == 'systemd'",
              "'testbed-base' in ansible_facts.packages"),
        controller.transaction("aborted"))])


def test_what_an_open_transaction_differs_in(controller, host):
    """The comparison is made on the host itself, whichever way the connection leads."""
    controller.check([controller.play(
        controller.transaction("open"),
        {"ansible.builtin.copy": {"content": "probe\n", "dest": "/etc/probe"}},
        {"microos.transactional.snapshot_diff": {"to": "2", "paths": ["/etc"], "content": True}, "register": "made"},
        claim("made.from == 1", "made.differs", "made.files | length == 1", "made.files[0].path == '/etc/probe'",
              "made.files[0].diff.endswith('+probe\\n')"),
        controller.transaction("aborted"))])
