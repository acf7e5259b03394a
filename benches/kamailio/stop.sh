#!/usr/bin/env bash
# Ends the Kamailio that start.sh started. usage: stop.sh PORT
set -euo pipefail

port=${1:?usage: stop.sh PORT}
run=${RELAY_RUN:-${TMPDIR:-/tmp}/parlance-relay-$port}
[ -f "$run/pid" ] || exit 0
pid=$(<"$run/pid")

running() {
    [ -r "/proc/$pid/comm" ] && [ "$(<"/proc/$pid/comm")" = kamailio ]
}

if running; then
    kill -TERM "$pid"
    for _ in {1..50}; do
        running || break
        sleep 0.1
    done
    # setsid made it the leader of its own group, workers included.
    running && kill -KILL -- "-$pid"
fi
rm -rf "$run"
