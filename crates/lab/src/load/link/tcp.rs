//! Streams: several connections, messages framed by Content-Length (RFC 3261 §18.3).

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags};

use super::super::message::{Frame, frame};
use super::{MESSAGE_BYTES_MAX, Peer, poll_in};

/// Connections kept, opened and accepted: local limit. What is accepted beyond it is closed.
const CONNECTIONS_MAX: usize = 64;
/// Octets read ahead per connection, and the longest message taken.
const READ_BYTES: usize = 64 << 10;
/// Octets waiting for a slow reader; what comes on top is not sent and counted as failed.
const WRITE_BYTES_MAX: usize = 1 << 20;
/// Longest wait for a connection to be opened.
const CONNECT: Duration = Duration::from_secs(5);

/// The reading halves, and the listener for connections the server opens to us.
#[derive(Debug)]
pub(crate) struct Inbox {
    listener: TcpListener,
    readers: Vec<Reader>,
    turn: usize,
}

#[derive(Debug)]
struct Reader {
    /// `None` once closed; places are never given to another connection.
    stream: Option<TcpStream>,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

/// The writing halves.
#[derive(Debug)]
pub(crate) struct Outbox {
    writers: Vec<Writer>,
    /// The connections we opened, by address.
    opened: Vec<(SocketAddr, Vec<u32>)>,
    turn: usize,
    scratch: Box<[u8]>,
    /// Messages without a connection, or beyond what a slow one may hold.
    pub(crate) failed: u64,
}

#[derive(Debug)]
struct Writer {
    stream: TcpStream,
    waiting: Vec<u8>,
    closed: bool,
}

/// Listens on `local` and opens `connections` to each of `peers`.
pub(crate) fn open(
    local: SocketAddr,
    peers: &[SocketAddr],
    connections: u8,
) -> io::Result<(SocketAddr, Inbox, Outbox)> {
    let listener = TcpListener::bind(local)?;
    listener.set_nonblocking(true)?;
    let local = listener.local_addr()?;
    let mut inbox = Inbox { listener, readers: Vec::new(), turn: 0 };
    let scratch = vec![0; MESSAGE_BYTES_MAX].into();
    let mut outbox =
        Outbox { writers: Vec::new(), opened: Vec::new(), turn: 0, scratch, failed: 0 };
    for peer in peers {
        if outbox.opened.iter().any(|(known, _)| known == peer) {
            continue;
        }
        let mut places = Vec::new();
        for _ in 0..connections {
            let stream = TcpStream::connect_timeout(peer, CONNECT)?;
            places.extend(inbox.adopt(stream, &mut outbox)?);
        }
        outbox.opened.push((*peer, places));
    }
    Ok((local, inbox, outbox))
}

impl Inbox {
    /// Accepts, reads and writes what is possible without waiting.
    pub(crate) fn fill(&mut self, outbox: &mut Outbox) -> io::Result<usize> {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    self.adopt(stream, outbox)?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error),
            }
        }
        self.turn = 0;
        Ok(self.readers.iter_mut().map(|reader| usize::from(reader.fill())).sum())
    }

    pub(crate) fn next(&mut self) -> Option<(&[u8], Peer)> {
        let (turn, start, len) = loop {
            let reader = self.readers.get_mut(self.turn)?;
            match reader.frame() {
                Some((start, len)) => break (self.turn, start, len),
                None => self.turn += 1,
            }
        };
        let peer = Peer::Connection(u32::try_from(turn).ok()?);
        let bytes = self.readers.get(turn)?.buffer.get(start..start + len)?;
        Some((bytes, peer))
    }

    pub(crate) fn readable(&self) -> impl Iterator<Item = PollFd<'_>> {
        let streams = self.readers.iter().filter_map(|reader| reader.stream.as_ref());
        std::iter::once(poll_in(self.listener.as_fd()))
            .chain(streams.map(|stream| poll_in(stream.as_fd())))
    }

    /// Takes a connection into both tables; `None` when they are full.
    fn adopt(&mut self, stream: TcpStream, outbox: &mut Outbox) -> io::Result<Option<u32>> {
        if self.readers.len() >= CONNECTIONS_MAX {
            return Ok(None);
        }
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let writer = stream.try_clone()?;
        outbox.writers.push(Writer { stream: writer, waiting: Vec::new(), closed: false });
        let buffer = vec![0; READ_BYTES].into();
        self.readers.push(Reader { stream: Some(stream), buffer, start: 0, end: 0 });
        Ok(u32::try_from(self.readers.len() - 1).ok())
    }
}

impl Reader {
    /// Reads once; true when something came.
    fn fill(&mut self) -> bool {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let (Some(stream), Some(free)) = (&mut self.stream, self.buffer.get_mut(self.end..)) else {
            return false;
        };
        match stream.read(free) {
            // Zero is the end of the stream, or a message longer than the buffer: both close.
            Ok(0) => self.stream = None,
            Ok(len) => {
                self.end += len;
                return true;
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => self.stream = None,
        }
        false
    }

    /// Takes the next whole message: where it starts and its length.
    fn frame(&mut self) -> Option<(usize, usize)> {
        loop {
            match frame(self.buffer.get(self.start..self.end)?) {
                Frame::Message(len) => {
                    let start = self.start;
                    self.start += len;
                    return Some((start, len));
                }
                Frame::KeepAlive(len) => self.start += len,
                Frame::Partial => return None,
                Frame::Broken => {
                    self.stream = None;
                    self.start = self.end;
                    return None;
                }
            }
        }
    }
}

impl Outbox {
    #[inline]
    pub(crate) fn send(&mut self, to: Peer, write: impl FnOnce(&mut [u8]) -> Option<usize>) {
        let sent = self.collect(to, write);
        self.failed += u64::from(sent.is_none());
    }

    fn collect(&mut self, to: Peer, write: impl FnOnce(&mut [u8]) -> Option<usize>) -> Option<()> {
        let place = match to {
            Peer::Connection(place) => place,
            Peer::Address(address) => {
                let (_, places) = self.opened.iter().find(|(known, _)| *known == address)?;
                self.turn = self.turn.wrapping_add(1);
                *places.get(self.turn.checked_rem(places.len())?)?
            }
        };
        let writer = self.writers.get_mut(usize::try_from(place).ok()?)?;
        let len = write(&mut self.scratch)?;
        let bytes = self.scratch.get(..len)?;
        if writer.closed || writer.waiting.len() + len > WRITE_BYTES_MAX {
            return None;
        }
        writer.waiting.extend_from_slice(bytes);
        Some(())
    }

    pub(crate) fn flush(&mut self) {
        for writer in &mut self.writers {
            writer.flush();
        }
    }

    pub(crate) fn writable(&self) -> impl Iterator<Item = PollFd<'_>> {
        let waiting = self.writers.iter().filter(|writer| !writer.waiting.is_empty());
        waiting.map(|writer| PollFd::new(writer.stream.as_fd(), PollFlags::POLLOUT))
    }
}

impl Writer {
    fn flush(&mut self) {
        while !self.waiting.is_empty() {
            match self.stream.write(&self.waiting) {
                Ok(len @ 1..) => drop(self.waiting.drain(..len)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => {
                    self.closed = true;
                    self.waiting.clear();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Instant;

    use super::*;

    const LOCAL: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);
    const MESSAGE: &[u8] = b"A b SIP/2.0\r\nContent-Length: 3\r\n\r\nxyz";

    fn listening() -> (SocketAddr, Inbox, Outbox) {
        open(SocketAddr::from(LOCAL), &[], 0).unwrap()
    }

    /// Fills until `done`, at most two seconds.
    #[expect(clippy::disallowed_methods, reason = "real sockets need real time")]
    fn fill_until(
        inbox: &mut Inbox,
        outbox: &mut Outbox,
        mut done: impl FnMut(&mut Inbox) -> bool,
    ) {
        let start = Instant::now();
        while !done(inbox) {
            assert!(start.elapsed() < Duration::from_secs(2), "nothing came");
            inbox.fill(outbox).unwrap();
        }
    }

    #[test]
    fn messages_are_framed_however_they_arrive() {
        let (address, mut inbox, mut outbox) = listening();
        let mut client = TcpStream::connect(address).unwrap();
        client.set_nodelay(true).unwrap();
        let stream = [b"\r\n\r\n", MESSAGE, MESSAGE].concat();
        let mut came = 0;
        for (sent, byte) in stream.iter().enumerate() {
            client.write_all(&[*byte]).unwrap();
            let whole = if sent + 1 == stream.len() { 2 } else { came };
            fill_until(&mut inbox, &mut outbox, |inbox| {
                while let Some((message, peer)) = inbox.next() {
                    assert_eq!((message, peer), (MESSAGE, Peer::Connection(0)));
                    came += 1;
                }
                came >= whole
            });
        }
        assert_eq!(came, 2);
    }

    #[test]
    fn connections_beyond_the_limit_are_closed() {
        let (address, mut inbox, mut outbox) = listening();
        let clients: Vec<TcpStream> =
            (0..CONNECTIONS_MAX).map(|_| TcpStream::connect(address).unwrap()).collect();
        fill_until(&mut inbox, &mut outbox, |inbox| inbox.readers.len() == CONNECTIONS_MAX);
        let mut extra = TcpStream::connect(address).unwrap();
        extra.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        fill_until(&mut inbox, &mut outbox, |_| {
            extra.set_nonblocking(true).unwrap();
            matches!(extra.read(&mut [0]), Ok(0))
        });
        assert_eq!(inbox.readers.len(), clients.len());
    }

    #[test]
    fn a_reader_that_stops_holds_a_bounded_amount() {
        let (address, mut inbox, mut outbox) = listening();
        let client = TcpStream::connect(address).unwrap();
        fill_until(&mut inbox, &mut outbox, |inbox| !inbox.readers.is_empty());
        // Far more than the kernel's buffers and ours hold together.
        for _ in 0..4096 {
            outbox.send(Peer::Connection(0), |_| Some(MESSAGE_BYTES_MAX));
            outbox.flush();
        }
        let waiting = outbox.writers[0].waiting.len();
        assert!(waiting <= WRITE_BYTES_MAX && outbox.failed > 0, "{waiting}, {}", outbox.failed);
        drop(client);
    }

    #[test]
    fn nobody_to_send_to_is_counted() {
        let (address, _inbox, mut outbox) = listening();
        outbox.send(Peer::Address(address), |_| Some(1));
        outbox.send(Peer::Connection(0), |_| Some(1));
        assert_eq!(outbox.failed, 2);
    }

    #[test]
    fn a_message_longer_than_the_buffer_closes() {
        let (address, mut inbox, mut outbox) = listening();
        let mut client = TcpStream::connect(address).unwrap();
        client.set_nonblocking(true).unwrap();
        let endless = [b'x'; 4096];
        fill_until(&mut inbox, &mut outbox, |inbox| {
            let _ = client.write(&endless);
            let reader = inbox.readers.first_mut();
            reader.is_some_and(|reader| reader.frame().is_none() && reader.stream.is_none())
        });
    }
}
