# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module package, and scriptlets that fail or print what they should not."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib

import pytest

pytestmark = pytest.mark.once

# What rpm can run; triggers with what they are about
KINDS = [
    "pretrans", "pre", "post", "posttrans", "preun", "postun", "preuntrans", "postuntrans",
    *(f"{kind} -- testbed-hello" for kind in ("triggerprein", "triggerin", "triggerun", "triggerpostun")),
    *(f"{prefix}{kind} -- /usr/share/testbed" for prefix in ("filetrigger", "transfiletrigger")
      for kind in ("in", "un", "postun")),
]
# Seen inside of a transaction: every scriptlet of the package calls it with its kind
PROGRAM = pathlib.Path("/opt/testbed/scriptlet")
CALL = 'if [ -x {program} ]; then {program} {kind}; fi'


@pytest.fixture(scope="module")
def package(build_rpm):
    """The file of a package with all kinds of scriptlets."""
    return build_rpm("scriptlets", {kind: CALL.format(program=PROGRAM, kind=kind.split()[0]) for kind in KINDS})


@contextlib.contextmanager
def scriptlet(kind, body):
    """What the scriptlet of that kind does; the others do nothing."""
    PROGRAM.write_text(f'#!/bin/sh\n[ "$1" = {kind} ] || exit 0\n{body}\n', encoding="utf-8")
    PROGRAM.chmod(0o755)
    try:
        yield
    finally:
        PROGRAM.unlink()


INSTALL, REMOVE, OTHER, OTHER_GONE = "install", "remove", "other", "other_gone"
CASES = [
    ("pretrans", INSTALL, "printf oops"),
    ("pre", INSTALL, "printf oops >&2"),
    ("post", INSTALL, "echo oops"),
    ("post", INSTALL, "printf oops"),
    ("post", INSTALL, "printf oops >&2"),
    ("post", INSTALL, r"printf 'oops\000'"),
    ("post", INSTALL, r"printf '\033[1moops\376\001\r' >&2"),
    ("post", INSTALL, "printf '</message></stream>Nothing to do.'"),
    ("post", INSTALL, "seq 20000; printf oops"),
    ("post", INSTALL, "printf oops; kill -9 $PPID"),
    ("posttrans", INSTALL, "printf oops"),
    ("preun", REMOVE, "printf oops"),
    ("postun", REMOVE, "printf oops"),
    ("preuntrans", REMOVE, "printf oops"),
    ("postuntrans", REMOVE, "printf oops >&2"),
    ("triggerprein", OTHER, "printf oops"),
    ("triggerin", OTHER, "printf oops"),
    ("filetriggerin", OTHER, "printf oops"),
    ("transfiletriggerin", OTHER, "printf oops"),
    ("triggerun", OTHER_GONE, "printf oops"),
    ("triggerpostun", OTHER_GONE, "printf oops"),
    ("filetriggerun", OTHER_GONE, "printf oops"),
    ("filetriggerpostun", OTHER_GONE, "printf oops"),
    ("transfiletriggerun", OTHER_GONE, "printf oops"),
    ("transfiletriggerpostun", OTHER_GONE, "printf oops"),
]


def arguments(package, action):
    return {INSTALL: {"name": package, "allow_untrusted": True}, REMOVE: {"name": "testbed-scriptlets",
                                                                          "state": "absent"},
            OTHER: {"name": "testbed-hello"}, OTHER_GONE: {"name": "testbed-hello", "state": "absent"}}[action]


def before_it(host, package, action):
    """What has to be there."""
    names = {INSTALL: [], REMOVE: [package], OTHER: [package], OTHER_GONE: [package, "testbed-hello"]}[action]
    if names:
        result = host.module("package", name=names, allow_untrusted=True)
        assert result.get("changed"), result


@pytest.mark.parametrize("action", [INSTALL, REMOVE, OTHER, OTHER_GONE])
def test_a_scriptlet_that_fails_is_a_failure(host, package, action):
    before_it(host, package, action)
    before = host.state()
    for kind, _action, output in (case for case in CASES if case[1] == action):
        with scriptlet(kind, f"{output}; exit 1"):
            result = host.module("package", **arguments(package, action))
        about = (kind, output, result)
        assert result.get("failed"), about
        assert "scriptlet" in result["msg"] and "(testbed-scriptlets-1.0-1.noarch)" in result["msg"], about
        assert "was deleted" in result["msg"], about
        assert not {"stdout", "stderr"} & set(result), about
        assert host.state() == before, about


@pytest.mark.parametrize("kind", ["pre", "post", "posttrans", "filetriggerin"])
def test_a_scriptlet_in_lua_that_fails_is_a_failure(host, build_rpm, kind):
    about = " -- /usr/share/testbed" if "trigger" in kind else ""
    path = build_rpm("lua", {f"{kind} -p <lua>{about}": 'io.stderr:write("oops") error("no luck")'})
    before = host.state()
    result = host.module("package", name=path, allow_untrusted=True)
    assert result.get("failed"), result
    assert "no luck" in result["msg"]
    assert host.state() == before


def test_a_failure_behind_a_half_line_may_be_accepted(host, package):
    with scriptlet("post", "printf oops; exit 3"):
        result = host.module("package", name=package, allow_untrusted=True, skip_post_errors=True)
    assert result.get("changed"), result
    assert "a scriptlet failed: %post(testbed-scriptlets-1.0-1.noarch): exit status 3" in str(result["warnings"])
    assert "testbed-scriptlets-1.0" in host.packages(host.default())


def test_words_of_rpm_and_zypper_are_no_failure(host, package):
    said = ("%post(a-1-1.noarch) scriptlet failed, exit status 1, he said", "</message></stream>", "Nothing to do.",
            "error: all is well", "&amp; <install-summary>", "The gpg key signing file 'x' has expired.")
    with scriptlet("post", "cat <<'END'\n" + "\n".join(said) + "\nEND"):
        result = host.module("package", name=package, allow_untrusted=True)
    assert result.get("changed"), result
    assert "testbed-scriptlets-1.0" in host.packages(host.default())


def peak(process):
    """The most memory in MiB that a process had."""
    most = 0
    while process.poll() is None:
        with contextlib.suppress(OSError, StopIteration):
            status = pathlib.Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
            most = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) // 1024
        with contextlib.suppress(Exception):
            process.wait(0.05)
    return most


@pytest.mark.parametrize("output", ["yes | head -c 50000000 | tr -d '\\n'", "seq -f %70.0f 400000"],
                         ids=["line", "lines"])
def test_much_output_is_neither_kept_nor_returned(host, package, output):
    with scriptlet("post", output):
        process = host.start_module("package", name=package, allow_untrusted=True)
        most = peak(process)
    result = json.loads(process.communicate()[0])
    assert result.get("changed"), result
    assert 5 < most < 100
    for path in ("/var/log/zypper.log", "/var/log/zypp/history"):
        os.truncate(path, 0)


def test_a_result_of_much_output_is_small(host, package):
    with scriptlet("post", "seq -f %70.0f 100000; printf oops; exit 1"):
        result = host.module("package", name=package, allow_untrusted=True)
    assert result["failed"]
    assert len(json.dumps(result)) < 2 << 20
    assert len(result["msg"]) < 20000
    assert any("more messages" in text for text in result["messages"])
    assert "%post(testbed-scriptlets-1.0-1.noarch)" in result["msg"]


def test_what_a_scriptlet_leaves_running_is_ended(host, package):
    with scriptlet("post", "sleep 321 &"):
        result = host.module("package", name=package, allow_untrusted=True)
    assert result.get("changed"), result
    assert "sleep 321" in str(result["warnings"])
    assert host.run("pgrep", "--full", "--exact", "sleep 321").returncode != 0
