# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kernel has the policy, with what differs from it as it came."""


def test_the_kernel_denies_nothing_yet(host):
    assert host.check_output("getenforce") == "Permissive"


def test_the_boolean_is_in_force(host):
    assert host.check_output("cat /sys/fs/selinux/booleans/testbed_reads_web") == "1 1"


def test_files_get_the_type(host):
    assert host.check_output("matchpathcon -n /srv/web/page") == "system_u:object_r:web_t"
