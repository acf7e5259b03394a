//! What goes back to who sent a request: responses, and reports of failures
//! (RFC 4976 §6.4.1, §6.4.3).
//!
//! | request                     | response             | time over       | sink gone       |
//! |-----------------------------|----------------------|-----------------|-----------------|
//! | SEND, Failure-Report yes    | not 200: REPORT it   | REPORT 408      | REPORT 481      |
//! | SEND, Failure-Report partial| not 200: REPORT it   | nothing         | REPORT 481      |
//! | SEND, Failure-Report no     | nothing              | nothing         | nothing         |
//! | REPORT                      | there is none        |                 |                 |
//! | any other                   | passed on            | nothing         | nothing         |

use smallvec::SmallVec;

use crate::header::ByteRange;
use crate::node::ConnectionId;
use crate::node::cx::Cx;
use crate::relay::Relay;
use crate::session::{SessionKey, Usage};
use crate::{CloseReason, Continuation, Head, Method, Path, TransactionId, write};

/// A request that was passed on, and what is needed when it is answered, or is not.
#[derive(Debug)]
pub(super) struct Forwarded {
    /// Where it came.
    pub(super) source: ConnectionId,
    /// Where it went.
    pub(super) sink: ConnectionId,
    pub(super) kind: Kind,
}

/// Which request it was.
#[derive(Debug)]
pub(super) enum Kind {
    /// A SEND, Failure-Report `yes` or `partial`.
    Send {
        /// Whether silence is a failure: `yes`.
        is_timed: bool,
        /// The Message-ID.
        message_id: SmallVec<[u8; 32]>,
        /// The octets it had.
        range: Passed,
        /// The number of the path of its sender, in a grant.
        path: u32,
    },
    /// Anything that is answered end to end.
    Other {
        /// The transaction identifier it came with.
        id: SmallVec<[u8; 32]>,
        /// Whether it is an AUTH with credentials.
        has_credentials: bool,
    },
}

/// Which octets of a message passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Passed {
    pub(super) start: u64,
    pub(super) octets: u64,
    pub(super) total: Option<u64>,
}

impl Passed {
    /// As the value of `Byte-Range`, the end counted from the octets (RFC 4975 §7.1.2).
    pub(super) fn write(self, out: &mut Vec<u8>) {
        let Self { start, octets, total } = self;
        // What was received can be counted: `start` was checked, and 2^64 octets do not come.
        let end = (start - 1).saturating_add(octets);
        write::byte_range(out, ByteRange { start, end: Some(end), total });
    }
}

impl Relay {
    /// A response came.
    pub(super) fn answered(
        &mut self,
        cx: &mut Cx,
        key: SessionKey,
        forwarded: Forwarded,
        head: &Head<'_>,
        code: u16,
    ) {
        match &forwarded.kind {
            Kind::Send { .. } if code == 200 => {}
            Kind::Send { .. } => self.report(cx, key, &forwarded, code),
            Kind::Other { id, has_credentials } => {
                self.pass_response(cx, key, &forwarded, id, head, code);
                let is_stale = || {
                    head.value("WWW-Authenticate")
                        .and_then(|value| parlance_sip::digest::Challenge::parse(value).ok())
                        .is_some_and(|challenge| challenge.stale)
                };
                if *has_credentials && code == 401 && !is_stale() {
                    self.failed_auth(cx, forwarded.source);
                }
            }
        }
    }

    /// No response comes any longer.
    pub(super) fn given_up(&mut self, cx: &mut Cx, key: SessionKey, forwarded: &Forwarded) {
        let is_gone = cx.connections.get(forwarded.sink).is_none();
        match forwarded.kind {
            Kind::Send { .. } if is_gone => self.report(cx, key, forwarded, 481),
            Kind::Send { is_timed: true, .. } => self.report(cx, key, forwarded, 408),
            Kind::Send { is_timed: false, .. } | Kind::Other { .. } => {}
        }
    }

    /// Tells the sender of a SEND that it failed.
    pub(super) fn report(
        &mut self,
        cx: &mut Cx,
        key: SessionKey,
        forwarded: &Forwarded,
        code: u16,
    ) {
        let Kind::Send { message_id, range, path, .. } = &forwarded.kind else { return };
        let Some(session) = cx.sessions.get(key) else { return };
        let (own, to) = match session.usage {
            // From the session that the sender knows, to its whole path.
            Usage::Pair(number) => {
                let Some(other) = self.other_key(number) else { return };
                let Some(side) = cx.sessions.get(other) else { return };
                let Some(peer) = side.peer() else { return };
                (side.own().as_bytes().to_vec(), peer.as_bytes().to_vec())
            }
            Usage::Grant(place) => {
                let Some(grant) = self.grants.get(place as usize) else { return };
                let Some(to) = grant.paths.get(*path) else { return };
                (session.own().as_bytes().to_vec(), to.to_vec())
            }
            Usage::Endpoint(_) | Usage::Leg(_) => return,
        };
        let (message_id, range) = (message_id.clone(), *range);
        // Who is gone need not be told.
        let _ = cx.send_on(forwarded.source, key, None, |out, id, _| {
            let out = out.tail();
            write::request(out, id, Method::Report, &to, &own);
            write::header(out, "Message-ID", &message_id);
            range.write(out);
            write::header(out, "Status", format!("000 {code:03}").as_bytes());
            write::end_line(out, id, Continuation::Last);
        });
        cx.count_report_on(forwarded.source);
    }

    /// Passes a response on, to who sent the request: its connection, and no other.
    fn pass_response(
        &mut self,
        cx: &mut Cx,
        key: SessionKey,
        forwarded: &Forwarded,
        id: &[u8],
        head: &Head<'_>,
        code: u16,
    ) {
        let Some(usage) = cx.sessions.get(key).map(|session| session.usage) else { return };
        let (to, from) = match usage {
            Usage::Pair(number) => {
                let other = self.other_key(number).and_then(|other| cx.sessions.get(other));
                let Some(side) = other else { return };
                let Some(peer) = side.peer() else { return };
                (peer.as_bytes().to_vec(), side.own().as_bytes().to_vec())
            }
            Usage::Grant(_) => {
                let Some((to, from)) = moved(cx, head) else { return };
                (to.as_bytes().to_vec(), from)
            }
            Usage::Endpoint(_) | Usage::Leg(_) => return,
        };
        let crate::Start::Response { comment, .. } = head.start else { return };
        let Some(out) = cx.outbound(forwarded.source) else { return };
        let out = out.tail();
        out.extend_from_slice(b"MSRP ");
        out.extend_from_slice(id);
        out.extend_from_slice(format!(" {code:03}").as_bytes());
        if !comment.is_empty() {
            out.push(b' ');
            out.extend_from_slice(comment);
        }
        for part in [b"\r\nTo-Path: ", &to[..], b"\r\nFrom-Path: ", &from, b"\r\n", head.rest] {
            out.extend_from_slice(part);
        }
        write::end_line(out, id, Continuation::Last);
    }

    /// One more AUTH of this connection failed; several close it, unless it is a relay's
    /// (RFC 4976 §6.3).
    pub(super) fn failed_auth(&mut self, cx: &mut Cx, connection: ConnectionId) {
        let Some(found) = cx.connections.get(connection) else { return };
        let is_relay = found
            .peer
            .as_ref()
            .is_some_and(|peer| peer.tls.as_ref().is_some_and(|tls| !tls.names.is_empty()));
        if is_relay {
            return;
        }
        let failures = self.failures.entry(connection).or_insert(0);
        *failures = failures.saturating_add(1);
        if *failures >= self.config.auth_failures_max {
            cx.close(connection, CloseReason::Credentials);
        }
    }
}

/// The paths of a response that is passed on: our URIs, of which there may be several when both
/// sides use this relay, go from the start of `To-Path` to that of `From-Path` (RFC 4976 §6.4.3).
/// `None` when it is not for us, or ends here.
fn moved<'a>(cx: &Cx, head: &Head<'a>) -> Option<(Path<'a>, Vec<u8>)> {
    let mut to = head.to_path;
    let mut own = Vec::new();
    while cx.sessions.find(to.first()).is_some() {
        own.push(to.first());
        to = to.rest()?;
    }
    if own.is_empty() {
        return None;
    }
    let mut from = Vec::new();
    for uri in own.into_iter().rev() {
        from.extend_from_slice(uri);
        from.push(b' ');
    }
    from.extend_from_slice(head.from_path.as_bytes());
    Some((to, from))
}

/// A transaction identifier to be given back.
pub(super) fn kept(id: &[u8]) -> SmallVec<[u8; 32]> {
    debug_assert!(id.len() <= TransactionId::OCTETS_MAX);
    SmallVec::from_slice(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_written_from_what_passed() {
        #[rustfmt::skip]
        let table = [
            ((1, 25, Some(25)),          "1-25/25"),
            ((26, 10, None),             "26-35/*"),
            ((1, 0, Some(0)),            "1-0/0"),
            ((u64::MAX, 9, Some(u64::MAX)), "18446744073709551615-18446744073709551615/18446744073709551615"),
        ];
        for ((start, octets, total), expect) in table {
            let mut out = Vec::new();
            Passed { start, octets, total }.write(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("Byte-Range: {expect}\r\n"));
        }
    }
}
