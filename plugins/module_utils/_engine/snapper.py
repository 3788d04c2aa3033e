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
from ansible_collections.microos.transactional.plugins.module_utils._engine.base import IN_PROGRESS, Engine
from ansible_collections.microos.transactional.plugins.module_utils._tools import btrfs, snapper

# Where this plugin is installed, snapper itself makes and deletes the nested /etc of a snapshot.
ETC_PLUGIN = "/usr/lib/snapper/plugins/50-etc"


def _etc(number: int) -> str:
    return snapper.path_of(number) + "/etc"


class SnapperEngine(Engine):
    name = "snapper"

    def open(self, base: int, description: str, userdata: t.Mapping[str, str]) -> int:
        number = snapper.create(base, description, dict(userdata, **{IN_PROGRESS: "yes"}))
        self._nest_etc(base, number)
        return number

    def hold(self, number: int) -> _namespace.Namespace:
        root = snapper.path_of(number)
        steps = _namespace.read_write(root, self.host.mount_points)
        env = {"TRANSACTIONAL_UPDATE": "true", "TRANSACTIONAL_UPDATE_ROOT": root}
        return _namespace.Namespace(_namespace.holder_argv(root, steps), env)

    def close(self, number: int) -> None:
        snapper.modify(number, {IN_PROGRESS: ""})
        if btrfs.is_read_only(snapper.path_of(self.host.default())):
            snapper.set_read_only(number)
        snapper.set_default(number)

    def abort(self, number: int) -> None:
        if not os.path.exists(ETC_PLUGIN) and btrfs.is_subvolume(_etc(number)):
            btrfs.delete_subvolume(_etc(number))
        snapper.delete(number)

    def _copy(self, number: int) -> int:
        copy = super()._copy(number)
        self._nest_etc(number, copy)
        return copy

    def _nest_etc(self, base: int, number: int) -> None:
        """A snapshot leaves an empty directory where a subvolume is nested: give it the /etc of its base."""
        if btrfs.is_subvolume(_etc(base)) and not btrfs.is_subvolume(_etc(number)):
            os.rmdir(_etc(number))
            btrfs.create_snapshot(_etc(base), _etc(number))
