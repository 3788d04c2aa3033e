# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tasks of all kinds work inside, and nowhere else."""

from __future__ import annotations

import filecmp
import io
import shutil
import tarfile

import pytest

ODD = "o d'd \"ü\n$x"
PROMPT = b"\n \nPassword: \n[sudo] password for worker: \n"
BINARY = bytes(range(256)) * 400
FILES = {"prompt": PROMPT, "binary": BINARY, "empty": b"", ODD: b"\r\n\0odd", "below/-it": b"below"}


@pytest.fixture
def source(controller):
    """What is sent to the host."""
    source = controller.directory / "source"
    if not source.exists():
        for name, data in FILES.items():
            path = source / "files" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        (source / "template.j2").write_text("{{ inventory_hostname }} ü\n")
        (source / "script.sh").write_text("#!/bin/sh\nid -un >\"$1\"\n")
        with tarfile.open(source / "archive.tar", "w") as archive:
            archive.addfile(tarfile.TarInfo("archived"), io.BytesIO())
    shutil.rmtree(source / "fetched", ignore_errors=True)
    (source / "fetched").mkdir()
    (source / "fetched").chmod(0o777)
    return source


def expect_battery(root, source, name):
    """What the battery leaves in the snapshot."""
    where = root / "usr/probe" / name

    def text(file):
        return (where / file).read_text()
    assert text("shell") == "it's \"ü\" $HOME\n"
    assert text("raw") == 'ü "/root"\n'
    assert text("bash") == "bash\n"
    assert text("content") == f"{name}\n"
    assert text("template") == f"{name} ü\nadded\n"
    assert text("script") == "root\n"
    assert text("su") == "su"
    assert {file: (where / "files" / file).read_bytes() for file in FILES} == FILES
    assert {file for file in ("command", "archived", "job", "background") if (where / file).exists()} == {
        "command", "archived", "job", "background"}
    fetched = source / "fetched" / name
    assert (fetched / "become").read_bytes() == (fetched / "login").read_bytes() == FILES[ODD]
    assert (fetched / "prompt").read_bytes() == PROMPT
    assert (fetched / "delegated").exists()


@pytest.mark.parametrize("connection, user, names", [
    ("ssh", "root", ["root", "root-files", "sudo", "password", "password-files", "su"]),
    ("local", "root", ["root-files"]),
    ("local", "admin", ["sudo"]),
    ("local", "worker", ["password-files", "su"]),
])
def test_tasks_of_all_kinds(controller, host, source, connection, user, names):
    controller.check("battery.yml", user=user,
                     variables={"wanted": ",".join(names), "plugin": connection, "source": str(source)})
    for name in names:
        expect_battery(host.snapshot(), source, name)


def test_a_file_of_100_mb(controller, host):
    size = 100 << 20
    sent = controller.directory / "sent"
    with sent.open("wb") as stream:
        for number in range(size // 4096):
            stream.write(number.to_bytes(4, "big") * 1024)
    for connection in ("ssh", "local"):
        received = controller.directory / f"received-{connection}"
        controller.check([controller.play(
            controller.transaction("open"),
            {"copy": {"src": str(sent), "dest": f"/usr/by-{connection}", "mode": "0644"}},
            {"fetch": {"src": f"/usr/by-{connection}", "dest": str(received), "flat": True}, "become": False},
            controller.transaction("closed"), connection=connection)])
        assert filecmp.cmp(sent, host.snapshot() / f"usr/by-{connection}", shallow=False)
        assert filecmp.cmp(sent, received, shallow=False)
        received.unlink()
    sent.unlink()


def test_who_logs_in_is_asked_once_if_it_is_not_configured(controller, host):
    config = controller.directory / "ssh_config"
    config.write_text("Host *\n User admin\n")
    task = {"raw": "id -un", "become": False, "register": "it", "failed_when": "it.stdout_lines[-1] != 'admin'"}
    output = controller.check(
        [controller.play(controller.transaction("open"), task, task, task,
                         vars={"ansible_user": None, "ansible_ssh_common_args": f"-F {config}"})],
        ANSIBLE_VERBOSITY="3")
    assert output.count("127.0.0.1 'id -un'") == 1


def test_sudo_through_a_login_shell(controller, host):
    """Such a shell expands what sudo passes to it, and joins its lines."""
    script = "for n in 1 2; do\n echo \"$n \\$n '$(id -un)'\"\ndone >/usr/raw-{{ inventory_hostname }}"
    controller.check([controller.play(
        dict(controller.transaction("open"), run_once=True), {"raw": script}, {"setup": {}},
        {"copy": {"content": "a\n$b", "dest": "/usr/copy-{{ inventory_hostname }}"}},
        {"fetch": {"src": "/usr/copy-{{ inventory_hostname }}", "dest": "/run/controller/login-shell", "flat": True}},
        hosts="sudo,password-files", vars={"ansible_become_flags": "-H -S -n -i"})])
    for name in ("sudo", "password-files"):
        assert (host.snapshot() / f"usr/raw-{name}").read_text() == "1 $n 'root'\n2 $n 'root'\n"
        assert (host.snapshot() / f"usr/copy-{name}").read_text() == "a\n$b"
