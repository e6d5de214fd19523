#!/bin/sh
# After all packages are installed: what makes this root a cloud guest.
set -eu
root=$1

cat >"$root/etc/cloud/cloud.cfg.d/90_dc.cfg" <<'CLOUD'
# Seeds come on a disk labelled cidata; no network source is asked, so boot never waits for one.
datasource_list: [ NoCloud, None ]
# What a data centre guest has no use for costs seconds at each boot under emulation.
apt_preserve_sources_list: true
ssh_genkeytypes: [ ed25519 ]
no_ssh_fingerprints: true
CLOUD

printf 'LABEL=dc-root / ext4 errors=remount-ro 0 1\n' >"$root/etc/fstab"
echo debian >"$root/etc/hostname"
: >"$root/etc/machine-id"
rm -f "$root"/etc/ssh/ssh_host_* "$root/etc/resolv.conf" "$root"/var/lib/dbus/machine-id
ln -s ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
chroot "$root" systemctl -q enable systemd-networkd systemd-resolved serial-getty@ttyS0 qemu-guest-agent
# The wait for "online" delays boot when a network is silent, and a guest with static addresses is
# as online as it gets.
chroot "$root" systemctl -q mask systemd-networkd-wait-online.service apt-daily.timer \
    apt-daily-upgrade.timer man-db.timer e2scrub_reap.service
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/var/log/*.log
