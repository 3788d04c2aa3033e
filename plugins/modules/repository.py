#!/usr/bin/python
# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: repository
short_description: Define zypper repositories and services, and trust their keys
version_added: 0.2.0
author:
  - microos.transactional contributors (@microos-transactional)
description:
  - Defines, changes or removes a repository or a service of zypper, and the keys that its packages are signed with.
  - Repositories are secure unless told otherwise. Addresses must be HTTPS or local, and metadata and packages signed.
    A key is trusted only if the whole fingerprint of its primary key is the one that was given.
  - A definition lies in C(/etc/zypp), needs no snapshot and is in effect at once. It is written to the running system
    and to the pending snapshot, if there is one with an C(/etc) of its own, so it is there before and after the reboot;
    dropping what is pending does not undo it. Where C(/etc) is an overlay (transactional-update before 5.0) it is
    written to the running system only, and comes into the pending snapshot when that is activated.
  - Keys lie in the rpm database, which is part of the snapshot. A key that the pending snapshot does not trust yet is
    imported in a new snapshot, which becomes the default; if all keys are there, no snapshot is made.
  - Inside of a transaction, see M(microos.transactional.transaction), both happen in its snapshot alone.
  - If a key is refused or the refresh fails, everything is left as it was, with one exception. Inside of a transaction
    keys that were imported stay in its snapshot when the refresh fails.
  - What rpm trusts is compared before and after. If it comes to trust any other key, one that a repository brought
    along with its metadata for example, the task fails and that key is trusted no more.
options:
  name:
    description:
      - Alias of the repository or service. It is found by it, whatever the name of its file; a new one gets a file of
        this name.
      - A new one needs letters, digits and C(_.:+-), beginning with a letter or digit. One that exists may have any
        alias that libzypp allows, such as "My Repo (OSS)".
      - Without it only O(keys) are looked after.
    type: str
    aliases: [alias]
  state:
    description: Whether the repository or service is defined. For keys, see O(keys[].state).
    type: str
    choices: [present, absent]
    default: present
  type:
    description: What it is, a repository, or a service that brings repositories of its own (C(ris) or C(plugin)).
    type: str
    choices: [repository, ris, plugin]
    default: repository
  baseurl:
    description:
      - Addresses of the repository, or the one address of the service.
      - A new definition needs it, or O(mirrorlist) or O(metalink). If any of the three is given, the others are removed
        from the definition. If none is, the addresses are left alone, and not judged.
      - Options of libzypp in an address are judged as well, see O(allow_insecure). User names and passwords in front of
        the host are always refused, see O(username).
    type: list
    elements: str
    aliases: [url]
  mirrorlist:
    description: Address of a list of mirrors.
    type: str
  metalink:
    description: Address of a metalink.
    type: str
  description:
    description: The name that zypper shows. A new definition gets its alias if this is not given.
    type: str
  enabled:
    description: Whether it is used. A new definition is enabled unless told otherwise.
    type: bool
  autorefresh:
    description: Whether zypper refreshes it by itself. A new definition does unless told otherwise.
    type: bool
  priority:
    description: Priority from 1 (highest) to 99 (lowest, zypper's own default) and beyond.
    type: int
  keep_packages:
    description: Whether packages stay in the cache after they were installed.
    type: bool
  gpgcheck:
    description: Whether signatures are checked at all. V(false) needs O(allow_insecure).
    type: bool
    default: true
  repo_gpgcheck:
    description:
      - Whether the metadata must be signed; O(gpgcheck) by default. V(false) needs O(allow_insecure).
    type: bool
  pkg_gpgcheck:
    description:
      - Whether each package must be signed; O(gpgcheck) by default.
      - With V(false) an unsigned package is accepted if the metadata that list its checksum are signed. This is what
        zypper does by itself with C(gpgcheck=1) alone.
    type: bool
  username:
    description:
      - User name for the repository. It is kept with O(password) in C(/etc/zypp/credentials.d/NAME), readable for root
        only, and O(baseurl) refers to it by C(credentials=NAME).
      - Both are one line of printable text, without spaces around it.
      - A task with O(baseurl) but without O(username) removes that reference, and the file if nothing else uses it.
    type: str
  password:
    description: Password for the repository.
    type: str
  allow_insecure:
    description:
      - Allow this one repository what is refused otherwise, addresses that are neither local nor HTTPS, checks that are
        off, and metadata that are signed with an expired key.
      - Likewise options in an address by which somebody else decides what is trusted, or reads a secret. These are
        C(ssl_verify) unless it is C(yes), files and directories that others than root can change (C(ssl_capath),
        C(ssl_clientcert), C(ssl_clientkey), C(credentials), C(device)), a C(proxy) without HTTPS, C(proxyuser),
        C(proxypass) and other secrets, options that are there more than once, and all of these in an address inside of
        the address (C(iso:/?url=)).
      - Also allows to fetch keys by HTTP.
    type: bool
    default: false
  refresh:
    description:
      - Refresh the repository or service, with the keys of the pending snapshot. This alone does not count as a change.
      - Warnings of zypper become warnings of the task. There is one more if the metadata are older than those that the
        host had. Libzypp takes these if their signature is good, and a server, or somebody between, may hold back
        updates by them.
      - The repositories that a service brings are written to the running system, and come into the pending snapshot
        when that is activated, or continued by other tasks.
    type: bool
    default: false
  keys:
    description:
      - Keys to trust, or to trust no more. A key is trusted for all repositories.
      - A key that is trusted already is not fetched again, unless it has expired, was revoked or cannot sign any more,
        or the metadata of O(name) have a signature that no trusted key explains. Its owner may have prolonged it, or
        sign with a new subkey.
      - A copy by O(keys[].file) or O(keys[].content) is looked at each time. If it has anything that the trusted one
        lacks, a later date of expiry or a new subkey, it is imported in addition; an older copy changes nothing.
      - Revoked and expired keys, and those that cannot sign, are refused.
      - When a key is removed, zypper forgets the metadata of all repositories, and loads them again when it needs them.
    type: list
    elements: dict
    default: []
    suboptions:
      fingerprint:
        description:
          - The whole fingerprint of the primary key, 40 or 64 hexadecimal digits; spaces do not matter. A key that has
            this one as a subkey is another key.
        type: str
        required: true
      url:
        description:
          - Where to fetch the key, by HTTPS, or HTTP with O(allow_insecure=true). So must be what it is redirected to.
          - It has to be there within a minute, and to be no larger than 1 MiB.
        type: str
      file:
        description: Path of the key on the managed host, a regular file of 1 MiB at most.
        type: str
      content:
        description: The key itself, armored.
        type: str
      state:
        description: V(absent) removes the key from the trusted ones.
        type: str
        choices: [present, absent]
        default: present
  keep_failed:
    description:
      - Keep the snapshot of a failed import for a look, instead of deleting it. It never becomes the default, and
        snapper's cleanup deletes it some day.
    type: bool
    default: false
extends_documentation_fragment:
  - microos.transactional._attributes
  - microos.transactional._attributes.engine
attributes:
  check_mode:
    support: full
    details:
      - Keys are fetched and looked at; nothing is written and nothing is refreshed.
  diff_mode:
    support: full
    details:
      - User names and passwords are not shown.
requirements:
  - zypper and gpg on the managed host; libzypp needs both
seealso:
  - module: microos.transactional.package
  - module: microos.transactional.repository_info
notes:
  - Other settings in the file, other repositories in the same file and comments are left as they are.
  - A file that several keys are in is fine; only the one with the fingerprint is imported. A file that is cut off, or
    holds a secret key or something that is compressed, is refused.
"""

EXAMPLES = r"""
- name: A signed repository, its key pinned
  microos.transactional.repository:
    name: tools
    description: Tools of our own
    baseurl: https://repos.example.com/tools
    keys:
      - fingerprint: AD485664E901B867051AB15F35A2F86E29B700A4
        url: https://repos.example.com/tools/repodata/repomd.xml.key
    refresh: true

- name: A repository that asks for a password
  microos.transactional.repository:
    name: customer
    baseurl: https://repos.example.com/customer
    username: "{{ repository_username }}"
    password: "{{ repository_password }}"

- name: A mirror in the machine room, without HTTPS but signed
  microos.transactional.repository:
    name: mirror
    baseurl: http://mirror.example.com/tumbleweed/repo/oss
    allow_insecure: true
    priority: 80

- name: Trust a key no more
  microos.transactional.repository:
    keys:
      - fingerprint: AD485664E901B867051AB15F35A2F86E29B700A4
        state: absent

- name: Remove a repository, with its password
  microos.transactional.repository:
    name: customer
    state: absent
"""

RETURN = r"""
files:
  description: Files that were changed, in the running system or the pending snapshot; predicted in check mode.
  type: list
  elements: str
  returned: success
  sample: [/etc/zypp/repos.d/tools.repo]
keys_imported:
  description: Fingerprints of the keys that were imported.
  type: list
  elements: str
  returned: success
keys_removed:
  description: Fingerprints of the keys that were removed.
  type: list
  elements: str
  returned: success
refreshed:
  description: Whether the repository or service was refreshed.
  type: bool
  returned: success
base:
  description: Number of the snapshot that the new one was made from; without a new one, the default snapshot.
  type: int
  returned: success
  sample: 1
snapshot:
  description: Number of the new snapshot with the keys, now the default. Null if no key had to be imported or removed.
  type: int
  returned: success
  sample: 2
pending:
  description: Whether the default snapshot differs from the current one, so that a reboot would change something.
  type: bool
  returned: success
engine:
  description: The engine that was used.
  type: str
  returned: success
  sample: tukit
insecure:
  description: What is insecure about the request.
  type: list
  elements: str
  returned: if it was refused as insecure
wanted:
  description: The fingerprint that was asked for.
  type: str
  returned: if no key with it was found
got:
  description: The fingerprints of primary keys that were found instead, the first ones of many.
  type: list
  elements: str
  returned: if no key with the wanted one was found
rc:
  description: Exit code of zypper or rpm.
  type: int
  returned: if it failed
messages:
  description: All messages of zypper, in their order.
  type: list
  elements: str
  returned: if zypper failed
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.microos.transactional.plugins.module_utils import _key_source, _module
from ansible_collections.microos.transactional.plugins.module_utils._repositories import Repositories
from ansible_collections.microos.transactional.plugins.module_utils._repository_safety import secrets_in


def main():
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "aliases": ["alias"]},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "type": {"type": "str", "choices": ["repository", "ris", "plugin"], "default": "repository"},
            "baseurl": {"type": "list", "elements": "str", "aliases": ["url"]},
            "mirrorlist": {"type": "str"},
            "metalink": {"type": "str"},
            "description": {"type": "str"},
            "enabled": {"type": "bool"},
            "autorefresh": {"type": "bool"},
            "priority": {"type": "int"},
            "keep_packages": {"type": "bool"},
            "gpgcheck": {"type": "bool", "default": True},
            "repo_gpgcheck": {"type": "bool"},
            "pkg_gpgcheck": {"type": "bool"},
            "username": {"type": "str", "no_log": True},
            "password": {"type": "str", "no_log": True},
            "allow_insecure": {"type": "bool", "default": False},
            "refresh": {"type": "bool", "default": False},
            "keys": {"type": "list", "elements": "dict", "default": [], "no_log": False, "options": {
                "fingerprint": {"type": "str", "required": True},
                "url": {"type": "str"},
                "file": {"type": "str"},
                "content": {"type": "str"},
                "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            }},
            "keep_failed": {"type": "bool", "default": False},
            "engine": _module.ENGINE_ARGUMENT,
        },
        required_one_of=[("name", "keys")],
        required_together=[("username", "password")],
        supports_check_mode=True,
    )
    # a password in an address is refused, and must not be repeated with the arguments of the task
    module.no_log_values.update(secrets_in(module.params))

    def work(host):
        repositories = Repositories(
            host, module.params, lambda url: _key_source.fetch(url, module.params["allow_insecure"]))
        repositories.ensure(module.check_mode)
        for warning in repositories.warnings:
            module.warn(warning)
        return repositories.result

    _module.run(module, work)


if __name__ == "__main__":
    main()
