# Installs packages in one new snapshot. Arguments: what has to be there, --, what is installed if a repository has it.
# shellcheck shell=sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
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
end() {
    status=$?
    trap - EXIT
    trap '' HUP INT TERM
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
# shellcheck disable=SC2086
tukit call "$number" zypper --non-interactive --ignore-unknown install --no-recommends $required "$@"
status=$?
case $status in
0 | 102 | 103) ;; # the latter two: done, and a reboot or a restart of zypper is suggested
*)
    echo "zypper ended with $status, snapshot $number was deleted" >&2
    exit "$status"
    ;;
esac
for package in $required; do
    tukit call "$number" rpm --query --whatprovides "$package" || {
        echo "no repository has $package, snapshot $number was deleted" >&2
        exit 104
    }
done
tukit close "$number" || exit
echo "snapshot=$number"
number=
