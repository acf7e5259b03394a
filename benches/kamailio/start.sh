#!/usr/bin/env bash
# Starts the benchmark's Kamailio and prints the pid of its first process; the workers are its
# children. usage: start.sh PORT [CONFIG [KAMAILIO ARGUMENTS...]]; CONFIG is relay (the default, a
# registrar and MESSAGE relay as Kamailio comes), relay-tuned (the same set up for speed), proxy (a
# proxy of calls) or msrp (an MSRP relay).
# RELAY_IP (127.0.0.1), RELAY_CHILDREN (2), RELAY_SHM_MB (3584), RELAY_RUN.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
port=${1:?usage: start.sh PORT [CONFIG [KAMAILIO ARGUMENTS...]]}
config=${2:-relay}
shift $(($# < 2 ? $# : 2))
ip=${RELAY_IP:-127.0.0.1}
run=${RELAY_RUN:-${TMPDIR:-/tmp}/parlance-relay-$port}

running() {
    [ -r "/proc/$1/comm" ] && [ "$(<"/proc/$1/comm")" = kamailio ]
}

[ -z "$(ss -Hlntu "src $ip and sport = :$port")" ] || {
    echo "relay: something listens on $ip:$port already" >&2
    exit 1
}
mkdir -p "$run/runtime"

# This much shared memory (MiB) holds every transaction of a run.
options=(-m "${RELAY_SHM_MB:-3584}" -M 32)
# tlsf is the quickest of its three allocators here.
[ "$config" = relay ] || options+=(--atexit=no -x tlsf -X tlsf)
setsid kamailio -DD -E "${options[@]}" -f "$here/$config.cfg" \
    -Y "$run/runtime" -A "RELAY_UDP=udp:$ip:$port" -A "RELAY_TCP=tcp:$ip:$port" \
    -A "CHILDREN=${RELAY_CHILDREN:-2}" "$@" >"$run/log" 2>&1 </dev/null &
pid=$!
echo "$pid" >"$run/pid"
for _ in {1..300}; do
    running "$pid" && [ -n "$(ss -Hlntu "src $ip and sport = :$port")" ] && {
        echo "$pid"
        exit 0
    }
    sleep 0.1
done
echo "relay: not up after 30 s, see $run/log" >&2
kill -KILL "$pid" 2>/dev/null || true
exit 1
