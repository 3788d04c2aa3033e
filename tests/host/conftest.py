# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A transactional host in its first snapshot for each test, and back to it afterwards. See ``run`` beside this file."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ansible_collections.microos.transactional.tests.host import forked

HAS_TUKIT = shutil.which("tukit", path="/usr/sbin") is not None
REPOSITORIES = "/etc/zypp/repos.d"
MODULES = "ansible_collections.microos.transactional.plugins.modules."
RECORDS = "/run/microos-transactional"
RUN = {"key": "0123456789abcdef", "identity": {"machine": "here", "pid": 1, "started": "1"}}
OTHER = {"key": "fedcba9876543210", "identity": {"machine": "there", "pid": 2, "started": "2"}}
RUN_MODULE = """
import json, runpy, sys
from ansible.module_utils.testing import patch_module_args
with patch_module_args(json.load(sys.stdin)):
    runpy.run_module(sys.argv[1], run_name="__main__")
"""

SPEC = """\
Name: testbed-{name}
Version: {version}
Release: 1
Summary: Package of one test
License: GPL-3.0-or-later
BuildArch: noarch
AutoReqProv: no
{tags}

%description
Package of one test.

%install
mkdir -p %{{buildroot}}/usr/share/testbed
echo %{{version}} > %{{buildroot}}/usr/share/testbed/%{{name}}

{scriptlets}

%files
/usr/share/testbed/%{{name}}
"""


def pytest_addoption(parser):
    parser.addoption("--both-engines", action="store_true", help="also run tests marked once on the tukit guest")


def pytest_configure(config):
    forked.start()
    config.addinivalue_line("markers", "tukit: needs tukit on the guest")
    config.addinivalue_line("markers", "snapper: needs a guest without tukit")
    config.addinivalue_line("markers", "once: has little to do with the engine, so that the snapper guest is enough")


def pytest_collection_modifyitems(config, items):
    """A guest has one engine; the tests of the other one run on the other guest."""
    others = ["snapper" if HAS_TUKIT else "tukit"]
    if HAS_TUKIT and not config.getoption("--both-engines"):
        others.append("once")
    elsewhere = [item for item in items if any(item.get_closest_marker(other) for other in others)]
    if elsewhere:
        config.hook.pytest_deselected(items=elsewhere)
        items[:] = [item for item in items if item not in elsewhere]
        print(f"{len(elsewhere)} tests run on the {'snapper' if HAS_TUKIT else 'tukit'} guest instead", file=sys.stderr)


class Host:
    """What the tests ask and do, without any code of the collection but its modules."""

    engine = "tukit" if HAS_TUKIT else "snapper"

    def __init__(self, directory):
        self._directory = directory

    def run(self, *argv, **kwargs):
        return subprocess.run(argv, capture_output=True, text=True, check=False, **kwargs)

    def check(self, *argv):
        done = self.run(*argv)
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def start_module(self, module, /, _check=False, _prefix=(), **arguments):
        process = subprocess.Popen([*_prefix, sys.executable, "-c", RUN_MODULE, MODULES + module], text=True,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdin.write(json.dumps(dict(arguments, _ansible_check_mode=_check, _ansible_diff=True)))
        process.stdin.close()
        process.stdin = None
        return process

    def module(self, module, /, **arguments):
        """Run a module of the collection; its result. ``_check`` for check mode, ``_prefix`` for a wrapper command."""
        if "_prefix" in arguments:
            out, err = self.start_module(module, **arguments).communicate()
        else:
            told = dict(arguments, _ansible_check_mode=arguments.pop("_check", False), _ansible_diff=True)
            out, err = forked.run(module, told, self._directory)
        assert out, err
        return json.loads(out)

    def snapper(self, *arguments):
        return self.check("snapper", "--no-dbus", *arguments)

    def numbers(self):
        return [int(line) for line in self.snapper("--csvout", "list", "--columns", "number").splitlines()[2:]]

    def userdata(self, number):
        listed = self.snapper("--jsonout", "list", "--columns", "number,userdata")
        return next(row["userdata"] or {} for row in json.loads(listed)["root"] if row["number"] == number)

    def default(self):
        return int(self.check("btrfs", "subvolume", "get-default", "/").split(".snapshots/")[1].split("/")[0])

    def packages(self, number=None):
        root = f"/.snapshots/{number}/snapshot" if number else "/"
        return set(self.check("rpm", "--root", root, "-qa", "--qf", "%{NAME}-%{VERSION}\n", "testbed-*").split())

    def enable(self, alias, snapshot=None):
        """Enable a repository, in the running system or in the /etc of a closed snapshot."""
        path = (f"/.snapshots/{snapshot}/snapshot" if snapshot else "") + f"{REPOSITORIES}/{alias}.repo"
        with open(path, encoding="utf-8") as stream:
            text = stream.read()
        assert "enabled=0" in text
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(text.replace("enabled=0", "enabled=1"))

    def state(self):
        """Everything that a transaction that left no trace must not have changed."""
        return {
            "default": self.default(),
            "snapshots": self.snapper("--csvout", "list"),
            "directories": sorted(os.listdir("/.snapshots")),
            "subvolumes": sorted(line.split(" path ")[1] for line in
                                 self.check("btrfs", "subvolume", "list", "/").splitlines()),
            "mounts": self.check("findmnt", "--list", "--noheadings", "--output", "TARGET,SOURCE"),
            "tmp": sorted(name for name in os.listdir("/tmp") if not name.startswith("pytest")),
        }

    def wait_for(self, condition, seconds=30):
        deadline = time.monotonic() + seconds
        while not (met := condition()):
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.01)
        return met


class Run:
    """A run of Ansible on the host: what its action plugin asks of the module, and what its connection does."""

    def __init__(self, host, run):
        self.host = host
        self.run = run

    def __call__(self, state, /, **arguments):
        result = self.host.module("transaction", state=state, _run=self.run, **arguments)
        warnings = [warning["event"]["msg"] for warning in result.get("warnings", [])]
        return dict({"changed": None}, **dict(result, warnings=warnings))

    @staticmethod
    def read(process):
        """The result of a module that was started."""
        out, err = process.communicate(timeout=120)
        assert out, err
        return dict({"changed": None}, **json.loads(out))

    def info(self):
        return self.host.module("transaction_info", _run=self.run)["transaction"]

    def open(self, **arguments):
        told = {"description": "play 'tests'", "provenance": {"user": "op", "controller": "ctl"}}
        return self("open", **dict(told, **arguments))

    def enter(self, script, **kwargs):
        with open(f"{RECORDS}/{self.run['key']}", encoding="utf-8") as stream:
            pid = stream.readline().split()[0]
        return subprocess.run(["nsenter", "--target", pid, "--mount", "--root", "--wd", "sh", "-c", script],
                              capture_output=True, text=True, check=False, **kwargs)

    def pid(self):
        with open(f"{RECORDS}/{self.run['key']}", encoding="utf-8") as stream:
            return int(stream.readline().split()[0])


@pytest.fixture
def run(host):
    """A run of Ansible. What it leaves open, and what ``other`` leaves, is aborted."""
    run = Run(host, RUN)
    yield run
    for one in run, Run(host, OTHER):
        state = one("aborted", join=True)
        assert not state.get("failed"), state


@pytest.fixture
def other(host):
    """Another run."""
    return Run(host, OTHER)


@pytest.fixture
def host(tmp_path_factory):
    """The host. A test that leaves a mount, a lock or a process in a snapshot fails."""
    host = Host(tmp_path_factory.mktemp("module"))
    saved = tmp_path_factory.mktemp("etc") / "repos.d"
    shutil.copytree(REPOSITORIES, saved)
    mounts = host.state()["mounts"]
    yield host
    shutil.rmtree(REPOSITORIES)
    shutil.copytree(saved, REPOSITORIES)
    left = host.state()["mounts"]
    host.snapper("modify", "--default", "1")
    for number in reversed(host.numbers()):
        if number != 1:
            host.snapper("delete", str(number))
    assert host.numbers() == [1]
    assert left == mounts, "the test left a mount behind"


@pytest.fixture(scope="session")
def certificate():
    """A throw-away one of localhost, with its key."""
    home = Path("/run/certificate")
    home.mkdir(mode=0o700)
    (home / "gpg-agent.conf").write_text("allow-loopback-pinentry\n")
    (home / "wanted").write_text("Key-Type: RSA\nKey-Length: 2048\nKey-Usage: sign, cert\nSerial: random\n"
                                 "Name-DN: CN=localhost\nName-DNS: localhost\n")

    def gpgsm(*arguments):
        subprocess.run(["gpgsm", "--homedir", home, "--batch", "--pinentry-mode", "loopback", "--passphrase-fd", "0",
                        "--armor", *arguments], check=True, capture_output=True, stdin=subprocess.DEVNULL)

    gpgsm("--output", home / "certificate", "--gen-key", home / "wanted")
    gpgsm("--import", home / "certificate")
    gpgsm("--output", home / "key", "--export-secret-key-raw", "localhost")
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True)
    yield home
    shutil.rmtree(home)


@pytest.fixture
def authority(certificate):
    """The host trusts the certificate."""
    path = Path("/etc/ssl/certs/ca-certificates.crt")
    assert not path.parent.exists()
    path.parent.mkdir(parents=True)
    shutil.copy(certificate / "certificate", path)
    yield
    shutil.rmtree(path.parent)


@pytest.fixture(scope="session")
def build_rpm(tmp_path_factory):
    """Make RPM files without a signature. Keys of ``scriptlets`` are what comes behind the ``%``: ``post -p <lua>``."""
    def build(name, scriptlets=None, version="1.0", tags=""):
        directory = tmp_path_factory.mktemp("rpms")
        bodies = "\n".join(f"%{kind}\n{body}\n" for kind, body in (scriptlets or {}).items())
        spec = directory / "spec"
        spec.write_text(SPEC.format(name=name, version=version, tags=tags, scriptlets=bodies), encoding="utf-8")
        defined = {"_topdir": f"{directory}/build", "_rpmdir": directory, "_dbpath": f"{directory}/db",
                   "_tmppath": directory, "_buildhost": "testbed", "__os_install_post": "%{nil}"}
        done = subprocess.run(["rpmbuild", "-bb", "--quiet", "--nodeps", spec, *(
            word for item in defined.items() for word in ("--define", f"{item[0]} {item[1]}"))],
            capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return str(directory / "noarch" / f"testbed-{name}-{version}-1.noarch.rpm")
    return build


@pytest.fixture
def as_before(host):
    """What else zypper keeps is as it was before; ``host`` takes care of repos.d only."""
    yield
    for place in ("/etc/zypp/credentials.d", "/etc/zypp/services.d"):
        shutil.rmtree(place, ignore_errors=True)
    for place in Path("/var/cache/zypp").glob("*/new*"):
        shutil.rmtree(place)


@pytest.fixture
def inside(host):
    """What enters an open transaction, and the modules where they are seen in it."""
    place = Path("/opt/inside")
    left_out = shutil.ignore_patterns(".cache", ".git", "tests")
    for path in os.environ["PYTHONPATH"].split(":"):
        shutil.copytree(path, place, dirs_exist_ok=True, ignore=left_out)
    run = {"key": "0123456789abcdef", "identity": {"machine": "here", "pid": 1, "started": "1"}}
    assert host.module("transaction", state="open", _run=run)["snapshot"] == 2
    pid = Path(f"/run/microos-transactional/{run['key']}").read_text().split()[0]
    yield ["nsenter", "--target", pid, "--mount", "--root", "--wd", "env", f"PYTHONPATH={place}"]
    closed = host.module("transaction", state="closed", _run=run)
    shutil.rmtree(place)
    assert closed.get("changed"), closed


class Owner:
    """Somebody with secret keys: they sign, and publish what they like."""

    def __init__(self, home, faked=None):
        self.home = home
        self._faked = ["--faked-system-time", faked + "!"] if faked else []
        home.mkdir(mode=0o700)

    def gpg(self, *arguments, data=None):
        argv = ["gpg", "--homedir", str(self.home), "--batch", "--pinentry-mode", "loopback", "--passphrase", "",
                *self._faked, *arguments]
        done = subprocess.run(argv, input=data, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def listed(self, name, record, secret=False):
        what = "--list-secret-keys" if secret else "--list-keys"
        told = self.gpg(what, "--with-colons", "--with-keygrip", name).decode()
        return [line.split(":")[9] for line in told.splitlines() if line.startswith(record)]

    def make(self, name, algorithm="ed25519", usage="sign", expires="never"):
        self.gpg("--quick-generate-key", name, algorithm, usage, expires)
        return self.listed(name, "fpr")[0]

    def add_subkey(self, fpr, expires="never"):
        self.gpg("--quick-add-key", fpr, "ed25519", "sign", expires)

    def claim(self, mine, others_keygrip):
        """Make somebody's key a subkey, for encryption: that takes no consent of its owner."""
        done = subprocess.run(
            ["gpg", "--homedir", str(self.home), "--pinentry-mode", "loopback", "--passphrase", "", "--expert",
             "--no-tty", *self._faked, "--command-fd", "0", "--status-fd", "2", "--edit-key", mine],
            input=f"addkey\n13\n{others_keygrip}\nS\nQ\n0\nsave\n", text=True, capture_output=True, check=False)
        assert "KEY_CREATED S" in done.stderr, done.stderr

    def public(self, name, armor=True):
        return self.gpg(*(["--armor"] if armor else []), "--export", name)

    def revocation(self, fpr):
        text = (self.home / "openpgp-revocs.d" / f"{fpr}.rev").read_text()
        return text.replace(":-----BEGIN", "-----BEGIN").encode()


@pytest.fixture
def owners(tmp_path):
    """Makes people with keys."""
    made = []

    def new(faked=None):
        made.append(Owner(tmp_path / f"gnupg{len(made)}", faked))
        return made[-1]

    yield new
    for owner in made:
        subprocess.run(["gpgconf", "--homedir", owner.home, "--kill", "all"], check=True)


@pytest.fixture
def place():
    """A directory for a repository of somebody who has keys."""
    place = Path("/opt/testbed/by-owner")
    yield place
    shutil.rmtree(place, ignore_errors=True)
