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
mkdir -p "$CASE"

leave() {
    local user
    for user in "${USERS[@]}"; do
        kill -KILL "$user" 2>/dev/null || true
    done
}
trap leave EXIT

"case_$1"
