# shellcheck shell=bash disable=SC2154,SC2016
# Starts and ends guests: a network namespace with two bridges, and one emulator a guest.
#
#   eth0   10.88.0.N   commands from the host
#   eth1               below hw0
#   hw0    10.79.0.N   the network that clocks are synchronised over

guest_memory=320

# Programs out of packages run with the libraries of packages, whatever this machine has.
read_loader() {
    loader=("$root/lib64/ld-linux-x86-64.so.2" --library-path "$root/usr/lib/x86_64-linux-gnu")
}

in_tree() {
    read_loader
    "${loader[@]}" "$root/$1" "${@:2}"
}

in_namespace() {
    nsenter --net="/run/netns/$namespace" "$@"
}

# Numbers of the guests that were started.
guests() {
    local file
    for file in "$run"/guest*.pid; do
        [[ -e $file ]] || continue
        file=${file##*/guest}
        echo "${file%.pid}"
    done | sort -n
}

# Whether the process that a file names still is what was started: numbers are used again.
alive() {
    local pid
    pid=$(cat "$1" 2>/dev/null) && [[ -r /proc/$pid/cmdline ]] &&
        tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q -- "$run"
}

start_network() {
    ip netns add "$namespace"
    local bridge
    for bridge in commands lab; do
        in_namespace ip link add "$bridge" type bridge
        in_namespace ip link set "$bridge" up
    done
    in_namespace ip address add 10.88.0.254/24 dev commands
    in_namespace ip address add 10.79.0.254/24 dev lab
    in_namespace ip link set lo up
}

# One guest; $2: what its system clock's oscillator is off, ppb; $3: options of its test NIC.
start_guest() {
    local guest=$1 clock_ppb=$2 nic=$3 bridge tap net=()
    read_loader
    for bridge in commands lab; do
        tap="$bridge$guest"
        in_namespace ip tuntap add "$tap" mode tap
        in_namespace ip link set "$tap" master "$bridge" up
        net+=(-netdev "tap,id=$bridge,ifname=$tap,script=no,downscript=no"
            -device "virtio-net-pci,netdev=$bridge,mac=52:54:00:$([[ $bridge == lab ]] && echo 4f || echo 58):00:$(printf %02x "$guest"),romfile=")
    done
    mkdir -p "$run/share/$guest"
    QEMU_MODULE_DIR="$root/usr/lib/x86_64-linux-gnu/qemu" nsenter --net="/run/netns/$namespace" \
        setsid "${loader[@]}" "$root/usr/bin/qemu-system-x86_64" -L "$root/usr/share/qemu" -L "$root/usr/share/seabios" \
        -accel tcg,thread=single -machine q35,hpet=on -cpu qemu64,+ssse3,+sse4.1,+sse4.2,+rdtscp,+aes,+pclmulqdq \
        -m "$guest_memory" -smp 1 -nodefaults -no-reboot -display none \
        -kernel "$image/vmlinuz" -initrd "$image/initrd" \
        -append "console=ttyS0 quiet panic=1 mitigations=off tsc=reliable random.trust_cpu=on \
lab.guest=$guest lab.khz=$khz lab.clock_ppb=$clock_ppb lab.nic=\"$nic\"" \
        -serial "file:$run/guest$guest.console" \
        -qmp "unix:$run/guest$guest.qmp,server=on,wait=off" \
        -virtfs "local,path=$run/share,mount_tag=share,security_model=none" \
        -object "memory-backend-file,id=shared,mem-path=$run/shared,size=1M,share=on" \
        -device ivshmem-plain,memdev=shared -device virtio-rng-pci \
        "${net[@]}" </dev/null >"$run/guest$guest.log" 2>&1 &
    echo $! >"$run/guest$guest.pid"
}

# Runs a shell command in a guest: exec_in GUEST SECONDS COMMAND. Its exit code, or 124 if late.
exec_in() {
    local guest=$1 seconds=$2 command=$3 said status
    said=$(in_namespace timeout "$seconds" bash -c '
        exec 3<>"/dev/tcp/10.88.0.$1/1023" && base64 -w0 <<<"$2" >&3 && echo >&3 && cat <&3
        ' exec "$guest" "$command" 2>&1)
    status=${said##*$'\n#status '}
    if [[ $status == "$said" || ! $status =~ ^[0-9]+$ ]]; then
        printf '%s\n' "$said"
        return 124
    fi
    said=${said%$'\n#status '*}
    [[ -z $said ]] || printf '%s\n' "${said%$'\n'}"
    return "$status"
}

# Waits until a guest answers.
await_guest() {
    local guest=$1 end=$((SECONDS + $2))
    until [[ "$(exec_in "$guest" 5 'test -e /lab/shared && echo yes' 2>/dev/null)" == yes ]]; do
        if ! alive "$run/guest$guest.pid" || ((SECONDS > end)); then
            tail -qn 5 "$run/guest$guest.console" "$run/guest$guest.log" >&2
            die "guest $guest does not come up"
        fi
        sleep 0.5
    done
}

end_guests() {
    local guest pid file
    for guest in $(guests); do
        file="$run/guest$guest.pid"
        if alive "$file"; then
            pid=$(cat "$file")
            kill -CONT "$pid" 2>/dev/null || true
            kill "$pid" 2>/dev/null || true
            for _ in {1..50}; do
                alive "$file" || break
                sleep 0.1
            done
            alive "$file" && kill -KILL "$pid"
        fi
        rm -f "$file"
    done
    ip netns delete "$namespace" 2>/dev/null || true
}
