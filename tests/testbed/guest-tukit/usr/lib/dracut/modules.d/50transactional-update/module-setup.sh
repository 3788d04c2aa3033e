#!/usr/bin/env bash
# The merge of /etc at the first boot of a snapshot. Called by dracut.

install() {
	local name=transactional-update-sync-etc-state
	inst_multiple cat chroot mount
	# shellcheck disable=SC2154 # moddir, systemdsystemunitdir and initdir are dracut's
	inst_script "$moddir/$name.sh" "/usr/bin/$name.sh"
	# shellcheck disable=SC2154
	inst_simple "$moddir/$name.service" "$systemdsystemunitdir/$name.service"
	# shellcheck disable=SC2154
	systemctl --quiet --root "$initdir" add-wants initrd.target "$name.service"
}
