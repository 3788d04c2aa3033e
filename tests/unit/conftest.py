# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Let the tests import and load the collection as Ansible does, from the link that `make deps` lays."""

from __future__ import annotations

import pathlib
import sys

if "ansible_collections" not in sys.modules:  # ansible-test has done it already
    from ansible.plugins.loader import init_plugin_loader

    init_plugin_loader([str(pathlib.Path(__file__).parents[2] / ".cache" / "collections")])
