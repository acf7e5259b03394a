//! Changes to a message that leave the rest of it octet for octet (RFC 3261 §16.6, CORE-067).

use std::fmt::{self, Write as _};
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use super::{Limits, Message, Request, Start};
use crate::HeaderName;
use crate::grammar::{split_list, trim_start};

/// A list of changes, kept beside the message until it is written.
///
/// Text lives in the list itself, so that the usual forwarding (a `Via` on top, a `Route` off, one
/// `Max-Forwards` less) allocates nothing.
#[derive(Clone, Default)]
pub struct Edits {
    uri: Option<Part>,
    /// In the order they are written.
    changes: SmallVec<[Change; 12]>,
    text: Text,
    body: Option<Bytes>,
}

/// The text of a list of changes: near while it is short, which it nearly always is.
#[derive(Clone)]
struct Text {
    near: [u8; 256],
    len: usize,
    /// All of it, when it is longer.
    far: Vec<u8>,
}

impl Default for Text {
    fn default() -> Self {
        Self { near: [0; 256], len: 0, far: Vec::new() }
    }
}

impl Text {
    #[inline(always)]
    fn push(&mut self, text: &[u8]) {
        let len = self.len + text.len();
        match self.near.get_mut(self.len..len) {
            Some(room) => room.copy_from_slice(text),
            None => self.push_far(text),
        }
        self.len = len;
    }

    #[cold]
    fn push_far(&mut self, text: &[u8]) {
        if self.far.is_empty() {
            self.far.extend_from_slice(self.near.get(..self.len).unwrap_or_default());
        }
        self.far.extend_from_slice(text);
    }

    #[inline]
    fn get(&self, part: Part) -> &[u8] {
        let whole = if self.far.is_empty() { &self.near[..] } else { &self.far };
        whole.get(part.range()).unwrap_or_default()
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

/// Stands for "behind the last field".
const END: u16 = u16::MAX;

/// One change. Small, since the list moves from the role to the transaction.
#[derive(Clone, Copy)]
struct Change {
    /// The field concerned, or [`END`]; a head has no room for so many.
    field: u16,
    /// The name of that field, or of the new line.
    name: HeaderName,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    /// A new line before the field: name, value and line end.
    Insert { line: Part },
    /// The line goes.
    Remove,
    /// The line keeps its name and gets this value.
    Value { text: Part },
    /// The value begins this many octets later.
    Trim { octets: u16 },
}

impl Change {
    /// What comes first in the message. New lines come before what happens to the field they
    /// precede, and a line that goes before what else happens to it.
    fn turn(&self) -> u32 {
        let turn = match self.kind {
            Kind::Insert { .. } => 0,
            Kind::Remove => 1,
            Kind::Value { .. } | Kind::Trim { .. } => 2,
        };
        u32::from(self.field) << 2 | turn
    }
}

/// A part of the text.
#[derive(Clone, Copy)]
struct Part {
    at: u32,
    len: u32,
}

impl Part {
    fn range(self) -> Range<usize> {
        self.at as usize..self.at as usize + self.len as usize
    }
}

impl Edits {
    /// No changes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces the Request-URI; nothing on a response.
    pub fn request_uri(&mut self, uri: impl fmt::Display) {
        self.uri = Some(self.keep(uri));
    }

    /// Removes every field called `name`, also what earlier changes made of it.
    pub fn remove(&mut self, message: &Message, name: HeaderName) {
        self.forget(name);
        self.remove_from(message, name, 0);
    }

    /// Removes the fields called `name` from field `first` on.
    fn remove_from(&mut self, message: &Message, name: HeaderName, mut first: usize) {
        while let Some(index) = message.index_from(name, first) {
            self.change(index as u16, name, Kind::Remove);
            first = index + 1;
        }
    }

    /// Removes the first `count` values of the list header `name`, wherever they stand. The count
    /// is of what came, also in a further call; of what [`Edits::set`] gave nothing stays.
    pub fn remove_values(&mut self, message: &Message, name: HeaderName, count: usize) {
        let (mut left, mut from) = (count, 0);
        if left > 0 && self.is_set(name) {
            return self.remove(message, name);
        }
        while left > 0
            && let Some(index) = message.index_from(name, from)
        {
            from = index + 1;
            let value = message.value_at(index);
            let mut list = split_list(value);
            left -= list.by_ref().take(left).count();
            let kind = match list.rest() {
                // A value is shorter than 64 KiB, as the head is.
                Some(rest) => Kind::Trim { octets: (value.len() - trim_start(rest).len()) as u16 },
                None => Kind::Remove,
            };
            self.change(index as u16, name, kind);
        }
    }

    /// Puts a line before the first field called `name`; without one, before the first field.
    pub fn prepend(&mut self, message: &Message, name: HeaderName, value: impl fmt::Display) {
        self.insert(first_called(message, name).unwrap_or(0), name, value);
    }

    /// [`Edits::prepend`] of a value in pieces, which spares the machinery of `format_args!`.
    pub(crate) fn prepend_pieces(&mut self, message: &Message, name: HeaderName, value: &[&str]) {
        let start = self.text.len;
        for piece in [name.prefix()].iter().chain(value).chain(&["\r\n"]) {
            self.text.push(piece.as_bytes());
        }
        let line = self.part_from(start);
        let field = first_called(message, name).unwrap_or(0);
        self.change(field, name, Kind::Insert { line });
    }

    /// Puts a line behind the last field.
    pub fn append(&mut self, name: HeaderName, value: impl fmt::Display) {
        self.insert(END, name, value);
    }

    /// Gives the header `name` one value: the first field takes it, others go, a missing one is
    /// appended. Earlier changes of it do not count any more.
    pub fn set(&mut self, message: &Message, name: HeaderName, value: impl fmt::Display) {
        self.forget(name);
        let Some(first) = first_called(message, name) else {
            return self.insert(END, name, value);
        };
        let text = self.keep(value);
        self.change(first, name, Kind::Value { text });
        self.remove_from(message, name, usize::from(first) + 1);
    }

    /// Whether a field called `name` got another value.
    fn is_set(&self, name: HeaderName) -> bool {
        self.changes.iter().any(|set| set.name == name && matches!(set.kind, Kind::Value { .. }))
    }

    /// Drops the earlier changes of the header `name`.
    fn forget(&mut self, name: HeaderName) {
        if self.changes.iter().any(|change| change.name == name) {
            self.changes.retain(|change| change.name != name);
        }
    }

    /// Replaces the first value of the list header `name`, leaving the others.
    pub fn set_first_value(
        &mut self,
        message: &Message,
        name: HeaderName,
        value: impl fmt::Display,
    ) {
        self.remove_values(message, name, 1);
        self.prepend(message, name, value);
    }

    /// Replaces the body; Content-Length follows.
    pub fn body(&mut self, message: &Message, body: Bytes) {
        self.set(message, HeaderName::ContentLength, body.len());
        self.body = Some(body);
    }

    /// How many octets the changes add, at most.
    pub fn octets_added(&self) -> usize {
        let lines = self.changes.iter().map(|change| match &change.kind {
            Kind::Insert { line: text } | Kind::Value { text } => text.len as usize,
            Kind::Remove | Kind::Trim { .. } => 0,
        });
        let body = self.body.as_ref().map_or(0, Bytes::len);
        lines.sum::<usize>() + body + self.uri.map_or(0, |uri| uri.len as usize)
    }

    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.uri.is_none() && self.changes.is_empty() && self.body.is_none()
    }

    /// `request` with the changes made, to be read here again; `None` when they leave no request.
    /// What it was let in with limits it no more.
    pub fn apply(&self, request: &Request) -> Option<Request> {
        let mut out = BytesMut::new();
        self.write(request, &mut out);
        Request::new(Message::parse_datagram(out.freeze(), &Limits::LARGEST).ok()?).ok()
    }

    /// Writes `message` with the changes behind what `out` already holds.
    ///
    /// The changes must have been made for this message.
    pub fn write(&self, message: &Message, out: &mut BytesMut) {
        let bytes = &message.bytes[..];
        out.reserve(bytes.len() + self.text.len + 32 * (self.changes.len() + 1));
        let mut at = self.write_start(message, out);
        let fields = &message.index.fields[..];
        for change in &self.changes {
            let field = fields.get(usize::from(change.field));
            let line = field.map_or(message.index.head_end, |field| field.at);
            let value = field.map_or(line, |field| field.value.at);
            let end = match change.kind {
                Kind::Insert { .. } | Kind::Remove => usize::from(line),
                Kind::Value { .. } | Kind::Trim { .. } => usize::from(value),
            };
            out.extend_from_slice(bytes.get(at..end).unwrap_or_default());
            at = at.max(end);
            match (change.kind, field) {
                (Kind::Insert { line }, _) => out.extend_from_slice(self.text.get(line)),
                (Kind::Remove, _) => at = message.line_at(usize::from(change.field) + 1),
                (Kind::Value { text }, Some(field)) => {
                    out.extend_from_slice(self.text.get(text));
                    at = field.value.end();
                }
                (Kind::Trim { octets }, _) => at = at.max(end + usize::from(octets)),
                (Kind::Value { .. }, None) => {}
            }
        }
        let head_end = usize::from(message.index.head_end);
        let body_at = message.index.body_at as usize;
        if self.body.is_none() && bytes.get(head_end..body_at) == Some(b"\r\n") {
            out.extend_from_slice(bytes.get(at..message.body_end as usize).unwrap_or_default());
            return;
        }
        out.extend_from_slice(bytes.get(at..head_end).unwrap_or_default());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(self.body.as_deref().unwrap_or(message.body()));
    }

    /// Writes the start line as far as it changes; where in the message to go on.
    fn write_start(&self, message: &Message, out: &mut BytesMut) -> usize {
        let (Start::Request { uri, .. }, Some(text)) = (message.index.start, self.uri) else {
            return 0;
        };
        out.extend_from_slice(message.bytes.get(..usize::from(uri.at)).unwrap_or_default());
        out.extend_from_slice(self.text.get(text));
        uri.end()
    }

    fn insert(&mut self, field: u16, name: HeaderName, value: impl fmt::Display) {
        let start = self.text.len;
        self.text.push(name.prefix().as_bytes());
        self.keep(value);
        self.text.push(b"\r\n");
        let line = self.part_from(start);
        self.change(field, name, Kind::Insert { line });
    }

    /// Takes a change in behind those whose turn comes before, or is the same.
    #[inline]
    fn change(&mut self, field: u16, name: HeaderName, kind: Kind) {
        let change = Change { field, name, kind };
        match self.changes.last() {
            Some(last) if last.turn() > change.turn() => self.change_earlier(change),
            _ => self.changes.push(change),
        }
    }

    #[cold]
    fn change_earlier(&mut self, change: Change) {
        let later = self.changes.iter().position(|other| other.turn() > change.turn());
        self.changes.insert(later.unwrap_or(self.changes.len()), change);
    }

    fn keep(&mut self, text: impl fmt::Display) -> Part {
        let start = self.text.len;
        // Writing into a growing text does not fail.
        let _ = write!(self.text, "{text}");
        self.part_from(start)
    }

    /// What was written from `start` on. No header and no head reaches 4 GiB.
    fn part_from(&self, start: usize) -> Part {
        Part { at: start as u32, len: (self.text.len - start) as u32 }
    }
}

fn first_called(message: &Message, name: HeaderName) -> Option<u16> {
    message.index_of(name).map(|index| index as u16)
}

impl fmt::Debug for Edits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edits").field("changes", &self.changes.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "MESSAGE sip:bob@h SIP/2.0\r\nRoute: <sip:a;lr>,  <sip:b;lr>\r\n\
        Record-Route: <sip:x>\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nroute :<sip:c>\r\n\
        Max-Forwards:68\r\nX-Odd:B\r\nContent-Length: 2\r\n\r\nhi";

    // Covers: CORE-067
    #[test]
    fn what_is_removed_does_not_come_back() {
        let without = UNCHANGED.replace("Route: <sip:a;lr>,  <sip:b;lr>|", "");
        let without = without.replace("route :<sip:c>|", "");
        let set = |message: &Message, edits: &mut Edits| {
            edits.set(message, HeaderName::Route, "<sip:y>");
        };
        check(
            |message, edits| {
                set(message, edits);
                edits.remove_values(message, HeaderName::Route, 1);
            },
            &without,
        );
        check(
            |message, edits| {
                set(message, edits);
                edits.set_first_value(message, HeaderName::Route, "<sip:q>");
            },
            &without.replace("SIP/2.0|Record", "SIP/2.0|Route: <sip:q>|Record"),
        );
        // Of what came, however often: part of a line first, then the whole line.
        let both = UNCHANGED.replace("Route: <sip:a;lr>,  <sip:b;lr>|", "");
        for counts in [[1, 2], [2, 1]] {
            check(
                |message, edits| {
                    for count in counts {
                        edits.remove_values(message, HeaderName::Route, count);
                    }
                },
                &both,
            );
        }
    }

    /// Applies `change` to the message above and shows the head, lines joined by `|`.
    #[track_caller]
    fn check(change: impl FnOnce(&Message, &mut Edits), expect: &str) {
        let bytes = Bytes::from_static(TEXT.as_bytes());
        let message = Message::parse_datagram(bytes, &Limits::default()).unwrap();
        let mut edits = Edits::new();
        change(&message, &mut edits);
        let mut out = BytesMut::new();
        edits.write(&message, &mut out);
        let text = String::from_utf8(out.to_vec()).unwrap().replace("\r\n", "|");
        assert_eq!(text, expect);
    }

    const UNCHANGED: &str = "MESSAGE sip:bob@h SIP/2.0|Route: <sip:a;lr>,  <sip:b;lr>|\
        Record-Route: <sip:x>|Via: SIP/2.0/UDP h;branch=z9hG4bK1|route :<sip:c>|\
        Max-Forwards:68|X-Odd:B|Content-Length: 2||hi";

    // Covers: CORE-067
    #[test]
    fn what_is_not_touched_stays_octet_for_octet() {
        check(|_, _| {}, UNCHANGED);
        check(
            |message, edits| {
                edits.prepend(message, HeaderName::Via, "SIP/2.0/UDP me;branch=z9hG4bK2");
                edits.remove_values(message, HeaderName::Route, 1);
                edits.set(message, HeaderName::MaxForwards, 67);
            },
            "MESSAGE sip:bob@h SIP/2.0|Route: <sip:b;lr>|Record-Route: <sip:x>|\
             Via: SIP/2.0/UDP me;branch=z9hG4bK2|Via: SIP/2.0/UDP h;branch=z9hG4bK1|\
             route :<sip:c>|Max-Forwards:67|X-Odd:B|Content-Length: 2||hi",
        );
    }

    #[test]
    fn list_values_go_one_by_one_over_several_lines() {
        let without = |count| {
            move |message: &Message, edits: &mut Edits| {
                edits.remove_values(message, HeaderName::Route, count);
            }
        };
        let two = UNCHANGED.replace("Route: <sip:a;lr>,  <sip:b;lr>|", "");
        check(without(2), &two);
        let three = two.replace("route :<sip:c>|", "");
        check(without(3), &three);
        check(without(9), &three);
        check(without(0), UNCHANGED);
    }

    #[test]
    fn values_are_set_added_and_removed() {
        check(
            |message, edits| {
                edits.request_uri("sip:carol@h");
                edits.set(message, HeaderName::Route, "<sip:z>");
                edits.set(message, HeaderName::Expires, 60);
                edits.remove(message, HeaderName::RecordRoute);
                edits.append(HeaderName::Date, "now");
                edits.body(message, Bytes::from_static(b"hello"));
            },
            "MESSAGE sip:carol@h SIP/2.0|Route: <sip:z>|Via: SIP/2.0/UDP h;branch=z9hG4bK1|\
             Max-Forwards:68|X-Odd:B|Content-Length: 5|Expires: 60|Date: now||hello",
        );
        check(
            |message, edits| {
                edits.set_first_value(message, HeaderName::Route, "<sip:q>");
                edits.prepend(message, HeaderName::Require, "x");
            },
            "MESSAGE sip:bob@h SIP/2.0|Route: <sip:q>|Require: x|Route: <sip:b;lr>|\
             Record-Route: <sip:x>|Via: SIP/2.0/UDP h;branch=z9hG4bK1|route :<sip:c>|\
             Max-Forwards:68|X-Odd:B|Content-Length: 2||hi",
        );
    }

    #[test]
    fn a_long_text_is_kept_whole() {
        let [short, long] = [100, 300].map(|len| "x".repeat(len));
        check(
            |message, edits| {
                edits.set(message, HeaderName::MaxForwards, 67);
                for value in [&short, &long, &short] {
                    edits.prepend(message, HeaderName::RecordRoute, value);
                }
                edits.append(HeaderName::Subject, "y");
            },
            &UNCHANGED
                .replace("Forwards:68", "Forwards:67")
                .replace("2||hi", "2|Subject: y||hi")
                .replace("Record", &format!("Record-Route: {short}|Record"))
                .replacen("Record", &format!("Record-Route: {long}|Record"), 1)
                .replacen("Record", &format!("Record-Route: {short}|Record"), 1),
        );
    }

    // Covers: CORE-067
    #[test]
    fn the_last_change_of_a_header_counts() {
        let set = |name, value| {
            move |message: &Message, edits: &mut Edits| edits.set(message, name, value)
        };
        check(
            |message, edits| {
                set(HeaderName::Route, "<sip:y>")(message, edits);
                edits.append(HeaderName::Route, "<sip:w>");
                set(HeaderName::Route, "<sip:z>")(message, edits);
                edits.remove_values(message, HeaderName::Via, 1);
                set(HeaderName::Via, "SIP/2.0/UDP me;branch=z9hG4bK2")(message, edits);
                set(HeaderName::Expires, "60")(message, edits);
                set(HeaderName::Expires, "70")(message, edits);
                set(HeaderName::MaxForwards, "67")(message, edits);
                edits.remove(message, HeaderName::MaxForwards);
                edits.body(message, Bytes::from_static(b"hello"));
                edits.body(message, Bytes::from_static(b"hey"));
            },
            "MESSAGE sip:bob@h SIP/2.0|Route: <sip:z>|Record-Route: <sip:x>|\
             Via: SIP/2.0/UDP me;branch=z9hG4bK2|X-Odd:B|Content-Length: 3|Expires: 70||hey",
        );
    }
}
