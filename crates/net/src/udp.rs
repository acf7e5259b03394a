//! UDP: datagrams in batches into shared slabs, and out straight from the thread that sends.

use std::array;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrLike, SockaddrStorage, recvmmsg, sendmmsg};
use nix::sys::socket::{setsockopt, sockopt};
use parlance_sip::ListenerId;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::Notify;

use crate::TransmitError;
use crate::connection::Queued;

/// Datagrams taken or sent by one system call. More gains little: the call is then a few per cent
/// of the kernel's work for them.
pub(crate) const BATCH: usize = 32;

/// The largest datagram there is: 65,535 octets less the UDP header.
const DATAGRAM_MAX: usize = 65_527;

/// How many octets of datagrams share one allocation: about 60 messages of 1.1 KB. Larger ones
/// would save little and be pinned longer by a message that is kept.
const SLAB: usize = 64 * 1024;

/// Datagrams that wait while the socket's send buffer is full; one more is
/// [`TransmitError::Busy`]. Local limit: what the kernel could not take in some milliseconds.
const BACKLOG_MAX: usize = 1024;

/// The socket of one UDP listener.
#[derive(Debug)]
pub(crate) struct Udp {
    pub(crate) listener: ListenerId,
    pub(crate) address: SocketAddr,
    socket: UdpSocket,
    backlog: Mutex<VecDeque<Queued>>,
    backlog_len: AtomicUsize,
    waiting: Notify,
}

impl Udp {
    /// Binds; must run on the runtime that will receive.
    pub(crate) fn bind(
        listener: ListenerId,
        address: SocketAddr,
        receive_buffer_octets: usize,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // The limit of the system may be passed only with CAP_NET_ADMIN; without, as far as it
        // goes.
        if setsockopt(&socket, sockopt::RcvBufForce, &receive_buffer_octets).is_err() {
            socket.set_recv_buffer_size(receive_buffer_octets)?;
        }
        // The kernel reports twice what was asked for: it counts its own overhead.
        let granted = socket.recv_buffer_size()? / 2;
        if granted < receive_buffer_octets {
            tracing::info!(%address, granted, "small UDP receive buffer: see net.core.rmem_max");
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        let socket = UdpSocket::from_std(socket.into())?;
        let address = socket.local_addr()?;
        Ok(Self {
            listener,
            address,
            socket,
            backlog: Mutex::default(),
            backlog_len: AtomicUsize::new(0),
            waiting: Notify::new(),
        })
    }

    /// Sends one datagram, or queues it while the send buffer is full.
    pub(crate) fn transmit(&self, queued: Queued) -> Result<(), TransmitError> {
        if self.backlog_len.load(Ordering::Acquire) == 0 {
            match self.send(&queued) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return sent.map_err(transmit_error),
            }
        }
        self.queue(queued)
    }

    /// Sends the datagrams at the front of `queued` with one system call, as many as it takes;
    /// those that did not leave are given to `failed` or wait in the backlog.
    pub(crate) fn transmit_batch(
        &self,
        mut queued: &[Queued],
        mut failed: impl FnMut(&Queued, TransmitError),
    ) {
        while let Some(first) = queued.first() {
            let sent = if self.backlog_len.load(Ordering::Acquire) == 0 {
                SENDER.with_borrow_mut(|headers| send_batch(&self.socket, headers, queued))
            } else {
                Err(Errno::EAGAIN)
            };
            let done = match sent {
                Ok(count) => count.max(1),
                Err(Errno::EINTR) => 0,
                Err(Errno::EAGAIN) => {
                    if let Err(error) = self.queue(first.clone()) {
                        failed(first, error);
                    }
                    1
                }
                // The kernel stops at the first it cannot send; the others may be fine.
                Err(error) => {
                    failed(first, transmit_error(error.into()));
                    1
                }
            };
            queued = queued.get(done..).unwrap_or_default();
        }
    }

    /// Straight to the kernel, past what the runtime believes about the socket: it learns of a new
    /// socket, or of room in a full one, only when it next looks.
    fn send(&self, queued: &Queued) -> io::Result<()> {
        let to = SockAddr::from(queued.target.remote);
        let socket = SockRef::from(&self.socket);
        loop {
            match socket.send_to(&queued.bytes, &to) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => return sent.map(drop),
            }
        }
    }

    fn queue(&self, queued: Queued) -> Result<(), TransmitError> {
        let mut backlog = self.backlog();
        if backlog.len() >= BACKLOG_MAX {
            return Err(TransmitError::Busy);
        }
        backlog.push_back(queued);
        self.backlog_len.store(backlog.len(), Ordering::Release);
        drop(backlog);
        self.waiting.notify_one();
        Ok(())
    }

    fn backlog(&self) -> MutexGuard<'_, VecDeque<Queued>> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether everything is with the kernel.
    pub(crate) fn is_flushed(&self) -> bool {
        self.backlog_len.load(Ordering::Acquire) == 0
    }

    /// Sends what waits, whenever something does; tells `done` how each fared. Never returns.
    pub(crate) async fn flush(&self, mut done: impl FnMut(&Queued, Result<(), TransmitError>)) {
        loop {
            self.waiting.notified().await;
            loop {
                let next = self.backlog().front().cloned();
                let Some(next) = next else { break };
                let ready = self.socket.writable().await;
                let send = || self.socket.try_io(Interest::WRITABLE, || self.send(&next));
                let sent = match ready.and_then(|()| send()) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    sent => sent.map_err(transmit_error),
                };
                {
                    let mut backlog = self.backlog();
                    backlog.pop_front();
                    self.backlog_len.store(backlog.len(), Ordering::Release);
                }
                done(&next, sent);
            }
        }
    }

    /// Hands every datagram to `each`. Returns only when the runtime goes away.
    pub(crate) async fn receive(&self, mut each: impl FnMut(Bytes, SocketAddr)) {
        loop {
            if self.socket.readable().await.is_err() {
                return;
            }
            let received = self.socket.try_io(Interest::READABLE, || {
                let (fd, ipv4) = (self.socket.as_raw_fd(), self.address.is_ipv4());
                let count =
                    RECEIVER.with_borrow_mut(|receiver| receiver.receive(fd, ipv4, &mut each))?;
                // A short batch emptied the socket; saying so saves the call that would find it
                // empty. A datagram that came since is a new event, which this does not clear.
                if count < BATCH { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            match received {
                Ok(()) => tokio::task::yield_now().await,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => tracing::debug!(%error, listener = self.listener.0, "UDP receive"),
            }
        }
    }
}

/// One `sendmmsg`; how many datagrams of the front of `queued` left.
fn send_batch(
    socket: &UdpSocket,
    headers: &mut MultiHeaders<SockaddrStorage>,
    queued: &[Queued],
) -> Result<usize, Errno> {
    let mut next = queued.iter().map(|queued| [IoSlice::new(&queued.bytes)]);
    let slices: [[IoSlice<'_>; 1]; BATCH] =
        array::from_fn(|_| next.next().unwrap_or([IoSlice::new(&[])]));
    let mut next = queued.iter().map(|queued| SockaddrStorage::from(queued.target.remote));
    let addresses: [Option<SockaddrStorage>; BATCH] = array::from_fn(|_| next.next());
    let slices = slices.iter().take(queued.len());
    let flags = MsgFlags::MSG_DONTWAIT;
    let sent = sendmmsg(socket.as_raw_fd(), headers, slices, addresses, [], flags)?;
    Ok(sent.count())
}

fn transmit_error(error: io::Error) -> TransmitError {
    if error.raw_os_error() == Some(Errno::EMSGSIZE as i32) {
        TransmitError::TooLarge
    } else {
        TransmitError::from(error)
    }
}

thread_local! {
    /// One for all the listeners of a runtime: a batch is dealt with before the next is received.
    static RECEIVER: RefCell<Receiver> = RefCell::new(Receiver::new());

    /// One for all the batches of a thread.
    static SENDER: RefCell<MultiHeaders<SockaddrStorage>> =
        RefCell::new(MultiHeaders::preallocate(BATCH, None));
}

/// Where the kernel puts a batch of datagrams.
///
/// Each has room for the largest there is; the kernel touches only the pages it fills. From there
/// a datagram is copied into a slab, tightly: the copy costs less than the memory that loose
/// datagrams would pin.
///
/// The kernel shortens the room for an address to the length of the one it wrote there, for good:
/// the headers of one address family cannot be used for the other.
struct Receiver {
    headers_v4: MultiHeaders<SockaddrStorage>,
    headers_v6: MultiHeaders<SockaddrStorage>,
    room: Vec<u8>,
    slab: BytesMut,
}

impl Receiver {
    fn new() -> Self {
        Self {
            headers_v4: MultiHeaders::preallocate(BATCH, None),
            headers_v6: MultiHeaders::preallocate(BATCH, None),
            room: vec![0; BATCH * DATAGRAM_MAX],
            slab: BytesMut::new(),
        }
    }

    /// Takes one batch without waiting; how many datagrams that were.
    fn receive(
        &mut self,
        socket: RawFd,
        ipv4: bool,
        each: &mut impl FnMut(Bytes, SocketAddr),
    ) -> Result<usize, Errno> {
        let mut lengths = [(0, None); BATCH];
        let mut count = 0;
        {
            let mut rooms = self.room.chunks_exact_mut(DATAGRAM_MAX);
            let mut slices: [[IoSliceMut<'_>; 1]; BATCH] =
                array::from_fn(|_| [IoSliceMut::new(rooms.next().unwrap_or_default())]);
            let headers = if ipv4 { &mut self.headers_v4 } else { &mut self.headers_v6 };
            let flags = MsgFlags::MSG_DONTWAIT;
            let batch = recvmmsg(socket, headers, &mut slices, flags, None)?;
            for (entry, datagram) in lengths.iter_mut().zip(batch) {
                *entry = (datagram.bytes, datagram.address);
                count += 1;
            }
        }
        let datagrams = self.room.chunks_exact(DATAGRAM_MAX).zip(lengths).take(count);
        for (room, (length, from)) in datagrams {
            let octets = room.get(..length).unwrap_or_default();
            let Some(from) = from.as_ref().and_then(socket_addr) else { continue };
            // Peers keep NAT bindings open with datagrams of line ends; there is no answer to them.
            if octets.iter().all(|octet| matches!(octet, b'\r' | b'\n')) {
                continue;
            }
            if self.slab.capacity() < length {
                // Takes the old allocation again when nobody holds a datagram of it any more.
                self.slab.reserve(SLAB.max(length));
            }
            self.slab.extend_from_slice(octets);
            each(self.slab.split().freeze(), from);
        }
        Ok(count)
    }
}

fn socket_addr(address: &SockaddrStorage) -> Option<SocketAddr> {
    if address.family()? == nix::sys::socket::AddressFamily::Inet {
        address.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()))
    } else {
        address.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into()))
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use parlance_sip::{Target, Transport};

    use super::{BACKLOG_MAX, BATCH, Bytes, ListenerId, Queued, SocketAddr, TransmitError, Udp};

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    fn bind() -> Udp {
        Udp::bind(ListenerId(0), "127.0.0.1:0".parse().unwrap(), 64 * 1024).unwrap()
    }

    fn queued(to: SocketAddr, bytes: Bytes, token: u64) -> Queued {
        let target = Target {
            transport: Transport::Udp,
            remote: to,
            listener: ListenerId(0),
            connection: None,
        };
        Queued { bytes, target, token }
    }

    #[test]
    fn the_backlog_is_bounded_and_sent_later_in_order() {
        runtime().block_on(async {
            let (udp, peer) = (bind(), UdpSocket::bind("127.0.0.1:0").unwrap());
            let to = peer.local_addr().unwrap();
            // As if the send buffer were full.
            for token in 0..BACKLOG_MAX as u64 {
                let bytes = Bytes::copy_from_slice(&token.to_be_bytes());
                assert_eq!(udp.queue(queued(to, bytes, token)), Ok(()));
            }
            let extra = queued(to, Bytes::from_static(b"x"), 0);
            assert_eq!(udp.transmit(extra.clone()), Err(TransmitError::Busy));
            assert!(!udp.is_flushed());
            let mut seen = Vec::new();
            let flush = udp.flush(|queued, sent| {
                assert_eq!(sent, Ok(()));
                seen.push(queued.token);
                // Taken at once, so that a small receive buffer does not lose any.
                let mut buffer = [0; 8];
                peer.recv(&mut buffer).unwrap();
                assert_eq!(u64::from_be_bytes(buffer), queued.token);
            });
            let all = async {
                while !udp.is_flushed() {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                () = flush => {}
                () = all => {}
            }
            assert_eq!(seen, (0..BACKLOG_MAX as u64).collect::<Vec<_>>());
            assert_eq!(udp.transmit(extra), Ok(()), "direct again");
        });
    }

    #[test]
    fn a_batch_leaves_out_only_what_cannot_be_sent() {
        runtime().block_on(async {
            let (udp, peer) = (bind(), UdpSocket::bind("127.0.0.1:0").unwrap());
            peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let to = peer.local_addr().unwrap();
            let mut batch: Vec<Queued> = (0..3 * BATCH as u64)
                .map(|token| queued(to, Bytes::copy_from_slice(&token.to_be_bytes()), token))
                .collect();
            batch[1].bytes = vec![b'x'; 65_536].into();
            batch[40].target.remote = "[::1]:9".parse().unwrap();
            let mut failed = Vec::new();
            udp.transmit_batch(&batch, |queued, error| failed.push((queued.token, error)));
            assert_eq!(failed[0], (1, TransmitError::TooLarge));
            assert!(matches!(failed[1], (40, TransmitError::Io(_))), "{failed:?}");
            assert_eq!(failed.len(), 2);
            for token in (0..3 * BATCH as u64).filter(|token| ![1, 40].contains(token)) {
                let mut buffer = [0; 8];
                peer.recv(&mut buffer).unwrap();
                assert_eq!(u64::from_be_bytes(buffer), token);
            }
        });
    }

    #[test]
    fn a_datagram_too_large_says_so() {
        runtime().block_on(async {
            let udp = bind();
            let large = queued(udp.address, Bytes::from(vec![b'x'; 65_536]), 1);
            assert_eq!(udp.transmit(large), Err(TransmitError::TooLarge));
        });
    }

    // Covers: CORE-060
    #[test]
    fn datagrams_share_slabs_and_line_ends_are_ignored() {
        runtime().block_on(async {
            let (udp, peer) = (bind(), UdpSocket::bind("127.0.0.1:0").unwrap());
            for datagram in [&b"\r\n\r\n"[..], b"", b"first", b"\r\n", b"second", &[b'x'; 60_000]] {
                peer.send_to(datagram, udp.address).unwrap();
            }
            let mut seen = Vec::new();
            let from = peer.local_addr().unwrap();
            let receive = udp.receive(|bytes, address| {
                assert_eq!(address, from);
                seen.push(bytes);
            });
            let _ = tokio::time::timeout(Duration::from_millis(100), receive).await;
            let lengths: Vec<usize> = seen.iter().map(Bytes::len).collect();
            assert_eq!(lengths, [5, 6, 60_000]);
            let near = seen[1].as_ptr() as usize - seen[0].as_ptr() as usize;
            assert_eq!(near, 5, "the second stands behind the first in one slab");
        });
    }
}
