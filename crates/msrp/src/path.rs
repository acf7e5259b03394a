//! `To-Path` and `From-Path` values (RFC 4975 §9), as octets.

/// The URIs of a `To-Path`, `From-Path` or `Use-Path`, leftmost first; never empty when it comes
/// from a head.
///
/// Only the separation by spaces is checked: the URIs are read by [`UriRef`](crate::UriRef) where
/// that is needed, and compared octet by octet first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Path<'a>(&'a [u8]);

impl<'a> Path<'a> {
    /// The path that `value` is, without white space around it.
    pub fn new(value: &'a [u8]) -> Self {
        Self(value.trim_ascii())
    }

    /// The path that `value` is, which has no white space around it.
    pub(crate) fn of(value: &'a [u8]) -> Self {
        Self(value)
    }

    /// The value as it stands.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Whether there is no URI.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The leftmost URI: the next hop of a `To-Path`, the previous one of a `From-Path`.
    pub fn first(self) -> &'a [u8] {
        let end = memchr::memchr(b' ', self.0).unwrap_or(self.0.len());
        self.0.get(..end).unwrap_or_default()
    }

    /// What follows the leftmost URI: the `To-Path` that a relay writes; `None` when it is the only
    /// one.
    pub fn rest(self) -> Option<Self> {
        let at = memchr::memchr(b' ', self.0)?;
        let rest = self.0.get(at..).unwrap_or_default().trim_ascii_start();
        (!rest.is_empty()).then_some(Self(rest))
    }

    /// The rightmost URI: the endpoint.
    pub fn last(self) -> &'a [u8] {
        let start = memchr::memrchr(b' ', self.0).map_or(0, |at| at + 1);
        self.0.get(start..).unwrap_or_default()
    }

    /// Whether there is exactly one URI, as an endpoint asks of a `To-Path` (RFC 4975 §7.3).
    pub fn is_single(self) -> bool {
        !self.0.is_empty() && memchr::memchr(b' ', self.0).is_none()
    }

    /// The URIs, leftmost first.
    pub fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        self.0.split(|octet| *octet == b' ').filter(|uri| !uri.is_empty())
    }
}

/// The session-id of the URI in `uri`, found without reading the rest of it; `None` when it has
/// none. Meant for a first look-up, which then compares the whole URI.
pub fn session_id(uri: &[u8]) -> Option<&[u8]> {
    let authority = uri.get(memchr::memmem::find(uri, b"://")? + 3..)?;
    let rest = authority.get(memchr::memchr(b'/', authority)? + 1..)?;
    let end = memchr::memchr(b';', rest).unwrap_or(rest.len());
    rest.get(..end).filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn takes_paths_apart() {
        let path = Path::new(b" msrps://a;tcp  msrps://b/x;tcp msrp://c/y;tcp ");
        assert_eq!(path.first(), b"msrps://a;tcp");
        assert_eq!(path.last(), b"msrp://c/y;tcp");
        assert_eq!(path.rest().map(Path::first), Some(&b"msrps://b/x;tcp"[..]));
        assert_eq!(path.iter().count(), 3);
        assert!(!path.is_single() && !path.is_empty());
        let single = Path::new(b"msrp://c/y;tcp");
        assert_eq!(
            (single.first(), single.last()),
            (&b"msrp://c/y;tcp"[..], &b"msrp://c/y;tcp"[..])
        );
        assert!(single.is_single() && single.rest().is_none());
        let empty = Path::new(b" ");
        assert!(empty.is_empty() && !empty.is_single() && empty.first().is_empty());
    }

    // Covers: MSRP-014
    #[test]
    fn finds_session_ids() {
        #[rustfmt::skip]
        let table: [(&[u8], Option<&[u8]>); 8] = [
            (b"msrp://a.example:7/jshA7we;tcp",       Some(b"jshA7we")), // RFC 4975 §4
            (b"msrps://u@[2001:db8::9]:7/a/b+c=;tcp", Some(b"a/b+c=")),
            (b"MSRP://a:7/x;ws;p=q",                  Some(b"x")),
            (b"msrps://relay.example;tcp",            None),
            (b"msrp://a:7/;tcp",                      None),
            (b"msrp:a/b;tcp",                         None),
            (b"",                                     None),
            (b"/x;tcp",                               None),
        ];
        for (uri, id) in table {
            assert_eq!(session_id(uri), id, "{}", uri.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn the_parts_make_the_whole(uris in prop::collection::vec("[!-~]{1,9}", 1..6)) {
            let text = uris.join(" ");
            let path = Path::new(text.as_bytes());
            prop_assert!(path.iter().eq(uris.iter().map(|uri| uri.as_bytes())));
            let rest = path.rest().map_or(0, |rest| rest.iter().count());
            prop_assert_eq!(rest + 1, uris.len());
            prop_assert_eq!(path.is_single(), uris.len() == 1);
        }

        #[test]
        fn never_panics(value: Vec<u8>) {
            let path = Path::new(&value);
            let _ = (path.first(), path.last(), path.rest(), path.iter().count());
            let _ = session_id(&value);
        }
    }
}
