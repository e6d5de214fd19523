#!/bin/sh
# Builds the Debian 12 guest image: cloud-init, systemd, ssh, guest agent, booting from BIOS and
# UEFI, as a compressed qcow2 of 3 GiB that cloud-init grows to its disk.
#
#   build.sh OUT        (run in the folder of the recipe, as root, in a mount namespace of its own:
#                        mmdebstrap mounts /proc and the like in the new root)
#
# No loop device and no partition node is used: every part is made as a file and written to its
# place in the disk. Layout: 1 MiB for the BIOS boot loader, 16 MiB EFI system partition, root.
set -eu

out=$1
recipe=$(pwd)
work=${WORK:?the caller gives an empty folder}
root="$work/root"
disk="$work/disk"
mib=2048 # sectors

bios_start=$((1 * mib))
esp_start=$((2 * mib))
esp_size=$((16 * mib))
root_start=$((18 * mib))
disk_size=$((3 * 1024 * mib))
root_size=$((disk_size - root_start - mib))

make_root() {
    mmdebstrap --mode=root --variant=minbase --skip=check/qemu \
        --include="$(grep -v '^#' "$recipe/packages" | paste -sd,)" \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        --aptopt='APT::Install-Recommends "false"' \
        --essential-hook="$recipe/initramfs.sh \"\$1\"" \
        --customize-hook="$recipe/customize.sh \"\$1\"" \
        bookworm "$root"
    kernel=$(cd "$root/boot" && echo vmlinuz-*)
    initrd=$(cd "$root/boot" && echo initrd.img-*)
    mkdir -p "$root/boot/grub"
    cat >"$root/boot/grub/grub.cfg" <<GRUB
linux /boot/$kernel root=LABEL=dc-root ro console=ttyS0,115200n8 net.ifnames=0 panic=10
initrd /boot/$initrd
boot
GRUB
}

# `search` finds the root by its label: disk numbers differ between BIOS, UEFI and what is attached.
loader_config() {
    printf 'search --no-floppy --label dc-root --set=root\nset prefix=($root)/boot/grub\n' >"$work/early.cfg"
    printf 'configfile ($root)/boot/grub/grub.cfg\n' >>"$work/early.cfg"
}

little_endian() { # VALUE BYTES
    value=$1 n=0
    while [ "$n" -lt "$2" ]; do
        printf "\\$(printf %03o $((value & 255)))"
        value=$((value >> 8)) n=$((n + 1))
    done
}

put() { dd of="$disk" conv=notrunc status=none "$@"; }

write_bios_loader() {
    grub-mkimage -O i386-pc -p /boot/grub -c "$work/early.cfg" -o "$work/core.img" \
        biosdisk part_gpt ext2 search search_label normal configfile linux
    [ "$(stat -c %s "$work/core.img")" -lt $((512 * mib)) ]
    # boot.img loads the first sector of core.img (its number stands at byte 92), which loads the
    # rest by the block list at its end (byte 500): what grub-bios-setup does on a real disk.
    put if=/usr/lib/grub/i386-pc/boot.img bs=440 count=1
    little_endian "$bios_start" 8 | put bs=1 seek=92
    put if="$work/core.img" bs=512 seek="$bios_start"
    little_endian $((bios_start + 1)) 8 | put bs=1 seek=$((bios_start * 512 + 500))
}

write_efi_loader() {
    grub-mkimage -O x86_64-efi -p /boot/grub -c "$work/early.cfg" -o "$work/bootx64.efi" \
        part_gpt ext2 fat search search_label normal configfile linux
    esp="$disk@@$((esp_start * 512))"
    mformat -i "$esp" -v DC-EFI -T "$esp_size" -h 64 -s 32 -H "$esp_start" ::
    mmd -i "$esp" ::EFI ::EFI/BOOT
    mcopy -i "$esp" "$work/bootx64.efi" ::EFI/BOOT/BOOTX64.EFI
}

write_root() {
    # Filled without mounting. Features stay those that GRUB of Debian 12 reads.
    mkfs.ext4 -q -F -L dc-root -O ^metadata_csum_seed -E lazy_itable_init=1 -d "$root" \
        "$work/root.ext4" $((root_size / 2))k
    put if="$work/root.ext4" bs=1M seek=$((root_start / mib)) conv=notrunc,sparse
}

make_root
loader_config
truncate -s $((disk_size * 512)) "$disk"
sfdisk -q "$disk" <<PARTITIONS
label: gpt
start=$bios_start, size=$mib, type=21686148-6449-6E6F-744E-656564454649, name=bios
start=$esp_start, size=$esp_size, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name=efi
start=$root_start, size=$root_size, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, name=root
PARTITIONS
write_bios_loader
write_efi_loader
write_root
qemu-img convert -c -f raw -O qcow2 -o compression_type=zstd "$disk" "$out"
echo "debian image: $(ls "$root/boot" | grep vmlinuz), $(du -m "$out" | cut -f1) MB"
