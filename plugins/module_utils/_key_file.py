# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read a key file of the host: never more than a key file has, and never for ever.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import os
import stat

from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError

# More than any key file has
KEY_BYTES = 1 << 20


def read_file(path: str) -> bytes:
    """A file of the host. It is opened once, so that nobody can put another one in its place in between."""
    # not to wait for a writer, if it is a pipe
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with open(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise TransactionalError("it is no regular file")
        material = stream.read(KEY_BYTES + 1)
    return bounded(material)


def bounded(material: bytes) -> bytes:
    if len(material) > KEY_BYTES:
        raise TransactionalError(f"it is larger than {KEY_BYTES >> 20} MiB, which no key file is")
    return material
