# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import os
import signal

import pytest

from ansible_collections.microos.transactional.plugins.module_utils import _errors, _module

NAME = os.uname().nodename


class Ended(Exception):
    pass


class Module:
    """Stands for AnsibleModule."""

    def __init__(self):
        self.result = {}

    def fail_json(self, **result):
        self.result = dict(result, failed=True)
        raise SystemExit(1)

    def exit_json(self, **result):
        self.result = result
        raise SystemExit(0)

    def warn(self, _text):
        pass


class Host:
    def require_transactional(self):
        pass


@pytest.fixture
def outcome(monkeypatch):
    """Run some work as a module; its result."""
    monkeypatch.setattr(_module, "Host", Host)
    handlers = {number: signal.getsignal(number) for number in _module.SIGNALS}
    umask = os.umask(0o022)

    def run(work):
        module = Module()
        with pytest.raises(SystemExit):
            _module.run(module, work)
        return module.result
    yield run
    os.umask(umask)
    for number, handler in handlers.items():
        signal.signal(number, handler)


def failing(exc, sentence=""):
    def work(_host):
        if sentence:
            _errors.tell(exc, sentence)
        raise exc
    return work


@pytest.mark.parametrize("exc, text", [
    (_errors.TransactionalError("it failed", base=1), "it failed. Snapshot 2 was deleted"),
    (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/run/x"),
     "/run/x: No space left on device. Snapshot 2 was deleted"),
    (OSError("odd"), "odd. Snapshot 2 was deleted"),
    (OSError(errno.EXDEV, "Invalid cross-device link", "/a", None, "/b"),
     "/a and /b: Invalid cross-device link. Snapshot 2 was deleted"),
])
def test_errors_are_sentences(outcome, exc, text):
    result = outcome(failing(exc, "Snapshot 2 was deleted"))
    assert result["msg"] == f"{NAME}: {text}"
    assert "exception" not in result


def test_what_nobody_expected(outcome):
    result = outcome(failing(KeyError("x"), "Snapshot 2 was deleted"))
    assert result["msg"].startswith(f"{NAME}: KeyError: 'x'. This is a fault of the collection")
    assert result["msg"].endswith(". Snapshot 2 was deleted")
    assert "Traceback" in result["exception"]


@pytest.mark.parametrize("number", _module.SIGNALS)
def test_a_signal_is_an_error_and_the_next_one_is_not(outcome, number):
    def work(_host):
        try:
            os.kill(os.getpid(), number)
            pytest.fail("it went on")
        finally:
            for other in _module.SIGNALS:
                os.kill(os.getpid(), other)
            cleaned.append(True)
    cleaned = []
    result = outcome(work)
    assert f"ended by {number.name}: " in result["msg"]
    assert cleaned == [True]


def test_what_is_written_has_the_umask_of_a_host(outcome):
    os.umask(0o077)
    seen = []
    outcome(lambda _host: seen.append(os.umask(0o022)) or {})
    assert seen == [0o022]
