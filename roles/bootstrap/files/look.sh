# What bootstrap has to do here, as lines NAME=VALUE. Arguments: the packages that are wanted.
# shellcheck shell=sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
number() {
    sed -n 's|.*/\.snapshots/\([0-9]*\)/snapshot.*|\1|p'
}
current=$(findmnt --noheadings --first-only --output FSROOT / | number)
default=$(btrfs subvolume get-default / | number)
missing_in() {
    root=$1
    shift
    for package; do
        rpm --root "$root" --query --quiet --whatprovides "$package" || printf '%s ' "$package"
    done
}
echo "current=$current"
echo "default=$default"
echo "inside=$TRANSACTIONAL_UPDATE_ROOT"
echo "boot=$(cat /proc/sys/kernel/random/boot_id)"
here=$(missing_in / "$@")
pending=$here
[ "$default" = "$current" ] || pending=$(missing_in "/.snapshots/$default/snapshot" "$@")
echo "missing_here=${here% }"
echo "missing=${pending% }"
