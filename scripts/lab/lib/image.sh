# shellcheck shell=bash disable=SC2154,SC2016
# Builds what guests boot: our kernel modules, our tools, and an initial file system in memory.

# Programs that guests have besides busybox, all from packages.
guest_programs=(usr/sbin/chronyd usr/bin/chronyc usr/sbin/ptp4l usr/sbin/phc_ctl usr/sbin/phc2sys
    usr/sbin/hwstamp_ctl usr/sbin/ethtool)
# Modules that guests need, each after what it needs itself.
guest_modules=(virtio_pci virtio_net 9pnet_virtio 9p ptp bridge 8021q bonding veth tun)

# The version of the kernel that was unpacked.
kernel_version() {
    local file
    for file in "$root"/boot/vmlinuz-*; do echo "${file##*/vmlinuz-}"; done
}

# Compiles our modules and tools in the unpacked tree, with its compiler and its headers.
build_own() {
    local version=$1
    mkdir -p "$root/src"
    cp "$here"/testnic/* "$here"/guest/clocks.c "$root/src/"
    chroot "$root" make -s -C "/usr/src/linux-headers-$version" M=/src modules
    chroot "$root" strip -g /src/testnic.ko /src/testclock.ko
    chroot "$root" gcc -O2 -Wall -static -o /src/clocks /src/clocks.c -lm
}

# Copies libraries that programs need, as the unpacked tree has them.
copy_libraries() {
    local into=$1 library
    shift
    for library in $(chroot "$root" /lib64/ld-linux-x86-64.so.2 --list "$1" 2>/dev/null |
        grep -Eo '/[^ ]+'); do
        [[ -e $into$library ]] && continue
        mkdir -p "$into${library%/*}"
        cp -L "$root$library" "$into$library"
    done
}

# Copies the modules in the order in which they are loaded.
copy_modules() {
    local into=$1 version=$2 name file
    chroot "$root" depmod "$version"
    mkdir -p "$into/lib/modules"
    for name in "${guest_modules[@]}"; do
        chroot "$root" modprobe -S "$version" --show-depends "$name"
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' |
        while read -r file; do
            name=${file##*/}
            cp "$root$file" "$into/lib/modules/$name"
            case $name in
            *.xz) unxz -f "$into/lib/modules/$name" ;;
            *) ;;
            esac
            echo "${name%.xz}" >>"$into/lib/modules/order"
        done
}

# The image, made anew when something that goes into it has changed; its directory is $image.
build_image() {
    local version tree="$cache/tree" state program
    version=$(kernel_version)
    state=$(cat "$root.packages" "$here"/testnic/* "$here"/guest/* "$here/lib/image.sh" | sha256sum)
    # Named after what went into it: trees that share a cache keep theirs apart.
    image="$cache/image-${state:0:12}"
    [[ -f $image/vmlinuz ]] && return
    # What nobody has booted for a day.
    find "$cache" -maxdepth 1 -name 'image-*' -mtime +0 -exec rm -rf {} +
    mkdir -p "$image"
    say "building modules, tools and the guests' file system"
    build_own "$version"
    rm -rf "$tree"
    mkdir -p "$tree"/{bin,sbin,usr/bin,usr/sbin,dev,proc,sys,etc,lab,lib64}
    cp "$root/bin/busybox" "$tree/bin/"
    cp "$here/guest/init" "$tree/init"
    cp "$here/guest/serve" "$root"/src/{testnic,testclock}.ko "$tree/lab/"
    cp "$root/src/clocks" "$tree/usr/bin/"
    for program in "${guest_programs[@]}"; do
        cp -L "$root/$program" "$tree/$program"
        copy_libraries "$tree" "/$program"
    done
    # What our own programs need, wherever they were built.
    copy_libraries "$tree" /usr/bin/gcc
    cp -L "$root"/usr/lib/x86_64-linux-gnu/{libgcc_s.so.1,libm.so.6} "$tree/lib/x86_64-linux-gnu/"
    cp -L "$root/lib64/ld-linux-x86-64.so.2" "$tree/lib64/"
    copy_modules "$tree" "$version"
    echo 'root:x:0:0:root:/root:/bin/sh' >"$tree/etc/passwd"
    echo 'root:x:0:' >"$tree/etc/group"
    (cd "$tree" && find . | "$root/bin/busybox" cpio -o -H newc --quiet 2>/dev/null) |
        gzip -1 >"$image/initrd"
    cp "$root/src/clocks" "$image/"
    # Last: with it, the image is whole.
    cp "$root/boot/vmlinuz-$version" "$image/vmlinuz"
    rm -rf "$tree"
}
