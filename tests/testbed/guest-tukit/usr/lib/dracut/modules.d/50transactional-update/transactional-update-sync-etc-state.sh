#!/bin/sh
# Runs in the initrd; the real root and its Python are at /sysroot.
set -eu

mount --target-prefix /sysroot --fstab /sysroot/etc/fstab /.snapshots
mount --options remount,bind,rw /sysroot/etc
parent=$(cat /sysroot/etc/etc.syncpoint/transactional-update.comparewith)
chroot /sysroot /usr/libexec/transactional-update-sync-etc-state \
	"/.snapshots/$parent/snapshot/etc" /etc /etc/etc.syncpoint
