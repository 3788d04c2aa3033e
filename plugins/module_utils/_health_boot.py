# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where health checks lie in a root, and what runs them at its boot.

Checks lie in ``/etc``, so each snapshot has its own: one that a new snapshot brings cannot fail in the old one that a
host falls back to. Where health-checker is, it has to run them, as only its own plugins lead to its rollback: by one
plugin for all of them. Elsewhere a unit for each check does, as a dependency of ``boot-complete.target``.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils._files import LINK

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
UNIT = re.compile(r"[A-Za-z0-9:_.\\-]+(?:@[A-Za-z0-9:_.\\-]+)?\.(?:service|socket|target|mount|automount|timer|path|"
                  r"swap|device|slice|scope)\Z")
SEVERITIES = ("required", "wanted")
DIRECTORY = "/etc/microos-transactional/health"
SYSTEMD = "/etc/systemd/system"
PREFIX = "microos-health-"
HEALTH_CHECKER = "/usr/sbin/health-checker"
# Outside of snapshots, and not to be seen inside of a transaction
LOCAL_PLUGINS = "/usr/local/libexec/health-checker"
# Those of the snapshot, of which older releases have the second
PLUGINS = ("/usr/libexec/health-checker", "/usr/lib/health-checker")
PLUGIN_NAME = "microos-transactional"
PLUGIN = f"""\
#!/bin/sh
# Plugin of health-checker that runs the health checks of the snapshot that booted, all at the same time.
# Ansible writes this file (microos.transactional.health_check), changes are lost.
[ "$1" = check ] || exit 0 # nothing here needs to be stopped
case $0 in
{LOCAL_PLUGINS}/*) ;;
*) [ ! -x {LOCAL_PLUGINS}/{PLUGIN_NAME} ] || exit 0 ;; # which does the same
esac

run() {{
    identifier={PREFIX}$(basename "$1" .sh)
    if [ -S /run/systemd/journal/stdout ]; then
        systemd-cat --identifier="$identifier" sh "$1"
    else
        sh "$1"
    fi
}}

required=
for check in {DIRECTORY}/required.d/*.sh {DIRECTORY}/wanted.d/*.sh; do
    [ -e "$check" ] || continue
    run "$check" &
    case $check in
    */required.d/*) required="$required $!" ;;
    esac
done
failed=0
for process in $required; do
    wait "$process" || failed=1
done
wait
exit "$failed"
"""
SERVICE = """\
# Ansible writes this file (microos.transactional.health_check), changes are lost.
[Unit]
Description=Health check {name}
After={after}
Before=boot-complete.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh {script}
TimeoutStartSec={limit}
SyslogIdentifier={unit}

[Install]
{dependency}=boot-complete.target
WantedBy=multi-user.target
"""
DROP_IN = """\
# Ansible writes this file (microos.transactional.health_check), changes are lost.
[Unit]
After={units}
"""
# How much longer than its deadline a check may take to be ended
GRACE_SECONDS = 15


def script_path(name: str, severity: str) -> str:
    return f"{DIRECTORY}/{severity}.d/{name}.sh"


def content_path(name: str) -> str:
    """Where the content of a check that was given as a script lies."""
    return f"{DIRECTORY}/scripts/{name}"


def identifier(name: str) -> str:
    """Of its output in the journal, and the name of its unit."""
    return PREFIX + name


def _service_path(name: str) -> str:
    return f"{SYSTEMD}/{PREFIX}{name}.service"


def _link_path(name: str, directory: str) -> str:
    return f"{SYSTEMD}/{directory}/{PREFIX}{name}.service"


def _drop_in_path(name: str) -> str:
    return f"{SYSTEMD}/health-checker.service.d/50-{PREFIX}{name}.conf"


def all_paths(name: str) -> dict[str, int]:
    """Whatever a check of this name may consist of, what needs others behind them, with modes.

    What only root may read may hold secrets.
    """
    paths = {content_path(name): 0o700}
    paths.update({script_path(name, severity): 0o600 for severity in SEVERITIES})
    paths.update({_service_path(name): 0o644, _drop_in_path(name): 0o644})
    paths.update({_link_path(name, directory): LINK for directory in
                  ("boot-complete.target.requires", "boot-complete.target.wants", "multi-user.target.wants")})
    return paths


def texts(name: str, script: str, wanted: t.Mapping[str, t.Any], has_health_checker: bool) -> dict[str, str]:
    """What the files of a check say; those that are not named must not be there."""
    severity, units = wanted["severity"], wanted["units"] or []
    found = {script_path(name, severity): script}
    if wanted["script"] is not None:
        found[content_path(name)] = wanted["script"]
    if has_health_checker:
        if units:
            found[_drop_in_path(name)] = DROP_IN.format(units=" ".join(units))
        return found
    required = severity == "required"
    path = _service_path(name)
    found[path] = SERVICE.format(
        name=name, after=" ".join(["multi-user.target", *units]), script=script_path(name, severity),
        limit=wanted["deadline"] + GRACE_SECONDS, unit=identifier(name),
        dependency="RequiredBy" if required else "WantedBy")
    # as 'systemctl enable' makes them
    for directory in (f"boot-complete.target.{'requires' if required else 'wants'}", "multi-user.target.wants"):
        found[_link_path(name, directory)] = path
    return found


def remove_empty_directories(root: str) -> None:
    """After a check was removed: those that were made for it, unless something else is there."""
    made = {os.path.dirname(path) for path in all_paths("any")} | {DIRECTORY, os.path.dirname(DIRECTORY)}
    for directory in sorted(made - {SYSTEMD}, key=len, reverse=True):
        with contextlib.suppress(OSError):  # not there, or not empty
            os.rmdir(root + directory)


def has_health_checker(root: str) -> bool:
    return os.path.exists(root + HEALTH_CHECKER)


def plugin_path(inside: bool) -> str:
    if not inside:
        return f"{LOCAL_PLUGINS}/{PLUGIN_NAME}"
    directory = next((path for path in PLUGINS if os.path.isdir(path)), PLUGINS[0])
    return f"{directory}/{PLUGIN_NAME}"


def defined() -> dict[str, str]:
    """The checks of the running system, or of the snapshot that this is inside of: name -> severity."""
    found = {}
    for severity in SEVERITIES:
        for path in glob.glob(script_path("*", severity)):
            found[os.path.basename(path)[:-len(".sh")]] = severity
    return dict(sorted(found.items()))
