# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""OpenPGP keys: what is in a file, and which of them an rpm database trusts.

libzypp itself needs ``gpg``, so it is there where zypper is.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import os
import tempfile
import time
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._tools import command

GPG = ("gpg", "--batch", "--no-options", "--no-tty", "--no-autostart", "--quiet")
# one record for each key, its armored text behind the two numbers that name the entry of the database
RECORD, FIELD = "\x1e", "\x1f"
QUERY = f"{RECORD}%{{NAME}}-%{{VERSION}}-%{{RELEASE}}{FIELD}%{{DESCRIPTION}}"
# rpm reads a file only; the name is one inside of the namespace, where /tmp is private
IMPORT = 'file=$(mktemp) && printf %s "$1" >"$file" && rpm --import "$file"; status=$?; rm -f "$file"; exit $status'


def parse(colons: str) -> list[dict]:
    """The primary keys in what ``gpg --with-colons`` lists."""
    found: list[dict] = []
    kind = ""
    # gpg escapes a line feed in a user id, and leaves what else Python takes for the end of a line
    for line in colons.split("\n"):
        fields = line.split(":") + [""] * 10
        if fields[0] in ("pub", "sub"):
            kind = fields[0]
        if fields[0] == "pub":
            found.append({"fingerprint": None, "user_id": None, "created": _date(fields[5]),
                          "expires": _date(fields[6]), "expired": fields[1] == "e" or _is_past(fields[6]),
                          "revoked": fields[1] == "r"})
        elif fields[0] == "fpr" and kind == "pub":
            found[-1]["fingerprint"] = fields[9].upper()
        elif fields[0] == "uid" and found and found[-1]["user_id"] is None:
            # colons and what is not printable come as \x3a
            found[-1]["user_id"] = fields[9].replace("\\x3a", ":")
    return found


def _date(seconds: str) -> str | None:
    return time.strftime("%Y-%m-%d", time.gmtime(int(seconds))) if _is_time(seconds) else None


def _is_past(seconds: str) -> bool:
    return _is_time(seconds) and int(seconds) <= time.time()


def _is_time(seconds: str) -> bool:
    return seconds.isdecimal() and len(seconds) < 12


def pinned(material: bytes, fingerprint: str, source: str) -> tuple[dict, str]:
    """The one key with this fingerprint, out of a key file: what it is, and its armored text without all the rest."""
    with tempfile.TemporaryDirectory(prefix="keys-") as home:
        path = os.path.join(home, "key")
        with open(path, "wb") as stream:
            stream.write(material)
        gpg = list(GPG) + ["--homedir", home]
        # the exit code also tells of a part that is no key; what counts is what came in
        command.run(gpg + ["--import", path])
        found = parse(command.run(gpg + ["--list-keys", "--with-colons"]).stdout)
        key = next((key for key in found if key["fingerprint"] == fingerprint), None)
        if key is None:
            got = ", ".join(f"{key['fingerprint']} ({key['user_id']})" for key in found) or "no OpenPGP key at all"
            raise TransactionalError(
                f"{source} does not hold the key that was asked for: wanted the fingerprint {fingerprint}, got {got}. "
                "Nothing was imported. Find out from its owner which fingerprint is the right one",
                wanted=fingerprint, got=[key["fingerprint"] for key in found])
        armored = command.check(gpg + ["--armor", "--export", fingerprint]).stdout
    for flaw, words in (("revoked", "was revoked by its owner"), ("expired", f"expired on {key['expires']}")):
        if key[flaw]:
            raise TransactionalError(f"the key {fingerprint} ({key['user_id']}) from {source} {words}; nothing was "
                                     "imported. Get its current version from its owner")
    return key, armored


def trusted(root: str) -> list[dict]:
    """The keys in the rpm database below ``root``, with the name of the entry."""
    told = command.run(["rpm", "--root", root, "-q", "--qf", QUERY, "gpg-pubkey"]).stdout
    found = []
    with tempfile.TemporaryDirectory(prefix="keys-") as home:
        path = os.path.join(home, "key")
        for record in told.split(RECORD)[1:]:
            entry, _sign, armored = record.partition(FIELD)
            with open(path, "w", encoding="utf-8", errors="surrogateescape") as stream:
                stream.write(armored)
            for key in parse(command.run(list(GPG) + ["--homedir", home, "--show-keys", "--with-colons",
                                                      path]).stdout):
                found.append(dict(key, entry=entry))
    return found


Run = t.Callable[[t.Sequence[str]], command.Result]


def _check(result: command.Result, what: str) -> None:
    if result.rc != 0:
        said = " / ".join((result.stderr or result.stdout).strip().splitlines()[-3:])
        raise TransactionalError(f"rpm could not {what}: {said or 'it gave no reason'}", rc=result.rc,
                                 stdout=result.stdout, stderr=result.stderr)


def import_key(run: Run, armored: str, fingerprint: str) -> None:
    """Trust a key, in the root in which ``run`` works."""
    _check(run(["sh", "-c", IMPORT, "sh", armored]), f"import the key {fingerprint}")


def remove_key(run: Run, entry: str, fingerprint: str) -> None:
    _check(run(["rpm", "--erase", "--allmatches", entry]), f"remove the key {fingerprint}")
