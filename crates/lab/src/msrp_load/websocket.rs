//! The client's side of WebSocket (RFC 6455) for MSRP (RFC 7977): one chunk per message.

use std::io::{self, Read, Write};

use super::super::load::clock::mix;

/// The opening handshake (RFC 6455 §4.1, RFC 7977 §4) on a blocking stream. What the server has
/// sent after it is returned.
pub(crate) fn open(stream: &mut (impl Read + Write), host: &str) -> io::Result<Vec<u8>> {
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: msrp\r\n\
         Sec-WebSocket-Version: 13\r\nOrigin: http://{host}\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    let (mut answer, mut octets) = (Vec::new(), [0; 2048]);
    let end = loop {
        if let Some(end) = memchr::memmem::find(&answer, b"\r\n\r\n") {
            break end + 4;
        }
        let read = stream.read(&mut octets)?;
        if read == 0 || answer.len() > 8192 {
            return Err(io::Error::other("the server ended the WebSocket handshake"));
        }
        answer.extend_from_slice(octets.get(..read).unwrap_or_default());
    };
    // The answer to the key of RFC 6455 §1.3 is given there.
    let head = String::from_utf8_lossy(answer.get(..end).unwrap_or_default()).to_lowercase();
    let right = head.starts_with("http/1.1 101")
        && head.contains("s3pplmbitxaq9kygzzhzrbk+xoo=")
        && head.contains("sec-websocket-protocol: msrp\r\n");
    if !right {
        let line = head.lines().next().unwrap_or_default();
        return Err(io::Error::other(format!("no WebSocket for MSRP: {line}")));
    }
    Ok(answer.split_off(end))
}

/// Appends `payload` as one binary message, masked (RFC 6455 §5.2, §5.3).
pub(crate) fn write(payload: &[u8], nonce: u64, out: &mut Vec<u8>) {
    frame(0x82, payload, nonce, out);
}

fn frame(first: u8, payload: &[u8], nonce: u64, out: &mut Vec<u8>) {
    out.push(first);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ 0..=125), _) => out.push(0x80 | length),
        (_, Ok(length)) => {
            out.push(0x80 | 126);
            out.extend_from_slice(&length.to_be_bytes());
        }
        (_, Err(_)) => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    let key = u32::try_from(mix(nonce) >> 32).unwrap_or(0).to_ne_bytes();
    out.extend_from_slice(&key);
    let start = out.len();
    out.extend_from_slice(payload);
    let (words, rest) = out.get_mut(start..).unwrap_or_default().as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(key)).to_ne_bytes();
    }
    for (octet, key) in rest.iter_mut().zip(key) {
        *octet ^= key;
    }
}

/// Takes the frames off what a server sends, which it does not mask.
#[derive(Debug, Default)]
pub(crate) struct Unframer {
    /// The beginning of a frame header that is not all there.
    header: Vec<u8>,
    /// Octets of the current frame still to come.
    left: u64,
    /// The current frame is a control frame: its opcode, and its payload so far.
    control: Option<(u8, Vec<u8>)>,
}

impl Unframer {
    /// Takes the frames off `octets` in place, and returns how many octets of payload are left at
    /// its front. What must be answered is appended to `out`. An error ends the connection.
    pub(crate) fn take(&mut self, octets: &mut [u8], out: &mut Vec<u8>) -> io::Result<usize> {
        let (mut at, mut kept) = (0, 0);
        while at < octets.len() || self.complete() {
            if self.left == 0 {
                self.finish(out)?;
                let Some(octet) = octets.get(at) else { break };
                self.header.push(*octet);
                at += 1;
                self.begin()?;
                continue;
            }
            let there = octets.len() - at;
            let take = usize::try_from(self.left).unwrap_or(there).min(there);
            match &mut self.control {
                Some((_, payload)) => {
                    payload.extend_from_slice(octets.get(at..at + take).unwrap_or_default());
                }
                None => {
                    octets.copy_within(at..at + take, kept);
                    kept += take;
                }
            }
            at += take;
            self.left -= take as u64;
        }
        Ok(kept)
    }

    /// A control frame whose payload is all there.
    fn complete(&self) -> bool {
        self.left == 0 && self.control.is_some() && self.header.is_empty()
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        if !self.complete() {
            return Ok(());
        }
        match self.control.take() {
            Some((0x8, _)) => Err(io::Error::other("the server closed the WebSocket")),
            Some((0x9, payload)) => {
                frame(0x8a, &payload, 0, out);
                Ok(())
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Reads the header, when all of it is there.
    fn begin(&mut self) -> io::Result<()> {
        let [first, second, rest @ ..] = self.header.as_slice() else { return Ok(()) };
        if second & 0x80 != 0 {
            return Err(io::Error::other("the server masks its frames"));
        }
        let wide = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if rest.len() < wide {
            return Ok(());
        }
        let number = rest.iter().fold(0, |number: u64, octet| number << 8 | u64::from(*octet));
        self.left = if wide == 0 { u64::from(second & 0x7f) } else { number };
        let opcode = first & 0x0f;
        self.control = (opcode >= 8).then(|| (opcode, Vec::new()));
        self.header.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame as a server sends it.
    fn plain(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut masked = Vec::new();
        frame(first, payload, 7, &mut masked);
        let key_at = masked.len() - payload.len() - 4;
        let mut out = masked[..key_at].to_vec();
        out[1] &= 0x7f;
        out.extend_from_slice(payload);
        out
    }

    #[test]
    fn payloads_come_out_whatever_the_cuts() {
        let payloads = [vec![b'a'; 3], vec![], vec![b'b'; 126], vec![b'c'; 70_000]];
        let mut stream = Vec::new();
        for payload in &payloads {
            stream.extend(plain(0x82, payload));
            stream.extend(plain(0x89, b"ping"));
        }
        for step in [1, 2, 3, 7, 1000, stream.len()] {
            let (mut unframer, mut got, mut out) = (Unframer::default(), Vec::new(), Vec::new());
            for piece in stream.chunks(step) {
                let mut piece = piece.to_vec();
                let kept = unframer.take(&mut piece, &mut out).unwrap();
                got.extend_from_slice(&piece[..kept]);
            }
            assert_eq!(got, payloads.concat(), "{step}");
            let pong = {
                let mut pong = Vec::new();
                frame(0x8a, b"ping", 0, &mut pong);
                pong
            };
            assert_eq!(out, pong.repeat(payloads.len()), "{step}");
        }
    }

    #[test]
    fn a_written_frame_is_masked() {
        let mut out = Vec::new();
        write(b"MSRP a786hjs2 SEND", 1, &mut out);
        assert_eq!(out.get(..2), Some(&[0x82, 0x80 | 18][..]));
        let key = out[2..6].to_vec();
        let payload: Vec<u8> =
            out[6..].iter().zip(key.iter().cycle()).map(|(a, b)| a ^ b).collect();
        assert_eq!(payload, b"MSRP a786hjs2 SEND");
        assert_ne!(out[6..], payload);
    }

    #[test]
    fn a_close_or_a_masked_frame_ends_it() {
        let mut out = Vec::new();
        assert!(Unframer::default().take(&mut plain(0x88, b""), &mut out).is_err());
        frame(0x82, b"x", 1, &mut out);
        let mut masked = out.clone();
        assert!(Unframer::default().take(&mut masked, &mut out).is_err());
    }
}
