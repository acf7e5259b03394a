//! `CSeq` (RFC 3261 §20.16, §8.1.1.5).

use super::{Encode, Fault, Sink};
use crate::Method;
use crate::grammar;

/// Orders the requests of a dialog and names the method of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CSeq<'a> {
    /// The sequence number, below 2^31 (RFC 3261 §8.1.1.5).
    pub number: u32,
    /// The method, case-sensitive.
    pub method: Method<'a>,
}

/// The largest sequence number (RFC 3261 §8.1.1.5).
const NUMBER_MAX: u64 = (1 << 31) - 1;

impl<'a> CSeq<'a> {
    pub(super) fn read(value: &'a [u8]) -> Result<Self, Fault> {
        let (number, method) = read(grammar::trim(value))?;
        let number = u32::try_from(number).ok().filter(|&number| u64::from(number) <= NUMBER_MAX);
        Ok(Self { number: number.ok_or(Fault::Range)?, method })
    }
}

/// `1*DIGIT LWS Method`, to the end: also the tail of RAck.
pub(super) fn read(value: &[u8]) -> Result<(u64, Method<'_>), Fault> {
    if value.is_empty() {
        return Err(Fault::Empty);
    }
    let end = value.iter().position(|octet| !octet.is_ascii_digit()).unwrap_or(value.len());
    let (digits, rest) = value.split_at_checked(end).ok_or(Fault::Number)?;
    let number = grammar::decimal(digits).ok_or(Fault::Number)?;
    let method = grammar::skip_lws(rest);
    if method.len() == rest.len() {
        return Err(Fault::Syntax);
    }
    Method::parse(method).map(|method| (number, method)).ok_or(Fault::Method)
}

impl Encode for CSeq<'_> {
    fn write_to<S: Sink>(&self, out: &mut S) {
        out.show(self.number);
        out.text(" ");
        out.text(self.method.as_str());
    }
}

header!(CSeq<'a>);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::header::Header;

    #[test]
    fn parses() {
        accepts!(CSeq, "4711 INVITE"); // RFC 3261 §20.16
        accepts!(CSeq, "0009\r\n  INVITE", "9 INVITE"); // RFC 4475 §3.1.1.1
        accepts!(CSeq, "139122385 !interesting-Method0123456789_*+`.%indeed'~"); // §3.1.1.2
        accepts!(CSeq, "29344 RE%47IST%45R"); // §3.1.1.5
        accepts!(CSeq, "2147483647 ACK");
        accepts!(CSeq, "0 invite");
    }

    #[test]
    fn refuses() {
        #[rustfmt::skip]
        let table = [
            ("", Fault::Empty),
            ("INVITE", Fault::Number),
            ("-1 INVITE", Fault::Number),
            ("1", Fault::Syntax),
            ("1INVITE", Fault::Syntax),
            ("1 INV ITE", Fault::Method),
            ("1 INVITE;x", Fault::Method),
            ("2147483648 INVITE", Fault::Range),
            ("4294967295 INVITE", Fault::Range),
            ("36893488147419103232 REGISTER", Fault::Range), // RFC 4475 §3.1.2.4
        ];
        for (text, fault) in table {
            refuses!(CSeq, text, fault);
        }
        let error = CSeq::parse(b"4294967296 INVITE").unwrap_err();
        assert_eq!(error.to_string(), "bad CSeq: number out of range");
    }

    proptest! {
        #[test]
        fn display_then_parse_is_identity(
            number in 0u32..1 << 31,
            method in "[A-Za-z.!%*_+`'~-]{1,9}",
        ) {
            let cseq = CSeq { number, method: Method::parse(method.as_bytes()).unwrap() };
            let text = cseq.to_string();
            prop_assert_eq!(CSeq::parse(text.as_bytes()), Ok(cseq));
        }
    }
}
