//! Which offers of files are new, and how they are answered (RFC 5547 §8).

use std::collections::VecDeque;

use parlance_sip::sdp::{Direction, FileSelector, FileTransfer};

use super::Refusal;

/// The transfers of one session that are remembered. Local limit, the RFC sets none: a session
/// that had more files answers the oldest identifiers as new ones.
const FILE_TRANSFERS_MAX: usize = 64;

/// The file transfers seen in one session: tells a new one from a repeated description.
#[derive(Clone, Debug, Default)]
pub struct FileTransfers {
    seen: VecDeque<(String, FileSelector)>,
}

/// What an offered file is (RFC 5547 §8.1, figure 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileVerdict {
    /// A transfer that was not seen yet: it is to be decided on, and started.
    New,
    /// The description of a transfer that was seen: it runs or is over, nothing new starts.
    Repeated,
    /// No file: the peer asks whether transfer is understood (§8.5).
    Query,
}

impl FileTransfers {
    /// Judges an offered file of a line that is not refused, and remembers it when it is new.
    ///
    /// # Errors
    /// [`Refusal::File`]: a known identifier with another file, or no identifier.
    pub fn judge(&mut self, file: &FileTransfer) -> Result<FileVerdict, Refusal> {
        let Some(id) = &file.id else {
            let nothing = file.selector == FileSelector::default();
            return if nothing { Ok(FileVerdict::Query) } else { Err(Refusal::File) };
        };
        match self.seen.iter().find(|(seen, _)| seen == id) {
            Some((_, selector)) if selects_same(selector, &file.selector) => {
                Ok(FileVerdict::Repeated)
            }
            Some(_) => Err(Refusal::File),
            None => {
                if self.seen.len() >= FILE_TRANSFERS_MAX {
                    self.seen.pop_front();
                }
                self.seen.push_back((id.clone(), file.selector.clone()));
                Ok(FileVerdict::New)
            }
        }
    }
}

/// Whether two selectors of one transfer select the same file: what both say is the same. One may
/// say more: a hash that was not computed before (RFC 5547 §8.1).
fn selects_same(one: &FileSelector, other: &FileSelector) -> bool {
    fn agrees<T: PartialEq>(one: &Option<T>, other: &Option<T>) -> bool {
        one.is_none() || other.is_none() || one == other
    }
    let algorithm = |hash: &str| hash.split(':').next().map(str::to_ascii_lowercase);
    let hashes_agree = one.hashes.iter().all(|hash| {
        let same_algorithm = |of: &&String| algorithm(of) == algorithm(hash);
        let mut others = other.hashes.iter().filter(same_algorithm).peekable();
        others.peek().is_none() || others.any(|of| of.eq_ignore_ascii_case(hash))
    });
    agrees(&one.name, &other.name)
        && agrees(&one.media_type, &other.media_type)
        && agrees(&one.size, &other.size)
        && hashes_agree
}

/// The file attributes of an answer that takes `offered` (RFC 5547 §8.3): the identifier and the
/// range always; what selects the file when it is received, and nothing that describes it.
pub fn answer_file(offered: &FileTransfer, direction: Direction) -> FileTransfer {
    let FileTransfer { selector, id, range, .. } = offered;
    let mut selector = selector.clone();
    if direction.receives() {
        // §8.3.1 has name, type and size copied; the hash is checked by whoever offered it.
        selector.hashes.clear();
    }
    FileTransfer { selector, id: id.clone(), range: *range, ..FileTransfer::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(id: &str, selector: &str) -> FileTransfer {
        FileTransfer {
            selector: selector.parse().unwrap(),
            id: (!id.is_empty()).then(|| id.to_owned()),
            ..FileTransfer::default()
        }
    }

    // Covers: MSRP-094
    #[test]
    fn transfers_are_told_apart_by_identifier_and_file() {
        use FileVerdict::{New, Query, Repeated};
        let mut transfers = FileTransfers::default();
        #[rustfmt::skip]
        let table = [ // RFC 5547 §8.1, figure 3
            ("a", "name:\"x\" size:1",                 Ok(New)),
            ("a", "name:\"x\" size:1",                 Ok(Repeated)),
            ("a", "name:\"x\" size:1 hash:sha-1:72",   Ok(Repeated)),
            ("a", "size:1",                            Ok(Repeated)),
            ("a", "name:\"y\" size:1",                 Err(Refusal::File)),
            ("a", "size:2",                            Err(Refusal::File)),
            ("b", "size:1 hash:sha-1:72",              Ok(New)),
            ("b", "size:1 hash:sha-1:73",              Err(Refusal::File)),
            ("b", "size:1 hash:sha-256:73",            Ok(Repeated)),
            ("b", "size:1 hash:SHA-1:72",              Ok(Repeated)),
            ("c", "name:\"x\" size:1",                 Ok(New)), // the same file once more
            ("",  "size:1",                            Err(Refusal::File)),
            ("",  "",                                  Ok(Query)),
        ];
        for (id, selector, verdict) in table {
            assert_eq!(transfers.judge(&file(id, selector)), verdict, "{id} {selector}");
        }
    }

    #[test]
    fn the_oldest_transfer_is_forgotten_at_the_limit() {
        let mut transfers = FileTransfers::default();
        for number in 0..=FILE_TRANSFERS_MAX {
            assert_eq!(transfers.judge(&file(&number.to_string(), "size:1")), Ok(FileVerdict::New));
        }
        assert_eq!(transfers.judge(&file("1", "size:1")), Ok(FileVerdict::Repeated));
        assert_eq!(transfers.judge(&file("0", "size:1")), Ok(FileVerdict::New));
        assert_eq!(transfers.seen.len(), FILE_TRANSFERS_MAX);
    }

    // Covers: MSRP-020
    #[test]
    fn an_answer_copies_what_selects_and_nothing_that_describes() {
        let mut offered = file("a", "name:\"x\" type:a/b size:1 hash:sha-1:72");
        offered.range = Some("1-1".parse().unwrap());
        offered.icon = Some("cid:a@b".to_owned());
        offered.disposition = Some("render".to_owned());
        offered.date = Some("read:\"x\"".parse().unwrap());
        let mut expect = file("a", "name:\"x\" type:a/b size:1");
        expect.range = offered.range;
        assert_eq!(answer_file(&offered, Direction::RecvOnly), expect);
        expect.selector.hashes = vec!["sha-1:72".to_owned()];
        assert_eq!(answer_file(&offered, Direction::SendOnly), expect);
    }
}
