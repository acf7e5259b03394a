//! The values of `accept-types` and `accept-wrapped-types` (RFC 4975 §8.6).

use std::fmt;
use std::str::FromStr;

use crate::grammar::is_token;

/// Media types that a receiver takes: `*`, `type/*` and `type/subtype`, in order of preference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MediaRanges {
    entries: Vec<String>,
}

/// Why a list of media types was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MediaRangesError {
    /// An entry is neither `*` nor `type/*` nor `type/subtype`.
    #[error("entry is not a media type or a wildcard")]
    Entry,
}

impl MediaRanges {
    /// Whether nothing is taken.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries as written, parameters included.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(String::as_str)
    }

    /// Whether content of `media_type`, `type/subtype` with or without parameters, may be sent.
    ///
    /// Case does not matter, and parameters do not either, neither here nor in the entries.
    pub fn admits(&self, media_type: &str) -> bool {
        let Some((kind, subtype)) = essence(media_type).split_once('/') else { return false };
        self.entries.iter().any(|entry| match essence(entry).split_once('/') {
            None => true,
            Some((own, range)) => {
                own.eq_ignore_ascii_case(kind)
                    && (range == "*" || range.eq_ignore_ascii_case(subtype))
            }
        })
    }
}

impl FromStr for MediaRanges {
    type Err = MediaRangesError;

    fn from_str(value: &str) -> Result<Self, MediaRangesError> {
        let mut entries = Vec::new();
        for entry in super::file_selector::words(value) {
            let valid = match essence(entry).split_once('/') {
                None => essence(entry) == "*",
                Some((kind, subtype)) => {
                    let token = |text: &str| !text.is_empty() && text.bytes().all(is_token);
                    kind != "*" && token(kind) && token(subtype)
                }
            };
            if !valid {
                return Err(MediaRangesError::Entry);
            }
            entries.push(entry.to_owned());
        }
        Ok(Self { entries })
    }
}

impl fmt::Display for MediaRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.entries.join(" "))
    }
}

/// A media type or range without its parameters.
fn essence(entry: &str) -> &str {
    entry.split(';').next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn admits() {
        #[rustfmt::skip]
        let table = [
            ("text/plain",                   "text/plain",               true),
            ("text/plain",                   "Text/PLAIN; charset=utf-8", true),
            ("text/plain;format=flowed",     "text/plain",               true),
            ("text/plain",                   "text/html",                false),
            ("text/*",                       "text/html",                true),
            ("text/*",                       "image/png",                false),
            ("message/cpim text/plain *",    "image/png",                true),
            ("a/b;x=\"y z\" c/d",            "c/d",                      true),
            ("",                             "text/plain",               false),
            ("*",                            "text",                     false),
        ];
        for (ranges, media_type, expect) in table {
            let read: MediaRanges = ranges.parse().unwrap();
            assert_eq!(read.admits(media_type), expect, "{ranges} {media_type}");
        }
    }

    #[test]
    fn refuses() {
        for value in ["text", "text/", "/plain", "*/*", "*/plain", "te,xt/plain", "text/pl/ain"] {
            assert_eq!(value.parse::<MediaRanges>(), Err(MediaRangesError::Entry), "{value}");
        }
    }

    proptest! {
        #[test]
        fn display_then_parse_is_identity(
            entries in prop::collection::vec(
                "[*]|[a-z]{1,5}/([a-z]{1,5}|[*])(;a=\"[a-z ;]{0,5}\")?", 0..5
            )
        ) {
            let ranges = MediaRanges { entries };
            prop_assert_eq!(ranges.to_string().parse(), Ok(ranges));
        }

        #[test]
        fn never_panics(value: String, near in "[a*/;\" ]{0,20}") {
            for value in [value, near] {
                let _ = value.parse::<MediaRanges>().map(|ranges| ranges.admits("a/a"));
            }
        }
    }
}
