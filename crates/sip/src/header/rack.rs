//! `RAck` (RFC 3262 §7.2) and `Timestamp` (RFC 3261 §20.38).

use super::cseq;
use super::{Encode, Fault, Sink};
use crate::Method;
use crate::grammar::{self, Scanner};

/// Which reliable provisional response a PRACK acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RAck<'a> {
    /// The `RSeq` of the response.
    pub rseq: u32,
    /// The sequence number in the `CSeq` of the response.
    pub cseq: u32,
    /// The method in the `CSeq` of the response.
    pub method: Method<'a>,
}

impl<'a> RAck<'a> {
    fn read(value: &'a [u8]) -> Result<Self, Fault> {
        let mut scanner = Scanner::new(grammar::trim(value));
        if scanner.is_empty() {
            return Err(Fault::Empty);
        }
        let rseq = scanner.number().ok_or(Fault::Number)?;
        if !scanner.lws() {
            return Err(Fault::Syntax);
        }
        let (cseq, method) = cseq::read(scanner.rest())?;
        let narrow = |number: u64| u32::try_from(number).map_err(|_| Fault::Range);
        Ok(Self { rseq: narrow(rseq)?, cseq: narrow(cseq)?, method })
    }
}

impl Encode for RAck<'_> {
    fn write_to<S: Sink>(&self, out: &mut S) {
        out.show(format_args!("{} {} {}", self.rseq, self.cseq, self.method));
    }
}

header!(RAck<'a>);

/// When the request was sent, by the sender's clock; a response sends it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp<'a> {
    /// Seconds, with or without decimals.
    pub time: &'a str,
    /// How long the answer was held back, in seconds.
    pub delay: Option<&'a str>,
}

impl<'a> Timestamp<'a> {
    fn read(value: &'a [u8]) -> Result<Self, Fault> {
        let value = std::str::from_utf8(grammar::trim(value)).map_err(|_| Fault::Number)?;
        let mut parts = value.split_ascii_whitespace();
        let time = parts.next().ok_or(Fault::Empty)?;
        let delay = parts.next();
        if parts.next().is_some() {
            return Err(Fault::Syntax);
        }
        let begins = time.starts_with(|first: char| first.is_ascii_digit());
        if begins && is_decimal(time) && delay.is_none_or(is_decimal) {
            Ok(Self { time, delay })
        } else {
            Err(Fault::Number)
        }
    }
}

/// `*DIGIT [ "." *DIGIT ]`.
fn is_decimal(text: &str) -> bool {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    [whole, decimals].iter().all(|part| part.bytes().all(|octet| octet.is_ascii_digit()))
}

impl Encode for Timestamp<'_> {
    fn write_to<S: Sink>(&self, out: &mut S) {
        out.text(self.time);
        if let Some(delay) = self.delay {
            out.text(" ");
            out.text(delay);
        }
    }
}

header!(Timestamp<'a>);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::header::Header;

    #[test]
    fn parses() {
        accepts!(RAck, "776656 1 INVITE"); // RFC 3262 §7.2
        accepts!(RAck, "4294967295\t 0  X", "4294967295 0 X");
        accepts!(Timestamp, "54"); // RFC 3261 §20.38
        accepts!(Timestamp, "54.21 0.05");
        accepts!(Timestamp, "54.\r\n .5", "54. .5");
    }

    #[test]
    fn refuses() {
        refuses!(RAck, "", Fault::Empty);
        refuses!(RAck, "1", Fault::Syntax);
        refuses!(RAck, "x 1 INVITE", Fault::Number);
        refuses!(RAck, "1 INVITE", Fault::Number);
        refuses!(RAck, "1 1", Fault::Syntax);
        refuses!(RAck, "4294967296 1 INVITE", Fault::Range);
        refuses!(RAck, "1 4294967296 INVITE", Fault::Range);
        refuses!(RAck, "1 1 IN VITE", Fault::Method);
        refuses!(Timestamp, "", Fault::Empty);
        refuses!(Timestamp, ".5", Fault::Number);
        refuses!(Timestamp, "-1", Fault::Number);
        refuses!(Timestamp, "1.2.3", Fault::Number);
        refuses!(Timestamp, "1 2 3", Fault::Syntax);
    }

    proptest! {
        #[test]
        fn display_then_parse_is_identity(
            rseq: u32,
            number: u32,
            time in "[0-9]{1,4}(\\.[0-9]{0,3})?",
            delay in proptest::option::of("[0-9]{1,2}\\.[0-9]"),
        ) {
            let rack = RAck { rseq, cseq: number, method: Method::Invite };
            let text = rack.to_string();
            prop_assert_eq!(RAck::parse(text.as_bytes()), Ok(rack));
            let timestamp = Timestamp { time: &time, delay: delay.as_deref() };
            let text = timestamp.to_string();
            prop_assert_eq!(Timestamp::parse(text.as_bytes()), Ok(timestamp));
        }
    }
}
