//! What to play, how fast, and against whom.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use serde::Serialize;

use super::template::USERS_MAX;

/// A load run. The defaults are those of the command line.
#[derive(Clone, Debug, Parser)]
#[command(no_binary_name = true)]
pub struct Options {
    /// What is played.
    #[arg(long, value_enum, default_value_t = Scenario::RelayIscOrig)]
    pub scenario: Scenario,
    /// Transport of both sides.
    #[arg(long, value_enum, default_value_t = Transport::Udp)]
    pub transport: Transport,

    /// Originating address of the server under test.
    #[arg(long, default_value = "127.0.0.20:5080")]
    pub orig: SocketAddr,
    /// Terminating address of the server under test.
    #[arg(long, default_value = "127.0.0.20:5081")]
    pub term: SocketAddr,
    /// Where third-party REGISTERs go.
    #[arg(long, default_value = "127.0.0.20:5082")]
    pub registrar: SocketAddr,
    /// The SIP proxy of the scenario `relay-registrar`.
    #[arg(long, default_value = "127.0.0.1:5060")]
    pub proxy: SocketAddr,
    /// Our address; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub local: SocketAddr,
    /// Connections opened to each address of the server, TCP only; 1 to 16.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub connections: u8,
    /// Domain of the users.
    #[arg(long, default_value = "ims.test")]
    pub domain: String,

    /// Open loop: messages per second on an absolute schedule; latency counts from the instant
    /// a message was due, not from when it was sent. Also where a search begins.
    #[arg(long, default_value_t = 1000.0)]
    pub rate: f64,
    /// Closed loop with this many transactions in flight, instead of `--rate`; 0 is off.
    #[arg(long, default_value_t = 0)]
    pub closed: u32,
    /// Search the highest clean rate: no retransmission needed or seen, nothing lost, every
    /// answer the expected one, p99 below 50 ms.
    #[arg(long)]
    pub find_rate: bool,
    /// A search never goes above this rate, per second.
    #[arg(long, default_value_t = 500_000.0)]
    pub rate_max: f64,
    /// Seconds of each step of a search.
    #[arg(long, default_value_t = 5.0)]
    pub trial: f64,
    /// A search stops when the lowest unclean rate is at most this many per cent above the
    /// highest clean one.
    #[arg(long, default_value_t = 4.0)]
    pub precision: f64,

    /// Seconds measured.
    #[arg(long, default_value_t = 10.0)]
    pub duration: f64,
    /// Seconds of load before the measurement begins.
    #[arg(long, default_value_t = 1.0)]
    pub warm_up: f64,
    /// Stop after this many transactions instead of `--duration`, without warm-up; 0 is off.
    /// The scenario `register` always plays one per user.
    #[arg(long, default_value_t = 0)]
    pub count: u64,
    /// Seconds to wait for answers after the last request.
    #[arg(long, default_value_t = 2.0)]
    pub drain: f64,

    /// Users, numbered from 0: `sip:user0000000@DOMAIN` and on.
    #[arg(long, default_value_t = 1000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(USERS_MAX)))]
    pub users: u32,
    /// Octets of the body of a MESSAGE; at most 4096.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(0..=4096))]
    pub size: u16,
    /// Seconds for which users are registered; 0 de-registers them.
    #[arg(long, default_value_t = 3600)]
    pub expires: u32,
    /// Register every user before the load; `relay-registrar` always does.
    #[arg(long)]
    pub register_first: bool,
    /// Which users meet: the same seed gives the same order of pairs.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Retransmit with the timers of RFC 3261 §17.1.2.2. Without it a transaction unanswered
    /// after T1 is counted late and never sent again.
    #[arg(long)]
    pub retransmit: bool,
    /// Places in the table of outstanding transactions, rounded up to a power of two.
    #[arg(long, default_value_t = 65_536)]
    #[arg(value_parser = clap::value_parser!(u32).range(64..=8_388_608))]
    pub outstanding: u32,

    /// Process under test, with its descendants; may be given several times.
    #[arg(long)]
    pub pid: Vec<i32>,
    /// Process group under test.
    #[arg(long)]
    pub pgid: Option<i32>,
    /// Pin this thread to one processor.
    #[arg(long)]
    pub pin: Option<usize>,
    /// Wake up at most once in this many microseconds; what arrives meanwhile waits and its
    /// latency grows by up to as much. 0 wakes for every arrival, which costs the processor time
    /// that a server on the same machine may need. Open loop only.
    #[arg(long, default_value_t = 500)]
    pub tick: u32,
    /// Play against a trivial peer inside this process: what the generator itself can do.
    #[arg(long)]
    pub echo: bool,
    /// Write the report to this file as JSON.
    #[arg(long)]
    pub json: Option<PathBuf>,
}

/// What is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// Originating MESSAGEs over ISC, forwarded to us, answered 200.
    RelayIscOrig,
    /// Terminating MESSAGEs over ISC, forwarded to us, answered 200.
    RelayIscTerm,
    /// Originating and then terminating passage of one MESSAGE, the S-CSCF between them played.
    Full,
    /// Register the users with a plain SIP registrar, then MESSAGEs through it.
    RelayRegistrar,
    /// Terminating MESSAGEs to users who are not registered; 202 is expected.
    Defer,
    /// Third-party REGISTERs, one per user.
    Register,
}

/// Transport of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// Datagrams, many per system call.
    Udp,
    /// Streams framed by Content-Length (RFC 3261 §18.3).
    Tcp,
}

impl Default for Options {
    /// What the command line gives without arguments, except a free port of the loopback.
    fn default() -> Self {
        let mut options = Self::parse_from(std::iter::empty::<&str>());
        options.local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        options
    }
}

impl Options {
    /// `--warm-up`; a run that stops after a count has none.
    pub(crate) fn warm_up(&self) -> Duration {
        seconds(self.warm_up)
    }

    /// `--drain`, and with retransmission never less than Timer F (RFC 3261 §17.1.2.2).
    pub(crate) fn drain(&self) -> Duration {
        let drain = seconds(self.drain);
        if self.retransmit { drain.max(super::pending::TIMER_F) } else { drain }
    }
}

/// Seconds as a duration; what is negative, not a number or beyond 100 days becomes a limit.
pub(crate) fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value.clamp(0.0, 8_640_000.0)).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_parse() {
        let options = Options::default();
        assert_eq!(options.scenario, Scenario::RelayIscOrig);
        assert_eq!(options.outstanding, 65_536);
        assert!(!options.find_rate);
    }

    #[test]
    fn several_processes_may_be_named() {
        let options =
            Options::try_parse_from(["--pid", "7", "--pid", "9", "--scenario", "full"]).unwrap();
        assert_eq!((options.pid, options.scenario), (vec![7, 9], Scenario::Full));
    }

    #[test]
    fn limits_are_refused_at_the_command_line() {
        for arguments in [["--users", "0"], ["--users", "10000001"], ["--connections", "17"]] {
            assert!(Options::try_parse_from(arguments).is_err(), "{arguments:?}");
        }
    }

    #[test]
    fn odd_seconds_are_clamped() {
        assert_eq!(seconds(-1.0), Duration::ZERO);
        assert_eq!(seconds(f64::NAN), Duration::ZERO);
        assert_eq!(seconds(0.25), Duration::from_millis(250));
    }
}
