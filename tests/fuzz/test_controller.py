# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the controller reads: from hosts, from git and from plays."""

from __future__ import annotations

import json
import shlex
import subprocess
from unittest import mock

from ansible.errors import AnsibleError
from fuzzing import NASTY, Parser, octets, parser_tests, shell, text
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.microos.transactional.plugins.action import transaction
from ansible_collections.microos.transactional.plugins.module_utils import _resident
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._tools import snapper
from ansible_collections.microos.transactional.plugins.plugin_utils import _inside, _run

OTHER = json.dumps({"id": "u-1", "since": "2026-01-31T04:00:00Z", "description": "ansible: x", "snapshot": 5})


def is_sentence(found):
    assert isinstance(found, str)
    assert found


test_real, test_any_text, test_damaged, test_huge = parser_tests([
    Parser("none", lambda value: _inside.explain("none", value, "setup"), [OTHER], is_sentence, (AnsibleError,)),
    Parser("dead", lambda value: _inside.explain("dead", value, "setup"), ["5"], is_sentence, (AnsibleError,)),
    Parser("action", _inside.full_name, ["ansible.legacy.setup", "synchronize"], is_sentence),
])

json_values = st.recursive(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), text),
                           lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(
                               ["id", "since", "description", "snapshot", "run", "machine", "pid", "started"]), inner)),
                           max_leaves=6)


@given(json_values)
def test_whatever_another_run_left_on_the_host(value):
    is_sentence(_inside.explain("none", json.dumps(value), "command"))


@given(st.dictionaries(st.sampled_from(["machine", "pid", "started"]), json_values))
def test_an_unreadable_run_is_not_known_to_be_over(run):
    with mock.patch.object(_run, "_machine", return_value=run.get("machine", "m")):
        assert isinstance(_run.has_ended(run), bool)


@given(st.dictionaries(st.sampled_from(["machine", "pid", "started", "x"]), text), text)
def test_runs_that_differ_have_other_names(run, other):
    complete = dict({"machine": "m", "pid": 1, "started": "2"}, **run)
    name = _run.key(complete)
    assert name.isalnum()
    assert len(name) == 16
    if other != complete["machine"]:
        assert _run.key(dict(complete, machine=other)) != name


@given(st.one_of(text, st.sampled_from(NASTY), json_values, st.text()))
def test_provenance_is_one_line_that_snapper_keeps(value):
    said = transaction.printable(value)
    assert len(said) <= transaction.VALUE_LENGTH
    assert said == said.strip()
    assert len(said.splitlines()) <= 1
    said.encode("utf-8")
    assert snapper.storable(said) == said.replace(",", ";").replace("=", ":")


@given(octets, st.integers(0, 128))
def test_a_git_that_says_anything(said, rc):
    def run(argv, **more):
        assert not more.get("shell")
        told = said.decode("utf-8", more.get("errors") or "strict") if more.get("text") else said
        return subprocess.CompletedProcess(argv, rc, told, said[:0])
    with mock.patch.object(subprocess, "run", side_effect=run):
        commit = transaction.git_commit("/play")
    assert commit == "" or rc == 0
    assert len(commit) <= 200


@given(st.lists(st.one_of(text, st.sampled_from(NASTY)), min_size=1, max_size=3).filter(
    lambda words: not any("\0" in word for word in words)))
def test_a_command_without_dollars_and_newlines_is_the_same_command(words):
    command = f"printf '%s\\n' {shlex.join(words)}"
    sent = _inside.unexpanded(command, "mark")
    assert "$" not in sent
    assert "\n" not in sent
    assert "mark" in sent
    assert shell(sent) == "".join(word + "\n" for word in words).encode()


# --- the file that the connection reads -----------------------------------------------------------------------------


@given(st.one_of(text, st.builds("{} u-1 5\n{}\n".format, st.one_of(st.integers(), text), json_values.map(json.dumps))))
def test_a_broken_record_of_a_transaction_is_none(said):
    with mock.patch.object(_resident, "_read", return_value=said):
        try:
            found = _resident.load("open")
        except TransactionalError:
            return
    if found is not None:
        assert isinstance(found.alive(), bool)
