# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SELinux of the snapshot that this runs inside of: its configuration, and what differs from the policy as it came.

``semanage import`` takes all differences or none (policycoreutils 3.8.1).

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import glob
import os
import re
import shlex
import tempfile
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils import _resident
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._files import read, write
from ansible_collections.microos.transactional.plugins.module_utils._tools import command

CONFIG = "/etc/selinux/config"
# What semanage keeps in the store, which is in no snapshot, and what it makes of it for the kernel and for restorecon
STORE, MADE = "/var/lib/selinux", "/etc/selinux"
COPIES = {"active/policy.kern": "policy/policy.*", "active/file_contexts.local": "contexts/files/file_contexts.local"}
# Labels are made anew at the boot that finds this. The one in / cannot be written
RELABEL = "/etc/selinux/.autorelabel"
# Only while the running kernel has a policy
ENFORCE = "/sys/fs/selinux/enforce"
DISABLED = "disabled"
# Not what semanage would take as an option
WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\Z")
TARGET = re.compile(r"/[^\s\x00-\x1f\x7f'\"]*\Z")  # semanage refuses spaces
PORT = re.compile(r"[0-9]+(-[0-9]+)?\Z")
FILE_TYPES = {"--": "f", **{f"-{kind}": kind for kind in "dcbslp"}}

# What differs from the policy: ("boolean", name): bool, ("fcontext", target, kind of files): type,
# ("port", protocol, port): type
Key = t.Tuple[str, ...]
Local = t.Dict[Key, t.Union[bool, str]]


class Request(t.NamedTuple):
    mode: str | None
    policy: str | None
    booleans: t.Mapping[str, bool]
    contexts: t.Sequence[t.Mapping[str, str]]
    ports: t.Sequence[t.Mapping[str, str]]
    present: bool

    @property
    def wanted(self) -> Local:
        local: Local = {("boolean", name): value for name, value in self.booleans.items()}
        local.update({("fcontext", one["target"], one["file_type"]): one["type"] for one in self.contexts})
        local.update({("port", one["protocol"], one["port"]): one["type"] for one in self.ports})
        return local


# --- pure ----------------------------------------------------------------------------------------------------------


def validate(request: Request) -> None:
    for key, value in request.wanted.items():
        name = key[-1] if key[0] == "port" else key[1]
        pattern = {"boolean": WORD, "fcontext": TARGET, "port": PORT}[key[0]]
        if not pattern.match(name):
            raise TransactionalError(f"{name!r} cannot be a {key[0]} of SELinux")
        if key[0] != "boolean" and not WORD.match(str(value)):
            raise TransactionalError(f"{value!r} cannot be a type of SELinux")
    if request.policy and not WORD.match(request.policy):
        raise TransactionalError(f"'{request.policy}' cannot be the name of a policy")


def parse_store(booleans: str, contexts: str, ports: str) -> Local:
    """The differences out of the files that semanage keeps them in."""
    try:
        return _parse_store(booleans, contexts, ports)
    except (ValueError, IndexError) as exc:
        raise TransactionalError(f"the store of semanage in {STORE} has a line that is not understood ({exc}), so "
                                 "nothing is changed there") from exc


def _parse_store(booleans: str, contexts: str, ports: str) -> Local:
    found: Local = {}
    for line in _lines(booleans):
        name, _equals, value = line.partition("=")
        found["boolean", name] = value == "1"
    for line in _lines(contexts):
        target, *kind, context = line.split()
        found["fcontext", target, FILE_TYPES.get("".join(kind), "a")] = _type(context)
    for line in _lines(ports):
        _portcon, protocol, *port, context = line.split()
        found["port", protocol, "".join(port)] = _type(context)
    return found


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def _type(context: str) -> str:
    """Of ``user:role:type:level``; ``<<none>>`` is no context."""
    return context.split(":")[2] if ":" in context else context


def lines(before: Local, after: Local) -> list[str]:
    """For ``semanage import``, what makes the one the other. A single boolean cannot be given back to the policy."""
    gone = [key for key in before if key not in after]
    restart = any(key[0] == "boolean" for key in gone)
    said = ["boolean -D"] if restart else []
    for key in gone:
        if key[0] == "fcontext":
            said.append(f"fcontext -d -f {key[2]} {shlex.quote(key[1])}")
        elif key[0] == "port":
            said.append(f"port -d -p {key[1]} {key[2]}")
    for key, value in after.items():
        if before.get(key) == value and not (restart and key[0] == "boolean"):
            continue
        verb = "-m" if key in before else "-a"
        if key[0] == "boolean":
            said.append(f"boolean -m {'-1' if value else '-0'} {key[1]}")
        elif key[0] == "fcontext":
            said.append(f"fcontext {verb} -f {key[2]} -t {value} {shlex.quote(key[1])}")
        else:
            said.append(f"port {verb} -t {value} -p {key[1]} {key[2]}")
    return said


def setting(text: str, key: str) -> str:
    found = re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)
    return found[-1].strip() if found else ""


def config_text(text: str, mode: str | None, policy: str | None) -> str:
    """The configuration with what is wanted, and all else as it was."""
    for key, value in (("SELINUX", mode), ("SELINUXTYPE", policy)):
        if not value or setting(text, key) == value:
            continue
        line = f"{key}={value}"
        if setting(text, key):
            text = re.sub(rf"^{key}=.*$", line, text, flags=re.MULTILINE)
        else:
            text += ("\n" if text and not text.endswith("\n") else "") + line + "\n"
    return text


# --- the snapshot --------------------------------------------------------------------------------------------------


def _local(policy: str) -> Local:
    """Without semanage, which takes a lock, and check mode writes nothing."""
    return parse_store(*(read(f"{STORE}/{policy}/active/{kind}.local")
                         for kind in ("booleans", "file_contexts", "ports")))


def _apply(said: t.Sequence[str]) -> None:
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", prefix="semanage-") as stream:
        stream.write("\n".join([*said, ""]))
        stream.flush()
        # nothing is loaded into the kernel
        command.check(["semanage", "import", "-N", "-f", stream.name], timeout=command.CHANGE_SECONDS)


def _is_stale(policy: str) -> bool:
    """Whether the snapshot lacks what the store has, of a transaction that was aborted or a snapshot that was left."""
    for kept, made in COPIES.items():
        paths = glob.glob(f"{MADE}/{policy}/{made}")
        contents = {_bytes(path) for path in paths}
        if _bytes(f"{STORE}/{policy}/{kept}") not in contents | (set() if paths else {b""}):
            return True
    return False


def _bytes(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        return b""


def ensure(request: Request, check_mode: bool) -> dict[str, t.Any]:
    """Make the snapshot's SELinux what is wanted; what ``semanage`` refuses leaves all as it was."""
    if _resident.inside() is None:
        raise TransactionalError("the configuration of SELinux belongs to a snapshot: run this inside of a "
                                 "transaction, as the role microos.transactional.selinux does")
    before = read(CONFIG)
    after = config_text(before, request.mode, request.policy)
    # nothing has labels yet, or files came without, whatever a package that was installed a moment ago wrote
    is_on = setting(before, "SELINUX") not in ("", DISABLED) and os.path.exists(ENFORCE)
    relabel = request.mode not in (None, DISABLED) and not is_on and not os.path.exists(RELABEL)
    # ordered, and never done, as SELinux was not on in between
    recall = request.mode == DISABLED and os.path.exists(RELABEL)
    said: list[str] = []
    stale = False
    wanted = request.wanted
    if wanted:
        if command.which("semanage") is None and not check_mode:
            raise TransactionalError("semanage is missing in the snapshot: install policycoreutils-python-utils there")
        local = _local(setting(after, "SELINUXTYPE"))
        kept = {key: value for key, value in local.items() if key not in wanted}
        said = lines(local, {**kept, **wanted} if request.present else kept)
        stale = not said and _is_stale(setting(after, "SELINUXTYPE"))
    if not check_mode:
        if after != before:
            write(CONFIG, after, 0o644)
        if relabel:
            write(RELABEL, "-F\n", 0o644)
        if recall:
            os.unlink(RELABEL)
        if said:
            _apply(said)
        elif stale:
            command.check(["semodule", "--build", "--noreload"], timeout=command.CHANGE_SECONDS)
    return {"changed": after != before or bool(said) or stale or relabel or recall,
            "mode": setting(after, "SELINUX") or DISABLED, "relabel": relabel, "customizations": said,
            "diff": [{"before": before, "after": after, "before_header": CONFIG, "after_header": CONFIG},
                     {"prepared": "".join(f"semanage {line}\n" for line in said)}]}
