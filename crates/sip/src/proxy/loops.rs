//! Loop detection, RFC 5393 §4: the second part of the branch in our own `Via`.
//!
//! The second part is a hash over all that decides where the request goes. When it comes back with
//! nothing of that changed it loops; otherwise it spirals, which is legal: over ISC a request does
//! visit the server twice, originating and terminating.

use sha2::{Digest, Sha256};

use crate::entropy::push_number;

/// All that decides where a request goes. The method is not among it: CANCEL and ACK have the
/// branch of their INVITE (RFC 5393 §4.2.1).
#[derive(Clone, Copy, Debug)]
pub struct LoopFacts<'a> {
    /// The Request-URI as received.
    pub request_uri: &'a str,
    /// The `Route` values as received, in order.
    pub routes: &'a [&'a str],
    /// The session case and served user, as decided, in any fixed form.
    pub session_case: &'a str,
    /// The tag in `From`.
    pub from_tag: &'a str,
    /// The tag in `To`; empty when there is none.
    pub to_tag: &'a str,
    /// `Call-ID`.
    pub call_id: &'a str,
    /// The number in `CSeq`.
    pub cseq: u32,
}

/// What stands between the two parts of a branch. Not in the first part, nor in the hash.
const SEPARATOR: char = '.';

/// Characters of the second part: 64 bits in base 32. At most 70 values are ever compared
/// (RFC 5393 §4.2.4), so none collide by chance.
const LEN: usize = 13;

/// What a request's own `Via` values say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visit {
    /// We have not forwarded it before, or not with a second part.
    First,
    /// We have, and something has changed since: go on.
    Spiral,
    /// We have, and nothing has changed since: 482 before it is forked.
    Loop,
}

/// The second part for a request.
pub fn second_part(facts: &LoopFacts<'_>) -> String {
    let mut hasher = Sha256::new();
    let cseq = facts.cseq.to_be_bytes();
    let LoopFacts { request_uri, session_case, from_tag, to_tag, call_id, .. } = facts;
    let texts = [*request_uri, session_case, from_tag, to_tag, call_id];
    let parts = texts.into_iter().chain(facts.routes.iter().copied()).map(str::as_bytes);
    for part in parts.chain([cseq.as_slice()]) {
        // The length before each part keeps what stands in one from moving into the next.
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let code = hasher.finalize();
    let number = code.iter().take(8).fold(0, |number, octet| number << 8 | u64::from(*octet));
    let mut text = String::with_capacity(LEN);
    push_number(&mut text, number);
    text
}

/// A branch of both parts. The first part must be unique for each branch.
pub fn join(first_part: &str, second_part: &str) -> String {
    format!("{first_part}{SEPARATOR}{second_part}")
}

/// The second part of a branch of ours; `None` when the request was not forked there.
fn second_of(branch: &str) -> Option<&str> {
    let (_, second) = branch.rsplit_once(SEPARATOR)?;
    (second.len() == LEN).then_some(second)
}

/// Compares the request with its earlier visits: the branches of the `Via` values whose sent-by is
/// ours, and only those.
pub fn visit<'a>(own_branches: impl IntoIterator<Item = &'a str>, second_part: &str) -> Visit {
    let mut visit = Visit::First;
    for earlier in own_branches.into_iter().filter_map(second_of) {
        if earlier == second_part {
            return Visit::Loop;
        }
        visit = Visit::Spiral;
    }
    visit
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::*;

    const FACTS: LoopFacts<'static> = LoopFacts {
        request_uri: "sip:bob@biloxi.com",
        routes: &["<sip:im-term@as;lr>", "<sip:iscmark@scscf;lr;s=2>"],
        session_case: "term sip:bob@biloxi.com",
        from_tag: "9fxced76sl",
        to_tag: "",
        call_id: "3848276298220188511@atlanta.com",
        cseq: 1,
    };

    // Covers: CORE-013
    #[test]
    fn the_same_request_again_is_a_loop() {
        let second = second_part(&FACTS);
        let branch = join("z9hG4bK-03dabc", &second);
        assert_eq!(visit([], &second), Visit::First);
        assert_eq!(visit(["z9hG4bK-03p00001a2bfedcba9876543210"], &second), Visit::First);
        assert_eq!(visit([branch.as_str()], &second_part(&FACTS)), Visit::Loop);
        let other = join("z9hG4bK-03dabd", "0123456789abc");
        assert_eq!(visit([other.as_str(), branch.as_str()], &second), Visit::Loop);
        assert_eq!(visit([other.as_str()], &second), Visit::Spiral);
    }

    // Covers: CORE-013, CORE-062
    #[test]
    fn a_change_of_anything_is_a_spiral() {
        let branch = join("z9hG4bK1", &second_part(&FACTS));
        let changed = [
            LoopFacts { request_uri: "sip:bob@192.0.2.4", ..FACTS },
            LoopFacts { routes: &["<sip:iscmark@scscf;lr;s=2>"], ..FACTS },
            LoopFacts { routes: &[], ..FACTS },
            LoopFacts { session_case: "orig sip:alice@atlanta.com", ..FACTS },
            LoopFacts { from_tag: "x", ..FACTS },
            LoopFacts { to_tag: "x", ..FACTS },
            LoopFacts { call_id: "x", ..FACTS },
            LoopFacts { cseq: 2, ..FACTS },
        ];
        for facts in changed {
            assert_eq!(visit([branch.as_str()], &second_part(&facts)), Visit::Spiral, "{facts:?}");
        }
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let one = LoopFacts { from_tag: "ab", to_tag: "c", ..FACTS };
        let other = LoopFacts { from_tag: "a", to_tag: "bc", ..FACTS };
        assert_ne!(second_part(&one), second_part(&other));
    }

    proptest! {
        #[test]
        fn branches_of_others_never_panic(branch: String) {
            prop_assert!(visit([branch.as_str()], &second_part(&FACTS)) != Visit::Loop);
        }
    }
}
