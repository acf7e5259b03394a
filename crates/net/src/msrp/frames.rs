//! Where the messages in a queue end: WebSocket carries each in one of its own.

use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};
use parlance_msrp::{Framer, Limits, Outbound, Piece};

/// Octets looked at first; more when the first message is longer.
const WINDOW_OCTETS: usize = 64 * 1024;

const SLICES_MAX: usize = 64;

/// What we write is not measured again: one header more than a peer may send, or a long path, was
/// added on purpose.
const ANY: Limits = Limits {
    head_octets_max: usize::MAX,
    headers_max: usize::MAX,
    uris_max: usize::MAX,
    other_body_octets_max: usize::MAX,
};

/// The messages that `outbound` begins with, as copies, at least one; none when it is empty, or
/// holds what is no MSRP. It keeps them.
pub(crate) fn first_frames(outbound: &Outbound) -> Vec<Bytes> {
    let mut window = WINDOW_OCTETS;
    loop {
        let octets = peek(outbound, window);
        let frames = split(&octets);
        if !frames.is_empty() || octets.len() == outbound.len() {
            return frames;
        }
        window *= 2;
    }
}

/// A copy of the first octets, at most `window`.
fn peek(outbound: &Outbound, window: usize) -> Bytes {
    let mut copy = BytesMut::with_capacity(window.min(outbound.len()));
    let mut slices = [IoSlice::new(&[]); SLICES_MAX];
    let count = outbound.chunks_vectored(&mut slices);
    for slice in slices.iter().take(count) {
        let room = window.saturating_sub(copy.len());
        copy.extend_from_slice(slice.get(..room).unwrap_or(slice));
    }
    copy.freeze()
}

fn split(octets: &Bytes) -> Vec<Bytes> {
    let mut framer = Framer::new(ANY);
    let (mut start, mut at) = (0, 0);
    let mut frames = Vec::new();
    while let Some(piece) = framer.next(octets, &mut at) {
        let ended = match piece {
            Piece::Head { end, .. } | Piece::Body { end, .. } => end.is_some(),
            Piece::Malformed { .. } => true,
            Piece::Broken(_) => return Vec::new(),
        };
        if ended {
            frames.push(octets.slice(start..at));
            start = at;
        }
    }
    frames
}

#[cfg(test)]
mod tests {
    use bytes::Buf;
    use parlance_msrp::{Marks, Outbound};

    use super::first_frames;

    fn send(id: &str, body: usize) -> Vec<u8> {
        let head = format!(
            "MSRP {id} SEND\r\nTo-Path: msrp://a.test:1/s;tcp\r\n\
             From-Path: msrp://b.test:2/t;tcp\r\nMessage-ID: {id}\r\n\
              Byte-Range: 1-{body}/{body}\r\nContent-Type: text/plain\r\n\r\n"
        );
        [head.as_bytes(), &vec![b'x'; body], format!("\r\n-------{id}$\r\n").as_bytes()].concat()
    }

    // Covers: MSRP-095
    #[test]
    fn each_message_is_found_however_long() {
        let messages = [send("aaaa1111", 5), send("bbbb2222", 300_000), send("cccc3333", 1)];
        let mut outbound = Outbound::new(Marks::default());
        for message in &messages {
            outbound.tail().extend_from_slice(message);
        }
        for message in &messages {
            let frames = first_frames(&outbound);
            assert_eq!(frames.first().map(|frame| &frame[..]), Some(&message[..]));
            outbound.advance(message.len());
        }
        assert!(first_frames(&outbound).is_empty());
    }

    // Covers: MSRP-095
    #[test]
    fn what_we_write_may_have_more_than_a_peer_may_send() {
        let path = vec!["msrp://a.test:1/s;tcp"; 17].join(" ");
        for more in ["X: y\r\n".repeat(65), format!("X: {}\r\n", "y".repeat(9000)), String::new()] {
            let message = format!(
                "MSRP aaaa1111 SEND\r\nTo-Path: {path}\r\nFrom-Path: msrp://b.test:2/t;tcp\r\n\
                 Message-ID: m\r\n{more}-------aaaa1111$\r\n"
            );
            let mut outbound = Outbound::new(Marks::default());
            outbound.tail().extend_from_slice(message.as_bytes());
            assert_eq!(first_frames(&outbound), [message], "{more}");
        }
    }
}
