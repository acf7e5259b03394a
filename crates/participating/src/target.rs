//! Patterns for destinations that the operator closes.

use std::fmt;
use std::str::FromStr;

use parlance_sip::uri::Aor;
use serde::{Deserialize, Serialize};

/// A destination, or a group of them such as premium numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum TargetPattern {
    /// One identity.
    Identity(Aor),
    /// Telephone numbers that begin with these digits, `+` first.
    Numbers(String),
    /// Every identity of a domain, in lower case; its port does not matter.
    Domain(String),
}

/// Why a text is no [`TargetPattern`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither sip:user@host, tel:+NUMBER, tel:+DIGITS* nor *@host")]
pub struct TargetError;

impl TargetPattern {
    /// Whether `identity` is meant.
    pub fn covers(&self, identity: &Aor) -> bool {
        match self {
            Self::Identity(known) => known == identity,
            Self::Numbers(digits) => {
                let number = identity.user().filter(|_| identity.scheme() == "tel");
                number.is_some_and(|number| number.starts_with(digits.as_str()))
            }
            Self::Domain(domain) => host(identity) == Some(domain.as_str()),
        }
    }
}

/// The domain of an identity without its port; `None` for a global number.
pub(crate) fn host(identity: &Aor) -> Option<&str> {
    let domain = identity.domain()?;
    match domain.rsplit_once(':') {
        // The colons of an IPv6 address stand in brackets.
        Some((host, port)) if !port.ends_with(']') => Some(host),
        _ => Some(domain),
    }
}

impl FromStr for TargetPattern {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        if let Some(domain) = text.strip_prefix("*@") {
            let wrong = |octet: char| octet.is_whitespace() || octet.is_control();
            let whole = !domain.is_empty() && !domain.contains(wrong);
            return whole.then(|| Self::Domain(domain.to_ascii_lowercase())).ok_or(TargetError);
        }
        if let Some(number) = text.strip_prefix("tel:").and_then(|text| text.strip_suffix('*')) {
            let digits = number.strip_prefix('+').ok_or(TargetError)?;
            let whole = digits.bytes().all(|octet| octet.is_ascii_digit());
            return whole.then(|| Self::Numbers(number.to_owned())).ok_or(TargetError);
        }
        text.parse().map(Self::Identity).map_err(|_| TargetError)
    }
}

impl fmt::Display for TargetPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity(identity) => identity.fmt(f),
            Self::Numbers(digits) => write!(f, "tel:{digits}*"),
            Self::Domain(domain) => write!(f, "*@{domain}"),
        }
    }
}

impl TryFrom<String> for TargetPattern {
    type Error = TargetError;

    fn try_from(text: String) -> Result<Self, TargetError> {
        text.parse()
    }
}

impl From<TargetPattern> for String {
    fn from(pattern: TargetPattern) -> Self {
        pattern.to_string()
    }
}

#[cfg(test)]
mod tests {
    use parlance_sip::uri::Aor;

    use super::{TargetError, TargetPattern};

    #[test]
    fn patterns_cover_what_they_say() {
        #[rustfmt::skip]
        let table = [
            ("sip:bob@ims.test", "sip:bob@IMS.test;x=1", true),
            ("sip:bob@ims.test", "sip:rob@ims.test",     false),
            ("sip:bob@ims.test", "tel:+1",               false),
            ("tel:+1900*",       "tel:+1-900-555",       true),
            ("tel:+1900*",       "tel:+1901555",         false),
            ("tel:+1900*",       "sip:+1900555@ims.test", false),
            ("tel:+1900555",     "tel:+1-900-555",       true),
            ("tel:+1900555",     "tel:+1-900-5556",      false),
            ("*@spam.test",      "sip:x@SPAM.test:5090", true),
            ("*@spam.test",      "sip:x@not.spam.test",  false),
            ("*@spam.test",      "tel:+1",               false),
            ("*@[2001:db8::1]",  "sip:x@[2001:DB8::1]",  true),
        ];
        for (pattern, identity, expected) in table {
            let read: TargetPattern = pattern.parse().unwrap();
            let identity: Aor = identity.parse().unwrap();
            assert_eq!(read.covers(&identity), expected, "{pattern} {identity}");
            assert_eq!(read.to_string().parse(), Ok(read), "{pattern}");
        }
    }

    #[test]
    fn others_are_refused() {
        for text in ["", "bob", "*@", "*@a b", "tel:1900*", "tel:+19x*", "http://a.b"] {
            assert_eq!(text.parse::<TargetPattern>(), Err(TargetError), "{text}");
        }
    }
}
