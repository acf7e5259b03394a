//! The value of `file-date` (RFC 5547 §6).

use std::fmt;
use std::str::FromStr;

use super::file_selector::words;

/// How old a file is; each date as written, in the form of RFC 5322.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileDate {
    /// `creation`.
    pub creation: Option<String>,
    /// `modification`.
    pub modification: Option<String>,
    /// `read`: when it was last read.
    pub read: Option<String>,
}

/// Why a `file-date` was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileDateError {
    /// A date is not `name ":" DQUOTE date-time DQUOTE` with a name that is known.
    #[error("date is not a known name and a quoted date")]
    Shape,
    /// There is no date, or one comes twice.
    #[error("there is no date or one comes twice")]
    Count,
}

impl FromStr for FileDate {
    type Err = FileDateError;

    fn from_str(value: &str) -> Result<Self, FileDateError> {
        let mut read = Self::default();
        for word in words(value) {
            let (name, value) = word.split_once(':').ok_or(FileDateError::Shape)?;
            let date = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            let date = date.filter(|date| !date.is_empty() && !date.contains('"'));
            let place = match name {
                "creation" => &mut read.creation,
                "modification" => &mut read.modification,
                "read" => &mut read.read,
                _ => return Err(FileDateError::Shape),
            };
            if place.replace(date.ok_or(FileDateError::Shape)?.to_owned()).is_some() {
                return Err(FileDateError::Count);
            }
        }
        if read == Self::default() { Err(FileDateError::Count) } else { Ok(read) }
    }
}

impl fmt::Display for FileDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dates = [
            ("creation", &self.creation),
            ("modification", &self.modification),
            ("read", &self.read),
        ];
        let written = dates.into_iter().filter_map(|(name, date)| {
            let date = date.as_ref()?;
            Some(format!("{name}:\"{date}\""))
        });
        f.write_str(&written.collect::<Vec<_>>().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parses() {
        // RFC 5547 §6
        let value = "creation:\"Mon, 15 May 2006 15:01:31 +0300\"";
        let read: FileDate = value.parse().unwrap();
        assert_eq!(read.creation.as_deref(), Some("Mon, 15 May 2006 15:01:31 +0300"));
        assert_eq!(read.to_string(), value);
        let all: FileDate = "read:\"c\" modification:\"b\" creation:\"a\"".parse().unwrap();
        assert_eq!(all.to_string(), "creation:\"a\" modification:\"b\" read:\"c\"");
    }

    #[test]
    fn refuses() {
        #[rustfmt::skip]
        let table = [
            ("",                              FileDateError::Count),
            ("creation",                      FileDateError::Shape),
            ("creation:x",                    FileDateError::Shape),
            ("creation:\"\"",                 FileDateError::Shape),
            ("creation:\"x",                  FileDateError::Shape),
            ("creation:\"",                   FileDateError::Shape),
            ("creation:\"x\"\"y\"",           FileDateError::Shape),
            ("born:\"x\"",                    FileDateError::Shape),
            ("read:\"x\" read:\"x\"",         FileDateError::Count),
        ];
        for (value, error) in table {
            assert_eq!(value.parse::<FileDate>(), Err(error), "{value}");
        }
    }

    proptest! {
        #[test]
        fn display_then_parse_is_identity(
            creation in prop::option::of("[A-Za-z0-9 ,:+-]{1,20}"),
            modification in prop::option::of("[A-Za-z0-9 ,:+-]{1,20}"),
            read in "[A-Za-z0-9 ,:+-]{1,20}",
        ) {
            let date = FileDate { creation, modification, read: Some(read) };
            prop_assert_eq!(date.to_string().parse(), Ok(date));
        }

        #[test]
        fn never_panics(value: String, near in "(creation|read|:|\"| |x){0,20}") {
            let _ = value.parse::<FileDate>();
            let _ = near.parse::<FileDate>();
        }
    }
}
