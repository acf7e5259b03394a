//! Lines of a head.

use memchr::memchr;
use parlance_content::octets::{EACH, position};

use crate::examined;

/// A line, and where the next one starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// Its octets without CRLF.
    pub(super) octets: &'a [u8],
    /// Its octets and CRLF.
    pub(super) len: usize,
    /// Whether it ends in CRLF and has no control character but HTAB (`utf8text`, RFC 4975 §9).
    pub(super) is_text: bool,
}

/// The first line of `octets`; `None` when it has no end there.
#[inline]
pub(super) fn first(octets: &[u8]) -> Option<Line<'_>> {
    let Some(at) = control(octets) else {
        examined(octets.len());
        return None;
    };
    examined(at + 2);
    let (line, end) = octets.split_at_checked(at)?;
    if end.starts_with(b"\r\n") {
        return Some(Line { octets: line, len: at + 2, is_text: true });
    }
    slow(octets)
}

/// A line with a control character that does not end it.
#[cold]
fn slow(octets: &[u8]) -> Option<Line<'_>> {
    let end = memchr(b'\n', octets);
    examined(2 * end.unwrap_or(octets.len()));
    let (line, _) = octets.split_at_checked(end?)?;
    let text = line.strip_suffix(b"\r");
    let is_text = text.is_some_and(|text| text.iter().all(|o| *o >= b' ' || *o == b'\t'));
    Some(Line { octets: text.unwrap_or(line), len: line.len() + 1, is_text })
}

/// The first control character (below SP) in `octets`.
#[inline]
fn control(octets: &[u8]) -> Option<usize> {
    let below = |word: u64| word.wrapping_sub(EACH * 0x20) & !word;
    position(octets, below, |octet| octet < b' ')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn finds_lines() {
        type Expected = Option<(&'static [u8], usize, bool)>;
        #[rustfmt::skip]
        let table: [(&[u8], Expected); 12] = [
            (b"",                      None),
            (b"abc",                   None),
            (b"abc\r",                 None),
            (b"\r\n",                  Some((b"", 2, true))),
            (b"abc\r\ndef\r\n",        Some((b"abc", 5, true))),
            (b"To-Path: msrp\r\nFrom", Some((b"To-Path: msrp", 15, true))),
            (b"a\tb\r\n",              Some((b"a\tb", 5, true))),
            (b"a\nb\r\n",              Some((b"a", 2, false))),
            (b"a\rb\r\n",              Some((b"a\rb", 5, false))),
            (b"a\0b\r\n",              Some((b"a\0b", 5, false))),
            (b"a\r\r\n",               Some((b"a\r", 4, false))),
            (b"M\xFC\x80\xA0\xFF\r\n", Some((b"M\xFC\x80\xA0\xFF", 7, true))),
        ];
        for (octets, expected) in table {
            let found = first(octets).map(|line| (line.octets, line.len, line.is_text));
            assert_eq!(found, expected, "{}", octets.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn finds_the_first_control_character(
            octets in prop::collection::vec(
                prop_oneof![0x1E_u8..0x22, 0x7E_u8..0x82, any::<u8>()], 0..40,
            ),
        ) {
            prop_assert_eq!(control(&octets), octets.iter().position(|octet| *octet < 0x20));
        }

        #[test]
        fn never_panics(octets: Vec<u8>) {
            if let Some(line) = first(&octets) {
                prop_assert!(line.len <= octets.len() && octets[line.len - 1] == b'\n');
            }
        }
    }
}
