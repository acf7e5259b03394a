//! URIs: SIP and SIPS (RFC 3261 §19.1), tel (RFC 3966) and every other absolute URI.

mod aor;
mod escape;
mod host;
mod other;
mod params;
mod sip;
mod tel;

use std::fmt;

use crate::examined;
use crate::grammar::cut_before;

pub use aor::{Aor, AorError};
pub use escape::{escape_user, unescape};
pub(crate) use host::parse_ipv6;
pub use host::{Host, HostPort};
pub use other::OtherUri;
pub use params::{UriHeaders, UriParams};
pub use sip::SipUri;
pub use tel::TelUri;

/// Most parameters, and most headers, one URI may carry: a local limit, RFC 3261 sets none. The
/// examples of RFC 4475 stay far below; above it the URI is refused ([`UriError::TooMany`]), so
/// that comparing two URIs, which looks each parameter up in the other, stays cheap.
pub const URI_PARTS_MAX: usize = 64;

/// A URI, borrowed from the text it was read from.
///
/// `==` compares spelling (host and scheme apart); for the rules of RFC 3261 §19.1.4 and its
/// likes see [`Uri::equivalent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uri<'a> {
    /// `sip:` and `sips:`.
    Sip(SipUri<'a>),
    /// `tel:`.
    Tel(TelUri<'a>),
    /// Any other scheme: `urn:`, `im:`, `pres:`, `cid:`, `http:`, ...
    Other(OtherUri<'a>),
}

/// Why a URI was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// There is no `scheme ":"` in front.
    #[error("URI without a scheme")]
    Scheme,
    /// The user or password part is empty or has an octet that must be escaped.
    #[error("bad userinfo in URI")]
    Userinfo,
    /// The host is neither a name, an IPv4 address nor an IPv6 reference.
    #[error("bad host in URI")]
    Host,
    /// The port is not a number of 16 bits.
    #[error("bad port in URI")]
    Port,
    /// A URI parameter is empty or has an octet that must be escaped.
    #[error("bad parameter in URI")]
    Parameter,
    /// A URI header is not `name "=" value` or has an octet that must be escaped.
    #[error("bad header in URI")]
    Header,
    /// More than [`URI_PARTS_MAX`] parameters or headers.
    #[error("too many parameters in URI")]
    TooMany,
    /// The telephone number is not one, or a parameter is repeated (RFC 3966 §3).
    #[error("bad telephone number in URI")]
    Number,
    /// A local number without `phone-context` (RFC 3966 §5.1.5).
    #[error("local number without phone-context")]
    Context,
    /// An octet that no URI may hold: white space, control, quotation mark, bracket, above 127.
    #[error("bad character in URI")]
    Character,
}

impl<'a> Uri<'a> {
    /// Reads one URI: the whole of `text`, without white space or brackets around it.
    pub fn parse(text: &'a [u8]) -> Result<Self, UriError> {
        examined(text.len());
        // Every URI is ASCII; what is above 127 has to be escaped.
        Self::parse_text(std::str::from_utf8(text).map_err(|_| UriError::Character)?)
    }

    /// [`Uri::parse`] of what is known to be UTF-8.
    pub(crate) fn parse_text(text: &'a str) -> Result<Self, UriError> {
        match text.strip_prefix("sip:") {
            // Nearly always it is written like this.
            Some(rest) => SipUri::parse_rest(false, rest).map(Self::Sip),
            None => Self::parse_any(text),
        }
    }

    fn parse_any(text: &'a str) -> Result<Self, UriError> {
        let (scheme, rest) = cut_before(text, |octet| octet == b':');
        let rest = rest.strip_prefix(':').ok_or(UriError::Scheme)?;
        let secure = scheme.eq_ignore_ascii_case("sips");
        if secure || scheme.eq_ignore_ascii_case("sip") {
            return SipUri::parse_rest(secure, rest).map(Self::Sip);
        }
        if scheme.eq_ignore_ascii_case("tel") {
            return TelUri::parse_rest(rest).map(Self::Tel);
        }
        OtherUri::parse_parts(scheme, rest).map(Self::Other)
    }

    /// The scheme; of the known ones in lower case.
    pub fn scheme(&self) -> &'a str {
        match self {
            Self::Sip(uri) => uri.scheme(),
            Self::Tel(_) => "tel",
            Self::Other(uri) => uri.scheme,
        }
    }

    /// The SIP or SIPS URI; `None` for other schemes.
    pub fn as_sip(&self) -> Option<&SipUri<'a>> {
        match self {
            Self::Sip(uri) => Some(uri),
            Self::Tel(_) | Self::Other(_) => None,
        }
    }

    /// Whether both name the same thing by the rules of their scheme: RFC 3261 §19.1.4 for SIP and
    /// SIPS, RFC 3966 §4 for tel, [`OtherUri::equivalent`] for the rest. URIs of two schemes are
    /// never equivalent. Not transitive, see RFC 3261 §19.1.4.
    pub fn equivalent(&self, other: &Uri<'_>) -> bool {
        match (self, other) {
            (Self::Sip(one), Uri::Sip(two)) => one.equivalent(two),
            (Self::Tel(one), Uri::Tel(two)) => one.equivalent(two),
            (Self::Other(one), Uri::Other(two)) => one.equivalent(two),
            (Self::Sip(_) | Self::Tel(_) | Self::Other(_), _) => false,
        }
    }
}

impl fmt::Display for Uri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sip(uri) => uri.fmt(f),
            Self::Tel(uri) => uri.fmt(f),
            Self::Other(uri) => uri.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parses_and_writes_back() {
        let table = [
            ("sip:alice@atlanta.com", "sip"),
            ("sips:1212@gateway.com", "sips"),
            ("tel:+1-201-555-0123", "tel"),    // RFC 3966 §6
            ("urn:service:sos", "urn"),        // RFC 5031
            ("im:fred@example.com", "im"),     // RFC 3860
            ("pres:fred@example.com", "pres"), // RFC 3859
            ("soap.beep://192.0.2.103:3002", "soap.beep"), // RFC 4475 §3.3.3
            ("isbn:2983792873", "isbn"),       // RFC 4475 §3.3.4
            ("http://www.example.com", "http"), // RFC 4475 §3.3.4
            ("name:John_Smith", "name"),       // RFC 4475 §3.3.4
            ("nobodyKnowsThisScheme:totallyopaquecontent", "nobodyKnowsThisScheme"), // §3.3.2
            ("cid:cn35t8jf02@example.com", "cid"), // RFC 5368 §7
        ];
        for (text, scheme) in table {
            let uri = Uri::parse(text.as_bytes()).unwrap();
            assert_eq!(uri.scheme(), scheme);
            assert_eq!(uri.to_string(), text);
            assert!(uri.equivalent(&uri), "{text}");
        }
    }

    #[test]
    fn refuses() {
        use UriError::{Character, Host, Scheme};
        let table: [(&[u8], UriError); 9] = [
            (b"", Scheme),
            (b"alice", Scheme),
            (b"<sip:user@example.com>", Scheme), // RFC 4475 §3.1.2.7
            (b"sip:user@example.com; lr", UriError::Parameter), // RFC 4475 §3.1.2.8
            (b" sip:t.watson@example.org ", Scheme), // RFC 4475 §3.1.2.14
            (b"sip:2001:db8::10", Host),         // RFC 5118 §4.2
            (b"sip:", Host),
            (b"urn:a b", Character),
            (b"sip:\xff@example.com", Character),
        ];
        for (text, error) in table {
            assert_eq!(Uri::parse(text), Err(error), "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn schemes_are_never_equivalent() {
        let texts = ["sip:a@b.c", "sips:a@b.c", "im:a@b.c", "pres:a@b.c", "tel:+1", "urn:a:b"];
        for (at, one) in texts.iter().enumerate() {
            for (beside, two) in texts.iter().enumerate() {
                let one = Uri::parse(one.as_bytes()).unwrap();
                let two = Uri::parse(two.as_bytes()).unwrap();
                assert_eq!(one.equivalent(&two), at == beside, "{one} {two}");
            }
        }
    }

    proptest! {
        #[test]
        fn never_panics(text: Vec<u8>) {
            let _ = Uri::parse(&text);
        }

        #[test]
        fn display_then_parse_is_identity(
            text in "(sips?|tel|im|urn):[+a-z0-9:%;=?&@.\\[\\]-]{1,24}"
        ) {
            if let Ok(uri) = Uri::parse(text.as_bytes()) {
                let written = uri.to_string();
                prop_assert_eq!(Uri::parse(written.as_bytes()), Ok(uri));
                prop_assert!(uri.equivalent(&uri));
            }
        }
    }
}
