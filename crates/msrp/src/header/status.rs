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
