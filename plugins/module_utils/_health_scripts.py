# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The text of a health check: one plain sh script, which needs nothing but coreutils to try until its deadline.

It runs in the same way at boot and on demand, and its last line tells the result. With the argument ``try`` it tries
once.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
import typing as t
import urllib.parse
from shlex import quote

# What takes no longer than this if it works at all; other kinds have until the deadline
CONNECTING_SECONDS = 10
# The part for an attempt comes first, so that a command finds none of the variables and functions of the rest
SCRIPT = """\
#!/bin/sh
# Health check '{name}'. Ansible writes this file (microos.transactional.health_check), changes are lost.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH

if [ "$1" = try ]; then
    cd / || exit
    set --
{body}
fi

deadline={deadline} timeout={timeout} delay={delay} retries={retries}

# Not the clock, which may jump after the boot
now() {{
    read -r uptime _ </proc/uptime
    echo "${{uptime%.*}}"
}}

start=$(now)
attempts=0
while :; do
    attempts=$((attempts + 1))
    left=$((start + deadline - $(now)))
    [ "$left" -lt "$timeout" ] || left=$timeout
    [ "$left" -gt 0 ] || left=1 # 0 would be for ever
    timeout --kill-after=5 "$left" sh "$0" try </dev/null 2>&1
    code=$?
    seconds=$(($(now) - start))
    case $code in
    0) break ;;
    124 | 137) echo "attempt $attempts ended after $left seconds without a result" ;;
    *) echo "attempt $attempts failed with exit code $code" ;;
    esac
    if [ "$attempts" -gt "$retries" ] || [ $((seconds + delay)) -ge "$deadline" ]; then break; fi
    sleep "$delay"
done
[ "$code" = 0 ] && result=ok || result=failed
echo "health check {name}: $result, exit code $code, attempts $attempts, seconds $seconds"
exit "$code"
"""
RESULT = re.compile(r"health check \S+: (?:ok|failed), exit code (\d+), attempts (\d+), seconds (\d+)\n\Z")
# The address comes by standard input: the arguments of a process are there for every user to read
URL = """\
    code=$(
        curl -q --silent --show-error --globoff --noproxy '*' --proto '=http,https' {options}--output /dev/null \\
            --write-out '%{{http_code}}' --config - <<'END_OF_ADDRESS'
url = {url}
END_OF_ADDRESS
    ) || exit
    case $code in
    {statuses}) exit 0 ;;
    esac
    echo {shown} "answered with status $code"
    exit 1"""
PORT = """\
    exec bash -c 'exec 3<>"/dev/tcp/$0/$1"' {host} {port}"""
UNITS = """\
    if [ ! -d /run/systemd/system ]; then
        echo "no systemd runs here that could be asked"
        exit 1
    fi
    bad=0
    for unit in {units}; do
        state=$(systemctl is-active -- "$unit") || {{
            echo "$unit is $state"
            bad=1
        }}
    done
    exit "$bad\""""
# Where a script has its address, also one that an earlier version wrote
ADDRESS = re.compile(r"^(?P<config>url = ).*$|(?P<argument>--write-out '%\{http_code\}' -- ).*$", re.MULTILINE)
HIDDEN = "********"
AUTHORITY = re.compile(r"(?:(?P<login>[^@]*)@)?(?:\[[^][@]*\]|[^][@:\\]+)(?::[0-9]+)?\Z")
# A name and a password in whatever a check prints
LOGIN = re.compile(r"(?<=://)[^\s/@:]*:[^\s/]*(?=@)")


# --- addresses -----------------------------------------------------------------------------------------------------


class Address(t.NamedTuple):
    """An address as everybody may see it, and what must not be seen wherever it comes from."""

    shown: str
    secrets: list[str]


def parse_url(url: str) -> Address | None:
    """None for what is no address, or one that curl could understand in another way."""
    scheme, _colon, rest = url.partition("://")
    if scheme not in ("http", "https") or not url.isprintable() or " " in url:
        return None
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    found = AUTHORITY.match(authority)
    if not found:
        return None
    login = found.group("login") or ""
    host, path = authority.rpartition("@")[2], re.split(r"[?#]", rest[len(authority):], maxsplit=1)[0]
    shown = f"{scheme}://{HIDDEN + '@' if login else ''}{host}{path}"
    if len(rest) > len(authority + path):
        shown += f"?{HIDDEN}"
    password = login.partition(":")[2]
    secrets = dict.fromkeys((login, password, urllib.parse.unquote(password)))
    # what is shorter is in other words, too, which nobody could read any more
    return Address(shown, [text for text in secrets if len(text) > 3])


def _quoted_for_curl(text: str) -> str:
    """A value in a configuration file of curl."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def hidden(script: str) -> str:
    """The text of a script, as everybody may see it."""
    return ADDRESS.sub(lambda found: (found["config"] or found["argument"]) + HIDDEN, script)


def without_logins(text: str) -> str:
    """What a check printed, without names and passwords in addresses."""
    return LOGIN.sub(HIDDEN, text)


# --- scripts -------------------------------------------------------------------------------------------------------


def _body(wanted: t.Mapping[str, t.Any], script_path: str) -> str:
    """What one attempt does; it ends the shell."""
    if wanted["units"]:
        return UNITS.format(units=" ".join(map(quote, wanted["units"])))
    if wanted["url"] is not None:
        address = parse_url(wanted["url"])
        return URL.format(url=_quoted_for_curl(wanted["url"]), shown=quote(address.shown if address else HIDDEN),
                          options="" if wanted["validate_certs"] else "--insecure ",
                          statuses=" | ".join(map(str, wanted["status"])))
    if wanted["port"] is not None:
        return PORT.format(host=quote(wanted["host"]), port=wanted["port"])
    if wanted["script"] is not None:
        # without an interpreter's name it is one for sh
        return f"    exec {'' if wanted['script'].startswith('#!') else 'sh '}{quote(script_path)}"
    if isinstance(wanted["command"], str):
        # not by "sh -c", whose arguments everybody could read
        return f"    eval {quote(wanted['command'])}\n    exit"
    return f"    exec {' '.join(quote(str(word)) for word in wanted['command'])}"


def needs(wanted: t.Mapping[str, t.Any]) -> str | None:
    """The program that the check cannot do without, beside what each system has."""
    if wanted["url"] is not None:
        return "curl"
    return "bash" if wanted["port"] is not None else None


def render(name: str, wanted: t.Mapping[str, t.Any], script_path: str) -> str:
    """The whole script; ``script_path`` is where ``wanted["script"]`` lies when it runs."""
    connecting = wanted["url"] is not None or wanted["port"] is not None
    timeout = wanted["timeout"] or (CONNECTING_SECONDS if connecting else wanted["deadline"])
    # with a delay of a second at least there can be no more attempts than this
    retries = wanted["deadline"] if wanted["retries"] is None else wanted["retries"]
    return SCRIPT.format(name=name, deadline=wanted["deadline"], timeout=timeout, delay=wanted["delay"],
                         retries=retries, body=_body(wanted, script_path))


class Result(t.NamedTuple):
    rc: int
    attempts: int
    seconds: int
    output: str


def parse(rc: int, said: str) -> Result:
    """What a run said, its last line taken apart. A script that was broken by hand, or killed, has no such line."""
    found = RESULT.search(said)
    if not found:
        return Result(rc, 0, 0, said)
    return Result(rc, int(found.group(2)), int(found.group(3)), said[:found.start()])
