# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which way brings a snapshot into effect, and how the root of a soft reboot is put together."""

from __future__ import annotations

import types

import pytest

from ansible_collections.microos.transactional.plugins.module_utils import _activation, _kexec, _nextroot
from ansible_collections.microos.transactional.plugins.module_utils._activation import APPLY, KEXEC, REBOOT, SOFT_REBOOT
from ansible_collections.microos.transactional.plugins.module_utils._difference import ADDED, MODIFIED, REMOVED
from ansible_collections.microos.transactional.plugins.module_utils._errors import Interrupted, TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._tools import (
    boot_entries,
    command,
    mounts,
    rebootmgr,
    systemd,
    transactional_update,
)


def change(level=None, boot=(), hints=(), userspace=()):
    return _activation.Change(level, list(boot), list(hints), list(userspace))


@pytest.mark.parametrize("what, way, why", [
    (change(), APPLY, "files were added"),
    (change(level="none"), APPLY, "files were added"),
    (change(userspace=["/usr/bin/a"]), SOFT_REBOOT, "would not notice /usr/bin/a"),
    (change(level="none", userspace=["/usr/bin/a"]), SOFT_REBOOT, "would not notice"),
    (change(level="soft-reboot"), SOFT_REBOOT, "/run/reboot-needed asks for it"),
    (change(boot=["/boot/initrd"], userspace=["/usr/bin/a"]), REBOOT, "only a boot brings in /boot/initrd"),
    (change(level="soft-reboot", boot=["/boot/initrd"]), REBOOT, "/boot/initrd"),
    (change(level="soft-reboot", hints=["glibc"]), REBOOT, "packages ask for it: glibc"),
    (change(level="reboot"), REBOOT, "asks for it ('reboot')"),
    (change(level="kexec"), KEXEC, "asks for it ('kexec')"),
    (change(level="kexec", boot=["/boot/initrd"]), KEXEC, "asks for it"),
    (change(level="kexec", hints=["grub2"]), REBOOT, "packages ask for it: grub2"),
    (change(level=""), REBOOT, "/run/reboot-needed asks for it"),  # libzypp's file is empty
    (change(level="something new"), REBOOT, "asks for it ('something new')"),
    (change(boot=["a", "b", "c", "d", "e"]), REBOOT, "a, b, c and 2 more"),
])
def test_what_a_change_needs(what, way, why):
    assert _activation.need(what)[0] == way
    assert why in _activation.need(what)[1]


@pytest.mark.parametrize("setting, rebootmgr, method", [
    ("auto", True, "rebootmgr"), ("auto", False, "auto"), ("systemd", True, "auto"), ("kexec", False, "kexec"),
    ("rebootmgr", False, "rebootmgr"), ("kured", False, "kured"), ("none", True, "none"),
])
def test_what_the_host_itself_would_do(setting, rebootmgr, method):
    assert _activation.of_host(setting, rebootmgr) == method


def test_a_setting_that_nobody_knows():
    with pytest.raises(TransactionalError, match="REBOOT_METHOD=magic"):
        _activation.of_host("magic", False)


@pytest.mark.parametrize("said, requested, when", [  # rebootmgr 3.3, then 2.6
    ("The reboot got scheduled for Tue 2026-11-24 03:41:07 UTC\nStatus: Reboot requested\n", True,
     "Tue 2026-11-24 03:41:07 UTC"),
    ("A reboot is already scheduled for Tue 2026-11-24 03:41:07 UTC, ignoring new request\nStatus: Reboot requested\n",
     True, "Tue 2026-11-24 03:41:07 UTC"),
    ("Status: Reboot requested, waiting for maintenance window\n", True, None),
    ("Status: Reboot not requested\n", False, None),
    ("Status: Reboot not requested (reboots temporarily disabled)\n", False, None),
    ("", False, None),
])
def test_what_rebootmgr_says(said, requested, when):
    assert rebootmgr.is_requested(said) == requested
    assert rebootmgr.parse_time(said) == when


def test_the_kernel_of_a_boot_entry():
    text = ("title x\nlinux /m/6.12/linux\ninitrd /m/6.12/initrd\noptions root=UUID=1 quiet\n"
            "options rootflags=subvol=@/.snapshots/2/snapshot\n")
    kernel = _kexec.parse("/boot/efi/loader/entries/m-2+3.conf", text)
    assert kernel == ("/boot/efi/m/6.12/linux", ["/boot/efi/m/6.12/initrd"],
                      "root=UUID=1 quiet rootflags=subvol=@/.snapshots/2/snapshot")
    with pytest.raises(TransactionalError, match="names no kernel"):
        _kexec.parse("/boot/efi/loader/entries/m-2.conf", "title x\nefi /EFI/Linux/m.efi\n")


@pytest.mark.parametrize("needed, obstacles, way, why", [
    (APPLY, {}, APPLY, "why"),
    (APPLY, {APPLY: "no"}, SOFT_REBOOT, "why; apply is out of the question: no"),
    (APPLY, {APPLY: "no", SOFT_REBOOT: "never"}, KEXEC,
     "why; apply is out of the question: no; soft_reboot is out of the question: never"),
    (SOFT_REBOOT, {APPLY: "no"}, SOFT_REBOOT, "why"),
    (KEXEC, {KEXEC: "not here"}, REBOOT, "why; kexec is out of the question: not here"),
    (REBOOT, {APPLY: "no", SOFT_REBOOT: "never"}, REBOOT, "why"),
])
def test_the_least_way_that_is_open(needed, obstacles, way, why):
    assert _activation.least(needed, "why", obstacles) == (way, why)


def test_what_only_a_boot_brings_in():
    paths = ["/boot/initrd-6.12", "/usr/lib/modules/6.13", "/usr/lib/modules-load.d/a.conf", "/usr/lib/firmware/x.bin",
             "/etc/kernel/cmdline", "/etc/kernels", "/usr/bin/bash"]
    assert _activation.only_a_boot((path, ADDED) for path in paths) == [
        "/boot/initrd-6.12", "/usr/lib/modules/6.13", "/usr/lib/firmware/x.bin", "/etc/kernel/cmdline"]


@pytest.mark.parametrize("path, kind, matters", [
    ("/usr/bin/new", ADDED, False),
    ("/usr/bin/old", MODIFIED, True),
    ("/usr/bin/old", REMOVED, True),
    ("/usr/lib/systemd/system/new.service", ADDED, True),
    ("/usr/lib/systemdx", ADDED, False),
    ("/etc/new.conf", ADDED, True),
    ("/etc/ld.so.cache", MODIFIED, False),
    ("/usr/lib/sysimage/rpm/rpmdb.sqlite", MODIFIED, False),
])
def test_what_running_programs_would_not_notice(path, kind, matters):
    assert _activation.only_a_start([(path, kind)]) == ([path] if matters else [])


# --- the root of a soft reboot -----------------------------------------------------------------------------------

FSTAB = r"""
# a comment
UUID=1 / btrfs ro=vfs 0 0
UUID=1 /var/lib/a\040b btrfs subvol=/@/x,x-initrd.mount 0 0
UUID=1 /var btrfs subvol=/@/var,x-initrd.mount 0 0
/etc /etc none bind,x-initrd.mount 0 0
UUID=1 /home btrfs subvol=/@/home 0 0
incomplete
"""
OVERLAY = ("overlay /etc overlay defaults,lowerdir=/sysroot/var/lib/overlay/1/etc:/sysroot/etc,"
           "upperdir=/sysroot/var/lib/overlay/2/etc,x-initrd.mount 0 0")


def test_what_the_initrd_would_mount():
    assert _nextroot.plan(FSTAB, "/n") == [
        ["mount", "--options", "bind,x-initrd.mount", "/n/etc", "/n/etc"],
        ["mount", "--types", "btrfs", "--options", "subvol=/@/var,x-initrd.mount", "UUID=1", "/n/var"],
        ["mount", "--types", "btrfs", "--options", "subvol=/@/x,x-initrd.mount", "UUID=1", "/n/var/lib/a b"],
    ]


def test_an_overlay_names_its_directories_below_the_new_root():
    [argv] = _nextroot.plan(OVERLAY, "/n")
    assert argv[:3] == ["mount", "--types", "overlay"]
    assert "lowerdir=/n/var/lib/overlay/1/etc:/n/etc,upperdir=/n/var/lib/overlay/2/etc" in argv[4]


@pytest.fixture
def nextroot(monkeypatch):
    """Something is mounted for a soft reboot, as often as ``mounted`` says; ``calls`` are those of umount."""
    state = types.SimpleNamespace(mounted=1, calls=[], refuses=False)

    def umount(argv, **_kwargs):
        state.calls.append(argv)
        refused = state.refuses and "--lazy" not in argv
        state.mounted -= not refused
        return command.Result(argv, int(refused), "", "target is busy")

    monkeypatch.setattr(_nextroot, "_mounted", lambda: [
        mounts.Mount(_nextroot.NEXTROOT, "/", "btrfs", frozenset())] * state.mounted)
    monkeypatch.setattr(_nextroot.command, "run", umount)
    monkeypatch.setattr(_nextroot.command, "check", umount)
    return state


@pytest.mark.parametrize("error, kind, said", [
    (TransactionalError("it failed"), TransactionalError, "^it failed$"),
    (FileNotFoundError(2, "No such file or directory", "/n/etc/fstab"), TransactionalError,
     "the soft reboot could not be prepared: .*'/n/etc/fstab'; use method: reboot"),
    (Interrupted("ended by signal 15"), Interrupted, "^ended by signal 15$"),
    (KeyboardInterrupt(), KeyboardInterrupt, None),
])
def test_whatever_ends_the_preparation_it_is_taken_back(nextroot, error, kind, said):
    nextroot.mounted = 2  # one upon the other
    with pytest.raises(kind, match=said) as raised, _nextroot.undone_if_it_fails():
        raise error
    assert raised.type is kind
    assert nextroot.mounted == 0
    assert nextroot.calls == [["umount", "--recursive", "/run/nextroot"]] * 2


def test_what_somebody_looks_into_is_taken_away_all_the_same(nextroot):
    nextroot.refuses = True
    _nextroot.clear()
    assert (nextroot.mounted, nextroot.calls[-1][-1]) == (0, "--lazy")


def test_what_cannot_be_taken_away_is_told(nextroot, monkeypatch):
    def refuse(argv, **_kwargs):
        raise TransactionalError("umount hangs")
    monkeypatch.setattr(_nextroot.command, "run", refuse)
    said = "it failed. What was mounted at /run/nextroot .* could not be taken away, .* --lazy .*umount hangs"
    with pytest.raises(TransactionalError, match=said), _nextroot.undone_if_it_fails():
        raise TransactionalError("it failed")


@pytest.mark.parametrize("loaded, unloads", [("1\n", True), ("0\n", False), (None, False)])
def test_a_kernel_that_an_earlier_try_loaded(monkeypatch, tmp_path, loaded, unloads):
    """Any reboot would go into it."""
    calls = []
    path = tmp_path / "kexec_loaded"
    if loaded:
        path.write_text(loaded)
    monkeypatch.setattr(_kexec, "LOADED", str(path))
    monkeypatch.setattr(_kexec.command, "which", lambda name: name)
    monkeypatch.setattr(_kexec.command, "check", lambda argv, **_kwargs: calls.append(argv))
    _kexec.unload()
    assert calls == ([["kexec", "--unload"]] if unloads else [])


# --- the tools ---------------------------------------------------------------------------------------------------


def test_version_of_systemd():
    assert systemd.parse_version("systemd 257 (257.13-1~deb13u1)\n+PAM +AUDIT\n") == 257
    with pytest.raises(TransactionalError, match="cannot read systemd's version"):
        systemd.parse_version("no systemd")


ENTRY = """\
title openSUSE MicroOS {number}
version {number}@6.12
sort-key opensuse-microos
linux /opensuse-microos/6.12/linux-{kernel}
initrd /opensuse-microos/6.12/initrd-1
options root=UUID=1 rootflags=subvol=@/.snapshots/{number}/snapshot {more}
"""


def test_boot_entries_that_start_the_same():
    one, two = (boot_entries.parse(ENTRY.format(number=number, kernel="1", more="quiet")) for number in (1, 20))
    assert (one[0], two[0]) == (1, 20)
    assert one[1] == two[1]


@pytest.mark.parametrize("other", [{"kernel": "2", "more": "quiet"}, {"kernel": "1", "more": "quiet debug"}])
def test_boot_entries_that_differ(other):
    one = boot_entries.parse(ENTRY.format(number=1, kernel="1", more="quiet"))
    assert boot_entries.parse(ENTRY.format(number=2, **other))[1] != one[1]


def test_a_boot_entry_of_no_snapshot():
    assert boot_entries.parse("title Another system\nlinux /vmlinuz\noptions root=/dev/sda1\n") is None


@pytest.mark.parametrize("cmdline, number", [
    ("initrd=\\x rootflags=subvol=@/.snapshots/12/snapshot,compress=zstd:1 quiet\n", 12),
    ("rootflags=subvol=@/.snapshots/3/snapshot", 3),
    ("BOOT_IMAGE=/boot/vmlinuz root=UUID=1 quiet", None),
])
def test_the_snapshot_that_the_kernel_came_with(cmdline, number):
    assert boot_entries.loaded_snapshot(cmdline) == number


@pytest.mark.parametrize("texts, value", [
    ([], None),
    (["BINDDIRS[0]=\"/opt\"\n# REBOOT_ALLOW_SOFT_REBOOT=true\n"], None),
    (["REBOOT_ALLOW_SOFT_REBOOT=false\n"], "false"),
    (["REBOOT_ALLOW_SOFT_REBOOT=false\n", "REBOOT_ALLOW_SOFT_REBOOT = \"true\"\n"], "true"),
])
def test_settings_of_tukit(texts, value):
    assert transactional_update.parse_setting("REBOOT_ALLOW_SOFT_REBOOT", texts) == value


def test_transactional_update_offers_apply():
    usage = "General Commands:\n{}cleanup                    Mark unused snapshots for snapper removal\napply-oci  x\n"
    assert transactional_update.offers_apply(usage.format("apply                      Switch without reboot\n"))
    assert not transactional_update.offers_apply(usage.format(""))
