# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os

import pytest

from ansible_collections.microos.transactional.plugins.module_utils import (
    _files,
    _repositories,
    _repository_files,
    _repository_requests,
    _repository_safety,
)
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._tools import command, keys, zypp_files

FINGERPRINT = "114E45CC20D8BAA7D5DCBEB614C9809232E0593A"

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
"""

# gpg 2.4.7
COLONS = r"""tru::1:1795420746:1795507146:3:1:5
pub:e:255:22:14C9809232E0593A:1577836800:1577923200::u:::sc:::::ed25519:::0:
fpr:::::::::114E45CC20D8BAA7D5DCBEB614C9809232E0593A:
uid:e::::1577836800::F2706858BEB2CB2EBD2599B45F228EB0C1FD6CEA::testbed\x3a good <good@testbed>::::::::::0:
uid:e::::1577836800::F2706858BEB2CB2EBD2599B45F228EB0C1FD6CEA::another name::::::::::0:
sub:e:255:18:28C9809232E0593A:1577836800:1577923200:::::e:::::cv25519::
fpr:::::::::0000000000000000000000000000000000000000:
pub:r:255:22:24C9809232E0593A:1577836800:::u:::sc:::::ed25519:::0:
fpr:::::::::2222222222222222222222222222222222222222:
"""


def request(**arguments):
    params = dict.fromkeys(("baseurl", "mirrorlist", "metalink", "description", "enabled", "autorefresh", "priority",
                            "keep_packages", "repo_gpgcheck", "pkg_gpgcheck", "username", "password"))
    params.update(name="one", state="present", type="repository", gpgcheck=True, allow_insecure=False, keys=[])
    params.update(arguments)
    return params


# --- files -----------------------------------------------------------------------------------------------------------

def test_parse():
    assert zypp_files.parse(TWO) == {
        "one": {"name": "One: the first", "enabled": "yes", "baseurl": [
            f"https://{host}.example.com/x" + ("?mirror=1" if host == "c" else "") for host in "abcd"]},
        "two": {"name": "Two", "gpgcheck": "0"}}


def test_the_last_of_several_counts_but_addresses_add_up():
    assert zypp_files.parse("[a]\nenabled=1\nbaseurl=dir:/x\nbaseurl=dir:/y\nenabled=0\n[a]\nname=b\n") == {
        "a": {"enabled": "0", "baseurl": ["dir:/x", "dir:/y"], "name": "b"}}


@pytest.mark.parametrize("one, other, same", [
    ("1", "yes", True), ("1", "0", False), ("on", "True", True), (["dir:///x"], ["dir:/x"], True), (None, None, True),
    (["https://x"], ["https://x/"], False), (None, "0", False), ("70", "71", False), ("maybe", "0", False)])
def test_same(one, other, same):
    assert zypp_files.same(one, other) is same


def test_edit_touches_only_what_differs():
    assert zypp_files.edit(TWO, "one", {"name": "One: the first", "enabled": "1", "priority": None}) == TWO
    two = ["https://e.example.com", "https://f.example.com"]
    edited = zypp_files.edit(TWO, "one", {"baseurl": two, "priority": "7"})
    assert edited == TWO.replace(
        "baseurl=https://a.example.com/x, https://b.example.com/x\n  https://c.example.com/x?mirror=1\n; between\n"
        "  https://d.example.com/x\n",
        "baseurl=https://e.example.com\n        https://f.example.com\n; between\npriority=7\n")
    assert zypp_files.edit(TWO, "two", {"gpgcheck": None}) == TWO.replace("gpgcheck=0\n", "")


def test_edit_adds_a_section():
    assert zypp_files.edit("", "new", {"name": "New", "path": None}) == "[new]\nname=New\n"
    assert zypp_files.edit(TWO, "new", {"name": "New"}) == TWO + "\n[new]\nname=New\n"


def test_remove():
    assert zypp_files.remove(TWO, "one") == "# from the vendor\n[two]\nname=Two\ngpgcheck=0\n"
    assert zypp_files.remove("# comment\n[one]\nname=One\n", "one") == ""


# --- what is safe ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("url, flaws", [
    ("https://x", 0), ("dir:/x", 0), ("iso:/?iso=a.iso", 0), ("hd:/x?device=/dev/sda1", 0), ("HTTP://x", 1),
    ("ftp://x", 1), ("https://x?ssl_verify=no", 1), ("https://x?ssl_verify=yes", 0), ("http://x?ssl_verify=no", 2),
    ("iso:/?iso=a.iso&url=http://x", 1), ("iso:/?iso=a.iso&url=dir:/x", 0),
    # as libzypp reads them: apart at "&" alone, the names are decoded, the last one counts
    ("https://x?ssl_verify=no&ssl_verify=yes", 2), ("https://x?ssl%5Fverify=n%6f", 1), ("https://x?a;ssl_verify=no", 0),
    ("https://x?ssl_verify=host,peer", 0), ("https://x?ssl_verify=host", 1), ("https://x?ssl_verify=YES", 1),
    ("https://x?ssl_verify", 0), ("https://x#?ssl_verify=no", 0), ("https://x;ssl_verify=no", 0),
    ("https://x?a=1&a=1", 1),
    ("https://x?ssl_capath=x", 1), ("https://x?ssl_capath=/etc/../tmp", 1), ("https://x?ssl_capath=/tmp/x", 1),
    ("https://x?ssl_capath=/etc/ssl", 0), ("https://x?ssl_clientkey=/tmp/x", 1), ("https://x?credentials=/tmp/x", 1),
    ("https://x?credentials=x", 0), ("hd:/x?device=/tmp/x", 1), ("cd:/?devices=/dev/sr0,/tmp/x", 1),
    ("https://x?proxy=http://y", 1), ("https://x?proxy=y&proxyport=1", 1), ("https://x?proxy=_none_", 0),
    ("https://x?proxy=https://a:b@y", 1), ("https://x?proxypass=y", 1), ("https://x?proxyuser=y", 1),
    ("https://x?mountoptions=ro%2Cpassword=y", 1), ("https://x?" + 40 * "a", 1), ("https://a:b@x", 1),
    ("https://a:b/c@x", 1), ("https://x:80/a@b", 0), ("iso:/?url=https%3A%2F%2Fa%3Ab%40x", 1), ("plugin:name", 0),
    ("plugin:/../../tmp/x", 1), ("plugin:%2e%2e/x", 1), (20 * "iso:/?url=", 1), ("", 1), ("x", 1)])
def test_flaws_of_an_address(url, flaws):
    found = _repository_safety.flaws_of_address(url)
    assert len(found) == flaws, found
    assert "aaaa" not in str(found)


@pytest.mark.parametrize("settings, configuration, expected", [
    ({}, {}, (True, True, False)),
    ({"gpgcheck": "1"}, {}, (True, True, False)),
    ({"gpgcheck": "0"}, {}, (False, False, False)),
    ({"gpgcheck": "1", "pkg_gpgcheck": "1", "repo_gpgcheck": "0"}, {}, (True, False, True)),
    ({}, {"gpgcheck": "off"}, (False, False, False)),
    ({"gpgcheck": "1"}, {"gpgcheck": "off", "repo_gpgcheck": "off"}, (True, True, False)),
    ({}, {"pkg_gpgcheck": "on"}, (True, True, True)),
])
def test_checks(settings, configuration, expected):
    assert tuple(_repository_safety.checks(settings, configuration).values()) == expected


def test_hide():
    assert _repository_safety.hide("at https://user:secret@host/x and http://host/@x") == (
        "at https://********@host/x and http://host/@x")


@pytest.mark.parametrize("text, hidden", [
    ("https://a:b/c?d#e@host/x", "https://********@host/x"), ("https://a:b@c@host/x", "https://********@host/x"),
    ("https://host:8080/a@b", "https://host:8080/a@b"), ("https://host/a@b", "https://host/a@b"),
    ("url=https%3A%2F%2Fa%3Ab%40host%2Fx&y", "url=https%3A%2F%2F********%40host%2Fx&y"),
    ("https://x?a=b&proxypass=c&proxyuser=d&e=f", "https://x?a=b&proxypass=********&proxyuser=********&e=f"),
    ("https://x/?0123456789abcdef0123456789abcdef rest", "https://x/?******** rest"),
    ("[a]\nproxy_password = x y\nname=z\n", "[a]\nproxy_password = ********\nname=z\n"),
    ("What? ever & so on", "What? ever & so on"), ("https://x?credentials=name", "https://x?credentials=name")])
def test_what_is_hidden(text, hidden):
    assert _repository_safety.hide(text) == hidden


def test_places_that_others_may_write_to(tmp_path, monkeypatch):
    if os.getuid() != 0:
        pytest.skip("needs root")
    mine, open_to_all = tmp_path / "mine", tmp_path / "open"
    mine.mkdir(mode=0o755)
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    (open_to_all / "sub").mkdir()
    (mine / "theirs").mkdir()
    os.chown(mine / "theirs", 65534, 65534)
    (mine / "link").symlink_to(open_to_all)
    (open_to_all / "link").symlink_to(mine)
    found = {path: _repository_safety.is_open_to_others(str(tmp_path / path)) for path in (
        "mine", "mine/missing", "open", "open/sub", "open/missing", "mine/theirs", "mine/theirs/missing", "mine/link",
        "open/link")}
    assert found == {path: path not in ("mine", "mine/missing") for path in found}
    open_to_all.chmod(0o1777)
    assert not _repository_safety.is_open_to_others(str(open_to_all / "sub"))
    assert _repository_safety.is_open_to_others(str(open_to_all / "missing"))
    assert _repository_safety.is_open_to_others(str(open_to_all))


# --- requests --------------------------------------------------------------------------------------------------------

def test_a_new_repository(tmp_path):
    (edit,) = _repository_requests.Wanted(request(baseurl=["https://x"])).edits(str(tmp_path), present=True)
    assert (edit.path, edit.before) == ("/etc/zypp/repos.d/one.repo", "")
    assert edit.after == ("[one]\nname=one\nenabled=1\nautorefresh=1\nbaseurl=https://x\n"
                          "gpgcheck=1\nrepo_gpgcheck=1\npkg_gpgcheck=1\n")


def test_credentials(tmp_path):
    root = str(tmp_path)
    wanted = _repository_requests.Wanted(request(baseurl=["https://x?a=b"], username="me", password="it"))
    with _files.written(wanted.edits(root, present=True)):
        pass
    assert not wanted.edits(root, present=True)
    path = tmp_path / "etc/zypp/credentials.d/one"
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("username=me\npassword=it\n", 0o600)
    assert "baseurl=https://x?a=b&credentials=one\n" in (tmp_path / "etc/zypp/repos.d/one.repo").read_text()
    edits = _repository_requests.Wanted(request(state="absent")).edits(root, present=False)
    assert "it" not in str([_repository_files.as_diff(edit) for edit in edits if "credentials.d" in edit.path])
    with _files.written(edits):
        pass
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_credentials_of_others_stay(tmp_path):
    root = str(tmp_path)
    for name in ("one", "two"):
        text = f"[{name}]\nbaseurl=https://x?credentials=one\n"
        _files.write(f"{root}/etc/zypp/repos.d/{name}.repo", text, 0o644)
    _files.write(f"{root}/etc/zypp/credentials.d/one", "username=me\n", 0o600)
    (edit,) = _repository_requests.Wanted(request(state="absent")).edits(root, present=False)
    assert edit.path.endswith("one.repo")


def test_what_was_written_is_taken_back(tmp_path):
    root = str(tmp_path)
    _files.write(f"{root}/a", "before\n", 0o600)
    edits = [_files.Edit(root, "/a", "before\n", "after\n", 0o644),
             _files.Edit(root, "/b", "", "new\n", 0o644)]
    with pytest.raises(KeyError), _files.written(edits):
        assert sorted(os.listdir(root)) == ["a", "b"]
        raise KeyError
    assert os.listdir(root) == ["a"]
    assert ((tmp_path / "a").read_text(), (tmp_path / "a").stat().st_mode & 0o777) == ("before\n", 0o600)


@pytest.mark.parametrize("arguments, words", [
    ({"baseurl": ["http://x"]}, "not HTTPS"),
    ({"baseurl": ["https://x,y"]}, "not an address"),
    ({"baseurl": ["https://me:it@x"]}, "give them as"),
    ({"baseurl": ["https://x?credentials=y"], "username": "me", "password": "it"}, "has 'credentials' already"),
    ({"username": "me", "password": "it"}, "need 'baseurl'"),
    ({"name": ".x"}, "cannot be the alias"),
    ({"name": "a\nb"}, "cannot be the alias"),
    ({"baseurl": ["https://me:it/em@x"]}, "give them as"),
    ({"baseurl": ["https://x"], "username": "", "password": "it"}, "must not be empty"),
    ({"type": "ris", "priority": 1}, "a service has no priority"),
    ({"type": "ris", "baseurl": ["https://x", "https://y"]}, "one address only"),
])
def test_refused(arguments, words):
    with pytest.raises(TransactionalError, match=words) as caught:
        _repository_requests.Wanted(request(**arguments))
    assert "it@" not in str(caught.value)


def test_secrets_in_addresses():
    params = request(baseurl=["https://me:it@x", "https://y"], keys=[{"url": "https://token@z"}, {"url": None}])
    assert _repository_safety.secrets_in(params) == {"me:it", "me", "it", "token"}


@pytest.mark.parametrize("alias, name", [
    ("My Repo (OSS)", "My%20Repo%20%28OSS%29"), ("a/../../b", "a%2F%2E%2E%2F%2E%2E%2Fb"), ("a.b", "a.b")])
def test_credentials_of_any_alias_are_one_file(tmp_path, alias, name):
    root = str(tmp_path)
    _files.write(f"{root}/etc/zypp/repos.d/x.repo", f"[{alias}]\nbaseurl=https://x\n", 0o644)
    wanted = _repository_requests.Wanted(request(name=alias, baseurl=["https://x?a#b"], username="me", password="it"))
    with _files.written(wanted.edits(root, present=True)):
        pass
    assert os.listdir(tmp_path / "etc/zypp/credentials.d") == [name]
    (url,) = zypp_files.parse((tmp_path / "etc/zypp/repos.d/x.repo").read_text())[alias]["baseurl"]
    assert ("credentials", name) in _repository_safety.options_of(url)
    assert not wanted.edits(root, present=True)
    with _files.written(_repository_requests.Wanted(request(name=alias, state="absent")).edits(root, present=False)):
        pass
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_new_repository_needs_a_plain_alias(tmp_path):
    wanted = _repository_requests.Wanted(request(name="My Repo", baseurl=["https://x"]))
    with pytest.raises(TransactionalError, match="cannot be the alias"):
        wanted.edits(str(tmp_path), present=True)
    assert _repository_requests.Wanted(request(name="My Repo", state="absent")).edits(str(tmp_path), False) == []


def test_the_time_of_metadata():
    repomd = "<repomd><data><timestamp>17</timestamp></data><data><timestamp>19.5</timestamp></data></repomd>"
    assert zypp_files.made_at(repomd) == 19
    assert zypp_files.made_at("<repomd/>") is None


# --- refresh ---------------------------------------------------------------------------------------------------------

EXPIRED = ('<?xml version="1.0"?><stream><message type="warning">The gpg key signing file '
           "'repomd.xml' has expired.</message>%s")


@pytest.mark.parametrize("stdout, insecure, words", [
    (EXPIRED % "</stream>", False, "signed with an expired key"), (EXPIRED % "", False, "cannot read what zypper said"),
    ("", False, "cannot read what zypper said"), (EXPIRED % "&</stream>", True, "cannot read what zypper said"),
    (EXPIRED % "</stream>", True, None)])
def test_what_comes_of_a_refresh(stdout, insecure, words):
    work = object.__new__(_repositories.Repositories)
    work.warnings, work._params = [], {"allow_insecure": insecure}
    work._wanted = _repository_requests.Wanted(request())
    asked = []

    def run(argv, env=None, timeout=None):
        asked.append(argv)
        return command.Result(list(argv), 0, stdout, "")

    if words is None:
        work._judge(run, "refresh")
        assert "has expired" in str(work.warnings)
        assert len(asked) == 1
        return
    with pytest.raises(TransactionalError, match=words):
        work._judge(run, "refresh")
    assert "clean" in str(asked)


# --- keys ------------------------------------------------------------------------------------------------------------

def test_parse_keys():
    first, second = keys.parse(COLONS)
    assert first == {"fingerprint": FINGERPRINT, "user_id": "testbed: good <good@testbed>", "created": "2020-01-01",
                     "expires": "2020-01-02", "expired": True, "revoked": False}
    assert [second[key] for key in ("fingerprint", "expires", "expired", "revoked")] == ["2" * 40, None, False, True]


@pytest.mark.parametrize("params, words", [
    ({"fingerprint": "32E0593A"}, "shorter ids can be forged"),
    ({"fingerprint": FINGERPRINT}, "needs one of"),
    ({"fingerprint": FINGERPRINT, "url": "https://x", "file": "/x"}, "needs one of"),
    ({"fingerprint": FINGERPRINT, "url": "http://x"}, "fetched insecurely"),
    ({"fingerprint": FINGERPRINT, "url": "file:///x"}, "fetched insecurely"),
    ({"fingerprint": FINGERPRINT, "url": "/x"}, "fetched insecurely"),
])
def test_keys_that_are_refused(params, words):
    params = dict({"url": None, "file": None, "content": None, "state": "present"}, **params)
    with pytest.raises(TransactionalError, match=words):
        _repository_requests.WantedKey(params, False, lambda url: b"")


def test_a_key_is_done():
    params = {"url": None, "file": "/x", "content": None, "state": "present",
              "fingerprint": " ".join(FINGERPRINT[i:i + 4] for i in range(0, 40, 4)).lower()}
    key = _repository_requests.WantedKey(params, False, lambda url: b"")
    there = {"fingerprint": FINGERPRINT, "expired": False, "entry": "gpg-pubkey-1-2"}
    assert not key.is_done([])
    assert key.is_done([there])
    for flaw in ({"expired": True}, {"revoked": True}, {"can_sign": False}):
        assert not key.is_done([dict(there, **flaw)])
    key = _repository_requests.WantedKey(dict(params, state="absent", file=None), False, lambda url: b"")
    assert key.is_done([])
    assert not key.is_done([there])
