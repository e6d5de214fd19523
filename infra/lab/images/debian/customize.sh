#!/bin/sh
# After all packages are installed: what makes this root a cloud guest.
set -eu
root=$1

cat >"$root/etc/cloud/cloud.cfg.d/90_dc.cfg" <<'CLOUD'
# Seeds come on a disk labelled cidata; no network source is asked, so boot never waits for one.
datasource_list: [ NoCloud, None ]
# Modules for other clouds, distributions and desktops are left out: each costs time at every boot,
# seconds in all under emulation.
cloud_init_modules: [seed_random, bootcmd, write-files, growpart, resizefs, disk_setup, mounts,
  set_hostname, update_hostname, update_etc_hosts, ca-certs, users-groups, ssh]
cloud_config_modules: [set-passwords, apt-configure, ntp, timezone, runcmd]
cloud_final_modules: [package-update-upgrade-install, scripts-per-once, scripts-per-boot,
  scripts-per-instance, scripts-user, phone-home, final-message, power-state-change]
apt: {preserve_sources_list: true}
ssh_genkeytypes: [ed25519]
CLOUD

printf 'LABEL=dc-root / ext4 errors=remount-ro 0 1\n' >"$root/etc/fstab"
echo debian >"$root/etc/hostname"
: >"$root/etc/machine-id"
rm -f "$root"/etc/ssh/ssh_host_* "$root/etc/resolv.conf" "$root"/var/lib/dbus/machine-id
ln -s ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
chroot "$root" systemctl -q enable systemd-networkd systemd-resolved serial-getty@ttyS0 \
    qemu-guest-agent
# The wait for "online" delays boot when a network is silent, and a guest with static addresses is
# as online as it gets.
chroot "$root" systemctl -q mask systemd-networkd-wait-online.service apt-daily.timer \
    apt-daily-upgrade.timer man-db.timer e2scrub_reap.service
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/var/log/*.log
