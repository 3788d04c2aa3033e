# Installs packages in one new snapshot. Arguments: seconds that zypper has, what has to be there, --, what is installed
# if a repository has it.
# shellcheck shell=sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
seconds=$1
shift
required=
while [ "$1" != -- ]; do
    required="$required $1"
    shift
done
shift

command -v tukit >/dev/null || {
    echo "there is no tukit on this host: install$required there by its own means" >&2
    exit 1
}
number=
output=
end() {
    status=$?
    trap - EXIT
    trap '' HUP INT TERM
    [ -z "$output" ] || rm -f "$output"
    [ -z "$number" ] || tukit abort "$number" >/dev/null 2>&1
    exit "$status"
}
trap end EXIT
lost=
# until the number is known, a lost terminal must end neither this script nor what tukit runs: the snapshot would stay
trap 'lost=1' HUP INT TERM
# on top of what is pending
number=$(setsid --wait sh -c "tukit --continue open | sed -n 's/^ID: //p'")
trap 'exit 129' HUP INT TERM
[ -n "$number" ] || exit 1
[ -z "$lost" ] || exit 129
output=$(mktemp) || exit
# in the foreground: what ends this script reaches zypper as well
# shellcheck disable=SC2086
tukit call "$number" timeout --foreground --kill-after=10 "$seconds" \
    zypper --non-interactive --ignore-unknown install --no-recommends $required "$@" >"$output" 2>&1
status=$?
# of a scriptlet that prints without end, the beginning and the end do
head -c 65536 "$output"
[ "$(wc -c <"$output")" -le 65536 ] || { echo && echo "[...]" && tail -c 4096 "$output"; }
case $status in
0 | 102 | 103) ;; # the latter two: done, and a reboot or a restart of zypper is suggested
124 | 137)
    echo "zypper did not end within $seconds s and was ended, snapshot $number was deleted" >&2
    exit "$status"
    ;;
*)
    echo "zypper ended with $status, snapshot $number was deleted" >&2
    exit "$status"
    ;;
esac
# zypper passes over some of them
if grep -q 'scriptlet failed' "$output"; then
    echo "a scriptlet of a package failed, snapshot $number was deleted" >&2
    exit 107
fi
for package in $required; do
    tukit call "$number" rpm --query --whatprovides "$package" || {
        echo "no repository has $package, snapshot $number was deleted" >&2
        exit 104
    }
done
tukit close "$number" || exit
echo "snapshot=$number"
number=
