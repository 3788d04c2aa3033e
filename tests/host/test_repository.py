# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules repository and repository_info, judged by what zypper and rpm say on the host afterwards."""

from __future__ import annotations

import base64
import contextlib
import functools
import http.server
import json
import os
import pathlib
import shutil
import ssl
import threading
import xml.etree.ElementTree as ET

import pytest

pytestmark = pytest.mark.usefixtures("as_before")
SHELF = "/opt/testbed/repos"
# Its packages and metadata are signed with a key that the guest does not trust
SIGNED = f"dir:{SHELF}/unknown-key"
KEY = f"{SHELF}/unknown-key/repodata/repomd.xml.key"
GOOD = f"{SHELF}/key.asc"
PASSWORD = "do-not-tell-5c1e"
USER = "reader-77ab"


def fingerprint(host, path=KEY):
    listed = host.check("gpg", "--show-keys", "--with-colons", path)
    return next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr"))


def trusted(host, number=1):
    return host.run("rpm", "--root", f"/.snapshots/{number}/snapshot", "-q", "gpg-pubkey").stdout.split()


def repos(host):
    told = host.check("zypper", "--xmlout", "repos", "--details")
    return {repo.get("alias"): dict(repo.attrib, url=repo.findtext("url")) for repo in ET.fromstring(told).iter("repo")}


def etc(number=None):
    top = pathlib.Path(f"/.snapshots/{number}/snapshot/etc/zypp" if number else "/etc/zypp")
    return {str(path.relative_to(top)): path.read_text() for path in top.rglob("*") if path.is_file()}


@contextlib.contextmanager
def served(directory, user=None, certificate=None):
    """The directory by HTTP or HTTPS, for one user if there is one; yields the address and the paths asked for."""
    asked = []
    expected = "Basic " + base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            if user and self.headers.get("Authorization") != expected:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="test"')
                self.end_headers()
            else:
                super().do_GET()

        do_HEAD = do_GET

        def log_message(self, *_args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=directory))
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate / "certificate", certificate / "key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http{'s' if certificate else ''}://localhost:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# --- definitions -----------------------------------------------------------------------------------------------------

def test_define_change_and_remove(host):
    before = host.state(), etc()
    arguments = {"name": "new", "baseurl": [f"dir://{SHELF}/updates"], "description": "New things", "priority": 70}
    predicted = host.module("repository", _check=True, **arguments)
    assert (host.state(), etc()) == before
    result = host.module("repository", **arguments)
    assert result.get("changed"), result
    assert {key: predicted[key] for key in ("changed", "diff", "files")} == (
        {key: result[key] for key in ("changed", "diff", "files")})
    assert result["files"] == ["/etc/zypp/repos.d/new.repo"]
    assert result["snapshot"] is None
    repo = repos(host)["new"]
    assert (repo["name"], repo["priority"], repo["enabled"], repo["autorefresh"]) == ("New things", "70", "1", "1")
    assert [repo[f"raw_{key}"] for key in ("gpgcheck", "repo_gpgcheck", "pkg_gpgcheck")] == ["1", "1", "1"]
    assert not host.module("repository", **arguments)["changed"]
    # changed in one thing, the rest stays
    result = host.module("repository", name="new", enabled=False)
    assert result["changed"]
    assert result["diff"][0]["after"] == result["diff"][0]["before"].replace("enabled=1", "enabled=0")
    repo = repos(host)["new"]
    assert (repo["name"], repo["priority"], repo["enabled"]) == ("New things", "70", "0")
    result = host.module("repository", name="new", state="absent")
    assert result["changed"]
    assert (host.state(), etc()) == before
    assert not host.module("repository", name="new", state="absent")["changed"]


def test_no_change_after_zypper_wrote_the_file_itself(host):
    arguments = {"name": "new", "baseurl": [f"dir://{SHELF}/updates"], "keep_packages": True}
    host.module("repository", **arguments)
    host.check("zypper", "modifyrepo", "--priority", "33", "new")
    assert not host.module("repository", **arguments)["changed"]


def test_what_a_human_wrote_stays(host):
    path = pathlib.Path("/etc/zypp/repos.d/by-hand.repo")
    path.write_text("# two of them\n[other]\nname=Other\nbaseurl=dir:/opt/testbed/repos/updates\n\n"
                    "[new]\nname=New\n; why\nenabled=yes\nbaseurl=dir:/opt/testbed/repos/main\n"
                    "   dir:/opt/testbed/repos/updates\npath=/\nmark=me\n")
    result = host.module("repository", name="new", baseurl=[f"dir:{SHELF}/updates"], enabled=True)
    assert result["files"] == ["/etc/zypp/repos.d/by-hand.repo"], result
    assert path.read_text() == (
        "# two of them\n[other]\nname=Other\nbaseurl=dir:/opt/testbed/repos/updates\n\n"
        "[new]\nname=New\n; why\nenabled=yes\nbaseurl=dir:/opt/testbed/repos/updates\npath=/\nmark=me\n"
        "gpgcheck=1\nrepo_gpgcheck=1\npkg_gpgcheck=1\n")
    assert repos(host)["new"]["url"] == f"dir:{SHELF}/updates"
    host.module("repository", name="new", state="absent")
    assert path.read_text() == "# two of them\n[other]\nname=Other\nbaseurl=dir:/opt/testbed/repos/updates\n\n"
    host.module("repository", name="other", state="absent")
    assert not path.exists()


def test_defined_twice_is_an_error(host):
    for name in ("one", "two"):
        pathlib.Path(f"/etc/zypp/repos.d/{name}.repo").write_text("[new]\nbaseurl=dir:/opt\n")
    assert "one.repo and /etc/zypp/repos.d/two.repo" in host.module("repository", name="new")["msg"]


def test_a_service(host):
    arguments = {"name": "new", "type": "ris", "baseurl": ["https://localhost/service"], "description": "S"}
    assert host.module("repository", **arguments)["changed"]
    listed = host.check("zypper", "--xmlout", "services", "--details")
    service = next(item for item in ET.fromstring(listed).iter("service") if item.get("alias") == "new")
    assert (service.get("name"), service.get("type"), service.get("enabled")) == ("S", "ris", "1")
    assert not host.module("repository", **arguments)["changed"]
    info = host.module("repository_info")["services"]
    assert [(row["alias"], row["url"], row["insecure"]) for row in info] == [("new", "https://localhost/service", [])]
    assert host.module("repository", name="new", type="ris", state="absent")["changed"]
    assert not pathlib.Path("/etc/zypp/services.d/new.service").exists()


def test_the_repositories_of_a_service(host, tmp_path):
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / "repoindex.xml").write_text(
        f'<repoindex><repo alias="a" name="A" url="dir:{SHELF}/updates" enabled="true"/></repoindex>')
    with served(tmp_path) as (url, _asked):
        result = host.module("repository", name="new", type="ris", baseurl=[url], allow_insecure=True, refresh=True)
    assert result.get("refreshed"), result
    assert repos(host)["new:a"]["enabled"] == "1"


def test_a_service_that_is_a_program(host, tmp_path):
    program = tmp_path / "service"
    program.write_text(f"#!/bin/sh\nprintf '[a]\\nname=A\\nenabled=1\\nbaseurl=dir:{SHELF}/updates\\n'\n")
    program.chmod(0o755)
    arguments = {"name": "new", "type": "plugin", "baseurl": [f"file:{program}"]}
    result = host.module("repository", refresh=True, **arguments)
    assert result.get("refreshed"), result
    assert repos(host)["new:a"]["url"] == f"dir:{SHELF}/updates"
    assert not host.module("repository", **arguments)["changed"]
    assert host.module("repository_info")["services"][0]["type"] == "plugin"
    assert host.module("repository", name="new", type="plugin", state="absent")["changed"]
    host.check("zypper", "services")  # it forgets the repositories of services that are gone
    assert "new:a" not in repos(host)


METALINK = """<?xml version="1.0" encoding="utf-8"?>
<metalink version="3.0" xmlns="http://www.metalinker.org/"><files><file name="repomd.xml"><resources>
<url protocol="http" type="http" preference="100">%s/repodata/repomd.xml</url>
</resources></file></files></metalink>
"""


@pytest.mark.parametrize("place", ["metalink", "mirrorlist"])
def test_places_that_are_told_by_a_server(host, tmp_path, place):
    with served(f"{SHELF}/unknown-key") as (mirror, asked), served(tmp_path) as (url, _asked):
        (tmp_path / "list").write_text(METALINK % mirror if place == "metalink" else mirror + "\n")
        key = {"fingerprint": fingerprint(host), "file": KEY}
        result = host.module("repository", name="new", allow_insecure=True, keys=[key], refresh=True,
                             **{place: f"{url}/list?{place}"})
        assert result.get("refreshed"), result
        assert "/repodata/repomd.xml" in asked
        installed = host.module("package", name="testbed-unknown-key")
    assert installed.get("changed"), installed
    told = next(row for row in host.module("repository_info")["repositories"] if row["alias"] == "new")
    assert (told[place], told["baseurl"]) == ([f"{url}/list?{place}"], [])


@pytest.mark.parametrize("arguments, words", [
    ({"baseurl": ["http://localhost/x"]}, "baseurl: 'http' is not HTTPS"),
    ({"baseurl": ["https://localhost/x?ssl_verify=no"]}, "ssl_verify=no"),
    ({"baseurl": ["iso:/?iso=x.iso&url=ftp://localhost/x"]}, "'ftp' is not HTTPS"),
    ({"mirrorlist": "http://localhost/x"}, "mirrorlist: 'http' is not HTTPS"),
    ({"baseurl": ["dir:/opt"], "gpgcheck": False}, "gpgcheck is off"),
    ({"baseurl": ["dir:/opt"], "repo_gpgcheck": False}, "repo_gpgcheck is off"),
    ({"baseurl": ["/opt"]}, "it needs a scheme"),
    ({"baseurl": ["dir:/opt x"]}, "is not an address"),
    ({"description": "x\ngpgcheck=0"}, "one line"),
    ({"name": "a]\n[b", "baseurl": ["dir:/opt"]}, "cannot be the alias"),
    ({"name": "../x", "baseurl": ["dir:/opt"]}, "cannot be the alias"),
    ({}, "without baseurl, mirrorlist or metalink it cannot be"),
    ({"baseurl": ["dir:/opt"], "keys": [{"fingerprint": "29B700A4", "file": GOOD}]}, "shorter ids can be forged"),
])
def test_what_is_refused(host, arguments, words):
    before = host.state(), etc()
    result = host.module("repository", **dict({"name": "new"}, **arguments))
    assert result.get("failed"), result
    assert words in result["msg"]
    assert (host.state(), etc()) == before


def test_insecure_ones_are_allowed_one_by_one_and_reported(host):
    result = host.module("repository", name="new", baseurl=["http://localhost/x"], gpgcheck=False, allow_insecure=True)
    assert result.get("changed"), result
    assert [repos(host)["new"][key] for key in ("gpgcheck", "repo_gpgcheck", "pkg_gpgcheck")] == ["0", "0", "0"]
    info = host.module("repository_info")
    assert info["insecure"]["new"] == ["baseurl: 'http' is not HTTPS", "gpgcheck is off: nothing needs to be signed",
                                       "repo_gpgcheck is off: unsigned metadata are accepted"]
    told = repos(host)
    assert {row["alias"] for row in info["repositories"]} == set(told)
    for row in info["repositories"]:
        other = told[row["alias"]]
        assert [str(row["priority"]), "01"[row["enabled"]], "01"[row["gpgcheck"]], "01"[row["repo_gpgcheck"]]] == [
            other["priority"], other["enabled"], other["gpgcheck"], other["repo_gpgcheck"]]
    assert [(key["fingerprint"], key["user_id"], key["expired"]) for key in info["keys"]] == [
        (fingerprint(host, GOOD), "testbed good <good@testbed>", False)]


# --- keys ------------------------------------------------------------------------------------------------------------

def test_a_key_goes_where_rpm_will_look_for_it(host):
    before = trusted(host)
    arguments = {"name": "new", "baseurl": [SIGNED], "refresh": True,
                 "keys": [{"fingerprint": fingerprint(host).lower(), "file": KEY}]}
    predicted = host.module("repository", _check=True, **arguments)
    assert (predicted["changed"], host.numbers()) == (True, [1])
    result = host.module("repository", **arguments)
    assert result.get("changed"), result
    assert (result["base"], result["snapshot"], result["pending"], result["refreshed"]) == (1, 2, True, True)
    assert result["keys_imported"] == predicted["keys_imported"] == [fingerprint(host)]
    assert result["diff"] == predicted["diff"]
    assert trusted(host) == before
    assert len(trusted(host, 2)) == len(before) + 1
    # before and after the reboot
    assert etc()["repos.d/new.repo"] == etc(2)["repos.d/new.repo"]
    assert "testbed-unknown-key-1.0" not in host.packages(2)
    installed = host.module("package", name="testbed-unknown-key")
    assert installed.get("changed"), installed
    assert "testbed-unknown-key-1.0" in host.packages(3)
    # nothing left to do: no snapshot, and the key is not even read
    again = dict(arguments, keys=[{"fingerprint": fingerprint(host), "file": "/nowhere"}])
    state = host.state()
    result = host.module("repository", **again)
    assert (result["changed"], result["snapshot"], result["refreshed"]) == (False, None, True), result
    assert host.state() == state
    assert len(host.module("repository_info")["keys"]) == 2


def test_a_definition_reaches_the_pending_snapshot_and_the_view_of_check_mode(host):
    host.module("package", name="testbed-hello")
    result = host.module("repository", name="new", baseurl=[f"dir:{SHELF}/updates"], refresh=True)
    assert (result["changed"], result["snapshot"], host.default()) == (True, None, 2), result
    assert etc()["repos.d/new.repo"] == etc(2)["repos.d/new.repo"]
    predicted = host.module("package", _check=True, name="testbed-hello", state="latest")
    assert [package["version"] for package in predicted["upgraded"]] == ["2.0-1"]
    host.module("repository", name="new", state="absent")
    assert "repos.d/new.repo" not in etc() | etc(2)


def test_a_key_is_trusted_no_more(host):
    key = {"fingerprint": fingerprint(host, GOOD), "state": "absent"}
    result = host.module("repository", keys=[key])
    assert (result["keys_removed"], result["snapshot"]) == ([key["fingerprint"]], 2), result
    assert (len(trusted(host)), trusted(host, 2)) == (1, ["package", "gpg-pubkey", "is", "not", "installed"])
    assert not host.module("repository", keys=[key])["changed"]


@pytest.mark.parametrize("source", ["file", "content", "url"])
def test_a_wrong_key_changes_nothing(host, source, tmp_path):
    before = host.state(), etc()
    with served(SHELF) as (url, _asked):
        value = {"file": GOOD, "content": pathlib.Path(GOOD).read_text(), "url": f"{url}/key.asc"}[source]
        result = host.module("repository", name="new", baseurl=[SIGNED], allow_insecure=True,
                             keys=[{"fingerprint": fingerprint(host), source: value}])
    assert result.get("failed"), result
    assert f"wanted the fingerprint {fingerprint(host)}, got {fingerprint(host, GOOD)}" in result["msg"]
    assert (host.state(), etc()) == before


def test_only_the_pinned_one_of_several_keys_comes_in(host, tmp_path):
    both = pathlib.Path(GOOD).read_text() + pathlib.Path(KEY).read_text()
    host.module("repository", keys=[{"fingerprint": fingerprint(host, GOOD), "state": "absent"}])
    with served(tmp_path) as (url, asked):
        (tmp_path / "keys").write_text(both)
        key = {"fingerprint": fingerprint(host), "url": f"{url}/keys"}
        assert "fetched insecurely" in host.module("repository", keys=[key])["msg"]
        assert not asked
        result = host.module("repository", keys=[key], allow_insecure=True)
    assert result["keys_imported"] == [fingerprint(host)], result
    assert [row["fingerprint"] for row in host.module("repository_info")["keys"]] == [fingerprint(host)]


def make_key(host, home, name, expires, *options):
    gpg = ["gpg", "--batch", "--homedir", str(home), *options]
    home.mkdir(mode=0o700, exist_ok=True)
    host.check(*gpg, "--passphrase", "", "--quick-generate-key", name, "ed25519", "sign", expires)
    host.check("gpgconf", "--homedir", str(home), "--kill", "all")
    path = home / "key"
    path.write_text(host.check("gpg", "--homedir", str(home), "--armor", "--export", name))
    return path


def test_an_expired_key(host, tmp_path):
    path = make_key(host, tmp_path / "gnupg", "old@testbed", "seconds=86400", "--faked-system-time", "20200101T000000")
    before = host.state(), etc()
    result = host.module("repository", keys=[{"fingerprint": fingerprint(host, str(path)), "file": str(path)}])
    assert "expired on 2020-01-02" in result["msg"]
    assert (host.state(), etc()) == before
    # prolonged by its owner, where rpm has the old one already
    fpr = fingerprint(host, str(path))
    import_as_it_is(host, str(path))
    assert [row["expired"] for row in host.module("repository_info")["keys"] if row["fingerprint"] == fpr] == [True]
    host.check("gpg", "--batch", "--homedir", str(tmp_path / "gnupg"), "--quick-set-expire", fpr, "10y")
    host.check("gpgconf", "--homedir", str(tmp_path / "gnupg"), "--kill", "all")
    path.write_text(host.check("gpg", "--homedir", str(tmp_path / "gnupg"), "--armor", "--export", fpr))
    result = host.module("repository", keys=[{"fingerprint": fpr, "file": str(path)}])
    assert result.get("keys_imported") == [fpr], result
    assert [row["expired"] for row in host.module("repository_info")["keys"] if row["fingerprint"] == fpr] == [False]


def import_as_it_is(host, path):
    """A new default with a key that the module would refuse."""
    host.snapper("create", "--from", "1", "--read-write")
    number = host.numbers()[-1]
    host.check("rpm", "--root", f"/.snapshots/{number}/snapshot", "--import", path)
    host.snapper("modify", "--read-only", str(number))
    host.snapper("modify", "--default", str(number))


def test_inside_of_a_transaction_all_goes_into_its_snapshot(host, inside):
    before = etc(), trusted(host)
    arguments = {"name": "new", "baseurl": [SIGNED], "refresh": True,
                 "keys": [{"fingerprint": fingerprint(host), "file": KEY}]}
    result = host.module("repository", _prefix=inside, **arguments)
    assert (result.get("changed"), result.get("refreshed"), result["keys_imported"]) == (
        True, True, [fingerprint(host)]), result
    assert not host.module("repository", _prefix=inside, **arguments)["changed"]
    assert len(host.module("repository_info", _prefix=inside)["keys"]) == 2
    assert len(host.module("repository_info")["keys"]) == 1
    assert (etc(), trusted(host)) == before
    assert (len(trusted(host, 2)), "repos.d/new.repo" in etc(2), host.numbers()) == (2, True, [1, 2])


# --- refresh ---------------------------------------------------------------------------------------------------------

@pytest.fixture
def changed_on_its_way():
    """A repository whose metadata do not fit their signature."""
    place = pathlib.Path("/opt/testbed/changed")
    shutil.copytree(f"{SHELF}/updates", place)
    index = place / "repodata" / "repomd.xml"
    index.write_text(index.read_text().replace("<revision>", "<revision>9"))
    yield f"dir:{place}"
    shutil.rmtree(place)


def test_refresh_says_what_is_wrong_and_takes_the_definition_back(host, changed_on_its_way):
    before = host.state(), etc()
    for baseurl, words in (("http://127.0.0.1:1/", "Failed to connect to 127.0.0.1 port 1"),
                           (changed_on_its_way, "Signature verification failed"),
                           (SIGNED, "Signature verification failed"),
                           (f"dir:{SHELF}/unsigned-metadata", "unsigned")):
        result = host.module("repository", name="new", baseurl=[baseurl], allow_insecure=True, refresh=True)
        assert result.get("failed"), (baseurl, result)
        assert words in result["msg"]
        assert "was left as it was before" in result["msg"]
        assert (host.state(), etc()) == before


def test_a_failed_refresh_drops_the_snapshot_with_the_key_too(host):
    before = host.state(), etc()
    result = host.module("repository", name="new", baseurl=["https://127.0.0.1:1/"], refresh=True,
                         keys=[{"fingerprint": fingerprint(host), "file": KEY}])
    assert "Failed to connect" in result["msg"]
    assert "Snapshot 2 was deleted" in result["msg"]
    assert (host.state(), etc()) == before


def test_another_place_is_not_taken_for_the_cached_one(host):
    host.module("repository", name="new", baseurl=[f"dir:{SHELF}/main"], autorefresh=False, refresh=True)
    host.check("zypper", "--no-refresh", "search", "--repo", "new", "testbed-hello")
    host.module("repository", name="new", baseurl=[f"dir:{SHELF}/unsigned"])
    assert host.run("zypper", "search", "--repo", "new", "testbed-hello").returncode == 104


def test_https_is_verified(host, certificate):
    before = host.state(), etc()
    with served(f"{SHELF}/unknown-key", certificate=certificate) as (url, asked):
        key = {"fingerprint": fingerprint(host), "url": f"{url}/repodata/repomd.xml.key"}
        by_url = host.module("repository", keys=[key])
        by_zypper = host.module("repository", name="new", baseurl=[url], refresh=True)
    assert "cannot fetch the key" in by_url["msg"]
    for result in (by_url, by_zypper):
        assert "certificate" in result["msg"]
    assert not asked
    assert (host.state(), etc()) == before


@pytest.mark.usefixtures("authority")
def test_key_and_packages_by_https(host, certificate):
    with served(f"{SHELF}/unknown-key", certificate=certificate) as (url, asked):
        key = {"fingerprint": fingerprint(host), "url": f"{url}/repodata/repomd.xml.key"}
        result = host.module("repository", name="new", baseurl=[url], keys=[key], refresh=True)
        assert result.get("refreshed"), result
        assert asked[0] == "/repodata/repomd.xml.key"
        installed = host.module("package", name="testbed-unknown-key")
    assert installed.get("changed"), installed
    assert "testbed-unknown-key-1.0" in host.packages(3)


# --- credentials -----------------------------------------------------------------------------------------------------

def test_credentials_appear_nowhere_but_in_their_file(host):
    host.module("package", name="testbed-hello")
    with served(f"{SHELF}/updates", user=USER) as (url, asked):
        arguments = {"name": "new", "baseurl": [url], "username": USER, "password": PASSWORD, "allow_insecure": True,
                     "refresh": True}
        results = [host.module("repository", _check=True, **arguments), host.module("repository", **arguments),
                   host.module("repository", **dict(arguments, refresh=False))]
        results.append(host.module("repository", **dict(arguments, password=PASSWORD + "x")))
        assert results[1].get("refreshed"), results[1]["msg"]
        assert [result.get("changed") for result in results] == [True, True, False, None]
        assert "/repodata/repomd.xml" in asked
        shutil.rmtree("/var/cache/zypp/raw/new")
        shutil.rmtree("/var/cache/zypp/solv/new")
        plan = host.module("package", name="testbed-hello", state="latest", _check=True)
        assert [row["version"] for row in plan["upgraded"]] == ["2.0-1"]
        results.append(host.module("repository_info"))
    for secret in (USER, PASSWORD):
        assert secret not in json.dumps(results)
        found = host.run("grep", "--recursive", "--files-with-matches", secret, "/etc", "/var/log", "/var/cache/zypp",
                         "/var/lib", "/run/microos-transactional", "/.snapshots/2/snapshot/etc").stdout.split()
        assert sorted(set(found)) == ["/.snapshots/2/snapshot/etc/zypp/credentials.d/new",
                                      "/etc/zypp/credentials.d/new"]
    for top in ("", "/.snapshots/2/snapshot"):
        about = os.stat(f"{top}/etc/zypp/credentials.d/new")
        assert (about.st_mode & 0o7777, about.st_uid) == (0o600, 0)
    assert repos(host)["new"]["url"].endswith("?credentials=new")
    host.module("repository", name="new", state="absent")
    assert not pathlib.Path("/etc/zypp/credentials.d/new").exists()


def test_a_password_in_the_address_is_refused_and_not_repeated(host):
    result = host.module("repository", name="new", baseurl=[f"https://{USER}:{PASSWORD}@localhost/"])
    assert "give them as 'username' and 'password'" in result["msg"]
    assert PASSWORD not in json.dumps(result)
    assert USER not in json.dumps(result)
    pathlib.Path("/etc/zypp/repos.d/new.repo").write_text(f"[new]\nbaseurl=https://{USER}:{PASSWORD}@localhost/\n")
    results = [host.module("repository_info"), host.module("repository", name="new", enabled=False)]
    assert PASSWORD not in json.dumps(results)
    assert "readable for everybody" in str(results[0]["insecure"]["new"])
