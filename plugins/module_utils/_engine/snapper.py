# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The engine for hosts with a btrfs root and snapper, but without ``tukit``.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import os
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils import _namespace
from ansible_collections.microos.transactional.plugins.module_utils._engine.base import IN_PROGRESS, Engine, environment
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._tools import btrfs, snapper


def _has_nested_etc(number: int) -> bool:
    return btrfs.is_subvolume(snapper.path_of(number) + "/etc")


class SnapperEngine(Engine):
    name = "snapper"

    def refuse_if_busy(self) -> None:
        """Nothing else on such a host makes transactions."""

    def open(self, base: int, description: str, userdata: t.Mapping[str, str]) -> int:
        number = snapper.create(base, description, dict(userdata, **{IN_PROGRESS: "yes"}))
        # btrfs leaves an empty directory where a subvolume is nested; a plugin of snapper copies the subvolume
        if _has_nested_etc(base) and not _has_nested_etc(number):
            snapper.delete(number)
            raise TransactionalError(
                f"/etc is a subvolume of its own in snapshot {base}, but new snapshots get an empty one: the plugin "
                "50-etc of snapper, a part of transactional-update, is missing or failed on this host")
        return number

    def hold(self, number: int, stay: t.Sequence[str] = _namespace.STAY,
             keep: t.Callable[..., t.Any] = _namespace.Namespace) -> t.Any:
        root = snapper.path_of(number)
        steps = _namespace.read_write(root, self.host.mount_points)
        return keep(_namespace.holder_argv(root, steps, stay), environment(number))

    def close(self, number: int) -> None:
        os.sync()  # as tukit does: after a power cut the default must not be there without its files
        snapper.modify(number, {IN_PROGRESS: ""})
        if btrfs.is_read_only(snapper.path_of(self.host.default())):
            snapper.set_read_only(number)
        snapper.set_default(number)

    def _delete(self, number: int) -> None:
        snapper.delete(number)
