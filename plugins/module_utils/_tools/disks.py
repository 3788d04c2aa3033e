# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Get what was written onto the disks.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import contextlib
import os

from ansible_collections.microos.transactional.plugins.module_utils._tools import boot_entries


def flush() -> None:
    """Make a new default, its files and its boot entry survive a power cut.

    btrfs keeps a new default in memory for up to half a minute. vfat, which the entries are on, leaves what ``sync``
    writes in the cache of the disk, and has it flushed for ``fsync`` alone (Linux 6.12, fs/fat: no ``sync_fs``).
    """
    os.sync()
    for path in boot_entries.DIRECTORIES:
        with contextlib.suppress(FileNotFoundError):
            directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
