#!/bin/sh
# Builds the tiny guest image: a raw BIOS disk with one FAT partition that holds syslinux, Debian's
# cloud kernel and an initramfs with busybox. The whole guest lives in memory; its boot disk is
# only read by the boot loader.
#
#   build.sh OUT        (run in the folder of the recipe)
#
# Needs: apt-get, dpkg-deb, kmod, cpio, zstd, busybox-static, sfdisk, mtools, syslinux. Nothing is
# mounted and nothing is installed, so it can be stopped at any point; the caller removes $WORK.
# The same kernel and busybox packages give the same bytes: times and identifiers are fixed.
set -eu

out=$1
recipe=$(pwd)
work=${WORK:?the caller gives an empty folder}
SOURCE_DATE_EPOCH=1767225600
export SOURCE_DATE_EPOCH

# A FAT partition of 28 MiB behind the usual first MiB: kernel 14 MB, initramfs under 6 MB.
disk_mib=29
first_sector=2048

newest_kernel() {
    apt-cache depends linux-image-cloud-amd64 2>/dev/null |
        awk '/Depends: linux-image/ { print $2; exit }'
}

fetch_kernel() {
    package=$(newest_kernel)
    if [ -z "$package" ]; then
        # A machine whose package lists were cleared to save room.
        apt-get -q update
        package=$(newest_kernel)
    fi
    [ -n "$package" ] || { echo "apt knows no linux-image-cloud-amd64" >&2; exit 1; }
    # apt drops to the user _apt for downloads; it may not write in our folder, and need not.
    (cd "$work" && apt-get -q -o APT::Sandbox::User=root download "$package")
    dpkg-deb -x "$work"/linux-image-*.deb "$work/kernel"
    version=$(ls "$work/kernel/lib/modules")
    depmod -b "$work/kernel" "$version"
}

copy_modules() {
    for module in $(grep -v '^#' "$recipe/modules"); do
        modprobe -S "$version" -d "$work/kernel" --show-depends "$module"
    done | awk '$1 == "insmod" { print $2 }' | sort -u | while read -r path; do
        target="$root/${path#"$work/kernel/"}"
        mkdir -p "$(dirname "$target")"
        cp "$path" "$target"
    done
    cp "$work/kernel/lib/modules/$version"/modules.order "$work/kernel/lib/modules/$version"/modules.builtin* \
        "$root/lib/modules/$version/"
    depmod -b "$root" "$version"
}

make_initramfs() {
    root="$work/root"
    mkdir -p "$root/bin" "$root/sbin" "$root/dev" "$root/proc" "$root/sys" "$root/run" "$root/tmp" \
        "$root/mnt" "$root/root" "$root/var/log" "$root/var/run" "$root/www" \
        "$root/etc/acpi/PWRF" "$root/lib/dc-tiny"
    cp /usr/bin/busybox "$root/bin/busybox"
    for applet in $(/usr/bin/busybox --list); do
        [ -e "$root/bin/$applet" ] || ln -s busybox "$root/bin/$applet"
    done
    ln -s ../bin/busybox "$root/sbin/init"
    ln -s ../bin/busybox "$root/sbin/modprobe"
    copy_modules
    install -m 0755 "$recipe/init" "$root/init"
    install -m 0755 "$recipe/boot" "$recipe/seed" "$recipe/network" "$recipe/lease" "$recipe/user-data" \
        "$root/lib/dc-tiny/"
    install -m 0644 "$recipe/yaml.awk" "$root/lib/dc-tiny/yaml.awk"
    install -m 0755 "$recipe/probe" "$recipe/counter" "$root/bin/"
    install -m 0644 "$recipe/inittab" "$recipe/profile" "$root/etc/"
    printf '#!/bin/sh\necho "dc-tiny: power button" >/dev/console\nexec poweroff\n' >"$root/etc/acpi/PWRF/00000080"
    chmod 0755 "$root/etc/acpi/PWRF/00000080"
    printf 'root:x:0:0:root:/root:/bin/sh\n' >"$root/etc/passwd"
    printf 'root:x:0:\n' >"$root/etc/group"
    # Without these the static glibc of busybox looks for its name service modules, and crashes.
    printf 'passwd: files\ngroup: files\nhosts: files dns\nservices: files\n' >"$root/etc/nsswitch.conf"
    printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts"
    printf 'http 80/tcp\nhttps 443/tcp\ndomain 53/udp\n' >"$root/etc/services"
    find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    (cd "$root" && find . | LC_ALL=C sort | cpio --quiet --reproducible -o -H newc -R 0:0) |
        zstd -q -19 -T1 >"$work/initrd"
}

make_disk() {
    disk="$work/disk"
    truncate -s "${disk_mib}M" "$disk"
    printf 'label: dos\nlabel-id: 0x64637469\n%s,,e,*\n' "$first_sector" | sfdisk -q "$disk"
    dd if=/usr/lib/syslinux/mbr/mbr.bin of="$disk" conv=notrunc bs=440 count=1 status=none
    partition="$disk@@$((first_sector * 512))"
    sectors=$((disk_mib * 2048 - first_sector))
    mformat -i "$partition" -v DCTINY -N 64637469 -T "$sectors" -h 64 -s 32 -H "$first_sector" ::
    cp "$work"/kernel/boot/vmlinuz-* "$work/vmlinuz"
    touch -d "@$SOURCE_DATE_EPOCH" "$work/vmlinuz" "$work/initrd"
    mcopy -m -i "$partition" "$work/vmlinuz" ::VMLINUZ
    mcopy -m -i "$partition" "$work/initrd" ::INITRD
    cp "$recipe/syslinux.cfg" "$work/syslinux.cfg"
    touch -d "@$SOURCE_DATE_EPOCH" "$work/syslinux.cfg"
    mcopy -m -i "$partition" "$work/syslinux.cfg" ::SYSLINUX.CFG
    syslinux --offset "$((first_sector * 512))" --install "$disk"
    mv "$disk" "$out"
}

fetch_kernel
make_initramfs
make_disk
echo "tiny image: kernel $version, $(du -k "$work/initrd" | cut -f1) kB initramfs, ${disk_mib} MiB disk"
