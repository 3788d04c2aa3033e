# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The combustion script, run as combustion runs it: in a transaction, here on a copy of the guest's root disk."""

from __future__ import annotations

import os
import pathlib
import shlex
import subprocess
import sys

import combustion
import pytest

TESTBED = pathlib.Path(__file__).with_name("testbed.py")
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI it's \"mine\" $HOME \\ %s {0}"

# Combustion feeds a shell in the transaction with the script's call and what comes after it; the snapshot is kept if
# the script succeeded. Different here: sshd's unit gets the name and the state that it has on MicroOS.
FIRST_BOOT = """
test -e /opt/testbed/repos  # the guest, and nothing else
systemctl --quiet disable ssh.service
systemctl --quiet enable snapper-cleanup.timer
btrfs property set -f /.snapshots/1/snapshot ro false
mount -o remount,bind,rw /
mv /usr/lib/systemd/system/ssh.service /usr/lib/systemd/system/sshd.service
mkdir /var/cache/combustion
cp /run/test/script /var/cache/combustion/
id=$(tukit --quiet open | sed -n 's/^ID: //p')
tukit --quiet call "$id" bash >/run/test/stdout <<EOF
    cd /var/cache/combustion
    ./script
    echo \\$? >retval
EOF
cp /var/cache/combustion/retval /run/test/
if [ "$(cat /run/test/retval)" = 0 ]; then tukit --quiet close "$id"; else tukit --quiet abort "$id"; fi
btrfs subvolume get-default / >/run/test/default
cp -a /root/.ssh /run/test/ssh
[ "$(cat /run/test/retval)" = 0 ] || exit 0
cp -a "/.snapshots/$id/snapshot/etc/ssh" /run/test/etc-ssh
for unit in sshd.service snapper-cleanup.timer transactional-update.timer; do
    systemctl --root="/.snapshots/$id/snapshot" is-enabled "$unit" || true
done >/run/test/enabled
"""


@pytest.fixture
def serial():
    """What stands for the serial port, and what was written to it."""
    ours, its = os.openpty()
    os.set_blocking(ours, False)
    yield os.ttyname(its), lambda: os.read(ours, 65536).decode()
    os.close(ours)
    os.close(its)


@pytest.fixture
def first_boot(tmp_path):
    def run(script):
        (tmp_path / "script").write_text(script)
        (tmp_path / "script").chmod(0o755)
        done = subprocess.run([sys.executable, TESTBED, "enter", "--engine", "tukit", "--bind", f"{tmp_path}:/run/test",
                               "--", "bash", "-euc", FIRST_BOOT], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return {name: (tmp_path / name).read_text() for name in ("retval", "default", "stdout")}
    return run


def test_it_lets_the_owner_of_the_key_in(first_boot, serial, tmp_path):
    terminal, written = serial
    result = first_boot(combustion.script(f"{KEY}\n", terminal))
    assert result["retval"] == "0\n", written()
    assert result["default"].endswith("path @/.snapshots/2/snapshot\n")
    keys = tmp_path / "ssh/authorized_keys"
    assert keys.read_text() == f"{KEY}\n"
    assert [path.stat().st_mode & 0o777 for path in (keys.parent, keys)] == [0o700, 0o600]
    assert (tmp_path / "etc-ssh/sshd_config.d/10-testbed.conf").read_text() == "PermitRootLogin prohibit-password\n"
    # one that was enabled, and one that is not even installed
    assert (tmp_path / "enabled").read_text().split() == ["enabled", "masked", "masked"]
    assert "the combustion script is done" in written()


def test_without_a_serial_port_it_works_too(first_boot):
    result = first_boot(combustion.script(KEY, "/dev/nowhere"))
    assert result["retval"] == "0\n"
    assert "the combustion script is done" in result["stdout"]


def test_a_failure_fails_the_first_boot_and_says_where(first_boot, serial):
    terminal, written = serial
    result = first_boot(combustion.script(KEY, terminal).replace("enable sshd.service", "enable nowhere.service"))
    assert result["retval"] == "1\n"
    assert result["default"].endswith("path @/.snapshots/1/snapshot\n")
    said = written()
    assert "combustion script failed: systemctl enable nowhere.service" in said
    assert "is done" not in said


def test_it_leaves_combustion_its_standard_input():
    """Else the commands that come after the script would be lost in a program that reads them."""
    start = combustion.script(KEY, "/dev/nowhere").split("install -d")[0]
    done = subprocess.run(["bash"], input=f"bash -c {shlex.quote(start + 'cat')}\necho next\n", text=True,
                          capture_output=True, check=True)
    assert done.stdout == "next\n"


def test_the_linter_has_nothing_to_say(tmp_path):
    script = tmp_path / "script"
    script.write_text(combustion.script("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI testbed"))
    subprocess.run(["bash", "-n", script], check=True)
    done = subprocess.run(["shellcheck", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_it_asks_combustion_for_nothing_more():
    """Magic comments would bring up the network in the initrd, or have it called a second time."""
    assert "# combustion:" not in combustion.script(KEY)
