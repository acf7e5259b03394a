//! `Reason` (RFC 3326) and `Warning` (RFC 3261 §20.43).

use std::borrow::Cow;

use super::params::Params;
use super::token_params::TokenParams;
use super::{Encode, Fault, Sink};
use crate::grammar::{self, Class, Scanner};
use crate::uri::HostPort;

/// Why a request was sent; an element of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason<'a> {
    /// What the cause is a code of: `SIP`, `Q.850`, ...
    pub protocol: &'a str,
    /// The code; what is over 32 bits counts as the largest number.
    pub cause: Option<u32>,
    /// `cause`, `text` and others.
    pub params: Params<'a>,
}

impl<'a> Reason<'a> {
    fn read(value: &'a [u8]) -> Result<Self, Fault> {
        let TokenParams { token, params } = TokenParams::read(value)?;
        let cause = match params.first("cause") {
            Some(cause) => {
                let number = cause.value.and_then(|value| value.number());
                Some(u32::try_from(number.ok_or(Fault::Parameter)?).unwrap_or(u32::MAX))
            }
            None => None,
        };
        Ok(Self { protocol: token, cause, params })
    }

    /// The cause as a status code of SIP; `None` for other protocols.
    pub fn sip_cause(&self) -> Option<u32> {
        self.cause.filter(|_| self.protocol.eq_ignore_ascii_case("SIP"))
    }

    /// The text for people.
    pub fn text(&self) -> Option<Cow<'a, [u8]>> {
        self.params.value("text").map(|text| text.unquoted())
    }
}

impl Encode for Reason<'_> {
    fn write_to<S: Sink>(&self, out: &mut S) {
        out.text(self.protocol);
        self.params.write_to(out);
    }
}

header!(Reason<'a>, list);

/// More about a response; an element of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Warning<'a> {
    /// Three digits; the first is 3 in SIP.
    pub code: u16,
    /// The host, with or without port, or the pseudonym of who warns.
    pub agent: &'a str,
    /// The text as written, in its quotation marks; see [`Warning::text`].
    pub quoted_text: &'a [u8],
}

/// Octets of `hostport` and of `token`.
const AGENT: Class = Class::TOKEN.with(b"[]:");

impl<'a> Warning<'a> {
    fn read(value: &'a [u8]) -> Result<Self, Fault> {
        let mut scanner = Scanner::new(grammar::trim(value));
        if scanner.is_empty() {
            return Err(Fault::Empty);
        }
        let code = scanner.take_while(|octet| octet.is_ascii_digit());
        let number = grammar::decimal(code).ok_or(Fault::Number)?;
        let code = u16::try_from(number).ok().filter(|_| code.len() == 3).ok_or(Fault::Range)?;
        let gap = scanner.lws();
        let agent = scanner.run(&AGENT).filter(|_| gap).ok_or(Fault::Syntax)?;
        if !Class::TOKEN.covers(agent.as_bytes()) && HostPort::parse(agent).is_err() {
            return Err(Fault::Syntax);
        }
        let gap = scanner.lws();
        let quoted_text = scanner.quoted_string().filter(|_| gap).ok_or(Fault::Syntax)?;
        if scanner.is_empty() { Ok(Self { code, agent, quoted_text }) } else { Err(Fault::Syntax) }
    }

    /// The text for people.
    pub fn text(&self) -> Cow<'a, [u8]> {
        grammar::unquote(self.quoted_text)
    }
}

impl Encode for Warning<'_> {
    fn write_to<S: Sink>(&self, out: &mut S) {
        out.show(format_args!("{:03} {} ", self.code, self.agent));
        out.octets(self.quoted_text);
    }
}

header!(Warning<'a>, list);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::header::Header;

    #[test]
    fn parses() {
        accepts!(Reason, "SIP ;cause=200 ;text=\"Call completed elsewhere\"", {
            "SIP;cause=200 ;text=\"Call completed elsewhere\"" // RFC 3326 §2
        });
        accepts!(Reason, "Q.850;cause=16;text=\"Terminated\"");
        accepts!(Reason, "SIP");
        let reason = Reason::parse(b"sip;cause=487;text=\"a\\\"b\"").unwrap();
        assert_eq!((reason.sip_cause(), reason.text().as_deref()), (Some(487), Some(&b"a\"b"[..])));
        assert_eq!(Reason::parse(b"Q.850;cause=16").unwrap().sip_cause(), None);
        // RFC 3261 §20.43
        accepts!(Warning, "307 isi.edu \"Session parameter 'foo' not understood\"");
        accepts!(Warning, "301 isi.edu:5060 \"Incompatible network address type 'E.164'\"");
        accepts!(Warning, "399 [2001:db8::1]:5060 \"a, b\"");
        accepts!(Warning, "399 pseudonym_1  \"x\"", "399 pseudonym_1 \"x\"");
        assert_eq!(Warning::parse(b"399 a \"b\\\\c\"").unwrap().text().as_ref(), b"b\\c");
    }

    #[test]
    fn refuses() {
        refuses!(Reason, "", Fault::Empty);
        refuses!(Reason, "SIP;cause=x", Fault::Parameter);
        refuses!(Reason, "SIP;cause", Fault::Parameter);
        refuses!(Reason, "SIP cause=1", Fault::Syntax);
        refuses!(Warning, "", Fault::Empty);
        refuses!(Warning, "1812 overture \"In Progress\"", Fault::Range); // RFC 4475 §3.1.2.5
        refuses!(Warning, "99 a \"x\"", Fault::Range);
        refuses!(Warning, "399a \"x\"", Fault::Syntax);
        refuses!(Warning, "399 a\"x\"", Fault::Syntax);
        refuses!(Warning, "399 a x", Fault::Syntax);
        refuses!(Warning, "399 a \"x", Fault::Syntax);
        refuses!(Warning, "399 a \"x\" y", Fault::Syntax);
        refuses!(Warning, "399 a:b \"x\"", Fault::Syntax);
        refuses!(Warning, "x a \"x\"", Fault::Number);
    }

    proptest! {
        #[test]
        fn display_then_parse_is_identity(
            code in 0u16..1000,
            agent in "[a-z]{1,5}(\\.[a-z]{2}(:[1-9][0-9]{0,3})?)?",
            text in "[a-z ,;<>']{0,12}",
            cause: u32,
        ) {
            let quoted = format!("\"{text}\"");
            let warning = Warning { code, agent: &agent, quoted_text: quoted.as_bytes() };
            let written = warning.to_string();
            prop_assert_eq!(Warning::parse(written.as_bytes()), Ok(warning));
            let written = format!("SIP;cause={cause};text={quoted}");
            let reason = Reason::parse(written.as_bytes()).unwrap();
            prop_assert_eq!((reason.cause, reason.to_string()), (Some(cause), written.clone()));
        }
    }
}
