//! Character classes and small scanners of the SIP grammar (RFC 3261 §25.1).

/// Whether `octet` may stand in a `token`.
pub fn is_token(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&octet)
}
