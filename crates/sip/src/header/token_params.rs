//! Headers that are a token with parameters: `Content-Disposition`, `Content-Encoding`,
//! `Accept-Encoding`, `Accept-Language`, `Answer-Mode`, `Refer-Sub`.

use super::params::Params;
use super::q_value::QValue;
use super::{Encode, Fault, Sink};
use crate::grammar::{self, Scanner};

/// A token and its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenParams<'a> {
    /// The token as written; compared whatever its case.
    pub token: &'a str,
    /// Its parameters.
    pub params: Params<'a>,
}

impl<'a> TokenParams<'a> {
    pub(super) fn read(value: &'a [u8]) -> Result<Self, Fault> {
        let mut scanner = Scanner::new(grammar::trim(value));
        if scanner.is_empty() {
            return Err(Fault::Empty);
        }
        let token = scanner.token().ok_or(Fault::Syntax)?;
        Ok(Self { token, params: Params::parse(scanner.rest())? })
    }

    fn read_alone(value: &'a [u8]) -> Result<Self, Fault> {
        Self::read(value)
            .and_then(|read| if read.params.is_empty() { Ok(read) } else { Err(Fault::Syntax) })
    }

    /// Whether the token is this word, whatever its case.
    pub fn is(&self, word: &str) -> bool {
        self.token.eq_ignore_ascii_case(word)
    }

    /// The preference; [`QValue::ONE`] when no `q` is written or it is malformed.
    pub fn q(&self) -> QValue {
        self.params.token("q").and_then(QValue::parse).unwrap_or(QValue::ONE)
    }
}

impl Encode for TokenParams<'_> {
    fn write_to<S: Sink>(&self, out: &mut S) {
        out.text(self.token);
        self.params.write_to(out);
    }
}

wrap! {
    /// What the body is for (RFC 3261 §20.11, RFC 2183).
    ContentDisposition(TokenParams = TokenParams::read);
    /// One coding the body is wrapped in (RFC 3261 §20.12).
    ContentEncoding(TokenParams = TokenParams::read_alone), list;
    /// One coding that is understood, or `*` (RFC 3261 §20.2).
    AcceptEncoding(TokenParams = TokenParams::read), list;
    /// One language that is understood, or `*` (RFC 3261 §20.3).
    AcceptLanguage(TokenParams = TokenParams::read), list;
    /// Whether the user is asked before the answer: `Manual` or `Auto` (RFC 5373 §4).
    AnswerMode(TokenParams = TokenParams::read);
    /// Whether a REFER makes a subscription: `true` or `false` (RFC 4488 §4).
    ReferSub(TokenParams = read_refer_sub);
}

impl ContentDisposition<'_> {
    /// Whether a body that is not understood may be ignored: `handling=optional`. Absent or
    /// unknown handling is required (RFC 3261 §20.11).
    pub fn is_optional(&self) -> bool {
        self.params.value("handling").is_some_and(|handling| handling.is("optional"))
    }
}

impl ContentEncoding<'_> {
    /// Whether nothing is wrapped.
    pub fn is_identity(&self) -> bool {
        self.is("identity")
    }
}

impl AnswerMode<'_> {
    /// Whether the request may be answered without asking the user.
    pub fn is_auto(&self) -> bool {
        self.is("auto")
    }
}

impl ReferSub<'_> {
    /// Whether a subscription is wanted, or was made.
    pub fn is_true(&self) -> bool {
        self.is("true")
    }
}

fn read_refer_sub(value: &[u8]) -> Result<TokenParams<'_>, Fault> {
    let read = TokenParams::read(value)?;
    if read.is("true") || read.is("false") { Ok(read) } else { Err(Fault::Syntax) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::header::Header;

    #[test]
    fn parses() {
        accepts!(ContentDisposition, "session"); // RFC 3261 §20.11
        accepts!(ContentDisposition, "recipient-list; handling=required"); // RFC 5365 §4
        accepts!(ContentDisposition, "attachment;filename=\"a,b;c.txt\"");
        accepts!(ContentEncoding, "gzip"); // RFC 3261 §20.12
        accepts!(AcceptEncoding, "gzip"); // RFC 3261 §20.2
        accepts!(AcceptEncoding, "*;q=0");
        accepts!(AcceptLanguage, "en-gb;q=0.8"); // RFC 3261 §20.3
        accepts!(AnswerMode, "Auto;require");
        accepts!(ReferSub, "false"); // RFC 4488 §4
        let table = [("render", false), ("x;handling=OPTIONAL", true), ("x;handling=y", false)];
        for (text, optional) in table {
            let disposition = ContentDisposition::parse(text.as_bytes()).unwrap();
            assert_eq!(disposition.is_optional(), optional, "{text}");
        }
        assert!(ContentEncoding::parse(b"Identity").unwrap().is_identity());
        assert!(AnswerMode::parse(b"auto").unwrap().is_auto());
        assert!(ReferSub::parse(b"TRUE").unwrap().is_true());
        assert_eq!(AcceptLanguage::parse(b"da").unwrap().q(), QValue::ONE);
    }

    #[test]
    fn refuses() {
        refuses!(ContentDisposition, "", Fault::Empty);
        refuses!(ContentDisposition, ";handling=optional", Fault::Syntax);
        refuses!(ContentDisposition, "a b", Fault::Syntax);
        refuses!(ContentEncoding, "gzip;q=1", Fault::Syntax);
        refuses!(AcceptEncoding, "gzip;", Fault::Parameter);
        refuses!(ReferSub, "maybe", Fault::Syntax);
    }

    proptest! {
        #[test]
        fn display_then_parse_is_identity(
            token in "[a-zA-Z*.-]{1,9}",
            params in "(;[a-z]{1,3}(=[a-z]{1,3})?){0,2}",
        ) {
            let params = Params::parse(params.as_bytes()).unwrap();
            let value = AcceptEncoding(TokenParams { token: &token, params });
            let text = value.to_string();
            prop_assert_eq!(AcceptEncoding::parse(text.as_bytes()), Ok(value));
        }
    }
}
