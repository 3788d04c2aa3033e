# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the inside of a transaction has besides the snapshot, so that roles work there as they do on a host.

* in the private ``/run``, what packages expect there after a boot; also the directory that sshd is shut in
* a kernel that cannot be set up: it is the running one, and what is set would act on the running system at once
* first in the PATH, a ``sysctl`` that leaves the kernel to the boot as ``systemctl`` leaves services to it there, and a
  ``systemctl`` that does not answer a question with success

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import contextlib
import os

# The connections put it into the PATH
PROGRAMS = "/run/microos-transactional-programs"
SHUT_IN = "/var/lib/empty"
# In the private /run: that there was no SHUT_IN
MADE = PROGRAMS + "/made-empty"

# Of a setting nothing is done, and a question is passed on. Arguments: those of sysctl (procps 4)
SYSCTL = r"""#!/bin/sh
real=$(PATH=/usr/sbin:/usr/bin:/sbin:/bin command -v sysctl) || { echo "sysctl: not found" >&2; exit 127; }
sets= asks=
for word; do
    case $word in
    --write|--system|--load|--load=*) sets=1 ;;
    --help|--version|--all|--values|--names|--binary|--pattern|--deprecated|--ignore|--dry-run|--quiet|--*) ;;
    -*[wpf]*) sets=1 ;;
    -*) ;;
    *=*) sets=1 ;;
    esac
done
[ "$sets" ] || exec "$real" "$@"
echo "inside of a transaction, nothing is set in the running kernel; /etc/sysctl.d takes effect at the boot" >&2
"""
# systemctl of a chroot (systemd 257) ignores what needs the service manager, and ends with success
SYSTEMCTL = r"""#!/bin/sh
real=$(PATH=/usr/sbin:/usr/bin:/sbin:/bin command -v systemctl) || { echo "systemctl: not found" >&2; exit 127; }
verb= units= quiet= skip=
for word; do
    if [ "$skip" ]; then skip=; continue; fi
    case $word in
    -H|-M|--host*|--machine*|--root*|--image*|--user|--global|-h|--help|--version) exec "$real" "$@" ;;
    -p|-P|-t|-s|-n|-o|--property|--type|--state|--lines|--output|--signal|--kill-whom|--timestamp) skip=1 ;;
    -q|--quiet) quiet=1 ;;
    -*) ;;
    *) if [ "$verb" ]; then units="$units $word"; else verb=$word; fi ;;
    esac
done
case $verb in
is-active) status=3 ;;
is-failed) status=1 ;;
status) status=3 ;;
*) exec "$real" "$@" ;;
esac
[ "$units" ] || exec "$real" "$@"
[ "$quiet" ] || for unit in $units; do
    if [ "$verb" = status ]; then
        echo "$unit: inactive (dead). Inside of a transaction no unit runs"
    else
        echo inactive
    fi
done
exit $status
"""


def _program(name: str, text: str) -> str:
    return f"cat >{PROGRAMS}/{name} <<'END'\n{text}END\nchmod 755 {PROGRAMS}/{name}\n"


# Runs inside, as root, in a mount namespace and a /run of its own. Nothing that fails here matters to all work: what
# needs it says so. Of systemd's own directories none is made, as one of them tells that systemd runs.
FURNISH = f"""
if ! [ /proc/self/ns/mnt -ef /proc/1/ns/mnt ]; then
    mount --make-private /proc; mount -o bind,ro /proc/sys /proc/sys
    timeout 20 systemd-tmpfiles --create --prefix=/run --exclude-prefix=/run/systemd
fi >/dev/null 2>&1 </dev/null
mkdir -m 755 {PROGRAMS}
[ -e {SHUT_IN} ] || {{ mkdir -p -m 755 {SHUT_IN} && : >{MADE}; }}
{_program("sysctl", SYSCTL)}{_program("systemctl", SYSTEMCTL)}"""


def take_out(root: str) -> None:
    """Take out of the snapshot at ``root`` what was put in for its work, if ``MADE`` is there inside."""
    with contextlib.suppress(OSError):  # not empty: then it is part of the work
        os.rmdir(root + SHUT_IN)
