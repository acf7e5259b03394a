# shellcheck shell=bash
# One function a case. `# Covers:` names the requirements that a case fails without.
# Every case has users and addresses of its own, so that all can run at the same time.

# Those that can; then those that stop the server, one after the other.
# shellcheck disable=SC2034 # run.sh uses both
CASES=(registration online offline deregistered too_large at_the_limit blocked untagged settings session
    over_tcp malformed msrp_room msrp_relay msrp_relay_in_the_open msrp_relays one_to_one conference)
# shellcheck disable=SC2034
CASES_ALONE=(server_down killed killed_after_register)

# What the case shows, for its report line.
title() {
    case $1 in
    registration) echo "REGISTER: the third-party REGISTER gets 200 with the same Expires" ;;
    online) echo "MESSAGE, both registered: 200, and received once" ;;
    offline) echo "MESSAGE to a user who is away: 202, delivered once when he registers" ;;
    deregistered) echo "MESSAGE after de-REGISTER: 202, delivered at the next REGISTER" ;;
    too_large) echo "MESSAGE with a body over the limit: 403 with Warning 133 and the limit" ;;
    at_the_limit) echo "MESSAGE with a body at the limit: 200, from the server over TCP" ;;
    blocked) echo "MESSAGE from a blocked sender: 403, not received" ;;
    untagged) echo "MESSAGE without the IM tag: passes the server untouched" ;;
    settings) echo "PUBLISH im-settings: kept, and the user is treated so at once" ;;
    session) echo "INVITE, ACK, BYE: pass along the recorded route" ;;
    over_tcp) echo "ISC over TCP, at another core: online and offline MESSAGE" ;;
    malformed) echo "malformed requests: 400 that names the header" ;;
    msrp_room) echo "MSRP room: copies, chunks, reports, nicknames, and every refusal" ;;
    msrp_relay) echo "MSRP relay: AUTH, and messages both ways through it" ;;
    msrp_relay_in_the_open) echo "MSRP relay without TLS, as in a laboratory" ;;
    msrp_relays) echo "MSRP relays: Kamailio's passes on to the server, and the server to it" ;;
    one_to_one) echo "a chat of two: INVITE with a list of one, and MSRP through the server" ;;
    conference) echo "a chat of five: list, state, nickname, private message, leaving" ;;
    server_down) echo "server down: the core goes on without it" ;;
    killed) echo "kill -9 between 202 and REGISTER: delivered once" ;;
    killed_after_register) echo "kill -9 between REGISTER and delivery: delivered once" ;;
    wire) echo "tshark finds nothing malformed in what the server sent" ;;
    esac
}

# Covers: CORE-018, CORE-019
case_registration() {
    inbox rita 127.0.0.41
    register rita 127.0.0.41 600
    answered_as_sent rita 1
    register rita 127.0.0.41 300
    answered_as_sent rita 2
}

# answered_as_sent NAME N: the Nth third-party REGISTER and its 200 have the same Expires.
answered_as_sent() {
    local sent answered
    sent=$(third_party "$1" "$2" 'expires')
    answered=$(third_party "$1" "$2" 'answered 200 expires')
    [[ -n $sent && $sent = "$answered" ]] ||
        fail "third-party REGISTER of $1: expires $sent answered ${answered:-not with 200}"
}

# third_party NAME N WORDS: the number after WORDS in the Nth such line of the core's log.
third_party() {
    grep -aoE "third-party REGISTER sip:$1@$DOMAIN $3 [0-9]+" "$WORK/core-$CORE/log" |
        sed -n "$2s/.* //p"
}

# Covers: CORE-032, PF-020
case_online() {
    inbox anna 127.0.0.42
    inbox bert 127.0.0.43
    register anna 127.0.0.42 600
    register bert 127.0.0.43 600
    message anna 127.0.0.42 bert "$IM_TAG" 'good morning, Bert' 200
    arrives bert 'good morning, Bert' 2
    received_has bert 'good morning, Bert' '^P-Asserted-Identity: <sip:anna@ims.test>'
    received_has bert 'good morning, Bert' '^X-Trial:   carried  "as is"$'
    visited_twice "$(call_id_of bert 'good morning, Bert')" udp
}

# visited_twice CALL-ID TRANSPORT: the server sent it back on both sides, with the core's token.
visited_twice() {
    local side
    for side in orig term; do
        core_says "MESSAGE $1 back from the AS over $2, side $side" ||
            fail "the server did not send MESSAGE $1 back over $2 on the $side side"
    done
}

call_id_of() {
    received "$1" "$2" | tr -d '\r' | sed -n 's/^Call-ID: //p' | head -n 1
}

# Covers: DF-003, DF-062, DF-064, CORE-024, CORE-037, CORE-064
case_offline() {
    inbox otto 127.0.0.44
    register otto 127.0.0.44 600
    message otto 127.0.0.44 paul "$IM_TAG" 'call me back' 202
    inbox paul 127.0.0.45
    register paul 127.0.0.45 600
    arrives paul 'call me back' 6
    received_has paul 'call me back' '^P-Asserted-Identity: '
    received_has paul 'call me back' '^P-Charging-Vector: .*icid-value='
    received_has paul 'call me back' '^P-Charging-Vector: .*orig-ioi='
    register paul 127.0.0.45 500
    sleep 2
    received_is paul 'call me back' 1 || fail "a refresh delivered the message again"
}

# Covers: CORE-021
case_deregistered() {
    inbox dora 127.0.0.46
    inbox emil 127.0.0.47
    register dora 127.0.0.46 600
    register emil 127.0.0.47 600
    register emil 127.0.0.47 0
    answered_as_sent emil 2
    message dora 127.0.0.46 emil "$IM_TAG" 'are you there' 202
    received_is emil 'are you there' 0 || fail "delivered to a user who has left"
    register emil 127.0.0.47 600
    arrives emil 'are you there' 6
}

# Covers: PF-012, PF-013, CORE-051
case_too_large() {
    inbox fred 127.0.0.48
    inbox gina 127.0.0.49
    register fred 127.0.0.48 600
    register gina 127.0.0.49 600
    message fred 127.0.0.48 gina "$IM_TAG" "$(body_of $((AS_LIMIT + 1)))" 403
    answer_has "^Warning: 399 .*133 .*$AS_LIMIT"
    received_is gina xxxx 0 || fail "a message that was refused is delivered"
}

body_of() {
    printf "%*s" "$1" '' | tr ' ' x
}

# Covers: CORE-015, CORE-051
case_at_the_limit() {
    local body
    inbox hugo 127.0.0.50
    inbox inge 127.0.0.51
    register hugo 127.0.0.50 600
    register inge 127.0.0.51 600
    body=$(body_of "$AS_LIMIT")
    message hugo 127.0.0.50 inge "$IM_TAG" "$body" 200
    arrives inge "$body" 2
    visited_twice "$(call_id_of inge "$body")" tcp
}

# Covers: PF-082
case_blocked() {
    inbox blocked 127.0.0.52
    inbox blocker 127.0.0.53
    inbox friend 127.0.0.54
    register blocked 127.0.0.52 600
    register blocker 127.0.0.53 600
    register friend 127.0.0.54 600
    message blocked 127.0.0.52 blocker "$IM_TAG" 'not wanted' 403
    message friend 127.0.0.54 blocker "$IM_TAG" 'welcome' 200
    arrives blocker welcome 2
    received_is blocker 'not wanted' 0 || fail "a blocked message is delivered"
}

# The core's trigger would not send it to the server, so the sender puts the server on its way.
# Covers: CORE-034
case_untagged() {
    local way
    inbox kurt 127.0.0.55
    inbox lena 127.0.0.56
    register kurt 127.0.0.55 600
    register lena 127.0.0.56 600
    way="Route: <sip:$(core_ip udp);lr>, <sip:$AS_IP:5080;lr>, <sip:$(core_ip udp);lr>"
    message kurt 127.0.0.55 lena "$way" "$(body_of $((AS_LIMIT + 1)))" 200
    arrives lena xxxx 2
    received_has lena xxxx '^X-Trial:   carried  "as is"$'
    received_has lena xxxx "^Via: SIP/2.0/[A-Z]+ $AS_IP:5080"
}

# Covers: PF-055, PF-056, CLI-006
case_settings() {
    inbox nora 127.0.0.66
    inbox olaf 127.0.0.67
    register nora 127.0.0.66 600
    register olaf 127.0.0.67 600
    publish nora 127.0.0.66 nora '<active>false</active>' 200
    answer_has '^SIP-ETag: [^ ]'
    answer_has '^Expires: 600'
    message olaf 127.0.0.67 nora "$IM_TAG" 'for later' 202
    sleep 1
    received_is nora 'for later' 0 || fail "the client of a user who is not there was tried"
    publish nora 127.0.0.66 nora '<active>maybe</active>' 400
    answer_has '^Warning: 399 .*active has a value'
    publish nora 127.0.0.66 olaf '<active>false</active>' 403
    publish nora 127.0.0.66 nora '<active>true</active>' 200
    arrives nora 'for later' 3
    message olaf 127.0.0.67 nora "$IM_TAG" 'at once' 200
    arrives nora 'at once' 2
}

# Covers: CORE-032
case_session() {
    local sides
    inbox nils 127.0.0.58
    inbox mona 127.0.0.57
    register mona 127.0.0.57 600
    register nils 127.0.0.58 600
    # The notice that greets a new user must not come into the session.
    arrives nils 'Welcome. ' 10
    kill -KILL "${USERS[0]}"
    wait "${USERS[0]}" || true
    as_user session-in 5060 127.0.0.58 session_in -m 1
    act_behind
    wait_for 15 port_taken 127.0.0.58 5060 || fail "the called user does not listen"
    as_user session-out 5062 127.0.0.57 session_out -m 1 -key user mona -key peer nils \
        -key domain "$DOMAIN"
    act || fail "the caller's side of the session failed"
    wait "${USERS[-1]}" || fail "the called side of the session failed"
    # shellcheck disable=SC2153 # set by case.sh
    sides=$(grep -aE '^Record-Route:' "$CASE/session-in.msg" | grep -aoE "$AS_IP:508[01]" |
        sort -u | wc -l) || true
    ((sides >= 2)) || fail "the INVITE was not record-routed on both sides of the server"
    visits BYE
}

# visits METHOD: requests of the dialog carry the Via of the server too.
visits() {
    LC_ALL=C awk -v start="$1 " -v via="$AS_IP:508" '
        BEGIN { RS = "-----------------------------------------------" }
        index($0, "\n" start) && index($0, via) { found = 1 }
        END { exit !found }' "$CASE/session-in.msg" || fail "$1 did not pass the server"
}

# Covers: CORE-037
case_over_tcp() {
    CORE=tcp
    inbox olga 127.0.0.59
    inbox pete 127.0.0.60
    register olga 127.0.0.59 600
    register pete 127.0.0.60 600
    message olga 127.0.0.59 pete "$IM_TAG" 'over a stream' 200
    arrives pete 'over a stream' 2
    visited_twice "$(call_id_of pete 'over a stream')" tcp
    message olga 127.0.0.59 quin "$IM_TAG" 'a stream for later' 202
    inbox quin 127.0.0.61
    register quin 127.0.0.61 600
    arrives quin 'a stream for later' 6
    core_says "MESSAGE $(call_id_of quin 'a stream for later') from the AS itself over tcp" ||
        fail "the delivery did not go to the core that registered the user"
}

case_malformed() {
    python3 "$REAL/raw.py" 127.0.0.12 "$AS_IP" 5080 >&2 || exit 1
}

# Covers: MSRP-001, MSRP-004, MSRP-006, MSRP-008, MSRP-060, MSRP-061, MSRP-062, MSRP-064
case_msrp_room() {
    as_msrp_room 2855 "$CASE/legs.json"
    python3 "$REAL/msrp.py" room "$CASE/legs.json" >&2 || exit 1
}

# Covers: MSRP-040, MSRP-041, MSRP-042, MSRP-044, MSRP-087
case_msrp_relay() {
    msrp_certificate
    as_msrp_relay 2856 "$CASE/auth.json"
    python3 "$REAL/msrp.py" relay "$CASE/auth.json" >&2 || exit 1
}

# Covers: MSRP-040, MSRP-041, MSRP-042
case_msrp_relay_in_the_open() {
    as_msrp_relay 2858 "$CASE/auth.json" plain
    python3 "$REAL/msrp.py" relay "$CASE/auth.json" >&2 || exit 1
}

# Covers: MSRP-044, MSRP-086, MSRP-087
case_msrp_relays() {
    local relay=$REAL/../../benches/kamailio port=2855
    msrp_certificate
    as_msrp_relay 2857 "$CASE/auth.json"
    export RELAY_IP=$MSRP_RELAY_IP RELAY_RUN=$CASE/relay RELAY_CHILDREN=2 RELAY_SHM_MB=64
    "$relay/start.sh" "$port" msrp -A WITH_AUTH -A WITH_TLS -A "RELAY_TLS=tls:$RELAY_IP:$port" \
        -A "TLS_CERTIFICATE=\"$MSRP_CERTIFICATE\"" -A "TLS_KEY=\"$MSRP_KEY\"" >&2 ||
        fail "the other relay does not start"
    python3 "$REAL/msrp.py" relays "$CASE/auth.json" "msrps://$RELAY_IP:$port;tcp" >&2 || exit 1
}

# Covers: CF-003, CF-031, CF-054, CF-057, CF-064, CLI-011
case_one_to_one() {
    chat lars=127.0.0.71 mara=127.0.0.72
}

# Covers: CF-003, CF-030, CF-031, CF-054, CF-058, CLI-013, CLI-021, CLI-023
case_conference() {
    chat nell=127.0.0.73 odin=127.0.0.74 pius=127.0.0.75 rosa=127.0.0.76 sven=127.0.0.77
}

chat() {
    python3 "$REAL/chat.py" "$(core_ip udp)" "$DOMAIN" "sip:im-conf-factory@$DOMAIN" "$@" >&2 ||
        exit 1
}

# A key and a certificate for the addresses of the server and of the other relay.
msrp_certificate() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
        -subj /CN=trial -addext "basicConstraints=critical,CA:FALSE" \
        -addext "subjectAltName=IP:$AS_IP,IP:$MSRP_RELAY_IP" \
        -keyout "$MSRP_KEY" -out "$MSRP_CERTIFICATE" >&2 2>&1 || fail "openssl"
    chmod 600 "$MSRP_KEY"
}

# Shows deploy/kamailio, not the server: SESSION_CONTINUED.
case_server_down() {
    inbox rolf 127.0.0.62
    inbox sara 127.0.0.63
    register rolf 127.0.0.62 600
    register sara 127.0.0.63 600
    as_stop
    message rolf 127.0.0.62 sara "$IM_TAG" 'without a server' 200
    arrives sara 'without a server' 1
    as_start >&2 || exit 1
}

# A user of his own in every ROUND: he must be away when the message comes.
# Covers: DF-017
case_killed() {
    local away=ulf$ROUND
    inbox tina 127.0.0.64
    register tina 127.0.0.64 600
    message tina 127.0.0.64 "$away" "$IM_TAG" 'it survives' 202
    restart_killed
    inbox "$away" 127.0.0.65
    register "$away" 127.0.0.65 600
    arrives "$away" 'it survives' 6
}

# After the restart no REGISTER tells the server again that the user is here: its store must.
# Covers: PF-003
case_killed_after_register() {
    local away=walt$ROUND
    inbox vera 127.0.0.66
    register vera 127.0.0.66 600
    message vera 127.0.0.66 "$away" "$IM_TAG" 'it waits' 202
    inbox "$away" 127.0.0.67
    register "$away" 127.0.0.67 600
    restart_killed
    arrives "$away" 'it waits' 6
}

restart_killed() {
    as_kill || fail "the server does not die"
    as_start >&2 || exit 1
}

# The dissector is somebody else's reading of the grammar. What answers raw.py is left out: it
# repeats the faults of the request, as RFC 3261 section 8.2.6.2 wants.
case_wire() {
    local mine="ip.src == $AS_IP && ip.dst != 127.0.0.12 && !icmp"
    local total bad
    total=$(frames "$mine && sip")
    ((total >= 50)) || fail "only $total SIP frames of the server were captured"
    bad="$mine && (_ws.malformed || (sip && _ws.expert.severity == error))"
    none "$bad"
    none "$mine && udp.srcport >= 5080 && udp.srcport <= 5082 && !sip"
    wire_msrp "ip.src == $AS_IP"
}

# Of MSRP every kind of message that the server sends was seen, and none is malformed.
wire_msrp() {
    local code method
    none "$1 && msrp && (_ws.malformed || _ws.expert.severity == error)"
    for method in SEND REPORT; do
        (($(frames "$1 && msrp.method == \"$method\"") > 0)) || fail "no $method was captured"
    done
    for code in 200 400 401 403 404 415 423 424 425 481 501 506; do
        (($(frames "$1 && msrp.status.code == $code") > 0)) || fail "no $code was captured"
    done
}

frames() {
    dissect -Y "$1" | wc -l
}

none() {
    local found
    found=$(dissect -Y "$1" | head -n 5)
    [ -z "$found" ] || fail "tshark: $found"
}

dissect() {
    tshark -r "$WORK/wire.pcap" -d udp.port==5080-5082,sip -d tcp.port==5080-5082,sip \
        -d tcp.port==2855,msrp -d tcp.port==2858-2859,msrp "$@" 2>/dev/null
}
