# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The roles that keep a host in order: snapshots, repositories, preflight, updates, and bootstrap before them."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORIES = Path("/etc/zypp/repos.d")
# Signed with a key that the guest does not trust
SIGNED = "dir:/opt/testbed/repos/unknown-key"
KEY = "/opt/testbed/repos/unknown-key/repodata/repomd.xml.key"
SERVICE = Path("/etc/zypp/services.d/openSUSE.service")
SETTINGS = Path("/etc/snapper/configs/root")


def play(role, tasks_from="main", **variables):
    role = f"microos.transactional.{role}"
    return {"hosts": "root", "gather_facts": False, "become": True, "tasks": [
        {"ansible.builtin.include_role": {"name": role, "tasks_from": tasks_from}, "vars": variables}]}


@pytest.fixture
def definitions():
    """Those of the guest, which are put back."""
    saved = {path: path.read_bytes() for path in REPOSITORIES.iterdir() if path.is_file()}
    yield REPOSITORIES
    for path in REPOSITORIES.iterdir():
        if path.is_file() and path not in saved:
            path.unlink()
    for path, content in saved.items():
        path.write_bytes(content)
    shutil.rmtree(SERVICE.parent, ignore_errors=True)


@pytest.fixture
def settings():
    saved = SETTINGS.read_bytes()
    yield SETTINGS
    SETTINGS.write_bytes(saved)


def test_snapshots(controller, host, settings):
    wanted = {"snapshots_number_limit": "7", "snapshots_number_min_age": 60}
    out = controller.check([play("snapshots", **wanted)], arguments=("--check", "--diff"))
    assert "changed=1" in out and "7" in out
    assert 'NUMBER_LIMIT="7"' not in settings.read_text()
    controller.check([play("snapshots", **wanted)])
    assert 'NUMBER_LIMIT="7"\n' in settings.read_text() and 'NUMBER_MIN_AGE="60"\n' in settings.read_text()
    assert "changed=0" in controller.check([play("snapshots", **wanted)])
    returncode, out = controller.run([play("snapshots", snapshots_number_limit="many")])
    assert returncode == 2 and "number_limit" in out
    assert host.snapshots() == [1]


def test_repositories(controller, host, definitions):
    strict = {"repositories_insecure": "fail", "repositories_accepted": ["testbed-main"]}
    tools = {"name": "tools", "baseurl": ["https://repos.example.com/tools"], "priority": 80}
    insecure = {"name": "plain", "baseurl": ["http://repos.example.com/plain"], "allow_insecure": True}
    controller.check([play("repositories", repositories_list=[tools])])
    text = (definitions / "tools.repo").read_text()
    assert "baseurl=https://repos.example.com/tools\n" in text and "priority=80\n" in text
    assert "changed=0" in controller.check([play("repositories", repositories_list=[tools])])

    returncode, out = controller.run([play("repositories", repositories_list=[insecure], **strict)])
    assert returncode == 2 and "plain: baseurl: 'http' is not HTTPS; these repositories" in " ".join(out.split())
    strict["repositories_accepted"].append("plain")
    controller.check([play("repositories", **strict)])
    out = controller.check([play("repositories")])
    assert "plain: baseurl" in out and "testbed-main: pkg_gpgcheck" in out

    gone = [{"name": name, "state": "absent"} for name in ("tools", "plain")]
    controller.check([play("repositories", repositories_list=gone)])
    assert not (definitions / "tools.repo").exists() and not (definitions / "plain.repo").exists()
    assert host.snapshots() == [1]

    returncode, out = controller.run([play("repositories", repositories_insecure="maybe", repositories_list=[tools])])
    assert returncode == 2 and "repositories_insecure" in out and not (definitions / "tools.repo").exists()


def test_a_password_is_not_printed(controller, host, definitions):
    secret = {"name": "secret", "baseurl": ["https://repos.example.com/tools"], "username": "me", "password": "geheim"}
    out = controller.check([play("repositories", repositories_list=[secret])], arguments=("-v",))
    assert "geheim" not in out
    refused = dict(secret, baseurl=["http://repos.example.com/tools"])
    returncode, out = controller.run([play("repositories", repositories_list=[refused])])
    assert returncode == 2 and "geheim" not in out
    # without one, the reason is told
    returncode, out = controller.run([play("repositories", repositories_list=[
        {"name": "plain", "baseurl": ["http://repos.example.com/plain"]}])])
    assert returncode == 2 and "is not HTTPS" in out
    controller.check([play("repositories", repositories_list=[{"name": "secret", "state": "absent"}])])


def test_the_service_of_the_distribution_is_replaced(controller, host, definitions):
    SERVICE.parent.mkdir()
    SERVICE.write_text("[openSUSE]\nname=openSUSE\nenabled=1\nautorefresh=1\nurl=/usr/share/zypp/local/service/openSUSE\n"
                       "type=ris\n")
    brought = definitions / "openSUSE:repo-oss.repo"
    brought.write_text("[openSUSE:repo-oss]\nname=oss\nenabled=1\nautorefresh=1\nbaseurl=http://cdn.example.com/oss\n"
                       "service=openSUSE\n")
    # a key of the test's own: the real one is on the network
    wanted = play("repositories", repositories_distribution=True, repositories_distribution_keys=[])
    controller.check([wanted])
    assert "enabled=0\n" in SERVICE.read_text() and "enabled=0\n" in brought.read_text()
    assert "baseurl=https://download.opensuse.org/tumbleweed/repo/oss\n" in (definitions / "repo-oss.repo").read_text()
    assert "changed=0" in controller.check([wanted])
    # a string, as of "-e"
    assert "changed=0" in controller.check([play("repositories", repositories_distribution="false")])

    back = [{"name": name, "state": "absent"} for name in ("repo-oss", "repo-non-oss", "update-tumbleweed")]
    back += [{"name": "openSUSE", "type": "ris", "enabled": True, "allow_insecure": True},
             {"name": "openSUSE:repo-oss", "enabled": True, "allow_insecure": True}]
    controller.check([play("repositories", repositories_list=back)])
    assert "enabled=1\n" in SERVICE.read_text() and "enabled=1\n" in brought.read_text()
    assert not (definitions / "repo-oss.repo").exists()
    out = controller.check([play("repositories", repositories_distribution="false")])
    assert "changed=0" in out and "openSUSE:repo-oss: baseurl: 'http' is not HTTPS" in " ".join(out.split())


def test_a_key_and_its_repository_in_a_transaction(controller, host, definitions):
    listed = subprocess.run(["gpg", "--show-keys", "--with-colons", KEY], capture_output=True, text=True, check=True)
    fingerprint = next(line.split(":")[9] for line in listed.stdout.splitlines() if line.startswith("fpr"))
    variables = {"repositories_keys": [{"fingerprint": fingerprint, "file": KEY}],
                 "repositories_list": [{"name": "new", "baseurl": [SIGNED], "refresh": True}]}
    wanted = play("transaction", transaction_roles=["microos.transactional.repositories"], **variables)
    controller.check([wanted])
    assert host.snapshots() == [1, 2]
    assert (host.snapshot() / "etc/zypp/repos.d/new.repo").exists() and not (definitions / "new.repo").exists()
    keys = subprocess.run(["rpm", "--root", host.snapshot(), "-q", "gpg-pubkey"], stdout=subprocess.PIPE, check=True)
    assert len(keys.stdout.split()) == 2
    assert "changed=0" in controller.check([wanted])
    assert host.snapshots() == [1, 2]


def test_preflight(controller, host):
    fit = {f"preflight_{name}": 1 for name in ("ram_minimum", "root_minimum", "var_minimum", "root_free")}
    out = controller.check([play("preflight", **fit)])
    assert "warn: repositories: testbed-main" in out and "changed=0" in out
    unfit = dict(fit, preflight_root_minimum=10 ** 9)
    returncode, out = controller.run([play("preflight", **unfit)])
    assert returncode == 2 and "fail: / with /var: " in out
    controller.check([play("preflight", preflight_mode="warn", **unfit)])
    returncode, out = controller.run([play("preflight", preflight_mode="maybe")])
    assert returncode == 2 and "preflight_mode" in out
    # one after the other
    controller.check([dict(play("preflight", **fit), hosts="root:root-files", serial=1)])
    # of the host itself, where the transaction is seen
    inside = play("transaction", transaction_roles=["microos.transactional.preflight"], **fit)
    returncode, out = controller.run([inside])
    assert returncode == 2 and "is open in snapshot 2" in out
    assert host.snapshots() == [1]


@pytest.fixture
def a_real_host():
    """A role of the test's that gives the snapshot what the guest lacks."""
    files = {"/usr/share/rebootmgr/rebootmgr.conf": "[rebootmgr]\nstrategy=best-effort\n",
             "/usr/lib/systemd/system/transactional-update.timer":
             "[Timer]\nOnCalendar=daily\n[Install]\nWantedBy=timers.target\n"}
    tasks = [{"ansible.builtin.file": {"path": "/usr/share/rebootmgr", "state": "directory", "mode": "0755"}}]
    tasks += [{"ansible.builtin.copy": {"content": text, "dest": path, "mode": "0644"}} for path, text in files.items()]
    path = Path("/run/controller/roles/real/tasks/main.yml")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(tasks))
    yield "real"
    shutil.rmtree("/run/controller/roles")


def test_updates_inside(controller, host, a_real_host):
    variables = {"updates_on_calendar": "Sun 02:00", "updates_method": "dup", "updates_reboot_method": "rebootmgr",
                 "updates_allow_soft_reboot": True, "updates_strategy": "maint-window", "updates_window_start": "03:30"}
    wanted = play("transaction", transaction_roles=[a_real_host, "microos.transactional.updates"], **variables)
    controller.check([wanted])
    assert host.snapshots() == [1, 2]
    etc = host.snapshot() / "etc"
    assert (etc / "transactional-update.conf").read_text().splitlines() == [
        "# BEGIN Ansible: role updates", "UPDATE_METHOD=dup", "REBOOT_METHOD=rebootmgr", "ZYPPER_AUTO_IMPORT_KEYS=0",
        "# END Ansible: role updates"]
    assert (etc / "tukit.conf.d/50-ansible-updates.conf").read_text().splitlines()[1:] == [
        "REBOOT_ALLOW_SOFT_REBOOT=true", "REBOOT_ALLOW_KEXEC=false"]
    timer = etc / "systemd/system/transactional-update.timer.d/50-ansible-updates.conf"
    assert timer.read_text().splitlines()[1:] == ["[Timer]", "OnCalendar=", "OnCalendar=Sun 02:00"]
    window = etc / "rebootmgr/rebootmgr.conf.d/60-ansible-updates.conf"
    assert window.read_text().splitlines()[1:] == [
        "[rebootmgr]", "strategy=maint-window", "window-start=03:30", "window-duration=1h30m"]
    assert (etc / "systemd/system/timers.target.wants/transactional-update.timer").is_symlink()
    assert "changed=0" in controller.check([wanted])
    assert host.snapshots() == [1, 2]

    wanted["tasks"][0]["vars"]["updates_state"] = "absent"
    controller.check([wanted])
    etc = host.snapshot() / "etc"
    assert not list(etc.rglob("*0-ansible-updates.conf")) and not (etc / "transactional-update.conf").read_text()


@pytest.fixture
def own_settings():
    yield
    for path in ("transactional-update.conf", "rebootmgr.conf", "tukit.conf.d/50-ansible-updates.conf",
                 "systemd/system/transactional-update.timer.d/50-ansible-updates.conf"):
        Path("/etc", path).unlink(missing_ok=True)


def test_updates_of_a_host_with_an_older_rebootmgr(controller, host, own_settings):
    path = Path("/etc/rebootmgr.conf")
    path.write_text("[rebootmgr]\nwindow-start=\nstrategy=best-effort\n")
    wanted = play("updates", updates_strategy="instantly", updates_window_start="04:00")
    out = controller.check([wanted], arguments=("--check",))
    assert "changed=" in out and "04:00" not in path.read_text()
    controller.check([wanted])
    assert sorted(path.read_text().splitlines()) == [
        "[rebootmgr]", "strategy=instantly", "window-duration=1h30m", "window-start=04:00"]
    assert host.snapshots() == [1]
    assert "changed=0" in controller.check([wanted])
    returncode, out = controller.run([play("updates", updates_strategy="never")])
    assert returncode == 2 and "updates_strategy" in out

    controller.check([play("updates", updates_state="absent")])
    assert sorted(path.read_text().splitlines()) == [
        "[rebootmgr]", "strategy=best-effort", "window-duration=1h30m", "window-start=03:30"]
    assert "changed=0" in controller.check([play("updates", updates_state="absent")])
    path.unlink()
    controller.check([play("updates", updates_state="absent")])
    assert not path.exists()


@pytest.mark.parametrize("name", ["updates_on_calendar", "updates_window_start"])
def test_updates_at_a_time_that_is_none(controller, host, own_settings, name):
    returncode, out = controller.run([play("updates", updates_method="dup", **{name: "Sundayy"})])
    assert returncode == 2 and f"{name}: 'Sundayy' is no calendar event of systemd" in " ".join(out.split())
    assert not Path("/etc/transactional-update.conf").exists()


def test_updates_with_booleans_as_text(controller, host, own_settings):
    wanted = play("updates", updates_auto_import_keys="true", updates_allow_soft_reboot="yes",
                  updates_allow_kexec="false")
    controller.check([wanted])
    assert "ZYPPER_AUTO_IMPORT_KEYS=1\n" in Path("/etc/transactional-update.conf").read_text()
    assert Path("/etc/tukit.conf.d/50-ansible-updates.conf").read_text().splitlines()[1:] == [
        "REBOOT_ALLOW_SOFT_REBOOT=true", "REBOOT_ALLOW_KEXEC=false"]


# Stands in for systemctl, systemd-run and rebootmgrctl 3.3: an active unit is a file, a timer holds what it will run,
# and what the daemon of rebootmgr remembers is gone when it stops. The update ends when somebody asks whether it has.
STANDS_IN = """#!/bin/sh
cd {state} || exit
name=${{0##*/}} verb=$1
[ "$name" = systemd-run ] || shift
forget() {{ rm -f requested off; }}
case "$name $verb" in
"systemctl list-units")
    cd active
    case $* in *--full) set -- '*' ;; esac
    for unit in $*; do [ ! -e "$unit" ] || echo "$unit loaded active running"; done ;;
"systemctl is-active")
    if [ -e active/rebootmgr.service ]; then echo reboot >requested; else : >rebooted; fi
    echo inactive; exit 3 ;;
"systemctl stop")
    for unit; do rm "active/$unit"; [ "$unit" != rebootmgr.service ] || forget; done ;;
"systemctl start")
    for unit; do
        timer=active/${{unit%.service}}.timer
        if [ -s "$timer" ]; then sh -c "$(cat "$timer")"; else : >"active/$unit"; fi
    done ;;
"systemctl try-restart")
    [ -e "active/$1" ] || exit 5
    [ "$1" != rebootmgr.service ] || forget ;;
"systemctl daemon-reload") ;;
"systemd-run "*)
    for last; do case $last in --unit=*) unit=${{last#--unit=}} ;; esac; done
    echo "$last" >"active/$unit.timer" ;;
"rebootmgrctl status")
    [ -e active/rebootmgr.service ] || exit 1
    case $(cat requested 2>/dev/null) in
    reboot) said="Reboot requested, waiting for maintenance window" ;;
    soft-reboot) said="Soft-reboot requested, waiting for maintenance window" ;;
    *) said="Reboot not requested" ;;
    esac
    [ ! -e off ] || said="$said (reboots temporarily disabled)"
    echo "Status: $said" ;;
"rebootmgrctl set-strategy") : >off ;;
rebootmgrctl*) [ ! -e requested ] && echo "$verb" >requested ;;
*) exit 9 ;;
esac
"""
RUNTIME = Path("/run/systemd/system")


@pytest.fixture
def systemd(tmp_path):
    """What is told of the units, and a play that uses them."""
    program = tmp_path / "systemctl"
    program.write_text(STANDS_IN.format(state=tmp_path))
    program.chmod(0o755)
    for name in ("systemd-run", "rebootmgrctl"):
        (tmp_path / name).symlink_to(program)
    (tmp_path / "active").mkdir()
    RUNTIME.mkdir(parents=True)
    yield tmp_path
    RUNTIME.rmdir()


def units(systemd):
    return sorted(path.name for path in (systemd / "active").iterdir())


def with_units(systemd, wanted):
    return dict(wanted, environment={"PATH": f"{systemd}:/usr/sbin:/usr/bin:/sbin:/bin"})


@pytest.mark.parametrize("off", [False, True])
def test_a_pause_of_updates(controller, host, systemd, off):
    before = ["rebootmgr.service", "snapper-cleanup.timer", "transactional-update.timer"]
    for name in before:
        (systemd / "active" / name).touch()
    if off:
        (systemd / "off").touch()
    pause = with_units(systemd, play("updates", tasks_from="pause"))
    controller.check([pause])
    paused = ["microos-updates-resume-reboots.timer", "microos-updates-resume.timer"]
    assert units(systemd) == paused and not (systemd / "rebooted").exists()
    resume = with_units(systemd, play("updates", tasks_from="resume"))
    controller.check([resume])
    # the update that was at work has requested it
    assert units(systemd) == before and (systemd / "requested").read_text() == "reboot\n"
    assert (systemd / "off").exists() == off
    assert "changed=0" in controller.check([resume])


def test_a_pause_of_nothing(controller, host, systemd):
    (systemd / "active/sshd.service").touch()
    out = controller.check([with_units(systemd, play("updates", tasks_from="pause", updates_pause_units=[]))])
    assert "changed=0" in out and units(systemd) == ["sshd.service"]


def test_a_requested_reboot_outlives_another_window(controller, host, systemd, own_settings):
    (systemd / "active/rebootmgr.service").touch()
    (systemd / "requested").write_text("soft-reboot\n")
    controller.check([with_units(systemd, play("updates", updates_window_start="04:00"))])
    assert (systemd / "requested").read_text() == "soft-reboot\n"
    assert "window-start=04:00\n" in Path("/etc/rebootmgr.conf").read_text()


@pytest.mark.parametrize("role, tasks_from", [("updates", "pause"), ("updates", "resume"), ("bootstrap", "main")])
def test_not_inside(controller, host, role, tasks_from):
    tasks = Path("/run/controller/inside.yml")
    tasks.write_text(json.dumps(play(role, tasks_from=tasks_from)["tasks"]))
    returncode, out = controller.run([play("transaction", transaction_tasks=["inside.yml"])])
    tasks.unlink()
    assert returncode == 2 and "a transaction is open here" in " ".join(out.split())
    assert host.snapshots() == [1]


def test_bootstrap_does_not_boot_if_it_shall_not(controller, host):
    wanted = {"bootstrap_packages": ["testbed-hello"]}
    for reboot in (True, "false"):
        out = controller.check([play("bootstrap", bootstrap_reboot=reboot, **wanted)], arguments=("--check",))
        assert "would install testbed-hello in a new snapshot" in out
        assert ("and boot into it" in out) == (reboot is True)
