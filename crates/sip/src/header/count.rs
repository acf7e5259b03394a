//! Headers that are one number: `Max-Forwards`, `Max-Breadth`, `Content-Length`, `RSeq`.

use super::{Encode, Fault, Sink};
use crate::grammar;

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident($number:ty);)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
            pub struct $name(pub $number);

            impl $name {
                fn read(value: &[u8]) -> Result<Self, Fault> {
                    <$number>::try_from(number(value)?).map(Self).map_err(|_| Fault::Range)
                }
            }

            impl Encode for $name {
                fn write_to<S: Sink>(&self, out: &mut S) {
                    out.show(self.0);
                }
            }

            header!($name);
        )*
    };
}

counts! {
    /// How many proxies may still forward the request, 0 to 255 (RFC 3261 §20.22).
    MaxForwards(u8);
    /// Into how many parallel branches the request may still fork (RFC 5393 §5.3).
    MaxBreadth(u32);
    /// The size of the body in octets (RFC 3261 §20.14).
    ContentLength(u64);
    /// Numbers a reliable provisional response, 1 to 2^32-1 (RFC 3262 §7.1).
    RSeq(u32);
}

impl MaxForwards {
    /// What a request of our own, or one without the header, starts with (RFC 3261 §8.1.1.6).
    pub const DEFAULT: Self = Self(70);
}

/// `1*DIGIT`, the whole value.
pub(super) fn number(value: &[u8]) -> Result<u64, Fault> {
    let value = grammar::trim(value);
    if value.is_empty() {
        return Err(Fault::Empty);
    }
    grammar::decimal(value).ok_or(Fault::Number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::header::Header;

    #[test]
    fn parses() {
        accepts!(MaxForwards, "70");
        accepts!(MaxForwards, "0068", "68"); // RFC 4475 §3.1.1.1
        accepts!(MaxForwards, "255");
        accepts!(MaxBreadth, "60");
        accepts!(ContentLength, "   226", "226"); // as SIPp writes it
        accepts!(ContentLength, "0");
        accepts!(RSeq, "988789"); // RFC 3262 §7.1
    }

    #[test]
    fn refuses() {
        refuses!(MaxForwards, "", Fault::Empty);
        refuses!(MaxForwards, "256", Fault::Range);
        refuses!(MaxForwards, "300", Fault::Range); // RFC 4475 §3.1.2.4
        refuses!(MaxForwards, "+1", Fault::Number);
        refuses!(ContentLength, "-999", Fault::Number); // RFC 4475 §3.1.2.3
        refuses!(ContentLength, "1 2", Fault::Number);
        refuses!(MaxBreadth, "4294967296", Fault::Range);
        refuses!(RSeq, "99999999999999999999999", Fault::Range);
    }

    proptest! {
        #[test]
        fn display_then_parse_is_identity(forwards: u8, rseq: u32) {
            let text = MaxForwards(forwards).to_string();
            prop_assert_eq!(MaxForwards::parse(text.as_bytes()), Ok(MaxForwards(forwards)));
            let text = RSeq(rseq).to_string();
            prop_assert_eq!(RSeq::parse(text.as_bytes()), Ok(RSeq(rseq)));
        }
    }
}
