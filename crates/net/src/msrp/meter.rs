//! What is counted under MSRP.
//!
//! The handles are taken from the recorder that is installed when [`super::Msrp::start`] runs.

use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};
use parlance_msrp::{CloseReason, FrameError, REFUSAL_CODES};

use crate::meter::Alarm;

const RECEIVED_OCTETS: &str = "parlance_msrp_octets_received_total";
const TRANSMITTED_OCTETS: &str = "parlance_msrp_octets_transmitted_total";
const MESSAGES: &str = "parlance_msrp_requests_total";
const RESPONSES: &str = "parlance_msrp_responses_total";
const UNANSWERED: &str = "parlance_msrp_requests_unanswered_total";
const QUEUED: &str = "parlance_msrp_octets_queued";
const CONNECTIONS: &str = "parlance_msrp_connections";
const REFUSED: &str = "parlance_msrp_connections_refused_total";
const CLOSED: &str = "parlance_msrp_connections_closed_total";
const CONNECTS: &str = "parlance_msrp_connects_total";
const MOVED: &str = "parlance_msrp_connections_moved_total";
const PAUSED: &str = "parlance_msrp_reads_paused_total";
const SHARED: &str = "parlance_msrp_octets_between_cores_total";
const LOST: &str = "parlance_msrp_events_lost_total";
const MAILBOX: &str = "parlance_msrp_mailbox";
const LENT: &str = "parlance_msrp_lent_uris";
const NOT_LENT: &str = "parlance_msrp_lent_uris_refused_total";

/// Tells the recorder what each metric means. To be called once, after it is installed.
pub(crate) fn describe_metrics() {
    let count = [
        (REFUSED, "MSRP connections closed when accepted, by reason: total, source, handshake"),
        (CLOSED, "MSRP connections we closed, by reason"),
        (
            CONNECTS,
            "MSRP connections we opened, by result: connected, unresolved, unreachable, tls",
        ),
        (MOVED, "MSRP connections handed to the core of their session, by result: moved, busy"),
        (PAUSED, "Times reading from an MSRP connection stopped, by reason: sink, rate, shared"),
        (NOT_LENT, "MSRP sessions that could not go by the URI of a peer, by reason: taken, full"),
        (LOST, "Events of MSRP sessions that nobody could take"),
        (MESSAGES, "MSRP requests, by listener, direction and method: send, report, other"),
        (RESPONSES, "MSRP responses written, by listener and code; other is any other code"),
        (UNANSWERED, "MSRP requests of ours that nobody answered in time, by listener"),
    ];
    for (name, text) in count {
        describe_counter!(name, Unit::Count, text);
    }
    let octets = [
        (RECEIVED_OCTETS, "Octets of MSRP received, by listener; connect is what we opened"),
        (TRANSMITTED_OCTETS, "Octets of MSRP written, by listener; connect is what we opened"),
        (SHARED, "Octets of connections whose sessions are on several cores, taken to another"),
    ];
    for (name, text) in octets {
        describe_counter!(name, Unit::Bytes, text);
    }
    describe_gauge!(CONNECTIONS, Unit::Count, "MSRP connections, by listener; connect is ours");
    describe_gauge!(QUEUED, Unit::Bytes, "Octets that wait to be written, by listener");
    describe_gauge!(LENT, Unit::Count, "MSRP sessions that go by the URI of a peer");
    describe_gauge!(MAILBOX, Unit::Count, "Letters that wait for a core, by core");
}

/// What is counted of the URIs of peers.
#[derive(Debug)]
pub(crate) struct LentMeter {
    pub(crate) lent: Gauge,
    pub(crate) taken: Counter,
    pub(crate) full: Counter,
}

impl LentMeter {
    pub(crate) fn new() -> Self {
        let refused = |reason: &'static str| counter!(NOT_LENT, "reason" => reason);
        Self { lent: gauge!(LENT), taken: refused("taken"), full: refused("full") }
    }
}

/// The counters of one listener, or of the connections we opened.
pub(crate) struct ListenerMeter {
    pub(crate) received_octets: Counter,
    pub(crate) transmitted_octets: Counter,
    pub(crate) connections: Gauge,
    /// Octets that wait to be written.
    pub(crate) queued: Gauge,
    /// Requests that came: SENDs, REPORTs, others.
    pub(crate) received: [Counter; 3],
    /// Requests that were written: REPORTs, and others, which are SENDs but for those a relay
    /// passes on.
    pub(crate) transmitted: [Counter; 2],
    pub(crate) accepted: Counter,
    /// By code, as [`REFUSAL_CODES`] has them, and those with another.
    pub(crate) refused: [Counter; REFUSAL_CODES.len()],
    pub(crate) refused_otherwise: Counter,
    pub(crate) unanswered: Counter,
}

impl ListenerMeter {
    /// `name` is the address of the listener, with what is spoken there.
    pub(crate) fn new(name: &str) -> Self {
        let name = name.to_owned();
        let requests = |direction: &'static str, method: &'static str| {
            let listener = name.clone();
            counter!(MESSAGES, "listener" => listener, "direction" => direction, "method" => method)
        };
        let responses =
            |code: String| counter!(RESPONSES, "listener" => name.clone(), "code" => code);
        Self {
            queued: gauge!(QUEUED, "listener" => name.clone()),
            received: ["send", "report", "other"].map(|method| requests("received", method)),
            transmitted: ["report", "send"].map(|method| requests("transmitted", method)),
            accepted: responses("200".to_owned()),
            refused: REFUSAL_CODES.map(|code| responses(code.to_string())),
            refused_otherwise: responses("other".to_owned()),
            unanswered: counter!(UNANSWERED, "listener" => name.clone()),
            received_octets: counter!(RECEIVED_OCTETS, "listener" => name.clone()),
            transmitted_octets: counter!(TRANSMITTED_OCTETS, "listener" => name.clone()),
            connections: gauge!(CONNECTIONS, "listener" => name),
        }
    }
}

/// Why the driver itself ends a connection, beside the reasons of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The peer finished, or the connection broke.
    ByPeer,
    /// The node said so.
    ByNode(CloseReason),
    /// No request came in time.
    Probation,
    /// A head took too long.
    SlowHead,
    /// A body, or a WebSocket message, gets on too slowly.
    SlowBody,
    /// The peer does not read.
    SlowReader,
    /// Nobody uses it.
    Idle,
    /// We end.
    Drained,
}

/// Every counter but those of listeners.
pub(crate) struct Meter {
    /// No room for another connection.
    pub(crate) refused_total: Alarm,
    /// No room for another connection from that source.
    pub(crate) refused_source: Alarm,
    /// A handshake failed or took too long.
    pub(crate) refused_handshake: Alarm,
    pub(crate) connected: Counter,
    pub(crate) unresolved: Counter,
    pub(crate) unreachable: Counter,
    pub(crate) untrusted: Counter,
    pub(crate) moved: Counter,
    /// A connection could not be handed over.
    pub(crate) moved_busy: Alarm,
    pub(crate) paused_sink: Counter,
    pub(crate) paused_rate: Alarm,
    pub(crate) paused_shared: Counter,
    pub(crate) shared_octets: Counter,
    pub(crate) events_lost: Counter,
    start_line: Alarm,
    head_too_long: Alarm,
    from_path: Alarm,
    body: Alarm,
    path: Alarm,
    not_ours: Alarm,
    credentials: Alarm,
    certificate: Alarm,
    slow_head: Alarm,
    slow_body: Alarm,
    slow_reader: Alarm,
    probation: Alarm,
}

impl Meter {
    pub(crate) fn new() -> Self {
        let refused = |reason, what| Alarm::new(counter!(REFUSED, "reason" => reason), what);
        let closed = |reason, what| Alarm::new(counter!(CLOSED, "reason" => reason), what);
        let connects = |result| counter!(CONNECTS, "result" => result);
        Self {
            refused_total: refused("total", "there are as many MSRP connections as allowed"),
            refused_source: refused("source", "a source has as many MSRP connections as allowed"),
            refused_handshake: refused("handshake", "a handshake under MSRP failed"),
            connected: connects("connected"),
            unresolved: connects("unresolved"),
            unreachable: connects("unreachable"),
            untrusted: connects("tls"),
            moved: counter!(MOVED, "result" => "moved"),
            moved_busy: Alarm::new(
                counter!(MOVED, "result" => "busy"),
                "a core has no room for a connection",
            ),
            paused_sink: counter!(PAUSED, "reason" => "sink"),
            paused_rate: Alarm::new(
                counter!(PAUSED, "reason" => "rate"),
                "an untrusted source sends too fast",
            ),
            paused_shared: counter!(PAUSED, "reason" => "shared"),
            shared_octets: counter!(SHARED),
            events_lost: counter!(LOST),
            start_line: closed("start_line", "what an MSRP peer sends begins with no start line"),
            head_too_long: closed("head_too_long", "an MSRP peer sends a head that is too long"),
            from_path: closed("from_path", "an MSRP peer sends a head without From-Path"),
            body: closed("body", "an MSRP peer sends a body where none so large may be"),
            path: closed("path", "an MSRP peer has a path that cannot be answered to"),
            not_ours: closed("not_ours", "an MSRP peer has something forwarded that is not ours"),
            credentials: closed("credentials", "an MSRP peer has wrong credentials"),
            certificate: closed("certificate", "an MSRP peer shows no certificate of its SDP"),
            slow_head: closed("slow_head", "a head took too long to arrive"),
            slow_body: closed("slow_body", "a body arrives too slowly"),
            slow_reader: closed("slow_reader", "a peer does not read"),
            probation: closed("probation", "a peer sent no request in time"),
        }
    }

    /// Counts the end of a connection with `who`.
    pub(crate) fn closed(&self, ended: Ended, who: std::net::IpAddr) {
        match ended {
            Ended::ByPeer => counter!(CLOSED, "reason" => "peer").increment(1),
            Ended::Drained => counter!(CLOSED, "reason" => "drained").increment(1),
            Ended::Idle | Ended::ByNode(CloseReason::Unused) => {
                counter!(CLOSED, "reason" => "unused").increment(1);
            }
            Ended::Probation | Ended::ByNode(CloseReason::Probation) => self.probation.raise(who),
            Ended::SlowHead => self.slow_head.raise(who),
            Ended::SlowBody => self.slow_body.raise(who),
            Ended::SlowReader | Ended::ByNode(CloseReason::Slow) => self.slow_reader.raise(who),
            Ended::ByNode(CloseReason::Framing(error)) => match error {
                FrameError::StartLine => self.start_line.raise(who),
                FrameError::HeadTooLong => self.head_too_long.raise(who),
                FrameError::FromPath => self.from_path.raise(who),
                FrameError::BodyTooLong => self.body.raise(who),
            },
            Ended::ByNode(CloseReason::Path) => self.path.raise(who),
            Ended::ByNode(CloseReason::NotOurs) => self.not_ours.raise(who),
            Ended::ByNode(CloseReason::Credentials) => self.credentials.raise(who),
            Ended::ByNode(CloseReason::Certificate) => self.certificate.raise(who),
        }
    }

    /// Sets how many letters wait for `core`.
    pub(crate) fn mailbox(&self, core: u8, letters: usize) {
        gauge!(MAILBOX, "core" => core.to_string()).set(letters as f64);
    }
}
