#!/usr/bin/env bash
# The trial with real peers: Kamailio as the core, SIPp as the users, tshark as the reader.
#
# usage: PARLANCE=target/release/parlance tests/real/run.sh [CASE...]
#
# One line a case. Exit status 1 when one failed; then the directory with the logs and traces is
# kept. KEEP=1 keeps it always. Needs root: it captures, and it uses addresses of 127.0.0.0/8.
set -euo pipefail

REAL=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
: "${PARLANCE:?the path of the parlance binary}" "${PARLANCE_LONG:=0}"
PARLANCE=$(realpath "$PARLANCE")
WORK=$(mktemp -d "${TMPDIR:-/tmp}/parlance-trial.XXXXXX")
export PARLANCE WORK

# shellcheck source=tests/real/lib.sh
. "$REAL/lib.sh"
# shellcheck source=tests/real/parlance.sh
. "$REAL/parlance.sh"
# shellcheck source=tests/real/cases.sh
. "$REAL/cases.sh"

CASE_SECONDS=45
# How often the server is stopped and killed.
ROUNDS=$((PARLANCE_LONG ? 10 : 1))
PASSED=0
FAILED=0

leave() {
    local pidfile
    for pidfile in "$WORK"/case-*.pid; do
        # `timeout` leads a process group with everything its case has started.
        [ ! -f "$pidfile" ] || kill -TERM -- "-$(<"$pidfile")" 2>/dev/null || true
    done
    as_stop
    core udp stop || true
    core tcp stop || true
    stop_process "$WORK/tshark.pid" 3
    if ((FAILED)) || [ -n "${KEEP:-}" ]; then
        echo "logs and traces: $WORK"
    else
        rm -rf "$WORK"
    fi
}

# Another trial, or a server that somebody runs: its answers would be taken for ours.
addresses_free() {
    local ip
    for ip in 127.0.0.10 127.0.0.11 127.0.0.13 "$AS_IP"; do
        [ -z "$(ss -Hlntu "src $ip")" ] || {
            echo "something else listens on $ip; stop it first"
            return 1
        }
    done
}

capture() {
    tshark -i lo -f "host $AS_IP" -w "$WORK/wire.pcap" -q >"$WORK/tshark.log" 2>&1 </dev/null &
    echo $! >"$WORK/tshark.pid"
    wait_for 30 test -s "$WORK/wire.pcap" || {
        tail -n 3 "$WORK/tshark.log"
        return 1
    }
}

# must WHAT LOG COMMAND...: runs the command, and shows its log when it fails.
must() {
    local what=$1 log=$WORK/$2
    shift 2
    "$@" >"$log" 2>&1 || {
        echo "$what:"
        tail -n 20 "$log"
        return 1
    }
}

# Explicit, because `set -e` does not hold in a function whose status is tested.
set_up() {
    addresses_free || return 1
    as_config
    must "parlance refuses the configuration of the trial" check-config.log as_check_config ||
        return 1
    must "parlance cannot provision users" provision.log as_provision || return 1
    must "tshark does not capture" capture.log capture || return 1
    must "the first core does not start" core-udp.log core udp start || return 1
    must "the second core does not start" core-tcp.log core tcp start || return 1
    must "parlance does not start" start.log as_start || return 1
}

# run_case NAME ROUND: reports it in one line.
run_case() {
    local name=$1 log=$WORK/case-$1-$2 status=0 start=$SECONDS seconds
    timeout -k 2 "$CASE_SECONDS" "$REAL/case.sh" "$name" "$2" >"$log.log" 2>&1 &
    echo $! >"$log.pid"
    wait $! || status=$?
    rm "$log.pid"
    seconds=$((SECONDS - start))
    if ((status == 0)); then
        echo "ok    $(title "$name") ($seconds s)"
        return
    fi
    ((status != 124)) || echo "cut off after $CASE_SECONDS s" >>"$log.log"
    echo "FAIL  $(title "$name"): $(tail -n 1 "$log.log") [${log##*/}, $seconds s]"
    return 1
}

count() {
    if "$@"; then PASSED=$((PASSED + 1)); else FAILED=$((FAILED + 1)); fi
}

run_together() {
    local name pid
    local -a pids=()
    for name in "$@"; do
        run_case "$name" 1 &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do
        count wait "$pid"
    done
}

# chosen LIST...: those of the list that the command line asked for, all when it named none.
chosen() {
    local name
    for name in "$@"; do
        if [ -z "$ASKED" ] || [[ " $ASKED " = *" $name "* ]]; then echo "$name"; fi
    done
}

main() {
    local name round
    local -a together alone
    ASKED=$*
    mapfile -t together < <(chosen "${CASES[@]}")
    mapfile -t alone < <(chosen "${CASES_ALONE[@]}")
    trap leave EXIT
    trap 'exit 130' INT TERM
    set_up || {
        FAILED=1
        echo "FAIL  the trial does not start"
        exit 1
    }
    run_together "${together[@]}"
    for ((round = 1; round <= ROUNDS; round++)); do
        for name in "${alone[@]}"; do
            count run_case "$name" "$round"
        done
    done
    sleep 0.5
    stop_process "$WORK/tshark.pid" 3
    [ -n "$ASKED" ] || count run_case wire 1
    echo "real peers: $PASSED passed, $FAILED failed"
    ((FAILED == 0))
}

main "$@"
