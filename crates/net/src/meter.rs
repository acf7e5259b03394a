//! What is counted, named and described in one place.
//!
//! The handles are taken from the recorder that is installed when [`crate::Net::bind`] runs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};
use parlance_sip::Transport;
use tokio::time::Instant;

const RECEIVED: &str = "parlance_sip_messages_received_total";
const RECEIVED_OCTETS: &str = "parlance_sip_octets_received_total";
const TRANSMITTED: &str = "parlance_sip_messages_transmitted_total";
const TRANSMITTED_OCTETS: &str = "parlance_sip_octets_transmitted_total";
const MALFORMED: &str = "parlance_sip_messages_malformed_total";
const DROPPED: &str = "parlance_sip_messages_dropped_total";
const FAILED: &str = "parlance_sip_transmit_failures_total";
const CONNECTIONS: &str = "parlance_sip_connections";
const REFUSED: &str = "parlance_sip_connections_refused_total";
const CLOSED: &str = "parlance_sip_connections_closed_total";

/// Tells the recorder what each metric means. To be called once, after it is installed.
pub fn describe_metrics() {
    crate::msrp::describe_metrics();
    let count = [
        (RECEIVED, "SIP messages received and framed, by transport"),
        (TRANSMITTED, "SIP messages written to the network, by transport"),
        (MALFORMED, "SIP messages received that break the grammar, by transport"),
        (DROPPED, "SIP messages received and not processed, by reason: queue_full, rate_limit"),
        (FAILED, "SIP messages that could not be sent, by transport"),
        (
            REFUSED,
            "Connections closed when accepted, by reason: total, source, rate_limit, handshake",
        ),
        (CLOSED, "Connections we closed, by reason: idle, slow_message, slow_reader, framing"),
    ];
    for (name, text) in count {
        describe_counter!(name, Unit::Count, text);
    }
    describe_counter!(RECEIVED_OCTETS, Unit::Bytes, "Octets of SIP received, by transport");
    describe_counter!(TRANSMITTED_OCTETS, Unit::Bytes, "Octets of SIP written, by transport");
    describe_gauge!(CONNECTIONS, Unit::Count, "Connections open or being opened, by transport");
}

/// The counters of one transport.
pub(crate) struct TransportMeter {
    pub(crate) received: Counter,
    pub(crate) received_octets: Counter,
    pub(crate) transmitted: Counter,
    pub(crate) transmitted_octets: Counter,
    pub(crate) malformed: Counter,
    pub(crate) failed: Counter,
    pub(crate) connections: Gauge,
}

impl TransportMeter {
    fn new(transport: Transport) -> Self {
        let name = match transport {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
        };
        Self {
            received: counter!(RECEIVED, "transport" => name),
            received_octets: counter!(RECEIVED_OCTETS, "transport" => name),
            transmitted: counter!(TRANSMITTED, "transport" => name),
            transmitted_octets: counter!(TRANSMITTED_OCTETS, "transport" => name),
            malformed: counter!(MALFORMED, "transport" => name),
            failed: counter!(FAILED, "transport" => name),
            connections: gauge!(CONNECTIONS, "transport" => name),
        }
    }

    /// Counts `messages` messages of together `octets` octets as written.
    pub(crate) fn count_transmitted(&self, messages: usize, octets: usize) {
        self.transmitted.increment(messages as u64);
        self.transmitted_octets.increment(octets as u64);
    }
}

/// Every counter of this crate.
pub(crate) struct Meter {
    udp: TransportMeter,
    tcp: TransportMeter,
    tls: TransportMeter,
    /// The queue of a shard was full.
    pub(crate) queue_full: Alarm,
    /// A source sent faster than it may.
    pub(crate) rate_limit: Alarm,
    /// No room for another connection.
    pub(crate) refused_total: Alarm,
    /// No room for another connection from that source.
    pub(crate) refused_source: Alarm,
    /// A source connected faster than it may.
    pub(crate) refused_rate: Alarm,
    /// A TLS handshake failed or took too long.
    pub(crate) refused_handshake: Alarm,
    /// A connection was idle for too long.
    pub(crate) closed_idle: Counter,
    /// A message took too long to arrive.
    pub(crate) closed_slow_message: Alarm,
    /// A peer did not read what we wrote.
    pub(crate) closed_slow_reader: Alarm,
    /// A stream could not be framed.
    pub(crate) closed_framing: Alarm,
}

impl Meter {
    pub(crate) fn new() -> Self {
        let alarm = Alarm::new;
        Self {
            udp: TransportMeter::new(Transport::Udp),
            tcp: TransportMeter::new(Transport::Tcp),
            tls: TransportMeter::new(Transport::Tls),
            queue_full: alarm(counter!(DROPPED, "reason" => "queue_full"), "a queue is full"),
            rate_limit: alarm(
                counter!(DROPPED, "reason" => "rate_limit"),
                "an untrusted source sends too fast",
            ),
            refused_total: alarm(
                counter!(REFUSED, "reason" => "total"),
                "there are as many connections as allowed",
            ),
            refused_source: alarm(
                counter!(REFUSED, "reason" => "source"),
                "one source has as many connections as allowed",
            ),
            refused_rate: alarm(
                counter!(REFUSED, "reason" => "rate_limit"),
                "an untrusted source connects too fast",
            ),
            refused_handshake: alarm(
                counter!(REFUSED, "reason" => "handshake"),
                "a TLS handshake failed",
            ),
            closed_idle: counter!(CLOSED, "reason" => "idle"),
            closed_slow_message: alarm(
                counter!(CLOSED, "reason" => "slow_message"),
                "a message took too long to arrive",
            ),
            closed_slow_reader: alarm(
                counter!(CLOSED, "reason" => "slow_reader"),
                "a peer does not read",
            ),
            closed_framing: alarm(
                counter!(CLOSED, "reason" => "framing"),
                "a stream cannot be framed",
            ),
        }
    }

    pub(crate) fn of(&self, transport: Transport) -> &TransportMeter {
        match transport {
            Transport::Udp => &self.udp,
            Transport::Tcp => &self.tcp,
            Transport::Tls => &self.tls,
        }
    }
}

/// How often one kind of trouble is logged; it is counted every time.
const ALARM_INTERVAL: Duration = Duration::from_secs(10);

/// A counter whose increments are also logged, but seldom: an attack must not fill the disk.
pub(crate) struct Alarm {
    counter: Counter,
    what: &'static str,
    epoch: Instant,
    /// When the next line may be logged, in milliseconds since `epoch`.
    next: AtomicU64,
}

impl Alarm {
    /// An alarm that counts with `counter` and says `what` in the log.
    pub(crate) fn new(counter: Counter, what: &'static str) -> Self {
        Self { counter, what, epoch: Instant::now(), next: 0.into() }
    }

    /// Counts one, and logs it with whom it concerns.
    pub(crate) fn raise(&self, who: std::net::IpAddr) {
        self.counter.increment(1);
        if self.may_log(self.epoch.elapsed()) {
            tracing::warn!(%who, "{}", self.what);
        }
    }

    fn may_log(&self, elapsed: Duration) -> bool {
        let elapsed = elapsed.as_millis() as u64;
        let next = self.next.load(Ordering::Relaxed);
        let later = elapsed + ALARM_INTERVAL.as_millis() as u64;
        elapsed >= next
            && self.next.compare_exchange(next, later, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_is_logged_once_in_an_interval() {
        let meter = Meter::new();
        let at = |seconds| meter.queue_full.may_log(Duration::from_secs(seconds));
        assert_eq!([0, 1, 9, 10, 11, 30].map(at), [true, false, false, true, false, true]);
    }
}
