# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The running system came from an initrd with the driver."""


def test_the_driver_was_loaded_in_the_initrd(host):
    lines = host.check_output("journalctl --boot --output cat").splitlines()
    loaded = next(index for index, line in enumerate(lines) if line.startswith("i6300ESB timer"))
    assert loaded < lines.index("Switching root.")
