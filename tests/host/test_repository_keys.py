# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which keys the module repository lets in, out of files that somebody prepared: real gpg makes them, and real rpm and
gpg say what is trusted afterwards."""

from __future__ import annotations

import bz2
import contextlib
import functools
import http.server
import os
import pathlib
import shutil
import ssl
import subprocess
import sys
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from test_repository import (
    GOOD,
    KEY,
    SHELF,
    SIGNED,
    etc,
    fingerprint,
    import_as_it_is,
    served,
    trusted,
)

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("as_before")]

THEN = "20260101T000000"


@pytest.fixture
def pair(owners):
    """The key that is wanted, and one of an attacker that has it as a subkey: fingerprints, and how to export them."""
    owner = owners(THEN)
    wanted = owner.make("wanted@testbed", "rsa2048")
    evil = owner.make("evil@testbed")
    owner.claim(evil, owner.listed("wanted@testbed", "grp")[0])
    assert owner.listed("evil@testbed", "fpr") == [evil, wanted]
    return wanted, evil, functools.partial(owner.public)


def what_is_trusted(host, number, home):
    """The primary keys and subkeys in all that the rpm database has, as libzypp hands them to gpg."""
    texts = host.run("rpm", "--root", f"/.snapshots/{number}/snapshot", "-q", "--qf", "%{DESCRIPTION}\n",
                     "gpg-pubkey").stdout
    home.mkdir(mode=0o700, exist_ok=True)
    told = subprocess.run(["gpg", "--homedir", home, "--batch", "--show-keys", "--with-colons"], input=texts, text=True,
                          capture_output=True, check=True).stdout
    found, kind = [], ""
    for line in told.splitlines():
        fields = line.split(":")
        kind = fields[0] if fields[0] in ("pub", "sub") else kind
        if fields[0] == "fpr":
            found.append((kind, fields[9]))
    return found


def block(armored, name):
    return b"\n\nThis is the key of " + name + b":\n\n" + armored + b"\n"


@pytest.mark.parametrize("shape", ["wanted first", "evil first", "binary", "blocks", "twice", "many"])
def test_a_key_that_claims_the_wanted_one_as_its_subkey_stays_out(host, pair, owners, tmp_path, shape):
    wanted, evil, public = pair
    if shape == "many":
        other = owners()
        crowd = [other.make(f"other{number}@testbed") for number in range(5)]
        material = public("evil") + b"".join(other.public(fpr) for fpr in crowd) + public("wanted") + public("evil")
    else:
        material = {
            "wanted first": public("wanted", False) + public("evil", False),
            "evil first": public("evil", False) + public("wanted", False),
            "binary": public("evil", False) + public("wanted", False) + public("evil", False),
            "blocks": block(public("evil"), b"evil") + block(public("wanted"), b"wanted") + block(public("evil"), b"e"),
            "twice": public("wanted") + public("evil") + public("wanted"),
        }[shape]
    path = tmp_path / "keys"
    path.write_bytes(material)
    predicted = host.module("repository", keys=[{"fingerprint": wanted, "file": str(path)}], _check=True)
    result = host.module("repository", keys=[{"fingerprint": wanted, "file": str(path)}])
    assert result.get("keys_imported") == predicted.get("keys_imported") == [wanted], result
    assert sorted(what_is_trusted(host, 2, tmp_path / "look")) == sorted(
        [("pub", wanted), ("pub", fingerprint(host, GOOD))])
    assert evil.lower()[-8:] not in " ".join(trusted(host, 2))
    assert not host.module("repository", keys=[{"fingerprint": wanted, "file": str(path)}])["changed"]


def test_a_package_of_the_attacker_stays_out(host, owners, tmp_path):
    owner = owners(THEN)
    wanted, evil = owner.make("wanted@testbed", "rsa2048"), owner.make("evil@testbed", "rsa2048")
    owner.claim(evil, owner.listed("wanted@testbed", "grp")[0])
    path = tmp_path / "keys"
    path.write_bytes(owner.public("evil") + owner.public("wanted"))
    assert host.module("repository", keys=[{"fingerprint": wanted, "file": str(path)}])["keys_imported"] == [wanted]
    packages = {}
    for signer in ("evil", "wanted"):
        packages[signer] = pathlib.Path(f"/opt/testbed/{signer}-1.0.rpm")
        shutil.copy(next(pathlib.Path(f"{SHELF}/unsigned").rglob("*.rpm")), packages[signer])
        host.check("rpmsign", "--addsign", "--define", f"_gpg_name {signer}@testbed", "--define",
                   f"_gpg_path {owner.home}", "--define", f"_gpg_sign_cmd_extra_args --faked-system-time {THEN}!",
                   str(packages[signer]))
    try:
        refused = host.module("package", name=str(packages["evil"]))
        taken = host.module("package", name=str(packages["wanted"]))
    finally:
        for package in packages.values():
            package.unlink()
    assert refused.get("failed"), refused
    assert taken.get("changed"), taken


def test_a_key_that_is_there_as_a_subkey_only_is_refused(host, pair, tmp_path):
    wanted, evil, public = pair
    before = host.state()
    result = host.module("repository", keys=[{"fingerprint": wanted, "content": public("evil").decode()}])
    assert f"wanted the fingerprint {wanted}, got {evil}" in result["msg"], result
    assert "a subkey of" in result["msg"]
    assert host.state() == before


def test_what_an_attacker_adds_to_the_wanted_key_itself_stays_out(host, pair, tmp_path):
    wanted, _evil, public = pair
    # behind the wanted key, without its primary key: a user ID and a subkey that the wanted key did not sign
    foreign = public("evil", False)
    first = foreign[1] + 2  # a short packet of the old or new form
    path = tmp_path / "keys"
    path.write_bytes(public("wanted", False) + foreign[first:])
    result = host.module("repository", keys=[{"fingerprint": wanted, "file": str(path)}])
    assert result.get("keys_imported") == [wanted], result
    assert sorted(what_is_trusted(host, 2, tmp_path / "look")) == sorted(
        [("pub", wanted), ("pub", fingerprint(host, GOOD))])


# --- keys that are of no use -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("how", ["in it", "beside it", "beside it, first"])
def test_a_revoked_key(host, owners, how):
    owner = owners()
    fpr = owner.make("gone@testbed")
    good, revocation = owner.public(fpr), owner.revocation(fpr)
    owner.gpg("--import", data=revocation)
    material = {"in it": owner.public(fpr), "beside it": good + revocation, "beside it, first": revocation + good}[how]
    before = host.state()
    result = host.module("repository", keys=[{"fingerprint": fpr, "content": material.decode()}])
    assert "was revoked by its owner" in result["msg"], result
    assert host.state() == before


def test_a_trusted_key_that_its_owner_has_revoked_meanwhile(host, owners):
    owner = owners()
    fpr = owner.make("gone@testbed")
    key = {"fingerprint": fpr, "content": owner.public(fpr).decode()}
    assert host.module("repository", keys=[key])["changed"]
    owner.gpg("--import", data=owner.revocation(fpr))
    before = host.state()
    result = host.module("repository", keys=[dict(key, content=owner.public(fpr).decode())])
    assert "was revoked by its owner" in result["msg"], result
    assert host.state() == before
    assert host.module("repository", keys=[{"fingerprint": fpr, "state": "absent"}])["keys_removed"] == [fpr]


def test_a_key_whose_subkeys_for_signing_have_all_expired(host, owners):
    owner = owners("20200101T000000")
    fpr = owner.make("old@testbed", usage="cert")
    owner.add_subkey(fpr, "seconds=86400")
    before = host.state()
    result = host.module("repository", keys=[{"fingerprint": fpr, "content": owner.public(fpr).decode()}])
    assert "cannot sign anything" in result["msg"], result
    assert host.state() == before


# --- the same key, later ---------------------------------------------------------------------------------------------

def test_a_newer_copy_replaces_the_older_one_and_never_the_other_way(host, owners, tmp_path):
    owner = owners()
    fpr = owner.make("vendor@testbed", expires="2y")
    older = owner.public(fpr)
    owner.add_subkey(fpr)
    owner.gpg("--quick-set-expire", fpr, "5y")
    newer = owner.public(fpr)
    path = tmp_path / "key"

    def ask(material, **arguments):
        path.write_bytes(material)
        return host.module("repository", keys=[{"fingerprint": fpr, "file": str(path)}], **arguments)

    assert ask(older)["snapshot"] == 2
    assert not ask(older)["changed"]
    assert ask(newer, _check=True)["changed"]
    result = ask(newer)
    assert (result.get("keys_imported"), result["snapshot"]) == ([fpr], 3), result
    assert len([1 for kind, _fpr in what_is_trusted(host, 3, tmp_path / "look") if kind == "sub"]) == 1
    told = next(row for row in host.module("repository_info")["keys"] if row["fingerprint"] == fpr)
    for material in (newer, older, older + newer, newer + older):
        result = ask(material)
        assert (result["changed"], result["snapshot"]) == (False, None), result
    path.unlink()
    assert not host.module("repository", keys=[{"fingerprint": fpr, "file": str(path)}])["changed"]
    assert next(row for row in host.module("repository_info")["keys"] if row["fingerprint"] == fpr) == told
    assert len(trusted(host, 3)) == 2


def sign_again(owner, name, place, signer, *options):
    """A copy of a repository of the testbed, signed by somebody else."""
    shutil.copytree(f"{SHELF}/updates", place)
    (place / "repodata" / "repomd.xml.asc").unlink()
    owner.gpg(*options, "--local-user", signer, "--armor", "--detach-sign", str(place / "repodata" / "repomd.xml"))
    (place / "repodata" / "repomd.xml.key").write_bytes(owner.public(name))


@pytest.mark.usefixtures("authority")
def test_metadata_that_are_signed_by_a_new_subkey_of_a_trusted_key(host, owners, place, certificate):
    owner = owners()
    fpr = owner.make("vendor@testbed")
    older = owner.public(fpr)
    assert host.module("repository", keys=[{"fingerprint": fpr, "content": older.decode()}])["changed"]
    owner.add_subkey(fpr)
    sign_again(owner, fpr, place, owner.listed(fpr, "fpr")[1] + "!")
    with served(place, certificate=certificate) as (url, asked):
        arguments = {"name": "new", "baseurl": [f"dir:{place}"], "refresh": True,
                     "keys": [{"fingerprint": fpr, "url": f"{url}/repodata/repomd.xml.key"}]}
        result = host.module("repository", **arguments)
        assert (result.get("refreshed"), result.get("keys_imported")) == (True, [fpr]), result
        # as long as all goes well, the key is not fetched
        asked.clear()
        assert not host.module("repository", **arguments)["changed"]
        assert not asked
    assert (result["snapshot"], host.default()) == (3, 3)


@pytest.mark.usefixtures("authority")
def test_a_wrong_signature_is_an_error_also_if_the_key_was_fetched_again(host, owners, place, certificate):
    owner = owners()
    fpr = owner.make("vendor@testbed")
    assert host.module("repository", keys=[{"fingerprint": fpr, "content": owner.public(fpr).decode()}])["changed"]
    other = owner.make("other@testbed")
    sign_again(owner, fpr, place, other)
    before = host.state(), etc()
    with served(place, certificate=certificate) as (url, _asked):
        result = host.module("repository", name="new", baseurl=[f"dir:{place}"], refresh=True,
                             keys=[{"fingerprint": fpr, "url": f"{url}/repodata/repomd.xml.key"}])
    assert "Signature verification failed" in result["msg"], result
    assert (host.state(), etc()) == before


# --- files that are no key files -------------------------------------------------------------------------------------

def new_packet(tag, body):
    return bytes([0xC0 | tag, 0xFF]) + len(body).to_bytes(4, "big") + body


def test_a_bomb_is_not_unpacked(host, owners):
    owner = owners()
    fpr = owner.make("vendor@testbed")
    bomb = new_packet(8, b"\x03" + bz2.compress(owner.public(fpr, False) + bytes(300 << 20)))
    assert len(bomb) < 1 << 20
    path = pathlib.Path("/opt/testbed/bomb")
    try:
        for material in (bomb, owner.public(fpr, False) + bomb):
            path.write_bytes(material)
            began = time.monotonic()
            result = host.module("repository", keys=[{"fingerprint": fpr, "file": str(path)}])
            assert "it is compressed inside" in result["msg"], result
            assert time.monotonic() - began < 20
    finally:
        path.unlink()
    assert host.numbers() == [1]


def test_a_file_with_a_secret_key_is_refused_and_not_repeated(host, owners):
    owner = owners()
    fpr = owner.make("vendor@testbed")
    secret = owner.gpg("--armor", "--export-secret-keys", fpr).decode()
    before = host.state()
    for material in (secret, owner.public(fpr).decode() + secret):
        result = host.module("repository", keys=[{"fingerprint": fpr, "content": material}])
        assert "holds a secret key" in result["msg"], result
        assert secret.splitlines()[5] not in str(result)
    assert host.state() == before


def test_garbage_beside_the_key_changes_nothing(host, owners, tmp_path):
    owner = owners()
    fpr = owner.make("vendor@testbed")
    signature = owner.gpg("--armor", "--detach-sign", "--local-user", fpr, data=b"text")
    message = owner.gpg("--clearsign", "--local-user", fpr, data=b"text\n-----BEGIN nothing\n")
    path = tmp_path / "key"
    public = owner.public(fpr).replace(b"\n", b"\r\n")
    path.write_bytes(b"\xef\xbb\xbf<html>\r\n" + signature + message + public + message)
    assert host.module("repository", keys=[{"fingerprint": fpr, "file": str(path)}]).get("keys_imported") == [fpr]
    assert sorted(what_is_trusted(host, 2, tmp_path / "look")) == sorted(
        [("pub", fpr), ("pub", fingerprint(host, GOOD))])


@pytest.mark.parametrize("how, words", [
    ("cut", "it seems to be cut off"), ("cut binary", "is cut off"), ("html", "no OpenPGP key at all"),
    ("empty", "no OpenPGP key at all"), ("long", "larger than 1 MiB"), ("pipe", "no regular file"),
    ("directory", "Is a directory"), ("missing", "No such file"), ("signature cut", "is not valid")])
def test_what_is_no_key_file(host, owners, tmp_path, how, words):
    owner = owners()
    fpr = owner.make("vendor@testbed")
    path = tmp_path / "key"
    if how == "pipe":
        os.mkfifo(path)
    elif how == "directory":
        path.mkdir()
    elif how != "missing":
        binary = owner.public(fpr, False)
        path.write_bytes({
            "cut": owner.public(fpr)[:-60], "cut binary": binary[:-1], "html": b"<html>\nlog in first\n</html>",
            "empty": b"", "long": owner.public(fpr) + bytes(1 << 20), "signature cut": binary[:53]}[how])
    before = host.state()
    result = host.module("repository", keys=[{"fingerprint": fpr, "file": str(path)}])
    assert result.get("failed"), result
    assert words in result["msg"], result
    assert host.state() == before


def test_a_key_that_is_longer_than_an_argument_may_be(host, owners, tmp_path):
    owner = owners()
    fpr = owner.make("long@testbed")
    for number in range(16):
        owner.gpg("--cert-notation", "x@testbed=" + "y" * 8000, "--quick-add-uid", fpr, f"{number}@testbed")
    path = tmp_path / "key"
    path.write_bytes(owner.public(fpr))
    assert path.stat().st_size > 128 << 10
    result = host.module("repository", keys=[{"fingerprint": fpr, "file": str(path)}])
    assert result.get("keys_imported") == [fpr], result
    assert ("pub", fpr) in what_is_trusted(host, 2, tmp_path / "look")


# --- what rpm trusts is compared -------------------------------------------------------------------------------------

def brings_along(owner, place, signer, extra, host):
    """A repository whose signed metadata name another key, that libzypp then trusts as well."""
    shutil.copytree(f"{SHELF}/updates", place)
    index = place / "repodata" / "repomd.xml"
    name = f"gpg-pubkey-{extra[-8:].lower()}-12345678.asc?fpr={extra}"
    (place / "repodata" / "repomd.xml.key").write_bytes(owner.public(signer) + owner.public(extra))
    index.write_text(index.read_text().replace("<data ", f"<tags><content>{name}</content></tags>\n<data ", 1))
    (place / "repodata" / "repomd.xml.asc").unlink()
    owner.gpg("--local-user", signer, "--armor", "--detach-sign", str(index))


def test_a_key_that_a_repository_brings_along_is_not_trusted_silently(host, owners, place):
    owner = owners()
    signer, extra = owner.make("signer@testbed"), owner.make("extra@testbed")
    brings_along(owner, place, signer, extra, host)
    before = host.state(), etc()
    arguments = {"name": "new", "baseurl": [f"dir:{place}"], "refresh": True}
    key = {"fingerprint": signer, "file": str(place / "repodata" / "repomd.xml.key")}
    result = host.module("repository", keys=[key], **arguments)
    assert f"trusts what was not asked for: {extra}" in result["msg"], result
    assert "Snapshot 2 was deleted" in result["msg"]
    assert (host.state(), etc()) == before
    result = host.module("repository", keys=[key, dict(key, fingerprint=extra)], **arguments)
    assert result.get("refreshed"), result


def test_inside_of_a_transaction_such_a_key_is_taken_out_again(host, owners, place, inside, tmp_path):
    owner = owners()
    signer, extra = owner.make("signer@testbed"), owner.make("extra@testbed")
    brings_along(owner, place, signer, extra, host)
    before = sorted(what_is_trusted(host, 2, tmp_path / "look"))
    key = {"fingerprint": signer, "file": str(place / "repodata" / "repomd.xml.key")}
    result = host.module("repository", name="new", baseurl=[f"dir:{place}"], refresh=True, keys=[key], _prefix=inside)
    assert f"trusts what was not asked for: {extra}" in result["msg"], result
    assert sorted(what_is_trusted(host, 2, tmp_path / "look")) == before
    # something has to be left for the close of the fixture
    result = host.module("repository", keys=[key], _prefix=inside)
    assert result.get("keys_imported") == [signer], result
    assert sorted(what_is_trusted(host, 2, tmp_path / "look")) == sorted([*before, ("pub", signer)])


@pytest.mark.parametrize("where", ["alone", "inside"])
def test_a_key_that_a_repository_brings_along_with_packages(host, owners, place, request, tmp_path, where):
    owner = owners()
    signer, extra = owner.make("signer@testbed"), owner.make("extra@testbed")
    brings_along(owner, place, signer, extra, host)
    prefix = request.getfixturevalue("inside") if where == "inside" else ()
    key = {"fingerprint": signer, "file": str(place / "repodata" / "repomd.xml.key")}
    assert host.module("repository", name="new", baseurl=[f"dir:{place}"], keys=[key], _prefix=prefix).get("changed")
    before, trusted = host.state(), sorted(what_is_trusted(host, 2, tmp_path / "look"))
    result = host.module("package", name="testbed-hello=2.0", _prefix=prefix)
    assert f"rpm came to trust {extra}, which nobody has asked for" in result.get("msg", ""), result
    assert sorted(what_is_trusted(host, 2, tmp_path / "look")) == trusted
    if where == "alone":
        assert host.state() == before
    if where == "alone":
        assert host.module("repository", keys=[dict(key, fingerprint=extra)]).get("changed")
        assert host.module("package", name="testbed-hello=2.0").get("changed")


# --- by an address ---------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def answering(answer, certificate=None):
    """A server that answers as a function of its handler does."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            with contextlib.suppress(OSError):
                answer(self)

        do_HEAD = do_GET

        def log_message(self, *_args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate / "certificate", certificate / "key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http{'s' if certificate else ''}://localhost:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def moved_to(target):
    def answer(handler):
        handler.send_response(302)
        handler.send_header("Location", target)
        handler.end_headers()
    return answer


@pytest.mark.usefixtures("authority")
def test_where_a_redirection_leads_to_is_judged_too(host, certificate):
    fpr = fingerprint(host)
    before = host.state()
    with served(f"{SHELF}/unknown-key") as (plain, asked), \
            served(f"{SHELF}/unknown-key", certificate=certificate) as (safe, _asked):
        for target, words in ((f"{plain}/repodata/repomd.xml.key", "'http' is not HTTPS"),
                              (f"file://{KEY}", "'file' is not HTTPS"), ("ftp://localhost/x", "'ftp' is not HTTPS")):
            with answering(moved_to(target), certificate) as url:
                result = host.module("repository", keys=[{"fingerprint": fpr, "url": f"{url}/key"}])
            assert words in result["msg"], result
            assert "redirected" in result["msg"]
            assert (host.state(), asked) == (before, [])
        with answering(moved_to("/again"), certificate) as url:
            result = host.module("repository", keys=[{"fingerprint": fpr, "url": f"{url}/key"}])
        assert "redirected more than 5 times" in result["msg"], result
        # to another address by HTTPS it may lead
        with answering(moved_to(f"{safe}/repodata/repomd.xml.key"), certificate) as url:
            result = host.module("repository", keys=[{"fingerprint": fpr, "url": f"{url}/key"}])
    assert result.get("keys_imported") == [fpr], result


@pytest.mark.parametrize("url", [f"file://{KEY}", "ftp://localhost/x", "data:,x", KEY])
def test_addresses_that_keys_are_not_fetched_from_even_if_insecure_ones_are_allowed(host, url):
    result = host.module("repository", keys=[{"fingerprint": fingerprint(host), "url": url}], allow_insecure=True)
    assert "is not HTTPS" in result["msg"], result
    assert host.numbers() == [1]


def test_what_a_server_may_send_is_limited(host):
    fpr = fingerprint(host)
    material = pathlib.Path(KEY).read_bytes()

    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(material + bytes(1 << 16))

    def cut(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(material) + 1))
        handler.end_headers()
        handler.wfile.write(material)

    def not_there(handler):
        handler.send_error(404)

    for answer, words in ((endless, "larger than 1 MiB"), (cut, "IncompleteRead"), (not_there, "HTTP Error 404")):
        with answering(answer) as url:
            address = url.replace("//", "//reader:do-not-tell@")
            result = host.module("repository", keys=[{"fingerprint": fpr, "url": address}], allow_insecure=True)
        assert words in result["msg"], result
        assert "do-not-tell" not in str(result)
    assert host.numbers() == [1]


def test_a_server_that_sends_a_byte_now_and_then_is_given_up(host, monkeypatch):
    def trickle(handler):
        handler.send_response(200)
        handler.end_headers()
        for _turn in range(600):
            handler.wfile.write(b"-")
            time.sleep(0.1)

    from ansible_collections.microos.transactional.plugins.module_utils import _key_source
    from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
    monkeypatch.setattr(_key_source, "FETCH_SECONDS", 1)
    with answering(trickle) as url:
        began = time.monotonic()
        with pytest.raises(TransactionalError, match="not there within 1 s"):
            _key_source.fetch(f"{url}/key", allow_insecure=True)
        assert time.monotonic() - began < 20


def test_a_signed_repository_is_told_from_its_key(host):
    """The key of the testbed's own repository, in the file that the repository itself has, as most do."""
    result = host.module("repository", name="new", baseurl=[SIGNED], refresh=True,
                         keys=[{"fingerprint": fingerprint(host), "file": KEY}])
    assert result.get("refreshed"), result


def test_a_trusted_key_that_has_expired_is_listed_as_such(host, owners, tmp_path):
    owner = owners("20200101T000000")
    fpr = owner.make("old@testbed", usage="cert")
    owner.add_subkey(fpr, "seconds=86400")
    path = tmp_path / "key"
    path.write_bytes(owner.public(fpr))
    import_as_it_is(host, str(path))
    told = next(row for row in host.module("repository_info")["keys"] if row["fingerprint"] == fpr)
    assert (told["expired"], told["can_sign"]) == (False, False)
