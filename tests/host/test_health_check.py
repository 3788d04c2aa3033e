# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module health_check: what it writes is run as health-checker and systemd would, but no systemd runs here."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import re
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

DIRECTORY = "/etc/microos-transactional/health"
UNITS = "/etc/systemd/system"
LINKS = ("boot-complete.target.requires", "boot-complete.target.wants", "multi-user.target.wants")
PLUGIN = Path("/usr/local/libexec/health-checker/microos-transactional")
TWICE = {"retries": 1, "delay": 1}


@pytest.fixture
def host(host):
    yield host
    for path in DIRECTORY, f"{UNITS}/health-checker.service.d":
        shutil.rmtree(path, ignore_errors=True)
    for path in Path(UNITS).rglob("microos-health-*"):
        path.unlink()
    shutil.rmtree(PLUGIN.parent, ignore_errors=True)


@pytest.fixture
def health_checker(host):
    """Snapshot 2, which is pending, has what the module looks for."""
    number = host.snapper("create", "--from", "1", "--read-write", "--print-number")
    root = Path(f"/.snapshots/{number}/snapshot")
    (root / "usr/sbin/health-checker").write_text("")
    host.snapper("modify", "--default", number)
    return root


@contextlib.contextmanager
def serving(context=None):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path.startswith("/slow"):
                time.sleep(0.5)
            self.send_response({"/ok?a=[1]": 200, "/away": 302}.get(self.path, 503))
            self.send_header("Content-Length", "0")
            self.send_header("Location", "/ok?a=[1]")
            self.end_headers()

        def log_message(self, *arguments):
            pass
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        if context:
            listening.socket = context.wrap_socket(listening.socket, server_side=True)
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        try:
            yield listening.server_port
        finally:
            listening.shutdown()


@pytest.fixture
def server():
    with serving() as port:
        yield port


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def files(name, root=""):
    """Everything that a check consists of: path -> content, or target of the link."""
    found = {}
    for top in DIRECTORY, UNITS:
        for directory, _directories, names in os.walk(root + top):
            for entry in names:
                path = f"{directory}/{entry}"
                if name in entry:
                    found[path[len(root):]] = os.readlink(path) if os.path.islink(path) else Path(path).read_text()
    return found


def enabled(host, name, root="/"):
    return host.run("systemctl", f"--root={root}", "is-enabled", f"microos-health-{name}.service").stdout.strip()


def test_a_unit_that_boot_complete_requires(host):
    result = host.module("health_check", name="web", units=["nginx.service", "php@a.service"], deadline=120)
    assert (result["changed"], result["backend"], result["snapshot"]) == (True, "boot-complete", 1), result
    script, unit = f"{DIRECTORY}/required.d/web.sh", f"{UNITS}/microos-health-web.service"
    found = files("web")
    assert sorted(found) == sorted(result["files"]) == sorted(
        [script, unit, f"{UNITS}/boot-complete.target.requires/microos-health-web.service",
         f"{UNITS}/multi-user.target.wants/microos-health-web.service"])
    assert stat.S_IMODE(os.stat(script).st_mode) == 0o600
    lines = found[unit].splitlines()
    for line in ("After=multi-user.target nginx.service php@a.service", "Before=boot-complete.target",
                 f"ExecStart=/bin/sh {script}", "TimeoutStartSec=135", "RequiredBy=boot-complete.target"):
        assert line in lines
    assert enabled(host, "web") == "enabled"
    # with what else comes with it, for their order
    verified = host.run("systemd-analyze", "verify", "--man=no", unit, "multi-user.target", "boot-complete.target")
    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")
    again = host.module("health_check", name="web", units=["nginx.service", "php@a.service"], deadline=120)
    assert (again["changed"], again["files"], again["diff"]) == (False, [], [])


def test_the_links_are_those_that_systemctl_makes(host):
    host.module("health_check", name="one", command="true")
    host.module("health_check", name="two", command="true", severity="wanted")
    ours = files("microos-health")
    for name in "one", "two":
        host.check("systemctl", "reenable", f"microos-health-{name}.service")
    assert files("microos-health") == ours


def test_severity_and_kind_may_change(host):
    host.module("health_check", name="web", script="exit 0")
    result = host.module("health_check", name="web", command=["true"], severity="wanted")
    assert result["changed"]
    assert sorted(files("web")) == sorted([
        f"{DIRECTORY}/wanted.d/web.sh", f"{UNITS}/microos-health-web.service",
        f"{UNITS}/boot-complete.target.wants/microos-health-web.service",
        f"{UNITS}/multi-user.target.wants/microos-health-web.service"])


def test_absent(host):
    host.module("health_check", name="web", script="exit 0")
    host.module("health_check", name="web2", script="exit 0")
    kept = files("web2")
    result = host.module("health_check", name="web", state="absent")
    assert result["changed"] and files("web") == kept
    # in the order in which nothing is ever missing
    assert [os.path.basename(os.path.dirname(path)) for path in result["files"]] == [
        "multi-user.target.wants", "boot-complete.target.requires", "system", "required.d", "scripts"]
    assert not host.module("health_check", name="web", state="absent")["changed"]


def test_nothing_stays_of_the_last_one(host):
    host.module("health_check", name="web", script="exit 0", severity="wanted")
    host.module("health_check", name="web2", script="exit 0")
    host.module("health_check", name="web", state="absent")
    assert os.listdir(f"{DIRECTORY}/required.d") == ["web2.sh"] and not os.path.exists(f"{DIRECTORY}/wanted.d")
    host.module("health_check", name="web2", state="absent")
    assert not os.path.exists(os.path.dirname(DIRECTORY))
    assert not [name for name in os.listdir(UNITS) if name.startswith("boot-complete.target.")]


def test_check_mode_predicts(host):
    before = host.state()
    predicted = host.module("health_check", name="web", port=80, _check=True)
    assert not files("web") and host.state() == before
    done = host.module("health_check", name="web", port=80)
    assert (predicted["changed"], predicted["files"], predicted["diff"]) == (True, done["files"], done["diff"])
    assert "+" not in done["diff"][0]["before"] and "/dev/tcp" in done["diff"][0]["after"]
    assert host.module("health_check", name="web", state="absent", _check=True)["changed"]
    assert files("web")
    assert host.module("health_check", state="checked", _check=True)["skipped"]


def test_no_snapshot_is_made(host):
    before = host.state()
    host.module("health_check", name="web", command="true")
    assert host.state() == before


def test_what_is_pending_gets_it_alone(host):
    host.module("package", name="testbed-hello")
    result = host.module("health_check", name="web", units=["testbed.service"])
    assert (result["snapshot"], result["pending"]) == (2, True)
    assert not files("web")
    assert sorted(files("web", "/.snapshots/2/snapshot")) == sorted(result["files"])
    assert enabled(host, "web", "/.snapshots/2/snapshot") == "enabled"
    assert not host.module("health_check", name="web", units=["testbed.service"])["changed"]


def test_beside_an_open_transaction_what_is_pending_stays(host):
    host.module("package", name="testbed-hello")
    run = {"key": "0123456789abcdef", "identity": {"machine": "here", "pid": 1, "started": "1"}}
    assert host.module("transaction", state="open", _run=run)["snapshot"] == 3
    try:
        result = host.module("health_check", name="web", command="true")
        assert "another transaction is in progress" in result["msg"]
        assert not files("web", "/.snapshots/2/snapshot")
    finally:
        host.module("transaction", state="aborted", _run=run)
    assert host.module("health_check", name="web", command="true")["changed"]


def test_health_checker_gets_a_plugin(host, health_checker):
    result = host.module("health_check", name="web", units=["nginx.service"])
    assert (result["backend"], result["snapshot"]) == ("health-checker", 2), result
    found = files("web", str(health_checker))
    drop_in = f"{UNITS}/health-checker.service.d/50-microos-health-web.conf"
    assert sorted(found) == [f"{DIRECTORY}/required.d/web.sh", drop_in]
    assert "After=nginx.service" in found[drop_in]
    assert os.access(PLUGIN, os.X_OK) and str(PLUGIN) in result["files"]
    assert not host.module("health_check", name="web", units=["nginx.service"])["changed"]
    host.module("health_check", name="web", state="absent")
    assert not files("web", str(health_checker)) and PLUGIN.exists()


@pytest.mark.parametrize("checks, expected", [
    ([], 0),
    ([("good", "true", "required"), ("ugly", "false", "wanted")], 0),
    ([("bad", "false", "required"), ("good", "true", "required")], 1),
])
def test_the_plugin_judges_all_required_ones(host, health_checker, checks, expected):
    host.module("health_check", name="gone", command="false", **TWICE)
    host.module("health_check", name="gone", state="absent")
    for name, line, severity in checks:
        host.module("health_check", name=name, command=line, severity=severity, retries=0)
    host.run("cp", "-a", f"{health_checker}{DIRECTORY}", os.path.dirname(DIRECTORY))  # as if it had booted
    done = host.run(PLUGIN, "check")
    assert done.returncode == expected
    for name, line, _severity in checks:
        assert f"health check {name}: {'ok' if line == 'true' else 'failed'}, exit code" in done.stdout
    assert host.run(PLUGIN, "stop").returncode == 0


def test_the_plugin_of_a_snapshot_leaves_it_to_the_one_beside_the_snapshots(host, health_checker):
    host.module("health_check", name="bad", command="false", retries=0)
    shutil.copytree(f"{health_checker}{DIRECTORY}", DIRECTORY)
    copy = "/run/plugin"
    shutil.copy(PLUGIN, copy)
    try:
        assert host.run(copy, "check").returncode == 0
        PLUGIN.unlink()
        assert host.run(copy, "check").returncode == 1
    finally:
        os.unlink(copy)


def test_a_missing_program_is_told_before_it_fails_at_boot(host, health_checker):
    os.unlink(health_checker / "usr/bin/curl")
    result = host.module("health_check", name="web", url="http://localhost/")
    assert "needs curl, which snapshot 2 does not have" in result["msg"]
    assert not files("web", str(health_checker))


def command_line(pid):
    """Of a process, nothing if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except FileNotFoundError:
        return ""


def checked(host, **arguments):
    return host.module("health_check", state="checked", **arguments)


def only(result):
    (found,) = result["checks"]
    return found


def test_commands(host):
    found = only(checked(host, command="test -e / && true | true"))
    assert found.pop("seconds") >= 0
    assert found == {"name": "now", "severity": "required", "ok": True, "rc": 0, "attempts": 1, "output": ""}
    nasty = "it's \"$HOME\" `id` %n \\ $(id)"
    assert only(checked(host, command=["printf", "%s", nasty]))["output"] == nasty
    assert only(checked(host, command="printf '%s' \"$PWD\""))["output"] == "/"
    result = checked(host, command="echo reason; exit 3", name="sad", **TWICE)
    assert re.search(r": 1 of 1 health checks failed: sad \(exit code 3, 2 attempts in \d+ seconds: reason\)$",
                     result["msg"])
    assert result["failed"] and not result["healthy"] and not result["changed"]
    assert only(result)["output"].splitlines() == [
        "reason", "attempt 1 failed with exit code 3", "reason", "attempt 2 failed with exit code 3"]
    assert only(checked(host, command="exit 3", retries=0))["attempts"] == 1


def test_it_is_tried_until_it_succeeds(host, tmp_path):
    counter = tmp_path / "attempts"
    found = only(checked(host, command=f"echo >>{counter}; test $(wc -l <{counter}) = 3", delay=1))
    assert (found["ok"], found["attempts"]) == (True, 3)


def test_an_attempt_that_hangs_is_ended_with_all_its_processes(host):
    found = only(checked(host, command="trap '' TERM; sleep 600 & echo $!; sleep 600", timeout=1, retries=0))
    said = found["output"].splitlines()
    assert (found["rc"], said[-1]) == (137, "attempt 1 ended after 1 seconds without a result")
    host.wait_for(lambda: not command_line(said[0]))
    found = only(checked(host, command=["sleep", "600"], deadline=1))
    assert (found["rc"], found["attempts"]) == (124, 1)


def test_what_a_check_leaves_behind_does_not_hold_it_up(host):
    found = only(checked(host, command="sleep 600 & echo $!"))
    assert found["ok"] and command_line(found["output"]) == "sleep 600 "
    os.kill(int(found["output"]), signal.SIGKILL)


def test_wanted_ones_warn(host):
    result = checked(host, command="false", severity="wanted", retries=0)
    assert result["healthy"] and not result.get("failed") and not only(result)["ok"]
    assert "now (exit code 1, 1 attempts" in str(result["warnings"])


def test_only_the_end_of_much_output(host):
    found = only(checked(host, command="seq 100000"))
    assert found["ok"] and found["attempts"] == 1
    assert found["output"].endswith("\n99999\n100000") and len(found["output"]) < 10000


def test_ports(host, server):
    assert only(checked(host, port=server))["ok"]
    found = only(checked(host, port=free_port(), **TWICE))
    assert not found["ok"] and "refused" in found["output"]


def test_urls(host, server):
    assert only(checked(host, url=f"http://127.0.0.1:{server}/ok?a=[1]"))["ok"]
    assert only(checked(host, url=f"http://127.0.0.1:{server}/other", status=[404, 503]))["ok"]
    found = only(checked(host, url=f"http://127.0.0.1:{server}/other", retries=0))
    assert not found["ok"]
    assert f"http://127.0.0.1:{server}/other answered with status 503" in found["output"]


def serving_securely(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "certificate", certificate / "key")
    return serving(context)


def test_the_certificate_of_a_url_has_to_be_valid(host, certificate):
    with serving_securely(certificate) as port:
        url = f"https://localhost:{port}/ok?a=[1]"
        found = only(checked(host, url=url, retries=0))
        assert not found["ok"] and "certificate" in found["output"]
        assert only(checked(host, url=url, validate_certs=False))["ok"]


@pytest.mark.usefixtures("authority")
def test_a_certificate_that_is_valid(host, certificate):
    with serving_securely(certificate) as port:
        assert only(checked(host, url=f"https://localhost:{port}/ok?a=[1]"))["ok"]


# Run as nobody: prints each command line that there is at some time, once, until it is told to end
WATCH = """
import glob, signal, sys
ended = []
signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
seen = set()
while not ended:
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as stream:
                seen.add(stream.read().replace(bytes(1), b" "))
        except OSError:
            pass
sys.stdout.buffer.write(b"\\n".join(seen))
"""


@contextlib.contextmanager
def watching():
    """What another local user sees of the arguments of processes."""
    process = subprocess.Popen(["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", sys.executable, "-c",
                                WATCH], stdout=subprocess.PIPE)
    seen = []
    try:
        yield seen
    finally:
        process.terminate()
        seen += process.communicate()[0].decode("utf-8", "replace").splitlines()


def test_what_is_secret_in_an_address_is_seen_by_root_alone(host, server):
    url = f"http://me:ge%40heim@127.0.0.1:{server}/slow?token=verborgen"
    secrets = ("heim", "verborgen")
    shown = f"http://********@127.0.0.1:{server}/slow?********"
    check = {"name": "web", "url": url, "retries": 0}
    with watching() as seen:
        results = [host.module("health_check", **check, _check=True), host.module("health_check", **check),
                   checked(host), checked(host, **check)]
        plugin = host.run("sh", f"{DIRECTORY}/required.d/web.sh")
    assert any(line.startswith("curl ") for line in seen) and any("web.sh try" in line for line in seen)
    assert not [line for line in seen if any(secret in line for secret in secrets)]
    text = Path(f"{DIRECTORY}/required.d/web.sh").read_text()
    assert f'url = "{url}"' in text
    for result in results:
        assert not any(secret in json.dumps(result) for secret in secrets)
    assert results[1]["changed"] and results[0]["diff"] == results[1]["diff"]
    assert [result["invocation"]["module_args"]["url"] for result in results] == [shown, shown, None, shown]
    assert f"{shown} answered with status 503" in plugin.stdout
    assert plugin.stdout == only(results[2])["output"] + plugin.stdout[plugin.stdout.index("\nhealth check"):]
    # another password is another check, also if nothing of it is shown
    other = host.module("health_check", **dict(check, url=url.replace("heim", "heimer")))
    assert other["changed"] and "differs" in other["diff"][0]["after_header"] and "heim" not in json.dumps(other)
    gone = host.module("health_check", name="web", state="absent")
    assert gone["changed"] and "heim" not in json.dumps(gone)
    refused = host.module("health_check", name="web", url="ftp://me:geheim@h/")
    assert refused["failed"] and "geheim" not in json.dumps(refused)


def test_a_line_is_in_no_list_of_processes(host):
    with watching() as seen:
        assert only(checked(host, command="geheim=1; sleep 0.5; sleep 0.1"))["ok"]
    assert any(line.startswith("sleep 0.5") for line in seen)
    assert not [line for line in seen if "geheim" in line]


def test_modes_do_not_depend_on_the_caller(host):
    before = os.umask(0)
    try:
        result = host.module("health_check", name="web", script="exit 0")
    finally:
        os.umask(before)
    paths = [path for path in result["files"] if not os.path.islink(path)]
    directories = {os.path.dirname(path) for path in result["files"]} | {DIRECTORY, os.path.dirname(DIRECTORY)}
    modes = {path: stat.S_IMODE(os.stat(path).st_mode) for path in [*paths, *directories]}
    assert not [path for path, mode in modes.items() if mode & 0o022], modes
    for path in paths:
        assert bool(modes[path] & 0o077) == path.endswith(".service")


def test_a_redirection_is_not_followed(host, server):
    url = f"http://me:geheim@127.0.0.1:{server}/away"
    assert only(checked(host, url=url, status=[302]))["ok"]
    assert "answered with status 302" in only(checked(host, url=url, retries=0))["output"]


def test_output_without_end_is_kept_nowhere(host):
    small = ("sh", "-c", 'ulimit -f 1024 && exec "$@"', "sh")  # files of the module and of what it runs
    found = only(checked(host, command="yes", deadline=1, _prefix=small))
    assert (found["ok"], found["rc"]) == (False, 124)
    assert found["output"].startswith("y\ny\n") and len(found["output"]) < 10000


def test_a_full_disk_leaves_the_check_as_it_was(host):
    host.module("health_check", name="web", script="exit 0")
    before = files("web")
    tiny = ("unshare", "--mount", "sh", "-c",
            f"mount -t tmpfs -o size=8k none /mnt && cp -a {DIRECTORY}/required.d/. /mnt && "
            f"head -c 4096 /dev/zero >/mnt/x && mount --bind /mnt {DIRECTORY}/required.d && "
            '"$@"; code=$?; cat /mnt/web.sh >&2; exit $code', "sh")
    # of the two files that change, the second one does not find room
    process = host.start_module("health_check", name="web", script="exit 1", deadline=7, _prefix=tiny)
    out, err = process.communicate()
    result = json.loads(out)
    assert result["failed"] and "No space left on device" in result["msg"], result
    assert err == before[f"{DIRECTORY}/required.d/web.sh"]
    assert files("web") == before


def test_scripts(host):
    assert only(checked(host, script="test \"$0\" && echo 'it works'"))["output"] == "it works"
    found = only(checked(host, script="#!/usr/bin/python3\nimport sys\nsys.exit('no')\n", retries=0))
    assert (found["rc"], found["output"].splitlines()[0]) == (1, "no")


def test_units_cannot_be_asked_without_systemd(host):
    found = only(checked(host, units=["sshd.service"], retries=0))
    assert not found["ok"] and "no systemd runs here" in found["output"]


def test_defined_ones_are_run_by_name_or_all(host):
    nothing = checked(host)
    assert (nothing["healthy"], nothing["checks"]) == (True, [])
    host.module("health_check", name="good", script="#!/bin/sh\necho \"I am $0\"")
    host.module("health_check", name="ugly", command="false", severity="wanted", retries=0)
    result = checked(host)
    assert [(check["name"], check["severity"], check["ok"]) for check in result["checks"]] == [
        ("good", "required", True), ("ugly", "wanted", False)]
    assert result["checks"][0]["output"] == f"I am {DIRECTORY}/scripts/good"
    assert only(checked(host, name="good"))["ok"]
    assert "there is no health check 'other' in the running system; defined are: good, ugly" in checked(
        host, name="other")["msg"]


def test_a_broken_script_is_a_failure_of_its_own(host):
    host.module("health_check", name="broken", command="true")
    host.module("health_check", name="good", command="true")
    Path(f"{DIRECTORY}/required.d/broken.sh").write_text("if\n")
    result = checked(host)
    assert [check["ok"] for check in result["checks"]] == [False, True]
    assert "yntax error" in result["msg"]
    assert host.module("health_check", name="broken", command="true")["changed"]
    assert checked(host)["healthy"]


@pytest.mark.parametrize("arguments, words", [
    ({"name": "a b", "command": "x"}, "'a b' cannot be the name of a health check"),
    ({"name": "../x", "state": "absent"}, "cannot be the name"),
    ({"name": "x"}, "any of the following are missing: command, units, url, port, script"),
    ({"name": "x", "port": 1, "command": "x"}, "mutually exclusive"),
    ({"command": "x"}, "missing: name"),
    ({"name": "x", "units": ["sshd"]}, "'sshd' is not the name of a unit"),
    ({"name": "x", "units": []}, "names no unit"),
    ({"name": "x", "url": "file:///etc/passwd"}, "is not an address"),
    ({"name": "x", "url": "http://x/\nExecStart=y"}, "is not an address"),
    ({"name": "x", "port": 0}, "0 is not a port"),
    ({"name": "x", "command": []}, "'command' must be"),
    ({"name": "x", "command": {"a": 1}}, "'command' must be"),
    ({"name": "x", "script": " "}, "'script' is empty"),
    ({"name": "x", "command": "x", "deadline": 0}, "deadline must be 1 at least, not 0"),
])
def test_what_cannot_be_done(host, arguments, words):
    result = host.module("health_check", **arguments)
    assert result.get("failed") and words in result["msg"], result
    assert not files("x")
