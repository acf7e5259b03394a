//! What a host makes of packets: messages.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use parlance_sip::Message;
use parlance_sip::frame::{Frame, Framer};
use parlance_sip::message::{Limits, Malformed};

use super::Packet;

/// What stood in a packet.
#[derive(Debug)]
pub enum Unit {
    /// A message.
    Message(Message),
    /// Something that is none.
    Malformed(Box<Malformed>),
    /// A keep-alive that wants one CRLF back (RFC 5626 §4.4.1).
    Ping,
}

/// Cuts packets into messages: datagrams one by one, streams by Content-Length.
#[derive(Debug, Default)]
pub struct Framing {
    /// One for each peer that speaks over a stream; the lab has as many as it has hosts.
    streams: BTreeMap<SocketAddr, Framer>,
}

impl Framing {
    /// The messages that are whole now.
    pub fn take(&mut self, packet: Packet) -> Vec<Unit> {
        if !packet.transport.is_reliable() {
            return vec![match Message::parse_datagram(packet.octets, &Limits::default()) {
                Ok(message) => Unit::Message(message),
                Err(malformed) => Unit::Malformed(malformed),
            }];
        }
        let framer =
            self.streams.entry(packet.from).or_insert_with(|| Framer::new(Limits::default()));
        framer.buffer().extend_from_slice(&packet.octets);
        let mut units = Vec::new();
        while let Some(frame) = framer.next_frame() {
            units.push(match frame {
                Frame::Message(message) => Unit::Message(message),
                Frame::Ping => Unit::Ping,
                Frame::Malformed(malformed) => Unit::Malformed(malformed),
            });
        }
        if framer.is_broken() {
            self.streams.remove(&packet.from);
        }
        units
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use parlance_sip::Transport;

    use super::{Framing, Packet, Unit};

    #[test]
    fn a_stream_is_put_together_and_a_datagram_stands_alone() {
        let text: &[u8] = b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 2\r\n\r\nab";
        let peer = |port| std::net::SocketAddr::from(([10, 0, 0, 1], port));
        let mut framing = Framing::default();
        let mut take = |from, transport, octets: &[u8]| {
            let octets = Bytes::copy_from_slice(octets);
            framing.take(Packet { from, to: peer(9), transport, octets })
        };
        for piece in text[..text.len() - 1].chunks(5) {
            assert!(take(peer(1), Transport::Tcp, piece).is_empty());
        }
        let units = take(peer(1), Transport::Tcp, b"b");
        assert!(matches!(&units[..], [Unit::Message(message)] if message.body() == b"ab"));
        assert!(matches!(take(peer(1), Transport::Tcp, b"\r\n\r\n")[..], [Unit::Ping]));
        assert!(matches!(take(peer(2), Transport::Udp, text)[..], [Unit::Message(_)]));
        assert!(matches!(take(peer(2), Transport::Udp, b"\0")[..], [Unit::Malformed(_)]));
    }
}
