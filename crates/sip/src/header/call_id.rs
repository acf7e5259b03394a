//! `Call-ID` (RFC 3261 §20.8).

use super::{Encode, Fault, Sink};
use crate::grammar::{self, Class, Scanner};

/// Groups the messages of one dialog or of one client's registrations. Compared octet by octet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallId<'a>(&'a str);

impl<'a> CallId<'a> {
    /// The value, `word [ "@" word ]`.
    pub fn as_str(&self) -> &'a str {
        self.0
    }

    pub(super) fn read(value: &'a [u8]) -> Result<Self, Fault> {
        let value = grammar::trim(value);
        let mut scanner = Scanner::new(value);
        if value.is_empty() {
            return Err(Fault::Empty);
        }
        scanner.run(&Class::WORD).ok_or(Fault::Syntax)?;
        if scanner.eat(b'@') {
            scanner.run(&Class::WORD).ok_or(Fault::Syntax)?;
        }
        let whole = scanner.text_since(value).filter(|_| scanner.is_empty());
        whole.map(Self).ok_or(Fault::Syntax)
    }
}

impl Encode for CallId<'_> {
    fn write_to<S: Sink>(&self, out: &mut S) {
        out.text(self.0);
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
