# Runs as the first process of a machine, in new mount, network and UTS namespaces, and then stays
# as what keeps them alive. Arguments: mark, host name, folder of the machine's disk, machine id.
#
# What a real machine would lose when its power goes is in memory here (/run, /sys, the boot id);
# what it would find again is in its folder (/etc and /var, over those of this machine).
set -eu
mark=$1 name=$2 disk=$3 machine_id=$4

mount -t tmpfs -o mode=0755 "$mark" /run
mkdir -p /run/netns /run/lock /run/dc-machine/sys

for tree in etc var; do
    mkdir -p "$disk/$tree" "$disk/.$tree.work"
    mount -t overlay "$mark" -o "lowerdir=/$tree,upperdir=$disk/$tree,workdir=$disk/.$tree.work" "/$tree"
done

# A new sysfs shows this namespace's devices; the control groups are under the old one.
mount -t sysfs sysfs /run/dc-machine/sys
[ ! -d /sys/fs/cgroup ] || mount --rbind /sys/fs/cgroup /run/dc-machine/sys/fs/cgroup
mount --move /run/dc-machine/sys /sys

cat /proc/sys/kernel/random/uuid >/run/dc-machine/boot_id
mount --bind /run/dc-machine/boot_id /proc/sys/kernel/random/boot_id
rm -f /etc/machine-id
echo "$machine_id" >/etc/machine-id
echo "$name" >/etc/hostname
hostname "$name"

ip link set lo up
for file in /proc/sys/net/bridge/bridge-nf-call-*; do
    [ ! -e "$file" ] || echo 0 >"$file"
done

echo "$name is up"
: >/run/dc-machine/ready
exec sleep infinity
