# Copyright: (c) 2026, the microos.transactional contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What lies in ``/etc`` of both snapshots during a trial: a script in plain sh, and the units that call it.

Neither needs Python or the network. Everything was tried with systemd and systemd-boot 257.

Note that this module util is PRIVATE to the collection.
"""

from __future__ import annotations

import shlex
import typing as t

SCRIPT = "/etc/microos-transactional/trial.sh"
RECORD = "/var/lib/microos-transactional/trial"
FLAG = "/run/microos-transactional/trial.running"
UNITS = "/etc/systemd/system"
JUDGE, TIMER, TIDY = "microos-trial.service", "microos-trial-deadline.timer", "microos-trial-tidy.service"
REVERT = "microos-trial-revert@.service"
# Of the boot that armed the trial, in /run: a soft reboot ends it as any other does
WAIT = "microos-trial-armed.timer"
# States of the record. The first three are those of a trial that is not over.
ARMED, RUNNING, REVERTING = "armed", "running", "reverting"
CONFIRMED, REVERTED, FELL_BACK = "confirmed", "reverted", "fell-back"
UNDER_WAY = (ARMED, RUNNING, REVERTING)
# Exit statuses of "confirm"
WRONG_ID, NOT_RUNNING, WRONG_SNAPSHOT, NO_DEFAULT = 3, 4, 5, 6
# Would remove the snapshot to go back to, or reboot the host
KEPT_OUT = ("snapper-cleanup.service", "transactional-update.service", "transactional-update-cleanup.service")


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
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
top=/run/microos-transactional/trial.top
booted=$(systemctl show --property=SoftRebootsCount 2>/dev/null)$(cat /proc/sys/kernel/random/boot_id)

get() {
    sed -n "s/^$1=//p" "$record" 2>/dev/null
}

# Record the state: a power cut leaves the old record or the new one
note() {
    mkdir -p "${record%/*}"
    printf '%s\n' "id=$id" "state=$1" "boots=$boots" "reason=${2-}" "snapshot=$new" "previous=${back%% *}" \
        "seconds=$seconds" >"$record.new" && sync "$record.new" && mv "$record.new" "$record" && sync "${record%/*}"
    echo "snapshot $new on trial: $1${2:+, }${2-}"
}

# The whole file system, read-write: the root is not, and /.snapshots may be not mounted yet, or never
snapshot() {
    mountpoint --quiet "$top" || {
        mkdir -p "$top"
        mount -t btrfs -o subvolid=5 "$(findmnt --noheadings --first-only --nofsroot --output SOURCE /)" "$top"
    }
    echo "$top${root%/.snapshots/*}/.snapshots/$1/snapshot"
}

leave_top() {
    if mountpoint --quiet "$top"; then umount "$top" && rmdir "$top"; fi
}

# The boot loader starts this snapshot from now on
load() {
    for entry in $entries; do
        [ "${entry%%:*}" = "$1" ] || continue
        bootctl --quiet set-oneshot ""
        bootctl --quiet set-default "${entry#*:}"
        return
    done
    # one that knows no single boot may have entries too, as GRUB with BLS has
    if [ -z "$entries" ] && command -v sdbootutil >/dev/null; then
        tries=0
        # what it writes to may be mounted a bit later
        until sdbootutil set-default-snapshot "$1"; do
            tries=$((tries + 1))
            [ "$tries" -lt 30 ] || { echo "sdbootutil failed: the boot loader may not start snapshot $1" && return; }
            sleep 2
        done
    fi
}

choose() {
    btrfs subvolume set-default "$(snapshot "$1")" && load "$1"
}

# A boot loader that was told at the beginning needs no more than a reboot: whatever fails here, it starts the first
go_back() {
    for number in $back; do
        [ -d "$(snapshot "$number")" ] || continue
        choose "$number" && return
        [ -z "$entries" ] || break
    done
    [ -n "$entries" ]
}

restart() {
    leave_top
    sync
    systemctl --no-block reboot
    sleep 90 # what hangs in the shutdown does not keep the host
    systemctl --force --force reboot
}

revert() {
    if [ "$current" != "$new" ]; then
        finish reverted "$1"
    elif go_back; then
        [ "$state" = reverting ] || boots=0
        note reverting "$1"
        restart
    else
        note running "cannot go back ($1): none of the snapshots $back can be the default"
    fi
}

# The host runs another snapshot than the one on trial: stay here
finish() {
    btrfs subvolume set-default "$(snapshot "$current")"
    [ -z "$entries" ] || load "$current"
    note "$1" "$2"
    leave_top
    if [ -d /run/systemd/system ]; then systemctl --no-block start microos-trial-tidy.service; fi
}

# The start goes on meanwhile where the boot loader's files have to be mounted for it
revert_at_boot() {
    if [ -n "$entries" ]; then
        revert "$(reason_of "$1")"
    else
        systemctl --no-block start "microos-trial-revert@$1.service"
    fi
}

reason_of() {
    case $1 in
    again) get reason ;;
    boots) echo "restarted $boots times without a confirmation" ;;
    deadline) echo "nobody confirmed it within $seconds s" ;;
    armed) echo "nobody rebooted the host for it" ;;
    checks)
        failed=$(systemctl --failed --plain --no-legend | cut -d ' ' -f 1 | tr '\n' ' ')
        echo "boot-complete.target failed, with the units that failed: ${failed% }"
        ;;
    *) echo "somebody asked for it" ;;
    esac
}

# Once in each boot, and not in the one that armed it. One that nobody confirms, whatever restarts the host, is tried
# three times where the boot loader knows no single try.
settle() {
    [ "$(cat "$flag" 2>/dev/null)" != "$booted" ] || return 0
    echo "$booted" >"$flag"
    boots=$((boots + 1))
    if [ "$current" = "$new" ]; then
        case $state in
        confirmed | reverted | fell-back) finish "$state" "$(get reason)" ;;
        reverting)
            if [ "$boots" -gt 3 ]; then
                note running "cannot go back: the boot loader starts snapshot $new again and again"
                systemctl --no-block stop microos-trial-deadline.timer
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
                systemctl --no-block start boot-complete.target
            fi
            ;;
        esac
    else
        case $state in
        reverting) finish reverted "$(get reason)" ;;
        armed) finish fell-back "it did not come up" ;;
        running) finish fell-back "the host was restarted, or went down, before the confirmation" ;;
        *) finish "${state:-fell-back}" "$(get reason)" ;;
        esac
    fi
}

confirm() {
    [ "$1" = "$id" ] || exit 3
    [ "$state" != confirmed ] || return 0
    [ "$state" = running ] || exit 4
    [ "$current" = "$new" ] || exit 5
    choose "$new" || exit 6
    leave_top
    sync
    note confirmed
    tidy
}

# Nothing of the trial remains but the record. This script comes last: it is what does it again after a power cut.
tidy() {
    case $(get state) in
    confirmed | reverted | fell-back) ;;
    *) return ;;
    esac
    systemctl stop microos-trial-deadline.timer microos-trial.service
    systemctl stop microos-trial-armed.timer 2>/dev/null
    load "$current"
    if [ -n "$trial_entry" ]; then
        mountpoint --quiet "${trial_entry%/loader/entries/*}" || exit 1
        rm -f "$trial_entry"
        sync "${trial_entry%/*}"
    fi
    for number in $new $back; do
        [ "$number" = "$current" ] || [ ! -d "$(snapshot "$number")" ] || remove "$(snapshot "$number")"
    done
    leave_top
    remove ""
    rm -f "$flag"
    systemctl daemon-reload
}

remove() {
    for file in $files; do
        rm -f "$1$file"
        rmdir "$1${file%/*}" 2>/dev/null
    done
}

mkdir -p "${flag%/*}"
root=$(findmnt --noheadings --first-only --output FSROOT /)
current=${root##*/.snapshots/}
current=${current%%/*}
exec 9>"${flag%.running}.lock"
flock 9
state=
[ "$(get id)" != "$id" ] || state=$(get state)
boots=$(get boots)
boots=${boots:-0}
case ${1-} in
arm)
    echo "$booted" >"$flag"
    if [ -d /run/systemd/system ]; then
        systemd-run --quiet --collect --unit=microos-trial-armed --on-active="$2" --timer-property=AccuracySec=1s \
            /bin/sh "$0" revert armed
    fi
    ;;
settle) settle ;;
tidy) tidy ;;
confirm) confirm "${2-$id}" ;;
revert)
    case $state in
    confirmed | reverted | fell-back) exit ;;
    armed) ;;
    *) [ "${2-}" != armed ] || exit 0 ;;
    esac
    revert "$(reason_of "${2-}")"
    ;;
*)
    cat "$record"
    echo "usage: $0 confirm | revert" >&2
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
TimeoutStartSec=300
OOMScoreAdjust=-1000
"""

TIDY_UNIT = f"""[Unit]
Description=Remove what a trial has left

[Service]
Type=oneshot
ExecStart=/bin/sh {SCRIPT} tidy
SyslogIdentifier=microos-trial
"""

COMPLETE_DROP_IN = f"[Unit]\nOnFailure={REVERT.replace('@', '@checks')}\n"
KEPT_OUT_DROP_IN = f"[Unit]\nConditionPathExists=!{FLAG}\n"


def links() -> dict[str, str]:
    """Paths and targets of the symbolic links."""
    return {f"{UNITS}/sysinit.target.wants/{unit}": f"../{unit}" for unit in (JUDGE, TIMER)}


def texts(plan: Plan) -> dict[str, str]:
    """Paths and texts of the files."""
    units = {JUDGE: JUDGE_UNIT, TIMER: TIMER_UNIT % plan.seconds, REVERT: REVERT_UNIT, TIDY: TIDY_UNIT,
             "boot-complete.target.d/50-microos-trial.conf": COMPLETE_DROP_IN}
    units.update({f"{unit}.d/50-microos-trial.conf": KEPT_OUT_DROP_IN for unit in KEPT_OUT})
    found = {f"{UNITS}/{name}": text for name, text in units.items()}
    # removed in this order: what does it again after a power cut comes last
    last = [path for path in [*links(), *found] if path.endswith((JUDGE, TIDY))] + [SCRIPT]
    found[SCRIPT] = script(plan, [path for path in [*links(), *found] if path not in last] + last)
    return found


def script(plan: Plan, files: t.Iterable[str]) -> str:
    """The script, which knows the plan and what it has to remove."""
    known = {
        "id": plan.id, "seconds": str(plan.seconds), "new": str(plan.new), "back": " ".join(map(str, plan.back)),
        "entries": " ".join(f"{number}:{entry}" for number, entry in plan.entries.items()),
        "trial_entry": plan.trial_entry, "record": RECORD, "flag": FLAG, "files": " ".join(files),
    }
    head = [
        "#!/bin/sh",
        "# Sees to a snapshot on trial: the host keeps it if somebody confirms it in time, and goes back otherwise.",
        "# Made by microos.transactional, called by systemd, gone when the trial is over. Decide by hand with:",
        f"#     sh {SCRIPT} confirm | revert",
    ]
    return "\n".join(head + [f"{name}={shlex.quote(value)}" for name, value in known.items()]) + SCRIPT_BODY


def trial_entry(text: str, arguments: str) -> str:
    """The boot entry of a trial, from the snapshot's own: never chosen by itself, and with more kernel arguments."""
    kept = [line for line in text.splitlines() if line.split(None, 1)[:1] not in (["sort-key"], ["version"], ["title"])]
    title = next((line.split(None, 1)[1] for line in text.splitlines() if line.startswith("title ")), "snapshot")
    options = [f"{line} {arguments}".rstrip() if line.split(None, 1)[:1] == ["options"] else line for line in kept]
    return "\n".join([f"title {title.strip()} (on trial)", "sort-key zzz-microos-trial", "version 0"] + options) + "\n"


def parse_record(text: str) -> dict[str, str]:
    """The record: ``id``, ``state``, ``boots``, ``reason``, ``snapshot``, ``previous``, ``seconds``."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
