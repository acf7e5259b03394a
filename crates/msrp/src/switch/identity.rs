//! URIs by which somebody is known.

use parlance_sip::uri::{Aor, AorError};
use smallvec::SmallVec;

/// Most URIs of one participant or room. Local limit: a SIP, a tel and an IM URI, and as many
/// again.
pub const URIS_MAX: usize = 8;

/// Longest spelling that is remembered. Local limit.
const SPELLING_OCTETS_MAX: usize = 256;

/// The URIs of a participant or a room, compared without parameters and headers.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    uris: SmallVec<[Aor; 1]>,
    /// The spelling that was right last: clients write the same every time.
    spelling: Vec<u8>,
}

/// Why there is no identity in what was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// There is no URI, or more than [`URIS_MAX`].
    #[error("no URI or too many")]
    Count,
    /// One is no public identity.
    #[error(transparent)]
    Uri(#[from] AorError),
}

impl Identity {
    /// Somebody known by `uris`, in order of preference.
    pub(super) fn new(uris: &[String]) -> Result<Self, IdentityError> {
        if uris.is_empty() || uris.len() > URIS_MAX {
            return Err(IdentityError::Count);
        }
        let spelling = uris.first().map(|uri| uri.as_bytes().to_vec()).unwrap_or_default();
        let uris = uris.iter().map(|uri| Aor::parse(uri)).collect::<Result<_, _>>()?;
        Ok(Self { uris, spelling })
    }

    /// Whether `uri`, as it stands in a message, is one of them.
    pub(super) fn is(&mut self, uri: &[u8]) -> bool {
        if self.spelling == uri {
            return true;
        }
        if !aor(uri).is_some_and(|aor| self.uris.contains(&aor)) {
            return false;
        }
        if uri.len() <= SPELLING_OCTETS_MAX {
            self.spelling.clear();
            self.spelling.extend_from_slice(uri);
        }
        true
    }

    /// All of them.
    pub(super) fn uris(&self) -> &[Aor] {
        &self.uris
    }
}

/// The identity that `uri` names.
pub(super) fn aor(uri: &[u8]) -> Option<Aor> {
    Aor::parse(std::str::from_utf8(uri).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Covers: MSRP-062
    #[test]
    fn compares_without_parameters_and_headers() {
        let uris = ["sip:room@chat.example.com".to_owned(), "tel:+1-201-555-0123".to_owned()];
        let mut room = Identity::new(&uris).unwrap();
        #[rustfmt::skip]
        let table = [
            ("sip:room@chat.example.com",               true),
            ("sip:room@chat.example.com;transport=tcp", true), // RFC 7701 §9.3
            ("sip:room@CHAT.example.com:5060?Subject=x", true),
            ("sips:room@chat.example.com",              true),
            ("sip:ro%6Fm@chat.example.com",             true),
            ("tel:+12015550123",                        true),
            ("tel:+1(201)5550123;ext=5",                true),
            ("sip:Room@chat.example.com",               false),
            ("sip:room@chat.example.org",               false),
            ("sip:chat.example.com",                    false),
            ("im:room@chat.example.com",                false),
            ("tel:+12015550124",                        false),
            ("",                                        false),
            ("room",                                    false),
        ];
        for (uri, same) in table {
            assert_eq!(room.is(uri.as_bytes()), same, "{uri}");
            assert_eq!(room.is(uri.as_bytes()), same, "{uri} again");
        }
        assert!(!room.is(b"sip:room@chat.example.com\xff"));
    }

    #[test]
    fn limits_hold() {
        let uri = || "sip:a@b".to_owned();
        assert_eq!(Identity::new(&[]).unwrap_err(), IdentityError::Count);
        assert!(Identity::new(&vec![uri(); URIS_MAX]).is_ok());
        assert_eq!(Identity::new(&vec![uri(); URIS_MAX + 1]).unwrap_err(), IdentityError::Count);
        assert!(matches!(Identity::new(&["http://a".to_owned()]), Err(IdentityError::Uri(_))));
        let mut one = Identity::new(&[uri()]).unwrap();
        let long = format!("sip:a@b;x={}", "y".repeat(SPELLING_OCTETS_MAX));
        assert!(one.is(long.as_bytes()));
        assert_eq!(one.spelling, b"sip:a@b");
    }
}
