//! What names a transaction on the wire (RFC 3261 §17.1.3, §17.2.3).

use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::quality::FixedState;

use crate::entropy::Entropy;
use crate::header::From;
use crate::message::Request;
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
}

impl Keys {
    pub(super) fn new(entropy: &mut dyn Entropy) -> Self {
        let mut seeded = || FixedState::with_seed(entropy.next_u64());
        Self { high: seeded(), low: seeded() }
    }

    /// The key of the transaction `request` belongs to. ACK belongs to the INVITE's; for CANCEL
    /// ask twice, as [`Method::Cancel`] and as [`Method::Invite`] (RFC 3261 §9.2).
    ///
    /// The socket belongs to the key because one request may pass here twice, originating and
    /// terminating (CORE-062).
    pub(super) fn server(&self, request: &Request, method: Method<'_>, at: ListenerId) -> Key {
        let method = if method == Method::Ack { Method::Invite } else { method };
        let text = KeyText { request, method, at };
        let high = u128::from(self.high.hash_one(&text));
        high << 64 | u128::from(self.low.hash_one(&text))
    }
}

struct KeyText<'a> {
    request: &'a Request,
    method: Method<'a>,
    at: ListenerId,
}

impl Hash for KeyText<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.at.hash(state);
        self.method.hash(state);
        let via = self.request.top_via();
        match via.as_ref().and_then(|via| Some((via, via.unique_branch()?))) {
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
    for octet in text {
        state.write_u8(octet.to_ascii_lowercase());
    }
}

/// The shard, of `shards`, that a message belongs to (one transaction, one shard).
///
/// A response goes where its branch says; a request where branch and sent-by of its top `Via`
/// hash, so that retransmissions, ACK and CANCEL follow their request.
pub fn shard_of(message: &crate::Message, shards: usize) -> usize {
    let Some(via) = message.top_via() else { return 0 };
    let branch = via.branch().unwrap_or_default();
    if !message.is_request() {
        let shard = super::branch::shard(branch).map_or(0, usize::from);
        return if shard < shards { shard } else { 0 };
    }
    let mut state = FixedState::with_seed(0).build_hasher();
    branch.hash(&mut state);
    hash_lower(via.sent_by.host.as_str().as_bytes(), &mut state);
    let shards = u64::try_from(shards).unwrap_or(1).max(1);
    usize::try_from(state.finish() % shards).unwrap_or(0)
}
