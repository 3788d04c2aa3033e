"""Stand-in for tukit 6.1.3 (openSUSE/transactional-update), which no Debian release has, on top of snapper.

What it does, it does as the real one, word for word and exit code for exit code: tests/host/test_tukit_conformance.py
holds it against recorded runs. It lacks what the collection never uses: execute, reboot, --discard, --keep, plugins.
"""

import contextlib
import csv
import ctypes
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

VERSION = "6.1.3"
HELP = """\
Syntax: tukit [option...] command

Commands: open | call ID CMD... | callext ID CMD... | close ID | abort ID | rollback ID | snapshots

Options: -c[ID] --continue[=ID] | --description=TEXT | -f LIST --fields=LIST | -l LIST --log=console,syslog
         -o LOCKFILE=PATH --option=LOCKFILE=PATH | -q --quiet | -h --help | -V --version
"""
SHORT = {"c": "continue", "f": "fields", "h": "help", "l": "log", "o": "option", "q": "quiet", "V": "version"}
FLAGS = ("help", "quiet", "version")
VALUES = ("description", "fields", "log", "option")  # must have one; --continue may have one
RESUMING = ("call", "callext", "close", "abort")
IN_PROGRESS = "transactional-update-in-progress"
BIND, REC, PRIVATE, SLAVE = 1 << 12, 1 << 14, 1 << 18, 1 << 19  # mount(2)
DETACH = 2  # umount2(2)
LIBC = ctypes.CDLL(None, use_errno=True)


class Failure(Exception):
    """Ends tukit with exit code 1 and this text."""


def misused(problem):
    print(f"tukit: {problem}", file=sys.stderr)
    print(HELP)
    sys.exit(255)


def parse(words):
    """Like getopt_long: options end at the first word that is none. But no long option may be shortened."""
    options = {}

    def add(name, value, lacking):
        if name in VALUES and value is None:
            value = words.pop(0) if words else misused(lacking)
        if name in ("help", "version"):
            print(HELP if name == "help" else VERSION)
            sys.exit(0)
        options[name] = value

    while words and words[0].startswith("-") and words[0] != "-":
        word = words.pop(0)
        if word == "--":
            break
        if word.startswith("--"):
            name, given, value = word[2:].partition("=")
            if name not in SHORT.values() and name != "description":
                misused(f"unrecognized option '{word}'")
            if given and name in FLAGS:
                misused(f"option '--{name}' doesn't allow an argument")
            add(name, value if given else None, f"option '--{name}' requires an argument")
            continue
        letters = word[1:]
        while letters:
            letter, letters, value = letters[0], letters[1:], None
            name = SHORT.get(letter) or misused(f"invalid option -- '{letter}'")
            if name not in FLAGS:
                value, letters = letters or None, ""
            add(name, value, f"option requires an argument -- '{letter}'")
    return options, words


def say(text):
    if "quiet" not in OPTIONS and "console" in LOG:
        print(text)


# --- snapper -----------------------------------------------------------------------------------------------------


def helper(command):
    done = subprocess.run(["sh", "-c", command], env=os.environ | {"PATH": "/usr/bin:/usr/sbin:/bin:/sbin"},
                          stdout=subprocess.PIPE, text=True, errors="surrogateescape", check=False)
    if done.returncode:
        raise Failure(f"`{command}` returned with error code {done.returncode}.")
    return done.stdout


def snapper(command):
    dbus = "" if os.path.exists("/run/dbus/system_bus_socket") else "--no-dbus "
    return helper(f"snapper {dbus}{command}")


def table(columns, how=""):
    return list(csv.DictReader(snapper(f"{how}--csvout list --columns {columns}").splitlines(keepends=True)))


def snapshot(number):
    return f"/.snapshots/{number}/snapshot"


def current():
    """The snapshot that is mounted at /usr."""
    source = helper("findmnt --target /usr --raw --noheadings --output FSROOT --first-only --direction backward")
    return re.search(r"\.snapshots/(.*)/snapshot", source)[1]


def default():
    return next(row["number"] for row in table("default,number") if row["default"] == "yes")


def discard(number):
    """Exit code 0 even if that fails, for the real one does it in a destructor."""
    say(f"Discarding snapshot {number}.")
    try:
        snapper(f"delete {number}")
    except Failure as error:
        print(f"ERROR: {error}", file=sys.stderr)


@contextlib.contextmanager
def discarding(number):
    """An error of tukit's own costs the transaction; a command that fails does not."""
    try:
        yield
    except Failure:
        discard(number)
        raise


# --- what a command sees -----------------------------------------------------------------------------------------


def mount(source, target, fstype, flags):
    arguments = [text and os.fsencode(text) for text in (source, target, fstype)]
    if LIBC.mount(*arguments, flags, None):
        raise Failure(f"Mounting '{target}': {os.strerror(ctypes.get_errno())}")


def mounts():
    """What covers the snapshot: pairs of a path and how it is mounted; no flags means an empty tmpfs."""
    with open("/etc/fstab", encoding="utf-8") as stream:
        fstab = [line.split()[1] for line in stream if line.strip() and not line.startswith("#")]
    yield "/dev", BIND | REC
    yield "/var/log", BIND
    if "/var" in fstab:
        for path in ("/var/lib/zypp", "/var/lib/ca-certificates", "/var/lib/alternatives", "/var/lib/selinux"):
            if os.path.isdir(path) or path == "/var/lib/ca-certificates":
                yield path, BIND
    yield "/var/cache", BIND
    yield "/tmp", 0
    yield "/run", 0
    if os.path.exists("/run/systemd/journal"):
        yield "/run/systemd/journal", BIND
    yield "/var/tmp", 0
    for path in fstab:
        if path in ("/boot/efi", "/boot/zipl") or os.path.dirname(path) == "/boot/grub2":
            yield path, BIND
    yield "/proc", BIND | REC
    yield "/sys", BIND | REC
    for path in ("/root", "/boot/writable"):
        if path in fstab:
            yield path, BIND
    yield "/opt", BIND
    yield "/.snapshots", BIND


def supply(root):
    """What a command needs and the snapshot may lack; yields what is to be removed afterwards."""
    for name, target in (("var/run", "/run"), ("var/lib/rpm", "../../usr/lib/sysimage/rpm"), ("var/spool", None)):
        path = f"{root}/{name}"
        if not os.path.lexists(path):
            os.symlink(target, path) if target else os.mkdir(path)
            yield path


@contextlib.contextmanager
def mounted(number):
    """The snapshot with all its mounts, in a namespace of our own."""
    os.unshare(os.CLONE_NEWNS)
    root = tempfile.mkdtemp(prefix="transactional-update-", dir="/tmp")
    supplements = []
    try:
        # As with the real one, this first mount also reaches the host's namespace, where propagation is shared.
        mount(snapshot(number), root, None, BIND)
        mount(None, root, None, PRIVATE)
        for path, flags in mounts():
            if flags and not os.path.exists(path):
                raise Failure(f"Mounting '{path}': special device {path} does not exist")
            os.makedirs(root + path, exist_ok=True)
            mount(path if flags else "tmpfs", root + path, None if flags else "tmpfs", flags)
            if flags & REC:
                mount(None, root + path, None, REC | SLAVE)
        supplements.extend(supply(root))
        yield root
    finally:
        for path in supplements:
            os.unlink(path) if os.path.islink(path) else shutil.rmtree(path, ignore_errors=True)
        LIBC.umount2(os.fsencode(root), DETACH)
        os.rmdir(root)


# --- the commands ------------------------------------------------------------------------------------------------


def execute(argv, root, number):
    """In the child: become the command. With a ``root`` inside of it."""
    try:
        if root:
            directory = root + os.getcwd()
            os.chdir(directory if os.path.isdir(directory) else root)
            os.chroot(root)
            os.unshare(os.CLONE_NEWNS)
            mount(None, "/", None, REC | PRIVATE)
        if not argv:
            os.kill(os.getpid(), signal.SIGSEGV)  # so does the real one
        marks = {"TRANSACTIONAL_UPDATE": "true", "TRANSACTIONAL_UPDATE_ROOT": snapshot(number)}
        os.execvpe(argv[0], argv, os.environ | marks)
    except OSError as error:
        if "console" in LOG:
            print(f"Calling {argv[0]} failed: {error.strerror}", file=sys.stderr)
        os._exit(error.errno)
    finally:
        os._exit(1)


def call(number, argv, inside):
    """Run a command; its exit code, or the number of the signal that ended it."""
    with discarding(number), mounted(number) as root:
        argv = argv if inside else [word.replace("{}", root) for word in argv]
        say(f"Executing `{' '.join(argv)}`:")
        child = os.fork()
        if not child:
            execute(argv, root if inside else None, number)
        status = os.waitpid(child, 0)[1]
        if os.WIFSIGNALED(status):
            say(f"Application was terminated by signal {os.WTERMSIG(status)}.")
            return os.WTERMSIG(status)
        say(f"Application returned with exit status {os.WEXITSTATUS(status)}.")
        return os.WEXITSTATUS(status)


def open_transaction():
    base = OPTIONS["continue"] if "continue" in OPTIONS else current()
    if base is None:
        base = default()
    if not os.path.exists(snapshot(base)):
        raise Failure(f"Base snapshot '{base}' does not exist.")
    description = OPTIONS.get("description", f"Snapshot Update of #{base}")
    number = snapper(f"create --from {base} --read-write --cleanup-algorithm number --print-number "
                     f"--description '{description}' --userdata '{IN_PROGRESS}=yes'").strip()
    say(f"Using snapshot {base} as base for new snapshot {number}.")
    with discarding(number), mounted(number):
        print(f"ID: {number}")


def close(number):
    with discarding(number):
        with mounted(number):
            os.sync()
            os.utime(f"{snapshot(number)}/usr")
            snapper(f"modify --userdata '{IN_PROGRESS}=' {number}")
        base = default()
        if any(row["number"] == base and row["read-only"] == "yes" for row in table("number,read-only")):
            snapper(f"modify --read-only {number} 2>&1")
        snapper(f"modify --default {number} 2>&1")
    say(f"New default snapshot is #{number} ({snapshot(number)}).")


def check_open(number):
    if not os.path.exists(snapshot(number)):
        raise Failure(f"Snapshot {number} does not exist.")
    with discarding(number):
        rows = table("number,userdata")
    if not any(row["number"] == number and f"{IN_PROGRESS}=yes" in row["userdata"] for row in rows):
        raise Failure(f"Snapshot {number} is not an open transaction.")


def list_snapshots():
    fields = OPTIONS.get("fields") or "number"
    if not re.fullmatch("[A-Za-z,]+", fields):
        raise Failure("Column list contains invalid characters.")
    for row in table(fields, "--utc --iso "):
        print("".join(f"{row.get(field, '')}\t" for field in fields.split(",")))


def perform(command, number=None, *argv):
    """One command of tukit; its exit code."""
    if command not in ("open", "rollback", "snapshots", *RESUMING):
        print(HELP)
        raise Failure(f"Unknown command or option '{command}'.")
    if number is None and command not in ("open", "snapshots"):
        print(HELP)
        raise Failure(f"Missing argument for '{command}'")
    if "TRANSACTIONAL_UPDATE" in os.environ and command in ("open", *RESUMING):
        raise Failure("Cannot open a new transaction from within a running transaction.")
    say("Using 'snapper' as snapshot manager.")
    if command in RESUMING:
        check_open(number)
    match command:
        case "open":
            open_transaction()
        case "call" | "callext":
            return call(number, argv, inside=command == "call")
        case "close":
            close(number)
        case "abort":
            discard(number)
        case "rollback":
            snapper(f"rollback {number}")
        case "snapshots":
            list_snapshots()
    return 0


@contextlib.contextmanager
def locked(path):
    try:
        lock = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
    except OSError as error:
        raise Failure(f"Could not create lock file '{path}': {error.strerror}") from error
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise Failure(f"Another instance of tukit is already running: {error.strerror}") from error
    try:
        yield
    finally:
        os.unlink(path)


def main():
    if not {"console", "syslog", ""}.issuperset(LOG):
        raise Failure("Invalid log output.")
    key, _equals, value = OPTIONS.get("option", "").partition("=")
    with locked(value if key == "LOCKFILE" else "/var/run/tukit.lock"):
        say(f"tukit {VERSION} started")
        say("Options: " + "".join(f"{word} " for word in sys.argv[1:]))
        if not WORDS:
            raise Failure("Missing command. See --help for usage information.")
        code = perform(*WORDS)
        if not code:
            say("Transaction completed.")
        return code


if __name__ == "__main__":
    for stop in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(stop, lambda *_: None)  # not ignored: the command would inherit that
    # what Python has changed for itself and the command would inherit
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored, signal.SIG_DFL)
    with open("/proc/self/environ", "rb") as environment:
        if not any(entry.startswith(b"LC_CTYPE=") for entry in environment.read().split(b"\0")):
            os.environ.pop("LC_CTYPE", None)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="surrogateescape", line_buffering=True)
    OPTIONS, WORDS = parse(sys.argv[1:])
    LOG = OPTIONS.get("log", "console,syslog").split(",")
    try:
        sys.exit(main())
    except Failure as error:
        sys.exit(f"ERROR: {error}")
