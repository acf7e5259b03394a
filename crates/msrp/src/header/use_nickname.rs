//! The `Use-Nickname` header field.

use std::fmt;

/// The nickname that a participant asks for (RFC 7701 §7.1, `Use-Nickname`), without its quotes
/// and backslashes; empty to give the present one back (§7.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UseNickname(pub String);

/// Why a `Use-Nickname` was refused: 424 (RFC 7701 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UseNicknameError {
    /// It does not stand in quotes, or something follows them.
    #[error("Use-Nickname is not a quoted string")]
    Quotes,
    /// It has a control character, a backslash that quotes neither itself nor a quote, or octets
    /// that are not UTF-8.
    #[error("Use-Nickname has a character that it cannot have")]
    Character,
    /// It has more than 1023 characters.
    #[error("Use-Nickname is longer than 1023 characters")]
    TooLong,
}

impl UseNickname {
    /// The most characters of a nickname (`1*1023`, RFC 7701 §7.1).
    pub const CHARACTERS_MAX: usize = 1023;

    /// Reads a value.
    ///
    /// # Errors
    /// [`UseNicknameError`]: it is none.
    pub fn parse(value: &[u8]) -> Result<Self, UseNicknameError> {
        let text = std::str::from_utf8(value).map_err(|_| UseNicknameError::Character)?;
        let text = text.strip_prefix('"').ok_or(UseNicknameError::Quotes)?;
        let text = text.strip_suffix('"').ok_or(UseNicknameError::Quotes)?;
        let mut name = String::with_capacity(text.len());
        let mut characters = text.chars();
        let mut count = 0;
        while let Some(character) = characters.next() {
            count += 1;
            name.push(match character {
                '\\' => match characters.next() {
                    Some(quoted @ ('\\' | '"')) => quoted,
                    // The quote that ended the value was quoted itself.
                    None => return Err(UseNicknameError::Quotes),
                    Some(_) => return Err(UseNicknameError::Character),
                },
                '"' => return Err(UseNicknameError::Quotes),
                '\t' => '\t',
                other if other.is_ascii_control() => return Err(UseNicknameError::Character),
                other => other,
            });
        }
        if count > Self::CHARACTERS_MAX {
            return Err(UseNicknameError::TooLong);
        }
        Ok(Self(name))
    }
}

impl fmt::Display for UseNickname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let escaped = self.0.replace('\\', "\\\\").replace('"', "\\\"");
        write!(f, "\"{escaped}\"")
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
            ("\"Alice the great\"", "Alice the great"), // RFC 7701 §9.2
            ("\"\"",                ""),                // gives it back, §7.3
            (r#""a \\ \"b\"""#,    r#"a \ "b""#),
            ("\"\u{fc}\u{1F600}\t\"", "\u{fc}\u{1F600}\t"),
        ];
        for (value, name) in table {
            let nickname = UseNickname(name.to_owned());
            assert_eq!(UseNickname::parse(value.as_bytes()), Ok(nickname.clone()), "{value}");
            assert_eq!(nickname.to_string(), value);
        }
        let longest = "x".repeat(UseNickname::CHARACTERS_MAX);
        assert!(UseNickname::parse(format!("\"{longest}\"").as_bytes()).is_ok());
    }

    #[test]
    fn refuses() {
        use UseNicknameError::{Character, Quotes, TooLong};
        let long = format!("\"{}\"", "\u{fc}".repeat(UseNickname::CHARACTERS_MAX + 1));
        #[rustfmt::skip]
        let table: [(&[u8], _); 10] = [
            (b"",              Quotes),
            (b"Alice",         Quotes),
            (b"\"",            Quotes),
            (b"\"Alice",       Quotes),
            (b"\"Alice\\\"",   Quotes),
            (b"\"a\"b\"",      Quotes),
            (b"\"a\\b\"",      Character),
            (b"\"a\x00b\"",    Character),
            (b"\"\xFF\"",      Character),
            (long.as_bytes(),  TooLong),
        ];
        for (value, error) in table {
            assert_eq!(UseNickname::parse(value), Err(error), "{}", value.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn display_then_parse_is_identity(name in "[^\\x00-\\x08\\x0A-\\x1F\\x7F]{0,40}") {
            let nickname = UseNickname(name);
            prop_assert_eq!(UseNickname::parse(nickname.to_string().as_bytes()), Ok(nickname));
        }

        #[test]
        fn never_panics(value: Vec<u8>) {
            let _ = UseNickname::parse(&value);
        }
    }
}
