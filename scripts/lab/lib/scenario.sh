# shellcheck shell=bash disable=SC2154,SC2016
# Runs scenarios: each in guests of its own, bounded in time, with a verdict that a script can read.
#
# A scenario is a file in scenarios/ that begins with a line saying what it shows, sets what it needs
# of the lab (`guests`, `clocks_ppb`, `phcs_ppb`, `nic`, `bench=1` for parisync-bench in the guests,
# `limit` in seconds), and has a function `scenario` that uses what is below.

list_scenarios() {
    local file
    for file in "$here"/scenarios/*; do
        printf '%-14s %s\n' "${file##*/}" "$(sed -n '2s/^# //p' "$file")"
    done
}

# Every scenario that is named, and PASS, FAIL or SKIP for each.
scenarios() {
    local name code failed=0 begin names=("$@")
    [[ ${names[*]} != all ]] || names=("$here"/scenarios/*)
    ((${#names[@]})) || die "which one? $0 list"
    fetch
    for name in "${names[@]##*/}"; do
        [[ -f $here/scenarios/$name ]] || die "there is no scenario $name; $0 list names them"
        say "scenario $name"
        begin=$SECONDS code=0
        LAB_LIMIT=$(limit_of "$name") "$BASH" "$here/vm" -i "$instance" scenario "$name" || code=$?
        case $code in
        0) echo "PASS $name ($((SECONDS - begin)) s)" ;;
        77) echo "SKIP $name" ;;
        *)
            echo "FAIL $name ($((SECONDS - begin)) s)"
            failed=1
            ;;
        esac
        ((code == 0 || code == 77)) || keep_evidence "$name"
        down
    done
    return "$failed"
}

limit_of() {
    sed -n 's/^limit=\([0-9]*\)$/\1/p' "$here/scenarios/$1" | grep . || echo 300
}

# Consoles and logs of a failure, to look at when the guests are gone.
keep_evidence() {
    local into="$cache/failed/$instance-$1" file
    rm -rf "$into"
    mkdir -p "$into"
    for file in "$run"/guest*.console "$run"/share/*/*.log "$run"/share/*/*.toml; do
        [[ -f $file ]] || continue
        cp "$file" "$into/$(basename "$(dirname "$file")")-${file##*/}"
    done
    say "consoles and logs are in $into"
}

# One scenario, in a process of its own that is ended when its time is over.
one_scenario() {
    local name=$1 failures="$run/failures"
    local guests=3 clocks_ppb=0 phcs_ppb=0 nic="" bench=0
    # shellcheck source=/dev/null
    . "$here/scenarios/$name"
    build_programs "$bench"
    LAB_CLOCKS_PPB=$clocks_ppb LAB_PHCS_PPB=$phcs_ppb LAB_NIC=$nic up "$guests"
    : >"$failures"
    (
        trap 'kill "$sleeper"; exit' TERM
        sleep "$LAB_LIMIT" &
        sleeper=$!
        wait "$sleeper"
        say "$name takes longer than $LAB_LIMIT s"
        kill -TERM $$
    ) &
    watchdog=$!
    trap 'kill "$watchdog" 2>/dev/null' EXIT
    put all "${programs[@]}"
    scenario
    [[ ! -s $failures ]]
}

# The programs that guests get, $1: the bench, too. Lean: guests find each other by a list.
build_programs() {
    local release="${CARGO_TARGET_DIR:-$tree/target}/release"
    programs=()
    program "${LAB_PARISYNC:-}" parisync
    ((!$1)) || program "${LAB_BENCH:-}" parisync-bench
}

program() {
    local given=$1 name=$2
    if [[ -z $given ]]; then
        say "building $name"
        (cd "$tree" && cargo build --quiet --release --no-default-features -p "$name") ||
            die "$name cannot be built"
    fi
    programs+=("${given:-$release/$name}")
}

# --- for scenarios ---

# A command in a guest, within a minute.
in_guest() { exec_in "$1" 60 "${*:2}"; }

# The same in all guests.
in_all() {
    local guest
    for guest in $(guests); do in_guest "$guest" "$@"; done
}

# What must be true; goes on if it is not, so that all that is wrong is seen at once.
check() {
    local what=$1
    shift
    if "$@"; then
        echo "  ok      $what"
    else
        echo "  FAILED  $what"
        echo "$what" >>"$run/failures"
    fi
}

# Arithmetic with fractions: holds '0.3 < 0.5'.
holds() { awk "BEGIN { exit !($1) }"; }

# Waits for a command to succeed: await SECONDS WHAT COMMAND...
await() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        if ((SECONDS > end)); then
            check "$what" false
            return
        fi
        sleep 1
    done
    check "$what" true
}

# Starts our daemon with all other guests as peers; $2: more lines for its configuration.
start_daemon() {
    local guest=$1 extra=${2:-} other peers=""
    for other in $(guests); do
        ((other == guest)) || peers+="${peers:+, }\"10.79.0.$other:4711\""
    done
    printf 'listen = "0.0.0.0:4711"\npeers = [%s]\nlan = false\n%s\n' "$peers" "$extra" \
        >"$run/share/$guest/parisync.toml"
    # The log is kept by the host, so that it outlives the guest.
    in_guest "$guest" "parisync run --no-dht -c /share/$guest/parisync.toml >>/share/$guest/parisync.log 2>&1 &
        echo \$! >/run/parisync.pid"
}

# Asks it to end, and waits for that.
stop_daemon() {
    in_guest "$1" 'kill $(cat /run/parisync.pid)
        for _ in $(seq 100); do [ -e /proc/$(cat /run/parisync.pid)/exe ] || exit 0; sleep 0.1; done
        exit 1'
}

# A value of `parisync tracking`.
tracked() { in_guest "$1" "parisync tracking -o json" | value_of "$2"; }
value_of() { sed -n "s/.*\"$1\": *\"\{0,1\}\([^,\"}]*\).*/\1/p"; }

# A value of the kernel's clock, as adjtimex(2) tells.
kernel_says() { in_guest "$1" "clocks show" | awk -v name="$2" '$1 == name { print $2 }'; }

is_synchronized() { [[ "$(tracked "$1" state)" == synchronized ]]; }

# Whether a guest's clock is within $2 ns of where the daemon wants it.
is_steered() {
    [[ "$(tracked "$1" clock_state)" == synchronized ]] &&
        holds "sqrt(($(tracked "$1" clock_offset_ns)) ^ 2) < $2"
}

in_the_log() { grep -q -- "$2" "$run/share/$1/parisync.log"; }

# Compares each guest's counter with the host's: the truth rests on that. In ticks.
meet_guests() {
    local guest said
    ahead=()
    for guest in $(guests); do
        exec_in "$guest" 40 "clocks meet /lab/shared $guest guest" >/dev/null &
        said=$("$image/clocks" meet "$run/shared" "$guest" host) || said="0 0"
        wait $! || true
        # A microsecond, at any frequency there is.
        check "guest $guest: its counter is known to within ${said#* } ticks" \
            holds "0 < ${said#* } && ${said#* } < 1000"
        ahead[guest]=${said% *}
    done
}

# Watches all clocks for $1 seconds; then `judged` tells how well they agree.
watch_clocks() {
    local guest watchers=()
    meet_guests
    for guest in $(guests); do
        exec_in "$guest" "$(($1 + 30))" "clocks watch /sys/kernel/debug/testnic/hw0/truth $1 \
            >/share/$guest/truth" >/dev/null &
        watchers+=($!)
    done
    wait "${watchers[@]}" || true
}

# judged WHAT FIELD [FROM]: WHAT is raw, system or phc; FIELD as `clocks judge` names it.
judged() {
    local guest tracks=()
    for guest in $(guests); do tracks+=("${ahead[guest]}:$run/share/$guest/truth"); done
    "$image/clocks" judge "$(cat "$run/khz")" "${3:-0}" "$1" "${tracks[@]}" |
        awk -v name="$2" '$1 == name { print $2 }'
}
