"""What a real MicroOS image is told at its first boot: the script for its combustion.

QEMU hands it over (fw_cfg) instead of a drive labelled "combustion": nothing to format or to plug, so no further
program on this machine, the guest's disks are the image's alone, and the kvm-and-xen images look there first.
"""

from __future__ import annotations

import shlex

FW_CFG = "opt/org.opensuse.combustion/script"
CONSOLE = "/dev/ttyS0"
# What would change or reboot the guest in the middle of a scenario
QUIET = ("rebootmgr.service transactional-update.timer transactional-update-cleanup.timer snapper-cleanup.timer "
         "fstrim.timer btrfs-balance.timer btrfs-defrag.timer btrfs-scrub.timer btrfs-trim.timer")

# Python is not installed here: that is the work of the role bootstrap
SCRIPT = """\
#!/bin/bash
# combustion runs this once, in the transaction whose snapshot is then booted; if it fails, so does the boot
set -euo pipefail
exec </dev/null  # where combustion has its own next commands
if [[ -c {console} ]]; then exec >{console} 2>&1; fi
trap 'echo "testbed: line $LINENO of the combustion script failed: $BASH_COMMAND" >&2' ERR

install -d -m 700 /root/.ssh
echo {key} >/root/.ssh/authorized_keys
chmod 600 /root/.ssh/authorized_keys
install -d -m 755 /etc/ssh/sshd_config.d
echo 'PermitRootLogin prohibit-password' >/etc/ssh/sshd_config.d/10-testbed.conf
systemctl enable sshd.service
# systemd's presets, applied at the first boot, would enable again what is only disabled
systemctl mask {quiet}
echo 'testbed: the combustion script is done'
"""


def script(public_key: str, console: str = CONSOLE) -> str:
    """Let the owner of the key in as root, and nothing else happen."""
    return SCRIPT.format(console=console, key=shlex.quote(public_key.strip()), quiet=QUIET)
