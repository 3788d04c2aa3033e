"""Runs in the guest, from standard input: what is on its disk, as JSON. Arguments: what to do besides, ``scrub``."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys

# Listed are the trees that the snapshots share out among them. Left out: what the mere reading of the rpm database
# changes (its content is asked for), other file systems, what tukit keeps until the first boot of a snapshot, and what
# systemd writes at a boot with another /usr.
LIST = r"""
cd "$1" && find usr etc \( -path usr/lib/sysimage/rpm -o -path usr/local -o -path etc/etc.syncpoint \
    -o -path etc/.updated \) -prune -o -type d -printf '%p %y %m %U %G\n' -o -printf '%p %y %m %U %G %s %l\n'
"""
WRITTEN = ("etc/faults", "usr/share/faults")
NO_FILES = ("gpg-pubkey", "testbed-base")


def output(*argv: str) -> str:
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          check=False).stdout.rstrip("\n")


def tree(root: str) -> dict:
    """Every file of a root with its size and mode, the content of those that the play writes, and the packages."""
    digests = {}
    for top in WRITTEN:
        for directory, _directories, names in os.walk(f"{root}/{top}"):
            for path in (os.path.join(directory, name) for name in names):
                with open(path, "rb") as stream:
                    digests[os.path.relpath(path, root)] = hashlib.sha256(stream.read()).hexdigest()
    packages = output("rpm", "--root", root, "-qa").splitlines()
    return {
        "files": sorted(output("sh", "-c", LIST, "sh", root).splitlines()),
        "digests": digests,
        "packages": sorted(packages),
        "verified": output("rpm", "--root", root, "-V", *(p for p in packages if not p.startswith(NO_FILES))),
    }


def number(text: str) -> int:
    found = re.search(r"\.snapshots/(\d+)/snapshot", text)
    return int(found[1]) if found else 0


def loader_default() -> int:
    """The snapshot of the entry that the boot loader was told to start, 0 if it was told nothing."""
    try:
        with open("/sys/firmware/efi/efivars/LoaderEntryDefault-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f", "rb") as stream:
            return int(re.search(r"microos-(\d+)\.conf", stream.read()[4:].decode("utf-16-le"))[1])
    except FileNotFoundError:
        return 0


booted = number(output("findmnt", "--noheadings", "--first-only", "--output", "SOURCE", "/"))
default = number(output("btrfs", "subvolume", "get-default", "/"))
rows = json.loads(output("snapper", "--jsonout", "list", "--columns", "number,userdata,read-only"))["root"]
seen = {
    "boot": output("cat", "/proc/sys/kernel/random/boot_id"),
    "booted": booted,
    "default": default,
    "loader": loader_default(),
    "snapshots": [row["number"] for row in rows if row["number"]],
    "open": [row["number"] for row in rows if "transactional-update-in-progress" in (row["userdata"] or {})],
    # what snapper may know nothing of
    "directories": sorted(int(name) for name in os.listdir("/.snapshots") if name.isdigit()),
    "subvolumes": sorted({number(line) for line in output("btrfs", "subvolume", "list", "/").splitlines()} - {0}),
    "entries": sorted(int(found) for found in re.findall(r"microos-(\d+)\.conf\b",
                                                         " ".join(os.listdir("/boot/efi/loader/entries")))),
    "held": sorted(os.listdir("/run/microos-transactional")) if os.path.exists("/run/microos-transactional") else [],
    "errors": output("btrfs", "device", "stats", "--check", "/") if subprocess.run(
        ["btrfs", "device", "stats", "--check", "/"], capture_output=True, check=False).returncode else "",
    "trees": {n: tree("/" if n == booted else f"/.snapshots/{n}/snapshot") for n in sorted({booted, default})},
}
if "scrub" in sys.argv:
    said = output("btrfs", "scrub", "start", "-B", "-r", "/")
    seen["errors"] += "" if "no errors found" in said else f"scrub: {said}"
print(json.dumps(seen))
