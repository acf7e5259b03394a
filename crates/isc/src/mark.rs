//! Recognises requests the server sent itself when they come back to it.
//!
//! What the server originates towards a user passes that user's own filter criteria and so comes
//! back. Its `Via` then stands below others; a branch signed here proves that it is one of ours,
//! which From or any header a client can write does not.
//!
//! The branch is `z9hG4bK-`, two hexadecimal digits of the shard, a letter for the origin, sixteen
//! digits of randomness, and sixteen of a signature over all of it, the Call-ID and the user in To.
//! Where the request was sent to a further target, a dot follows and the number of that try.
//! Those two cannot change on the way, so a recipient who copies our `Via` into a message of his
//! own gets nothing but a second copy of the message to himself.

use parlance_sip::grammar::{find, split_list};
use parlance_sip::header::{Header, To, Via};
use parlance_sip::uri::Aor;
use parlance_sip::{HeaderName, Message, Request};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const PREFIX: &str = "z9hG4bK-";
/// Octets of a whole branch: prefix, shard, letter, randomness, signature.
const BRANCH_LEN: usize = PREFIX.len() + 2 + 1 + 16 + 16;
/// SHA-256 works on blocks of 64 octets (RFC 6234 §4.2).
const BLOCK: usize = 64;
/// Most branches of one message whose signature is checked; local limit. A request meets us two or
/// three times at the most; a forger gets no more work out of us.
const CHECKED_MAX: usize = 8;

/// Which part of the server sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The deferred function: a stored message on its way to its recipient.
    Deferred,
    /// A notification of the server: stored messages, a notice, a disposition.
    Notification,
    /// The controlling function: an exploded copy, an invitation of a focus.
    Controlling,
}

impl Origin {
    const ALL: [Self; 3] = [Self::Deferred, Self::Notification, Self::Controlling];

    /// The letter in the branch. `p` is taken: it marks the branches the transaction layer makes.
    fn letter(self) -> u8 {
        match self {
            Self::Deferred => b'd',
            Self::Notification => b'n',
            Self::Controlling => b'c',
        }
    }
}

/// Signs branches, and recognises those it signed.
///
/// Every node of a server must have the same secret: a request may come back to another one.
#[derive(Clone)]
pub struct Marks {
    /// The states of SHA-256 after the inner and the outer padded key (RFC 2104 §2, §4).
    inner: Sha256,
    outer: Sha256,
}

impl std::fmt::Debug for Marks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Marks").finish_non_exhaustive()
    }
}

impl Marks {
    /// Takes the secret of the server, random and kept over restarts: what is under way when it
    /// changes is not recognised.
    pub fn new(secret: [u8; 32]) -> Self {
        let keyed = |pad: u8| {
            let mut block = [pad; BLOCK];
            block.iter_mut().zip(secret).for_each(|(octet, key)| *octet ^= key);
            Sha256::new_with_prefix(block)
        };
        Self { inner: keyed(0x36), outer: keyed(0x5c) }
    }

    /// The branch for `request`, which `shard` sends on behalf of `origin`. `random` makes it
    /// unique; Call-ID and To must stand in the request already.
    pub fn branch(&self, origin: Origin, shard: u8, random: u64, request: &Request) -> String {
        let mut branch = format!("{PREFIX}{shard:02x}{}{random:016x}", char::from(origin.letter()));
        let signature = self.signature(branch.as_bytes(), request);
        branch.push_str(&signature);
        branch
    }

    /// Who of this server sent `message`, if one of its `Via` branches is signed; the topmost
    /// counts. At most eight branches of our shape are checked.
    pub fn recognise(&self, message: &Message) -> Option<Origin> {
        let fields = message.values(HeaderName::Via).filter(|field| may_name_origin(field));
        let vias = fields.flat_map(split_list).filter_map(|via| Via::parse(via).ok());
        let branches = vias.filter_map(|via| via.branch());
        let candidates = branches.filter_map(|branch| Some((branch, origin(branch)?)));
        candidates
            .take(CHECKED_MAX)
            .find(|(branch, _)| self.is_signed(branch, message))
            .map(|(_, origin)| origin)
    }

    fn is_signed(&self, branch: &str, message: &Message) -> bool {
        let whole = branch.get(..BRANCH_LEN).and_then(|it| it.split_at_checked(BRANCH_LEN - 16));
        let Some((signed, signature)) = whole else { return false };
        let expected = self.signature(signed.as_bytes(), message);
        expected.as_bytes().ct_eq(signature.as_bytes()).into()
    }

    /// The first 64 bits of the HMAC of what must not change, in hexadecimal. Guessing one takes
    /// 2^63 requests, each of which the core would have to carry.
    fn signature(&self, branch: &[u8], message: &Message) -> String {
        let to = message.header::<To<'_>>().ok().flatten();
        let recipient = to.and_then(|to| Aor::from_uri(&to.uri()));
        let recipient = recipient.as_ref().map_or("", Aor::as_str);
        let mac = self.hmac(&[branch, b"\n", message.call_id(), b"\n", recipient.as_bytes()]);
        mac.iter().take(8).map(|octet| format!("{octet:02x}")).collect()
    }

    /// HMAC-SHA-256 (RFC 2104) over the parts one after the other.
    fn hmac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut inner = self.inner.clone();
        parts.iter().for_each(|part| inner.update(part));
        let mut outer = self.outer.clone();
        outer.update(inner.finalize());
        outer.finalize().into()
    }
}

/// Whether a `Via` field may hold a branch of our shape. Nearly none does: a look at the octets
/// spares the others the parser.
fn may_name_origin(mut field: &[u8]) -> bool {
    const DIGITS: usize = 16 + 16;
    let is_signed = |tail: &[u8]| {
        tail.get(..DIGITS).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    let letters = Origin::ALL.map(Origin::letter);
    while let Some(rest) = find(b'z', field).and_then(|at| field.get(at..)) {
        match rest.strip_prefix(PREFIX.as_bytes()) {
            Some([_, _, letter, tail @ ..]) if letters.contains(letter) && is_signed(tail) => {
                return true;
            }
            Some(_) | None => field = rest.get(1..).unwrap_or_default(),
        }
    }
    false
}

/// The origin a branch of our shape names, signed or not.
fn origin(branch: &str) -> Option<Origin> {
    let number = branch.get(BRANCH_LEN..)?;
    let is_number = |text: &str| text.bytes().all(|octet| octet.is_ascii_digit());
    if !number.is_empty() && !number.strip_prefix('.').is_some_and(is_number) {
        return None;
    }
    let rest = branch.strip_prefix(PREFIX)?;
    let letter = *rest.as_bytes().get(2)?;
    Origin::ALL.into_iter().find(|origin| origin.letter() == letter)
}

#[cfg(test)]
mod tests {
    use parlance_sip::Request;

    use super::{CHECKED_MAX, Marks, Origin};
    use crate::fixture::{capture, request};

    fn message(vias: &[&str], call_id: &str, to: &str) -> Request {
        let vias: String =
            vias.iter().map(|branch| format!("Via: SIP/2.0/UDP h;branch={branch}\r\n")).collect();
        request(&format!(
            "MESSAGE sip:carol@ims.test SIP/2.0\r\n{vias}To: {to}\r\nCall-ID: {call_id}\r\n\r\n"
        ))
    }

    // RFC 4231 §4.2 uses a key of 20 octets; a shorter key is the same key padded with zeros.
    #[test]
    fn hmac_agrees_with_rfc_4231() {
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let hex = |octets: [u8; 32]| octets.map(|octet| format!("{octet:02x}")).concat();
        let expected = "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7";
        assert_eq!(hex(Marks::new(key).hmac(&[b"Hi ", b"There"])), expected);
        // §4.3
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hex(Marks::new(key).hmac(&[b"what do ya want for nothing?"])), expected);
    }

    // Covers: CORE-064
    #[test]
    fn our_own_requests_are_recognised_wherever_our_via_stands() {
        let marks = Marks::new([7; 32]);
        let sent = message(&[], "c1@h", "<sip:carol@ims.test>");
        for origin in [Origin::Deferred, Origin::Notification, Origin::Controlling] {
            let branch = marks.branch(origin, 0x2a, 0xfeed, &sent);
            assert_eq!(branch.len(), 43);
            assert!(branch.starts_with("z9hG4bK-2a"), "{branch}");
            assert_eq!(parlance_sip::endpoint::shard_of_branch(&branch), Some(0x2a));
            let back =
                message(&["z9hG4bKa", "z9hG4bKb", &branch], "c1@h", "sip:carol@IMS.test;x=y");
            assert_eq!(marks.recognise(&back), Some(origin));
            let second = message(&[&format!("{branch}.1")], "c1@h", "sip:carol@ims.test");
            assert_eq!(marks.recognise(&second), Some(origin), "another target");
        }
    }

    // Covers: CORE-064
    #[test]
    fn what_others_made_up_is_not_recognised() {
        let marks = Marks::new([7; 32]);
        let sent = message(&[], "c1@h", "<sip:carol@ims.test>");
        let good = marks.branch(Origin::Deferred, 1, 5, &sent);
        let with = |branch: &str, call_id, to| marks.recognise(&message(&[branch], call_id, to));
        assert_eq!(with(&good, "c1@h", "<sip:carol@ims.test>"), Some(Origin::Deferred));
        // Copied into another call, or aimed at somebody else.
        assert_eq!(with(&good, "c2@h", "<sip:carol@ims.test>"), None);
        assert_eq!(with(&good, "c1@h", "<sip:bob@ims.test>"), None);
        // Another origin, another random part, another length, another secret.
        assert_eq!(with(&good.replacen('d', "n", 1), "c1@h", "<sip:carol@ims.test>"), None);
        assert_eq!(with(&good.replacen("05", "06", 1), "c1@h", "<sip:carol@ims.test>"), None);
        for other in [&good[..42], &format!("{good}1"), &format!("{good}.x")] {
            assert_eq!(with(other, "c1@h", "<sip:carol@ims.test>"), None, "{other}");
        }
        let other = Marks::new([8; 32]).branch(Origin::Deferred, 1, 5, &sent);
        assert_eq!(with(&other, "c1@h", "<sip:carol@ims.test>"), None);
        assert_eq!(marks.recognise(&capture("term_MESSAGE_AS_originated_retrigger")), None);
    }

    #[test]
    fn forgeries_cost_a_bounded_number_of_checks() {
        let marks = Marks::new([7; 32]);
        let sent = message(&[], "c1@h", "<sip:carol@ims.test>");
        let good = marks.branch(Origin::Deferred, 1, 5, &sent);
        let forged = good.replacen("05", "06", 1);
        let after = |count: usize| {
            let mut vias = vec![forged.as_str(); count];
            vias.push(&good);
            marks.recognise(&message(&vias, "c1@h", "<sip:carol@ims.test>"))
        };
        assert_eq!(after(CHECKED_MAX - 1), Some(Origin::Deferred));
        assert_eq!(after(CHECKED_MAX), None);
    }
}
