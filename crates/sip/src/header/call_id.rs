//! `Call-ID` (RFC 3261 §20.8).

use super::{Encode, Fault, Sink};
use crate::grammar::{self, Class};

/// Groups the messages of one dialog or of one client's registrations. Compared octet by octet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallId<'a>(&'a [u8]);

impl<'a> CallId<'a> {
    /// The value, `word [ "@" word ]`.
    pub fn as_str(&self) -> &'a str {
        // A word is ASCII.
        str::from_utf8(self.0).unwrap_or_default()
    }

    pub(super) fn read(value: &'a [u8]) -> Result<Self, Fault> {
        let value = grammar::trim(value);
        if value.is_empty() {
            return Err(Fault::Empty);
        }
        let end = value.iter().position(|octet| !Class::WORD.contains(*octet));
        let is_good = match value.split_at_checked(end.unwrap_or(value.len())) {
            Some(([_, ..], [])) => true,
            Some(([_, ..], [b'@', rest @ ..])) => Class::WORD.covers(rest),
            _ => false,
        };
        if is_good { Ok(Self(value)) } else { Err(Fault::Syntax) }
    }
}

impl Encode for CallId<'_> {
    fn write_to<S: Sink>(&self, out: &mut S) {
        out.octets(self.0);
    }
}

header!(CallId<'a>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses() {
        for text in [
            "f81d4fae-7dec-11d0-a765-00a0c91e6bf6@biloxi.com", // RFC 3261 §20.8
            "a84b4c76e66710",
            "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{", // RFC 4475 §3.1.1.2
            "SSG9559905523997077@hlau_4100",                // RFC 5118 §4.1
        ] {
            accepts!(CallId, text);
        }
        accepts!(CallId, "\r\n a84b4c76e66710\t", "a84b4c76e66710");
    }

    #[test]
    fn refuses() {
        refuses!(CallId, "", Fault::Empty);
        for text in ["a b", "@", "a@", "@a", "a@b@c", "a,b", "a;b", "\u{e9}"] {
            refuses!(CallId, text, Fault::Syntax);
        }
    }
}
