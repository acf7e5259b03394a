//! Character classes and small scanners of the SIP grammar (RFC 3261 §25.1).
//!
//! Everything here borrows from one header field value, raw as it stood in the message: folding
//! (`CRLF` before white space) counts as linear white space, octets above 127 may stand in quoted
//! strings and comments. Every scanner looks at each octet a bounded number of times.

use std::borrow::Cow;

use memchr::{memchr, memchr2, memchr3};

use crate::examined;

/// A set of ASCII octets: a table, because every octet of every header is looked up in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class([bool; 256]);

impl Class {
    /// Letters and digits: `alphanum`.
    pub const ALPHANUM: Self =
        Self::of(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");
    /// What a `token` is made of.
    pub const TOKEN: Self = Self::ALPHANUM.with(b"-.!%*_+`'~");
    /// What a `word` is made of (`Call-ID`).
    pub const WORD: Self = Self::TOKEN.with(b"()<>:\\\"/[]?{}");
    /// `unreserved`: letters, digits and `mark`.
    pub const UNRESERVED: Self = Self::ALPHANUM.with(b"-_.!~*'()");

    /// The given ASCII octets.
    pub const fn of(octets: &[u8]) -> Self {
        Self([false; 256]).with(octets)
    }

    /// The class and the given ASCII octets.
    #[expect(clippy::indexing_slicing, reason = "an octet is below 256")]
    pub const fn with(mut self, octets: &[u8]) -> Self {
        let mut rest = octets;
        while let [first, tail @ ..] = rest {
            assert!(first.is_ascii());
            self.0[*first as usize] = true;
            rest = tail;
        }
        self
    }

    /// Whether the octet belongs to the class.
    #[inline(always)]
    #[expect(clippy::indexing_slicing, reason = "an octet is below 256")]
    pub const fn contains(&self, octet: u8) -> bool {
        self.0[octet as usize]
    }

    /// Whether `text` is not empty and made of this class only.
    #[inline(always)]
    pub fn covers(&self, text: &[u8]) -> bool {
        examined(text.len());
        !text.is_empty() && text.iter().all(|&octet| self.contains(octet))
    }
}

/// Where the first such octet is, where it is expected soon: calling `memchr` would cost more than
/// it saves.
#[inline(always)]
pub fn find(octet: u8, text: &[u8]) -> Option<usize> {
    let (words, rest) = text.as_chunks();
    let mut at = 0;
    for word in words {
        examined(word.len());
        if let Some(found) = find_in_word(octet, *word) {
            return Some(at + found);
        }
        at += word.len();
    }
    examined(rest.len());
    rest.iter().position(|other| *other == octet).map(|found| at + found)
}

/// What a search in `text` came to; it looked at all before what it found.
#[inline(always)]
pub(crate) fn searched(text: &[u8], found: Option<usize>) -> Option<usize> {
    examined(found.map_or(text.len(), |at| at + 1));
    found
}

/// The lowest octet that becomes zero borrows from its highest bit.
#[inline(always)]
fn find_in_word(octet: u8, word: [u8; 8]) -> Option<usize> {
    const LOW: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let differences = u64::from_le_bytes(word) ^ u64::from_ne_bytes([octet; 8]);
    let zeros = differences.wrapping_sub(LOW) & !differences & HIGH;
    if zeros == 0 { None } else { Some(zeros.trailing_zeros() as usize / 8) }
}

/// Cuts ASCII text before the first of the octets, which stays with the second part; the second
/// part is empty when there is none. For the short texts of headers a plain loop is fastest.
#[inline]
pub(crate) fn cut_before(text: &str, stops: impl Fn(u8) -> bool) -> (&str, &str) {
    let end = searched(text.as_bytes(), text.bytes().position(stops)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// Whether `octet` may stand in a `token`.
pub fn is_token(octet: u8) -> bool {
    Class::TOKEN.contains(octet)
}

/// Whether `octet` is part of linear white space, the line end of a folding included.
pub fn is_lws(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t' | b'\r' | b'\n')
}

/// Takes linear white space off the front.
pub fn trim_start(mut value: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = value
        && is_lws(*first)
    {
        examined(1);
        value = rest;
    }
    value
}

/// Takes linear white space off both ends.
#[inline]
pub fn trim(value: &[u8]) -> &[u8] {
    match value {
        // Nearly always there is none.
        [first, .., last] if *first > b' ' && *last > b' ' => value,
        _ => trim_ends(value),
    }
}

fn trim_ends(value: &[u8]) -> &[u8] {
    let mut value = trim_start(value);
    while let [rest @ .., last] = value
        && is_lws(*last)
    {
        examined(1);
        value = rest;
    }
    value
}

/// What follows linear white space as the grammar has it: a line end counts only where white space
/// follows it.
#[inline]
pub fn skip_lws(mut value: &[u8]) -> &[u8] {
    if value.first().is_some_and(|octet| *octet > b' ') {
        return value;
    }
    while let [b' ' | b'\t', rest @ ..] | [b'\r', b'\n', b' ' | b'\t', rest @ ..] = value {
        examined(value.len() - rest.len());
        value = rest;
    }
    value
}

/// Reads `1*DIGIT`; `None` for anything else. Values over 64 bits become [`u64::MAX`].
pub fn decimal(digits: &[u8]) -> Option<u64> {
    examined(digits.len());
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = |octet: &u8| u64::from(octet & 15);
    Some(match digits.len() {
        // Nineteen digits have room in 64 bits.
        ..20 => digits.iter().fold(0, |sum: u64, octet| sum.wrapping_mul(10) + value(octet)),
        _ => digits
            .iter()
            .fold(0, |sum: u64, octet| sum.saturating_mul(10).saturating_add(value(octet))),
    })
}

/// The text of a `quoted-string` without its quotation marks, `quoted-pair`s resolved and folding
/// replaced by one space (RFC 3261 §25.1). A value without quotation marks comes back as it is.
pub fn unquote(value: &[u8]) -> Cow<'_, [u8]> {
    let Some(inner) = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) else {
        return Cow::Borrowed(value);
    };
    if searched(inner, memchr2(b'\\', b'\r', inner)).is_none() {
        return Cow::Borrowed(inner);
    }
    let mut text = Vec::with_capacity(inner.len());
    let mut scanner = Scanner::new(inner);
    while let Some(octet) = scanner.next_octet() {
        match octet {
            b'\\' => text.extend(scanner.next_octet()),
            b'\r' => {
                scanner.take_while(is_lws);
                text.push(b' ');
            }
            _ => text.push(octet),
        }
    }
    Cow::Owned(text)
}

/// Cuts a list at its top-level commas: not inside quoted strings, not inside `<` `>`.
///
/// Elements come trimmed. An empty value is an empty list; an element that is empty comes as an
/// empty slice, which no header of RFC 3261 allows, so the element's own parser refuses it
/// (RFC 4475 §3.1.2.1). An unterminated quotation mark or bracket makes the rest one element.
pub fn split_list(value: &[u8]) -> List<'_> {
    let value = trim(value);
    List { rest: (!value.is_empty()).then_some(value) }
}

/// The elements of one list, see [`split_list`].
#[derive(Clone, Debug)]
pub struct List<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> List<'a> {
    /// What follows the comma behind the last element given; `None` when there is no other.
    pub fn rest(&self) -> Option<&'a [u8]> {
        self.rest
    }
}

impl<'a> Iterator for List<'a> {
    type Item = &'a [u8];

    #[inline(always)]
    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest.take()?;
        let Some(comma) = top_level_comma(rest) else {
            return Some(trim(rest));
        };
        let (element, tail) = rest.split_at_checked(comma)?;
        self.rest = tail.get(1..);
        Some(trim(element))
    }
}

/// Jumps from one octet that matters to the next; most values have one or two.
fn top_level_comma(value: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = value.get(at..)?;
        let found = match rest {
            // As most elements begin, and end.
            [b'<' | b',', ..] => 0,
            _ => searched(rest, memchr3(b',', b'"', b'<', rest))?,
        };
        let inside = rest.get(found + 1..)?;
        at += found;
        at += match rest.get(found) {
            Some(b'"') => end_of_quoted(inside)? + 2,
            Some(b'<') => searched(inside, memchr(b'>', inside))? + 2,
            _ => return Some(at),
        };
    }
}

/// Where the quotation mark is that ends a quoted string.
fn end_of_quoted(inside: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = inside.get(at..)?;
        let found = searched(rest, memchr2(b'"', b'\\', rest))?;
        if rest.get(found) == Some(&b'"') {
            return Some(at + found);
        }
        at += found + 2;
    }
}

/// A cursor over one field value. What a method does not recognise it does not consume.
#[derive(Clone, Debug)]
pub struct Scanner<'a> {
    rest: &'a [u8],
    /// The whole value when it is UTF-8, asked once: what is cut from it needs no second look.
    text: Option<&'a str>,
}

impl<'a> Scanner<'a> {
    /// Starts at the first octet.
    pub fn new(value: &'a [u8]) -> Self {
        examined(value.len());
        Self { rest: value, text: std::str::from_utf8(value).ok() }
    }

    /// What is not consumed yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next octet, left in place.
    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// The next octet.
    pub fn next_octet(&mut self) -> Option<u8> {
        examined(1);
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// Takes the octet when it is next.
    #[inline]
    pub fn eat(&mut self, octet: u8) -> bool {
        examined(1);
        match self.rest.split_first() {
            Some((first, rest)) if *first == octet => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Takes the octets when they are next.
    #[inline]
    pub fn eat_text(&mut self, text: &[u8]) -> bool {
        examined(text.len());
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Takes the longest run, possibly empty, of octets that `accept` holds for.
    #[inline(always)]
    pub fn take_while(&mut self, accept: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|&octet| !accept(octet));
        let end = searched(self.rest, end).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    /// What was consumed of `start`, which was the rest before; `None` when it is not UTF-8.
    #[inline]
    pub fn text_since(&self, start: &'a [u8]) -> Option<&'a str> {
        let taken = start.len().checked_sub(self.rest.len())?;
        match self.text {
            Some(text) => {
                let end = text.len().checked_sub(self.rest.len())?;
                text.get(end.checked_sub(taken)?..end)
            }
            None => {
                examined(taken);
                std::str::from_utf8(start.get(..taken)?).ok()
            }
        }
    }

    /// What is not consumed yet, as far as it is UTF-8.
    #[inline]
    pub(crate) fn text_ahead(&self) -> &'a str {
        match self.text {
            Some(text) => text.get(text.len() - self.rest.len()..).unwrap_or_default(),
            None => {
                let text = self.rest.utf8_chunks().next().map_or("", |chunk| chunk.valid());
                examined(text.len());
                text
            }
        }
    }

    /// Takes that many octets.
    #[inline]
    pub(crate) fn skip(&mut self, octets: usize) {
        self.rest = self.rest.get(octets..).unwrap_or_default();
    }

    /// Takes what stands before `octet`, which must follow.
    #[inline]
    pub fn take_before(&mut self, octet: u8) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(find(octet, self.rest)?)?;
        self.rest = rest;
        Some(taken)
    }

    /// Skips linear white space: `[*WSP CRLF] 1*WSP`, repeated. Whether there was any.
    #[inline]
    pub fn lws(&mut self) -> bool {
        let before = self.rest.len();
        self.rest = skip_lws(self.rest);
        self.rest.len() != before
    }

    /// `SWS octet SWS`: the separators `EQUAL`, `SEMI`, `SLASH`, `COLON`, `COMMA`.
    #[inline]
    pub fn separator(&mut self, octet: u8) -> bool {
        let before = self.rest;
        self.lws();
        if self.eat(octet) {
            self.lws();
            return true;
        }
        self.rest = before;
        false
    }

    /// A `token`.
    pub fn token(&mut self) -> Option<&'a str> {
        self.run(&Class::TOKEN)
    }

    /// Takes the longest run, possibly empty, of octets of a class, where it is expected to be
    /// long: eight octets are asked about at once.
    #[inline(always)]
    pub(crate) fn take_run(&mut self, class: &Class) -> &'a [u8] {
        let whole = self.rest;
        while let Some((eight, tail)) = self.rest.split_first_chunk::<8>()
            && eight.iter().fold(true, |all, octet| all & class.contains(*octet))
        {
            examined(eight.len());
            self.rest = tail;
        }
        self.take_while(|octet| class.contains(octet));
        whole.get(..whole.len() - self.rest.len()).unwrap_or_default()
    }

    /// One or more octets of a class.
    #[inline(always)]
    pub fn run(&mut self, class: &Class) -> Option<&'a str> {
        let start = self.rest;
        let taken = self.take_while(|octet| class.contains(octet));
        if taken.is_empty() { None } else { self.text_since(start) }
    }

    /// `1*DIGIT`; values over 64 bits become [`u64::MAX`].
    pub fn number(&mut self) -> Option<u64> {
        decimal(self.take_while(|octet| octet.is_ascii_digit()))
    }

    /// A `quoted-string` with its quotation marks. The octets between may be anything but a bare
    /// line end: text that is not UTF-8 is somebody's display name, not a reason to refuse.
    pub fn quoted_string(&mut self) -> Option<&'a [u8]> {
        let start = self.rest;
        let mut scanner = self.clone();
        if !scanner.eat(b'"') {
            return None;
        }
        loop {
            match scanner.peek()? {
                b'"' => break,
                b'\\' => {
                    scanner.next_octet();
                    // CR and LF cannot be escaped: that would hide a line end.
                    scanner.next_octet().filter(|octet| !matches!(octet, b'\r' | b'\n'))?;
                }
                b'\r' | b'\n' => {
                    if !scanner.lws() {
                        return None;
                    }
                }
                _ => {
                    scanner.next_octet();
                }
            }
        }
        scanner.eat(b'"');
        self.rest = scanner.rest;
        start.get(..start.len() - self.rest.len())
    }

    /// A `comment` with its parentheses; comments nest.
    pub fn comment(&mut self) -> Option<&'a [u8]> {
        let start = self.rest;
        let mut scanner = self.clone();
        if !scanner.eat(b'(') {
            return None;
        }
        let mut depth = 1usize;
        while depth > 0 {
            match scanner.next_octet()? {
                b'(' => depth += 1,
                b')' => depth -= 1,
                b'\\' => {
                    scanner.next_octet()?;
                }
                _ => {}
            }
        }
        self.rest = scanner.rest;
        start.get(..start.len() - self.rest.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(value: &str) -> Vec<&str> {
        split_list(value.as_bytes()).map(|item| std::str::from_utf8(item).unwrap()).collect()
    }

    // Covers: CORE-003, CORE-067
    #[test]
    fn lists_are_cut_at_top_level_commas() {
        #[rustfmt::skip]
        let table: [(&str, &[&str]); 12] = [
            ("", &[]),
            (" \r\n ", &[]),
            ("a", &["a"]),
            ("a, b ,\r\n c", &["a", "b", "c"]),
            ("<sip:p1.example.com;lr>,<sip:p2.example.com;lr>", // RFC 3261 §20.30
                &["<sip:p1.example.com;lr>", "<sip:p2.example.com;lr>"]),
            ("\"Bell, Alexander\" <sip:a@b>, x", &["\"Bell, Alexander\" <sip:a@b>", "x"]),
            ("\"a\\\", b\" <sip:a,c@b>", &["\"a\\\", b\" <sip:a,c@b>"]),
            ("<sip:a@b, tel:+1>", &["<sip:a@b, tel:+1>"]),
            ("SIP/2.0/UDP 192.0.2.15;;,;,,", &["SIP/2.0/UDP 192.0.2.15;;", ";", "", ""]),
            (",", &["", ""]),
            ("\"open, b", &["\"open, b"]),
            ("*;+sip.x=\"<a,b>\",*", &["*;+sip.x=\"<a,b>\"", "*"]),
        ];
        for (value, elements) in table {
            assert_eq!(list(value), elements, "{value}");
        }
    }

    #[test]
    fn octets_are_found_wherever_they_stand() {
        let mut text = [b'x'; 50];
        assert_eq!(find(b':', &text), None);
        for at in (0..text.len()).rev() {
            text[at] = b':';
            assert_eq!(find(b':', &text), Some(at));
            assert_eq!(find(b':', &text[..at]), None);
        }
        // Neighbours that differ in one bit, and the highest octets.
        assert_eq!(find(0, &[1, 0x80, 0xff, 0, 0]), Some(3));
        assert_eq!(find(b':', b";9\xbaz:;:9:0123456789"), Some(4));
    }

    #[test]
    fn quoted_strings_and_comments() {
        let table: [(&[u8], Option<&[u8]>); 9] = [
            (b"\"a\" b", Some(b"\"a\"")),
            (b"\"\"", Some(b"\"\"")),
            (b"\"a\\\"b\"", Some(b"\"a\\\"b\"")),
            (b"\"a\r\n b\"", Some(b"\"a\r\n b\"")),
            (b"\"\xff\xfe\"", Some(b"\"\xff\xfe\"")),
            (b"\"a", None),
            (b"\"a\\\"", None),
            (b"\"a\\\r\n b\"", None),
            (b"\"a\r\nb\"", None),
        ];
        for (value, expect) in table {
            assert_eq!(Scanner::new(value).quoted_string(), expect, "{value:?}");
        }
        let table = [
            ("(a)b", Some("(a)")),
            ("(a(b)c) d", Some("(a(b)c)")),
            ("(a\\)b)", Some("(a\\)b)")),
            ("(a", None),
            ("a)", None),
            (")", None),
            ("\\((a)", None),
        ];
        for (value, expect) in table {
            let mut scanner = Scanner::new(value.as_bytes());
            let comment = scanner.comment();
            assert_eq!(comment, expect.map(str::as_bytes), "{value}");
            let left = value.len() - expect.map_or(0, str::len);
            assert_eq!(scanner.rest().len(), left, "{value}: refused is not consumed");
        }
    }

    #[test]
    fn unquoting_resolves_pairs_and_folding() {
        let table: [(&[u8], &[u8]); 5] = [
            (b"token", b"token"),
            (b"\"plain\"", b"plain"),
            (b"\"a\\\\\\\"b\"", b"a\\\"b"),
            (b"\"a\r\n  b\"", b"a b"),
            (b"\"NUL\\\x00\"", b"NUL\x00"), // RFC 4475 §3.1.1.2
        ];
        for (value, text) in table {
            assert_eq!(unquote(value).as_ref(), text);
        }
    }

    #[test]
    fn numbers_saturate() {
        let table: [(&[u8], Option<u64>); 6] = [
            (b"0009", Some(9)),
            (b"18446744073709551615", Some(u64::MAX)),
            (b"36893488147419103232", Some(u64::MAX)),
            (b"", None),
            (b"-1", None),
            (b"1 ", None),
        ];
        for (digits, value) in table {
            assert_eq!(decimal(digits), value);
        }
    }

    proptest! {
        #[test]
        fn never_panics(value: Vec<u8>) {
            let elements = split_list(&value).count();
            let commas = value.iter().filter(|&&octet| octet == b',').count();
            prop_assert!(elements <= commas + 1);
            let mut scanner = Scanner::new(&value);
            let _ = (scanner.quoted_string(), scanner.comment(), scanner.token(), scanner.number());
            let _ = (unquote(&value), trim(&value), scanner.separator(b';'));
        }

        #[test]
        fn joining_split_elements_splits_the_same(elements in
            proptest::collection::vec("[a-z<>;=]{0,6}|\"[a-z,<>]{0,6}\"", 1..6)
        ) {
            let joined = elements.join(" , ");
            let split: Vec<&[u8]> = split_list(joined.as_bytes()).collect();
            let again = split.join(&b", "[..]);
            prop_assert_eq!(split_list(&again).collect::<Vec<_>>(), split);
        }
    }
}
