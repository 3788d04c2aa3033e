# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files of repositories, what they say of safety, secrets in addresses, and listings of gpg."""

from __future__ import annotations

import pathlib
import subprocess
import tempfile

from fuzzing import NASTY, Parser, damaged, in_time, parser_tests, printable, text
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from ansible_collections.microos.transactional.plugins.module_utils import (
    _repository_files,
    _repository_overview,
    _repository_requests,
    _repository_safety,
)
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._tools import keys, zypp_files

TWO = """\
# from the vendor
[one]
name = One: the first
enabled=yes
baseurl=https://a.example.com/x, https://b.example.com/x
  https://c.example.com/x?mirror=1
; between
  https://d.example.com/x

[two]
name=Two
gpgcheck=0
priority=90
"""
# gpg 2.4.7
COLONS = r"""tru::1:1795420746:1795507146:3:1:5
pub:e:255:22:14C9809232E0593A:1577836800:1577923200::u:::sc:::::ed25519:::0:
fpr:::::::::114E45CC20D8BAA7D5DCBEB614C9809232E0593A:
uid:e::::1577836800::F2706858BEB2CB2EBD2599B45F228EB0C1FD6CEA::testbed\x3a good <good@testbed>::::::::::0:
sub:e:255:18:28C9809232E0593A:1577836800:1577923200:::::e:::::cv25519::
fpr:::::::::0000000000000000000000000000000000000000:
pub:r:255:22:24C9809232E0593A:1577836800:::u:::sc:::::ed25519:::0:
fpr:::::::::2222222222222222222222222222222222222222:
"""


def settings_are_documented(found):
    for alias, section in found.items():
        assert isinstance(alias, str)
        for key, value in section.items():
            if key in zypp_files.ADDRESSES:
                assert isinstance(value, list)
                assert all(isinstance(url, str) and url for url in value)
            else:
                assert isinstance(value, str)
                assert "\n" not in value


def keys_are_documented(found):
    for key in found:
        assert key["fingerprint"] is None or key["fingerprint"] == key["fingerprint"].upper()
        for name in ("user_id", "created", "expires"):
            assert key[name] is None or isinstance(key[name], str)
        assert isinstance(key["expired"], bool)
        assert isinstance(key["revoked"], bool)


def overview(value):
    rows = [_repository_overview.describe_repository(alias, "/x.repo", section, {})
            for alias, section in zypp_files.parse(value).items()]
    return rows + [_repository_overview.describe_service(alias, "/x.service", section)
                   for alias, section in zypp_files.parse(value.replace("baseurl", "url")).items()]


def flaws_of_file(value):
    return [flaw for section in zypp_files.parse(value).values() for flaw in _repository_safety.flaws(section)]


test_real, test_any_text, test_damaged, test_huge = parser_tests([
    Parser("repo-file", zypp_files.parse, [TWO], settings_are_documented),
    Parser("overview", overview, [TWO]),
    Parser("flaws-of-file", flaws_of_file, [TWO]),
    Parser("flaws-of-address", _repository_safety.flaws_of_address,
           ["https://a.example.com/x?credentials=a&ssl_verify=no", "iso:///?iso=a.iso&url=http://b/?url=c", "dir:/srv"],
           lambda found: all(isinstance(flaw, str) for flaw in found)),
    Parser("hide", _repository_safety.hide, ["https://user:secret@a.example.com/x failed, http://b:c@d/"],
           lambda found: isinstance(found, str)),
    Parser("gpg", keys.parse, [COLONS], keys_are_documented),
    Parser("gpg-signers", keys.signers, [COLONS], lambda found: isinstance(found, set)),
])


# --- files ----------------------------------------------------------------------------------------------------------

alias = st.one_of(st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.:+-]{0,8}", fullmatch=True), st.sampled_from(["one", "two"]))
value = st.one_of(printable.map(str.strip), st.sampled_from(["1", "0", "yes", "", "a=b", "[x]", "# no", "a ; b"]))
url = st.from_regex(r"(https?|dir|ftp)://[a-z]{1,5}(\.org)?/[a-z0-9=?&;#]{0,8}", fullmatch=True)
wanted = st.fixed_dictionaries({}, optional={
    "name": st.one_of(st.none(), value), "enabled": st.sampled_from([None, "0", "1"]),
    "priority": st.sampled_from([None, "1", "99"]),
    "baseurl": st.one_of(st.none(), st.lists(url, min_size=1, max_size=3)),
    "mirrorlist": st.one_of(st.none(), st.lists(url, min_size=1, max_size=1))})
files = st.one_of(st.just(TWO), damaged([TWO]), text)


@given(files, alias, wanted)
def test_an_edited_file_says_what_is_wanted_and_all_else_as_before(before, name, settings_):
    after = zypp_files.edit(before, name, settings_)
    was, is_ = zypp_files.parse(before), zypp_files.parse(after)
    for key, one in settings_.items():
        assert zypp_files.same(is_[name].get(key), one), key
    for other in was:
        if other != name:
            assert is_[other] == was[other]
    kept = {key: one for key, one in was.get(name, {}).items() if key not in settings_}
    assert {key: one for key, one in is_[name].items() if key not in settings_} == kept
    assert zypp_files.edit(after, name, settings_) == after


@given(files, alias)
def test_a_removed_alias_is_gone_and_all_else_as_before(before, name):
    after = zypp_files.remove(before, name)
    was, is_ = zypp_files.parse(before), zypp_files.parse(after)
    was.pop(name, None)
    assert is_ == was
    assert zypp_files.remove(after, name) == after


@given(damaged([TWO]))
def test_only_a_line_feed_ends_a_line(before):
    """As libzypp reads it. Otherwise a check may seem to be on, or off."""
    strange = before.replace("\nenabled=yes", "\u2028gpgcheck=1\x0brepo_gpgcheck=1\x85enabled=yes")
    for section in zypp_files.parse(strange).values():
        assert section.get("repo_gpgcheck") != "1"


# --- addresses ------------------------------------------------------------------------------------------------------

secret = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x17f, exclude_categories=["C", "Z"]), min_size=9).map(
    lambda word: word.replace("*", "x"))
user = st.from_regex(r"[a-z]{1,8}", fullmatch=True)


@given(user, secret, st.sampled_from(["http", "https", "ftp", "HTTPS"]), st.sampled_from(["", "error: ", "baseurl="]))
@example("me", "with/a/slash", "https", "")
@example("me", "with?question", "https", "")
@example("me", "with#hash-sign", "https", "")
@example("me", "two@signs@inside", "https", "")
def test_a_password_in_an_address_is_hidden(name, password, scheme, before):
    hidden = _repository_safety.hide(f"{before}{scheme}://{name}:{password}@host.example.com/path failed")
    assert password not in hidden
    assert hidden.startswith(before)
    assert hidden.endswith("host.example.com/path failed")


@given(st.sampled_from(["proxypass", "password"]), st.from_regex(r"[A-Za-z0-9%.~-]{9,12}", fullmatch=True))
def test_a_password_among_the_options_of_libzypp_is_hidden(option, password):
    assert password not in _repository_safety.hide(f"https://host/path?proxy=p&{option}={password}&x=y failed")


@given(st.lists(st.sampled_from(["https", "http", ":", "//", "/", "?", "&", "url=", "ssl_verify=no", "ssl_verify=yes",
                                 "[", "]", "::1", "@", "%3F", "%26", "a.org", "\u2100", "ﬀ", "#", "iso", "dir"]),
                max_size=12).map("".join))
@example("http://[")
@example("https://\u2100/")
@example("iso:///?url=" * 3000)
def test_any_address_is_judged(address):
    with in_time():
        try:
            found = _repository_safety.flaws_of_address(address)
        except TransactionalError:
            return
    if not found:
        assert address.partition(":")[0].lower() in _repository_safety.SAFE_SCHEMES


PARAMS = {"name": "one", "state": "present", "type": "repository", "gpgcheck": True, "allow_insecure": False,
          "keys": [], **dict.fromkeys(("baseurl", "mirrorlist", "metalink", "description", "enabled", "autorefresh",
                                       "priority", "keep_packages", "repo_gpgcheck", "pkg_gpgcheck", "username",
                                       "password"))}
anything = st.one_of(text, st.sampled_from([*NASTY, "https://[", "https://a/x", "https://a:b@c/", "dir:/x", "a b"]))


@given(st.fixed_dictionaries({}, optional={
    "name": anything, "description": anything, "username": anything, "password": anything, "mirrorlist": anything,
    "baseurl": st.lists(anything, max_size=2), "type": st.sampled_from(["repository", "ris", "plugin"]),
    "allow_insecure": st.booleans(), "priority": st.integers(1, 200)}))
@example({"baseurl": ["https://["]})
def test_a_definition_that_is_accepted_is_one_that_the_file_can_hold(params):
    params = dict(PARAMS, **params)
    if (params["username"] is None) != (params["password"] is None):
        params.update(username=None, password=None)
    try:
        wanted_ = _repository_requests.Wanted(params)
    except TransactionalError:
        return
    assert "/" not in wanted_.alias
    assume("\0" not in wanted_.alias)
    with tempfile.TemporaryDirectory() as root:
        try:
            edits = wanted_.edits(root, present=True)
        except TransactionalError:
            return
    definition = edits[0]
    assert pathlib.PurePath(definition.path).parent == pathlib.PurePath(_repository_files.ZYPP, wanted_.directory)
    found = zypp_files.parse(definition.after)
    assert list(found) == [wanted_.alias]
    for key, one in wanted_.settings.items():
        assert zypp_files.same(found[wanted_.alias].get(key), one)


# --- keys -----------------------------------------------------------------------------------------------------------


@given(st.one_of(text, printable, st.sampled_from(["x\u2028pub", "x\x85sub:", "\x1cuid", "a\x0bfpr:::::::::FF:"])))
def test_a_user_id_is_one_whatever_is_in_it(user_id):
    # as gpg 2.4 writes it
    escaped = "".join(f"\\x{ord(character):02x}" if character < " " or character in "\x7f:\\" else character
                      for character in user_id)
    found = keys.parse(COLONS.replace("another name", escaped).replace("testbed\\x3a good <good@testbed>", escaped))
    assert [(key["fingerprint"], key["user_id"]) for key in found] == [
        ("114E45CC20D8BAA7D5DCBEB614C9809232E0593A", escaped.replace("\\x3a", ":")), ("2" * 40, None)]


@settings(max_examples=max(settings.default.max_examples // 20, 2))
@given(st.one_of(st.binary(), st.sampled_from([b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQ==\n", b"\x99" * 5000])))
def test_what_the_real_gpg_lists_of_anything_is_read(material):
    with tempfile.TemporaryDirectory() as home:
        path = pathlib.Path(home, "key")
        path.write_bytes(material)
        done = subprocess.run([*keys.GPG, "--homedir", home, "--show-keys", "--with-colons", str(path)],
                              capture_output=True, check=False, timeout=60, stdin=subprocess.DEVNULL)
    keys_are_documented(keys.parse(done.stdout.decode("utf-8", "replace")))
