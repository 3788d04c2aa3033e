# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.microos.transactional.plugins.module_utils import _package_requests, _package_state
from ansible_collections.microos.transactional.plugins.module_utils._tools import rpm

INSTALLED = {"one": "1.5-3", "two": "2.0-1"}
PROVIDED = [("one", "one", "1.5-3"), ("two", "two", "2.0-1"), ("two", "cap", "7"), ("one", "cap", ""),
            ("two", "pattern()", "base")]


@pytest.fixture(autouse=True)
def database(monkeypatch):
    """An rpm database with two packages; versions are compared as strings, which is enough here."""
    known = {*INSTALLED, *(what for _package, what, _version in PROVIDED), "one-1.5-3.noarch", "one.noarch"}
    monkeypatch.setattr(rpm, "missing", lambda _root, names, capabilities: [
        name for name in names if name not in known or capabilities and name.endswith(".noarch")])
    monkeypatch.setattr(rpm, "provided", lambda _root, names: [row for row in PROVIDED if row[1] in names])
    monkeypatch.setattr(rpm, "matching", lambda _root, patterns: ["one"] if patterns == ["o*"] else [])
    monkeypatch.setattr(rpm, "order", lambda pairs: [(one > other) - (one < other) for one, other in pairs])


@pytest.mark.parametrize("text, there", [
    ("one", True), ("three", False), ("one.noarch", True), ("three.noarch", False),
    ("one=1.5", True), ("one=1.5-3", True), ("one=1.5-4", False), ("one>1.5", False), ("one>=1.5", True),
    ("one<1.5", False), ("one<=1.5", True), ("one<2", True), ("three>0", False), ("cap>=7", True), ("cap<7", False),
    ("pattern:base", True), ("pattern:ba", False), ("patch:any", False),
    ("/files/one.rpm", True), ("/files/other.rpm", False),
    ("https://example.com/one-1.5-3.noarch.rpm", True), ("https://example.com/one-1.6-1.noarch.rpm", False),
    ("https://example.com/download", False),
])
def test_unmet(text, there):
    request = _package_requests.parse(text)
    labels = {"/files/one.rpm": "one-1.5-3.noarch", "/files/other.rpm": "other-1-1.noarch"}
    assert _package_state.unmet("/", [request], labels) == ([] if there else [request])


@pytest.mark.parametrize("text, packages", [
    ("one", ["one"]), ("three", []), ("o*", ["one"]), ("x*", []), ("one<2", ["one"]), ("one>2", []), ("cap>=7", []),
    ("pattern:base", ["two"]), ("pattern:other", []),
])
def test_removable(text, packages):
    request = _package_requests.parse(text, remove=True)
    assert _package_state.removable("/", [request]) == dict.fromkeys(packages, request)
