# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fetch a key file from an address: never more than a key file has, and never for ever.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import http.client
import threading
import typing as t
import urllib.error
import urllib.parse

from ansible.module_utils.urls import open_url

from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._key_file import KEY_BYTES, bounded
from ansible_collections.microos.transactional.plugins.module_utils._repository_safety import hide

# For each answer of the server, and for all of it
TIMEOUT_SECONDS = 30
FETCH_SECONDS = 60
REDIRECTS = 5
MOVED = (301, 302, 303, 307, 308)


def flaw(url: str, allow_insecure: bool) -> str | None:
    """Why a key is not fetched from there."""
    scheme = url.partition(":")[0].lower()
    if scheme == "https" or (scheme == "http" and allow_insecure):
        return None
    return f"'{hide(scheme)}' is not HTTPS"


def fetch(url: str, allow_insecure: bool) -> bytes:
    """The file at an address. Redirections are followed, and each is judged as the first address is."""
    outcome: list[t.Any] = []

    def work() -> None:
        try:
            outcome.append(_follow(url, allow_insecure))
        except Exception as exc:  # what urllib, ssl and the sockets raise has no common class
            outcome.append(exc)

    # A server may send a byte now and then, and a name server may not answer: only from outside there is an end to it.
    # If the time is over, the thread ends with the module, which fails.
    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(FETCH_SECONDS)
    got = outcome[0] if outcome else TransactionalError(f"it was not there within {FETCH_SECONDS:g} s")
    if isinstance(got, bytes):
        return got
    raise TransactionalError(f"cannot fetch the key from {hide(url)}: {hide(_reason(got))}; nothing was imported. "
                             "Check the address, and whether this host can reach it") from None


def _reason(exc: Exception) -> str:
    return str(exc).rstrip(". ") or type(exc).__name__


def _follow(url: str, allow_insecure: bool) -> bytes:
    for _turn in range(REDIRECTS + 1):
        why = flaw(url, allow_insecure)
        if why:
            raise TransactionalError(f"it was redirected to {hide(url)}, which would be insecure: {why}")
        try:
            with open_url(url, timeout=TIMEOUT_SECONDS, follow_redirects="none") as stream:
                return _whole(stream)
        except urllib.error.HTTPError as exc:
            with exc:
                target = exc.headers.get("Location") if exc.code in MOVED else None
                if target is None:
                    raise TransactionalError(f"HTTP Error {exc.code}: {exc.reason}") from None
        url = urllib.parse.urljoin(url, target)
    raise TransactionalError(f"it was redirected more than {REDIRECTS} times")


def _whole(stream: t.Any) -> bytes:
    """All of an answer. Python takes one that ends early for complete."""
    material = bounded(stream.read(KEY_BYTES + 1))
    announced = stream.headers.get("Content-Length", "")
    if announced.isdigit() and not stream.headers.get("Content-Encoding") and int(announced) != len(material):
        raise http.client.IncompleteRead(material, int(announced) - len(material))
    return material
