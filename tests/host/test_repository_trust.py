# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module repository lets a server, or another user of the host, decide: addresses, metadata and secrets."""

from __future__ import annotations

import base64
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from test_repository import (  # they lie beside, not in a package
    KEY,
    PASSWORD,
    SHELF,
    USER,
    etc,
    fingerprint,
    repos,
    served,
    trusted,
)
from test_repository_keys import answering, sign_again

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("as_before")]

ODD = "My Repo (OSS)"


# --- addresses -------------------------------------------------------------------------------------------------------

@pytest.fixture
def by_nobody():
    """A directory of another user, below one where everybody may write."""
    path = pathlib.Path("/tmp/by-nobody")
    subprocess.run(["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "mkdir", path], check=True)
    yield path
    shutil.rmtree(path)


@pytest.mark.parametrize("options, words", [
    ("ssl_verify=no&ssl_verify=yes", "'ssl_verify' is there more than once"),
    ("ssl_verify=yes&ssl%5Fverify=no", "'ssl_verify' is there more than once"),
    ("ssl_verify=host", "ssl_verify=host"),
    ("ssl_verify=peer", "ssl_verify=peer"),
    ("ssl%5fverify=n%6f", "ssl_verify=no"),
    ("ssl_capath=/tmp/by-nobody", "ssl_capath=/tmp/by-nobody can be changed by others than root"),
    ("ssl_capath=/tmp/by-nobody/missing", "can be changed by others"),
    ("ssl_capath=/tmp/missing", "can be changed by others"),
    ("ssl_capath=/etc/../tmp/by-nobody", "can be changed by others"),
    ("ssl_capath=etc", "can be changed by others"),
    ("ssl_clientcert=/tmp/x", "ssl_clientcert=/tmp/x can be changed"),
    ("ssl_clientkey=/tmp/x", "ssl_clientkey=/tmp/x can be changed"),
    ("credentials=/tmp/x", "credentials=/tmp/x can be changed"),
    ("proxy=http://proxy.example.com&proxyport=3128", "proxy: the connection to it is not HTTPS"),
    ("proxy=proxy.example.com", "proxy: the connection to it is not HTTPS"),
    ("proxy=https://p.example.com&proxyuser=me&proxypass=do-not-tell-5c1e", "'proxypass' in the address is readable"),
    ("password=do-not-tell-5c1e", "'password' in the address is readable"),
    ("0123456789012345678901234567890123456789", "in the address is readable"),
])
@pytest.mark.usefixtures("by_nobody")
def test_options_of_an_address_that_are_refused(host, options, words):
    before = host.state(), etc()
    result = host.module("repository", name="new", baseurl=[f"https://localhost/x?{options}"])
    assert words in result["msg"].replace("********", "0"), result
    assert PASSWORD not in json.dumps(result)
    assert (host.state(), etc()) == before


@pytest.mark.parametrize("options", ["ssl_verify=yes", "ssl_verify=peer%2Chost", "ssl_capath=/etc/ssl/certs",
                                     "proxy=_none_", "proxy=https://proxy.example.com", "timeout=10&auth=basic",
                                     "credentials=somebody", "a=b;ssl_verify=x"])
def test_options_of_an_address_that_change_nothing_for_others(host, options):
    result = host.module("repository", name="new", baseurl=[f"https://localhost/x?{options}"])
    assert result.get("changed"), result
    assert host.module("repository_info")["insecure"].get("new") is None


def test_a_program_of_a_service_that_somebody_else_may_change(host, by_nobody):
    before = etc()
    result = host.module("repository", name="new", type="plugin", baseurl=[f"file:{by_nobody}/service"])
    assert "runs as root, can be changed by others" in result["msg"], result
    result = host.module("repository", name="new", baseurl=["plugin:../../../../tmp/by-nobody/x"])
    assert "the name of a program of libzypp, not a path" in result["msg"], result
    assert etc() == before


def test_settings_of_others_that_are_insecure_are_told(host):
    pathlib.Path("/etc/zypp/repos.d/new.repo").write_text(
        "[new]\nbaseurl=https://localhost/x\npkg_gpgcheck=1\nproxy=http://me:do-not-tell-5c1e@localhost:3128\n"
        "gpgkey=http://localhost/key\nproxy_password = do-not-tell-5c1e\n")
    info = host.module("repository_info")
    assert info["insecure"]["new"] == ["gpgkey: 'http' is not HTTPS", "proxy: the connection to it is not HTTPS",
                                       "a password or user name in the address is readable for everybody"]
    result = host.module("repository", name="new", enabled=False)
    assert result.get("changed"), result
    assert PASSWORD not in json.dumps([info, result])
    assert PASSWORD in pathlib.Path("/etc/zypp/repos.d/new.repo").read_text()


def test_libzypp_reads_the_options_as_we_do(host, certificate):
    """The last one of two counts, and the names may be encoded: so it is as if nothing was verified."""
    with served(f"{SHELF}/updates", certificate=certificate) as (url, asked):
        for options in ("ssl_verify=yes&ssl%5Fverify=n%6F", "ssl_verify=yes&ssl_verify=no"):
            result = host.module("repository", name="new", baseurl=[f"{url}/?{options}"], allow_insecure=True,
                                 refresh=True)
            assert result.get("refreshed"), result
        assert asked
        result = host.module("repository", name="new", baseurl=[f"{url}/?ssl_verify=yes"], refresh=True)
        assert "certificate" in result["msg"], result


@pytest.mark.usefixtures("authority")
def test_libzypp_follows_no_redirection_from_https_to_http(host, certificate):
    """Even by it, somebody could only hold back updates: the metadata are signed."""
    with served(f"{SHELF}/updates") as (plain, asked):
        def answer(handler):
            moved.append(handler.path)
            handler.send_response(302)
            handler.send_header("Location", plain + handler.path)
            handler.end_headers()

        moved = []
        before = host.state(), etc()
        with answering(answer, certificate) as url:
            result = host.module("repository", name="new", baseurl=[url], refresh=True)
        assert "could not be refreshed" in result["msg"], result
        assert moved
        assert asked == []
        assert (host.state(), etc()) == before


# --- metadata --------------------------------------------------------------------------------------------------------

def test_older_metadata_that_are_signed_are_told(host, owners, place):
    owner = owners()
    fpr = owner.make("vendor@testbed")
    sign_again(owner, fpr, place, fpr)
    older = {path.name: path.read_bytes() for path in (place / "repodata").glob("repomd.xml*")}
    index = place / "repodata" / "repomd.xml"
    index.write_text(re.sub(r"<timestamp>\d+", "<timestamp>1900000000", index.read_text()))
    (place / "repodata" / "repomd.xml.asc").unlink()
    owner.gpg("--local-user", fpr, "--armor", "--detach-sign", str(index))
    arguments = {"name": "new", "baseurl": [f"dir:{place}"], "refresh": True,
                 "keys": [{"fingerprint": fpr, "file": str(place / "repodata" / "repomd.xml.key")}]}
    result = host.module("repository", **arguments)
    assert result.get("refreshed"), result
    assert not result.get("warnings"), result
    for name, content in older.items():
        (place / "repodata" / name).write_bytes(content)
    result = host.module("repository", **arguments)
    assert result.get("refreshed"), result
    assert "the metadata of new are older" in str(result.get("warnings")), result
    assert not host.module("repository", **arguments).get("warnings")


def cached(alias):
    return list(pathlib.Path(f"/var/cache/zypp/raw/{alias}").rglob("repomd.xml"))


def test_what_came_unchecked_is_not_taken_once_it_is_checked(host):
    arguments = {"name": "new", "baseurl": [f"dir:{SHELF}/unknown-key"]}
    result = host.module("repository", gpgcheck=False, allow_insecure=True, refresh=True, **arguments)
    assert result.get("refreshed"), result
    assert cached("new")
    assert host.module("repository", autorefresh=False, **arguments)["changed"]
    assert not cached("new")
    found = host.run("zypper", "--no-refresh", "--non-interactive", "search", "--repo", "new", "testbed")
    assert (found.returncode != 0, "testbed-unknown-key" in found.stdout) == (True, False), found


def test_what_a_key_signed_is_forgotten_with_it(host):
    key = {"fingerprint": fingerprint(host), "file": KEY}
    result = host.module("repository", name="new", baseurl=[f"dir:{SHELF}/unknown-key"], keys=[key], refresh=True)
    assert result.get("refreshed"), result
    assert cached("new")
    assert host.module("repository", keys=[dict(key, state="absent", file=None)])["keys_removed"]
    assert not cached("new")
    result = host.module("repository", name="new", refresh=True)
    assert "Signature verification failed" in result["msg"], result


def test_metadata_that_are_signed_with_an_expired_key_are_refused(host):
    expired = f"{SHELF}/expired.asc"
    fpr = fingerprint(host, expired)
    host.snapper("create", "--from", "1", "--read-write")
    host.check("rpm", "--root", "/.snapshots/2/snapshot", "--import", expired)
    host.snapper("modify", "--read-only", "2")
    host.snapper("modify", "--default", "2")
    before = host.state(), etc()
    arguments = {"name": "new", "baseurl": [f"dir:{SHELF}/expired"], "refresh": True}
    for _turn in range(2):  # nothing of it is left in the cache that could be taken the second time
        result = host.module("repository", **arguments)
        assert "are signed with an expired key" in result["msg"], result
        assert (host.state(), etc()) == before
    assert not cached("new")
    result = host.module("repository", allow_insecure=True, **arguments)
    assert result.get("refreshed"), result
    assert "has expired" in str(result["warnings"])
    assert fpr in [row["fingerprint"] for row in host.module("repository_info")["keys"] if row["expired"]]


def test_metadata_whose_signature_has_expired_are_refused(host, owners, place):
    owner = owners("20200101T000000")
    fpr = owner.make("vendor@testbed")
    sign_again(owner, fpr, place, fpr, "--default-sig-expire", "1d")
    before = host.state(), etc()
    result = host.module("repository", name="new", baseurl=[f"dir:{place}"], refresh=True,
                         keys=[{"fingerprint": fpr, "file": str(place / "repodata" / "repomd.xml.key")}])
    assert "Signature verification failed" in result["msg"], result
    assert (host.state(), etc()) == before


def test_a_server_that_hangs_is_given_up(host, monkeypatch):
    from ansible_collections.microos.transactional.plugins.module_utils import _repositories
    from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
    from ansible_collections.microos.transactional.plugins.module_utils._host import Host
    monkeypatch.setattr(_repositories, "REFRESH_SECONDS", 2)
    over = threading.Event()
    before = host.state(), etc()
    params = dict.fromkeys(("mirrorlist", "metalink", "description", "enabled", "autorefresh", "priority", "username",
                            "keep_packages", "repo_gpgcheck", "pkg_gpgcheck", "password"))
    params.update(name="new", state="present", type="repository", gpgcheck=True, allow_insecure=True, keys=[],
                  engine="auto", refresh=True, keep_failed=False)
    with answering(lambda _handler: over.wait(60)) as url:
        work = _repositories.Repositories(Host(), dict(params, baseurl=[url]), None)
        with pytest.raises(TransactionalError, match="did not end within 2 s.*left as it was before"):
            work.ensure(check_mode=False)
        over.set()
    assert (host.state(), etc()) == before


# --- secrets ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("username, password", [
    ("me-77", "x y"), ("me-77", "a%40b/c?d&e=f#g"), ("me@example.com", "p@ss:w=rd"), ("me-77", "[#;'\"$(id)`"),
    ("m\u00e9", "p\u00e4\u00df")])
def test_passwords_of_any_signs_reach_the_server(host, username, password, tmp_path):
    asked = []
    expected = "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
    shelf = pathlib.Path(f"{SHELF}/updates")

    def answer(handler):
        asked.append(handler.headers.get("Authorization"))
        path = shelf / handler.path.lstrip("/")
        if handler.headers.get("Authorization") != expected:
            handler.send_response(401)
            handler.send_header("WWW-Authenticate", 'Basic realm="test"')
            handler.send_header("Content-Length", "0")
            handler.end_headers()
        elif not path.is_file():
            handler.send_error(404)
        else:
            handler.send_response(200)
            handler.send_header("Content-Length", str(path.stat().st_size))
            handler.end_headers()
            if handler.command == "GET":
                handler.wfile.write(path.read_bytes())

    with answering(answer) as url:
        result = host.module("repository", name="new", baseurl=[url], username=username, password=password,
                             allow_insecure=True, refresh=True)
    assert result.get("refreshed"), (result, expected, asked)
    assert expected in asked
    assert password not in json.dumps(result, ensure_ascii=False)
    about = os.stat("/etc/zypp/credentials.d")
    assert (about.st_mode & 0o022, about.st_uid) == (0, 0)


@pytest.mark.parametrize("arguments, words", [
    ({"username": "me", "password": "one\ntwo"}, "password must be one line"),
    ({"username": "me", "password": " padded"}, "password must be one line"),
    ({"username": "one\npassword=two", "password": "x"}, "username must be one line"),
    ({"username": "", "password": "x"}, "username must not be empty"),
])
def test_secrets_that_would_not_be_read_as_they_are(host, arguments, words):
    before = etc()
    result = host.module("repository", name="new", baseurl=["https://localhost/"], **arguments)
    assert words in result["msg"], result
    assert etc() == before


def test_inside_of_a_transaction_a_password_is_in_its_snapshot_alone(host, inside):
    assert host.module("repository", _prefix=inside, name="new", baseurl=["https://localhost/"], username=USER,
                       password=PASSWORD)["changed"]
    told = host.run("grep", "-rl", PASSWORD, "/etc", "/run/microos-transactional", "/var/log").stdout.split()
    assert told == []
    assert PASSWORD in etc(2)["credentials.d/new"]


@pytest.mark.parametrize("address", [
    f"https://{USER}:pa/ss{PASSWORD}@localhost/", f"https://{USER}:p@ss{PASSWORD}@localhost/",
    f"https://localhost/?proxy=https://p&proxyuser={USER}&proxypass={PASSWORD}",
    f"iso:/?iso=a.iso&url=https%3A%2F%2F{USER}%3A{PASSWORD}%40localhost%2F",
])
def test_secrets_in_addresses_are_refused_and_hidden(host, address):
    result = host.module("repository", name="new", baseurl=[address])
    assert result.get("failed"), result
    assert "readable for everybody" in result["msg"], result
    pathlib.Path("/etc/zypp/repos.d/new.repo").write_text(f"[new]\nbaseurl={address}\n")
    results = [result, host.module("repository_info"), host.module("repository", name="new", enabled=False)]
    assert "readable for everybody" in str(results[1]["insecure"]["new"])
    results.append(host.module("repository", name="new", state="absent"))
    for secret in (PASSWORD, USER):
        assert secret not in json.dumps(results)


def test_secrets_in_what_zypper_says_are_hidden(host):
    address = f"https://localhost:1/x?proxy=https://localhost:1&proxyuser={USER}&proxypass={PASSWORD}"
    result = host.module("repository", name="new", baseurl=[address], allow_insecure=True, refresh=True)
    assert "could not be refreshed" in result["msg"], result
    for secret in (PASSWORD, USER):
        assert secret not in json.dumps(result)


# --- aliases that libzypp allows -------------------------------------------------------------------------------------

@pytest.mark.parametrize("alias", [ODD, "a[b]c", "repo/with/slashes", "7", "-x", "a b?*"])
def test_a_repository_of_any_alias_is_changed_and_removed(host, alias):
    path = pathlib.Path("/etc/zypp/repos.d/odd.repo")
    path.write_text(f"[{alias}]\nname=Odd\nenabled=1\nautorefresh=1\nbaseurl=dir:{SHELF}/updates\n")
    assert alias in repos(host)
    try:
        result = host.module("repository", name=alias, refresh=True)
        assert result.get("refreshed"), result
        assert pathlib.Path("/var/cache/zypp/raw", alias.replace("/", "_")).is_dir()
        result = host.module("repository", name=alias, enabled=False)
        assert result.get("changed"), result
        assert repos(host)[alias]["enabled"] == "0"
        result = host.module("repository", name=alias, baseurl=["https://localhost/"], username=USER, password=PASSWORD)
        assert result.get("changed"), result
        assert not pathlib.Path("/var/cache/zypp/raw", alias.replace("/", "_")).exists()
        (secret,) = (name for name in etc() if name.startswith("credentials.d/"))
        assert secret.count("/") == 1
        assert "credentials=" in repos(host)[alias]["url"]
        result = host.module("repository", name=alias, state="absent")
        assert result.get("changed"), result
        assert alias not in repos(host)
        assert not [name for name in etc() if name.startswith("credentials.d/")]
    finally:
        for kind in ("raw", "solv", "packages"):
            shutil.rmtree(f"/var/cache/zypp/{kind}/{alias.replace('/', '_')}", ignore_errors=True)


def test_a_new_repository_gets_no_such_alias(host):
    result = host.module("repository", name=ODD, baseurl=[f"dir:{SHELF}/updates"])
    assert "cannot be the alias" in result["msg"], result
    assert not host.module("repository", name=ODD, state="absent")["changed"]


def test_a_key_is_trusted_in_what_boots_next_only(host):
    before = trusted(host)
    assert host.module("repository", keys=[{"fingerprint": fingerprint(host), "file": KEY}])["snapshot"] == 2
    assert (trusted(host), len(trusted(host, 2))) == (before, len(before) + 1)
