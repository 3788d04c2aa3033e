# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module of this name, on the host itself."""

from __future__ import annotations

from ansible_collections.microos.transactional.plugins.plugin_utils._outside import OutsideAction


class ActionModule(OutsideAction):
    pass
