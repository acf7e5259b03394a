//! The `Status` header field.

use std::fmt;

/// What a REPORT says (RFC 4975 §9, `Status`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status<'a> {
    /// What the code means: 0, written `000`, is the codes of MSRP responses.
    pub namespace: u16,
    /// The code, 0 to 999.
    pub code: u16,
    /// A phrase for people; empty when there is none.
    pub comment: &'a [u8],
}

/// A `Status` is not `3DIGIT SP 3DIGIT [SP comment]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Status is not a namespace and a code of three digits each")]
pub struct StatusError;

impl<'a> Status<'a> {
    /// Reads a value.
    ///
    /// # Errors
    /// [`StatusError`]: it is none.
    pub fn parse(value: &'a [u8]) -> Result<Self, StatusError> {
        let (namespace, rest) = value.split_first_chunk::<3>().ok_or(StatusError)?;
        let rest = rest.strip_prefix(b" ").ok_or(StatusError)?;
        let (code, rest) = rest.split_first_chunk::<3>().ok_or(StatusError)?;
        let comment = match rest {
            [] => rest,
            [b' ', comment @ ..] => comment,
            _ => return Err(StatusError),
        };
        let namespace = three_digits(namespace).ok_or(StatusError)?;
        let code = three_digits(code).ok_or(StatusError)?;
        Ok(Self { namespace, code, comment })
    }
}

impl fmt::Display for Status<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03} {:03}", self.namespace, self.code)?;
        if self.comment.is_empty() {
            return Ok(());
        }
        write!(f, " {}", String::from_utf8_lossy(self.comment))
    }
}

/// The number that three digits are, as a status code is written.
pub(crate) fn three_digits(digits: &[u8; 3]) -> Option<u16> {
    digits.iter().try_fold(0, |number, octet| {
        let digit = octet.checked_sub(b'0').filter(|digit| *digit < 10)?;
        Some(10 * number + u16::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // Covers: MSRP-008
    #[test]
    fn parses() {
        #[rustfmt::skip]
        let table = [
            ("000 200 OK",        0,   200, "OK"), // RFC 4975 §11.5
            ("000 200",           0,   200, ""),
            ("000 408 Too  late", 0,   408, "Too  late"),
            ("999 000 x",         999, 0,   "x"),
        ];
        for (value, namespace, code, comment) in table {
            let status = Status { namespace, code, comment: comment.as_bytes() };
            assert_eq!(Status::parse(value.as_bytes()), Ok(status), "{value}");
            assert_eq!(status.to_string(), value);
        }
    }

    #[test]
    fn refuses() {
        for value in
            ["", "000", "000 ", "000 20", "00 200", "000 2000", "0000 200", "000  200", "000 2x0"]
        {
            assert_eq!(Status::parse(value.as_bytes()), Err(StatusError), "{value}");
        }
    }

    proptest! {
        #[test]
        fn display_then_parse_is_identity(
            namespace in 0_u16..1000, code in 0_u16..1000, comment in "[ -~]{0,20}",
        ) {
            let status = Status { namespace, code, comment: comment.as_bytes() };
            let text = status.to_string();
            prop_assert_eq!(Status::parse(text.as_bytes()), Ok(status));
        }

        #[test]
        fn never_panics(value: Vec<u8>) {
            let _ = Status::parse(&value);
        }
    }
}
