//! What names a transaction on the wire (RFC 3261 §17.1.3, §17.2.3).

use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::quality::FixedState;

use crate::entropy::Entropy;
use crate::grammar::{find, is_token};
use crate::header::{From, To, Via};
use crate::message::{Request, StartLine};
use crate::uri::{Aor, Uri};
use crate::{HeaderName, ListenerId, Method};

/// Names a server transaction: branch, sent-by, method and socket, hashed with secret seeds.
///
/// 128 bits stand for the text: with a million transactions two meet by chance once in 10^26, and
/// without the seeds nobody can search for a pair.
pub(super) type Key = u128;

/// Makes keys.
#[derive(Debug)]
pub(super) struct Keys {
    high: FixedState,
    low: FixedState,
    /// For what leaves: it must not show what the keys are made with.
    shown: FixedState,
}

impl Keys {
    pub(super) fn new(entropy: &mut dyn Entropy) -> Self {
        let mut seeded = || FixedState::with_seed(entropy.next_u64());
        let (high, low) = (seeded(), seeded());
        let shown = FixedState::with_seed(low.hash_one("shown"));
        Self { high, low, shown }
    }

    /// What the tag in a stateless answer to `request` is made of: the same for a retransmission,
    /// and for the ACK (RFC 3261 §8.2.7, §17.1.1.3).
    pub(super) fn stateless(&self, request: &Request, at: ListenerId) -> u64 {
        let method = match request.method() {
            Method::Ack => Method::Invite,
            method => method,
        };
        let via = request.top_via();
        self.shown.hash_one(KeyText { request, method, at, via: via.as_ref() })
    }

    /// What the branch of a request that is sent on statelessly is made of: the same for a
    /// retransmission (RFC 3261 §16.11); `None` for one that came from nowhere.
    pub(super) fn passed(&self, request: &Request, at: ListenerId) -> Option<u64> {
        let (via, method) = (request.top_via()?, request.method());
        let text = KeyText { request, method, at, via: Some(&via) };
        Some(self.shown.hash_one(("passed", text)))
    }

    /// The key of the transaction that `request`, with this top `Via`, belongs to. ACK belongs to
    /// the INVITE's; for CANCEL ask twice, as [`Method::Cancel`] and as [`Method::Invite`]
    /// (RFC 3261 §9.2).
    ///
    /// The socket belongs to the key because one request may pass here twice, originating and
    /// terminating (CORE-062).
    pub(super) fn server(
        &self,
        request: &Request,
        via: Option<&Via<'_>>,
        method: Method<'_>,
        at: ListenerId,
    ) -> Key {
        let method = if method == Method::Ack { Method::Invite } else { method };
        let text = KeyText { request, method, at, via };
        let high = u128::from(self.high.hash_one(&text));
        high << 64 | u128::from(self.low.hash_one(&text))
    }
}

struct KeyText<'a> {
    request: &'a Request,
    method: Method<'a>,
    at: ListenerId,
    via: Option<&'a Via<'a>>,
}

impl Hash for KeyText<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.at.hash(state);
        self.method.hash(state);
        match self.via.and_then(|via| Some((via, via.unique_branch()?))) {
            Some((via, branch)) => {
                branch.as_bytes().hash(state);
                hash_lower(via.sent_by.host.as_str().as_bytes(), state);
                via.sent_by.port.hash(state);
            }
            None => self.hash_rfc2543(state),
        }
    }
}

impl KeyText<'_> {
    /// RFC 3261 §17.2.3, second list: Request-URI, From tag, Call-ID, CSeq number, top Via.
    ///
    /// The To tag is left out: it is ours in an ACK, and a request with another one is in another
    /// dialog, whose CSeq or From tag differs.
    fn hash_rfc2543<H: Hasher>(&self, state: &mut H) {
        self.request.uri_text().hash(state);
        let from = self.request.header::<From<'_>>().ok().flatten();
        from.and_then(|from| from.tag()).hash(state);
        self.request.call_id().hash(state);
        self.request.cseq().map(|cseq| cseq.number).hash(state);
        let via = self.request.values(HeaderName::Via).next().unwrap_or_default();
        crate::grammar::split_list(via).next().hash(state);
    }
}

fn hash_lower<H: Hasher>(text: &[u8], state: &mut H) {
    // An octet at a time would cost a round of the hash each.
    for chunk in text.chunks(32) {
        let mut lower = [0; 32];
        for (lower, octet) in lower.iter_mut().zip(chunk) {
            *lower = octet.to_ascii_lowercase();
        }
        state.write(&lower);
    }
}

/// The shard, of `shards`, that a message belongs to (one transaction, one shard).
///
/// A response goes where its branch says. A request inside a dialog goes where our tag in its `To`
/// says: the dialog lives there. What may belong to a session or subscription goes where its
/// Request-URI says ([`shard_of_uri`]): all that is addressed to one group or session meets there,
/// and CANCEL and the ACK for a failure have the URI of their INVITE. Every other request goes
/// where the branch of its top `Via` hashes, so that retransmissions follow it; one that came over
/// a reliable transport is not sent again, and any shard may take it.
///
/// The tag in an ACK may be that of another leg, whose failure was relayed: whoever finds nothing
/// to acknowledge gives it to the shard of its URI ([`shard_of_ack`]).
pub fn shard_of(message: &crate::Message, shards: usize) -> usize {
    shard_of_spread(message, shards, &[])
}

/// [`shard_of`], but what is addressed to one of the identities `spread` goes where the Call-ID
/// hashes as well: nothing meets at a conference factory, which begins a session with each call.
pub fn shard_of_spread(message: &crate::Message, shards: usize, spread: &[Aor]) -> usize {
    if shards <= 1 {
        return 0;
    }
    let branch = top_branch(message);
    let StartLine::Request { method, uri } = message.start_line() else {
        let shard = super::branch::shard(branch).map_or(0, usize::from);
        return if shard < shards { shard } else { 0 };
    };
    if let Some(shard) = dialog_shard(message).filter(|shard| *shard < shards) {
        return shard;
    }
    let meets = matches!(
        method,
        Method::Invite
            | Method::Ack
            | Method::Cancel
            | Method::Refer
            | Method::Subscribe
            | Method::Publish
    );
    let identity = || Uri::parse(uri).ok().and_then(|uri| Aor::from_uri(&uri));
    if meets && let Some(identity) = identity() {
        let hash = match spread.contains(&identity) {
            true => FixedState::with_seed(0).hash_one((identity.as_str(), message.call_id())),
            false => FixedState::with_seed(0).hash_one(identity.as_str()),
        };
        return bounded(hash, shards);
    }
    bounded(FixedState::with_seed(0).hash_one(branch), shards)
}

/// The shard, of `shards`, where all meets that is addressed to an identity; `None` for a URI that
/// is none.
pub fn shard_of_uri(uri: &Uri<'_>, shards: usize) -> Option<usize> {
    let identity = Aor::from_uri(uri)?;
    Some(bounded(FixedState::with_seed(0).hash_one(identity.as_str()), shards))
}

/// The shard of the INVITE whose failure an ACK acknowledges.
pub fn shard_of_ack(ack: &Request, shards: usize) -> Option<usize> {
    ack.uri().and_then(|uri| shard_of_uri(&uri, shards))
}

fn bounded(hash: u64, shards: usize) -> usize {
    let shards = u64::try_from(shards).unwrap_or(1).max(1);
    usize::try_from(hash % shards).unwrap_or(0)
}

/// The branch of the top `Via`; empty when there is none.
fn top_branch(message: &crate::Message) -> &str {
    let plain = message.field(HeaderName::Via).and_then(plain_branch);
    plain.unwrap_or_else(|| message.top_via().and_then(|via| via.branch()).unwrap_or_default())
}

/// The branch in a `Via` written as nearly all are, without white space and quotation marks before
/// it: every message passes here, and is spared the parser.
fn plain_branch(mut via: &[u8]) -> Option<&str> {
    loop {
        let (before, rest) = via.split_at_checked(find(b';', via)?)?;
        if before.iter().any(|octet| matches!(octet, b',' | b'"')) {
            return None;
        }
        via = rest.get(1..)?;
        if let Some(value) = via.strip_prefix(b"branch=") {
            let end = value.iter().position(|octet| !is_token(*octet)).unwrap_or(value.len());
            return str::from_utf8(value.get(..end)?).ok().filter(|branch| !branch.is_empty());
        }
    }
}

/// The shard that our tag in `To` names.
fn dialog_shard(message: &crate::Message) -> Option<usize> {
    let value = message.field(HeaderName::To)?;
    // Most requests open something, and their To ends with the URI: that spares them the parser.
    if value.ends_with(b">") {
        return None;
    }
    let to = message.header::<To<'_>>().ok().flatten()?;
    to.tag().and_then(super::tag::shard).map(usize::from)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::shard_of;
    use crate::Message;
    use crate::message::Limits;

    #[test]
    fn however_a_via_is_written_its_branch_tells() {
        let shard = |via: &str| {
            let text = format!("MESSAGE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP {via}\r\n\r\n");
            shard_of(&Message::parse_datagram(Bytes::from(text), &Limits::default()).unwrap(), 64)
        };
        for branch in ["z9hG4bKa", "z9hG4bKb.0", "z9hG4bKc", "1"] {
            let expected = shard(&format!("h;branch={branch}"));
            for via in [
                format!("h;rport;branch={branch};received=192.0.2.1, SIP/2.0/UDP i;branch=2"),
                format!("h ; BRANCH = {branch}"),
                format!("h;x=\";branch=other\";branch={branch}"),
            ] {
                assert_eq!(shard(&via), expected, "{via}");
            }
        }
        assert_eq!(shard("h, SIP/2.0/UDP i;branch=1"), shard("h, SIP/2.0/UDP i;branch=2"));
    }

    /// The shard of four for a request with this method, branch and To parameters.
    fn shard(method: &str, branch: &str, to: &str) -> usize {
        let bytes = Bytes::from(text(method, branch, to));
        shard_of(&Message::parse_datagram(bytes, &Limits::default()).unwrap(), 4)
    }

    fn text(method: &str, branch: &str, to: &str) -> String {
        format!(
            "{method} sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK{branch}\r\n\
             From: <sip:a@h>;tag=1\r\nTo: <sip:tagged@h>{to}\r\nCall-ID: c\r\n\
             CSeq: 1 {method}\r\n\r\n"
        )
    }

    fn spread(shards: impl Iterator<Item = usize>) -> usize {
        shards.collect::<std::collections::BTreeSet<_>>().len()
    }

    #[test]
    fn a_request_inside_a_dialog_goes_to_the_shard_of_our_tag() {
        let everywhere = spread((0..64).map(|n| shard("NOTIFY", &n.to_string(), "")));
        assert_eq!(everywhere, 4, "initial requests go everywhere");
        for branch in ["1", "2", "3", "4", "5", "6", "7", "8"] {
            let initial = shard("NOTIFY", branch, "");
            assert_eq!(shard("NOTIFY", branch, ";tag=s020123456789abcdef"), 2);
            assert_eq!(shard("BYE", branch, ";x=y; TAG=s030123456789abcdef"), 3);
            assert_eq!(shard("ACK", branch, ";tag=s030123456789abcdef"), 3);
            assert_eq!(shard("NOTIFY", branch, ";tag=s040123456789abcdef"), initial, "no such");
            assert_eq!(shard("NOTIFY", branch, ";tag=theirs"), initial);
            assert_eq!(shard("NOTIFY", branch, ";x=s020123456789abcdef"), initial);
        }
    }

    #[test]
    fn what_is_addressed_to_one_identity_meets_on_one_shard() {
        let met = shard("INVITE", "1", "");
        for method in ["INVITE", "ACK", "CANCEL", "REFER", "SUBSCRIBE", "PUBLISH"] {
            for branch in ["1", "2", "3", "4", "5"] {
                assert_eq!(shard(method, branch, ""), met, "{method}");
                assert_eq!(shard(method, branch, ";tag=theirs"), met, "{method}");
            }
        }
        let shard_of_text = |uri: String| {
            super::shard_of_uri(&crate::uri::Uri::parse(uri.as_bytes()).unwrap(), 4).unwrap()
        };
        let own: [crate::uri::Aor; 1] = ["sip:b@h".parse().unwrap()];
        let calls = (0..64).map(|call| {
            let text = text("INVITE", "1", "").replace("Call-ID: c", &format!("Call-ID: {call}"));
            let shard = |text: &str| {
                let bytes = Bytes::from(text.to_owned());
                let message = Message::parse_datagram(bytes, &Limits::default()).unwrap();
                super::shard_of_spread(&message, 4, &own)
            };
            assert_eq!(shard(&text.replace("INVITE", "CANCEL")), shard(&text));
            shard(&text)
        });
        assert_eq!(spread(calls), 4, "a factory is everywhere");
        assert_eq!(shard_of_text("sip:%62@H:5060;transport=tcp".to_owned()), met);
        assert_eq!(spread((0..64).map(|n| shard_of_text(format!("sip:g{n}@h")))), 4);
        assert_eq!(spread((0..64).map(|n| shard("MESSAGE", &n.to_string(), ""))), 4);
    }
}
