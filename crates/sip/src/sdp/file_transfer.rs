//! The attributes of a media line that is for one file (RFC 5547 §6).

use sdp_types::{Attribute, Media};

use super::{FileDate, FileRange, FileSelector, MediaError, MediaLine};
use crate::grammar::is_token;

/// A media line's file and what is told of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileTransfer {
    /// `file-selector`: which file. Without any selector it asks whether file transfer is
    /// understood, and no file is meant (RFC 5547 §8.5).
    pub selector: FileSelector,
    /// `file-transfer-id`: tells a new transfer from a repeated description (RFC 5547 §8.1).
    pub id: Option<String>,
    /// `file-disposition`, a token such as `render`, which is meant when there is none, or
    /// `attachment` (RFC 5547 §7).
    pub disposition: Option<String>,
    /// `file-date`.
    pub date: Option<FileDate>,
    /// `file-icon`: the `cid:` URL of a body part that shows the file (RFC 5547 §8.8).
    pub icon: Option<String>,
    /// `file-range`: which octets; without it the whole file.
    pub range: Option<FileRange>,
}

const SELECTOR: &str = "file-selector";
const ID: &str = "file-transfer-id";

impl FileTransfer {
    /// Reads the attributes of a line; `None` when it is not for a file: it has neither selector
    /// nor identifier.
    ///
    /// What only describes the file (`file-disposition`, `file-date`, `file-icon`) is passed over
    /// when it is malformed; what decides on the transfer is refused.
    pub(super) fn read(line: &MediaLine<'_>) -> Result<Option<Self>, MediaError> {
        let (selector, id) = (line.attribute(SELECTOR), line.attribute(ID));
        if selector.is_none() && id.is_none() {
            return Ok(None);
        }
        let range = line.attribute("file-range").map(str::parse).transpose();
        let disposition = line.attribute("file-disposition").and_then(token);
        let icon = line.attribute("file-icon").map(str::trim);
        Ok(Some(Self {
            selector: selector.unwrap_or_default().parse().map_err(|_| MediaError::FileSelector)?,
            id: id.map(|id| token(id).ok_or(MediaError::FileTransferId)).transpose()?,
            disposition,
            date: line.attribute("file-date").and_then(|date| date.parse().ok()),
            icon: icon.filter(|url| is_cid_url(url)).map(str::to_owned),
            range: range.map_err(|_| MediaError::FileRange)?,
        }))
    }

    pub(super) fn write(&self, media: &mut Media) {
        let selector = self.selector.to_string();
        let value = (!selector.is_empty()).then_some(selector);
        media.add_attribute(Attribute { attribute: SELECTOR.to_owned(), value });
        let mut add = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                media.add_attribute_with_value(name, value);
            }
        };
        add(ID, self.id.clone());
        add("file-disposition", self.disposition.clone());
        add("file-date", self.date.as_ref().map(FileDate::to_string));
        add("file-icon", self.icon.clone());
        add("file-range", self.range.as_ref().map(FileRange::to_string));
    }
}

/// Copies what a refusal of `line` repeats of its file (RFC 5547 §8.3), octet for octet.
pub(super) fn mirror(line: &MediaLine<'_>, refused: &mut Media) {
    for name in [SELECTOR, ID] {
        if let Some(value) = line.attribute(name) {
            let value = (!value.is_empty()).then(|| value.to_owned());
            refused.add_attribute(Attribute { attribute: name.to_owned(), value });
        }
    }
}

fn token(value: &str) -> Option<String> {
    let value = value.trim();
    (!value.is_empty() && value.bytes().all(is_token)).then(|| value.to_owned())
}

/// `cid:` and an address (RFC 2392 §2).
fn is_cid_url(url: &str) -> bool {
    let scheme = url.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("cid:"));
    scheme && url.len() > 4 && url.bytes().all(|octet| octet.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::super::Sdp;
    use super::*;

    fn read(attributes: &str) -> Result<Option<FileTransfer>, MediaError> {
        let head = "v=0\r\no=- 1 2 IN IP4 h\r\ns=-\r\nt=0 0\r\nm=message 7654 TCP/MSRP *\r\n";
        let sdp = Sdp::parse(format!("{head}{attributes}").as_bytes()).unwrap();
        FileTransfer::read(&sdp.media().next().unwrap())
    }

    // Covers: MSRP-020
    #[test]
    fn reads_every_attribute() {
        // RFC 5547 §6, its folded lines in one.
        let file = read(
            "a=file-selector:name:\"My cool picture.jpg\" type:image/jpeg size:32349\r\n\
             a=file-transfer-id:vBnG916bdberum2fFEABR1FR3ExZMUrd\r\n\
             a=file-disposition:attachment\r\n\
             a=file-date:creation:\"Mon, 15 May 2006 15:01:31 +0300\"\r\n\
             a=file-icon:cid:id2@alicepc.example.com\r\na=file-range:1-32349\r\n",
        );
        let file = file.unwrap().unwrap();
        assert_eq!(file.selector.size, Some(32349));
        assert_eq!(file.id.as_deref(), Some("vBnG916bdberum2fFEABR1FR3ExZMUrd"));
        assert_eq!(file.disposition.as_deref(), Some("attachment"));
        assert!(file.date.unwrap().creation.unwrap().starts_with("Mon, 15 May"));
        assert_eq!(file.icon.as_deref(), Some("cid:id2@alicepc.example.com"));
        assert_eq!(file.range.unwrap().octets(), Some(32349));
    }

    #[test]
    fn a_line_without_selector_and_identifier_is_for_no_file() {
        assert_eq!(read("a=file-range:x\r\na=file-icon:cid:a@b\r\n"), Ok(None));
        assert_eq!(read("a=file-selector\r\n"), Ok(Some(FileTransfer::default())));
        assert_eq!(read("a=file-transfer-id:x\r\n").unwrap().unwrap().id.as_deref(), Some("x"));
    }

    #[test]
    fn what_decides_is_refused_and_what_describes_is_passed_over() {
        #[rustfmt::skip]
        let table = [
            ("file-selector:size:x",    Some(MediaError::FileSelector)),
            ("file-transfer-id:",       Some(MediaError::FileTransferId)),
            ("file-transfer-id:a b",    Some(MediaError::FileTransferId)),
            ("file-range:2-1",          Some(MediaError::FileRange)),
            ("file-disposition:a b",    None),
            ("file-date:yesterday",     None),
            ("file-icon:http://h/icon", None),
            ("file-icon:cid:",          None),
            ("file-icon:cid:a b",       None),
        ];
        for (attribute, error) in table {
            let read = read(&format!("a={attribute}\r\na=file-selector\r\n"));
            let expect = error.map_or(Ok(Some(FileTransfer::default())), Err);
            assert_eq!(read, expect, "{attribute}");
        }
    }
}
