# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module package where repositories and processes fail; ``test_package`` has the packages that do."""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import os
import pathlib
import shutil
import signal
import subprocess
import threading

import pytest

pytestmark = pytest.mark.once

REPOSITORIES = "/opt/testbed/repos"


@contextlib.contextmanager
def repository(alias, baseurl):
    """One more repository of the running system. Afterwards its cache is forgotten; the host forgets the rest."""
    path = pathlib.Path(f"/etc/zypp/repos.d/{alias}.repo")
    path.write_text(f"[{alias}]\nname={alias}\nenabled=1\nautorefresh=1\nbaseurl={baseurl}\ngpgcheck=1\n",
                    encoding="ascii")
    yield
    for cache in ("raw", "solv", "packages"):
        shutil.rmtree(f"/var/cache/zypp/{cache}/{alias}", ignore_errors=True)


@contextlib.contextmanager
def cutting(directory, suffix):
    """The address of a web server that ends each connection in the middle of files with the suffix."""
    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_arguments):
            """Say nothing."""

        def copyfile(self, source, outputfile):
            content = source.read()
            outputfile.write(content[:len(content) // 2] if self.path.endswith(suffix) else content)
            if self.path.endswith(suffix):
                outputfile.flush()
                self.close_connection = True

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=directory))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def change(path):
    """Change a byte, the size stays."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("pattern, words", [
    ("repomd.xml", "Signature verification failed"),
    ("*-primary.xml.*", "Digest verification failed"),
])
def test_tampered_metadata(host, pattern, words):
    shutil.copytree(f"{REPOSITORIES}/updates", "/opt/tampered")
    try:
        change(next(pathlib.Path("/opt/tampered/repodata").glob(pattern)))
        with repository("tampered", "dir:///opt/tampered"):
            before = host.state()
            result = host.module("package", name="testbed-hello>=2")
            assert result["failed"]
            assert words in result["msg"]
            assert host.state() == before
    finally:
        shutil.rmtree("/opt/tampered")


def test_an_expired_key(host):
    host.module("package", name="testbed-hello")
    root = "/.snapshots/2/snapshot"
    for read_only, argv in (("false", ["rpm", "--root", root, "--import", f"{REPOSITORIES}/expired.asc"]),
                            ("true", ["true"])):
        host.check("btrfs", "property", "set", "-ts", root, "ro", read_only)
        host.check(*argv)
    host.enable("testbed-expired", snapshot=2)
    before = host.state()
    try:
        for arguments in ({}, {}, {"update_cache": True}, {"_check": True}):
            result = host.module("package", name="testbed-expired", **arguments)
            assert "signed with an expired key" in result.get("msg", ""), (arguments, result)
            assert host.state() == before
        assert host.module("package", name="testbed-expired", allow_untrusted=True).get("changed")
    finally:
        for cache in ("raw", "solv", "packages"):
            shutil.rmtree(f"/var/cache/zypp/{cache}/testbed-expired", ignore_errors=True)


# zypper 1.14.89 tries for two minutes to get a package: once is enough, the engine has no part in it
@pytest.mark.parametrize("suffix", [pytest.param(".rpm", marks=pytest.mark.snapper), "-primary.xml.zst"])
def test_a_repository_that_dies_during_the_download(host, suffix):
    with cutting(f"{REPOSITORIES}/updates", suffix) as address, repository("dying", address):
        before = host.state()
        result = host.module("package", name="testbed-hello>=2")
        assert result["failed"]
        assert result["rc"] in (8, 104)
        assert address in result["msg"] or "dying" in result["msg"]
        assert host.state() == before


@contextlib.contextmanager
def zypper_at_work(host):
    """A zypper of the administrator, who has not decided yet."""
    with subprocess.Popen(["zypper", "shell"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as process:
        lock = pathlib.Path("/run/zypp.pid")
        host.wait_for(lambda: lock.exists() and lock.read_text(encoding="ascii").strip() == str(process.pid))
        yield process
        process.stdin.close()


def test_a_locked_zypp(host):
    with zypper_at_work(host) as zypper:
        before = host.state()
        result = host.module("package", name="testbed-hello")
        assert result["busy"]
        assert f"zypp is locked by pid {zypper.pid} (zypper shell)" in result["msg"]
        assert host.state() == before
        # what is there already needs no zypper
        assert host.module("package", name="testbed-base").get("changed") is False


def test_a_locked_zypp_is_waited_for(host):
    with zypper_at_work(host) as zypper:
        process = host.start_module("package", name="testbed-hello", _prefix=["env", "ZYPP_LOCK_TIMEOUT=60"])
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=2)
        zypper.stdin.close()
        zypper.wait()
        assert '"changed": true' in process.communicate()[0]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_zypper_that_is_killed(host, number):
    before = host.state()
    many = [f"testbed-many-{index:03}" for index in range(1, 101)]  # takes its time
    process = host.start_module("package", name=many)

    def found():
        """Those at work in the snapshot, not those of earlier tests that nobody has waited for."""
        pids = []
        # zypper calls itself Zypp-main once it has begun
        for pid in map(int, host.run("pgrep", "--exact", "zypper|Zypp-main").stdout.split()):
            with contextlib.suppress(FileNotFoundError):
                if os.path.samefile(f"/proc/{pid}/root", "/.snapshots/2/snapshot"):
                    pids.append(pid)
        return pids
    for pid in host.wait_for(found):
        os.kill(pid, number)
    result = json.loads(process.communicate()[0])
    assert result["failed"]
    # itself by the signal, with zypper's own word for one, or because its rpm was ended meanwhile
    assert result["rc"] in (-number, 105, 8), result["msg"]
    assert host.state() == before


def test_the_interrupted_work_of_a_full_disk_is_gone(host):
    free = int(host.check("sh", "-c", "df --output=avail -B1 / | tail -1"))
    host.check("fallocate", "-l", str(free - 100 * 2 ** 20), "/var/fill")
    before = host.state()
    try:
        assert "space" in host.module("package", name=["testbed-hello", "testbed-big"])["msg"]
        assert host.state() == before
    finally:
        os.unlink("/var/fill")
    assert host.module("package", name="testbed-hello").get("changed")
