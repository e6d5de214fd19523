#!/bin/sh
# Before the kernel is installed: an initramfs that carries only what a guest's root disk needs. It
# is built in a chroot, so it cannot look at the hardware (MODULES=dep), and MODULES=most costs
# seconds at each boot under emulation.
set -eu
mkdir -p "$1/etc/initramfs-tools/conf.d"
printf 'MODULES=list\nCOMPRESS=zstd\n' >"$1/etc/initramfs-tools/conf.d/dc"
printf 'virtio_pci\nvirtio_blk\nvirtio_scsi\nsd_mod\next4\n' >"$1/etc/initramfs-tools/modules"
