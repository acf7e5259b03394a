//! Chunks: where one stands in its message, and how one is written (RFC 4975 §5.1, §7.1.1).

use bytes::Bytes;

use crate::header::{ByteRange, FailureReport};
use crate::session::Session;
use crate::{Continuation, Outbound, write};

/// A larger body has to be interruptible: its Byte-Range ends with `*` (RFC 4975 §7.1.1). One that
/// is neither the last nor given up is not shorter.
pub const INTERRUPTIBLE_OCTETS_MIN: usize = 2048;

/// The most octets of one chunk of ours. Local choice: what else waits for the connection is not
/// behind more than this of one message.
pub const CHUNK_OCTETS_MAX: usize = 16 * 1024;

/// Where a chunk stands in its message, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The position of its first octet.
    pub(crate) start: u64,
    /// How long the message is, as its sender says.
    pub(crate) total: Option<u64>,
}

impl Place {
    /// Where `range` says, in a message of which no more than `octets_max` octets are wanted: else
    /// 413 (RFC 4975 §10.5). Without Byte-Range the chunk begins the message (§7.3.1).
    pub(crate) fn of(range: Option<ByteRange>, octets_max: u64) -> Result<Self, u16> {
        let ByteRange { start, end, total } = range.unwrap_or(ByteRange::WHOLE);
        let start = start.checked_sub(1).ok_or(400_u16)?;
        let reaches = total.unwrap_or(0).max(end.unwrap_or(0)).max(start);
        if reaches > octets_max { Err(413) } else { Ok(Self { start, total }) }
    }
}

/// The headers of the chunks of one message, written once.
#[derive(Clone, Debug)]
pub(crate) struct ChunkHeaders {
    /// `Message-ID`, `Success-Report`, `Failure-Report`: the same in all chunks (RFC 4975 §7.1.1).
    before: Box<[u8]>,
    /// What describes the content, `Content-Type` last, with the empty line.
    after: Box<[u8]>,
}

impl ChunkHeaders {
    /// `extra` is whole header lines that describe the content, as `Content-Disposition`.
    pub(crate) fn new(
        message_id: &[u8],
        success_report: bool,
        failure_report: FailureReport,
        extra: &[u8],
        content_type: &str,
    ) -> Self {
        let mut before = Vec::new();
        write::header(&mut before, "Message-ID", message_id);
        if success_report {
            write::header(&mut before, "Success-Report", b"yes");
        }
        if failure_report != FailureReport::Yes {
            write::header(&mut before, "Failure-Report", failure_report.as_str().as_bytes());
        }
        let mut after = extra.to_vec();
        write::header(&mut after, "Content-Type", content_type.as_bytes());
        after.extend_from_slice(b"\r\n");
        Self { before: before.into(), after: after.into() }
    }

    /// Writes the chunk that begins at `place` and has the octets of `parts`.
    pub(crate) fn write(
        &self,
        out: &mut Outbound,
        id: &[u8],
        session: &Session,
        place: Place,
        parts: &[Bytes],
        end: Continuation,
    ) {
        let octets: usize = parts.iter().map(Bytes::len).sum();
        let tail = out.tail();
        for part in [b"MSRP ", id, b" SEND", session.request_paths(), &self.before] {
            tail.extend_from_slice(part);
        }
        write_range(tail, place, octets);
        tail.extend_from_slice(&self.after);
        for part in parts {
            out.share(part.clone());
        }
        write::body_end(out.tail(), id, end);
    }
}

/// Writes the Byte-Range of a chunk of `octets` octets. What does not exist is said to begin at 1
/// (RFC 4975 §7.1.1).
fn write_range(out: &mut Vec<u8>, place: Place, octets: usize) {
    let end = place.start + octets as u64;
    let range = ByteRange {
        start: if octets == 0 { 1 } else { place.start + 1 },
        end: match octets {
            0 => Some(0),
            _ => (octets <= INTERRUPTIBLE_OCTETS_MIN).then_some(end),
        },
        total: place.total,
    };
    write::byte_range(out, range);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{FromRule, Sessions, Usage};
    use crate::{MsrpUri, Path};

    fn written(place: Place, parts: &[Bytes], end: Continuation) -> String {
        let mut sessions = Sessions::new(0, 7);
        let own: MsrpUri = "msrp://alicepc.example.com:7777/iau39;tcp".parse().unwrap();
        let key = sessions.open_as(own, Usage::Endpoint(0));
        let peer = Path::new(b"msrp://bob.example.com:8888/9di4ea;tcp");
        sessions.set_peer(key, peer, FromRule::Whole);
        let mut out = Outbound::default();
        let headers = ChunkHeaders::new(b"4564dpWd", false, FailureReport::Yes, b"", "text/plain");
        headers.write(&mut out, b"dkei38ia", sessions.get(key).unwrap(), place, parts, end);
        let mut octets = vec![0; out.len()];
        bytes::Buf::copy_to_slice(&mut out, &mut octets);
        String::from_utf8(octets).unwrap()
    }

    // Covers: MSRP-026
    #[test]
    fn is_written_as_in_figure_3_of_rfc_4975() {
        let place = Place { start: 4, total: Some(8) };
        assert_eq!(
            written(place, &[Bytes::from_static(b"EFGH")], Continuation::Last),
            "MSRP dkei38ia SEND\r\nTo-Path: msrp://bob.example.com:8888/9di4ea;tcp\r\n\
             From-Path: msrp://alicepc.example.com:7777/iau39;tcp\r\nMessage-ID: 4564dpWd\r\n\
             Byte-Range: 5-8/8\r\nContent-Type: text/plain\r\n\r\nEFGH\r\n-------dkei38ia$\r\n"
        );
    }

    // Covers: MSRP-003, MSRP-077
    #[test]
    fn the_range_is_open_above_2048_octets_and_empty_for_nothing() {
        let range = |start, total, octets| {
            let mut out = Vec::new();
            write_range(&mut out, Place { start, total }, octets);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(range(0, Some(5000), 2048), "Byte-Range: 1-2048/5000\r\n");
        assert_eq!(range(0, Some(5000), 2049), "Byte-Range: 1-*/5000\r\n");
        assert_eq!(range(2048, None, 5), "Byte-Range: 2049-2053/*\r\n");
        let end = u64::MAX - 1;
        assert_eq!(range(end - 1, Some(end), 1), format!("Byte-Range: {end}-{end}/{end}\r\n"));
        assert_eq!(range(0, Some(0), 0), "Byte-Range: 1-0/0\r\n");
        assert_eq!(range(2048, None, 0), "Byte-Range: 1-0/*\r\n");
    }

    // Covers: MSRP-085
    #[test]
    fn a_place_beyond_what_is_wanted_is_refused() {
        let place = |value: &str| Place::of(Some(ByteRange::parse(value.as_bytes()).unwrap()), 100);
        assert_eq!(Place::of(None, 100), Ok(Place { start: 0, total: None }));
        assert_eq!(place("5-8/8"), Ok(Place { start: 4, total: Some(8) }));
        assert_eq!(place("1-0/0"), Ok(Place { start: 0, total: Some(0) }));
        assert_eq!(place("1-*/100"), Ok(Place { start: 0, total: Some(100) }));
        for refused in ["1-*/101", "1-101/*", "102-*/*", "18446744073709551615-*/*"] {
            assert_eq!(place(refused), Err(413), "{refused}");
        }
    }
}
