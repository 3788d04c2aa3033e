# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Build ``zypper`` commands, read their XML, and know what their exit codes mean.

Facts are from zypper 1.14.89 (zypper(8), "EXIT CODES") and its recorded output.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import typing as t
import xml.etree.ElementTree as ET

ENVIRONMENT = {
    # this collection makes the snapshot, not a wrapper or a plugin of zypper
    "ZYPPER_USE_TRANSACTIONAL_WRAPPER": "0",
    "DISABLE_SNAPPER_ZYPP_PLUGIN": "1",
    # a package must not restart the services of the running system
    "DISABLE_RESTART_ON_UPDATE": "yes",
}

REBOOT_NEEDED = 102
REPOSITORIES_SKIPPED = 106
# Done as asked; 103 says that zypper itself was updated, 106 that a repository could not be read.
SUCCESS = (0, REBOOT_NEEDED, 103, REPOSITORIES_SKIPPED)

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
    104: ("a name was not found", "check the name and the enabled repositories ('zypper repos')"),
    105: ("it was ended by a signal", "find out who ended it and try again"),
    107: ("a scriptlet of a package failed", "the package needs to be fixed; see its messages above"),
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


def argv(action: str, names: t.Sequence[str], dry_run: bool = False) -> list[str]:
    return (["zypper", "--non-interactive", "--xmlout", action, "--no-confirm"]
            + (["--dry-run"] if dry_run else []) + list(names))


class Answer(t.NamedTuple):
    """What zypper said: the solver's result, if it came that far, and all messages in their order."""

    changes: dict[str, list[dict]]
    # (info | warning | error as in the XML, problem of the solver, output of rpm and its scriptlets; text)
    messages: list[tuple[str, str]]
    need_reboot: bool

    @property
    def is_empty(self) -> bool:
        return not any(self.changes.values())

    def text(self, *kinds: str) -> list[str]:
        return [text for kind, text in self.messages if kind in kinds]


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
            committing = True
    return Answer(changes, [(kind, text) for kind, text in messages if text], need_reboot)


def explain(rc: int, answer: Answer, stderr: str) -> str:
    """Why it failed, in zypper's own words, and what to do."""
    meaning, advice = FAILURES.get(rc, ("an exit code that zypper does not document", "see the messages"))
    said = answer.text("error", "warning", "problem", "output") or stderr.strip().splitlines() or ["it gave no reason"]
    return f"exit code {rc}, {meaning}: {' / '.join(said).rstrip('.')}. What to do: {advice}"
