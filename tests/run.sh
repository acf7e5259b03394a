#!/usr/bin/env bash
# Everything that is tested, on a bare machine: Debian packages, build, lints, tests, real peers.
#
# usage: tests/run.sh [--long]
#
# --long sets PARLANCE_LONG=1: tests that read it take longer (the kill loop, fuzzing, the chaos), and
# the soak an hour, or SOAK_MINUTES.
# One line a stage with its time; the last line is `N passed, N failed`, which counts the Rust
# tests, the cases of the real trial, and each other stage as one. Exit status 1 when one failed.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
case "${1:-}" in
'') ;;
--long) export PARLANCE_LONG=1 ;;
*)
    echo "usage: tests/run.sh [--long]" >&2
    exit 2
    ;;
esac

# Where rustup puts cargo; a shell without a login has not read its profile.
PATH=$PATH:$HOME/.cargo/bin
export CARGO_TERM_COLOR=never CARGO_INCREMENTAL=0
# Each of many binaries would be optimised as a whole, for minutes: see the profile in Cargo.toml.
export CARGO_PROFILE_RELEASE_LTO=false CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
TARGET=${CARGO_TARGET_DIR:-target}
LOGS=$(mktemp -d "${TMPDIR:-/tmp}/parlance-tests.XXXXXX")
PASSED=0
FAILED=0

# Commands and the Debian packages that have them; the C compiler is for aws-lc and jemalloc, make
# for jemalloc.
NEEDED=(cc:gcc make:make kamailio:kamailio sipp:sip-tester tshark:tshark ss:iproute2 python3:python3
    openssl:openssl)
# Files of packages that have no command of their own.
NEEDED_FILES=(
    "/usr/lib/*/kamailio/modules/uuid.so:kamailio-extra-modules"
    "/usr/lib/*/kamailio/modules/tls.so:kamailio-tls-modules"
    "/usr/include/stdlib.h:libc6-dev"
)

# --- stages ---------------------------------------------------------------------------------

missing_packages() {
    local entry pattern
    for entry in "${NEEDED[@]}"; do
        command -v "${entry%%:*}" >/dev/null || echo "${entry#*:}"
    done
    for entry in "${NEEDED_FILES[@]}"; do
        pattern=${entry%%:*}
        compgen -G "$pattern" >/dev/null || echo "${entry#*:}"
    done
}

as_root() {
    if ((EUID == 0)); then "$@"; else sudo -n "$@"; fi
}

# Debian starts a daemon when it installs one. Kamailio's would sit on port 5060, which is ours.
without_daemons() {
    local policy=/usr/sbin/policy-rc.d status=0
    if [ -e "$policy" ]; then
        as_root "$@"
        return
    fi
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
    as_root "$@" || status=$?
    as_root rm -f "$policy"
    return "$status"
}

packages() {
    local -a missing
    mapfile -t missing < <(missing_packages)
    ((${#missing[@]})) || return 0
    echo "installing ${missing[*]}"
    as_root apt-get update -q || return 1
    without_daemons env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends "${missing[@]}"
}

toolchain() {
    command -v cargo >/dev/null || {
        echo "cargo is not installed; Rust 1.95 or newer is needed"
        return 1
    }
    cargo --version
}

# One profile for all stages: dependencies with C code are compiled once, and clippy and rustdoc
# share what they check.
build() {
    cargo build --release --locked --workspace || return 1
    cargo test --release --locked --workspace --no-run
}

format() {
    cargo fmt --all --check
}

clippy() {
    cargo clippy --release --locked --workspace --all-targets -- -D warnings
}

docs() {
    RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --workspace --no-deps
}

tests() {
    cargo test --release --locked --workspace --no-fail-fast
}

real() {
    # It captures on the loopback interface.
    as_root env PARLANCE="$TARGET/release/parlance" PARLANCE_LONG="${PARLANCE_LONG:-0}" \
        tests/real/run.sh
}

# --- running and counting -------------------------------------------------------------------

# run STAGE: in LOGS/STAGE.log, with one line that says how it went and how long it took.
run() {
    local stage=$1 status=0 start=$SECONDS
    "$stage" >"$LOGS/$stage.log" 2>&1 || status=$?
    if ((status == 0)); then
        printf 'ok    %-10s %4d s\n' "$stage" $((SECONDS - start))
    else
        printf 'FAIL  %-10s %4d s, exit status %d\n' "$stage" $((SECONDS - start)) "$status"
    fi
    return "$status"
}

# stage NAME: counts as one, and shows the end of its log when it fails.
stage() {
    if run "$1"; then
        PASSED=$((PASSED + 1))
    else
        FAILED=$((FAILED + 1))
        tail -n 40 "$LOGS/$1.log"
        return 1
    fi
}

# A component that the toolchain came without is no fault of the tree.
stage_if_there() {
    if cargo "$1" --version >/dev/null 2>&1; then
        stage "$2" || true
    else
        echo "skip  $2: cargo $1 is not installed"
    fi
}

# total WORD LOG: adds up the numbers before WORD in cargo's `test result:` lines.
total() {
    sed -nE "s/^test result:.* ([0-9]+) $1;.*/\1/p" "$2" | awk '{ sum += $1 } END { print sum + 0 }'
}

stage_tests() {
    local status=0 log=$LOGS/tests.log failed
    run tests || status=$?
    failed=$(total failed "$log")
    # A test binary that does not build or is killed has no line of its own.
    ((status == 0 || failed > 0)) || failed=1
    PASSED=$((PASSED + $(total passed "$log")))
    FAILED=$((FAILED + failed))
    ((status == 0)) || grep -E -A 12 '^(---- .* ----|error|failures:)' "$log" | tail -n 60 || true
}

stage_real() {
    local log=$LOGS/real.log failed status=0
    run real || status=$?
    grep -E '^(ok|FAIL|logs and traces)' "$log" | sed 's/^/      /' || true
    failed=$(grep -c '^FAIL' "$log" || true)
    # It ended without a case that says why.
    ((status == 0 || failed > 0)) || {
        failed=1
        tail -n 20 "$log"
    }
    PASSED=$((PASSED + $(grep -c '^ok ' "$log" || true)))
    FAILED=$((FAILED + failed))
}

finish() {
    if ((FAILED)); then echo "logs: $LOGS"; else rm -rf "$LOGS"; fi
    echo "$PASSED passed, $FAILED failed"
    ((FAILED == 0))
}

main() {
    if stage packages && stage toolchain && stage build; then
        stage_if_there fmt format
        stage_if_there clippy clippy
        stage docs || true
        stage_tests
        stage_real
    fi
    finish
}

main
