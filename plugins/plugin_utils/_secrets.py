# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets that a play knows, so that none of them goes where everybody on the host can read it.

Note that this plugin util is PRIVATE to the collection.
"""

from __future__ import annotations

import contextlib
import typing as t

from ansible.errors import AnsibleError

# Of ansible-core 2.19 and of those before
VAULTED = ("EncryptedString", "AnsibleVaultEncryptedUnicode")
# Variables that are secret without a vault
PASSWORDS = ("ansible_password", "ansible_ssh_pass", "ansible_become_password", "ansible_become_pass",
             "ansible_sudo_pass", "ansible_ssh_private_key_passphrase")
# Shorter ones are part of many a word
LENGTH = 4


def _values(value: t.Any, secret: bool = False) -> t.Iterator[str]:
    """Values in a variable that a vault holds; all of them if the variable is secret by itself."""
    if isinstance(value, dict):
        for item in value.values():
            yield from _values(item, secret)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _values(item, secret)
    elif type(value).__name__ in VAULTED or secret and isinstance(value, str):
        with contextlib.suppress(AnsibleError):  # without its password nobody has used it
            yield str(value).strip()


def known(variables: t.Mapping[str, t.Any]) -> set[str]:
    return {secret for name, value in variables.items() for secret in _values(value, name in PASSWORDS) if secret}


def is_told(text: str, secrets: t.Iterable[str]) -> bool:
    """Whether a text tells one of the secrets."""
    return any(secret in text if len(secret) >= LENGTH else secret == text.strip() for secret in secrets)


def is_vaulted(value: t.Any) -> bool:
    """Whether a value comes from a vault as it is; core 2.19 marks it so."""
    tags = getattr(value, "_ansible_tags_mapping", None) or {}
    return type(value).__name__ in VAULTED or any(tag.__name__ == "VaultedValue" for tag in tags)
