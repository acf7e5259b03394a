//! The `Success-Report` header field.

/// A `Success-Report` is neither `yes` nor `no`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Success-Report is neither yes nor no")]
pub struct SuccessReportError;

/// Whether the sender wants a REPORT when a message has arrived (RFC 4975 §7.1.1,
/// `Success-Report`): `yes` or `no`, in any case. A missing field means `no`.
///
/// # Errors
/// [`SuccessReportError`]: it is neither.
pub fn success_report(value: &[u8]) -> Result<bool, SuccessReportError> {
    match value {
        _ if value.eq_ignore_ascii_case(b"yes") => Ok(true),
        _ if value.eq_ignore_ascii_case(b"no") => Ok(false),
        _ => Err(SuccessReportError),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Covers: MSRP-008
    #[test]
    fn parses_and_refuses() {
        for (value, report) in [("yes", true), ("no", false), ("YES", true)] {
            assert_eq!(success_report(value.as_bytes()), Ok(report), "{value}");
        }
        for value in ["", "y", "yes ", "partial"] {
            assert_eq!(success_report(value.as_bytes()), Err(SuccessReportError), "{value}");
        }
    }
}
