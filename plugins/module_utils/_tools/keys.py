# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""OpenPGP keys: what is in a file, and which of them an rpm database trusts.

libzypp itself needs ``gpg``, so it is there where zypper is.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import collections
import os
import tempfile
import time
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._tools import command, openpgp

GPG = ("gpg", "--batch", "--no-options", "--no-tty", "--no-autostart", "--quiet")
# What others signed of a key says nothing about it, and may be any amount
IMPORT_OPTIONS = ("--import-options", "self-sigs-only")
# one record for each key, its armored text behind the two numbers that name the entry of the database
RECORD, FIELD = "\x1e", "\x1f"
QUERY = f"{RECORD}%{{NAME}}-%{{VERSION}}-%{{RELEASE}}{FIELD}%{{DESCRIPTION}}"
LIST = ("rpm", "-q", "--qf", QUERY, "gpg-pubkey")
NONE = "package gpg-pubkey is not installed"
# rpm reads a file only; the name is one inside of the namespace, where /tmp is private
IMPORT = 'file=$(mktemp) && cat >"$file" && rpm --import "$file"; status=$?; rm -f "$file"; exit $status'
# So many keys of a file are named in an error
NAMED = 5


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


def signers(colons: str) -> set[str]:
    """Those of the primary keys that can sign now, themselves or by a subkey: gpg writes a capital letter then."""
    found = set()
    can = False
    for line in colons.split("\n"):
        fields = line.split(":") + [""] * 12
        if fields[0] == "pub":
            can = "S" in fields[11]
        elif fields[0] == "fpr" and can:
            found.add(fields[9].upper())
            can = False
    return found


def _date(seconds: str) -> str | None:
    return time.strftime("%Y-%m-%d", time.gmtime(int(seconds))) if _is_time(seconds) else None


def _is_past(seconds: str) -> bool:
    return _is_time(seconds) and int(seconds) <= time.time()


def _is_time(seconds: str) -> bool:
    return seconds.isdecimal() and len(seconds) < 12


# --- key files -------------------------------------------------------------------------------------------------------

class Key(t.NamedTuple):
    """One key, by itself."""

    fingerprint: str
    user_id: str | None
    armored: str
    contents: frozenset


def read(material: bytes, source: str) -> openpgp.Content:
    try:
        return openpgp.read(material)
    except openpgp.Damaged as exc:
        raise TransactionalError(f"{source} is refused as a key file: {exc}. Nothing was imported") from exc


def copies(content: openpgp.Content, fingerprint: str) -> list[openpgp.Certificate]:
    """Those of the certificates whose primary key it is; a subkey with the fingerprint is another one's."""
    return [certificate for certificate in content.certificates if certificate.fingerprint == fingerprint]


def pinned(material: bytes, fingerprint: str, source: str, trusted: openpgp.Certificate | None = None) -> Key:
    """The one key with this fingerprint, out of a key file: what it is, and its armored text without all the rest.

    If there is a ``trusted`` copy of it, what is returned has all of both: an older copy takes nothing away.
    """
    content = read(material, source)
    found = copies(content, fingerprint)
    if not found:
        _refuse_others(content, fingerprint, source)
    with tempfile.TemporaryDirectory(prefix="keys-") as home:
        gpg = list(GPG) + ["--homedir", home]
        paths = []
        for name, packets in (("key", [copy.raw for copy in found + ([trusted] if trusted else [])]),
                              ("revocations", [packet.raw for packet in content.loose])):
            if packets:
                paths.append(os.path.join(home, name))
                with open(paths[-1], "wb") as stream:
                    stream.write(b"".join(packets))
        # gpg checks the signatures, and leaves out what the primary key did not sign. Its exit code also tells of parts
        # that were left out; what counts is what came in
        told = command.run(gpg + [*IMPORT_OPTIONS, "--import", *paths])
        listed = command.run(gpg + ["--list-keys", "--with-colons"]).stdout
        about = next((key for key in parse(listed) if key["fingerprint"] == fingerprint), None)
        if about is None:
            said = " / ".join(told.stderr.strip().splitlines()[:3]) or "it says nothing"
            raise TransactionalError(f"the key {fingerprint} from {source} is not valid, gpg says: {said}. Nothing "
                                     "was imported")
        armored = command.check(gpg + ["--armor", "--export", fingerprint]).stdout
    _refuse_unusable(about, signers(listed), source)
    result = read(armored.encode("ascii"), "what gpg exported")
    if [certificate.fingerprint for certificate in result.certificates] != [fingerprint] or result.loose:
        raise TransactionalError(f"gpg was asked to export the key {fingerprint} from {source}, and exported something "
                                 "else; nothing was imported")
    return Key(fingerprint, about["user_id"], armored, result.certificates[0].contents)


def _refuse_others(content: openpgp.Content, fingerprint: str, source: str) -> t.NoReturn:
    certificates = [certificate for certificate in content.certificates if certificate.fingerprint]
    names = [f"{certificate.fingerprint} ({_user_id(certificate)})" for certificate in certificates[:NAMED]]
    if len(certificates) > NAMED:
        names.append(f"and {len(certificates) - NAMED} more")
    owners = [certificate.fingerprint for certificate in certificates if fingerprint in certificate.subkeys]
    hint = (f"It is there as a subkey of {owners[0]}, which anybody can claim. " if owners else "")
    raise TransactionalError(
        f"{source} does not hold the key that was asked for: wanted the fingerprint {fingerprint}, got "
        f"{', '.join(names) or 'no OpenPGP key at all'}. Nothing was imported. {hint}Find out from its owner which "
        "fingerprint of a primary key is the right one",
        wanted=fingerprint, got=[certificate.fingerprint for certificate in certificates[:NAMED]])


def _user_id(certificate: openpgp.Certificate) -> str:
    """As the file claims it."""
    claimed = next((packet.body for packet in certificate.packets if packet.tag == openpgp.USER_ID), b"no user ID")
    return "".join(sign if sign.isprintable() else "?" for sign in claimed[:100].decode("utf-8", "replace"))


def _refuse_unusable(about: t.Mapping, can_sign: t.Container, source: str) -> None:
    for flaw, words in ((about["revoked"], "was revoked by its owner"),
                        (about["expired"], f"expired on {about['expires']}"),
                        (about["fingerprint"] not in can_sign, "cannot sign anything (any more): its subkeys for that "
                                                               "expired, were revoked, or are not there")):
        if flaw:
            raise TransactionalError(f"the key {about['fingerprint']} ({about['user_id']}) from {source} {words}; "
                                     "nothing was imported. Get its current version from its owner")


# --- what rpm trusts -------------------------------------------------------------------------------------------------

class Entry(t.NamedTuple):
    """One of the rpm database."""

    name: str
    text: str
    certificates: list[openpgp.Certificate]


Run = t.Callable[..., command.Result]


def entries(run: Run, root: str = "/") -> list[Entry]:
    """What the rpm database has: up to rpm 6 at least, libzypp takes the keys to trust from these texts."""
    result = run(LIST if root == "/" else ["rpm", "--root", root, *LIST[1:]])
    if result.rc != 0 and NONE not in result.stdout:
        _check(result, "list the trusted keys")
    found = []
    for record in result.stdout.split(RECORD)[1:]:
        name, _sign, text = record.partition(FIELD)
        try:
            certificates = openpgp.read(text.encode("utf-8", "surrogateescape")).certificates
        except openpgp.Damaged:
            certificates = []
        found.append(Entry(name, text, certificates))
    return found


def gained(before: t.Iterable[Entry], after: t.Iterable[Entry],
           brought: t.Iterable[openpgp.Certificate] = ()) -> list[str]:
    """What is trusted in ``after`` and was not in ``before``, wholly or in part, unless it is ``brought``.

    A key is named by its fingerprint, what cannot be read as one by its entry.
    """
    known: dict[str | None, set] = {}
    for certificate in [*(certificate for entry in before for certificate in entry.certificates), *brought]:
        known.setdefault(certificate.fingerprint, set()).update(certificate.contents)
    texts = {entry.text for entry in before}
    found = []
    for entry in after:
        if entry.text in texts:
            continue
        strange = [certificate.fingerprint or entry.name for certificate in entry.certificates
                   if not certificate.contents <= known.get(certificate.fingerprint, set())]
        found += strange if entry.certificates else [entry.name]
    return found


def look(root: str) -> tuple[list[dict], dict[str, openpgp.Certificate]]:
    """The keys that the rpm database below ``root`` trusts, with the names of their entries; and what they are."""
    found = entries(command.run, root)
    with tempfile.TemporaryDirectory(prefix="keys-") as home:
        path = os.path.join(home, "keys")
        with open(path, "wb") as stream:
            stream.write(b"".join(certificate.raw for entry in found for certificate in entry.certificates))
        gpg = list(GPG) + ["--homedir", home]
        listed = command.run(gpg + ["--show-keys", "--with-colons", path]).stdout if found else ""
    about = {key["fingerprint"]: key for key in parse(listed)}
    can_sign = signers(listed)
    rows = []
    for entry in found:
        for fingerprint in [certificate.fingerprint for certificate in entry.certificates] or [None]:
            # gpg leaves out what it cannot read, which rpm may trust all the same
            unknown = {"fingerprint": fingerprint or "", "user_id": "", "created": None, "expires": None,
                       "expired": False, "revoked": False}
            rows.append(dict(about.get(fingerprint, unknown), entry=entry.name,
                             can_sign=fingerprint in can_sign or fingerprint not in about))
    return rows, {certificate.fingerprint: certificate for entry in found for certificate in entry.certificates
                  if certificate.fingerprint}


def trusted(root: str) -> list[dict]:
    """The keys in the rpm database below ``root``, with the name of the entry."""
    return look(root)[0]


def _check(result: command.Result, what: str) -> None:
    if result.rc != 0:
        said = " / ".join((result.stderr or result.stdout).strip().splitlines()[-3:])
        raise TransactionalError(f"rpm could not {what}: {said or 'it gave no reason'}", rc=result.rc,
                                 stdout=result.stdout, stderr=result.stderr)


class Change:
    """Trust some keys (``wanted`` has their contents) and others no more (None), in the root in which ``run`` works.

    What rpm trusts is compared with what it trusted before: nothing else may have come in or gone, however it came.
    """

    def __init__(self, run: Run, wanted: t.Mapping[str, Key | None]):
        self._run = run
        self._wanted = wanted
        self._before: list[Entry] = []

    def make(self) -> None:
        self._before = entries(self._run)
        for entry in self._before:
            named = [certificate.fingerprint for certificate in entry.certificates
                     if certificate.fingerprint in self._wanted]
            if named:
                # rpm 4.20 says it took a newer version of a key that it has, and keeps the old one
                self._remove(entry.name, named[0])
        for fingerprint, key in self._wanted.items():
            if key is not None:
                self._import(key.armored, fingerprint)

    def verify(self) -> None:
        after = entries(self._run)
        wrong = []
        had, has = (self._others(found) for found in (self._before, after))
        for words, names in (("trusts what was not asked for", has - had), ("lost what it trusted", had - has)):
            if names:
                wrong.append(f"it {words}: {', '.join(sorted(name for name, _text in names))}")
        wrong += [self._flaw(fingerprint, after) for fingerprint in self._wanted]
        wrong = [flaw for flaw in wrong if flaw]
        if wrong:
            raise TransactionalError(
                f"rpm does not trust what it should after the change: {'; '.join(wrong)}. What to do: look at 'rpm -qi "
                "gpg-pubkey'; keys that a repository brings along have to be named in 'keys' as well")

    def _others(self, found: t.Sequence[Entry]) -> collections.Counter:
        """All that must stay as it is, and its name."""
        return collections.Counter(
            (", ".join(certificate.fingerprint or entry.name for certificate in entry.certificates) or entry.name,
             entry.text)
            for entry in found
            if not any(certificate.fingerprint in self._wanted for certificate in entry.certificates))

    def _flaw(self, fingerprint: str, after: t.Sequence[Entry]) -> str | None:
        key = self._wanted[fingerprint]
        having, old = ([entry for entry in found if any(certificate.fingerprint == fingerprint
                                                        for certificate in entry.certificates)]
                       for found in (after, self._before))
        if key is None:
            return f"it still trusts {fingerprint}" if having else None
        if not having:
            return f"{fingerprint} is not in 'rpm -q gpg-pubkey', which is where libzypp looks for it"
        if len(having) > 1 or len(having[0].certificates) > 1:
            return f"{fingerprint} is there {len(having)} times, or together with others"
        allowed = set(key.contents).union(*(certificate.contents for entry in old for certificate in entry.certificates
                                            if certificate.fingerprint == fingerprint))
        return None if having[0].certificates[0].contents <= allowed else f"{fingerprint} has parts that nobody gave it"

    def gained(self, brought: t.Iterable[openpgp.Certificate] = ()) -> list[str]:
        """What is trusted now that was not before, see the function of this name."""
        return gained(self._before, entries(self._run), brought)

    def take_back(self) -> None:
        """As it was before."""
        now = entries(self._run)
        for entry in now:
            if entry not in self._before:
                self._remove(entry.name, entry.name)
        there = {(entry.name, entry.text) for entry in entries(self._run)}
        for entry in self._before:
            if (entry.name, entry.text) not in there:
                self._import(entry.text, entry.name)

    def _remove(self, entry: str, name: str) -> None:
        _check(self._run(["rpm", "--erase", "--allmatches", entry]), f"remove the key {name}")

    def _import(self, armored: str, name: str) -> None:
        result = self._run(["sh", "-c", IMPORT], data=armored.encode("utf-8", "surrogateescape"))
        _check(result, f"import the key {name}")
