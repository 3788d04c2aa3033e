# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kernel modules from elsewhere than the kernel's package: how they are loaded, and whether its kernel will take them.

A module fits a kernel if it was built for it, or if the kernel checks the versions of symbols and all that the module
uses are the kernel's own, as with the weak updates of SUSE's kernel module packages.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import glob
import gzip
import os
import re
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils import _resident
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._files import read, read_link, write
from ansible_collections.microos.transactional.plugins.module_utils._tools import command

CONFIG = "/etc/modprobe.d/50-ansible-{}.conf"
MODULES = "/usr/lib/modules"
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*\Z")
# ASCII that can be seen, without # and \, and with quotation marks in pairs, as the kernel reads them
OPTION = re.compile(r'[A-Za-z0-9_.]+(=(?:[!$-[\]-~]|"[!$-[\]-~]*")*)?\Z')
BUILTIN = "(builtin)"
VERSION = re.compile(r"0x[0-9a-fA-F]{1,16}\Z")  # of a symbol
SHOWN = 5  # symbols in an error


class Request(t.NamedTuple):
    """Modules that have to fit, those that are not loaded by themselves, and options: ``{"name": "a=1 b=2"}``."""

    name: str  # of the file that says how they are loaded
    modules: t.Sequence[str]
    blacklist: t.Sequence[str]
    options: t.Mapping[str, str]


class Found(t.NamedTuple):
    """A module as a kernel finds it."""

    path: str
    vermagic: str
    symbols: t.Mapping[str, int]  # that it uses, and their versions
    version: str = ""  # its own, if it tells


class Kernel(t.NamedTuple):
    version: str
    vermagic: str  # of its own modules
    symbols: t.Mapping[str, int] | None  # that it exports; None where nothing tells
    others: t.Container[str]  # that further modules export


# --- pure ----------------------------------------------------------------------------------------------------------


def validate(request: Request) -> None:
    if not NAME.match(request.name):
        raise TransactionalError(f"'{request.name}' cannot be part of a file's name: only letters, digits, _ and - are "
                                 "possible")
    for name in [*request.modules, *request.blacklist, *request.options]:
        if not NAME.match(name):
            raise TransactionalError(f"{name!r} cannot be the name of a kernel module")
    for name, text in request.options.items():
        wrong = [word for word in text.split() if not OPTION.match(word)]
        if wrong or not text.split():
            raise TransactionalError(f"the options of {name} have to be words such as 'a=1 b', without # and \\ and "
                                     f"with quotation marks in pairs, and not {text!r}")
    both = sorted(set(map(_canonical, request.modules)) & set(map(_canonical, request.blacklist)))
    if both:
        raise TransactionalError(f"kernel modules are wanted and on the blacklist as well: {', '.join(both)}")


def _canonical(name: str) -> str:
    return name.replace("-", "_")


def config_text(request: Request) -> str:
    """For modprobe, or nothing if nothing is wanted."""
    lines = [f"blacklist {name}" for name in request.blacklist]
    lines += [f"options {name} {' '.join(text.split())}" for name, text in sorted(request.options.items())]
    return "\n".join(["# Written by Ansible", *lines, ""]) if lines else ""


def parse_modinfo(stdout: str) -> dict[str, str]:
    """The fields of ``modinfo``, the first of each name."""
    found: dict[str, str] = {}
    for line in stdout.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip(), value.strip())
    return found


def parse_versions(text: str) -> dict[str, int]:
    """Symbols and their versions, from ``modprobe --dump-modversions`` or the symvers of a kernel."""
    lines = (line.split() for line in text.splitlines())
    return {words[1]: int(words[0], 16) for words in lines if len(words) >= 2 and VERSION.match(words[0])}


def judge(found: Found, kernel: Kernel) -> str | None:
    """Why the kernel would not take the module; None if it will."""
    if found.path == BUILTIN or found.vermagic == kernel.vermagic:
        return None
    built_for, _space, flags = found.vermagic.partition(" ")
    if flags != kernel.vermagic.partition(" ")[2]:
        return f"it was built for '{found.vermagic}', and the kernel takes '{kernel.vermagic}'"
    if "modversions" not in flags.split() or not found.symbols:
        return f"it was built for {built_for}, and nothing tells whether another kernel may load it"
    if kernel.symbols is None:
        return f"it was built for {built_for}, and the kernel has no symvers file that would tell whether it fits"
    differ = [name for name, version in found.symbols.items() if kernel.symbols.get(name, version) != version]
    unknown = [name for name in found.symbols if name not in kernel.symbols and name not in kernel.others]
    if differ or unknown:
        names = sorted(differ + unknown)
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        return f"it was built for {built_for}, and uses what differs here: {', '.join(names[:SHOWN])}{more}"
    return None


def newest(versions: t.Iterable[str]) -> str:
    def key(version: str) -> list[tuple[int, int, str]]:
        return [(1, int(part), "") if part[0] in "0123456789" else (0, 0, part)
                for part in re.findall(r"[0-9]{1,18}|[^0-9]+", version)]
    return max(versions, key=key)


# --- the snapshot --------------------------------------------------------------------------------------------------


def default_kernel() -> str:
    """The kernel that the snapshot boots: what ``/boot/vmlinuz`` leads to, else the newest with modules."""
    versions = [os.path.basename(os.path.dirname(path)) for path in glob.glob(f"{MODULES}/*/modules.dep")]
    if not versions:
        raise TransactionalError(f"the snapshot has no kernel: nothing is in {MODULES}")
    for link in ("/boot/vmlinuz", "/boot/Image"):
        named = [version for version in versions if read_link(link).endswith(f"-{version}")]
        if named:
            return named[0]
    return newest(versions)


def _symvers(version: str) -> dict[str, int] | None:
    for path in (f"{MODULES}/{version}/symvers.gz", f"/boot/symvers-{version}.gz"):
        if os.path.exists(path):
            with gzip.open(path, "rt", encoding="utf-8") as stream:
                return parse_versions(stream.read())
    path = f"{MODULES}/{version}/build/Module.symvers"
    return parse_versions(read(path)) if os.path.exists(path) else None


def look_at_kernel(version: str) -> Kernel:
    own = sorted(glob.glob(f"{MODULES}/{version}/kernel/**/*.ko*", recursive=True))[:1]
    vermagic = command.check(["modinfo", "--field", "vermagic", *own]).stdout.strip() if own else ""
    others = re.findall(r"^alias symbol:(\S+) ", read(f"{MODULES}/{version}/modules.symbols"), re.MULTILINE)
    return Kernel(version, vermagic, _symvers(version), set(others))


def look_at_module(name: str, version: str) -> Found | None:
    said = command.run(["modinfo", "--set-version", version, name])
    if said.rc != 0:
        return None
    fields = parse_modinfo(said.stdout)
    path = fields.get("filename", BUILTIN)
    used = command.run(["modprobe", "--dump-modversions", path]).stdout if path != BUILTIN else ""
    return Found(path, fields.get("vermagic", ""), parse_versions(used), fields.get("version", ""))


def _package(path: str) -> str:
    # weak updates are links that no package has
    said = command.run(["rpm", "--query", "--file", os.path.realpath(path)])
    return said.stdout.strip() if said.rc == 0 else "no package"


def _elsewhere(name: str) -> str:
    pattern = re.sub("[-_]", "[-_]", name)
    paths = sorted(glob.glob(f"{MODULES}/**/{pattern}.ko*", recursive=True))
    return "".join(f", there is {path} of {_package(path)}" for path in paths) or ", and no other kernel has it"


def prove(names: t.Iterable[str]) -> tuple[str, list[dict], list[str]]:
    """The kernel, the modules as it finds them, and what is wrong with them."""
    kernel = look_at_kernel(default_kernel())
    proved, wrong = [], []
    for name in names:
        found = look_at_module(name, kernel.version)
        if found is None:
            wrong.append(f"kernel {kernel.version} has no module {name}{_elsewhere(name)}")
            continue
        reason = judge(found, kernel)
        package = "" if found.path == BUILTIN else _package(found.path)
        if reason:
            wrong.append(f"kernel {kernel.version} would not load {name} ({found.path} of {package}): {reason}")
        proved.append({"name": name, "path": found.path, "package": package, "vermagic": found.vermagic,
                       "version": found.version})
    return kernel.version, proved, wrong


def ensure(request: Request, check_mode: bool) -> dict[str, t.Any]:
    """Write how modules are loaded, and fail unless the kernel will take those that are wanted."""
    if _resident.inside() is None:
        raise TransactionalError("drivers belong to a snapshot: run this inside of a transaction, as the role "
                                 "microos.transactional.drivers does")
    path = CONFIG.format(request.name)
    before, after = read(path), config_text(request)
    kernel, proved, wrong = prove(request.modules)
    # in check mode their packages are not installed yet
    if wrong and not check_mode:
        raise TransactionalError(f"{'; '.join(wrong)}. Install the packages that were built for this kernel, or keep "
                                 "the kernel that they were built for", kernel=kernel, drivers=proved)
    if before != after and not check_mode:
        write(path, after, 0o644)
    return {"changed": before != after, "kernel": kernel, "drivers": proved, "unproved": wrong,
            "diff": {"before": before, "after": after, "before_header": path, "after_header": path}}
