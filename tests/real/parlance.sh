# shellcheck shell=bash
# The server under trial: its configuration and its command line stand here and nowhere else.
# Expects PARLANCE (the binary) and WORK (a directory of this run).

AS_IP=127.0.0.20
AS_HTTP=127.0.0.20:8080
AS_LIMIT=1300
AS_CONFIG=$WORK/parlance.toml

as_config() {
    cat >"$AS_CONFIG" <<TOML
# Written by tests/real/parlance.sh.
[sip]
domains = ["ims.test"]
next_hop = "sip:127.0.0.10:5060;lr"
drain_s = 2

[[sip.listen]]
address = "$AS_IP:5080"
transports = ["udp", "tcp"]
side = "originating"

[[sip.listen]]
address = "$AS_IP:5081"
transports = ["udp", "tcp"]
side = "terminating"

[[sip.listen]]
address = "$AS_IP:5082"
transports = ["udp", "tcp"]
side = "registration"

[http]
listen = "$AS_HTTP"

[store]
path = "$WORK/data"

[msrp]
listen = [{ address = "$AS_IP:2859" }]

[participating]
body_bytes_max = $AS_LIMIT
peer_to_peer = true

[deferred]
delivery = "push-message"
settle_ms = 300
lease_s = 3
TOML
}

# What an operator would provision, done before the server starts. blocker refuses blocked.
as_provision() {
    "$PARLANCE" user set --config "$AS_CONFIG" sip:blocker@ims.test 'reject+=sip:blocked@ims.test'
}

as_check_config() {
    "$PARLANCE" check-config --config "$AS_CONFIG"
}

# Starts the server and waits until it says it is ready. Its own session: a case that is cut
# off for being late must not take the server with it.
as_start() {
    setsid "$PARLANCE" serve --config "$AS_CONFIG" >>"$WORK/parlance.log" 2>&1 </dev/null &
    echo $! >"$WORK/parlance.pid"
    wait_for 10 as_ready || {
        echo "parlance is not ready after 10 s; its log ends:"
        tail -n 5 "$WORK/parlance.log"
        return 1
    }
}

as_ready() {
    local status
    process_lives "$WORK/parlance.pid" || return 1
    exec 9<>"/dev/tcp/${AS_HTTP%:*}/${AS_HTTP#*:}" || return 1
    printf 'GET /readyz HTTP/1.1\r\nHost: trial\r\nConnection: close\r\n\r\n' >&9
    read -r -t 2 _ status _ <&9 || status=none
    exec 9>&-
    [ "$status" = 200 ]
} 2>/dev/null

# No last word: what it promised must already be on the disk.
as_kill() {
    kill -KILL "$(<"$WORK/parlance.pid")"
    wait_for 5 process_gone "$WORK/parlance.pid"
}

as_stop() {
    stop_process "$WORK/parlance.pid" 10
}

# --- MSRP by itself -------------------------------------------------------------------------
#
# Each listens on a port of its own until the case ends; OUT gets the line that it prints.

# as_msrp_room PORT OUT: one room of three.
as_msrp_room() {
    "$PARLANCE" msrp-room --listen "$AS_IP:$1" --cores 1 --rooms 1 --size 3 >"$2" 2>"$2.log" &
    USERS+=($!)
    wait_for 10 test -s "$2" || fail "msrp-room does not start: $(tail -n 1 "$2.log")"
}

# as_msrp_relay PORT OUT [plain]: a relay with the users alice and bob, whose password is "secret".
# It knows other relays by the certificate that it has itself; with plain it has none, so that what
# it sends can be read.
as_msrp_relay() {
    local config=$2.toml
    cat >"$config" <<TOML
[net]
tls_roots = "$MSRP_CERTIFICATE"
[msrp]
cores = 1
relay = true
realm = "$DOMAIN"
digest_file = "$2.users"
[[msrp.listen]]
address = "$AS_IP:$1"
TOML
    if [ "${3:-}" = plain ]; then
        sed -i -e '/^tls_roots/d' -e 's/^relay = true/&\nauth_needs_tls = false/' "$config"
    else
        cat >>"$config" <<TOML
certificate = "$MSRP_CERTIFICATE"
key = "$MSRP_KEY"
client_roots = "$MSRP_CERTIFICATE"
TOML
    fi
    for user in alice bob; do
        printf '%s:%s:%s\n' "$user" "$DOMAIN" \
            "$(printf '%s:%s:secret' "$user" "$DOMAIN" | md5sum | cut -d' ' -f1)"
    done >"$2.users"
    chmod 600 "$2.users"
    "$PARLANCE" msrp-relay --json --config "$config" >"$2" 2>"$2.log" &
    USERS+=($!)
    wait_for 10 test -s "$2" || fail "msrp-relay does not start: $(tail -n 1 "$2.log")"
}
