# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two profiles, by ``--hypothesis-profile``: ``quick``, the same examples in each run; ``thorough``, new ones in each.

A failed run prints the example. What the thorough profile found is tried first in the next run.
"""

from __future__ import annotations

import pathlib
import sys

import hypothesis
from hypothesis import configuration, database

HERE = pathlib.Path(__file__).parent
CACHE = HERE.parents[1] / ".cache"

sys.path.insert(0, str(HERE))  # what the tests share lies beside, not in a package

if "ansible_collections" not in sys.modules:  # ansible-test has done it already
    from ansible.plugins.loader import init_plugin_loader

    init_plugin_loader([str(CACHE / "collections")])

# a slow machine is no failure, and what the tests draw from is meant to be long
PATIENT = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow,
                                                       hypothesis.HealthCheck.data_too_large]}
configuration.set_hypothesis_home_dir(str(CACHE / "hypothesis"))
hypothesis.settings.register_profile("quick", max_examples=25, derandomize=True, database=None, **PATIENT)
hypothesis.settings.register_profile("thorough", max_examples=500, print_blob=True,
                                     database=database.DirectoryBasedExampleDatabase(CACHE / "hypothesis" / "examples"),
                                     **PATIENT)
hypothesis.settings.load_profile("quick")  # if the command line names no other
