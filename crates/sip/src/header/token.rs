//! Headers that are a bare token, or a list of them: `Allow`, option tags (RFC 3261 §19.2), entity
//! tags (RFC 3903 §11.3).

use super::{Encode, Fault, Sink};
use crate::Method;
use crate::grammar::{self, Scanner};

/// A token, the whole value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token<'a>(&'a str);

impl<'a> Token<'a> {
    fn read(value: &'a [u8]) -> Result<Self, Fault> {
        let mut scanner = Scanner::new(grammar::trim(value));
        if scanner.is_empty() {
            return Err(Fault::Empty);
        }
        let token = scanner.token().ok_or(Fault::Syntax)?;
        if scanner.is_empty() { Ok(Self(token)) } else { Err(Fault::Syntax) }
    }

    /// The token as written.
    pub fn as_str(&self) -> &'a str {
        self.0
    }

    /// Whether the token is this word, whatever its case: how option tags compare.
    pub fn is(&self, word: &str) -> bool {
        self.0.eq_ignore_ascii_case(word)
    }
}

impl Encode for Token<'_> {
    fn write_to<S: Sink>(&self, out: &mut S) {
        out.text(self.0);
    }
}

wrap! {
    /// An extension the sender understands (RFC 3261 §20.37). The list may be empty.
    Supported(Token = Token::read), list;
    /// An extension the recipient must understand (RFC 3261 §20.32).
    Require(Token = Token::read), list;
    /// An extension each proxy must understand (RFC 3261 §20.29).
    ProxyRequire(Token = Token::read), list;
    /// An extension that was required and is not understood (RFC 3261 §20.40).
    Unsupported(Token = Token::read), list;
    /// Names the publication a response made or refreshed (RFC 3903 §11.3.1). Compared octet by
    /// octet.
    SipETag(Token = Token::read);
    /// Names the publication a request refreshes, changes or removes (RFC 3903 §11.3.2).
    SipIfMatch(Token = Token::read);
}

/// One method that is supported (RFC 3261 §20.5). The list may be empty: none is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allow<'a>(pub Method<'a>);

impl<'a> Allow<'a> {
    fn read(value: &'a [u8]) -> Result<Self, Fault> {
        match grammar::trim(value) {
            [] => Err(Fault::Empty),
            token => Method::parse(token).map(Self).ok_or(Fault::Method),
        }
    }
}

impl Encode for Allow<'_> {
    fn write_to<S: Sink>(&self, out: &mut S) {
        out.text(self.0.as_str());
    }
}

header!(Allow<'a>, list);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::grammar::split_list;
    use crate::header::Header;

    #[test]
    fn parses() {
        accepts!(Supported, "100rel");
        accepts!(Require, "nothingSupportsThis"); // RFC 4475 §3.3.5
        accepts!(ProxyRequire, "privacy");
        accepts!(Unsupported, " foo\r\n ", "foo");
        accepts!(SipETag, "dx200xyz"); // RFC 3903 §15
        accepts!(SipIfMatch, "dx200xyz");
        accepts!(Allow, "INVITE");
        accepts!(Allow, "x-New");
        assert!(Supported::parse(b"100REL").unwrap().is("100rel"));
    }

    // Covers: CORE-003
    #[test]
    fn lists_may_be_empty_folded_and_long() {
        let tags = |value| {
            split_list(value).map(|tag| Supported::parse(tag).map(|tag| tag.as_str())).collect()
        };
        let read: Result<Vec<&str>, _> = tags(b"");
        assert_eq!(read, Ok(vec![]));
        let read: Result<Vec<&str>, _> = tags(b"timer,\r\n\t100rel , path");
        assert_eq!(read, Ok(vec!["timer", "100rel", "path"]));
        let read: Result<Vec<&str>, _> = tags(b"timer,,path");
        assert!(read.is_err());
        let methods: Vec<Method<'_>> =
            split_list(b"INVITE,MESSAGE").map(|method| Allow::parse(method).unwrap().0).collect();
        assert_eq!(methods, [Method::Invite, Method::Message]);
    }

    #[test]
    fn refuses() {
        refuses!(Supported, "", Fault::Empty);
        refuses!(Require, "a b", Fault::Syntax);
        refuses!(Require, "a;b", Fault::Syntax);
        refuses!(SipETag, "\"quoted\"", Fault::Syntax);
        refuses!(Allow, "", Fault::Empty);
        refuses!(Allow, "IN VITE", Fault::Method);
    }

    proptest! {
        #[test]
        fn display_then_parse_is_identity(token in "[A-Za-z0-9.!%*_+`'~-]{1,12}") {
            let tag = Require(Token(&token));
            prop_assert_eq!(
                Require::parse(tag.to_string().as_bytes()).map(|tag| tag.is(&token)),
                Ok(true),
            );
            let allow = Allow(Method::parse(token.as_bytes()).unwrap());
            prop_assert_eq!(allow.to_string(), token);
        }
    }
}
