#!/usr/bin/python
# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: repository_info
short_description: List zypper repositories, services and trusted keys, and tell which are insecure
version_added: 0.2.0
author:
  - microos.transactional contributors (@microos-transactional)
description:
  - Tells all repositories and services of the running system, or of the transaction that it is used in, with their
    settings and whatever is insecure about them, and the keys that the pending snapshot trusts.
  - No repository is contacted.
extends_documentation_fragment:
  - microos.transactional._attributes
  - microos.transactional._attributes.engine
attributes:
  check_mode:
    support: full
    details: This module only reads.
  diff_mode:
    support: none
seealso:
  - module: microos.transactional.repository
"""

EXAMPLES = r"""
- name: Look at the repositories
  microos.transactional.repository_info:
  register: zypp

- name: None may be insecure
  ansible.builtin.assert:
    that: not zypp.insecure
    fail_msg: "{{ zypp.insecure }}"
"""

RETURN = r"""
repositories:
  description: All repositories, by their files. User names and passwords in addresses are hidden.
  type: list
  elements: dict
  returned: success
  contains:
    alias: &alias
      description: Alias.
      type: str
    name: &name
      description: The name that zypper shows.
      type: str
    file: &file
      description: File of the definition.
      type: str
    enabled: &enabled
      description: Whether it is used.
      type: bool
    autorefresh: &autorefresh
      description: Whether zypper refreshes it by itself.
      type: bool
    baseurl:
      description: Addresses.
      type: list
      elements: str
    mirrorlist:
      description: Addresses of lists of mirrors.
      type: list
      elements: str
    metalink:
      description: Addresses of metalinks.
      type: list
      elements: str
    priority:
      description: Priority, 1 is the highest.
      type: int
    keep_packages:
      description: Whether packages stay in the cache.
      type: bool
    gpgcheck:
      description: Whether signatures are checked, with what C(zypp.conf) says for all repositories.
      type: bool
    repo_gpgcheck:
      description: Whether the metadata must be signed, likewise.
      type: bool
    pkg_gpgcheck:
      description: Whether each package must be signed, likewise.
      type: bool
    service:
      description: Alias of the service that brought the repository, null if none did.
      type: str
    other: &other
      description: All other settings of the file, as they are there.
      type: dict
    insecure: &insecure
      description: What is insecure about it.
      type: list
      elements: str
services:
  description: All services that are defined. User names and passwords in addresses are hidden.
  type: list
  elements: dict
  returned: success
  contains:
    alias: *alias
    name: *name
    file: *file
    enabled: *enabled
    autorefresh: *autorefresh
    type:
      description: Kind of the service.
      type: str
    url:
      description: Address.
      type: str
    other: *other
    insecure: *insecure
keys:
  description: The keys that the pending snapshot trusts.
  type: list
  elements: dict
  returned: success
  contains:
    fingerprint:
      description: Fingerprint of the primary key.
      type: str
    user_id:
      description: Its first user ID.
      type: str
    created:
      description: Date of its creation, UTC.
      type: str
    expires:
      description: Date at which it expires, UTC, null if it never does.
      type: str
    expired:
      description: Whether it has expired.
      type: bool
    revoked:
      description: Whether it was revoked.
      type: bool
    can_sign:
      description: Whether it, or a subkey of it, can sign now.
      type: bool
    entry:
      description: Name of its entry in the rpm database.
      type: str
insecure:
  description:
    - By alias, what is insecure about repositories and services that are enabled. Empty if nothing is.
  type: dict
  returned: success
  sample: {"openSUSE:repo-oss": ["baseurl: 'http' is not HTTPS"]}
engine:
  description: The engine that modules of this collection use on this host.
  type: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.microos.transactional.plugins.module_utils import _module
from ansible_collections.microos.transactional.plugins.module_utils._repository_overview import overview
from ansible_collections.microos.transactional.plugins.module_utils._transaction import choose_engine


def main():
    module = AnsibleModule(argument_spec={"engine": _module.ENGINE_ARGUMENT}, supports_check_mode=True)
    _module.run(module, lambda host: dict(overview(host), engine=choose_engine(host, module.params["engine"]).name))


if __name__ == "__main__":
    main()
