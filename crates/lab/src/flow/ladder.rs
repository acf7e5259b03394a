//! The ladder of a flow: who sent what to whom, as text.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use tokio::time::Instant;

use crate::core::Traced;
use crate::msrp_load::frame::{Frame, Kind, Scanner, Step};
use crate::network::Carried;
use crate::ue::Cpim;

/// Characters between two lines of the ladder.
const GAP: usize = 9;

/// Characters of a text that are shown.
const TEXT_MAX: usize = 60;

/// One message on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrow {
    /// The name of who sent it.
    pub from: String,
    /// The name of who got it.
    pub to: String,
    /// What it is.
    pub label: String,
}

#[derive(Clone, Debug)]
enum Row {
    Note(String),
    Arrow(Arrow),
}

/// The messages of a flow and what is told beside them. Its `Display` is the drawing.
#[derive(Clone, Debug)]
pub struct Ladder {
    columns: Vec<(String, IpAddr)>,
    start: Instant,
    rows: Vec<(Instant, u8, Row)>,
}

impl Ladder {
    /// An empty one of these columns; what was before `start` is left out.
    pub(super) fn new(columns: Vec<(String, IpAddr)>, start: Instant) -> Self {
        Self { columns, start, rows: Vec::new() }
    }

    /// The arrows, in order.
    pub fn arrows(&self) -> impl Iterator<Item = &Arrow> {
        self.rows.iter().filter_map(|(.., row)| match row {
            Row::Arrow(arrow) => Some(arrow),
            Row::Note(_) => None,
        })
    }

    /// Adds what the core saw. A 100 says nothing and is left out (RFC 3261 §17.2.1).
    pub(super) fn sip(&mut self, core: IpAddr, traced: &[Traced]) {
        for one in traced {
            let label = sip_label(&one.text());
            let ends = if one.sent { (core, one.peer.ip()) } else { (one.peer.ip(), core) };
            if let Some(label) = label {
                self.arrow(one.at, ends, label);
            }
        }
    }

    /// Adds what went over MSRP connections, message by message.
    pub(super) fn msrp(&mut self, carried: &[Carried]) {
        let mut streams: BTreeMap<(SocketAddr, SocketAddr), (Vec<u8>, Scanner)> = BTreeMap::new();
        for one in carried {
            let stream = streams.entry((one.from, one.to));
            let (buffer, scanner) = stream.or_insert_with(|| (Vec::new(), Scanner::new(true)));
            buffer.extend_from_slice(&one.octets);
            while let Step::Frame(frame) = scanner.next(buffer) {
                let (label, length) = (msrp_label(&frame), frame.length);
                self.arrow(one.at, (one.from.ip(), one.to.ip()), label);
                buffer.drain(..length);
            }
        }
    }

    /// Adds what is told.
    pub(super) fn note(&mut self, at: Instant, text: &str) {
        self.rows.push((at, 0, Row::Note(text.to_owned())));
    }

    /// Brings everything in the order in which it happened; at one moment, what is told first.
    pub(super) fn sort(&mut self) {
        self.rows.sort_by_key(|(at, rank, _)| (*at, *rank));
    }

    fn arrow(&mut self, at: Instant, (from, to): (IpAddr, IpAddr), label: String) {
        let name = |ip| self.columns.iter().find(|(_, known)| *known == ip);
        let (Some((from, _)), Some((to, _))) = (name(from), name(to)) else { return };
        if at < self.start {
            return;
        }
        let arrow = Arrow { from: from.clone(), to: to.clone(), label };
        self.rows.push((at, 1, Row::Arrow(arrow)));
    }

    fn place(&self, name: &str) -> usize {
        self.columns.iter().position(|(known, _)| known == name).unwrap_or(0)
    }

    fn line(&self, from: usize, to: usize) -> String {
        let (left, right) = (from.min(to) * (GAP + 1), from.max(to) * (GAP + 1));
        let width = (self.columns.len() - 1) * (GAP + 1) + 1;
        let drawn = (0..width).map(|at| match at {
            _ if at % (GAP + 1) == 0 && !(left..=right).contains(&at) => '|',
            _ if at == left || at == right => '|',
            _ if at + 1 == right && to > from => '>',
            _ if at == left + 1 && to < from => '<',
            _ if (left..right).contains(&at) => '-',
            _ => ' ',
        });
        drawn.collect()
    }
}

impl fmt::Display for Ladder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.columns.iter().map(|(name, _)| format!("{name:<width$}", width = GAP + 1));
        writeln!(f, "{:>8}  {}", "seconds", names.collect::<String>().trim_end())?;
        for (at, _, row) in &self.rows {
            let seconds = at.saturating_duration_since(self.start).as_secs_f64();
            match row {
                Row::Note(text) => writeln!(f, "\n{seconds:>8.3}  {text}")?,
                Row::Arrow(Arrow { from, to, label }) => {
                    let line = self.line(self.place(from), self.place(to));
                    writeln!(f, "{seconds:>8.3}  {line}  {label}")?;
                }
            }
        }
        Ok(())
    }
}

/// What a SIP message is, in a line; `None` for a 100.
fn sip_label(text: &str) -> Option<String> {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    let mut lines = head.split("\r\n");
    let start = lines.next().unwrap_or_default();
    let header = |wanted: &str| {
        head.split("\r\n").skip(1).find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim())
        })
    };
    let carried = header("Content-Type").map(|kind| content(kind, body)).unwrap_or_default();
    if let Some(rest) = start.strip_prefix("SIP/2.0 ") {
        let method =
            header("CSeq").and_then(|cseq| cseq.split(' ').next_back()).unwrap_or_default();
        return (!rest.starts_with("100")).then(|| format!("{rest} ({method}){carried}"));
    }
    let request = start.strip_suffix(" SIP/2.0").unwrap_or(start);
    let more = ["Refer-To", "Subscription-State"]
        .into_iter()
        .filter_map(|name| Some(format!(" {name}: {}", header(name)?)));
    Some(format!("{request}{}{carried}", more.collect::<String>()))
}

/// What a body is.
fn content(kind: &str, body: &str) -> String {
    let essence = kind.split(';').next().unwrap_or_default().trim();
    match essence {
        "text/plain" => format!(" \"{}\"", shown(body)),
        "application/sdp" => " [SDP]".to_owned(),
        "message/sipfrag" => format!(" [{}]", shown(body.lines().next().unwrap_or_default())),
        _ => format!(" [{essence}]"),
    }
}

/// What an MSRP message is, in a line.
fn msrp_label(frame: &Frame<'_>) -> String {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    let header = |name: &str| frame.header(name).map(text);
    let name = match frame.kind {
        Kind::Response(code) => return format!("MSRP {code}"),
        Kind::Report => {
            return format!("MSRP REPORT {}", header("Status").unwrap_or_default());
        }
        Kind::Send => "SEND".to_owned(),
        Kind::Other => match header("Use-Nickname") {
            Some(nickname) => return format!("MSRP NICKNAME {nickname}"),
            None => "other".to_owned(),
        },
    };
    let body = frame.body().map(text);
    let said = body.as_deref().and_then(Cpim::read);
    match (said, body) {
        (Some(cpim), _) if cpim.content_type.starts_with("text/") => {
            format!("MSRP {name} to {} \"{}\"", cpim.to, shown(&cpim.text))
        }
        (Some(cpim), _) => format!("MSRP {name} to {} [{}]", cpim.to, cpim.content_type),
        (None, Some(body)) => format!("MSRP {name} \"{}\"", shown(&body)),
        (None, None) => format!("MSRP {name} (empty)"),
    }
}

fn shown(text: &str) -> String {
    let line = text.replace(['\r', '\n'], " ");
    match line.char_indices().nth(TEXT_MAX) {
        Some((at, _)) => format!("{}...", line.get(..at).unwrap_or_default()),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_ladder_is_drawn_in_order() {
        let ip = |last: u8| IpAddr::from([10, 0, 0, last]);
        let columns = vec![("a".into(), ip(1)), ("core".into(), ip(2)), ("b".into(), ip(3))];
        let start = Instant::now();
        let mut ladder = Ladder::new(columns, start);
        let at = |millis| start + Duration::from_millis(millis);
        let traced = |millis, sent, peer, text: &str| Traced {
            at: at(millis),
            sent,
            peer: (ip(peer), 5060).into(),
            octets: Bytes::copy_from_slice(text.as_bytes()),
        };
        let message = "MESSAGE sip:b@x SIP/2.0\r\nContent-Type: text/plain\r\n\r\nhi\r\nyou";
        ladder.sip(
            ip(2),
            &[
                traced(7, false, 3, "SIP/2.0 200 OK\r\nCSeq: 1 MESSAGE\r\n\r\n"),
                traced(0, false, 1, message),
                traced(5, true, 3, message),
                traced(6, true, 1, "SIP/2.0 100 Trying\r\nCSeq: 1 MESSAGE\r\n\r\n"),
                traced(6, true, 9, message),
            ],
        );
        let frame = "MSRP a786hjs2 SEND\r\nTo-Path: x\r\nFrom-Path: y\r\nMessage-ID: 1\r\n\
                     Content-Type: message/cpim\r\n\r\nFrom: <a>\r\nTo: <b>\r\n\r\nContent-Type: \
                     text/plain\r\n\r\nhello\r\n-------a786hjs2$\r\n";
        let (one, two) = frame.split_at(30);
        let carried = |millis, octets: &str| Carried {
            at: at(millis),
            from: (ip(1), 9).into(),
            to: (ip(3), 9).into(),
            octets: Bytes::copy_from_slice(octets.as_bytes()),
        };
        ladder.msrp(&[carried(8, one), carried(9, two)]);
        ladder.note(at(0), "It begins.");
        ladder.sort();
        let expect = "\x20seconds  a         core      b

   0.000  It begins.
   0.000  |-------->|         |  MESSAGE sip:b@x \"hi  you\"
   0.005  |         |-------->|  MESSAGE sip:b@x \"hi  you\"
   0.007  |         |<--------|  200 OK (MESSAGE)
   0.009  |------------------>|  MSRP SEND to b \"hello\"
";
        assert_eq!(ladder.to_string(), expect);
        assert_eq!(ladder.arrows().count(), 4);
    }
}
