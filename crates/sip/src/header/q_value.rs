//! `qvalue` (RFC 3261 §25.1).

use std::fmt;

/// A preference from 0 to 1 in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QValue(u16);

impl QValue {
    /// 1, which an absent `q` stands for.
    pub const ONE: Self = Self(1000);

    /// Reads `0[.ddd]` or `1[.000]`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        if decimals.len() > 3 || !decimals.bytes().all(|octet| octet.is_ascii_digit()) {
            return None;
        }
        let unit: u16 = match whole {
            "0" => 0,
            "1" => 1000,
            _ => return None,
        };
        let fraction = format!("{decimals:0<3}").parse::<u16>().ok()?;
        Some(Self(unit + fraction)).filter(|value| *value <= Self::ONE)
    }

    /// The preference in thousandths, 0 to 1000.
    pub fn thousandths(self) -> u16 {
        self.0
    }
}

impl fmt::Display for QValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:03}", self.0 / 1000, self.0 % 1000);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parses() {
        #[rustfmt::skip]
        let table = [
            ("0", Some(0)), ("1", Some(1000)), ("0.7", Some(700)), ("0.33", Some(330)),
            ("1.000", Some(1000)), ("0.", Some(0)), ("0.001", Some(1)),
            ("1.001", None), ("2", None), ("0.1234", None), ("", None), (".5", None),
            ("-0.5", None), ("00", None), ("0.+5", None),
        ];
        for (text, thousandths) in table {
            assert_eq!(QValue::parse(text).map(QValue::thousandths), thousandths, "{text}");
        }
    }

    proptest! {
        #[test]
        fn display_then_parse_is_identity(thousandths in 0u16..=1000) {
            let value = QValue(thousandths);
            prop_assert_eq!(QValue::parse(&value.to_string()), Some(value));
        }

        #[test]
        fn never_panics(text: String) {
            let _ = QValue::parse(&text);
        }
    }
}
