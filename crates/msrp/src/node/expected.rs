//! The response that comes next, known before it is read.
//!
//! Nearly every response is a 200 to the oldest request of its connection, and has the same octets
//! every time but for the transaction identifier (RFC 4975 §7.2). What comes is compared with that
//! first; whatever differs in an octet is read as any other message is.

use crate::header::FailureReport;
use crate::node::ConnectionId;
use crate::node::receive::Roles;
use crate::session::{Session, Usage};
use crate::transaction_id::Words;
use crate::{Head, Path, Start, TransactionId};

/// Where the transaction identifier begins.
const ID_AT: usize = b"MSRP ".len();

/// A 200 as it is usually written.
struct Usual<'a> {
    id: &'a [u8],
    to_path: &'a [u8],
    from_path: &'a [u8],
    /// Its head, without the end-line.
    raw: &'a [u8],
    /// What comes after it.
    after: &'a [u8],
}

impl Roles {
    /// Takes the 200 to the oldest request of connection `id`, when `octets` begin with it; how
    /// many octets it has. Those to copies of a switch, which nobody hears of, are all taken at
    /// once.
    #[inline]
    pub(super) fn expected(&mut self, id: ConnectionId, octets: &[u8]) -> Option<usize> {
        let found = self.cx.connections.get_mut(id)?;
        let mut rest = octets;
        let mut before: Option<(TransactionId, Words)> = None;
        while let Some((key, transaction)) = found.pending.oldest(self.cx.core)
            && let Some(session) = self.cx.sessions.get(key)
            && let words = words(transaction, before)
            && let Some(usual) = response(rest, words, session)
        {
            before = Some((transaction, words));
            rest = usual.after;
            if matches!(session.usage, Usage::Leg(_)) {
                found.pending.oldest_answered();
            } else {
                let waiting = found.pending.oldest_answered()?;
                self.answered(waiting, &usual.head(), 200);
                break;
            }
        }
        (rest.len() < octets.len()).then(|| octets.len() - rest.len())
    }
}

impl<'a> Usual<'a> {
    fn head(&self) -> Head<'a> {
        Head {
            start: Start::Response { id: self.id, code: 200, comment: b"OK" },
            to_path: Path::of(self.to_path),
            from_path: Path::of(self.from_path),
            message_id: None,
            byte_range: None,
            success_report: false,
            failure_report: FailureReport::Yes,
            content_type: None,
            status: None,
            rest: b"",
            raw: self.raw,
            has_body: false,
        }
    }
}

/// The octets of an identifier. That of the request before is like it when they were written in a
/// row.
#[inline]
fn words(of: TransactionId, before: Option<(TransactionId, Words)>) -> Words {
    match before {
        Some((before, mut words))
            if before.random == of.random && of.sequence == before.sequence + 1 =>
        {
            of.next_number(&mut words);
            words
        }
        _ => of.words(),
    }
}

/// The 200 of the peer of `session` to request `id`, if `octets` begin with all of it.
#[inline]
fn response<'a>(octets: &'a [u8], id: Words, session: &Session) -> Option<Usual<'a>> {
    let after = id.strip(octets.get(ID_AT..)?)?;
    let after = after.strip_prefix(b" 200 OK\r\nTo-Path: ")?;
    let (to_path, after) = strip(after, session.own().as_bytes())?;
    let after = after.strip_prefix(b"\r\nFrom-Path: ")?;
    let (from_path, after) = strip(after, session.first_peer()?)?;
    let end = after.strip_prefix(b"\r\n")?;
    let after = id.strip(end.strip_prefix(b"-------")?)?.strip_prefix(b"$\r\n")?;
    let id = octets.strip_prefix(b"MSRP ")?.get(..TransactionId::OCTETS)?;
    let raw = octets.get(..octets.len() - end.len())?;
    Some(Usual { id, to_path, from_path, raw, after })
}

/// `octets` in two, when they begin with `known`.
#[inline]
fn strip<'a>(octets: &'a [u8], known: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    octets.split_at_checked(known.len()).filter(|(start, _)| *start == known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{FromRule, Sessions, Usage};
    use crate::{MsrpUri, write};

    const OWN: &str = "msrp://a.example:7/own;tcp";
    const HOP: &str = "msrp://r.example:9/hop;tcp";

    // Covers: MSRP-006
    #[test]
    fn only_the_whole_response_as_it_is_usually_written_is_expected() {
        let transaction = TransactionId::new(0, 1, 2);
        let id = transaction.octets();
        for peer in [HOP.to_owned(), format!("{HOP} msrp://b.example:7/peer;tcp")] {
            let mut sessions = Sessions::new(0, 7);
            let key = sessions.open_as(OWN.parse::<MsrpUri>().unwrap(), Usage::Endpoint(0));
            let session = |sessions: &Sessions, octets: &[u8]| {
                let found = response(octets, transaction.words(), sessions.get(key).unwrap());
                found.map(|usual| (usual.raw.to_vec(), octets.len() - usual.after.len()))
            };
            let mut usual = Vec::new();
            write::response(&mut usual, &id, 200, OWN.as_bytes(), HOP.as_bytes(), b"");
            assert_eq!(session(&sessions, &usual), None, "the peer is not known");
            sessions.set_peer(key, Path::new(peer.as_bytes()), FromRule::Whole);
            let raw = usual[..usual.len() - 38].to_vec();
            let expected = Some((raw, usual.len()));
            assert_eq!(session(&sessions, &usual), expected);
            assert_eq!(session(&sessions, &[&usual[..], b"MSRP"].concat()), expected);
            for at in 0..usual.len() {
                assert_eq!(session(&sessions, &usual[..at]), None, "cut at {at}");
                let mut other = usual.clone();
                other[at] ^= 1;
                assert_eq!(session(&sessions, &other), None, "another octet at {at}");
            }
        }
    }

    /// What is expected is what the framer reads.
    #[test]
    fn the_head_is_the_one_that_is_read() {
        let transaction = TransactionId::new(0, 1, 2);
        let id = transaction.octets();
        let mut sessions = Sessions::new(0, 7);
        let key = sessions.open_as(OWN.parse::<MsrpUri>().unwrap(), Usage::Endpoint(0));
        sessions.set_peer(key, Path::new(HOP.as_bytes()), FromRule::Whole);
        let mut usual = Vec::new();
        write::response(&mut usual, &id, 200, OWN.as_bytes(), HOP.as_bytes(), b"");
        let expected = response(&usual, transaction.words(), sessions.get(key).unwrap()).unwrap();
        let (head, taken) = (expected.head(), usual.len() - expected.after.len());
        let (mut framer, mut at) = (crate::Framer::new(crate::Limits::default()), 0);
        let piece = framer.next(&usual, &mut at);
        let end = Some(crate::Continuation::Last);
        assert_eq!(piece, Some(crate::Piece::Head { head, body: b"", end }));
        assert_eq!(at, taken);
    }
}
