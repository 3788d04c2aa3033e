# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What lies in ``/etc`` of both snapshots during a trial: a script in plain sh, and the units that call it.

Neither needs Python or the network. Everything was tried with systemd and systemd-boot 257.

Only root gets at what the script uses, and no tool that it calls, and nobody who holds its lock, keeps the host from
going back.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import shlex
import typing as t

from ansible_collections.microos.transactional.plugins.module_utils._tools import boot_entries

SCRIPT = "/etc/microos-transactional/trial.sh"
RECORD = "/var/lib/microos-transactional/trial"
FLAG = "/run/microos-transactional/trial.running"
# The record of this boot where the other could not be written, as the disk is full or /var is gone
SPARE = "/run/microos-transactional/trial.record"
# What a soft reboot goes into
NEXTROOT = "/run/nextroot"
# There where systemd runs
SYSTEMD = "/run/systemd/system"
UNITS = "/etc/systemd/system"
JUDGE, TIMER, TIDY = "microos-trial.service", "microos-trial-deadline.timer", "microos-trial-tidy.service"
REVERT = "microos-trial-revert@.service"
# Of the boot that armed the trial, in /run: a soft reboot ends it as any other does
WAIT = "microos-trial-armed.timer"
# States of the record. The first three are those of a trial that is not over.
ARMED, RUNNING, REVERTING = "armed", "running", "reverting"
CONFIRMED, REVERTED, FELL_BACK = "confirmed", "reverted", "fell-back"
UNDER_WAY = (ARMED, RUNNING, REVERTING)
# Exit statuses of the script, and what it says then
WRONG_ID, NOT_RUNNING, WRONG_SNAPSHOT, NO_DEFAULT, OTHER_DEFAULT, BUSY, NO_RECORD = range(3, 10)
REFUSALS = {
    WRONG_ID: "the trial of this host is another one",
    NOT_RUNNING: "only a running trial can be confirmed: its snapshot was not started yet, or the trial is over",
    WRONG_SNAPSHOT: "the host runs another snapshot than the one on trial",
    NO_DEFAULT: "the file system or the boot loader could not be told to start it from now on",
    OTHER_DEFAULT: "another snapshot, which was not made from it, became the default during the trial; make the one on "
                   "trial the default again to confirm it, with 'snapper rollback' and its number, or revert the trial",
    BUSY: "another call of this script has its lock and does not end; try again",
    NO_RECORD: "the record of the trial could not be written; is /var full?",
}
# Would remove the snapshot to go back to, make another one the default, or reboot the host
KEPT_OUT = ("snapper-cleanup.service", "transactional-update.service", "transactional-update-cleanup.service",
            "tukitd.service")
# Seconds that the script gives: a tool that looks or tells the boot loader, one that has disks or systemd at work, all
# attempts to tell a boot loader whose disk is mounted late, and whoever has the lock
TOOL_SECONDS, WORK_SECONDS, LOADER_SECONDS, LOCK_SECONDS = 20, 60, 60, 30
# Seconds for a shutdown, after which the host is reset
SHUTDOWN_SECONDS = 90
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class Plan(t.NamedTuple):
    """What a trial is about."""

    id: str
    seconds: int
    new: int  # the snapshot on trial
    back: list[int]  # snapshots to go back to, the best one first
    entries: dict[int, str]  # ids of their boot entries; empty where this host cannot choose among them
    trial_entry: str  # path of the boot entry of the trial; empty without one


SCRIPT_BODY = r'''
set -u
umask 077
# a reboot is a full one
export LC_ALL=C SYSTEMCTL_SKIP_AUTO_KEXEC=1 SYSTEMCTL_SKIP_AUTO_SOFT_REBOOT=1
top=${flag%.running}.top lock=${flag%.running}.lock
booted=$(timeout --kill-after=5 "$tool_seconds" systemctl show --property=SoftRebootsCount 2>/dev/null
)$(cat /proc/sys/kernel/random/boot_id)

# Run a tool that may hang, for so many seconds; it must not keep the lock if it cannot be ended
limited() {
    limit=$1
    shift
    timeout --kill-after=5 "$limit" "$@" 9>&- </dev/null
}

# As they are, one a line: echo would read backslashes
say() {
    printf '%s\n' "$@"
}

tool() {
    limited "$tool_seconds" "$@"
}

# A directory that nobody but root gets into, whatever was there
private() {
    if [ -L "$1" ] || { [ -e "$1" ] && [ ! -d "$1" ]; }; then rm -f "$1"; fi
    (umask 022 && mkdir -p "${1%/*}") && mkdir -p "$1"
    chown 0:0 "$1"
    chmod 0700 "$1"
}

get() {
    from=$record
    [ ! -e "$spare" ] || from=$spare
    sed -n "s/^$1=//p" "$from" 2>/dev/null | head -n 1
}

# Replace a file: a power cut leaves the old one or the new one
put() {
    rm -f "$1.new"
    cat >"$1.new" && limited "$work_seconds" sync "$1.new" && mv -fT "$1.new" "$1" &&
        limited "$work_seconds" sync "${1%/*}"
}

# Record the state. Where that fails the next boot will not know it, but the rest of this one does.
note() {
    reason=$(printf '%s' "${2-}" | tr '\n\r' '  ' | cut -c -1000)
    text=$(say "id=$id" "state=$1" "boots=$boots" "reason=$reason" "snapshot=$new" "previous=${back%% *}" \
        "seconds=$seconds")
    say "snapshot $new on trial: $1${reason:+, $reason}"
    if say "$text" | put "$record"; then
        rm -f "$spare"
    else
        say "$record could not be written"
        rm -f "$spare"
        say "$text" >"$spare"
        return 1
    fi
}

refuse() {
    refusal "$1" >&2
    exit "$1"
}

# Snapshot of what is mounted
mounted() {
    mount=$(tool findmnt --noheadings --first-only --direction backward --output FSROOT --mountpoint "$1")
    case $mount in
    */.snapshots/*/snapshot*)
        number=${mount##*/.snapshots/}
        echo "${number%%/*}"
        ;;
    esac
}

# The whole file system, read-write: the root is not, and /.snapshots may be not mounted yet, or never
mount_top() {
    tool mountpoint --quiet "$top" || {
        mkdir -p "$top"
        limited "$work_seconds" mount -t btrfs -o subvolid=5 \
            "$(tool findmnt --noheadings --first-only --nofsroot --output SOURCE /)" "$top"
    }
}

snapshots() {
    mount_top
    echo "$top${root%/.snapshots/*}/.snapshots"
}

snapshot() {
    echo "$(snapshots)/$1/snapshot"
}

leave_top() {
    if tool mountpoint --quiet "$top"; then
        { tool umount "$top" || tool umount --lazy "$top"; } && rmdir "$top"
    fi
}

default() {
    tool btrfs subvolume get-default / | sed -n 's|.*/\.snapshots/\([0-9]*\)/snapshot$|\1|p'
}

# Whether a snapshot was made from the one on trial, perhaps by way of others
descends() {
    mount_top
    known=$(tool btrfs subvolume list -u -q "$top") || return 1
    uuids=" parent_uuid *\([^ ]*\) *uuid \([^ ]*\) path \(.*/\)\{0,1\}"
    wanted=$(say "$known" | sed -n "s|.*$uuids\.snapshots/$new/snapshot\$|\2|p")
    parent=$(say "$known" | sed -n "s|.*$uuids\.snapshots/$1/snapshot\$|\1|p")
    generations=0
    while [ -n "$wanted" ] && [ -n "$parent" ] && [ "$generations" -lt 50 ]; do
        [ "$parent" != "$wanted" ] || return 0
        parent=$(say "$known" | sed -n "s|.* parent_uuid *\([^ ]*\) *uuid $parent path .*|\1|p")
        generations=$((generations + 1))
    done
    return 1
}

# The boot entry of a snapshot. One that was made since the trial was prepared may have some too.
entry() {
    planned_entry "$1" && return
    for directory in $entry_directories; do
        for file in "$directory"/*.conf; do
            case ${file##*/} in
            *[!A-Za-z0-9+_.@-]* | [@-]* | "$trial_name") continue ;;
            esac
            ! tool grep -qs "[[:space:]]rootflags=[^[:space:]]*/\.snapshots/$1/snapshot" "$file" || echo "${file##*/}"
        done
    done | sed 's/+[0-9]\{1,\}\(-[0-9]\{1,\}\)\{0,1\}\.conf$/.conf/' | sort -V | tail -n 1 | grep .
}

seconds_up() {
    read -r up _ </proc/uptime
    echo "${up%%.*}"
}

# The boot loader starts this snapshot from now on
load() {
    if [ -n "$chooses" ]; then
        tool bootctl --quiet set-oneshot ""
        told=$(entry "$1") || { echo "snapshot $1 has no boot entry" && return 1; }
        tool bootctl --quiet set-default "$told"
        return
    fi
    # one that knows no single boot may have entries too, as GRUB with BLS has
    if command -v sdbootutil >/dev/null; then
        begin=$(seconds_up)
        # what it writes to may be mounted a bit later
        until tool sdbootutil set-default-snapshot "$1"; do
            case $? in
            124 | 137) hung=yes ;;
            *) hung= ;;
            esac
            if [ -n "$hung" ] || [ "$(($(seconds_up) - begin))" -ge "$loader_seconds" ]; then
                echo "sdbootutil failed: the boot loader may not start snapshot $1"
                return
            fi
            sleep 2
        done
    fi
}

set_default() {
    limited "$work_seconds" btrfs subvolume set-default "$(snapshot "$1")"
}

choose() {
    set_default "$1" && load "$1"
}

# A boot loader that was told at the beginning needs no more than a reboot: whatever fails here, it starts the first
go_back() {
    for number in $back; do
        [ -d "$(snapshot "$number")" ] || continue
        choose "$number" && return
        [ -z "$chooses" ] || break
    done
    [ -n "$chooses" ]
}

# No reboot goes into what was prepared for a quicker one
forget_quick_ways() {
    if tool mountpoint --quiet "$nextroot"; then
        tool umount --recursive "$nextroot" || tool umount --recursive --lazy "$nextroot"
    fi
    if [ "$(cat /sys/kernel/kexec_loaded 2>/dev/null)" = 1 ] && command -v kexec >/dev/null; then
        tool kexec --unload
    fi
}

restart() {
    forget_quick_ways
    leave_top
    limited "$work_seconds" sync
    tool systemctl --no-block reboot
    sleep "$shutdown_seconds" # what hangs in the shutdown does not keep the host
    tool systemctl --force --force reboot
}

# Whether somebody made another snapshot the default than the trial itself did
is_foreign() {
    case " $new $back " in
    *" $1 "*) return 1 ;;
    esac
    [ -n "$1" ]
}

revert() {
    if [ -n "$armed_here" ] || [ "$current" != "$new" ]; then
        finish reverted "$1"
        return
    fi
    why=$1
    chosen=$(default)
    ! is_foreign "$chosen" || why="$why; snapshot $chosen, the default meanwhile, is that no more"
    # a confirmation that hangs, and goes on some day, finds it
    [ -n "$locked" ] || note reverting "$why"
    if go_back; then
        [ "$state" = reverting ] || boots=0
        note reverting "$why"
        restart
    else
        note running "cannot go back ($1): none of the snapshots $back can be the default"
    fi
}

# The host runs another snapshot than the one on trial: stay here
finish() {
    target=$current why=$2
    chosen=$(default)
    if [ -n "$armed_here" ]; then
        # the root may be older than what was in use, after a live apply
        for number in $back; do
            [ -d "$(snapshot "$number")" ] || continue
            target=$number
            break
        done
        if is_foreign "$chosen"; then
            target=$chosen why="$why; snapshot $chosen, made the default meanwhile, stays that"
        fi
        forget_quick_ways
    elif [ "$1" = confirmed ] && is_foreign "$chosen"; then
        target=$chosen
    elif [ "$chosen" != "$target" ] && is_foreign "$chosen"; then
        why="$why; snapshot $chosen, the default meanwhile, is that no more"
    fi
    set_default "$target" || why="$why; snapshot $target could not be made the default"
    [ -z "$chooses" ] || load "$target"
    note "$1" "$why"
    tidy_later
}

tidy_later() {
    leave_top
    if [ -d "$systemd" ]; then tool systemctl --no-block start microos-trial-tidy.service; fi
}

# The start goes on meanwhile where the boot loader's files have to be mounted for it
revert_at_boot() {
    if [ -n "$chooses" ]; then
        revert "$(reason_of "$1")"
    else
        tool systemctl --no-block start "microos-trial-revert@$1.service"
    fi
}

reason_of() {
    case $1 in
    again) get reason ;;
    boots) say "restarted $boots times without a confirmation" ;;
    deadline) say "nobody confirmed it within $seconds s" ;;
    armed) say "nobody rebooted the host for it" ;;
    checks)
        failed=$(tool systemctl --failed --plain --no-legend | cut -d ' ' -f 1 | tr '\n' ' ')
        say "boot-complete.target failed, with the units that failed: ${failed% }"
        ;;
    *) say "somebody asked for it" ;;
    esac
}

# Once in each boot, and not in the one that armed it. One that nobody confirms, whatever restarts the host, is tried
# three times where the boot loader knows no single try.
settle() {
    [ "$(cat "$flag" 2>/dev/null)" != "$booted" ] || return 0
    raise
    boots=$((boots + 1))
    if [ "$current" = "$new" ]; then
        case $state in
        confirmed | reverted | fell-back) finish "$state" "$(get reason)" ;;
        reverting)
            if [ "$boots" -gt 3 ]; then
                set_default "$new"
                leave_top
                note running "cannot go back: the boot loader starts snapshot $new again and again"
                tool systemctl --no-block stop microos-trial-deadline.timer
            else
                note reverting "$(get reason)"
                revert_at_boot again
            fi
            ;;
        *)
            note running
            if [ "$boots" -gt 3 ]; then
                revert_at_boot boots
            else
                # what has to be in order after a boot, also where the boot loader does not count boots
                tool systemctl --no-block start boot-complete.target
            fi
            ;;
        esac
    else
        runs=
        ! is_foreign "$current" || runs=", and snapshot $current was started"
        case $state in
        reverting) finish reverted "$(get reason)" ;;
        armed) finish fell-back "it did not come up$runs" ;;
        running) finish fell-back "the host was restarted, or went down, before the confirmation$runs" ;;
        *) finish "${state:-fell-back}" "$(get reason)" ;;
        esac
    fi
}

# The trial is known to this boot
raise() {
    rm -f "$flag"
    echo "$booted" >"$flag"
}

confirm() {
    [ "$1" = "$id" ] || refuse "$wrong_id"
    [ "$state" != confirmed ] || return 0
    [ "$state" = running ] || refuse "$not_running"
    [ "$current" = "$new" ] || refuse "$wrong_snapshot"
    kept=$(default) why=
    if [ -z "$kept" ] || [ "$kept" = "$new" ]; then
        kept=$new
    elif descends "$kept"; then
        why="snapshot $kept, made from it and made the default meanwhile, stays the default"
    else
        leave_top
        echo "the default is snapshot $kept" >&2
        refuse "$other_default"
    fi
    if [ -n "${2-}" ]; then # nobody wants more than to know
        leave_top
        return
    fi
    if ! choose "$kept"; then
        leave_top
        refuse "$no_default"
    fi
    leave_top
    limited "$work_seconds" sync
    # one that did not get the lock at the deadline goes its way without
    [ "$(get state)" = running ] || refuse "$not_running"
    if ! note confirmed "$why"; then
        # what nobody will know after a power cut is not true now
        rm -f "$spare"
        [ -z "$chooses" ] || load "${back%% *}"
        refuse "$no_record"
    fi
    tidy
}

# Nothing of the trial remains but the record. This script comes last: it is what does it again after a power cut.
tidy() {
    if [ -n "$ours" ]; then
        case $(get state) in
        confirmed | reverted | fell-back) ;;
        *) return ;;
        esac
    fi
    limited "$work_seconds" systemctl stop microos-trial-deadline.timer microos-trial.service
    limited "$work_seconds" systemctl stop microos-trial-armed.timer 2>/dev/null
    if [ -n "$ours" ]; then
        chosen=$(default)
        [ "$(get state)" = confirmed ] || [ "${chosen:-$new}" != "$new" ] || chosen=$current
        load "${chosen:-$current}"
        if [ -n "$trial_entry" ]; then
            tool mountpoint --quiet "${trial_entry%/loader/entries/*}" || exit 1
            tool rm -f "$trial_entry" "${trial_entry%/*}/.$trial_name.new"
            limited "$work_seconds" sync "${trial_entry%/*}"
        fi
        # also what was made during the trial has a copy
        for path in "$(snapshots)"/*/snapshot; do
            number=${path%/snapshot}
            [ "${number##*/}" = "$in_use" ] || ! tool grep -qsx "id=$id" "$path$script" || remove "$path"
        done
        leave_top
    fi
    remove ""
    rm -f "$flag"
    limited "$work_seconds" systemctl daemon-reload
}

remove() {
    say "$files" | while IFS= read -r file; do
        rm -f "$1$file"
        rmdir "$1${file%/*}" 2>/dev/null
    done
}

root=$(tool findmnt --noheadings --first-only --output FSROOT /)
current=${root##*/.snapshots/}
current=${current%%/*}
# what is in use differs from the root after a live apply
in_use=$(mounted /usr)
in_use=${in_use:-$current}
case ${1-} in
arm | settle | tidy | confirm | revert) ;;
*)
    cat "$record"
    echo "usage: $0 confirm | revert" >&2
    exit
    ;;
esac
private "${flag%/*}"
private "${record%/*}"
# one that others could open once may be theirs still
[ "$(stat -c %u:%a "$lock" 2>/dev/null)" = "$(id -u):600" ] || rm -rf "$lock"
locked=
if (: >>"$lock") 2>/dev/null; then
    exec 9>>"$lock"
    ! flock -w "$lock_seconds" 9 || locked=yes
fi
# what is over must not wait for it: the way back, and the start of the host
case $1 in
settle | revert) ;;
*) [ -n "$locked" ] || refuse "$busy" ;;
esac
state='' ours=yes armed_here=
case $(get id) in
"$id")
    state=$(get state)
    boots=$(get boots)
    ;;
'') ;;
*)
    # the script of an earlier trial, in a snapshot that was made meanwhile
    [ "$current" = "$new" ] || ours=
    ;;
esac
case ${boots-} in
[0-9] | [1-9][0-9]) ;;
*) boots=0 ;;
esac
[ "$state" != armed ] || [ "$(cat "$flag" 2>/dev/null)" != "$booted" ] || armed_here=yes
case $1 in
arm)
    raise
    if [ -d "$systemd" ]; then
        tool systemd-run --quiet --collect --unit=microos-trial-armed --on-active="$2" \
            --timer-property=AccuracySec=1s /bin/sh "$0" revert armed
    fi
    ;;
settle) if [ -n "$ours" ]; then settle; else tidy_later; fi ;;
tidy) tidy ;;
confirm) confirm "${2-$id}" "${3-}" ;;
revert)
    case $state in
    confirmed | reverted | fell-back) exit ;;
    armed) ;;
    *) [ "${2-}" != armed ] || exit 0 ;;
    esac
    if [ -n "$ours" ]; then revert "$(reason_of "${2-}")"; else tidy_later; fi
    ;;
esac
'''
JUDGE_UNIT = f"""[Unit]
Description=See to the snapshot on trial
DefaultDependencies=no
IgnoreOnIsolate=yes
After=systemd-remount-fs.service etc.mount var.mount
Before=sysinit.target boot-complete.target
Conflicts=systemd-soft-reboot.service
Before=systemd-soft-reboot.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh {SCRIPT} settle
SyslogIdentifier=microos-trial
TimeoutStartSec=300
OOMScoreAdjust=-1000
"""

TIMER_UNIT = f"""[Unit]
Description=Deadline of the snapshot on trial
DefaultDependencies=no
IgnoreOnIsolate=yes
After={JUDGE}

[Timer]
OnActiveSec=%s
AccuracySec=1s
Unit={REVERT.replace('@', '@deadline')}
"""

# It goes on while the host shuts down, and ends that if it hangs
REVERT_UNIT = f"""[Unit]
Description=Back from the snapshot on trial (%i)
DefaultDependencies=no
IgnoreOnIsolate=yes
FailureAction=reboot-force

[Service]
Type=oneshot
ExecStart=/bin/sh {SCRIPT} revert %i
SyslogIdentifier=microos-trial
TimeoutStartSec=600
OOMScoreAdjust=-1000
"""

TIDY_UNIT = f"""[Unit]
Description=Remove what a trial has left

[Service]
Type=oneshot
ExecStart=/bin/sh {SCRIPT} tidy
SyslogIdentifier=microos-trial
TimeoutStartSec=900
"""

# No links in a directory ".wants": systemd may remove those at a first boot, which one with a new machine id is
WANTS_DROP_IN = f"[Unit]\nWants={JUDGE} {TIMER}\n"

COMPLETE_DROP_IN = f"[Unit]\nOnFailure={REVERT.replace('@', '@checks')}\n"
KEPT_OUT_DROP_IN = f"[Unit]\nConditionPathExists=!{FLAG}\n"


def texts(plan: Plan) -> dict[str, str]:
    """Paths and texts of the files."""
    units = {JUDGE: JUDGE_UNIT, TIMER: TIMER_UNIT % plan.seconds, REVERT: REVERT_UNIT, TIDY: TIDY_UNIT,
             "sysinit.target.d/50-microos-trial.conf": WANTS_DROP_IN,
             "boot-complete.target.d/50-microos-trial.conf": COMPLETE_DROP_IN}
    units.update({f"{unit}.d/50-microos-trial.conf": KEPT_OUT_DROP_IN for unit in KEPT_OUT})
    found = {f"{UNITS}/{name}": text for name, text in units.items()}
    # removed in this order: what does it again after a power cut comes last
    last = [f"{UNITS}/{name}" for name in (TIDY, JUDGE, "sysinit.target.d/50-microos-trial.conf")] + [SCRIPT]
    found[SCRIPT] = script(plan, [path for path in found if path not in last] + last)
    return found


def script(plan: Plan, files: t.Iterable[str]) -> str:
    """The script, which knows the plan and what it has to remove."""
    known = {
        "PATH": PATH, "id": plan.id, "seconds": str(plan.seconds), "new": str(plan.new),
        "back": " ".join(map(str, plan.back)), "chooses": "yes" if plan.entries else "",
        "trial_entry": plan.trial_entry, "trial_name": boot_entries.TRIAL,
        "entry_directories": " ".join(boot_entries.DIRECTORIES), "record": RECORD, "flag": FLAG, "spare": SPARE,
        "nextroot": NEXTROOT, "systemd": SYSTEMD, "script": SCRIPT, "files": "\n".join(files),
        "tool_seconds": str(TOOL_SECONDS), "work_seconds": str(WORK_SECONDS), "loader_seconds": str(LOADER_SECONDS),
        "lock_seconds": str(LOCK_SECONDS), "shutdown_seconds": str(SHUTDOWN_SECONDS),
        "wrong_id": str(WRONG_ID), "not_running": str(NOT_RUNNING), "wrong_snapshot": str(WRONG_SNAPSHOT),
        "no_default": str(NO_DEFAULT), "other_default": str(OTHER_DEFAULT), "busy": str(BUSY),
        "no_record": str(NO_RECORD),
    }
    head = [
        "#!/bin/sh",
        "# Sees to a snapshot on trial: the host keeps it if somebody confirms it in time, and goes back otherwise.",
        "# Made by microos.transactional, called by systemd, gone when the trial is over. Decide by hand with:",
        f"#     sh {SCRIPT} confirm | revert",
    ]
    assigned = [f"{name}={shlex.quote(value)}" for name, value in known.items()] + ["export PATH"]
    functions = [_choice("planned_entry", plan.entries), _choice("refusal", REFUSALS)]
    return "\n".join(head + assigned + functions) + SCRIPT_BODY


def _choice(name: str, lines: t.Mapping[int, str]) -> str:
    """A shell function that prints the line of a number, and fails without one."""
    cases = [f"    {number}) printf '%s\\n' {shlex.quote(line)} ;;" for number, line in lines.items()]
    return "\n".join([f"{name}() {{", "    case $1 in", *cases, "    *) return 1 ;;", "    esac", "}"])


def trial_entry(text: str, arguments: str) -> str:
    """The boot entry of a trial, from the snapshot's own: never chosen by itself, and with more kernel arguments."""
    told = boot_entries.assignments(text)
    title = next((value for key, value in told if key == "title" and value), "snapshot")
    options = " ".join([value for key, value in told if key == "options" and value] + [arguments])
    kept = [f"{key} {value}" for key, value in told if key not in ("sort-key", "version", "title", "options")]
    return "\n".join([f"title {title} (on trial)", "sort-key zzz-microos-trial", "version 0"] + kept
                     + [f"options {options}"]) + "\n"


def parse_record(text: str) -> dict[str, str]:
    """The record: ``id``, ``state``, ``boots``, ``reason``, ``snapshot``, ``previous``, ``seconds``."""
    return dict(line.split("=", 1) for line in text.split("\n") if "=" in line)
