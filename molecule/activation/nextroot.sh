#!/bin/sh
# Prepares a soft reboot into the booted snapshot, as somebody could have done who then thought better of it.
set -eu
mount --bind /.snapshots/2/snapshot /run/nextroot
for path in etc var root; do
	mount --bind /$path /run/nextroot/$path
done
