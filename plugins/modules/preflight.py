#!/usr/bin/python
# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Tell whether a host is fit for a change
version_added: 0.2.0
author:
  - microos.transactional contributors (@microos-transactional)
description:
  - Measures memory, disks, the root file system, snapshots, clock, failed units and repositories, and judges them.
  - It only reads, and fails at nothing that it measures. The role P(microos.transactional.preflight#role) does.
  - All sizes are in megabytes of 10^6 bytes. The defaults are what openSUSE MicroOS asks for.
options:
  architectures:
    description: Machine names as of C(uname -m) that are fine.
    type: list
    elements: str
    default: [x86_64, aarch64, ppc64le]
  ram_minimum:
    description: Memory below which a host is not fit, beside what its workload needs.
    type: int
    default: 1000
  ram_recommended:
    description: Memory below which it is warned of.
    type: int
    default: 2000
  root_minimum:
    description: Size of the root file system below which a host is not fit. If C(/var) is part of it, both are added.
    type: int
    default: 5000
  root_recommended:
    description: Size of the root file system below which it is warned of.
    type: int
    default: 20000
  var_minimum:
    description: Size of C(/var) below which a host is not fit.
    type: int
    default: 5000
  var_recommended:
    description: Size of C(/var) below which it is warned of.
    type: int
    default: 40000
  root_free:
    description: Free space on the root file system that another snapshot needs.
    type: int
    default: 2000
  esp_free:
    description:
      - Free space on the EFI system partition that another kernel and its initrd need, where boot entries lie on it, as
        with systemd-boot. GRUB without such entries has its kernels in the snapshots.
    type: int
    default: 200
  tolerance:
    description: Percent of memory and file systems that may be missing, as firmware, kernel and file system take some.
    type: int
    default: 10
extends_documentation_fragment:
  - microos.transactional._attributes
attributes:
  check_mode:
    support: full
    details: This module only reads.
  diff_mode:
    support: none
seealso:
  - module: microos.transactional.facts
  - module: microos.transactional.repository_info
"""

EXAMPLES = r"""
- name: Look whether the host is fit
  microos.transactional.preflight:
  register: preflight

- name: Stop here if it is not
  ansible.builtin.assert:
    that: preflight.fit
    fail_msg: "{{ preflight.report }}"
"""

RETURN = r"""
fit:
  description: Whether no check has the level V(fail).
  type: bool
  returned: success
checks:
  description: All checks.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: What was looked at.
      type: str
    level:
      description: V(ok), V(warn) or V(fail).
      type: str
    message:
      description: What was found, and what is wanted.
      type: str
report:
  description: What is not as it should be, a line for each.
  type: str
  returned: success
  sample: "host1: warn: RAM: 1512 MB, at least 1000 MB are needed and 2000 MB are recommended"
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._host import Host
from ansible_collections.microos.transactional.plugins.module_utils._preflight import FAIL, Wanted, judge, report
from ansible_collections.microos.transactional.plugins.module_utils._preflight_measures import measure
from ansible_collections.microos.transactional.plugins.module_utils._text import printable


def main():
    sizes = {"ram_minimum": 1000, "ram_recommended": 2000, "root_minimum": 5000, "root_recommended": 20000,
             "var_minimum": 5000, "var_recommended": 40000, "root_free": 2000, "esp_free": 200, "tolerance": 10}
    module = AnsibleModule(
        argument_spec={
            "architectures": {"type": "list", "elements": "str", "default": ["x86_64", "aarch64", "ppc64le"]},
            **{name: {"type": "int", "default": size} for name, size in sizes.items()},
        },
        supports_check_mode=True,
    )
    given = module.params
    wanted = Wanted(
        given["architectures"], *((given[f"{name}_minimum"], given[f"{name}_recommended"])
                                  for name in ("ram", "root", "var")),
        root_free=given["root_free"], esp_free=given["esp_free"], tolerance=given["tolerance"])
    host = Host()
    try:
        checks = judge(measure(host), wanted)
    except TransactionalError as exc:
        module.fail_json(**printable(dict(exc.details, msg=f"{host.name}: {exc}")))
    module.exit_json(**printable({
        "changed": False, "fit": not any(check.level == FAIL for check in checks),
        "checks": [check._asdict() for check in checks], "report": report(host.name, checks)}))


if __name__ == "__main__":
    main()
