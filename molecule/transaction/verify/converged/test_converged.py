"""One transaction, one reboot, and all of the work at once."""

from __future__ import annotations


def test_it_booted_into_the_one_new_snapshot(host):
    listed = host.check_output("snapper --csvout list --columns number,default,active,read-only,cleanup").splitlines()
    assert listed[2:] == ["1,no,no,yes,number", "2,yes,yes,yes,number"]
    assert host.check_output("findmnt --noheadings --output FSROOT /") == "/@/.snapshots/2/snapshot"


def test_the_work_is_in_effect(host):
    assert host.run("rpm -q testbed-app testbed-lib").rc == 0
    assert host.check_output("cat /proc/sys/vm/swappiness") == "10"
    assert host.service("hello").is_running
    assert host.file("/etc/converged-by").content_string == "Converge, all or nothing\n"


def test_the_snapshot_says_what_made_it(host):
    listed = host.check_output("snapper --csvout list --columns description,userdata").splitlines()[-1]
    assert "ansible: Converge, all or nothing" in listed
    assert "ansible-play=Converge; all or nothing" in listed
    assert "ansible-git_commit=" in listed
    assert "transactional-update-in-progress" not in listed


def test_nothing_is_left_of_the_transaction(host):
    assert host.check_output("ls /run/microos-transactional") == ""
    assert host.check_output("systemctl list-units --no-legend 'microos-transactional*'") == ""
    assert host.check_output("systemctl is-system-running") == "running"
