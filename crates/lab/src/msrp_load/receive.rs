//! What a run does with a frame that has arrived.

use super::engine::{Engine, index};
use super::frame::{Frame, Kind};
use super::link::Sessions;
use super::message::{BIND, message_of};
use super::session::Arrival;
use super::stamp::{Stamp, intact};

impl Engine {
    /// Takes one frame that came on connection `link`.
    #[inline]
    pub(super) fn handle(&mut self, link: u32, frame: &Frame<'_>) {
        match frame.kind {
            Kind::Send => self.send_arrived(link, frame),
            Kind::Response(code) => self.response_arrived(code, frame),
            Kind::Report => {
                let status = frame.header("Status").unwrap_or_default();
                let code = status.split(|octet| *octet == b' ').nth(1).unwrap_or_default();
                let code = std::str::from_utf8(code).unwrap_or_default().parse().unwrap_or(0);
                *self.measure.reports.entry(code).or_default() += 1;
            }
            Kind::Other => self.measure.wrong("unknown requests", 1),
        }
    }

    #[inline]
    fn response_arrived(&mut self, code: u16, frame: &Frame<'_>) {
        let Some((number, request)) = self.rules.run.request_of(frame.id) else {
            return self.measure.wrong("responses to nobody", 1);
        };
        let Some(session) = self.sessions.get_mut(index(number)) else {
            return self.measure.wrong("responses to nobody", 1);
        };
        if code != 200 {
            *self.measure.refused.entry(code).or_default() += 1;
        }
        if request == BIND {
            self.bound += usize::from(code == 200 && !session.bound);
            session.bound |= code == 200;
            return;
        }
        let sender = &mut session.sender;
        if request >= sender.requests || sender.answered >= sender.requests {
            return self.measure.wrong("responses to nobody", 1);
        }
        sender.answered += 1;
        self.measure.answered(self.now);
        if request.is_multiple_of(self.rules.sample)
            && let Some(sent) = sender.sent_at(request)
        {
            self.measure.time_answer(sent, self.now);
        }
        self.enqueue(number);
    }

    #[inline]
    fn send_arrived(&mut self, link: u32, frame: &Frame<'_>) {
        let Some(number) = self.session_of(link, frame) else {
            return self.measure.wrong("requests to nobody", 1);
        };
        let Some(session) = self.sessions.get_mut(index(number)) else { return };
        if !self.rules.quiet
            && let Some(answer) = session.answers.to(frame)
            && answer.wanted
            && let Some(link) = self.links.get_mut(index(link))
        {
            link.push(|out| answer.write(frame.id, out));
        }
        if self.rules.verify
            && let Some(what) = self.fault(number, frame)
        {
            self.measure.wrong(what, 1);
        }
        match frame.flag {
            b'$' => self.message_arrived(number, frame),
            b'#' => self.measure.wrong("messages broken off", 1),
            _ => {}
        }
    }

    /// The session that a SEND is for.
    #[inline]
    fn session_of(&self, link: u32, frame: &Frame<'_>) -> Option<u32> {
        match &self.links.get(index(link))?.sessions {
            Sessions::One(number) => Some(*number),
            Sessions::Many(by_uri) => {
                let path = frame.header("To-Path")?;
                by_uri.get(path.split(|octet| *octet == b' ').next()?).copied()
            }
        }
    }

    /// The last chunk of a message has come to session `number`.
    #[inline]
    fn message_arrived(&mut self, number: u32, frame: &Frame<'_>) {
        let Some(session) = self.sessions.get_mut(index(number)) else { return };
        let first = session.first;
        let stamp = Stamp::read(frame.inside);
        let (sender, sequence) = match stamp {
            Some(stamp) if stamp.group == session.author.group => (stamp.sender, stamp.sequence),
            Some(_) => return self.measure.wrong("messages of another group", 1),
            // A chunk may be shorter than a stamp.
            None => match frame.header("Message-ID").and_then(message_of) {
                Some((author, sequence)) if sequence != BIND => {
                    let at = author.checked_sub(first).and_then(|at| u16::try_from(at).ok());
                    (at.unwrap_or(u16::MAX), sequence)
                }
                Some(_) | None => {
                    self.measure.others += 1;
                    return;
                }
            },
        };
        let due =
            stamp.map(|stamp| stamp.due).filter(|_| sequence.is_multiple_of(self.rules.sample));
        // A server may cut a message into chunks; then its last one has not all that is summed.
        if due.is_some() && session.template.is_some() && starts_at(frame) == Some(1) {
            let size = usize::try_from(self.rules.run.size).unwrap_or(usize::MAX);
            if !intact(frame.inside, size) {
                self.measure.wrong("messages with a wrong sum", 1);
            }
        }
        let count = match session.arrived(sender, sequence) {
            Arrival::Next => 1,
            Arrival::Missing(missing) => {
                self.measure.wrong("messages missing", u64::from(missing));
                1 + missing
            }
            Arrival::Again => return self.measure.wrong("messages twice or out of order", 1),
            Arrival::Stranger => return self.measure.wrong("messages of strangers", 1),
        };
        self.measure.delivered(self.now, frame.length);
        if let Some(due) = due {
            self.measure.time_delivery(due, self.now);
        }
        let author = first + u32::from(sender);
        if let Some(author) = self.sessions.get_mut(index(author)) {
            author.sender.delivered(count);
        }
        self.enqueue(author);
    }

    /// What is wrong with a SEND to session `number`, when it is looked at closely.
    fn fault(&self, number: u32, frame: &Frame<'_>) -> Option<&'static str> {
        let session = self.sessions.get(index(number))?;
        if frame.header("To-Path") != Some(session.from_path.as_bytes()) {
            return Some("SENDs with another To-Path");
        }
        // Behind a relay the rest of the path is the author's, and the first is the relay's.
        let from = frame.header("From-Path")?;
        if !session.to_path.contains(' ') && from != session.to_path.as_bytes() {
            return Some("SENDs with another From-Path");
        }
        let body = frame.body()?;
        let (author, _) = frame.header("Message-ID").and_then(message_of)?;
        let Some(author) = self.sessions.get(index(author)) else {
            return Some("SENDs with another Message-ID");
        };
        let Some(offset) = starts_at(frame).and_then(|start| start.checked_sub(1)) else {
            return Some("SENDs with a wrong Byte-Range");
        };
        let holds = self.rules.run.holds(&author.author, offset, body);
        (!holds).then_some("SENDs with wrong octets")
    }
}

/// Which octet of its message a chunk begins with, counted from 1 (RFC 4975 §9.1); `None` when that
/// cannot be read.
fn starts_at(frame: &Frame<'_>) -> Option<u64> {
    let Some(range) = frame.header("Byte-Range") else { return Some(1) };
    std::str::from_utf8(range).ok()?.split('-').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::frame::{Scanner, Step};
    use super::starts_at;

    #[test]
    fn a_chunk_says_where_it_begins() {
        let table = [
            ("Byte-Range: 1-*/9\r\n", Some(1)),
            ("Byte-Range: 2049-2050/2050\r\n", Some(2049)),
            ("", Some(1)),
            ("Byte-Range: x-1/1\r\n", None),
        ];
        for (range, start) in table {
            let text = format!(
                "MSRP abcd1234 SEND\r\nTo-Path: msrp://a:1/b;tcp\r\nFrom-Path: msrp://c:2/d;tcp\r\n\
                 {range}Content-Type: text/plain\r\n\r\nx\r\n-------abcd1234$\r\n"
            );
            let Step::Frame(frame) = Scanner::new(true).next(text.as_bytes()) else {
                panic!("{text}");
            };
            assert_eq!(starts_at(&frame), start, "{range}");
        }
    }
}
