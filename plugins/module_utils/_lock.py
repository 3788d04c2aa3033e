# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One transaction of this collection at a time on a host.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time

from ansible_collections.microos.transactional.plugins.module_utils import _processes
from ansible_collections.microos.transactional.plugins.module_utils._errors import Busy

PATH = "/run/microos-transactional.lock"


class Lock:
    """Held from ``acquire`` to ``release`` or to the end of the process, whichever comes first."""

    def __init__(self, path: str = PATH):
        self.path = path
        self._descriptor = None

    def acquire(self, about: str, patience: float = 0) -> None:
        """Take the lock, leaving ``about`` for those who find it taken; wait for it up to ``patience`` seconds."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() < deadline:
                    time.sleep(0.05)
                    continue
                said = os.read(descriptor, 1000).decode("utf-8", "replace")
                os.close(descriptor)
                pid = _processes.lock_holder(self.path)
                waited = f", waited for {patience:g} s" if patience else ""
                raise Busy(f"'{said}', {_processes.describe(pid)}{waited}") from None
        os.ftruncate(descriptor, 0)
        with contextlib.suppress(OSError):  # it is held without a word too, if /run is full
            os.write(descriptor, about.encode("utf-8", "surrogateescape"))
        self._descriptor = descriptor

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
