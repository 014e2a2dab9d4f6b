# shellcheck shell=bash disable=SC2154,SC2016
# Fetches Debian packages and unpacks them into a tree of their own. Nothing is installed: an
# installed chronyd would start and touch this machine's clock.

# Newer than what Debian 12 has, for what the test NIC needs of a kernel.
# shellcheck disable=SC2034 # used by vm
vm_packages=(linux-image-amd64/backports linux-headers-amd64/backports
    qemu-system-x86 busybox-static kmod ethtool linuxptp chrony
    gcc make libc6-dev dash coreutils sed grep findutils mawk)
# shellcheck disable=SC2034 # used by uml/compare
uml_packages=(user-mode-linux uml-utilities chrony)

# The name of this Debian release, such as bookworm.
codename() {
    # shellcheck source=/dev/null
    (. /etc/os-release && echo "${VERSION_CODENAME:?}")
}

# Writes to $1 the sources of this machine, with backports beside each line that has the release
# itself: whatever mirror this machine uses has them, too.
derive_sources() {
    local into=$1 release file
    release=$(codename)
    mkdir -p "$into"
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [[ -f $file ]] || continue
        grep -E "^deb .* $release(-updates|-security)? " "$file" |
            sed -E "p; s/ $release / $release-backports /; t; d" >"$into/${file##*/}" || true
    done
    for file in /etc/apt/sources.list.d/*.sources; do
        [[ -f $file ]] || continue
        grep -Eq "^Suites:.* $release" "$file" || continue
        sed -E "/^Suites:/ s/ $release( |$)/ $release $release-backports\1/" "$file" \
            >"$into/${file##*/}"
    done
}

# apt-get with lists, cache and sources of our own, to which no package is installed: what it
# fetches is complete with all libraries, and this machine's own state is not touched.
own_apt() {
    local state=$1
    shift
    timeout 600 apt-get -q -y \
        -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$state/sources" \
        -o Dir::State="$state" -o Dir::State::status="$state/status" \
        -o Dir::Cache="$state" -o APT::Sandbox::User=root -o APT::Install-Recommends=false \
        -o Acquire::Retries=2 -o Acquire::http::Timeout=30 "$@"
}

# Fetches the packages $2... and unpacks them into $1, once.
unpack() {
    local into=$1 state="$1.apt" package release
    shift
    release=$(codename)
    local wanted=("${@/%\/backports//$release-backports}")
    [[ "$(cat "$into.packages" 2>/dev/null)" == "${wanted[*]}" ]] && return
    if ! { command -v apt-get && command -v dpkg-deb; } >/dev/null; then
        skip "packages come by apt-get and dpkg-deb, which this system does not have"
    fi
    say "fetching packages"
    rm -rf "$into" "$state"
    mkdir -p "$state"/{lists,archives}/partial
    : >"$state/status"
    derive_sources "$state/sources"
    {
        own_apt "$state" update &&
            own_apt "$state" --download-only install "${wanted[@]}"
    } >"$state/log" 2>&1 || {
        tail -n 5 "$state/log" >&2
        skip "packages cannot be had (all of it in $state/log)"
    }
    say "unpacking packages"
    # Merged as Debian merges them. Documentation, and drivers of what no guest has, are half of it.
    mkdir -p "$into"/{dev,proc,tmp,usr/{bin,sbin,lib,lib64}}
    for package in bin sbin lib lib64; do ln -s "usr/$package" "$into/$package"; done
    for package in "$state"/archives/*.deb; do
        dpkg-deb --fsys-tarfile "$package" |
            tar -x -C "$into" --keep-directory-symlink \
                --exclude='./usr/share/doc' --exclude='./usr/share/man' \
                --exclude='./usr/share/locale' --exclude='*/kernel/sound' \
                --exclude='*/kernel/drivers/gpu' --exclude='*/kernel/drivers/media' \
                --exclude='*/kernel/drivers/infiniband' --exclude='*/kernel/drivers/scsi' \
                --exclude='*/kernel/drivers/net/ethernet' --exclude='*/kernel/drivers/net/wireless'
    done
    # What scripts of the packages would do.
    mknod -m 666 "$into/dev/null" c 1 3
    ln -sf mawk "$into/usr/bin/awk"
    rm -rf "$state"
    echo "${wanted[*]}" >"$into.packages"
}
