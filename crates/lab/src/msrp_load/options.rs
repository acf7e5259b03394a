//! What to play, how fast, and against whom.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use serde::Serialize;

use super::stamp::STAMP_OCTETS;

/// A message holds at least its stamp.
const TEXT_OCTETS_MIN: u64 = STAMP_OCTETS as u64;
/// Largest chunk, 1 MiB: local limit.
const CHUNK_OCTETS_MAX: u64 = 1 << 20;

/// An MSRP load run. The defaults are those of the command line.
#[derive(Clone, Debug, Parser)]
#[command(no_binary_name = true)]
pub struct Options {
    /// The sessions, as the server printed them: a JSON file, or `-` for standard input. See
    /// the module `msrp_load` for what it holds.
    #[arg(long, required_unless_present = "relay")]
    pub legs: Option<PathBuf>,
    /// Instead of `--legs`: a relay to be asked for URIs with AUTH (RFC 4976 §5), as an MSRP URI;
    /// its host must be an address.
    #[arg(long)]
    pub relay: Option<String>,
    /// Where that relay is connected to, when it is not the host and port of its URI.
    #[arg(long)]
    pub connect: Option<String>,
    /// User name for AUTH.
    #[arg(long, default_value = "load")]
    pub user: String,
    /// Password for AUTH.
    #[arg(long, default_value = "secret")]
    pub password: String,
    /// Pairs played; with `--legs` at most as many as it has, which is also the default.
    #[arg(long)]
    pub pairs: Option<usize>,
    /// Rooms played; at most as many as there are, which is also the default.
    #[arg(long)]
    pub rooms: Option<usize>,

    /// Of the participants of a room this many send, the others only receive; of a pair both, or
    /// with 1 only the first. Default all.
    #[arg(long)]
    pub senders: Option<usize>,
    /// Only members of so many groups send, and the others stay silent beside them. Default all.
    #[arg(long)]
    pub active: Option<usize>,
    /// Closed loop: messages each sender has on the way; one is on the way until all recipients
    /// have it and, with Failure-Report yes, it is answered.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub window: u32,
    /// Open loop instead: messages per second of all senders together on an absolute schedule;
    /// latency counts from the instant a message was due. 0 is off.
    #[arg(long, default_value_t = 0.0)]
    pub rate: f64,
    /// Octets of the text of a message, at least 40.
    #[arg(long, default_value_t = 300)]
    #[arg(value_parser = clap::value_parser!(u64).range(TEXT_OCTETS_MIN..))]
    pub size: u64,
    /// Octets of a chunk; a larger message is sent in several. At most 1 MiB.
    #[arg(long, default_value_t = CHUNK_OCTETS_MAX)]
    #[arg(value_parser = clap::value_parser!(u64).range(TEXT_OCTETS_MIN..=CHUNK_OCTETS_MAX))]
    pub chunk: u64,
    /// What senders ask for.
    #[arg(long, value_enum, default_value_t = FailureReport::Yes)]
    pub failure_report: FailureReport,
    /// Senders also ask for success reports, which are counted.
    #[arg(long)]
    pub success_report: bool,
    /// Recipients answer nothing, whatever a SEND asks for; senders still wait for answers.
    #[arg(long)]
    pub quiet: bool,
    /// Sessions carried by one connection.
    #[arg(long, default_value_t = 1)]
    pub share: usize,

    /// Seconds measured.
    #[arg(long, default_value_t = 10.0)]
    pub duration: f64,
    /// Seconds of load before the measurement begins.
    #[arg(long, default_value_t = 1.0)]
    pub warm_up: f64,
    /// Stop after this many messages of each sender instead of `--duration`, without warm-up; 0
    /// is off.
    #[arg(long, default_value_t = 0)]
    pub count: u32,
    /// Seconds to wait for what is on the way after the last message.
    #[arg(long, default_value_t = 5.0)]
    pub drain: f64,
    /// Seconds of silence after the load, before the last look at the server's memory.
    #[arg(long, default_value_t = 0.0)]
    pub idle: f64,

    /// Look at every octet: sums, chunks, ids, paths; every end-line is searched for. Slower.
    #[arg(long)]
    pub verify: bool,
    /// Of the messages of a sender every so many-th is timed and its sum checked.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    pub sample: u32,

    /// Process under test, with its descendants; may be given several times.
    #[arg(long)]
    pub pid: Vec<i32>,
    /// Pin this thread to one processor.
    #[arg(long)]
    pub pin: Option<usize>,
    /// Wake up at most once in this many microseconds; what arrives meanwhile waits, and its
    /// latency grows by up to as much. 0 wakes for every arrival, and in an open loop never
    /// sleeps, which needs a processor of its own.
    #[arg(long, default_value_t = 0)]
    pub tick: u32,
    /// Write the report to this file as JSON.
    #[arg(long)]
    pub json: Option<PathBuf>,
}

/// Value of Failure-Report (RFC 4975 §7.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureReport {
    /// Every SEND is answered.
    Yes,
    /// Only failures are.
    Partial,
    /// Nothing is.
    No,
}

impl Default for Options {
    /// What the command line gives, with sessions from standard input.
    fn default() -> Self {
        Self::parse_from(["--legs", "-"])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_refused_at_the_command_line() {
        assert_eq!(Options::default().window, 16);
        assert!(Options::try_parse_from::<_, &str>([]).is_err(), "nothing to play");
        for arguments in [["--size", "39"], ["--chunk", "2000000"], ["--window", "0"]] {
            let all = ["--legs", "x"].iter().chain(&arguments);
            assert!(Options::try_parse_from(all).is_err(), "{arguments:?}");
        }
    }
}
