//! `Privacy` (RFC 3323 §4.2, RFC 3325 §9.3, RFC 7044 §10.1).

use super::{Encode, Fault, Sink};
use crate::grammar::{self, Scanner};

/// What the sender wants hidden. The values stand in one field, separated by semicolons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Privacy<'a> {
    raw: &'a [u8],
}

/// One value of `Privacy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrivacyValue<'a> {
    /// Headers that tell who the user is are obscured.
    Header,
    /// The session's media addresses are hidden.
    Session,
    /// The user-supplied identity is withheld.
    User,
    /// Nothing is hidden, and the header must not be changed.
    None,
    /// If the rest cannot be done the request fails: 500.
    Critical,
    /// The asserted identity stays inside the trust domain (RFC 3325).
    Id,
    /// The history of the request is withheld (RFC 7044).
    History,
    /// Any other token.
    Other(&'a str),
}

impl<'a> PrivacyValue<'a> {
    fn new(token: &'a str) -> Self {
        const KNOWN: [(&str, PrivacyValue<'static>); 7] = [
            ("header", PrivacyValue::Header),
            ("session", PrivacyValue::Session),
            ("user", PrivacyValue::User),
            ("none", PrivacyValue::None),
            ("critical", PrivacyValue::Critical),
            ("id", PrivacyValue::Id),
            ("history", PrivacyValue::History),
        ];
        let known = KNOWN.iter().find(|(name, _)| name.eq_ignore_ascii_case(token));
        known.map_or(Self::Other(token), |(_, value)| *value)
    }
}

impl<'a> Privacy<'a> {
    fn read(value: &'a [u8]) -> Result<Self, Fault> {
        let raw = grammar::trim(value);
        let mut scanner = Scanner::new(raw);
        if raw.is_empty() {
            return Err(Fault::Empty);
        }
        loop {
            scanner.token().ok_or(Fault::Syntax)?;
            if scanner.is_empty() {
                return Ok(Self { raw });
            }
            if !scanner.separator(b';') {
                return Err(Fault::Syntax);
            }
        }
    }

    /// The values in order.
    pub fn iter(&self) -> impl Iterator<Item = PrivacyValue<'a>> + use<'a> {
        let mut scanner = Scanner::new(self.raw);
        std::iter::from_fn(move || {
            let token = scanner.token();
            scanner.separator(b';');
            token.map(PrivacyValue::new)
        })
    }

    /// Whether the value is among them.
    pub fn has(&self, value: PrivacyValue<'_>) -> bool {
        self.iter().any(|have| have == value)
    }

    /// Whether nothing is to be hidden, whatever else is written (RFC 3323 §4.2).
    pub fn is_none(&self) -> bool {
        self.has(PrivacyValue::None)
    }

    /// Whether a value that is not known must make the request fail: 500 (RFC 3323 §5).
    pub fn is_critical_and_unknown(&self) -> bool {
        !self.is_none()
            && self.has(PrivacyValue::Critical)
            && self.iter().any(|value| matches!(value, PrivacyValue::Other(_)))
    }
}

impl Encode for Privacy<'_> {
    fn write_to<S: Sink>(&self, out: &mut S) {
        out.octets(self.raw);
    }
}

header!(Privacy<'a>);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::header::Header;

    // Covers: CORE-053
    #[test]
    fn parses() {
        use PrivacyValue::{Critical, Header as Headers, History, Id, None, Other, Session, User};
        #[rustfmt::skip]
        let table: [(&str, &[PrivacyValue<'_>], bool, bool); 6] = [
            ("id", &[Id], false, false), // RFC 3325 §9.3
            ("header;session;user;history", &[Headers, Session, User, History], false, false),
            ("User ; CRITICAL;\r\n id", &[User, Critical, Id], false, false),
            ("none", &[None], true, false),
            ("new;critical", &[Other("new"), Critical], false, true),
            ("none;new;critical", &[None, Other("new"), Critical], true, false),
        ];
        for (text, values, none, fails) in table {
            let privacy = Privacy::parse(text.as_bytes()).unwrap();
            assert_eq!(privacy.iter().collect::<Vec<_>>(), values, "{text}");
            assert_eq!(
                (privacy.is_none(), privacy.is_critical_and_unknown()),
                (none, fails),
                "{text}"
            );
            assert_eq!(Privacy::parse(privacy.to_string().as_bytes()), Ok(privacy));
        }
        assert!(!Privacy::parse(b"id").unwrap().has(User));
    }

    #[test]
    fn refuses() {
        refuses!(Privacy, "", Fault::Empty);
        for text in [";", "id;", ";id", "id;;user", "id,user", "id user", "\"id\""] {
            refuses!(Privacy, text, Fault::Syntax);
        }
    }

    proptest! {
        #[test]
        fn display_then_parse_is_identity(
            text in "(id|user|none|[a-z]{1,5})( ?; ?(header|critical|[a-z]{1,5})){0,4}",
        ) {
            let privacy = Privacy::parse(text.as_bytes()).unwrap();
            prop_assert_eq!(privacy.iter().count(), text.split(';').count());
            prop_assert_eq!(privacy.to_string(), text);
        }
    }
}
