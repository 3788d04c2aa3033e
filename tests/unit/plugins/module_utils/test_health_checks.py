# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is written for a health check. The scripts are run, as far as they need nothing of a host."""

from __future__ import annotations

import base64
import http.server
import os
import subprocess
import threading

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args

from ansible_collections.microos.transactional.plugins.module_utils import (
    _health_boot,
    _health_checks,
    _health_scripts,
    _module,
)
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.modules import health_check

NOTHING = {"name": "web", "command": None, "units": None, "url": None, "port": None, "script": None, "timeout": None,
           "host": "127.0.0.1", "status": [200], "validate_certs": True, "severity": "required", "deadline": 60,
           "delay": 5, "retries": None}
NASTY = "it's \"$HOME\" `id` %n {} \\ $(id)\nESAC ;;"
KINDS = [
    {"command": NASTY}, {"command": ["printf", NASTY]}, {"units": ["a.service", "b@x\\x2dy.socket"]},
    {"url": f"https://[::1]/{NASTY}", "status": [200, 204], "validate_certs": False}, {"port": 80, "host": "::1"},
    {"script": "true"}, {"script": "#!/usr/bin/python3\npass\n"},
]


def wanted(**arguments):
    return dict(NOTHING, **arguments)


def lines(text):
    return [line.strip() for line in text.splitlines()]


def assert_clean(path):
    subprocess.run(["sh", "-n", path], check=True)
    # that what was given does not expand is the aim
    subprocess.run(["shellcheck", "--exclude=SC2016", path], check=True)


@pytest.mark.parametrize("arguments", KINDS)
def test_scripts_are_clean(arguments, tmp_path):
    path = tmp_path / "check.sh"
    path.write_text(_health_scripts.render("web", wanted(**arguments), "/etc/it's"))
    assert_clean(path)


def test_the_plugin_is_clean(tmp_path):
    path = tmp_path / "plugin"
    path.write_text(_health_boot.PLUGIN)
    assert_clean(path)


@pytest.mark.parametrize("command", ["printf %s " + "'it'\\''s'", ["printf", "%s", "it's"]])
def test_a_command_is_run_as_it_was_given(command, tmp_path):
    path = tmp_path / "check.sh"
    path.write_text(_health_scripts.render("web", wanted(command=command), ""))
    done = subprocess.run(["sh", path], capture_output=True, text=True, check=True)
    assert _health_scripts.parse(0, done.stdout)[:2] == (0, 1)
    assert done.stdout.startswith("it'shealth check web: ok, ")


@pytest.mark.parametrize("line, rc, said", [
    ("exit 3", 3, ""), ("echo a; false; true", 0, "a\n"), ("echo \"$#$deadline$timeout$delay$retries\"", 0, "0\n"),
    ("now", 127, ""), ("if", 2, ""), ("cat; pwd", 0, "/\n"), ("cat <<E\na\nE", 0, "a\n"), ("kill -9 $$", -9, ""),
])
def test_a_line_is_run_as_by_a_shell_of_its_own(line, rc, said, tmp_path):
    path = tmp_path / "check.sh"
    path.write_text(_health_scripts.render("web", wanted(command=line), ""))
    done = subprocess.run(["sh", path, "try"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout) == (rc, said), done.stderr


@pytest.fixture
def server():
    """A server that keeps what it is asked, as (path, login)."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            login = (self.headers["Authorization"] or "Basic ").split(" ")[1]
            self.server.asked.append((self.path, base64.b64decode(login).decode()))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments):
            pass
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.asked = []
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield listening
        listening.shutdown()


@pytest.mark.parametrize("login, path, expected", [
    ("", "/", ""), ("me:geheim@", "/a?b=c", "me:geheim"), ("me:%40%3A%2f%23%20@", "/%20", "me:@:/# "),
    ("me:it's\"$HOME`id`\\n@", "/\"'$HOME`id`{a,b}[1-2]\\n\\\"", "me:it's\"$HOME`id`\\n"),
    ("-o:#x=y\\".replace("#", "%23") + "@", "/-o", "-o:#x=y\\"), ("END_OF_ADDRESS:x@", "/", "END_OF_ADDRESS:x"),
])
def test_an_address_arrives_at_curl_exactly(login, path, expected, server, tmp_path):
    url = f"http://{login}127.0.0.1:{server.server_port}{path}"
    _health_checks.validate(wanted(url=url))
    check = tmp_path / "check.sh"
    check.write_text(_health_scripts.render("web", wanted(url=url), ""))
    done = subprocess.run(["sh", check, "try"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert server.asked == [(path, expected)]


@pytest.mark.parametrize("url, shown, secrets", [
    ("http://h/a", "http://h/a", []),
    ("https://me:geheim@h:1/a?token=x#y", "https://********@h:1/a?********", ["me:geheim", "geheim"]),
    ("http://me:ge%40heim@[::1]:80/", "http://********@[::1]:80/", ["me:ge%40heim", "ge%40heim", "ge@heim"]),
    ("http://token@h?q@x", "http://********@h?********", ["token"]),
    ("http://h#geheim", "http://h?********", []),
    ("http://u:p@h", "http://********@h", []),  # these would be in the middle of words
])
def test_what_is_shown_of_an_address(url, shown, secrets):
    address = _health_scripts.parse_url(url)
    assert address.shown == shown and sorted(set(address.secrets) - {"u:p"}) == sorted(secrets)
    # with a status that is wrong, and all else that is printed
    text = _health_scripts.hidden(_health_scripts.render("web", wanted(url=url), ""))
    for secret in ("geheim", "heim@", "token", "q@x"):
        assert secret not in text


@pytest.mark.parametrize("url", [
    "http://me:ge/heim@h/", "http://me:ge?heim@h/", "http://me:ge#heim@h/", "http://me:ge@heim@h/", "http://me:geheim@/",
    "http://h\n/", "http://h/geheim\r\n", "http://h/\0", "http://h /geheim", "ftp://me:geheim@h/", "me:geheim@h",
    "http://", "-http://h/", "http://h:geheim/", "http://me:geheim@h\\x/", "",
])
def test_what_is_no_address_is_not_repeated(url):
    with pytest.raises(TransactionalError, match="'url' is not an address") as caught:
        _health_checks.validate(wanted(url=url))
    assert "heim" not in str(caught.value)


def test_what_an_earlier_version_wrote_is_not_shown():
    text = _health_scripts.hidden("        --write-out '%{http_code}' -- 'http://me:it'\\''s@h/' || return\nnext\n")
    assert text == "        --write-out '%{http_code}' -- ********\nnext\n"


@pytest.mark.parametrize("said, expected", [
    ("curl: http://me:geheim@h/ and https://h:1/x", "curl: http://********@h/ and https://h:1/x"),
    ("see http://h/a@b or a@b", "see http://h/a@b or a@b"),
])
def test_logins_in_what_a_check_prints(said, expected):
    assert _health_scripts.without_logins(said) == expected


@pytest.mark.parametrize("secret", [{"url": "http://me:geheim@h/?geheim"}, {"command": "echo geheim"},
                                    {"command": ["test", "geheim"]}, {"script": "test geheim"},
                                    {"url": "ftp://me:geheim@h/"}])
def test_nothing_secret_is_logged(secret, monkeypatch, capsys):
    said = []
    monkeypatch.setattr(AnsibleModule, "log", lambda _self, msg, **_more: said.append(msg))
    monkeypatch.setattr(_module, "run", lambda module, _work: module.exit_json())
    with patch_module_args({"name": "web", **secret}), pytest.raises(SystemExit):
        health_check.main()
    assert said == ["Invoked with name=web state=present"]
    assert "url" not in secret or "geheim" not in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [
    {"command": ["a", "b\0"]}, {"command": "a\0"}, {"command": ["-x"]}, {"command": "-x y"}, {"command": ["a", True]},
    {"command": ["a", None]}, {"command": ["a", {}]}, {"command": {}}, {"command": 5}, {"script": "a\0b"},
    {"url": "http://h", "status": []}, {"url": "http://h", "status": [200, 1000]},
    {"command": "a", "deadline": 10 ** 9}, {"command": "a", "delay": 10 ** 30},
])
def test_what_cannot_be_a_check(arguments):
    with pytest.raises(TransactionalError, match="command|script|status|deadline|delay"):
        _health_checks.validate(wanted(**arguments))


@pytest.mark.parametrize("arguments, expected", [
    ({"command": "true"}, "deadline=60 timeout=60 delay=5 retries=60"),
    ({"command": "true", "timeout": 7, "retries": 0, "delay": 1}, "deadline=60 timeout=7 delay=1 retries=0"),
    ({"port": 80}, "deadline=60 timeout=10 delay=5 retries=60"),
    ({"url": "http://x", "timeout": 20}, "deadline=60 timeout=20 delay=5 retries=60"),
])
def test_times(arguments, expected):
    assert expected in lines(_health_scripts.render("web", wanted(**arguments), ""))


@pytest.mark.parametrize("said, expected", [
    ("a\nhealth check web: failed, exit code 7, attempts 3, seconds 12\n", (7, 3, 12, "a\n")),
    ("without an endhealth check web: ok, exit code 0, attempts 1, seconds 0\n", (7, 1, 0, "without an end")),
    ("health check web: ok, exit code 0, attempts 1, seconds 0\nmore\n",
     (7, 0, 0, "health check web: ok, exit code 0, attempts 1, seconds 0\nmore\n")),
    ("", (7, 0, 0, "")),
])
def test_results(said, expected):
    assert _health_scripts.parse(7, said) == expected


def test_what_failed_is_told_in_a_line():
    said = "curl: (7) no\nattempt 1 failed with exit code 7\ncurl: (7) yet\nattempt 2 failed with exit code 7"
    outcome = {"name": "web", "rc": 7, "attempts": 2, "seconds": 6, "output": said}
    assert _health_checks.describe(outcome) == "web (exit code 7, 2 attempts in 6 seconds: curl: (7) yet)"
    assert _health_checks.describe(dict(outcome, output="")) == "web (exit code 7, 2 attempts in 6 seconds)"


@pytest.mark.parametrize("severity, dependency, directory", [
    ("required", "RequiredBy", "requires"), ("wanted", "WantedBy", "wants")])
def test_a_unit(severity, dependency, directory):
    found = _health_boot.texts("web", "text", wanted(severity=severity, units=["a.service"]), False)
    unit = "/etc/systemd/system/microos-health-web.service"
    assert found == {
        f"/etc/microos-transactional/health/{severity}.d/web.sh": "text", unit: found[unit],
        f"/etc/systemd/system/boot-complete.target.{directory}/microos-health-web.service": unit,
        "/etc/systemd/system/multi-user.target.wants/microos-health-web.service": unit}
    assert set(lines(found[unit])) >= {
        "After=multi-user.target a.service", "Before=boot-complete.target", f"{dependency}=boot-complete.target",
        f"ExecStart=/bin/sh /etc/microos-transactional/health/{severity}.d/web.sh", "TimeoutStartSec=75",
        "SyslogIdentifier=microos-health-web"}


def test_files_for_health_checker():
    found = _health_boot.texts("web", "text", wanted(script="true"), True)
    assert found == {"/etc/microos-transactional/health/required.d/web.sh": "text",
                     "/etc/microos-transactional/health/scripts/web": "true"}
    found = _health_boot.texts("web", "text", wanted(units=["a.service", "b.service"]), True)
    assert "After=a.service b.service" in found[
        "/etc/systemd/system/health-checker.service.d/50-microos-health-web.conf"]


@pytest.mark.parametrize("has_health_checker", [False, True])
@pytest.mark.parametrize("severity", ["required", "wanted"])
def test_all_files_of_a_check_are_known(severity, has_health_checker):
    check = wanted(severity=severity, units=["a.service"], script="true")
    assert set(_health_boot.texts("web", "text", check, has_health_checker)) <= set(_health_boot.all_paths("web"))


@pytest.mark.parametrize("unit", ["sshd.service", "a-b_c.socket", "user@1000.service", "srv-a\\x2db.mount", "-.mount"])
def test_names_of_units(unit):
    _health_checks.validate(wanted(units=[unit]))


@pytest.mark.parametrize("unit", ["sshd", "a b.service", "a.service\nx=y", "%i.service", "a/b.service", ".service"])
def test_what_is_none(unit):
    with pytest.raises(TransactionalError, match="not the name of a unit"):
        _health_checks.validate(wanted(units=[unit]))


@pytest.mark.parametrize("name", ["", "-x", "a b", "a/b", "..", "a%i", "a@b", "a\n", "x" * 65])
def test_names_that_cannot_be(name):
    with pytest.raises(TransactionalError, match="cannot be the name of a health check"):
        _health_checks.validate(wanted(name=name))


@pytest.mark.parametrize("host", ["localhost", "192.0.2.1", "fe80::1%eth0", "a-b.example.com"])
def test_hosts(host):
    _health_checks.validate(wanted(port=80, host=host))


@pytest.mark.parametrize("host", ["", "../../etc/passwd", "a b", "a\n", "[::1]"])
def test_what_is_no_host(host):
    with pytest.raises(TransactionalError, match="neither the name nor the address"):
        _health_checks.validate(wanted(port=80, host=host))


def test_where_the_plugin_lies():
    assert _health_boot.plugin_path(inside=False) == "/usr/local/libexec/health-checker/microos-transactional"
    assert os.path.basename(_health_boot.plugin_path(inside=True)) == "microos-transactional"


@pytest.mark.parametrize("text", ["trap '' TERM\nwhile :; do sleep 0.1; done\n", "deadline=1 x=y\nexec sleep 600\n",
                                  "exec >/dev/null 2>&1 sleep 600\n"])
def test_a_script_that_somebody_broke_does_not_hang(text, monkeypatch, tmp_path):
    monkeypatch.setattr(_health_checks, "UNKNOWN_SECONDS", 0)
    monkeypatch.setattr(_health_boot, "GRACE_SECONDS", 0)
    monkeypatch.setattr(_health_checks.command, "ENDING_SECONDS", 0.5)
    path = tmp_path / "check.sh"
    path.write_text(text)
    (found,) = _health_checks._run_all([_health_checks.Check("web", "required", str(path))])
    assert not found["ok"] and found["rc"] < 0 and found["output"].strip() == "it did not end by itself, and was ended"


def test_what_a_check_leaves_behind_is_read_no_longer(tmp_path):
    path = tmp_path / "check.sh"
    path.write_text("echo said; while :; do echo more; sleep 0.1; done &\n")
    (found,) = _health_checks._run_all([_health_checks.Check("web", "required", str(path))])
    assert found["ok"] and found["output"].startswith("said")
