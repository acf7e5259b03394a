//! Datagrams in batches: `recvmmsg` and `sendmmsg`.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::poll::PollFd;
use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg, sendmsg,
    setsockopt, sockopt,
};

use super::{MESSAGE_BYTES_MAX, Peer, poll_in};

/// Datagrams per system call: local limit; above 64 the gain is below a tenth of a microsecond.
const BATCH: usize = 64;
/// Fewer neighbours alike are not worth a system call of their own: local limit.
const ALIKE_MIN: usize = 4;
/// Longest datagram there is, over which the kernel does not cut: 65,535 less IPv6 and UDP heads.
const DATAGRAM_BYTES_MAX: usize = 65_535 - 40 - 8;
/// Receive buffer asked for: room for 100 ms of 100,000 answers a second as the kernel counts
/// them (about 2.3 KB each), so that a pause of the generator loses nothing.
const RECEIVE_BYTES: usize = 32 << 20;

/// Received datagrams.
pub(crate) struct Inbox {
    socket: UdpSocket,
    headers: MultiHeaders<SockaddrStorage>,
    buffer: Box<[u8]>,
    arrived: [(usize, Option<SocketAddr>); BATCH],
    count: usize,
    lent: usize,
}

/// Datagrams to be sent.
pub(crate) struct Outbox {
    socket: UdpSocket,
    headers: MultiHeaders<SockaddrStorage>,
    buffer: Box<[u8]>,
    lengths: [usize; BATCH],
    peers: [Option<SockaddrStorage>; BATCH],
    count: usize,
    /// Whether the kernel cuts long datagrams for us; true until it refuses.
    segments: bool,
    /// Messages the kernel refused, or meant for a connection.
    pub(crate) failed: u64,
}

/// Binds `local`.
pub(crate) fn open(local: SocketAddr) -> io::Result<(SocketAddr, Inbox, Outbox)> {
    let socket = UdpSocket::bind(local)?;
    socket.set_nonblocking(true)?;
    // Forcing passes net.core.rmem_max and needs a privilege; the plain option is the second
    // best, and the third is the default: smaller buffers only show as drops in the report.
    if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BYTES).is_err() {
        let _ = setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BYTES);
    }
    let local = socket.local_addr()?;
    let inbox = Inbox {
        socket: socket.try_clone()?,
        headers: MultiHeaders::preallocate(BATCH, None),
        buffer: vec![0; BATCH * MESSAGE_BYTES_MAX].into(),
        arrived: [(0, None); BATCH],
        count: 0,
        lent: 0,
    };
    let outbox = Outbox {
        socket,
        headers: MultiHeaders::preallocate(BATCH, None),
        buffer: vec![0; BATCH * MESSAGE_BYTES_MAX].into(),
        lengths: [0; BATCH],
        peers: [None; BATCH],
        count: 0,
        segments: true,
        failed: 0,
    };
    Ok((local, inbox, outbox))
}

impl Inbox {
    /// Reads up to a batch; forgets what was not lent.
    pub(crate) fn fill(&mut self) -> io::Result<usize> {
        (self.count, self.lent) = (0, 0);
        let fd = self.socket.as_raw_fd();
        let mut places = self.buffer.chunks_exact_mut(MESSAGE_BYTES_MAX);
        let mut slices: [[IoSliceMut<'_>; 1]; BATCH] =
            std::array::from_fn(|_| [IoSliceMut::new(places.next().unwrap_or_default())]);
        let flags = MsgFlags::MSG_DONTWAIT;
        match recvmmsg(fd, &mut self.headers, slices.iter_mut(), flags, None) {
            Ok(results) => {
                for (place, result) in self.arrived.iter_mut().zip(results) {
                    *place = (result.bytes, result.address.as_ref().and_then(from_storage));
                    self.count += 1;
                }
                Ok(self.count)
            }
            // ECONNREFUSED is the echo of an earlier datagram to a port nobody listens on; that
            // message counts as lost in its own time.
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNREFUSED) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    #[inline]
    pub(crate) fn next(&mut self) -> Option<(&[u8], Peer)> {
        while self.lent < self.count {
            let index = self.lent;
            self.lent += 1;
            if let Some((len, Some(from))) = self.arrived.get(index) {
                let start = index * MESSAGE_BYTES_MAX;
                return Some((self.buffer.get(start..start + len)?, Peer::Address(*from)));
            }
        }
        None
    }

    pub(crate) fn readable(&self) -> PollFd<'_> {
        poll_in(self.socket.as_fd())
    }
}

impl Outbox {
    #[inline]
    pub(crate) fn send(&mut self, to: Peer, write: impl FnOnce(&mut [u8]) -> Option<usize>) {
        let Peer::Address(to) = to else {
            self.failed += 1;
            return;
        };
        let start = self.count * MESSAGE_BYTES_MAX;
        let place = self.buffer.get_mut(start..start + MESSAGE_BYTES_MAX);
        let Some(len) = place.and_then(write) else {
            self.failed += 1;
            return;
        };
        if let (Some(length), Some(peer)) =
            (self.lengths.get_mut(self.count), self.peers.get_mut(self.count))
        {
            (*length, *peer) = (len, Some(SockaddrStorage::from(to)));
        }
        self.count += 1;
        if self.count == BATCH {
            self.flush();
        }
    }

    pub(crate) fn flush(&mut self) {
        let mut sent = 0;
        while sent < self.count {
            let result = match self.stretch(sent) {
                Stretch::Alike(until) => self.send_segments(sent, until),
                Stretch::Mixed(until) => self.send_batch(sent, until),
            };
            match result {
                Ok(0) => break,
                Ok(count) => sent += count,
                Err(Errno::EINTR) => {}
                // A kernel or device without segmentation: from now on one by one.
                Err(Errno::EINVAL | Errno::EIO | Errno::EOPNOTSUPP) if self.segments => {
                    self.segments = false;
                }
                // The first datagram is the one refused: leave it out and go on.
                Err(_) => {
                    self.failed += 1;
                    sent += 1;
                }
            }
        }
        self.count = 0;
    }

    /// How the datagrams from `first` on are best sent.
    fn stretch(&self, first: usize) -> Stretch {
        if !self.segments {
            return Stretch::Mixed(self.count);
        }
        let mut start = first;
        while start < self.count {
            let len = self.lengths.get(start).copied().unwrap_or(0);
            let most = (DATAGRAM_BYTES_MAX / len.max(1)).min(self.count - start);
            let peer = self.peers.get(start);
            let alike = |at: &usize| {
                self.peers.get(*at) == peer && self.lengths.get(*at).copied() == Some(len)
            };
            let run = (start..start + most).take_while(alike).count();
            if run >= ALIKE_MIN {
                return if start == first {
                    Stretch::Alike(first + run)
                } else {
                    Stretch::Mixed(start)
                };
            }
            start += run.max(1);
        }
        Stretch::Mixed(self.count)
    }

    /// Sends datagrams of one length to one peer as one, cut by the kernel (UDP_SEGMENT, udp(7)):
    /// the way through its layers is paid once.
    fn send_segments(&mut self, first: usize, until: usize) -> nix::Result<usize> {
        let slices: [IoSlice<'_>; BATCH] = slices(&self.buffer, &self.lengths, first, until);
        let slices = slices.get(..until - first).unwrap_or_default();
        let len = self.lengths.get(first).and_then(|len| u16::try_from(*len).ok());
        let segment = len.ok_or(Errno::EINVAL)?;
        let peer = self.peers.get(first).and_then(Option::as_ref);
        let control = [ControlMessage::UdpGsoSegments(&segment)];
        let fd = self.socket.as_raw_fd();
        sendmsg(fd, slices, &control, MsgFlags::MSG_DONTWAIT, peer).map(|_| until - first)
    }

    fn send_batch(&mut self, first: usize, until: usize) -> nix::Result<usize> {
        let slices: [IoSlice<'_>; BATCH] = slices(&self.buffer, &self.lengths, first, until);
        let slices = slices.map(|slice| [slice]);
        let peers = self.peers.get(first..until).unwrap_or_default();
        let fd = self.socket.as_raw_fd();
        let flags = MsgFlags::MSG_DONTWAIT;
        sendmmsg(fd, &mut self.headers, slices.iter(), peers, [], flags).map(Iterator::count)
    }
}

/// Neighbours in a batch that are sent in one system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stretch {
    /// Up to this place all have the same length and peer.
    Alike(usize),
    /// Up to this place they have not.
    Mixed(usize),
}

/// The messages from `first` up to `until`; empty slices after them.
fn slices<'a>(
    buffer: &'a [u8],
    lengths: &[usize],
    first: usize,
    until: usize,
) -> [IoSlice<'a>; BATCH] {
    let places = buffer.chunks_exact(MESSAGE_BYTES_MAX).zip(lengths);
    let mut places = places.skip(first).take(until - first);
    std::array::from_fn(|_| {
        let bytes = places.next().and_then(|(place, len)| place.get(..*len));
        IoSlice::new(bytes.unwrap_or_default())
    })
}

fn from_storage(storage: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = storage.as_sockaddr_in() {
        return Some(SocketAddr::V4(SocketAddrV4::new(v4.ip(), v4.port())));
    }
    let v6 = storage.as_sockaddr_in6()?;
    Some(SocketAddr::V6(SocketAddrV6::new(v6.ip(), v6.port(), v6.flowinfo(), v6.scope_id())))
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("socket", &self.socket).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;

    /// Sends messages of these lengths and returns the lengths that arrive.
    fn carried(outbox: &mut Outbox, lengths: &[usize]) -> Vec<usize> {
        let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        receiver.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let to = Peer::Address(receiver.local_addr().unwrap());
        for (number, len) in (0_u8..).zip(lengths) {
            outbox.send(to, |out| {
                out[..*len].fill(number);
                Some(*len)
            });
        }
        outbox.flush();
        let mut buffer = [0; MESSAGE_BYTES_MAX];
        (0_u8..)
            .zip(lengths)
            .map(|(number, _)| {
                let len = receiver.recv(&mut buffer).unwrap();
                assert!(buffer[..len].iter().all(|byte| *byte == number), "in order, uncut");
                len
            })
            .collect()
    }

    fn outbox() -> Outbox {
        open(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap().2
    }

    #[test]
    fn alike_and_mixed_messages_arrive_whole_and_in_order() {
        let mut outbox = outbox();
        let mixed: Vec<usize> = [vec![500; 20], vec![7, 8], vec![300; 3], vec![1100; 39]].concat();
        assert_eq!(carried(&mut outbox, &mixed), mixed);
        // Eight of 8 KiB are more than one datagram can hold.
        let large = [MESSAGE_BYTES_MAX; 9];
        assert_eq!(carried(&mut outbox, &large), large);
        outbox.segments = false;
        assert_eq!(carried(&mut outbox, &mixed), mixed);
        assert_eq!(outbox.failed, 0);
    }

    #[test]
    fn neighbours_alike_are_found() {
        let mut outbox = outbox();
        let to = Peer::Address(SocketAddr::from((Ipv4Addr::LOCALHOST, 9)));
        for len in [5, 6, 6, 6, 6, 7] {
            outbox.send(to, |_| Some(len));
        }
        let stretches = [0, 1, 5].map(|first| outbox.stretch(first));
        assert_eq!(stretches, [Stretch::Mixed(1), Stretch::Alike(5), Stretch::Mixed(6)]);
        outbox.segments = false;
        assert_eq!(outbox.stretch(1), Stretch::Mixed(6));
    }

    #[test]
    fn what_cannot_be_sent_is_counted_and_the_rest_goes_out() {
        let mut outbox = outbox();
        outbox.send(Peer::Connection(0), |_| Some(1));
        let to = Peer::Address(SocketAddr::from((Ipv4Addr::LOCALHOST, 9)));
        outbox.send(to, |_| None);
        // An IPv6 address cannot be reached from an IPv4 socket.
        outbox.send(Peer::Address("[::1]:9".parse().unwrap()), |_| Some(1));
        outbox.flush();
        assert_eq!(outbox.failed, 3);
        assert_eq!(carried(&mut outbox, &[3]), [3]);
    }
}
