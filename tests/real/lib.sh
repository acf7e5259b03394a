# shellcheck shell=bash
# What the cases are made of: processes, SIPp users, and questions to their traces.
# Expects WORK (a directory of this run) and REAL (the directory of this file).

DOMAIN=ims.test
# shellcheck disable=SC2034 # the cases use it
IM_TAG='Accept-Contact: *;+g.oma.sip-im'

# --- time and processes ---------------------------------------------------------------------

# wait_for SECONDS COMMAND...: true as soon as the command is.
wait_for() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < end)) || return 1
        sleep 0.05
    done
}

process_lives() {
    [ -f "$1" ] && kill -0 "$(<"$1")" 2>/dev/null
}

process_gone() {
    ! process_lives "$1"
}

# stop_process PIDFILE SECONDS: asks first, then ends it.
stop_process() {
    process_lives "$1" || return 0
    kill -TERM "$(<"$1")"
    wait_for "$2" process_gone "$1" || kill -KILL "$(<"$1")"
}

# Ends a case with the reason; the runner prints it beside the name of the case.
fail() {
    echo "$*" >&2
    exit 1
}

# --- the core -------------------------------------------------------------------------------

# Two cores of one domain: `udp` speaks UDP to the server, `tcp` speaks TCP.
core_ip() {
    case $1 in
    udp) echo 127.0.0.10 ;;
    tcp) echo 127.0.0.11 ;;
    esac
}

core() {
    CORE_IP=$(core_ip "$1") AS_TRANSPORT=$1 CORE_RUN=$WORK/core-$1 CORE_DOMAIN=$DOMAIN \
        AS_IP=127.0.0.20 AS_SILENCE_MS=2500 "$REAL/../../deploy/kamailio/core.sh" "$2"
}

# core_says PATTERN: a line of the log of the core that CORE names.
core_says() {
    grep -aqE "$1" "$WORK/core-$CORE/log"
}

# --- users ----------------------------------------------------------------------------------
#
# A user is a name and an address. His inbox listens on port 5060 and is his Contact; he
# registers from 5061 and sends from 5062, so that one SIPp never takes the other's answers.
# CORE names the core he is with.

CORE=udp

# as_user TRACE PORT IP SCENARIO ARGUMENTS...: the command line of one SIPp, in SIPP. Its traces
# are files TRACE.* in the directory of the case.
as_user() {
    local scenario=$4
    TRACE=$CASE/$1
    SIPP=(sipp "$(core_ip "$CORE"):5060" -sf "$REAL/sipp/$scenario.xml" -i "$3" -p "$2"
        -nostdin -trace_msg -message_file "$TRACE.msg" -trace_err -error_file "$TRACE.err"
        "${@:5}")
}

# Runs SIPP to its end. Its own timeout waits for open calls, so it needs one around it.
act() {
    timeout --foreground 20 "${SIPP[@]}" >"$TRACE.out" 2>&1
}

# Runs SIPP in the background until the case ends.
act_behind() {
    "${SIPP[@]}" >"$TRACE.out" 2>&1 &
    USERS+=($!)
}

# inbox NAME IP
inbox() {
    as_user "inbox-$1" 5060 "$2" message_in -m 1000
    act_behind
    wait_for 15 port_taken "$2" 5060 || fail "the inbox of $1 does not listen"
}

port_taken() {
    ss -Hlnu "src $1 and sport = :$2" | grep -q .
}

# register NAME IP EXPIRES: and waits until the server has answered the third-party REGISTER.
register() {
    local before seen="third-party REGISTER sip:$1@$DOMAIN answered "
    before=$(core_count "$seen")
    as_user "register-$1-$before" 5061 "$2" register -m 1 -key user "$1" -key domain "$DOMAIN" \
        -key contact ";+g.oma.sip-im;+sip.instance=\"<urn:uuid:$(instance "$2")>\"" \
        -key expires "$3"
    act || fail "REGISTER of $1 was not answered 200"
    wait_for 5 core_counts "$seen" $((before + 1)) ||
        fail "the server did not answer the third-party REGISTER of $1"
}

# The same device has the same instance each time it registers (RFC 5626 section 4.1).
instance() {
    printf '00000000-0000-4000-8000-%012d' "${1##*.}"
}

core_count() {
    grep -acF "$1" "$WORK/core-$CORE/log" || true
}

core_counts() {
    (($(core_count "$1") >= $2))
}

# message NAME IP PEER HEADER BODY WANTED: sends one MESSAGE and wants this final status.
message() {
    local got
    as_user "message-$1-$3" 5062 "$2" message_out -m 1 -key user "$1" -key peer "$3" \
        -key domain "$DOMAIN" -key header "$4" -key body "$5"
    act || true
    ANSWER=$TRACE.msg
    got=$(final_status "$ANSWER")
    [ "$got" = "$6" ] || fail "MESSAGE of $1 to $3: wanted $6, got ${got:-no answer}"
}

# publish NAME IP PEER ELEMENTS WANTED: sends a PUBLISH with settings for PEER and wants this final
# status.
PUBLISHED=0
publish() {
    local got document
    PUBLISHED=$((PUBLISHED + 1))
    document="<im-settings xmlns=\"urn:oma:xml:im:service-settings\">$4</im-settings>"
    as_user "publish-$1-$PUBLISHED" 5062 "$2" publish -m 1 -key user "$1" -key peer "$3" \
        -key domain "$DOMAIN" -key body "$document"
    act || true
    ANSWER=$TRACE.msg
    got=$(final_status "$ANSWER")
    [ "$got" = "$5" ] || fail "PUBLISH of $1 for $3: wanted $5, got ${got:-no answer}"
}

# The status of the last final response in a trace.
final_status() {
    grep -aoE '^SIP/2\.0 [2-6][0-9]{2}' "$1" 2>/dev/null | tail -n 1 | cut -d' ' -f2
}

# answer_has PATTERN: a header line of the response to the last message.
answer_has() {
    awk '/^SIP\/2\.0 /{inside=1} inside' "$ANSWER" | grep -aqiE "$1" ||
        fail "the answer has no line $1"
}

# --- traces ---------------------------------------------------------------------------------

# received NAME TEXT: the messages in the inbox with this text, one block each, retransmissions
# left out: they have the Via branch of a block already seen.
received() {
    [ -f "$CASE/inbox-$1.msg" ] || return 0
    LC_ALL=C awk -v text="$2" '
        BEGIN { RS = "-----------------------------------------------" }
        / message received / && /\nMESSAGE / && index($0, text) {
            match($0, /branch=[^;\r\n]*/)
            if (!seen[substr($0, RSTART, RLENGTH)]++) print
        }' "$CASE/inbox-$1.msg"
}

received_count() {
    received "$1" "$2" | grep -ac '^MESSAGE ' || true
}

received_is() {
    [ "$(received_count "$1" "$2")" -eq "$3" ]
}

# arrives NAME TEXT SECONDS: one copy comes in time, and in the next second no other does.
arrives() {
    wait_for "$3" received_is "$1" "$2" 1 ||
        fail "$1 has $(received_count "$1" "$2") copies of '$2' after $3 s"
    sleep 1
    received_is "$1" "$2" 1 || fail "$1 has $(received_count "$1" "$2") copies of '$2'"
}

# received_has NAME TEXT PATTERN: a line of that message.
received_has() {
    received "$1" "$2" | tr -d '\r' | grep -aqE "$3" || fail "$1 got '$2' without $3"
}
