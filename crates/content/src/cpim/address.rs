//! `[ Formal-name ] "<" URI ">"` (RFC 3862 §4.1, §3.6).

use std::borrow::Cow;
use std::{fmt, str};

use memchr::memchr;

use super::escape::{escape, unescape};

/// Who sends or gets a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address<'a> {
    /// The formal name as written, quotes and escapes included; empty without one.
    written_name: &'a str,
    /// The URI as written, without its angle brackets.
    pub uri: &'a str,
}

impl<'a> Address<'a> {
    /// An address without a name.
    pub fn of(uri: &'a str) -> Self {
        Self { written_name: "", uri }
    }

    /// Reads a header value; `None` when it holds no URI.
    ///
    /// A URI without angle brackets is taken too: deployed clients write it.
    pub fn parse(value: &'a str) -> Option<Self> {
        let value = value.trim_ascii();
        let Some(open) = open_bracket(value) else {
            let bare = value.contains(':') && !value.contains([' ', '>', '"']);
            return bare.then_some(Self { written_name: "", uri: value });
        };
        let (name, uri) = value.split_at(open);
        let uri = uri.strip_prefix('<')?;
        let uri = uri.get(..memchr(b'>', uri.as_bytes())?)?;
        (!uri.is_empty()).then(|| Self { written_name: name.trim(), uri })
    }

    /// The URI in a header value; `None` when there is none. It need not be UTF-8 besides.
    pub(super) fn uri_in(value: &'a [u8]) -> Option<&'a [u8]> {
        if let Some(uri) = value.strip_prefix(b"<") {
            let uri = uri.get(..memchr(b'>', uri)?)?;
            return (!uri.is_empty()).then_some(uri);
        }
        Some(Self::parse(str::from_utf8(value).ok()?)?.uri.as_bytes())
    }

    /// The formal name without quotes and with escapes resolved; empty without one.
    pub fn formal_name(&self) -> Cow<'a, str> {
        let name = self.written_name;
        let quoted = name.strip_prefix('"').map(|name| name.strip_suffix('"').unwrap_or(name));
        unescape(quoted.unwrap_or(name))
    }
}

impl fmt::Display for Address<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.written_name.is_empty() {
            write!(f, "{} ", self.written_name)?;
        }
        write!(f, "<{}>", self.uri)
    }
}

/// A formal name and a URI as a header value; the name is quoted.
pub(super) fn written(formal_name: &str, uri: &str) -> String {
    if formal_name.is_empty() {
        return format!("<{uri}>");
    }
    format!("\"{}\" <{uri}>", escape(formal_name).replace('"', "\\\""))
}

/// Where the URI opens: the first `<` outside a quoted name.
fn open_bracket(value: &str) -> Option<usize> {
    let mut quoted = false;
    let mut escaped = false;
    for (at, octet) in value.bytes().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b'<' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parses() {
        #[rustfmt::skip]
        let table = [
            // RFC 3862 §4.1
            ("Winnie the Pooh <im:pooh@100akerwood.com>", "Winnie the Pooh",
             "im:pooh@100akerwood.com"),
            ("<im:tigger@100akerwood.com>",    "",     "im:tigger@100akerwood.com"),
            ("\"A \\\"<b>\\\"\" <im:a@b>",     "A \"<b>\"", "im:a@b"),
            ("sip:a@b;x=y",                    "",     "sip:a@b;x=y"),
            ("Bob<im:b@c>",                    "Bob",  "im:b@c"),
            ("<im:b@c> more",                  "",     "im:b@c"),
        ];
        for (value, name, uri) in table {
            let address = Address::parse(value).unwrap();
            assert_eq!((&*address.formal_name(), address.uri), (name, uri), "{value}");
        }
    }

    #[test]
    fn refuses() {
        for value in ["", "Bob", "Bob <", "Bob <>", "Bob im:b@c", "<im:b@c", "\"<im:b@c>"] {
            assert_eq!(Address::parse(value), None, "{value}");
        }
    }

    proptest! {
        #[test]
        fn the_uri_is_the_one_of_the_address(value in "[<> \"\\\\:ab\u{e9}]{0,12}") {
            let uri = Address::parse(&value).map(|address| address.uri.as_bytes());
            prop_assert_eq!(Address::uri_in(value.as_bytes()), uri);
        }

        #[test]
        fn written_then_parsed_is_identity(name: String, uri in "[a-z:@;=.]{1,20}") {
            let text = written(&name, &uri);
            let address = Address::parse(&text).unwrap();
            prop_assert_eq!(address.formal_name(), name);
            prop_assert_eq!(address.uri, &uri);
            prop_assert_eq!(address.to_string(), text.clone());
        }

        #[test]
        fn never_panics(value: String, near in "[<>\"\\\\: a]{0,20}") {
            for value in [value, near] {
                let _ = Address::parse(&value).map(|address| address.formal_name().into_owned());
            }
        }
    }
}
