# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names that the role transaction does not know, and secrets."""

from __future__ import annotations

import pathlib

import pytest
import yaml

from ansible_collections.microos.transactional.plugins.plugin_utils import _role_call, _secrets

SPEC = pathlib.Path(__file__).parents[4] / "roles/transaction/meta/argument_specs.yml"
KNOWN = list(yaml.safe_load(SPEC.read_text())["argument_specs"]["main"]["options"])


@pytest.mark.parametrize(("name", "meant"), [
    ("transaction_role", "transaction_roles"), ("transaction_acivate", "transaction_activate"),
    ("transaction_Tasks", "transaction_tasks"), ("transaction_trail", "transaction_trial"),
    ("transaction_shadowed_write", "transaction_shadowed_writes"), ("transaction_gather_fact",
                                                                    "transaction_gather_facts")])
def test_a_name_that_is_like_one_of_the_roles_is_wrong_anywhere(name, meant):
    wrong, doubtful = _role_call.misspelt(KNOWN, [name], ())
    assert len(wrong) == 1 and f"'{name}'" in wrong[0] and f"'{meant}'" in wrong[0] and not doubtful


@pytest.mark.parametrize("name", ["transaction_id", "transaction_log_dir", "transaction_timeout"])
def test_another_name_is_wrong_only_where_the_role_is_used(name):
    assert _role_call.misspelt(KNOWN, [name], ())[0] == [] != _role_call.misspelt(KNOWN, [name], ())[1]
    assert _role_call.misspelt(KNOWN, [name], {name})[1] == [] != _role_call.misspelt(KNOWN, [name], {name})[0]


def test_what_the_role_has_and_tells_is_right():
    names = [*KNOWN, "transaction_result", "transaction_is_open", "__transaction_turn", "transactions", "other"]
    assert _role_call.misspelt(KNOWN, names, set(names)) == ([], [])


def test_work_and_where_it_lies():
    there = {"/site/tasks/a.yml", "/elsewhere/b.yml"}

    def work(*what):
        return _role_call.work(*what, ["/role/tasks", "/site/tasks"], there.__contains__)
    assert work([], ["a.yml", "/elsewhere/b.yml"], []) == work(["x"], [], []) == []
    assert "nothing to run" in work([], [], ["a.yml"])[0]
    assert "'b.yml' in /role/tasks or in /site/tasks" in work([], ["b.yml"], [])[0]
    assert len(work([{"role": "x"}, "", None], [" ", 1], [])) == 5


def test_secrets():
    class EncryptedString:
        def __str__(self):
            return "hunter2\n"
    secrets = _secrets.known({"deep": [{"of": EncryptedString()}], "ansible_become_pass": "abc", "plain": "word"})
    assert secrets == {"hunter2", "abc"}
    assert _secrets.is_told("it is hunter2!", secrets) and _secrets.is_told("abc ", secrets)
    assert not _secrets.is_told("abcd", secrets) and not _secrets.is_told("word", secrets)
    assert _secrets.is_vaulted(EncryptedString()) and not _secrets.is_vaulted("hunter2")
