# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Build ``zypper`` commands, read their XML, and know what their exit codes mean.

Facts are from zypper 1.14.89 (zypper(8), "EXIT CODES") and its recorded output.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import codecs
import collections
import contextlib
import os
import re
import typing as t
from xml.parsers import expat

from ansible_collections.microos.transactional.plugins.module_utils._errors import TransactionalError

ENVIRONMENT = {
    # this collection makes the snapshot, not a wrapper or a plugin of zypper
    "ZYPPER_USE_TRANSACTIONAL_WRAPPER": "0",
    "DISABLE_SNAPPER_ZYPP_PLUGIN": "1",
    # a package must not restart the services of the running system
    "DISABLE_RESTART_ON_UPDATE": "yes",
}

LOCK = "/run/zypp.pid"
LIBRARY = b"/libzypp.so"
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
# Bounded, as a repository may have a say in what is searched
LOCKED = re.compile(r"remove lock to allow (?:installation|removal) of (\S{1,500}?)(?:\[|\s|$)")
LICENCE = re.compile(r"In order to install '([^'\n]{1,500})'[^\n]{0,500}?, you must agree")
UNKNOWN = re.compile(r"No provider of '([^'\n]{1,500})' found|"
                     r"(?:Package|Product|Pattern|Patch) '([^'\n]{1,500})' not found")
EXPIRED = re.compile(r"gpg key signing file [^\n]{0,1000}? has expired")
# What is no reason to fail, and must be known all the same
NOTABLE = re.compile(r"metadata expired since|gpg key signing file [^\n]{0,1000}? (?:will expire|has expired)|"
                     r"GPG checking is disabled in configuration|rpm --runposttrans returned")
TOO_OLD = re.compile(r"has lower version than the installed one")
OTHER_VENDOR = re.compile(r"There is an update candidate for [^\n]{0,1000}? from vendor")
NOTHING_TO_DO = "Nothing to do."
# What rpm 4.14 to 4.20 says of a scriptlet that failed. zypper looks for the first at the beginning of a line, where it
# is not if the scriptlet's own output has no newline at its end; it has it at the end of the line in any case. zypper
# does not look for the second at all.
FAILED_SCRIPTLET = re.compile(r"(%\w+\([^()\s]{1,500}\)) scriptlet failed, "
                              r"(exit status -?\d+|signal \d+|waitpid\(-?\d+\) rc -?\d+: .*)\s*\Z")
FAILED_LUA = re.compile(r'lua script failed: \[string "(%\w+\([^()\s"]{1,500}\))"\]:(\d+:.{0,200})')

# Of the messages that are kept: characters of each, bytes and number of all, for the beginning and the end each
MESSAGE_LIMIT = 32 << 10
MESSAGES_LIMIT = 256 << 10
MESSAGES_COUNT = 500
# Bytes that may come without a complete word of the XML, and of a line that is searched
WORD_LIMIT = 1 << 20
LINE_LIMIT = 4 << 10
DEPTH_LIMIT = 50
# Characters of an error message
ERROR_LIMIT = 8 << 10
# What XML cannot have, but scriptlets print
NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def argv(action: str, names: t.Sequence[str], dry_run: bool = False, options: t.Sequence[str] = (),
         global_options: t.Sequence[str] = ()) -> list[str]:
    # a name with a minus is a removal and not an option
    end = ["--"] if any(name.startswith("-") for name in names) else []
    return (["zypper", "--non-interactive", "--xmlout", *global_options, action, "--no-confirm", *options]
            + (["--dry-run"] if dry_run else []) + end + list(names))


def lock_holder() -> int | None:
    """The process that works with libzypp on the host; what runs inside of a snapshot has a lock of its own.

    The file may be older than its process, whose number then belongs to somebody else: a holder is root's, and uses
    the library.
    """
    with contextlib.suppress(OSError, ValueError):
        with open(LOCK, encoding="ascii") as stream:
            pid = int(stream.read(100))
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as stream:
            users = next((line.split()[1:] for line in stream if line.startswith("Uid:")), [])
        # a zombie has no maps
        with open(f"/proc/{pid}/maps", "rb") as stream:
            if users and set(users) == {"0"} and any(LIBRARY in line for line in stream):
                return pid
    return None


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
            if lock.get("type", "package") == "package" and lock.get("solvable_name")
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
    # Why not all that zypper said could be read; nothing if it could
    flaw: str = ""
    # The scriptlets that failed, each with rpm's reason
    failed_scriptlets: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not any(self.changes.values())

    @property
    def is_decided(self) -> bool:
        """Whether the solver came to a result, be it that there is nothing to do."""
        return self.download_size is not None or any(text == NOTHING_TO_DO for text in self.text("info"))

    def text(self, *kinds: str) -> list[str]:
        return [text for kind, text in self.messages if kind in kinds]

    def found(self, pattern: re.Pattern, *kinds: str) -> list[str]:
        """What a pattern finds in the messages, each once: its first group, or the whole message without one."""
        hits = (match for kind, text in self.messages if not kinds or kind in kinds
                for match in pattern.finditer(text))
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


def _solvable(attributes: t.Mapping[str, str]) -> dict:
    entry = {"name": attributes.get("name"), "version": attributes.get("edition"), "arch": attributes.get("arch")}
    for key, attribute in (("old_version", "edition-old"), ("repository", "repository")):
        if attributes.get(attribute):
            entry[key] = attributes[attribute]
    if attributes.get("type", "package") != "package":
        entry["type"] = attributes["type"]
    return entry


class _Unreadable(Exception):
    """What is read is not what zypper writes."""


class _Text:
    """A text of which only the beginning and the end are kept."""

    def __init__(self, limit: int | None):
        self._limit = limit
        self._head = ""
        self._tail = ""
        self._left_out = 0

    def add(self, text: str) -> None:
        if self._limit is None or len(self._head) + len(text) <= self._limit:
            self._head += text
            return
        room = self._limit - len(self._head)
        self._head += text[:room]
        self._tail += text[room:]
        if len(self._tail) > 2 * self._limit:
            self._cut()

    def _cut(self) -> None:
        self._left_out += max(len(self._tail) - self._limit, 0)
        self._tail = self._tail[-self._limit:]

    def __str__(self) -> str:
        if self._limit is not None:
            self._cut()
        middle = f"\n... {self._left_out} characters left out ...\n" if self._left_out else ""
        return self._head + middle + self._tail


def shortened(text: str, limit: int = ERROR_LIMIT) -> str:
    """A text that people read, its beginning and end if it is long."""
    short = _Text(limit // 2)
    short.add(text)
    return str(short)


class _Messages:
    """Messages of which only the first and the last are kept."""

    def __init__(self, limit: int | None):
        self._limit = limit
        self._first: list[tuple[int, str, str]] = []
        self._last: collections.deque[tuple[int, str, str]] = collections.deque()
        self._sizes = [0, 0]
        self._left_out = 0

    def add(self, number: int, kind: str, text: str) -> None:
        size = len(text)
        if self._limit is None or (not self._last and len(self._first) < MESSAGES_COUNT
                                   and self._sizes[0] + size <= self._limit):
            self._first.append((number, kind, text))
            self._sizes[0] += size
            return
        self._last.append((number, kind, text))
        self._sizes[1] += size
        while len(self._last) > MESSAGES_COUNT or self._sizes[1] > self._limit:
            self._sizes[1] -= len(self._last.popleft()[2])
            self._left_out += 1

    def kept(self) -> list[tuple[int, str, str]]:
        middle = []
        if self._left_out:
            number = self._last[0][0] if self._last else self._first[-1][0] + 1 if self._first else 0
            kind = (self._last or self._first or [(0, "info", "")])[0][1]
            middle = [(number, kind, f"... and {self._left_out} more messages ...")]
        return self._first + middle + list(self._last)


class Reader:
    """Reads the XML of one zypper command as it comes. What cannot be read never raises: the answer has the ``flaw``.

    Scriptlets may print as much as they like: with ``bounded``, of the messages only so much is kept as people read.
    """

    def __init__(self, bounded: bool = True):
        self.solvables: list[str] = []  # names, each as often as it was named
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._flaw = self._before = ""
        self._parser: t.Any = None
        self._is_complete = False
        self._received = 0
        self._path: list[str] = []
        self._limit = MESSAGE_LIMIT if bounded else None
        limit = MESSAGES_LIMIT if bounded else None
        self._said, self._output, self._number = _Messages(limit), _Messages(limit), 0
        # what is being read
        self._kind = ""
        self._text: _Text | None = None
        self._listed: list[dict] | None = None
        self._depth_of_text = 0
        self._conflict: dict[str, _Text] = {}
        self._line = ""
        # what was read
        self._changes: dict[str, list[dict]] = {key: [] for key in SUMMARY.values()}
        self._summary: dict[str, int] | None = None
        self._is_committing = False
        self._failed: dict[str, None] = {}

    def feed(self, chunk: bytes) -> None:
        self._feed(self._decode(chunk))

    def answer(self) -> Answer:
        self._feed(self._decode(b"", True))
        if not self._flaw and not self._is_complete:
            self._flaw = "its output ends in the middle" if self._parser else "it printed no XML"
        summary = self._summary or {}
        if not self._flaw and summary.get("packages-to-change") and not any(self._changes.values()):
            self._flaw = "its summary lists no package, but counts some"
        messages = sorted(self._said.kept() + self._output.kept())
        return Answer(self._changes, [(kind, text) for _number, kind, text in messages],
                      summary.get("need-reboot") == 1, summary.get("download-size"), summary.get("space-usage-diff"),
                      self._flaw, tuple(self._failed))

    # --- the document ------------------------------------------------------------------------------------------------

    def _feed(self, text: str) -> None:
        if self._flaw or self._is_complete:
            return
        text = NO_XML.sub("\ufffd", text)
        if self._parser is None:
            # others may print before
            before, start, rest = (self._before + text).partition("<?xml")
            if not start:
                self._before = before[-len("<?xml"):]
                return
            self._begin()
            text = start + rest
        try:
            self._parser.Parse(text, False)
            self._received += len(text.encode())
            if self._received - self._parser.CurrentByteIndex > WORD_LIMIT and not self._is_complete:
                raise _Unreadable(f"a word of more than {WORD_LIMIT >> 20} MiB")
        except (expat.ExpatError, _Unreadable) as exc:
            # after the end of the document nothing is of interest
            self._flaw = "" if self._is_complete else f"its output is not what it should be: {exc}"

    def _begin(self) -> None:
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.StartDoctypeDeclHandler = self._refuse
        self._parser.EntityDeclHandler = self._refuse
        self._parser.ExternalEntityRefHandler = self._refuse

    @staticmethod
    def _refuse(*_arguments: t.Any) -> t.NoReturn:
        raise _Unreadable("a document type or entity, which zypper does not have")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._path.append(name)
        if len(self._path) == 1 and name != "stream":
            raise _Unreadable(f"<{name[:100]}> instead of <stream>")
        if len(self._path) > DEPTH_LIMIT:
            raise _Unreadable(f"more than {DEPTH_LIMIT} levels")
        if name == "message":
            self._begin_text(attributes.get("type", "info"))
        elif name == "description" and self._path[-2:-1] == ["prompt"]:
            self._begin_text("problem")
        elif name == "fileconflict":
            self._conflict = {}
        elif name in SUMMARY:
            self._listed = []
        elif name == "solvable":
            self.solvables.append(attributes.get("name", ""))
            if self._listed is not None:
                self._listed.append(_solvable(attributes))
        elif name == "install-summary":
            try:
                self._summary = {key: int(attributes.get(key, "0")) for key in (
                    "download-size", "space-usage-diff", "packages-to-change", "need-reboot")}
            except ValueError as exc:
                raise _Unreadable(f"a summary with {exc}") from exc

    def _characters(self, text: str) -> None:
        if self._text is not None:
            self._text.add(text)
            if self._is_committing:
                self._look_for_failures(text)
        elif "fileconflict" in self._path:
            self._conflict.setdefault("/".join(self._path[-3:]), _Text(LINE_LIMIT)).add(text)

    def _end(self, name: str) -> None:
        if self._text is not None and len(self._path) == self._depth_of_text:
            self._end_text()
        elif name == "fileconflict":
            file, left, right = (str(self._conflict.get(key, "None")) for key in (
                "fileconflict/lhs/file", "lhs/solvable/name", "rhs/solvable/name"))
            self._message("problem", f"file conflict: {file} is in {left} and in {right}")
        elif name in SUMMARY:
            self._changes[SUMMARY[name]] += self._listed or []
            self._listed = None
        elif name == "install-summary":
            self._is_committing = True
        self._path.pop()
        self._is_complete = not self._path

    # --- the messages ------------------------------------------------------------------------------------------------

    def _begin_text(self, kind: str) -> None:
        if self._text is None:
            self._kind, self._text, self._depth_of_text = kind, _Text(self._limit), len(self._path)

    def _end_text(self) -> None:
        text = str(self._text).replace(BOILERPLATE, "").strip()
        kind, self._text = self._kind, None
        if self._is_committing:
            self._look_for_failures("\n")
            if kind == "info" and not text.startswith("Retrieving:"):
                kind = "output"
        self._message(kind, text)

    def _message(self, kind: str, text: str) -> None:
        if text:
            self._number += 1
            (self._output if kind == "output" else self._said).add(self._number, kind, text)

    def _look_for_failures(self, text: str) -> None:
        """Search the lines as they end; of an endless one the end, which is where rpm's own words are."""
        *ended, self._line = (self._line + text).split("\n")
        for line in ended:
            if "failed" not in line:
                continue
            self._add_failure(FAILED_SCRIPTLET.search(line[-LINE_LIMIT:]))
            self._add_failure(FAILED_LUA.search(line))
        if len(self._line) > 2 * LINE_LIMIT:
            self._add_failure(FAILED_LUA.search(self._line))
            self._line = self._line[-LINE_LIMIT:]

    def _add_failure(self, found: re.Match | None) -> None:
        if found and len(self._failed) < MESSAGES_COUNT:
            self._failed[f"{found.group(1)}: {found.group(2).strip()}"] = None


def parse(stdout: str | bytes, bounded: bool = False) -> Answer:
    """Read the XML of one zypper command."""
    reader = Reader(bounded)
    reader.feed(stdout if isinstance(stdout, bytes) else stdout.encode("utf-8", "surrogatepass"))
    return reader.answer()


def require_readable(answer: Answer, what: str, **details: t.Any) -> None:
    """Half of an answer must not be taken for the whole."""
    if answer.flaw:
        raise TransactionalError(
            f"cannot read what zypper said when it was to {what}: {answer.flaw}. See /var/log/zypper.log, and what "
            "the same command with --xmlout prints", **details)


def names(stdout: str | bytes) -> list[str]:
    """Of the packages in the XML of a search, each once."""
    reader = Reader()
    reader.feed(stdout if isinstance(stdout, bytes) else stdout.encode("utf-8", "surrogatepass"))
    require_readable(reader.answer(), "search packages")
    return list(dict.fromkeys(reader.solvables))


def merge(first: Answer, second: Answer) -> Answer:
    """What two runs did together."""
    return Answer({key: first.changes[key] + second.changes[key] for key in first.changes},
                  first.messages + second.messages, first.need_reboot or second.need_reboot,
                  *((one or 0) + (other or 0) for one, other in zip(first[3:5], second[3:5])),
                  flaw=first.flaw or second.flaw,
                  failed_scriptlets=tuple(dict.fromkeys(first.failed_scriptlets + second.failed_scriptlets)))


def explain(rc: int, answer: Answer, stderr: str) -> str:
    """Why it failed, in zypper's own words, and what to do."""
    meaning, advice = FAILURES.get(rc, ("an exit code that zypper does not document", "see the messages"))
    said = answer.text("error", "warning", "problem", "output") or stderr.strip().splitlines() or ["it gave no reason"]
    # one after the other, as the advice at the end must not be cut away
    said = [shortened(" / ".join(said))]
    locked, licences = answer.found(LOCKED), answer.found(LICENCE)
    if locked:
        meaning, advice = f"a lock is in the way of {', '.join(locked)}", "remove the lock ('zypper locks' lists them)"
    elif licences:
        meaning = f"the licence of {', '.join(licences)} asks for agreement"
        advice = "read it, and agree with auto_agree_with_licenses: true"
    return f"exit code {rc}, {meaning}: {' / '.join(said).rstrip('.')}. What to do: {advice}"
