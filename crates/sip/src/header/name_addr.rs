//! An address with a display name and parameters: `( name-addr / addr-spec ) *( SEMI param )`
//! (RFC 3261 §20.10, §25.1).

use std::borrow::Cow;

use super::params::{Param, Params};
use super::{Encode, Fault, Sink};
use crate::examined;
use crate::grammar::{self, Scanner};
use crate::uri::{Uri, UriError};

/// One address of From, To, Contact, Route and their likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameAddr<'a> {
    /// The display name as written, a quoted one in its quotation marks; `None` when there is
    /// none. See [`NameAddr::display_name`].
    pub display: Option<&'a [u8]>,
    /// The address.
    pub uri: Uri<'a>,
    /// The parameters of the header. Without angle brackets around the URI every parameter
    /// belongs here, none to the URI (RFC 3261 §20.10).
    pub params: Params<'a>,
}

impl<'a> NameAddr<'a> {
    /// An address without display name and parameters.
    pub fn new(uri: Uri<'a>) -> Self {
        Self { display: None, uri, params: Params::default() }
    }

    /// Reads one address, the whole of `value`.
    pub fn parse(value: &'a [u8]) -> Result<Self, Fault> {
        Self::read(value)
    }

    #[inline(always)]
    pub(super) fn read(value: &'a [u8]) -> Result<Self, Fault> {
        Self::read_each(value, |_| Ok(()))
    }

    /// Reads one address, showing each parameter to `check`.
    #[inline(always)]
    pub(super) fn read_each(
        value: &'a [u8],
        check: impl FnMut(Param<'a>) -> Result<(), Fault>,
    ) -> Result<Self, Fault> {
        let (display, uri, rest) = split(value)?;
        let uri = Uri::parse_text(uri)?;
        Ok(Self { display, uri, params: Params::scan_rest(rest, check)? })
    }

    /// Reads one hop of Route and its likes, where the grammar wants angle brackets.
    ///
    /// Deviation: without them (RFC 4028 §9 prints such hops) everything belongs to the URI, for
    /// `lr` has no meaning anywhere else (RFC 3261 §20.34).
    #[inline(always)]
    pub(super) fn read_hop(value: &'a [u8]) -> Result<Self, Fault> {
        let address = Self::read(value)?;
        let spec = grammar::trim(value);
        if address.display.is_some() || spec.starts_with(b"<") {
            return Ok(address);
        }
        Ok(Self::new(Uri::parse(spec)?))
    }

    /// The display name as it is meant: without quotation marks and escapes. Text of the peer's, of
    /// any octets.
    pub fn display_name(&self) -> Option<Cow<'a, [u8]>> {
        self.display.map(grammar::unquote)
    }
}

/// Cuts a value into display name and text of the URI; the scanner stands before the parameters.
#[inline(always)]
pub(super) fn split(value: &[u8]) -> Result<(Option<&[u8]>, &str, Scanner<'_>), Fault> {
    let value = grammar::trim(value);
    let mut scanner = Scanner::new(value);
    let display = match scanner.peek() {
        None => return Err(Fault::Empty),
        Some(b'"') => {
            let quoted = scanner.quoted_string().ok_or(Fault::DisplayName)?;
            scanner.lws();
            if scanner.peek() != Some(b'<') {
                return Err(Fault::DisplayName);
            }
            Some(quoted)
        }
        Some(b'<') => None,
        Some(_) => tokens_before_bracket(&mut scanner),
    };
    if scanner.eat(b'<') {
        let start = scanner.rest();
        scanner.take_before(b'>').ok_or(Fault::Syntax)?;
        let uri = scanner.text_since(start).ok_or(UriError::Character)?;
        scanner.eat(b'>');
        return Ok((display, uri, scanner));
    }
    // addr-spec: the first semicolon ends the URI, and a URI that holds a comma or a question mark
    // must stand in brackets (RFC 3261 §20, RFC 4475 §3.1.2.13).
    let start = scanner.rest();
    let spec = scanner.take_while(|octet| octet != b';');
    examined(spec.len());
    if spec.iter().any(|octet| matches!(octet, b',' | b'?')) {
        return Err(Fault::Syntax);
    }
    let uri = scanner.text_since(start).ok_or(UriError::Character)?;
    Ok((None, uri.trim_end_matches([' ', '\t', '\r', '\n']), scanner))
}

/// `*(token LWS)` when an opening bracket follows, else nothing is consumed. White space before the
/// bracket may be missing (RFC 4475 §3.1.1.6).
fn tokens_before_bracket<'a>(scanner: &mut Scanner<'a>) -> Option<&'a [u8]> {
    let mut ahead = scanner.clone();
    while ahead.token().is_some() {
        ahead.lws();
    }
    if ahead.peek() != Some(b'<') {
        return None;
    }
    let start = scanner.rest();
    let name = start.get(..start.len() - ahead.rest().len()).map(grammar::trim);
    *scanner = ahead;
    name.filter(|name| !name.is_empty())
}

impl Encode for NameAddr<'_> {
    fn write_to<S: Sink>(&self, out: &mut S) {
        if let Some(display) = self.display {
            out.octets(display);
            out.text(" ");
        }
        out.text("<");
        out.show(self.uri);
        out.text(">");
        self.params.write_to(out);
    }
}

display_encoded!(NameAddr<'_>);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parses() {
        #[rustfmt::skip]
        let table = [
            // §20.10
            ("\"Mr. Watson\" <sip:watson@worcester.bell-telephone.com>;q=0.7; expires=3600",
                Some(
                    "Mr. Watson",
                ), "sip:watson@worcester.bell-telephone.com", ";q=0.7; expires=3600"),
            (
                "sip:+12125551212@phone2net.com;tag=887s",
                None,
                "sip:+12125551212@phone2net.com",
                ";tag=887s",
            ),
            ("Anonymous <sip:c8oqz84zk7z@privacy.org>;tag=hyh8", // §20.20
                Some("Anonymous"), "sip:c8oqz84zk7z@privacy.org", ";tag=hyh8"),
            ("<sips:bob@biloxi.com;lr>", None, "sips:bob@biloxi.com;lr", ""),
            // RFC 4475 §3.1.1.1, §3.1.1.2, §3.1.1.5, §3.1.1.6, §3.3.12, §3.3.13
            ("\r\n sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n",
                None, "sip:vivekg@chair-dnrc.example.com", ";   tag    = 1918181833n"),
            ("\"J Rosenberg \\\\\\\"\"       <sip:jdrosen@example.com>\r\n  ;\r\n  tag = 98asjd8",
                Some("J Rosenberg \\\""), "sip:jdrosen@example.com", ";\r\n  tag = 98asjd8"),
            ("token1~` token2'+_ token3*%!.- <sip:mundane@example.com>",
                Some("token1~` token2'+_ token3*%!.-"), "sip:mundane@example.com", ""),
            ("\"%Z%45\" <sip:resource@example.com>", Some("%Z%45"), "sip:resource@example.com", ""),
            (
                "caller<sip:caller@example.com>;tag=323",
                Some("caller"),
                "sip:caller@example.com",
                ";tag=323",
            ),
            ("sip:+19725552222@gw1.example.net;unknownparam",
                None, "sip:+19725552222@gw1.example.net", ";unknownparam"),
            ("<sip:+19725552222@gw1.example.net;unknownparam>",
                None, "sip:+19725552222@gw1.example.net;unknownparam", ""),
            ("<sip:user@example.com?Route=%3Csip:sip.example.com%3E>", // §3.3.14
                None, "sip:user@example.com?Route=%3Csip:sip.example.com%3E", ""),
            ("\"\" <tel:+1;ext=2>", Some(""), "tel:+1;ext=2", ""),
            ("sip:a@b.c;x=\"<\"", None, "sip:a@b.c", ";x=\"<\""),
        ];
        for (text, display, uri, params) in table {
            let read = NameAddr::parse(text.as_bytes()).unwrap_or_else(|_| panic!("{text}"));
            assert_eq!(read.display_name().as_deref(), display.map(str::as_bytes), "{text}");
            assert_eq!(read.uri.to_string(), uri);
            assert_eq!(read.params.to_string(), params);
            assert_eq!(NameAddr::parse(read.to_string().as_bytes()), Ok(read));
        }
    }

    #[test]
    fn refuses() {
        use Fault::{DisplayName, Empty, Parameter, Syntax};
        #[rustfmt::skip]
        let table = [
            ("", Empty),
            (" \r\n ", Empty),
            ("\"Mr. J. User <sip:j.user@example.com>", DisplayName),           // RFC 4475 §3.1.2.6
            ("sip:user@example.com?Route=%3Csip:sip.example.com%3E", Syntax),  // §3.1.2.13
            // §3.1.2.14
            ("\"Watson, Thomas\" < sip:t.watson@example.org >", Fault::Uri(UriError::Scheme)),
            ("<sip:t.watson@example.org >", Fault::Uri(UriError::Host)),
            ("Bell, Alexander <sip:a.g.bell@example.com>;tag=43", Syntax),     // §3.1.2.15
            ("\"Joe\" <sip:joe@example.org>;;;;", Parameter),                  // §3.1.2.1
            ("\"Joe\" sip:joe@example.org", DisplayName),
            ("Joe sip:joe@example.org", Fault::Uri(UriError::Scheme)),
            ("J@e <sip:joe@example.org>", Fault::Uri(UriError::Scheme)),
            ("<sip:joe@example.org", Syntax),
            ("<>", Fault::Uri(UriError::Scheme)),
            ("<sip:joe@example.org> x", Syntax),
            ("<sip:a@b.c>, <sip:d@e.f>", Syntax),
            ("*", Fault::Uri(UriError::Scheme)),
        ];
        for (text, fault) in table {
            assert_eq!(NameAddr::parse(text.as_bytes()), Err(fault), "{text}");
        }
    }

    #[test]
    fn octets_that_are_not_utf8_survive() {
        let text = b"\"caf\xe9\" <sip:a@b.c>;x=\"\xff\"";
        let mut written = Vec::new();
        NameAddr::parse(text).unwrap().write_to(&mut written);
        assert_eq!(written, text);
    }

    proptest! {
        #[test]
        fn display_then_parse_is_identity(
            display in "|[a-z.!]{1,5}( [a-z~]{1,5}){0,2}|\"([a-z,<>;@ ]|\\\\[\"\\\\a-z]){0,8}\"",
            uri in "sips?:([a-z;?]{1,6}@)?[a-z]{1,8}(;[a-z]{1,3}(=[a-z]{1,3})?){0,2}\
                |tel:\\+[0-9]{1,9}",
            params in "(;[a-z]{1,3}(=[a-z]{1,3}|=\"[a-z;,]{0,4}\")?){0,3}",
        ) {
            let display = Some(display.as_bytes()).filter(|display| !display.is_empty());
            let uri = Uri::parse(uri.as_bytes()).unwrap();
            let params = Params::parse(params.as_bytes()).unwrap();
            let address = NameAddr { display, uri, params };
            let text = address.to_string();
            prop_assert_eq!(NameAddr::parse(text.as_bytes()), Ok(address));
        }
    }
}
