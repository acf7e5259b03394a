//! Datagrams in batches: `recvmmsg` and `sendmmsg`.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::poll::PollFd;
use nix::sys::socket::{
    MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg, setsockopt, sockopt,
};

use super::{MESSAGE_BYTES_MAX, Peer, poll_in};

/// Datagrams per system call: local limit; above 64 the gain is below a tenth of a microsecond.
const BATCH: usize = 64;
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
            match self.send_from(sent) {
                Ok(0) => break,
                Ok(count) => sent += count,
                Err(Errno::EINTR) => {}
                // The first datagram is the one refused: leave it out and go on.
                Err(_) => {
                    self.failed += 1;
                    sent += 1;
                }
            }
        }
        self.count = 0;
    }

    fn send_from(&mut self, first: usize) -> nix::Result<usize> {
        let places = self.buffer.chunks_exact(MESSAGE_BYTES_MAX).zip(&self.lengths);
        let mut places = places.skip(first).take(self.count - first);
        let slices: [[IoSlice<'_>; 1]; BATCH] = std::array::from_fn(|_| {
            let bytes = places.next().and_then(|(place, len)| place.get(..*len));
            [IoSlice::new(bytes.unwrap_or_default())]
        });
        let peers = self.peers.get(first..self.count).unwrap_or_default();
        let fd = self.socket.as_raw_fd();
        let flags = MsgFlags::MSG_DONTWAIT;
        sendmmsg(fd, &mut self.headers, slices.iter(), peers, [], flags).map(Iterator::count)
    }
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
