//! The value of `file-selector` (RFC 5547 §6).

use std::fmt;
use std::str::FromStr;

/// Which file a media line is for: every selector that is present must match it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileSelector {
    /// `name`: the file name as written between the quotes, percent-encoding included.
    pub name: Option<String>,
    /// `type`: the media type, parameters included.
    pub media_type: Option<String>,
    /// `size`: the octets of the file.
    pub size: Option<u64>,
    /// `hash`: algorithm and value, `sha-1:72:24:...`; there may be several.
    pub hashes: Vec<String>,
    /// Selectors that are not known, as written.
    pub others: Vec<String>,
}

/// Why a `file-selector` was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileSelectorError {
    /// A selector is not `name ":" value`.
    #[error("selector is not name and value")]
    Shape,
    /// `size` is not a number of 64 bits.
    #[error("size is not a number")]
    Size,
    /// A selector other than `hash` comes twice.
    #[error("selector comes twice")]
    Twice,
}

impl FromStr for FileSelector {
    type Err = FileSelectorError;

    fn from_str(value: &str) -> Result<Self, FileSelectorError> {
        let mut read = Self::default();
        // A quote that does not end would take in what is written behind it.
        if value.bytes().filter(|octet| *octet == b'"').count() % 2 == 1 {
            return Err(FileSelectorError::Shape);
        }
        for selector in words(value) {
            let (name, value) = selector.split_once(':').ok_or(FileSelectorError::Shape)?;
            match name {
                "name" => {
                    let inner = value.strip_prefix('"').and_then(|name| name.strip_suffix('"'));
                    once(&mut read.name, inner.ok_or(FileSelectorError::Shape)?.to_owned())?;
                }
                "type" => once(&mut read.media_type, value.to_owned())?,
                "size" => once(&mut read.size, number(value)?)?,
                "hash" => read.hashes.push(value.to_owned()),
                "" => return Err(FileSelectorError::Shape),
                _ => read.others.push(selector.to_owned()),
            }
        }
        Ok(read)
    }
}

impl fmt::Display for FileSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.iter().map(|name| format!("name:\"{name}\""));
        let media_type = self.media_type.iter().map(|media_type| format!("type:{media_type}"));
        let size = self.size.iter().map(|size| format!("size:{size}"));
        let hashes = self.hashes.iter().map(|hash| format!("hash:{hash}"));
        let known = name.chain(media_type).chain(size).chain(hashes);
        let written: Vec<String> = known.chain(self.others.iter().cloned()).collect();
        f.write_str(&written.join(" "))
    }
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), FileSelectorError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(FileSelectorError::Twice),
    }
}

fn number(value: &str) -> Result<u64, FileSelectorError> {
    if !value.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err(FileSelectorError::Size);
    }
    value.parse().map_err(|_| FileSelectorError::Size)
}

/// The words of `value`, parted by spaces outside double quotes.
pub(super) fn words(value: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let apart = move |character: char| {
        quoted ^= character == '"';
        character == ' ' && !quoted
    };
    value.split(apart).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parses() {
        let hash = "sha-1:72:24:5F:E8:65:3D:DA:F3:71:36:2F:86:D4:71:91:3E:E4:A2:CE:2E";
        // RFC 5547 §8.2.1
        let value = format!("name:\"My cool picture.jpg\" type:image/jpeg size:32349 hash:{hash}");
        let read: FileSelector = value.parse().unwrap();
        assert_eq!(read.name.as_deref(), Some("My cool picture.jpg"));
        assert_eq!(read.media_type.as_deref(), Some("image/jpeg"));
        assert_eq!(read.size, Some(32349));
        assert_eq!(read.hashes, [hash]);
        assert_eq!(read.to_string(), value);
        assert_eq!("".parse(), Ok(FileSelector::default()));
        let other: FileSelector = "size:1 odd:x hash:a:1  hash:b:2".parse().unwrap();
        assert_eq!(
            (other.others, other.hashes),
            (vec!["odd:x".into()], vec!["a:1".into(), "b:2".into()])
        );
    }

    #[test]
    fn refuses() {
        #[rustfmt::skip]
        let table = [
            ("size",           FileSelectorError::Shape),
            (":x",             FileSelectorError::Shape),
            ("name:x",         FileSelectorError::Shape),
            ("name:\"x",       FileSelectorError::Shape),
            ("name:\"",        FileSelectorError::Shape),
            ("x:y hash:a:1\"", FileSelectorError::Shape),
            ("size:",          FileSelectorError::Size),
            ("size:+1",        FileSelectorError::Size),
            ("size:18446744073709551616", FileSelectorError::Size),
            ("size:1 size:1",  FileSelectorError::Twice),
        ];
        for (value, error) in table {
            assert_eq!(value.parse::<FileSelector>(), Err(error), "{value}");
        }
    }

    proptest! {
        #[test]
        fn display_then_parse_is_identity(
            name in prop::option::of("[a-zé .%0-9:]{0,9}"), size: Option<u64>,
            media_type in prop::option::of("[a-z]{1,5}/[a-z]{1,5}(;a=\"[a-z ]{0,5}\")?"),
            hashes in prop::collection::vec("[a-z]{1,4}:[0-9A-F:]{1,9}", 0..3),
        ) {
            let others = vec!["x:y".to_owned()];
            let selector = FileSelector { name, media_type, size, hashes, others };
            prop_assert_eq!(selector.to_string().parse(), Ok(selector));
        }

        #[test]
        fn never_panics(value: String, near in "(name|size|type|hash|:|\"| |1){0,20}") {
            let _ = value.parse::<FileSelector>();
            let _ = near.parse::<FileSelector>();
        }
    }
}
