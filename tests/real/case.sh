#!/usr/bin/env bash
# Runs one case of cases.sh in a process of its own; run.sh bounds its time.
# usage: case.sh NAME ROUND. Environment: PARLANCE, WORK.
set -euo pipefail

REAL=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/real/lib.sh
. "$REAL/lib.sh"
# shellcheck source=tests/real/parlance.sh
. "$REAL/parlance.sh"
# shellcheck source=tests/real/cases.sh
. "$REAL/cases.sh"

ROUND=$2
CASE=$WORK/case-$1-$ROUND
USERS=()
# shellcheck disable=SC2034 # the cases use them
MSRP_RELAY_IP=127.0.0.13 MSRP_CERTIFICATE=$CASE/certificate.pem MSRP_KEY=$CASE/key.pem
mkdir -p "$CASE"

leave() {
    local user
    for user in "${USERS[@]}"; do
        kill -KILL "$user" 2>/dev/null || true
    done
    [ ! -d "$CASE/relay" ] || RELAY_RUN=$CASE/relay "$REAL/../../benches/kamailio/stop.sh" 2855
}
trap leave EXIT

"case_$1"
