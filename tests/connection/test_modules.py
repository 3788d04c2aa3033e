# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules of ansible.builtin work inside, and leave the running system as it was."""

from __future__ import annotations

import functools
import http.server
import io
import os
import socket
import subprocess
import tarfile
import threading
from pathlib import Path

import pytest
import yaml

# They only work on the controller
NOT_ON_THE_HOST = {"ansible.builtin.assert"}
# What inside and outside have in common: zypper, gpg, debconf and a login leave something there; and what pytest makes
SHARED = ["/var/lib/zypp", "/root/.gnupg", "/var/cache/debconf", "/var/log", "/tmp/pytest*"]
# What a module must leave in the snapshot: a file, and something that is in it
EFFECTS = {
    "assemble": ("usr/probe/assemble", "one\ntwo\ntemplate root\n"),
    "async_status": ("usr/probe/job", ""),
    "blockinfile": ("etc/hosts", "\n192.0.2.1 blockinfile\n"),
    "command": ("usr/probe/command", ""),
    "copy": ("usr/probe/copy", "one\ntwo\n"),
    "cron": ("etc/cron.d/probe", "#Ansible: probe\n5 * * * * root true\n"),
    "debconf": ("usr/probe/debconf.dat", "Value: answer\n"),
    "dpkg_selections": ("usr/probe/dpkg/status", "Status: hold ok installed\n"),
    "file": ("usr/probe/link", ""),
    "get_url": ("usr/probe/get_url", "download"),
    "group": ("etc/group", "\nprobe:x:4321:"),
    "hostname": ("etc/hostname", "inside\n"),
    "known_hosts": ("etc/ssh/ssh_known_hosts", "host.example ssh-ed25519 "),
    "lineinfile": ("etc/environment", "PROBE=line\n"),
    "raw": ("usr/probe/raw", "raw\n"),
    "replace": ("etc/hosts", "127.0.0.1 localhost replaced\n"),
    "script": ("usr/probe/script", "script"),
    "service": ("etc/rc3.d/S01probe-service", ""),
    "shell": ("usr/probe/shell", "typed\n"),
    "systemd_service": ("etc/systemd/system/multi-user.target.wants/probe.service", ""),
    "sysvinit": ("etc/rc3.d/S01probe-sysvinit", ""),
    "template": ("usr/probe/parts/2", "template root\n"),
    "unarchive": ("usr/probe/archived", "archived"),
    "uri": ("usr/probe/uri", "download"),
    "user": ("etc/passwd", "\nprobe:x:4321:4321:"),
    "yum_repository": ("etc/zypp/repos.d/probe.repo", "baseurl = http://127.0.0.1/probe\n"),
}


@pytest.fixture
def source(controller, host):
    """What is sent to the host."""
    source = controller.directory / "modules"
    source.mkdir()
    (source / "template.j2").write_text("template {{ inventory_hostname }}\n")
    (source / "script.py").write_text("import sys\nopen(sys.argv[1], 'w').write('script')\n")
    (source / "download").write_text("download")
    with tarfile.open(source / "archive.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("archived")
        member.size = len("archived")
        archive.addfile(member, io.BytesIO(b"archived"))
    return source


@pytest.fixture
def url(source):
    """The same over HTTP."""
    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_arguments):
            pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=source))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def running_system():
    """Every file of the running system with the time of its last change, but for what belongs to the snapshots."""
    places = ["/", "/etc", "/var", "/root", "/home", "/opt", "/srv", "/usr/local", "/tmp"]
    others = [word for path in SHARED for word in ("-o", "-path", path)]
    listed = subprocess.run(["find", *places, "-xdev", "(", "-path", "/.snapshots", *others, ")", "-prune",
                             "-o", "-type", "d", "-print", "-o", "-printf", "%p %C@\\n"],
                            capture_output=True, text=True, check=True)
    return set(listed.stdout.splitlines())


def test_modules_work_inside_and_nowhere_else(controller, host, source, url):
    tasks = yaml.safe_load(Path(__file__).with_name("modules.yml").read_text())[0]["tasks"]
    modules = {key for task in tasks for key in task if key.startswith("ansible.builtin.")} - NOT_ON_THE_HOST
    name, before = socket.gethostname(), running_system()

    controller.check("modules.yml", variables={"source": str(source), "url": url})

    assert socket.gethostname() == name
    changed = running_system() ^ before
    assert changed == set()
    root = host.snapshot()
    default = subprocess.run(["btrfs", "subvolume", "get-default", "/"], capture_output=True, text=True, check=True)
    assert default.stdout.endswith(f"/.snapshots/{root.parent.name}/snapshot\n")
    for module, (path, content) in EFFECTS.items():
        assert f"ansible.builtin.{module}" in modules
        assert os.path.lexists(root / path), module
        assert not content or content in (root / path).read_text(), module
    owned = (root / "usr/probe/owned").stat()
    assert (owned.st_uid, owned.st_gid, owned.st_mode & 0o7777) == (1000, 1234, 0o2640)
    assert [path.is_dir() for path in root.glob("usr/probe/tempfile.*")] == [True]
    keys = ["rpm", "-q", "gpg-pubkey"]
    assert subprocess.run(keys, check=False).returncode == 0
    assert subprocess.run([*keys, "--root", str(root)], check=False).returncode != 0, "rpm_key"
    assert (source / "fetched").read_text() == "raw\n"
    print(f"{len(modules)} modules")
    assert len(modules) >= 40
