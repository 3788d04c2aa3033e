# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The initrds of the snapshot that this runs inside of: dracut's configuration, and what is really in them.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import re
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils import _resident
from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError
from ansible_collections.microos.transactional.plugins.module_utils._files import read, write
from ansible_collections.microos.transactional.plugins.module_utils._kernel_cmdline import SDBOOTUTIL
from ansible_collections.microos.transactional.plugins.module_utils._tools import command

CONFIG = "/etc/dracut.conf.d/50-ansible-initrd.conf"
MODULES = "/usr/lib/modules"
# How the collection's roles have modules loaded
MODPROBE = "/etc/modprobe.d/50-ansible-*.conf"
SETTINGS = {"modules": "add_dracutmodules", "omit_modules": "omit_dracutmodules", "drivers": "add_drivers",
            "omit_drivers": "omit_drivers", "files": "install_items"}
# Its files are shell scripts
NAME = re.compile(r"[A-Za-z0-9_./+:@][A-Za-z0-9_./+:@-]*\Z")
DRIVER = re.compile(r"\.ko(\.\w+)?$")
# A line as of "ls -l", with the time or the year before the path
LISTED = re.compile(r"^\S+ .* [A-Z][a-z]{2} +\d+ +(?:\d\d:\d\d|\d{4}) (.+?)(?: -> .*)?$", re.MULTILINE)


class Request(t.NamedTuple):
    """What the initrds shall contain, and not contain."""

    modules: t.Sequence[str]
    omit_modules: t.Sequence[str]
    drivers: t.Sequence[str]
    omit_drivers: t.Sequence[str]
    files: t.Sequence[str]


class Contents(t.NamedTuple):
    """What an initrd contains: modules of dracut, and paths without the leading slash."""

    modules: t.Container[str]
    paths: t.Collection[str]


def validate(request: Request) -> None:
    for name in [name for names in request for name in names]:
        if not NAME.match(name):
            raise TransactionalError(f"{name!r} cannot be given to dracut: only letters, digits and ._/+:@- are "
                                     "possible, and no - at the beginning")
    both = sorted(set(request.modules) & set(request.omit_modules))
    if both:
        raise TransactionalError(f"dracut modules are wanted and omitted as well: {', '.join(both)}")
    both = sorted(set(map(_driver, request.drivers)) & set(map(_driver, request.omit_drivers)))
    if both:
        raise TransactionalError(f"drivers are wanted and omitted as well: {', '.join(both)}")
    relative = [path for path in request.files if not path.startswith("/")]
    if relative:
        raise TransactionalError(f"files need their whole path: {', '.join(relative)}")


def config_text(request: Request) -> str:
    """The drop-in, or nothing if nothing is wanted."""
    lines = [f'{SETTINGS[name]}+=" {" ".join(wanted)} "' for name, wanted in zip(Request._fields, request) if wanted]
    return "\n".join(["# Written by Ansible", *lines, ""]) if lines else ""


def parse_lsinitrd(stdout: str) -> Contents:
    """Answer of ``lsinitrd IMAGE``: modules below a headline, then lines as of ``ls -l`` between lines of ``=``."""
    _head, _line, rest = stdout.partition("dracut modules:\n")
    modules, _line, listed = rest.partition("\n===")
    return Contents(set(modules.split()), set(LISTED.findall(listed)))


def _driver(path: str) -> str:
    return DRIVER.sub("", os.path.basename(path)).replace("-", "_")


def lacks(contents: Contents, request: Request, builtin: t.Iterable[str]) -> list[str]:
    """What differs from the request, in words for the user."""
    included = {_driver(path) for path in contents.paths if DRIVER.search(path)}
    drivers = included.union(map(_driver, builtin))
    found = [f"dracut module {name} is missing" for name in request.modules if name not in contents.modules]
    found += [f"dracut module {name} is there" for name in request.omit_modules if name in contents.modules]
    found += [f"driver {name} is missing" for name in request.drivers if _driver(name) not in drivers]
    found += [f"driver {name} is there" for name in request.omit_drivers if _driver(name) in included]
    # /usr is merged in the initrd, as in the system
    found += [f"file {path} is missing" for path in request.files
              if path.lstrip("/") not in contents.paths and "usr" + path not in contents.paths]
    return found


def kernels() -> dict[str, str]:
    """Versions of the kernels of the snapshot, and where the boot loader takes their initrds from."""
    found = {}
    for version in sorted(os.listdir(MODULES)):
        if not os.path.exists(f"{MODULES}/{version}/modules.dep"):
            continue
        own, boot = f"{MODULES}/{version}/initrd", f"/boot/initrd-{version}"
        # sdbootutil copies the one beside the modules, and runs dracut only where there is none
        is_own = os.path.exists(own) or (os.path.exists(SDBOOTUTIL) and not os.path.exists(boot))
        found[version] = own if is_own else boot
    return found


def _with_modprobe(request: Request) -> Request:
    """Options of modules count in the initrd as well, and dracut takes their files for this host alone."""
    if not any(request):
        return request
    own = filter(NAME.match, sorted(glob.glob(MODPROBE)))
    return request._replace(files=list(dict.fromkeys([*request.files, *own])))


def _differs(version: str, image: str, request: Request) -> list[str]:
    if not os.path.exists(image):
        # sdbootutil makes what nobody asks more of
        return ["it does not exist"] if any(request) else []
    contents = parse_lsinitrd(command.check(["lsinitrd", image]).stdout)
    found = lacks(contents, request, read(f"{MODULES}/{version}/modules.builtin").split())
    for path in fnmatch.filter(contents.paths, MODPROBE.lstrip("/")):
        if command.check(["lsinitrd", "--file", path, image]).stdout.strip() != read(f"/{path}").strip():
            found.append(f"file /{path} is another one")
    return found


def ensure(request: Request, check_mode: bool) -> dict[str, t.Any]:
    """Write the configuration, and make anew what does not fit it."""
    if _resident.inside() is None:
        raise TransactionalError("an initrd belongs to a snapshot: run this inside of a transaction, as the role "
                                 "microos.transactional.initrd does")
    if not command.which("dracut"):
        raise TransactionalError("dracut is not installed in this snapshot")
    request = _with_modprobe(request)
    before, after = read(CONFIG), config_text(request)
    images = kernels()
    stale = {version: image for version, image in images.items()
             if before != after or _differs(version, image, request)}
    if not check_mode:
        if before != after:
            write(CONFIG, after, 0o644)
        for version, image in stale.items():
            command.check(["dracut", "--quiet", "--force", "--kver", version, image], timeout=command.CHANGE_SECONDS)
            differs = _differs(version, image, request)
            if differs:
                raise TransactionalError(f"dracut made {image} otherwise than wanted: {'; '.join(differs)}. See "
                                         "whether the snapshot has what dracut needs for it, and what other files in "
                                         "/etc/dracut.conf.d say")
    return {"changed": bool(stale) or before != after, "images": sorted(images.values()),
            "rebuilt": sorted(stale.values()),
            "diff": {"before": before, "after": after, "before_header": CONFIG, "after_header": CONFIG}}
