//! What the others know somebody by who does not want to be known (CF-041).

use std::collections::HashMap;

use parlance_sip::uri::Aor;

/// The pseudonyms of one session. A user keeps his for the life of the session.
#[derive(Debug, Default)]
pub(super) struct Pseudonyms {
    numbers: HashMap<Aor, u32>,
}

impl Pseudonyms {
    /// The number of a user: 1 for the first who needs one, then 2.
    pub(super) fn of(&mut self, address: &Aor) -> u32 {
        let next = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX).saturating_add(1);
        *self.numbers.entry(address.clone()).or_insert(next)
    }
}

/// The URI of a pseudonym (RFC 4575 §5.6: an anonymous user has a unique URI in the conference).
pub(super) fn uri(number: u32) -> String {
    format!("sip:anonymous{number}@anonymous.invalid")
}

/// What is shown for it.
pub(super) fn display_text(number: u32) -> String {
    format!("Anonymous{number}")
}

/// The number in a pseudonym's URI.
pub(super) fn number(uri: &Aor) -> Option<u32> {
    if uri.domain() != Some("anonymous.invalid") {
        return None;
    }
    uri.user()?.strip_prefix("anonymous")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Pseudonyms, display_text, number, uri};

    // Covers: CF-041, CF-077
    #[test]
    fn a_pseudonym_is_kept_and_says_nothing() {
        let mut all = Pseudonyms::default();
        let (alice, bob) =
            ("sip:alice@ims.test".parse().unwrap(), "tel:+15550001".parse().unwrap());
        assert_eq!([all.of(&alice), all.of(&bob), all.of(&alice)], [1, 2, 1]);
        assert_eq!(uri(2), "sip:anonymous2@anonymous.invalid");
        assert_eq!(display_text(2), "Anonymous2");
        assert_eq!(number(&uri(2).parse().unwrap()), Some(2));
        for other in ["sip:anonymous2@ims.test", "sip:anonymous@anonymous.invalid"] {
            assert_eq!(number(&other.parse().unwrap()), None);
        }
    }
}
