# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is asked for: one definition, and keys to trust or to trust no more.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
import typing as t
from urllib.parse import quote

from ansible_collections.microos.transactional.plugins.module_utils import _key_file, _key_source
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._files import Edit, read
from ansible_collections.microos.transactional.plugins.module_utils._repository_files import (
    CREDENTIALS,
    PLACES,
    ZYPP,
    definitions,
)
from ansible_collections.microos.transactional.plugins.module_utils._repository_safety import (
    LOCATIONS,
    USER_IN_ADDRESS,
    flaws,
    hide,
    options_of,
    scheme_of,
)
from ansible_collections.microos.transactional.plugins.module_utils._tools import keys, openpgp, zypp_files

SERVICES = ("ris", "plugin")
# Of what is new. Other aliases that libzypp takes, such as "My Repo (OSS)", can be changed and removed
ALIAS = re.compile(r"[A-Za-z0-9_][^\s\[\]/#;?*\\]*\Z")
FINGERPRINT = re.compile(r"(?:[0-9A-F]{40}|[0-9A-F]{64})\Z")


class Wanted:
    """The definition that is asked for, checked. ``settings`` are those of the file, None for a key that must go."""

    def __init__(self, params: t.Mapping[str, t.Any]):
        self.alias: str = params["name"]
        self.service: bool = params["type"] in SERVICES
        self.directory, self.suffix, self._address = PLACES[self.service]
        self.secret: str | None = None
        self.settings: dict[str, zypp_files.Value | None] = {}
        self.initial: dict[str, zypp_files.Value] = {}  # of a new definition, unless ``settings`` say it
        self._check_text(params)
        if params["state"] == "present":
            self._define(params)

    @property
    def credentials(self) -> str:
        return f"{CREDENTIALS}/{self._secret_name}"

    @property
    def _secret_name(self) -> str:
        """A name of one file, whatever the alias."""
        return self.alias if ALIAS.match(self.alias) else quote(self.alias, safe="").replace(".", "%2E")

    @property
    def cache(self) -> str:
        """The name of its directories, by libzypp's RepoInfoBase::escaped_alias."""
        return self.alias.replace("/", "_")

    @property
    def new_path(self) -> str:
        return f"{ZYPP}/{self.directory}/{self.alias}{self.suffix}"

    def _check_text(self, params: t.Mapping[str, t.Any]) -> None:
        if not self.alias.isprintable() or not self.alias.strip() or self.alias.startswith("."):
            self._refuse_alias()
        for key in ("description", "username", "password"):
            if params[key] is not None and (not params[key].isprintable() or params[key] != params[key].strip()):
                raise TransactionalError(f"{key} must be one line of printable text without spaces around it")
        if params["username"] == "":
            raise TransactionalError("username must not be empty")
        for url in (params["baseurl"] or []) + [params[key] for key in ("mirrorlist", "metalink") if params[key]]:
            if not url.isprintable() or re.search(r"\s|,", url) or not scheme_of(url):
                raise TransactionalError(f"'{hide(url)}' is not an address: it needs a scheme, such as https:, and no "
                                         "spaces and commas (%20 and %2C stand for them)")
            if USER_IN_ADDRESS.search(url):
                raise TransactionalError(f"'{hide(url)}' holds a user name or password, readable for everybody: give "
                                         "them as 'username' and 'password'")

    def _refuse_alias(self) -> t.NoReturn:
        raise TransactionalError(f"'{self.alias}' cannot be the alias of a repository: use letters, digits and "
                                 "_ . : + -, beginning with a letter or digit")

    def _define(self, params: t.Mapping[str, t.Any]) -> None:
        addresses = params["baseurl"] or []
        if params["username"] is not None:
            if not addresses:
                raise TransactionalError("'username' and 'password' need 'baseurl', which refers to them")
            addresses = [self._with_credentials(url) for url in addresses]
            self.secret = f"username={params['username']}\npassword={params['password']}\n"
        if self.service:
            self._define_service(params, addresses)
        else:
            self._define_repository(params, addresses)
        for key in ("enabled", "autorefresh"):
            if params[key] is not None:
                self.settings[key] = "01"[params[key]]
        if params["description"] is not None:
            self.settings["name"] = params["description"]
        self.initial.update(name=self.alias, enabled="1", autorefresh="1")

    def _with_credentials(self, url: str) -> str:
        if "credentials" in dict(options_of(url)):
            raise TransactionalError(f"'{hide(url)}' has 'credentials' already; leave them out, or 'username'")
        address, sign, fragment = url.partition("#")
        separator = "" if address.endswith(("?", "&")) else "&" if "?" in address else "?"
        return f"{address}{separator}credentials={quote(self._secret_name, safe='')}{sign}{fragment}"

    def _define_service(self, params: t.Mapping[str, t.Any], addresses: t.Sequence[str]) -> None:
        if len(addresses) > 1:
            raise TransactionalError("a service has one address only")
        unfit = [key for key in ("mirrorlist", "metalink", "priority", "keep_packages") if params[key] is not None]
        if unfit:
            raise TransactionalError(f"a service has no {', '.join(unfit)}; its repositories have")
        self.settings["type"] = params["type"]
        if addresses:
            self.settings["url"] = addresses[0]
        if not params["allow_insecure"]:
            self._refuse(flaws(self.settings))

    def _define_repository(self, params: t.Mapping[str, t.Any], addresses: t.Sequence[str]) -> None:
        located = {"baseurl": list(addresses)}
        located.update({key: [params[key]] if params[key] else [] for key in ("mirrorlist", "metalink")})
        if any(located.values()):
            self.settings.update({key: value or None for key, value in located.items()})
        every = {"gpgcheck": params["gpgcheck"]}
        for key in ("repo_gpgcheck", "pkg_gpgcheck"):
            every[key] = params["gpgcheck"] if params[key] is None else params[key]
        self.settings.update({key: "01"[value] for key, value in every.items()})
        if params["priority"] is not None:
            self.settings["priority"] = str(params["priority"])
        if params["keep_packages"] is not None:
            self.settings["keeppackages"] = "01"[params["keep_packages"]]
        if not params["allow_insecure"]:
            # packages that only the signed metadata vouch for were asked for with pkg_gpgcheck: false
            self._refuse(flaws(dict(self.settings, **dict(every, pkg_gpgcheck=True))))

    def _refuse(self, found: t.Sequence[str]) -> None:
        if found:
            raise TransactionalError(
                f"{self.alias} would be insecure: {'; '.join(found)}. Use HTTPS and signatures, or allow it for this "
                "one with 'allow_insecure: true'", insecure=list(found))

    # --- in one root ------------------------------------------------------------------------------------------------

    def find(self, root: str) -> tuple[str | None, dict]:
        """The file that defines it and what it says, if any does."""
        places = [(path, settings) for alias, path, settings in definitions(root, self.service) if alias == self.alias]
        if len(places) > 1:
            raise TransactionalError(f"{self.alias} is defined more than once, in {' and '.join(p for p, _s in places)}"
                                     "; zypper takes one of them by chance. Remove all but one")
        return places[0] if places else (None, {})

    def edits(self, root: str, present: bool) -> list[Edit]:
        """What has to be written below ``root``."""
        path, existing = self.find(root)
        if not present and path is None:
            return []
        file = path or self.new_path
        before = read(root + file)
        if not present:
            after = zypp_files.remove(before, self.alias)
        else:
            after = self._edited(root, before, existing, path is None)
        result = [Edit(root, file, before, after, 0o644)]
        result += self._credentials_edit(root, zypp_files.parse(after).get(self.alias, {}), existing)
        return [edit for edit in result if edit.before != edit.after]

    def _edited(self, root: str, before: str, existing: t.Mapping, new: bool) -> str:
        if new:
            if not ALIAS.match(self.alias):
                self._refuse_alias()
            if not any(self.settings.get(key) for key in LOCATIONS):
                raise TransactionalError(f"{self.alias} is not defined{' in ' + root if root else ''}, and without "
                                         f"{'baseurl' if self.service else 'baseurl, mirrorlist or metalink'} it "
                                         "cannot be")
            order = ("name", "enabled", "autorefresh")
            merged = dict(self.initial, **{key: value for key, value in self.settings.items() if value is not None})
            return zypp_files.edit(before, self.alias, {key: merged[key] for key in order + tuple(merged)})
        return zypp_files.edit(before, self.alias, self.settings)

    def _credentials_edit(self, root: str, wanted: t.Mapping, existing: t.Mapping) -> list[Edit]:
        before = read(root + self.credentials)
        if self.secret is not None:
            return [Edit(root, self.credentials, before, self.secret, 0o600)]
        # ours is of no use any more where the address referred to it before and does not now
        if self._refers(existing) and not self._refers(wanted) and not self._used_by_others(root):
            return [Edit(root, self.credentials, before, "", 0o600)]
        return []

    def _refers(self, settings: t.Mapping) -> bool:
        value = settings.get(self._address) or []
        urls = [value] if isinstance(value, str) else value
        return any(("credentials", self._secret_name) in options_of(url) for url in urls)

    def _used_by_others(self, root: str) -> bool:
        return any(f"credentials={quote(self._secret_name, safe='')}" in str(settings)
                   for service in PLACES for alias, _path, settings in definitions(root, service)
                   if (alias, service) != (self.alias, self.service))


class WantedKey:
    """A key to trust, or to trust no more."""

    def __init__(self, params: t.Mapping[str, t.Any], allow_insecure: bool, fetch: t.Callable[[str], bytes]):
        self.fingerprint = re.sub(r"\s", "", params["fingerprint"]).upper()
        if not FINGERPRINT.match(self.fingerprint):
            raise TransactionalError(f"'{params['fingerprint']}' is not a fingerprint: it takes all its 40 hexadecimal "
                                     "digits (64 for a key of version 6); shorter ids can be forged")
        self.present: bool = params["state"] == "present"
        self._sources = {key: params[key] for key in ("url", "file", "content") if params[key] is not None}
        if self.present and len(self._sources) != 1:
            raise TransactionalError(f"the key {self.fingerprint} needs one of 'url', 'file' and 'content'")
        found = _key_source.flaw(params["url"] or "https:", allow_insecure)
        if found:
            raise TransactionalError(f"the key {self.fingerprint} would be fetched insecurely: {found}. Use HTTPS, a "
                                     "file, or 'allow_insecure: true' for HTTP", insecure=[found])
        self._fetch = fetch
        self._material: bytes | None = None
        # what is to be trusted, if it is present
        self.key: keys.Key | None = None

    @property
    def user_id(self) -> str | None:
        return self.key.user_id if self.key else None

    @property
    def is_remote(self) -> bool:
        return self.present and "url" in self._sources

    def entry(self, trusted: t.Sequence[t.Mapping]) -> t.Mapping | None:
        return next((key for key in trusted if key["fingerprint"] == self.fingerprint), None)

    def is_done(self, trusted: t.Sequence[t.Mapping]) -> bool:
        """A key that cannot sign any more is as good as none: its owner may have prolonged it."""
        entry = self.entry(trusted)
        if entry is None or not self.present:
            return (entry is not None) == self.present
        return not (entry["expired"] or entry.get("revoked", False)) and entry.get("can_sign", True)

    def is_newer(self, copy: openpgp.Certificate) -> bool:
        """Whether what is given has something that the trusted copy of the key lacks. Loads it only then."""
        try:
            content = keys.read(self._read(), self._source)
        except FileNotFoundError:  # nobody needs it any more
            return False
        there = keys.copies(content, self.fingerprint)
        if there and not content.loose and all(other.contents <= copy.contents for other in there):
            return False
        self.load(copy)
        return not self.key.contents <= copy.contents

    def load(self, copy: openpgp.Certificate | None = None) -> None:
        """Get it and look at it. What a trusted copy has stays."""
        try:
            material = self._read()
        except FileNotFoundError as exc:
            raise self._unreadable(exc.strerror) from exc
        self.key = keys.pinned(material, self.fingerprint, self._source, copy)

    @property
    def _source(self) -> str:
        (kind, value), = self._sources.items()
        return "'content'" if kind == "content" else hide(value)

    def _unreadable(self, why: str | None) -> TransactionalError:
        return TransactionalError(f"cannot read the key {self.fingerprint} from {self._source} on this host: {why}. "
                                  "Nothing was imported")

    def _read(self) -> bytes:
        if self._material is None:
            (kind, value), = self._sources.items()
            if kind == "url":
                self._material = self._fetch(value)
            else:
                try:
                    self._material = (_key_file.read_file(value) if kind == "file"
                                      else _key_file.bounded(value.encode("utf-8", "surrogateescape")))
                except FileNotFoundError:
                    raise
                except OSError as exc:
                    raise self._unreadable(exc.strerror) from exc
                except TransactionalError as exc:
                    raise self._unreadable(str(exc)) from exc
        return self._material
