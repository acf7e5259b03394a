//! Changes to a message that leave the rest of it octet for octet (RFC 3261 §16.6, CORE-067).

use std::fmt::{self, Write as _};
use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use smallvec::SmallVec;

use super::{Field, Message, Start};
use crate::HeaderName;
use crate::grammar::{split_list, trim_start};

/// A list of changes, kept beside the message until it is written.
///
/// Text lives in the list itself, so that the usual forwarding (a `Via` on top, a `Route` off, one
/// `Max-Forwards` less) allocates nothing.
#[derive(Clone, Default)]
pub struct Edits {
    uri: Option<Part>,
    changes: SmallVec<[Change; 12]>,
    text: SmallVec<[u8; 256]>,
    body: Option<Bytes>,
}

/// Stands for "behind the last field".
const END: u16 = u16::MAX;

/// One change. Small, since the list moves from the role to the transaction.
#[derive(Clone, Copy)]
struct Change {
    /// The field concerned, or [`END`]; a head has no room for so many.
    field: u16,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    /// A new line before the field: name, value and line end.
    Insert { name: HeaderName, line: Part },
    /// The line goes.
    Remove,
    /// The line keeps its name and gets this value.
    Value { text: Part },
    /// The value begins this many octets later.
    Trim { octets: u16 },
}

impl Kind {
    /// Which changes of one field come first.
    fn turn(self) -> u8 {
        match self {
            Self::Insert { .. } => 0,
            Self::Remove => 1,
            Self::Value { .. } | Self::Trim { .. } => 2,
        }
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
        self.forget(message, name);
        self.remove_from(message, name, 0);
    }

    /// Removes the fields called `name` from field `first` on.
    fn remove_from(&mut self, message: &Message, name: HeaderName, mut first: usize) {
        while let Some(index) = message.index_from(name, first) {
            self.changes.push(Change { field: index as u16, kind: Kind::Remove });
            first = index + 1;
        }
    }

    /// Removes the first `count` values of the list header `name`, wherever they stand. The count
    /// is of what came, also in a further call; of what [`Edits::set`] gave nothing stays.
    pub fn remove_values(&mut self, message: &Message, name: HeaderName, count: usize) {
        let (mut left, mut from) = (count, 0);
        if left > 0 && self.is_set(message, name) {
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
            self.changes.push(Change { field: index as u16, kind });
        }
    }

    /// Puts a line before the first field called `name`; without one, before the first field.
    pub fn prepend(&mut self, message: &Message, name: HeaderName, value: impl fmt::Display) {
        self.insert(first_called(message, name).unwrap_or(0), name, value);
    }

    /// [`Edits::prepend`] of a value in pieces, which spares the machinery of `format_args!`.
    pub(crate) fn prepend_pieces(&mut self, message: &Message, name: HeaderName, value: &[&str]) {
        let start = self.text.len();
        let (before, after) = ([name.as_str(), ": "], ["\r\n"]);
        for piece in before.iter().chain(value).chain(&after) {
            self.text.extend_from_slice(piece.as_bytes());
        }
        let line = self.part_from(start);
        let field = first_called(message, name).unwrap_or(0);
        self.changes.push(Change { field, kind: Kind::Insert { name, line } });
    }

    /// Puts a line behind the last field.
    pub fn append(&mut self, name: HeaderName, value: impl fmt::Display) {
        self.insert(END, name, value);
    }

    /// Gives the header `name` one value: the first field takes it, others go, a missing one is
    /// appended. Earlier changes of it do not count any more.
    pub fn set(&mut self, message: &Message, name: HeaderName, value: impl fmt::Display) {
        self.forget(message, name);
        let Some(first) = first_called(message, name) else {
            return self.insert(END, name, value);
        };
        let text = self.keep(value);
        self.changes.push(Change { field: first, kind: Kind::Value { text } });
        self.remove_from(message, name, usize::from(first) + 1);
    }

    /// Whether a field called `name` got another value.
    fn is_set(&self, message: &Message, name: HeaderName) -> bool {
        self.changes.iter().any(|change| {
            matches!(change.kind, Kind::Value { .. })
                && field_of(message, change).is_some_and(|field| field.name == name)
        })
    }

    /// Drops the earlier changes of the header `name`.
    fn forget(&mut self, message: &Message, name: HeaderName) {
        if self.changes.is_empty() {
            return;
        }
        self.changes.retain(|change| match &change.kind {
            Kind::Insert { name: inserted, .. } => *inserted != name,
            Kind::Remove | Kind::Value { .. } | Kind::Trim { .. } => {
                field_of(message, change).is_none_or(|field| field.name != name)
            }
        });
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
            Kind::Insert { line: text, .. } | Kind::Value { text } => text.len as usize,
            Kind::Remove | Kind::Trim { .. } => 0,
        });
        let body = self.body.as_ref().map_or(0, Bytes::len);
        lines.sum::<usize>() + body + self.uri.map_or(0, |uri| uri.len as usize)
    }

    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.uri.is_none() && self.changes.is_empty() && self.body.is_none()
    }

    /// Writes `message` with the changes behind what `out` already holds.
    ///
    /// The changes must have been made for this message.
    pub fn write(&self, message: &Message, out: &mut BytesMut) {
        let bytes = &message.bytes[..];
        out.reserve(bytes.len() + self.text.len() + 32 * (self.changes.len() + 1));
        let mut order: SmallVec<[&Change; 12]> = self.changes.iter().collect();
        // New lines come before what happens to the field they precede, and a line that goes before
        // what else happens to it; otherwise the order of the calls is kept.
        order.sort_by_key(|change| (change.field, change.kind.turn()));
        let mut at = self.write_start(message, out);
        for change in order {
            let line = message.line_at(usize::from(change.field));
            out.put_slice(bytes.get(at..line).unwrap_or_default());
            at = at.max(line);
            let value = field_of(message, change).map(|field| field.value);
            match (change.kind, value) {
                (Kind::Insert { line, .. }, _) => out.put_slice(self.kept(line)),
                (Kind::Remove, _) => at = message.line_at(usize::from(change.field) + 1),
                (Kind::Value { text }, Some(value)) => {
                    out.put_slice(bytes.get(at..usize::from(value.at)).unwrap_or_default());
                    out.put_slice(self.kept(text));
                    at = value.end();
                }
                (Kind::Trim { octets }, Some(value)) => {
                    let value_at = usize::from(value.at);
                    out.put_slice(bytes.get(at..value_at).unwrap_or_default());
                    at = at.max(value_at + usize::from(octets));
                }
                (Kind::Value { .. } | Kind::Trim { .. }, None) => {}
            }
        }
        let head_end = usize::from(message.index.head_end);
        let body_at = message.index.body_at as usize;
        if self.body.is_none() && bytes.get(head_end..body_at) == Some(b"\r\n") {
            out.put_slice(bytes.get(at..message.body_end as usize).unwrap_or_default());
            return;
        }
        out.put_slice(bytes.get(at..head_end).unwrap_or_default());
        out.put_slice(b"\r\n");
        out.put_slice(self.body.as_deref().unwrap_or(message.body()));
    }

    /// Writes the start line as far as it changes; where in the message to go on.
    fn write_start(&self, message: &Message, out: &mut BytesMut) -> usize {
        let (Start::Request { uri, .. }, Some(text)) = (message.index.start, self.uri) else {
            return 0;
        };
        out.put_slice(message.bytes.get(..usize::from(uri.at)).unwrap_or_default());
        out.put_slice(self.kept(text));
        uri.end()
    }

    fn insert(&mut self, field: u16, name: HeaderName, value: impl fmt::Display) {
        let start = self.text.len();
        self.text.extend_from_slice(name.as_str().as_bytes());
        self.text.extend_from_slice(b": ");
        self.keep(value);
        self.text.extend_from_slice(b"\r\n");
        let line = self.part_from(start);
        self.changes.push(Change { field, kind: Kind::Insert { name, line } });
    }

    fn keep(&mut self, text: impl fmt::Display) -> Part {
        struct Text<'a>(&'a mut SmallVec<[u8; 256]>);
        impl fmt::Write for Text<'_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                self.0.extend_from_slice(text.as_bytes());
                Ok(())
            }
        }
        let start = self.text.len();
        // Writing into a vector does not fail.
        let _ = write!(Text(&mut self.text), "{text}");
        self.part_from(start)
    }

    /// What was written from `start` on. No header and no head reaches 4 GiB.
    fn part_from(&self, start: usize) -> Part {
        Part { at: start as u32, len: (self.text.len() - start) as u32 }
    }

    fn kept(&self, text: Part) -> &[u8] {
        self.text.get(text.range()).unwrap_or_default()
    }
}

fn first_called(message: &Message, name: HeaderName) -> Option<u16> {
    message.index_of(name).map(|index| index as u16)
}

/// The field a change concerns; `None` behind the last.
fn field_of<'a>(message: &'a Message, change: &Change) -> Option<&'a Field> {
    message.index.fields.get(usize::from(change.field))
}

impl fmt::Debug for Edits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edits").field("changes", &self.changes.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Limits;

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
