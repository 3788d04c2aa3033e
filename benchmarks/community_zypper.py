# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module package and community.general.zypper side by side, with good and bad packages, as a Markdown table.

For each case and module: snapshots made, snapshots left without other packages, median seconds (the multiple of
ours), what the module says (bold if it is not what it should), and whether that is true: "changed" if and only if rpm
finds other packages in the default snapshot; in check mode, if nothing changed and the real run says the same.

Runs on the root disk of a guest with a real transactional-update, which is laid over the stand-in of the testbed. The
file of the other module, which is in the Python package "ansible" (pip download --no-deps ansible), is read from stdin:

    TESTBED_OVERLAY=DIRECTORY tests/host/run --engine tukit --script benchmarks/community_zypper.py \
        [rounds] [words of cases] < ansible_collections/community/general/plugins/modules/zypper.py
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pathlib
import shutil
import socketserver
import statistics
import struct
import subprocess
import sys
import threading
import time
import typing as t

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 3
ONLY = sys.argv[2:]
RUN_MODULE = """
import json, runpy, sys
from ansible.module_utils.testing import patch_module_args
with patch_module_args(json.loads(sys.argv[2])):
    (runpy.run_path if sys.argv[1].startswith("/") else runpy.run_module)(sys.argv[1], run_name="__main__")
"""
OURS = "ansible_collections.microos.transactional.plugins.modules.package"
THEIRS = "/run/community_general_zypper.py"
SNAPSHOTS = pathlib.Path("/.snapshots")
REPOSITORIES = pathlib.Path("/etc/zypp/repos.d")
SOURCES = "/opt/testbed/repos"
CACHE = pathlib.Path("/var/cache/zypp")
WIDTH = 80


class Case(t.NamedTuple):
    """A task, on a host with the packages ``before`` and one more repository."""

    title: str
    name: str | list[str]
    right: str  # what a module should say in the end
    arguments: dict[str, t.Any] = {}
    before: list[str] = []
    repository: str = ""
    prepare: t.Callable[[], None] | None = None


def check(*argv):
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


def module(name, arguments):
    done = subprocess.run([sys.executable, "-B", "-c", RUN_MODULE, name, json.dumps(arguments)],
                          capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def numbers():
    return {int(path.name) for path in SNAPSHOTS.iterdir() if path.name.isdigit()}


def default():
    return int(check("btrfs", "subvolume", "get-default", "/").split(".snapshots/")[1].split("/")[0])


def root(number):
    return SNAPSHOTS / str(number) / "snapshot"


def packages():
    """Packages of the default snapshot."""
    return set(check("rpm", "--root", str(root(default())), "-qa", "--qf", "%{NAME}-%{VERSION}\n").split())


def back():
    """The first snapshot alone, the default; no trace of what transactional-update remembers between its calls."""
    check("snapper", "--no-dbus", "modify", "--default", "1")
    for number in numbers() - {1}:
        check("snapper", "--no-dbus", "delete", str(number))
    for path in ("/var/lib/misc/transactional-update.state", "/run/reboot-needed"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    check("sync")


@contextlib.contextmanager
def repository(alias):
    """A repository of the testbed is enabled, in the running system and in the default snapshot."""
    if not alias:
        yield
        return
    files = {directory / f"testbed-{alias}.repo" for directory in (
        REPOSITORIES, root(default()) / REPOSITORIES.relative_to("/"))}
    text = (REPOSITORIES / f"testbed-{alias}.repo").read_text(encoding="ascii")
    for path in files:
        path.write_text(text.replace("enabled=0", "enabled=1"), encoding="ascii")
    yield
    (REPOSITORIES / f"testbed-{alias}.repo").write_text(text, encoding="ascii")
    for kind in ("raw", "solv", "packages"):
        shutil.rmtree(CACHE / kind / f"testbed-{alias}", ignore_errors=True)


def trust_expired_key():
    path = str(root(default()))
    check("btrfs", "property", "set", "-ts", path, "ro", "false")
    check("rpm", "--root", path, "--import", f"{SOURCES}/expired.asc")
    check("btrfs", "property", "set", "-ts", path, "ro", "true")


class Made:
    """Counts the snapshots that are made, also those that are deleted at once."""

    IN_CREATE, IN_DELETE = 0x100, 0x200
    HEADER = struct.Struct("iIII")

    def __enter__(self):
        libc = ctypes.CDLL(None, use_errno=True)
        self._file = libc.inotify_init1(os.O_NONBLOCK)
        # the kernel makes one event of two equal ones in a row, so the deletion of a number has to be one too
        watch = libc.inotify_add_watch(self._file, os.fsencode(SNAPSHOTS), self.IN_CREATE | self.IN_DELETE)
        assert watch >= 0, os.strerror(ctypes.get_errno())
        return self

    def __exit__(self, *_exception):
        self.number = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                events = os.read(self._file, 65536)
                while events:
                    _watch, mask, _cookie, length = self.HEADER.unpack_from(events)
                    name, events = events[self.HEADER.size:][:length], events[self.HEADER.size + length:]
                    self.number += bool(mask & self.IN_CREATE) and name.rstrip(b"\0").isdigit()
        os.close(self._file)


def serve_journal():
    """Take what the journal of a booted host would; transactional-update cuts its output off without."""
    path = pathlib.Path("/run/systemd/journal/stdout")
    path.parent.mkdir(parents=True, exist_ok=True)

    class Drain(socketserver.StreamRequestHandler):
        def handle(self):
            while self.rfile.read1():
                pass
    server = socketserver.ThreadingUnixStreamServer(str(path), Drain)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()


class Outcome(t.NamedTuple):
    made: int
    left: int
    seconds: float
    kind: str
    words: str
    true: bool


def kind_of(result):
    return "failed" if result.get("failed") else "changed" if result.get("changed") else "ok"


def words_of(result):
    """The begin of the message, without the name of the host."""
    if not result.get("failed"):
        return ""
    text = " ".join(result["msg"].split()).removeprefix(f"{os.uname().nodename}: ").replace("|", "\\|")
    return ": " + (text if len(text) <= WIDTH else text[:WIDTH] + " …")


def outcome(name, case):
    """Let the module do the task, and look at the host."""
    if case.before:
        module(OURS, {"name": case.before})
    try:
        with repository(case.repository):
            if case.prepare:
                case.prepare()
            arguments = {"name": case.name, **case.arguments}
            before, there = packages(), numbers()
            with Made() as made:
                start = time.perf_counter()
                result = module(name, arguments)
                seconds = time.perf_counter() - start
            kind, differ = kind_of(result), packages() != before
            left = len(numbers() - there) - differ
            if arguments.pop("_ansible_check_mode", False):
                # the real run has to do what was foretold
                true = not differ and kind == kind_of(module(name, arguments))
            else:
                true = (kind == "changed") == differ
            return Outcome(made.number, left, seconds, kind, words_of(result), true)
    finally:
        back()


def row(case, name, outcomes, factor=""):
    distinct = {one._replace(seconds=0) for one in outcomes}
    seconds = statistics.median(one.seconds for one in outcomes)
    for one in distinct:  # one, unless the rounds differ
        said = one.kind if one.kind == case.right else f"**{one.kind}**"
        print(f"| {case.title} | `{name}` | {one.made} | {one.left} | {seconds:.1f}{factor} | {said}{one.words} | "
              f"{'yes' if one.true else '**no**'} |", flush=True)


CHECK = {"_ansible_check_mode": True}
HELLO, POST = "testbed-hello", "testbed-post-fails"
CASES = [
    Case("nothing to do", "testbed-base", "ok"),
    Case("nothing to do, another snapshot is pending", "testbed-base", "ok", before=[HELLO]),
    Case("nothing to do, `latest`", "testbed-base", "ok", {"state": "latest"}),
    Case("check mode of 1", HELLO, "changed", CHECK),
    Case("install 1", HELLO, "changed"),
    Case("install 10", [f"testbed-many-{number:03}" for number in range(1, 11)], "changed"),
    Case("remove", HELLO, "changed", {"state": "absent"}, before=[HELLO]),
    Case("remove what is not there", HELLO, "ok", {"state": "absent"}),
    Case("patch that asks for a reboot", "testbed-2026-3", "changed", {"type": "patch"}, before=["testbed-config"],
         repository="updates"),
    Case("another repository is out of reach", HELLO, "changed", repository="unreachable"),
    Case("unknown name", "testbed-unknown", "failed"),
    Case("dependency that nobody has", "testbed-missing-dep", "failed"),
    Case("conflict", ["testbed-left", "testbed-right"], "failed"),
    Case("conflict, check mode", ["testbed-left", "testbed-right"], "failed", CHECK),
    Case("`%pre` fails", "testbed-pre-fails", "failed"),
    Case("`%pre` fails, another package is good", [HELLO, "testbed-pre-fails"], "failed"),
    Case("`%post` fails", POST, "failed"),
    Case("`%post` fails, `skip_post_errors`", POST, "changed", {"skip_post_errors": True}),
    Case("file of another package", "testbed-file-conflict", "failed", before=[HELLO]),
    Case("unsigned package", "testbed-unsigned", "failed", repository="unsigned"),
    Case("package signed with an unknown key", "testbed-wrong-signature", "failed", repository="wrongkey"),
    Case("tampered package", "testbed-tampered", "failed", repository="tampered"),
    Case("unsigned metadata", "testbed-unsigned-metadata", "failed", repository="unsigned-metadata"),
    Case("metadata signed with an unknown key", "testbed-unknown-key", "failed", repository="unknown-key"),
    Case("metadata signed with an expired key", "testbed-expired", "failed", before=[HELLO], repository="expired",
         prepare=trust_expired_key),
]


def main():
    if not shutil.which("transactional-update"):
        sys.exit("this guest has no transactional-update; lay a real one over it with TESTBED_OVERLAY")
    source = "" if sys.stdin.isatty() else sys.stdin.read()
    if "def transactional_updates" not in source:
        sys.exit("community.general.zypper is expected on stdin: plugins/modules/zypper.py of the collection "
                 "community.general, which is in the Python package 'ansible'")
    serve_journal()
    pathlib.Path(THEIRS).write_text(source, encoding="utf-8")
    print("| case | module | made | left | seconds | says | true |\n|---|---|---|---|---|---|---|", flush=True)
    for case in CASES:
        if not ONLY or any(words in case.title for words in ONLY):
            rounds = [(outcome(OURS, case), outcome(THEIRS, case)) for _round in range(ROUNDS)]
            ours, theirs = zip(*rounds)
            factor = statistics.median(one.seconds for one in theirs) / statistics.median(one.seconds for one in ours)
            row(case, "package", ours)
            row(case._replace(title=""), "zypper", theirs, f" ({factor:.1f} x)")


if __name__ == "__main__":
    main()
