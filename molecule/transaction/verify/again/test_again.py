"""A play inside with an unprivileged login, a pending change, and a failure without a trace."""

from __future__ import annotations


def test_the_play_is_in_effect_and_the_module_s_work_waits(host):
    listed = host.check_output("snapper --csvout list --columns number,default,description").splitlines()[2:]
    assert [line.split(",")[0] for line in listed] == ["1", "2", "3", "4"]
    assert listed[-1] == "4,yes,ansible: Try the new settings"
    assert host.check_output("findmnt --noheadings --output FSROOT /") == "/@/.snapshots/3/snapshot"
    assert host.file("/etc/ssh/sshd_config.d/50-keys-only.conf").exists
    assert host.file("/etc/hardened-by").content_string == "Harden the login\n"
    assert not host.file("/etc/systemd/journald.conf").contains("SystemMaxUse=100M")
    assert host.run("grep -q SystemMaxUse=100M /.snapshots/4/snapshot/etc/systemd/journald.conf").rc == 0
    assert "ansible-ticket=OPS-4711" in host.check_output("snapper --csvout list --columns userdata")


def test_the_failure_left_no_trace(host):
    assert not host.file("/etc/never").exists
    assert host.run("test -e /.snapshots/4/snapshot/etc/never").rc == 1
    assert host.check_output("ls /run/microos-transactional") == ""
