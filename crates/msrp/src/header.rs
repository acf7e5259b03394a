//! Header fields, one file and one type each (RFC 4975 §9, RFC 4976 §7, RFC 7701 §7.1).

mod byte_range;
mod expires;
mod failure_report;
mod status;
mod success_report;
mod use_nickname;

pub use byte_range::{ByteRange, ByteRangeError};
pub use expires::{Expires, ExpiresError};
pub use failure_report::{FailureReport, FailureReportError};
pub(crate) use status::three_digits;
pub use status::{Status, StatusError};
pub use success_report::{SuccessReportError, success_report};
pub use use_nickname::{UseNickname, UseNicknameError};

/// Whether `octet` may be in a `token` of RFC 4975 §9.
pub(crate) fn is_token_octet(octet: u8) -> bool {
    octet.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]".contains(&octet)
}

/// `1*DIGIT` that fits 64 bits.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, octet| {
        let digit = octet.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}
