# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Repositories, services and trusted keys in a wanted state.

Definitions lie in ``/etc``, which can be written without a snapshot. They are edited in the running system and in the
pending snapshot alike: whatever looks at the pending one sees them, and the merge at its first boot finds them equal.
Keys lie in the rpm database, a part of the snapshot: a key that is missing in the pending one takes a transaction.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import shutil
import typing as t
from urllib.parse import parse_qs, quote, urlsplit

from ansible_collections.microos.transactional.plugins.module_utils import _resident
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._host import Host
from ansible_collections.microos.transactional.plugins.module_utils._namespace import read_only_view
from ansible_collections.microos.transactional.plugins.module_utils._tools import (
    btrfs,
    command,
    keys,
    snapper,
    zypp_files,
    zypper,
)
from ansible_collections.microos.transactional.plugins.module_utils._transaction import Transaction, choose_engine

MODULE = "microos.transactional.repository"
ZYPP = "/etc/zypp"
SERVICES = ("ris", "plugin")
# is it a service? -> (directory, suffix, key of the address)
PLACES = {True: ("services.d", ".service", "url"), False: ("repos.d", ".repo", "baseurl")}
CACHES = ("raw", "solv", "packages")
CREDENTIALS = f"{ZYPP}/credentials.d"
# What zypp.conf may say for all repositories; the admin's files win over the vendor's
CONFIGURATION = ("/usr/etc/zypp/zypp.conf", "/usr/etc/zypp/zypp.conf.d/*.conf",
                 "/etc/zypp/zypp.conf", "/etc/zypp/zypp.conf.d/*.conf")
ALIAS = re.compile(r"[A-Za-z0-9_][^\s\[\]/#;?*\\]*\Z")
FINGERPRINT = re.compile(r"(?:[0-9A-F]{40}|[0-9A-F]{64})\Z")
SAFE_SCHEMES = ("https", "dir", "file", "iso", "hd", "cd", "dvd", "plugin")
USER_IN_ADDRESS = re.compile(r"(?<=://)([^/?#\s]*)@")
HIDDEN = "********"
LOCATIONS = ("baseurl", "url", "mirrorlist", "metalink")


# --- what is safe ----------------------------------------------------------------------------------------------------

def flaws_of_address(url: str) -> list[str]:
    """Why what comes from an address may have been changed or read on its way."""
    parts = urlsplit(url)
    options = parse_qs(parts.query)
    found = []
    if parts.scheme.lower() not in SAFE_SCHEMES:
        found.append(f"'{parts.scheme or url}' is not HTTPS")
    if options.get("ssl_verify", ["yes"])[-1] != "yes":
        found.append(f"ssl_verify={options['ssl_verify'][-1]}")
    # iso:///?iso=FILE&url=WHERE
    return found + [flaw for inner in options.get("url", []) for flaw in flaws_of_address(inner)]


def flaws(settings: t.Mapping[str, t.Any]) -> list[str]:
    """Why a repository cannot be trusted; ``settings`` as in the file, checks as they are in effect."""
    found = []
    for key in LOCATIONS:
        value = settings.get(key) or []
        for url in [value] if isinstance(value, str) else value:
            found += [f"{key}: {flaw}" for flaw in flaws_of_address(url)]
            if USER_IN_ADDRESS.search(url):
                found.append(f"{key}: a password or user name in the address is readable for everybody")
    if settings.get("gpgcheck") is False:
        found.append("gpgcheck is off: nothing needs to be signed")
    if settings.get("repo_gpgcheck") is False:
        found.append("repo_gpgcheck is off: unsigned metadata are accepted")
    if settings.get("pkg_gpgcheck") is False and settings.get("gpgcheck") is not False:
        found.append("pkg_gpgcheck is off: unsigned packages are accepted if the metadata are signed")
    return found


def hide(text: str) -> str:
    """Without users and passwords in addresses."""
    return USER_IN_ADDRESS.sub(HIDDEN + "@", text)


def checks(settings: t.Mapping[str, t.Any], configuration: t.Mapping[str, str]) -> dict[str, bool]:
    """gpgcheck, repo_gpgcheck and pkg_gpgcheck as they are in effect, by libzypp's RepoInfo."""
    def said(key):
        return zypp_files.truth(settings.get(key, ""))

    own = said("gpgcheck")
    every = own if own is not None else zypp_files.truth(configuration.get("gpgcheck", "1")) is not False
    result = {"gpgcheck": every}
    for key in ("repo_gpgcheck", "pkg_gpgcheck"):
        value = said(key)
        # with a gpgcheck of its own a repository leaves zypp.conf behind
        if value is None and own is None:
            value = zypp_files.truth(configuration.get(key, ""))
        # left open, metadata are checked; packages only where these are not signed
        result[key] = value if value is not None else every and key == "repo_gpgcheck"
    return result


# --- files -----------------------------------------------------------------------------------------------------------

def read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            return stream.read()
    except FileNotFoundError:
        return ""


def write(path: str, text: str, mode: int) -> None:
    """Replace a file at once, so that nobody reads half of it; no text, no file."""
    if not text:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        mode = os.stat(path).st_mode & mode
    temporary = path + ".new"  # no name that zypper reads
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8", errors="surrogateescape") as stream:
        stream.write(text)
        os.fchmod(descriptor, mode)
        stream.flush()
        os.fsync(descriptor)
    os.replace(temporary, path)


def definitions(root: str, service: bool) -> list[tuple[str, str, dict]]:
    """All repositories or services below ``root``: alias, path without the root, settings."""
    directory, suffix, _key = PLACES[service]
    found = []
    for path in sorted(glob.glob(f"{glob.escape(root)}{ZYPP}/{directory}/*{suffix}")):
        found += [(alias, path[len(root):], settings) for alias, settings in zypp_files.parse(read(path)).items()]
    return found


def configuration(root: str) -> dict[str, str]:
    """The section main of zypp.conf, wherever its parts are."""
    found: dict[str, str] = {}
    for pattern in CONFIGURATION:
        for path in sorted(glob.glob(glob.escape(root) + pattern)):
            found.update(zypp_files.parse(read(path)).get("main", {}))
    return found


class Edit(t.NamedTuple):
    root: str
    path: str  # without the root
    before: str
    after: str
    mode: int


@contextlib.contextmanager
def written(edits: t.Sequence[Edit]) -> t.Iterator[None]:
    """The edits are made; if what follows fails, they are taken back."""
    done: list[Edit] = []
    try:
        for edit in edits:
            done.append(edit)
            write(edit.root + edit.path, edit.after, edit.mode)
        yield
    except BaseException:
        for edit in reversed(done):
            with contextlib.suppress(FileNotFoundError):  # of a snapshot that is gone
                write(edit.root + edit.path, edit.before, edit.mode)
        raise


# --- the request -----------------------------------------------------------------------------------------------------

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
        return f"{CREDENTIALS}/{self.alias}"

    @property
    def new_path(self) -> str:
        return f"{ZYPP}/{self.directory}/{self.alias}{self.suffix}"

    def _check_text(self, params: t.Mapping[str, t.Any]) -> None:
        if not ALIAS.match(self.alias):
            raise TransactionalError(f"'{self.alias}' cannot be the alias of a repository: use letters, digits and "
                                     "_ . : + -, beginning with a letter or digit")
        for key in ("description", "username", "password"):
            if params[key] is not None and (not params[key].isprintable() or params[key] != params[key].strip()):
                raise TransactionalError(f"{key} must be one line of printable text without spaces around it")
        for url in (params["baseurl"] or []) + [params[key] for key in ("mirrorlist", "metalink") if params[key]]:
            if not url.isprintable() or re.search(r"\s|,", url) or not urlsplit(url).scheme:
                raise TransactionalError(f"'{hide(url)}' is not an address: it needs a scheme, such as https:, and no "
                                         "spaces and commas (%20 and %2C stand for them)")
            if USER_IN_ADDRESS.search(url):
                raise TransactionalError(f"'{hide(url)}' holds a user name or password, readable for everybody: give "
                                         "them as 'username' and 'password'")

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
        if "credentials" in parse_qs(urlsplit(url).query):
            raise TransactionalError(f"'{url}' has 'credentials' already; leave them out, or 'username'")
        return f"{url}{'&' if urlsplit(url).query else '?'}credentials={quote(self.alias, safe='')}"

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
        return any(self.alias in parse_qs(urlsplit(url).query).get("credentials", []) for url in urls)

    def _used_by_others(self, root: str) -> bool:
        return any(f"credentials={quote(self.alias, safe='')}" in str(settings)
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
        found = [] if allow_insecure else flaws_of_address(params["url"] or "https:")
        if found:
            raise TransactionalError(f"the key {self.fingerprint} would be fetched insecurely: {'; '.join(found)}. Use "
                                     "HTTPS, a file, or 'allow_insecure: true'", insecure=found)
        self._fetch = fetch
        self.user_id: str | None = None
        self.armored = ""

    def entry(self, trusted: t.Sequence[t.Mapping]) -> t.Mapping | None:
        return next((key for key in trusted if key["fingerprint"] == self.fingerprint), None)

    def is_done(self, trusted: t.Sequence[t.Mapping]) -> bool:
        """An expired key is as good as none: its owner may have prolonged it."""
        entry = self.entry(trusted)
        return (entry is not None and not entry["expired"]) if self.present else entry is None

    def load(self) -> None:
        """Get it and look at it."""
        (kind, value), = self._sources.items()
        if kind == "content":
            material, source = value.encode("utf-8"), "'content'"
        elif kind == "url":
            material, source = self._fetch(value), hide(value)
        else:
            source = value
            try:
                with open(value, "rb") as stream:
                    material = stream.read()
            except OSError as exc:
                raise TransactionalError(f"cannot read the key {self.fingerprint} from {value} on this host: "
                                         f"{exc.strerror}") from exc
        about, self.armored = keys.pinned(material, self.fingerprint, source)
        self.user_id = about["user_id"]

    def apply(self, run: keys.Run, trusted: t.Sequence[t.Mapping]) -> None:
        entry = self.entry(trusted)
        if entry is not None:
            # rpm 4.20 says it took a newer version of a key that it has, and keeps the old one
            keys.remove_key(run, entry["entry"], self.fingerprint)
        if self.present:
            keys.import_key(run, self.armored, self.fingerprint)


class Repositories:
    """One request. ``result`` is complete after ``ensure``."""

    def __init__(self, host: Host, params: t.Mapping[str, t.Any], fetch: t.Callable[[str], bytes]):
        self.warnings: list[str] = []
        self._host = host
        self._params = params
        self._present = params["state"] == "present"
        self._wanted = Wanted(params) if params["name"] is not None else None
        self._keys = [WantedKey(key, params["allow_insecure"], fetch) for key in params["keys"]]
        self._engine = choose_engine(host, params["engine"])
        self._inside = _resident.inside() is not None
        self._default = host.booted if self._inside else host.default()
        self.result: dict[str, t.Any] = {
            "changed": False, "engine": self._engine.name, "base": self._default, "snapshot": None,
            "pending": self._default != host.current, "files": [], "keys_imported": [], "keys_removed": [],
            "refreshed": False, "diff": []}

    def ensure(self, check_mode: bool) -> None:
        root = "/" if self._inside else self._host.root_of(self._default)
        trusted = keys.trusted(root) if self._keys else []
        todo = [key for key in self._keys if not key.is_done(trusted)]
        for key in todo:
            if key.present:
                key.load()
        edits = self._edits(self._roots(self._default))
        self._report(edits, todo, trusted)
        refresh = self._params["refresh"] and self._wanted is not None and self._present
        if check_mode or not (edits or todo or refresh):
            return
        if todo and not self._inside:
            self._in_a_transaction(todo, trusted, refresh)
            return
        for key in todo:
            key.apply(command.run, trusted)
        with written(edits):
            self._forget_cache(edits)
            if refresh:
                self._refresh(None)

    def _in_a_transaction(self, todo: t.Sequence[WantedKey], trusted: t.Sequence[t.Mapping], refresh: bool) -> None:
        description = "trust " + ", ".join(key.fingerprint[-16:] for key in todo)
        with contextlib.ExitStack() as stack:
            transaction = stack.enter_context(
                Transaction(self._engine, MODULE, description, self._params["keep_failed"]))
            for key in todo:
                key.apply(transaction.run, trusted)
            edits = self._edits(self._roots(transaction.snapshot))
            stack.enter_context(written(edits))
            self._forget_cache(edits)
            if refresh:
                self._refresh(transaction)
            transaction.close()
        if transaction.recovered:
            numbers = ", ".join(map(str, transaction.recovered))
            self.warnings.append(f"deleted what an interrupted run had left: snapshot {numbers}")
        self.result.update(base=transaction.base, snapshot=transaction.snapshot, pending=True)

    def _roots(self, snapshot: int) -> list[str]:
        """Where definitions have to be: in the running system, and in what comes after it if that has its own /etc."""
        other = snapper.path_of(snapshot)
        if self._inside or os.path.samefile(other + "/etc", "/etc") or not btrfs.is_subvolume(other + "/etc"):
            return [""]
        return ["", other]

    def _edits(self, roots: t.Sequence[str]) -> list[Edit]:
        if self._wanted is None:
            return []
        return [edit for root in roots for edit in self._wanted.edits(root, self._present)]

    def _report(self, edits: t.Sequence[Edit], todo: t.Sequence[WantedKey], trusted: t.Sequence[t.Mapping]) -> None:
        shown = {}
        for edit in edits:
            shown.setdefault(edit.path, edit)
        diff = [as_diff(edit) for edit in shown.values()]
        if todo:
            before = {key["fingerprint"]: key["user_id"] for key in trusted}
            after = dict(before)
            for key in todo:
                after.pop(key.fingerprint, None)
                if key.present:
                    after[key.fingerprint] = key.user_id
            diff.append({"before": _key_lines(before), "after": _key_lines(after),
                         "before_header": "trusted keys", "after_header": "trusted keys"})
        self.result.update(
            changed=bool(edits or todo), files=sorted(shown), diff=diff,
            keys_imported=[key.fingerprint for key in todo if key.present],
            keys_removed=[key.fingerprint for key in todo if not key.present])

    def _forget_cache(self, edits: t.Sequence[Edit]) -> None:
        """What was cached of another place or of a repository that is gone must not be taken for this one."""
        alias = self._wanted.alias if self._wanted else ""
        for edit in edits:
            old, new = (zypp_files.parse(text).get(alias, {}) for text in (edit.before, edit.after))
            if any(not zypp_files.same(old.get(key), new.get(key)) for key in LOCATIONS):
                for kind in CACHES:
                    shutil.rmtree(f"/var/cache/zypp/{kind}/{alias}", ignore_errors=True)

    def _refresh(self, transaction: Transaction | None) -> None:
        """In the root that has the keys; a service writes its repositories to ``/etc``, and needs none."""
        action = "refresh-services" if self._wanted.service else "refresh"
        argv = ["zypper", "--non-interactive", "--xmlout", action, self._wanted.alias]
        if transaction is not None and not self._wanted.service:
            result = transaction.run(argv, zypper.ENVIRONMENT)
        elif self._inside or self._wanted.service:
            result = command.run(argv, zypper.ENVIRONMENT)
        else:
            with read_only_view(snapper.path_of(self._default), self._host.mount_points, keep_cache=True) as view:
                result = view.run(argv, zypper.ENVIRONMENT)
        if result.rc != 0:
            answer = zypper.parse(result.stdout)
            stdout, stderr = hide(result.stdout), hide(result.stderr)
            raise TransactionalError(
                f"{self._wanted.alias} could not be refreshed, "
                f"{hide(zypper.explain(result.rc, answer, result.stderr))}. Its definition was left as it was before",
                cmd=result.argv, rc=result.rc, stdout=stdout, stderr=stderr,
                messages=[hide(text) for _kind, text in answer.messages])
        self.result["refreshed"] = True


def _key_lines(found: t.Mapping[str, str]) -> str:
    return "".join(f"{fingerprint} {user_id}\n" for fingerprint, user_id in sorted(found.items()))


def as_diff(edit: Edit) -> dict[str, str]:
    """The before and after of ``--diff``, without secrets."""
    if edit.path.startswith(CREDENTIALS):
        before, after = ("secret\n" if edit.before else ""), ("another secret\n" if edit.before else "secret\n")
        after = after if edit.after else ""
    else:
        before, after = hide(edit.before), hide(edit.after)
    return {"before": before, "after": after, "before_header": edit.path, "after_header": edit.path}


def secrets_in(params: t.Mapping[str, t.Any]) -> set[str]:
    """Users and passwords in the addresses of a task."""
    urls = (params["baseurl"] or []) + [params["mirrorlist"], params["metalink"]]
    urls += [key["url"] for key in params["keys"]]
    found = [whole for url in urls for whole in USER_IN_ADDRESS.findall(url or "")]
    return {part for whole in found for part in [whole] + whole.split(":") if part}


# --- what there is ---------------------------------------------------------------------------------------------------

def _hidden(value: zypp_files.Value) -> zypp_files.Value:
    return hide(value) if isinstance(value, str) else [hide(url) for url in value]


def describe_repository(alias: str, path: str, settings: t.Mapping, zypp_conf: t.Mapping[str, str]) -> dict:
    """One repository as the user sees it, with libzypp's defaults."""
    in_effect = checks(settings, zypp_conf)
    priority = settings.get("priority", "")
    row: dict[str, t.Any] = {
        "alias": alias, "name": settings.get("name", alias), "file": path, "service": settings.get("service"),
        "enabled": zypp_files.truth(settings.get("enabled", "1")) is True,
        "autorefresh": zypp_files.truth(settings.get("autorefresh", "0")) is True,
        "keep_packages": zypp_files.truth(settings.get("keeppackages", "0")) is True,
        "priority": int(priority) if priority.isdigit() and int(priority) else 99}
    row.update(in_effect)
    row.update({key: _hidden(settings.get(key, [])) for key in ("baseurl", "mirrorlist", "metalink")})
    row["other"] = {key: _hidden(value) for key, value in settings.items() if key not in row and key != "keeppackages"}
    row["insecure"] = flaws(dict(settings, **in_effect))
    return row


def describe_service(alias: str, path: str, settings: t.Mapping) -> dict:
    row: dict[str, t.Any] = {
        "alias": alias, "name": settings.get("name", alias), "file": path, "type": settings.get("type"),
        "url": _hidden(settings.get("url", "")),
        "enabled": zypp_files.truth(settings.get("enabled", "1")) is True,
        "autorefresh": zypp_files.truth(settings.get("autorefresh", "0")) is True}
    row["other"] = {key: _hidden(value) for key, value in settings.items() if key not in row}
    row["insecure"] = flaws(settings)
    return row


def overview(host: Host) -> dict:
    """All repositories and services of the running system, and the keys that the pending snapshot trusts."""
    zypp_conf = configuration("")
    repositories = [describe_repository(*definition, zypp_conf) for definition in definitions("", service=False)]
    services = [describe_service(*definition) for definition in definitions("", service=True)]
    root = "/" if _resident.inside() else host.root_of(host.default())
    return {
        "changed": False, "repositories": repositories, "services": services, "keys": keys.trusted(root),
        "insecure": {row["alias"]: row["insecure"] for row in repositories + services
                     if row["enabled"] and row["insecure"]}}
