# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Build ``zypper`` commands, read their XML, and know what their exit codes mean.

Facts are from zypper 1.14.89 (zypper(8), "EXIT CODES") and its recorded output.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import os
import re
import typing as t
import xml.etree.ElementTree as ET

ENVIRONMENT = {
    # this collection makes the snapshot, not a wrapper or a plugin of zypper
    "ZYPPER_USE_TRANSACTIONAL_WRAPPER": "0",
    "DISABLE_SNAPPER_ZYPP_PLUGIN": "1",
    # a package must not restart the services of the running system
    "DISABLE_RESTART_ON_UPDATE": "yes",
}

LOCK = "/run/zypp.pid"
REBOOT_NEEDED = 102
# zypper itself was updated; what was asked for besides that may still be missing
AGAIN = 103
NOT_FOUND = 104
REPOSITORIES_SKIPPED = 106
SCRIPTLET_FAILED = 107
# Done as asked; 106 says that a repository could not be read.
SUCCESS = (0, REBOOT_NEEDED, AGAIN, REPOSITORIES_SKIPPED)

# exit code -> (what it means, what to do)
FAILURES = {
    1: ("a bug in zypper", "see the messages and /var/log/zypper.log"),
    2: ("invalid syntax", "report this as a bug of the collection"),
    3: ("invalid arguments", "check the package names"),
    4: ("libzypp reported a problem", "resolve the problem named above; nothing was installed"),
    5: ("root rights or a writable root are missing", "see the messages"),
    6: ("no repositories are defined", "define one on the host, 'zypper repos' lists them"),
    7: ("another zypper or PackageKit is running", "try again when it has ended"),
    8: ("the installation or removal failed", "see the messages of the package above"),
    100: ("patches are needed", "only 'zypper patch-check' answers so; report this as a bug of the collection"),
    101: ("security patches are needed",
          "only 'zypper patch-check' answers so; report this as a bug of the collection"),
    NOT_FOUND: ("a name was not found", "check the name and the enabled repositories ('zypper repos')"),
    105: ("it was ended by a signal", "find out who ended it and try again"),
    SCRIPTLET_FAILED: ("a scriptlet of a package failed", "the package needs to be fixed; see its messages above"),
}

# element of the install summary -> key of our results
SUMMARY = {
    "to-install": "installed",
    "to-remove": "removed",
    "to-upgrade": "upgraded",
    "to-downgrade": "downgraded",
    "to-reinstall": "reinstalled",
    "to-change-arch": "changed_arch",
    "to-change-vendor": "changed_vendor",
}

# zypper's own hint at the messages above it, which are in our error anyway
BOILERPLATE = "Please see the above error message for a hint."
PROBLEM = re.compile(r"Problem: \d+: (.*?)(?=^ Solution 1:|\Z)", re.S | re.M)
SOLUTION = re.compile(r"^ Solution \d+: (.*?)(?=^ Solution \d+:|\Z)", re.S | re.M)
LOCKED = re.compile(r"remove lock to allow (?:installation|removal) of (\S+?)(?:\[|\s|$)")
LICENCE = re.compile(r"In order to install '(.+?)'.*, you must agree")
UNKNOWN = re.compile(r"No provider of '(.+)' found|(?:Package|Product|Pattern|Patch) '(.+)' not found")
EXPIRED = re.compile(r"gpg key signing file .* has expired")
TOO_OLD = re.compile(r"has lower version than the installed one")
OTHER_VENDOR = re.compile(r"There is an update candidate for .* from vendor")


def argv(action: str, names: t.Sequence[str], dry_run: bool = False, options: t.Sequence[str] = (),
         global_options: t.Sequence[str] = ()) -> list[str]:
    # a name with a minus is a removal and not an option
    end = ["--"] if any(name.startswith("-") for name in names) else []
    return (["zypper", "--non-interactive", "--xmlout", *global_options, action, "--no-confirm", *options]
            + (["--dry-run"] if dry_run else []) + end + list(names))


def lock_holder() -> int | None:
    """The process that works with libzypp on the host; what runs inside of a snapshot has a lock of its own."""
    try:
        with open(LOCK, encoding="ascii") as stream:
            pid = int(stream.read())
        os.stat(f"/proc/{pid}/exe")  # a zombie has none
    except (OSError, ValueError):
        return None
    return pid


def refresh_argv(global_options: t.Sequence[str] = ()) -> list[str]:
    return ["zypper", "--non-interactive", "--xmlout", *global_options, "refresh"]


def forget_argv() -> list[str]:
    """Forget the metadata of all repositories."""
    return ["zypper", "--non-interactive", "--xmlout", "clean", "--metadata", "--raw-metadata"]


def locks_file(root: str) -> str:
    """What zypp's file of locks says."""
    try:
        with open(os.path.join(root, "etc/zypp/locks"), encoding="utf-8") as stream:
            return stream.read()
    except FileNotFoundError:
        return ""


def locked_names(root: str) -> set[str]:
    """The names of packages that a lock is about whatever their version; patterns of names are left to the solver."""
    locks = [dict(line.partition(": ")[::2] for line in block.splitlines() if not line.startswith("#"))
             for block in locks_file(root).split("\n\n")]
    return {lock["solvable_name"] for lock in locks
            if lock.get("type", "package") == "package" and "solvable_name" in lock
            and not {"repo", "version", "solvable_arch"} & set(lock)}


class Answer(t.NamedTuple):
    """What zypper said: the solver's result, if it came that far, and all messages in their order."""

    changes: dict[str, list[dict]]
    # (info | warning | error as in the XML, problem of the solver, output of rpm and its scriptlets; text)
    messages: list[tuple[str, str]]
    need_reboot: bool
    # Bytes; None where zypper came to no summary
    download_size: int | None = None
    size_difference: int | None = None

    @property
    def is_empty(self) -> bool:
        return not any(self.changes.values())

    def text(self, *kinds: str) -> list[str]:
        return [text for kind, text in self.messages if kind in kinds]

    def found(self, pattern: re.Pattern) -> list[str]:
        """What a pattern finds in the messages, each once: its first group, or the whole message without one."""
        hits = (match for _kind, text in self.messages for match in pattern.finditer(text))
        return list(dict.fromkeys(next((group for group in hit.groups() if group), hit.string) for hit in hits))

    @property
    def problems(self) -> list[dict]:
        """The problems of the solver, each with the solutions that it proposes."""
        problems = []
        for text in self.text("problem"):
            about = PROBLEM.search(text)
            if about:
                solutions = [" ".join(solution.split()) for solution in SOLUTION.findall(text)]
                problems.append({"problem": " ".join(about.group(1).split()), "solutions": solutions})
        return problems


def _solvable(element: ET.Element) -> dict:
    entry = {"name": element.get("name"), "version": element.get("edition"), "arch": element.get("arch")}
    for key, attribute in (("old_version", "edition-old"), ("repository", "repository")):
        if element.get(attribute):
            entry[key] = element.get(attribute)
    if element.get("type", "package") != "package":
        entry["type"] = element.get("type")
    return entry


def _file_conflict(element: ET.Element) -> str:
    return "file conflict: {} is in {} and in {}".format(
        element.findtext("lhs/file"), element.findtext("lhs/solvable/name"), element.findtext("rhs/solvable/name"))


def _elements(stdout: str) -> t.Iterator[ET.Element]:
    """The elements as they end, as far as the stream goes: a killed zypper leaves it unfinished."""
    parser = ET.XMLPullParser(events=("end",))
    try:
        parser.feed(stdout[max(stdout.find("<?xml"), 0):])
        for _event, element in parser.read_events():
            yield element
    except ET.ParseError:
        return


def parse(stdout: str) -> Answer:
    """Read the XML of one zypper command."""
    changes = {key: [] for key in SUMMARY.values()}
    messages = []
    need_reboot = committing = False
    sizes: list[int] = []
    for element in _elements(stdout):
        if element.tag == "message":
            kind, text = element.get("type", "info"), "".join(element.itertext()).replace(BOILERPLATE, "").strip()
            if kind == "info" and committing and not text.startswith("Retrieving:"):
                kind = "output"
            messages.append((kind, text))
        elif element.tag == "prompt":
            messages.append(("problem", (element.findtext("description") or "").strip()))
        elif element.tag == "fileconflict":
            messages.append(("problem", _file_conflict(element)))
        elif element.tag in SUMMARY:
            changes[SUMMARY[element.tag]] += [_solvable(item) for item in element.iter("solvable")]
        elif element.tag == "install-summary":
            need_reboot = element.get("need-reboot") == "1"
            sizes = [int(element.get(name, "0")) for name in ("download-size", "space-usage-diff")]
            committing = True
    return Answer(changes, [(kind, text) for kind, text in messages if text], need_reboot, *sizes)


def names(stdout: str) -> list[str]:
    """Of the packages in the XML of a search, each once."""
    return list(dict.fromkeys(element.get("name", "") for element in _elements(stdout) if element.tag == "solvable"))


def merge(first: Answer, second: Answer) -> Answer:
    """What two runs did together."""
    return Answer({key: first.changes[key] + second.changes[key] for key in first.changes},
                  first.messages + second.messages, first.need_reboot or second.need_reboot,
                  *((one or 0) + (other or 0) for one, other in zip(first[3:], second[3:])))


def explain(rc: int, answer: Answer, stderr: str) -> str:
    """Why it failed, in zypper's own words, and what to do."""
    meaning, advice = FAILURES.get(rc, ("an exit code that zypper does not document", "see the messages"))
    said = answer.text("error", "warning", "problem", "output") or stderr.strip().splitlines() or ["it gave no reason"]
    locked, licences = answer.found(LOCKED), answer.found(LICENCE)
    if locked:
        meaning, advice = f"a lock is in the way of {', '.join(locked)}", "remove the lock ('zypper locks' lists them)"
    elif licences:
        meaning = f"the licence of {', '.join(licences)} asks for agreement"
        advice = "read it, and agree with auto_agree_with_licenses: true"
    return f"exit code {rc}, {meaning}: {' / '.join(said).rstrip('.')}. What to do: {advice}"
