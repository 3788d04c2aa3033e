# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module package: what is not trusted stays out, and what one task allows is not allowed to the next."""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import os
import pathlib
import shutil
import signal
import ssl
import subprocess
import threading
import time

import pytest

pytestmark = pytest.mark.once

REPOSITORIES = "/opt/testbed/repos"
UNKNOWN = "testbed-unknown-key"
WORKSPACES = pathlib.Path("/var/cache/microos-transactional")
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def rpm_file(repository, name, version="1.0"):
    return f"{REPOSITORIES}/{repository}/noarch/testbed-{name}-{version}-1.noarch.rpm"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_arguments):
        """Say nothing."""


@contextlib.contextmanager
def serving(handler, certificate=None, plain=None):
    """The address of a web server."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.plain = plain
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate / "certificate", certificate / "key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"{'https://localhost' if certificate else 'http://127.0.0.1'}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def forget(*aliases):
    for kind in ("raw", "solv", "packages"):
        for alias in aliases:
            shutil.rmtree(f"/var/cache/zypp/{kind}/{alias}", ignore_errors=True)


@pytest.fixture
def untrusted(host):
    """A host with a repository that is signed with a key that nobody knows."""
    forget(UNKNOWN)
    host.enable(UNKNOWN)
    yield host
    forget(UNKNOWN)


def refused(host):
    """The repository is as untrusted as ever."""
    before = host.state()
    result = host.module("package", name=UNKNOWN)
    assert result.get("failed"), result
    assert "Signature verification failed" in result["msg"]
    assert host.state() == before
    assert not os.path.exists(f"/var/cache/zypp/raw/{UNKNOWN}/repodata")
    assert not os.path.exists(f"/var/cache/zypp/solv/{UNKNOWN}/solv")
    assert not WORKSPACES.exists()


UNSIGNED = rpm_file("unsigned", "unsigned")
WRONG = rpm_file("wrongkey", "wrong-signature")


@pytest.mark.parametrize("arguments", [
    {"name": UNSIGNED, "allow_untrusted": True},
    {"name": WRONG, "allow_untrusted": True},
    {"name": UNKNOWN, "allow_untrusted": True},
    {"name": UNKNOWN, "allow_untrusted": True, "update_cache": True},
    {"name": UNKNOWN, "allow_untrusted": True, "_check": True},
    {"name": "testbed-hello", "optional": [UNKNOWN], "allow_untrusted": True},
    {"name": UNKNOWN, "extra_args_precommand": "--no-gpg-checks"},
], ids=lambda arguments: "-".join([os.path.basename(arguments["name"]), *sorted(set(arguments) - {"name"})]))
def test_what_one_task_allows_is_not_allowed_to_the_next(untrusted, arguments):
    refused(untrusted)
    result = untrusted.module("package", **arguments)
    assert result.get("changed"), result
    if "optional" in arguments:
        assert result["skipped_names"] == []
    untrusted.snapper("modify", "--default", "1")
    refused(untrusted)


def test_a_task_that_fails_leaves_nothing_unchecked_either(untrusted):
    before = untrusted.state()
    result = untrusted.module("package", name=[UNKNOWN, "testbed-pre-fails"], allow_untrusted=True)
    assert "scriptlet failed" in result["msg"]
    assert untrusted.state() == before
    refused(untrusted)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_task_that_is_killed_leaves_nothing_unchecked_either(untrusted, number):
    many = [f"testbed-many-{index:03}" for index in range(1, 101)]  # takes its time
    process = untrusted.start_module("package", name=[UNKNOWN, *many], allow_untrusted=True)
    untrusted.wait_for(lambda: list(WORKSPACES.glob(f"*/cache/solv/{UNKNOWN}/solv")))
    process.send_signal(number)
    process.communicate()
    # the next run ends what is left of the first, and deletes what that has left
    result = untrusted.module("package", name=UNSIGNED, allow_untrusted=True)
    assert result.get("changed"), result
    untrusted.snapper("modify", "--default", "1")
    refused(untrusted)


def test_files_without_a_signature_leave_all_else_checked(untrusted, build_rpm):
    """Nothing that they need comes from a repository that nobody trusts."""
    path = build_rpm("needy", tags=f"Requires: {UNKNOWN}")
    before = untrusted.state()
    result = untrusted.module("package", name=path, allow_untrusted=True)
    assert result.get("failed"), result
    assert f"nothing provides '{UNKNOWN}'" in result["msg"]
    assert untrusted.state() == before


def test_a_file_that_failed_when_it_was_allowed_is_refused_when_it_is_not(host, build_rpm):
    """zypper keeps such files in a cache as well."""
    path = build_rpm("failing", {"pre": "exit 1"})
    assert "scriptlet failed" in host.module("package", name=path, allow_untrusted=True)["msg"]
    refused_now = host.module("package", name=path)
    assert "Signature verification failed" in refused_now["msg"], refused_now
    # as in a run that was killed, or of an administrator
    cache = pathlib.Path("/var/cache/zypper/RPMS")
    cache.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, cache)
    refused_now = host.module("package", name=path)
    assert "Signature verification failed" in refused_now["msg"], refused_now
    assert not cache.exists()


class Redirecting(Quiet):
    """From HTTPS to where anybody may have changed it."""

    def do_GET(self):
        self.send_response(302)
        self.send_header("Location", f"{self.server.plain}{self.path}")
        self.end_headers()

    do_HEAD = do_GET


def test_a_redirect_to_plain_http_is_not_followed(host, certificate, authority):
    asked = []

    class Plain(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_arguments):
            asked.append(self.path)

    with serving(functools.partial(Plain, directory=f"{REPOSITORIES}/main/noarch")) as plain, \
            serving(Redirecting, certificate, plain) as address:
        before = host.state()
        result = host.module("package", name=f"{address}/testbed-left-1.0-1.noarch.rpm")
        assert result.get("failed"), result
        assert not asked
        assert host.state() == before
        # the same file is taken from there if the task says so
        assert host.module("package", name=f"{plain}/testbed-left-1.0-1.noarch.rpm").get("changed")


def test_keys_are_not_imported_by_another_way(host):
    result = host.module("package", name="testbed-hello", extra_args_precommand="--gpg-auto")
    assert "by its fingerprint" in result["msg"]


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def directory():
    """A directory of nobody's."""
    path = pathlib.Path("/tmp/theirs")
    path.mkdir()
    os.chown(path, 65534, 65534)
    yield path
    shutil.rmtree(path)


@pytest.mark.parametrize("make", ["mkfifo", "mkdir", "ln -s /dev/zero", "ln -s /dev/tty"])
def test_what_is_no_file_does_not_hold_up_anything(host, directory, make):
    path = directory / "a.rpm"
    host.check(*NOBODY, "sh", "-c", f"{make} {path}")
    before = host.state()
    for check in (False, True):
        result = host.module("package", name=str(path), _check=check, _prefix=["timeout", "60"])
        assert result.get("failed"), result
        assert str(path) in result["msg"]
    assert host.state() == before


SWAP = """
import os, shutil, sys
good, bad, path = sys.argv[1:]
os.makedirs("/tmp/theirs/x", exist_ok=True)
shutil.copy(good, "/tmp/theirs/x/good"); shutil.copy(bad, "/tmp/theirs/x/bad")
print(flush=True)
while True:
    for name in ("bad", "good"):
        os.link(f"/tmp/theirs/x/{name}", "/tmp/theirs/x/new"); os.rename("/tmp/theirs/x/new", path)
"""


def test_a_file_that_is_exchanged_all_the_time(host, directory):
    """It is one of them, and never the unsigned one."""
    path = directory / "a.rpm"
    with subprocess.Popen([*NOBODY, "python3", "-c", SWAP, rpm_file("main", "left"), UNSIGNED, str(path)],
                          stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        host.wait_for(path.exists)
        for _try in range(5):
            before = host.state()
            result = host.module("package", name=str(path))
            if result.get("failed"):
                assert "Signature verification failed" in result["msg"], result
                assert host.state() == before
            else:
                assert "testbed-unsigned-1.0" not in host.packages(host.default())
        process.kill()


def test_a_directory_for_copies_that_somebody_else_made(host, directory):
    os.symlink(directory, WORKSPACES)
    try:
        result = host.module("package", name=UNSIGNED, allow_untrusted=True)
        assert str(WORKSPACES) in result["msg"]
        assert not list(directory.iterdir())
    finally:
        WORKSPACES.unlink()


def test_copies_are_of_root_alone(host, build_rpm):
    path = build_rpm("slow", {"post": "sleep 3"})
    process = host.start_module("package", name=path, allow_untrusted=True, _prefix=["sh", "-c", 'umask 0; exec "$@"',
                                                                                     "sh"])
    copy = host.wait_for(lambda: list(WORKSPACES.glob("*/*/*.rpm")))[0]
    modes = [oct(place.stat().st_mode & 0o777) for place in (WORKSPACES, copy.parent.parent, copy.parent, copy)]
    assert modes == ["0o700", "0o700", "0o700", "0o600"]
    assert host.run(*NOBODY, "cat", str(copy)).returncode != 0
    assert json.loads(process.communicate()[0]).get("changed")


# --- what nobody may read --------------------------------------------------------------------------------------------


def test_a_password_in_an_address(host):
    before = host.state()
    history = pathlib.Path("/var/log/zypp/history")
    known = history.read_text(encoding="utf-8") if history.exists() else ""
    for arguments in ({"name": "http://user:SECRET@127.0.0.1:1/x.rpm"},
                      {"name": "testbed-hello", "optional": ["HTTP://user:SECRET@127.0.0.1:1/x.rpm"]},
                      {"name": "http://user:SECRET@127.0.0.1:1/x y.rpm"},
                      {"name": "testbed-hello", "extra_args_precommand": "--plus-repo http://user:SECRET@127.0.0.1:1/"}):
        result = host.module("package", **arguments)
        assert result.get("failed"), result
        assert "SECRET" not in json.dumps(result)
        assert "microos.transactional.repository" in result["msg"] or "no address" in result["msg"]
    assert host.state() == before
    assert (history.read_text(encoding="utf-8") if history.exists() else "") == known


def test_parameters_of_an_address_are_hidden(host):
    with serving(functools.partial(Quiet, directory=f"{REPOSITORIES}/main/noarch")) as address:
        result = host.module("package", name=f"{address}/nothing/none.rpm?token=SECRET")
        assert result.get("failed"), result
        assert "none.rpm" in result["msg"]
        assert "SECRET" not in json.dumps(result)


# --- time and size ---------------------------------------------------------------------------------------------------


class Trickling(Quiet):
    def do_HEAD(self):
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()

    def do_GET(self):
        self.do_HEAD()
        with contextlib.suppress(OSError):
            for _second in range(600):
                self.wfile.write(b"x" * 10)
                self.wfile.flush()
                time.sleep(1)


@contextlib.contextmanager
def repository(alias, baseurl):
    path = pathlib.Path(f"/etc/zypp/repos.d/{alias}.repo")
    path.write_text(f"[{alias}]\nname={alias}\nenabled=1\nautorefresh=1\nbaseurl={baseurl}\ngpgcheck=1\n",
                    encoding="ascii")
    yield
    forget(alias)


def test_a_repository_that_trickles(host):
    with serving(Trickling) as address, repository("trickling", address):
        before = host.state()
        for module, arguments in (("package", {"name": "testbed-hello"}),
                                  ("package", {"name": "testbed-hello", "_check": True}),
                                  ("package", {"name": "testbed-base", "update_cache": True}),
                                  ("system_update", {})):
            begin = time.monotonic()
            result = host.module(module, timeout=5, **arguments)
            assert time.monotonic() - begin < 60
            assert result.get("failed"), result
            assert "in time and was ended" in result["msg"] and "5 s" in result["msg"], result
            assert host.state() == before
        assert "Snapshot" in host.module("package", name="testbed-hello", timeout=5)["msg"]
        assert host.run("pgrep", "--runstates", "DRS", "--exact", "zypper|Zypp-main").returncode != 0


@contextlib.contextmanager
def instead_of_zypper(host, script):
    """Another zypper in the first snapshot, and in what is made from it."""
    root = "/.snapshots/1/snapshot"
    path = pathlib.Path(f"{root}/usr/bin/zypper")

    def replace(content):
        host.check("btrfs", "property", "set", "-ts", root, "ro", "false")
        path.write_bytes(content)
        host.check("btrfs", "property", "set", "-ts", root, "ro", "true")

    real = path.read_bytes()
    replace(f"#!/bin/sh\n{script}\n".encode())
    try:
        yield
    finally:
        replace(real)


XML = """echo '<?xml version="1.0"?><stream>'"""


@pytest.mark.parametrize("script", ["exit 0", XML, "head -c 9999 /dev/urandom", f"{XML}; echo 'a & b</stream>'",
                                    f"{XML}; echo '</stream>'"])
def test_a_zypper_that_cannot_be_understood(host, script):
    with instead_of_zypper(host, script):
        before = host.state()
        for module, arguments in (("package", {"name": "testbed-hello"}),
                                  ("package", {"name": "testbed-hello", "_check": True}), ("system_update", {})):
            result = host.module(module, **arguments)
            assert "cannot read what zypper said" in result.get("msg", ""), (arguments, result)
            assert "stdout" not in result
            assert host.state() == before


def test_a_full_disk_for_what_zypper_keeps(host):
    before = host.state()
    host.check("mount", "-t", "tmpfs", "-o", "size=20k", "tmpfs", "/var/cache")
    try:
        result = host.module("package", name="testbed-hello")
    finally:
        host.check("umount", "/var/cache")
    assert result.get("failed"), result
    assert host.state() == before


@pytest.mark.parametrize("prefix", [NOBODY, []], ids=["nobody", "root"])
def test_an_old_number_in_zypps_lock(host, prefix):
    """The process that has the number by now has nothing to do with zypp."""
    lock = pathlib.Path("/run/zypp.pid")
    with subprocess.Popen([*prefix, "sleep", "300"]) as process:
        lock.write_text(f"{process.pid}\n", encoding="ascii")
        try:
            result = host.module("package", name="testbed-hello")
        finally:
            lock.unlink(missing_ok=True)
            process.kill()
    assert result.get("changed"), result
