#!/usr/bin/env bash
# Starts and stops the lab core of core.cfg. Usage: core.sh start|stop|status
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

: "${CORE_IP:=127.0.0.10}" "${CORE_PORT:=5060}" "${CORE_DOMAIN:=ims.test}"
: "${AS_IP:=127.0.0.20}" "${AS_ORIG_PORT:=5080}" "${AS_TERM_PORT:=5081}" "${AS_REG_PORT:=5082}"
: "${AS_TRANSPORT:=udp}" "${AS_SILENCE_MS:=4000}" "${CORE_PASSWORD:=}"
: "${CORE_RUN:=${TMPDIR:-/tmp}/parlance-core}"
pidfile=$CORE_RUN/pid
log=$CORE_RUN/log

fail() {
    echo "core: $*" >&2
    exit 1
}

# The process must still be the one started here: after a reboot its number may be another's.
running() {
    local pid
    [ -f "$pidfile" ] || return 1
    pid=$(<"$pidfile")
    [ -r "/proc/$pid/comm" ] && [ "$(<"/proc/$pid/comm")" = kamailio ]
}

listening() {
    ss -Hlnu "src $CORE_IP and sport = :$CORE_PORT" | grep -q .
}

# Addresses go to core.cfg as preprocessor definitions; strings carry their own quotes.
definitions() {
    local transport=
    [ "$AS_TRANSPORT" = udp ] || transport=";transport=$AS_TRANSPORT"
    defines=(
        -A "DOMAIN=\"$CORE_DOMAIN\""
        -A "CORE_IP=$CORE_IP"
        -A "CORE_UDP=udp:$CORE_IP:$CORE_PORT"
        -A "CORE_TCP=tcp:$CORE_IP:$CORE_PORT"
        -A "CORE_ADDR=\"$CORE_IP:$CORE_PORT\""
        -A "AS_IP=\"$AS_IP\""
        -A "AS_ORIG=\"sip:im-orig@$AS_IP:$AS_ORIG_PORT\""
        -A "AS_TERM=\"sip:im-term@$AS_IP:$AS_TERM_PORT\""
        -A "AS_REG=\"sip:im-reg@$AS_IP:$AS_REG_PORT\""
        -A "AS_TRANSPORT=\"$transport\""
        -A "AS_SILENCE=$AS_SILENCE_MS"
    )
    [ -z "$CORE_PASSWORD" ] || defines+=(-A "PASSWORD=\"$CORE_PASSWORD\"")
}

start() {
    local attempt
    running && fail "already running, pid $(<"$pidfile")"
    mkdir -p "$CORE_RUN/runtime"
    definitions
    kamailio -c -f "$here/core.cfg" "${defines[@]}" >"$CORE_RUN/check" 2>&1 ||
        fail "the configuration is refused: $(grep -m1 -E 'ERROR|CRITICAL' "$CORE_RUN/check")"
    # -DD keeps the first process in the foreground: one pid whose TERM ends all of them.
    setsid kamailio -DD -E -m 64 -M 8 -f "$here/core.cfg" -Y "$CORE_RUN/runtime" \
        "${defines[@]}" >"$log" 2>&1 </dev/null &
    echo $! >"$pidfile"
    for attempt in {1..50}; do
        listening && running && {
            echo "core: up at $CORE_IP:$CORE_PORT, domain $CORE_DOMAIN, log $log"
            return
        }
        sleep 0.1
    done
    stop
    fail "no listener at $CORE_IP:$CORE_PORT after $attempt tries, see $log"
}

stop() {
    local pid
    if running; then
        pid=$(<"$pidfile")
        kill -TERM "$pid"
        for _ in {1..50}; do
            running || break
            sleep 0.1
        done
        # Its children are in the session that setsid gave it.
        running && kill -KILL -- "-$pid"
    fi
    rm -f "$pidfile"
}

case ${1:-} in
start) start ;;
stop) stop ;;
status) if running; then echo "core: up, pid $(<"$pidfile")"; else echo "core: down"; fi ;;
*) fail "usage: core.sh start|stop|status" ;;
esac
