//! Sockets of the generator: what comes in is lent out message by message, what goes out is
//! collected and leaves in one system call per wake-up.

use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, ppoll};
use nix::sys::time::TimeSpec;

use super::options::Transport;

mod tcp;
mod udp;

/// Longest message sent, in octets: local limit; templates stay below it, and so does what is
/// forwarded or answered because both only shrink or grow by a few header lines.
pub(crate) const MESSAGE_BYTES_MAX: usize = 8192;

/// The other end of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A datagram's address, or any connection to it.
    Address(SocketAddr),
    /// A connection, by its place in the table.
    Connection(u32),
}

/// Both directions of one transport.
#[derive(Debug)]
pub(crate) struct Link {
    local: SocketAddr,
    /// What arrives.
    pub(crate) inbox: Inbox,
    /// What leaves.
    pub(crate) outbox: Outbox,
}

/// The receiving half.
#[derive(Debug)]
pub(crate) enum Inbox {
    /// A socket, many datagrams at a time.
    Udp(Box<udp::Inbox>),
    /// Connections, round robin.
    Tcp(tcp::Inbox),
}

/// The sending half.
#[derive(Debug)]
pub(crate) enum Outbox {
    /// A socket, many datagrams at a time.
    Udp(Box<udp::Outbox>),
    /// Connections.
    Tcp(tcp::Outbox),
}

impl Link {
    /// Binds `local`; on streams also listens there and opens `connections` to each of `peers`.
    pub(crate) fn open(
        transport: Transport,
        local: SocketAddr,
        peers: &[SocketAddr],
        connections: u8,
    ) -> io::Result<Self> {
        match transport {
            Transport::Udp => {
                let (local, inbox, outbox) = udp::open(local)?;
                let inbox = Inbox::Udp(Box::new(inbox));
                let outbox = Outbox::Udp(Box::new(outbox));
                Ok(Self { local, inbox, outbox })
            }
            Transport::Tcp => {
                let (local, inbox, outbox) = tcp::open(local, peers, connections)?;
                Ok(Self { local, inbox: Inbox::Tcp(inbox), outbox: Outbox::Tcp(outbox) })
            }
        }
    }

    /// Where we listen.
    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Reads what has arrived, without waiting; the number of reads that brought something.
    pub(crate) fn fill(&mut self) -> io::Result<usize> {
        match (&mut self.inbox, &mut self.outbox) {
            (Inbox::Udp(inbox), _) => inbox.fill(),
            (Inbox::Tcp(inbox), Outbox::Tcp(outbox)) => inbox.fill(outbox),
            (Inbox::Tcp(_), Outbox::Udp(_)) => Ok(0),
        }
    }

    /// Waits until something arrives or `timeout` has passed.
    pub(crate) fn wait(&self, timeout: Duration) -> io::Result<()> {
        match (&self.inbox, &self.outbox) {
            (Inbox::Udp(inbox), _) => wait_for(&mut [inbox.readable()], timeout),
            (Inbox::Tcp(inbox), Outbox::Tcp(outbox)) => {
                let mut wanted: Vec<PollFd<'_>> = inbox.readable().collect();
                wanted.extend(outbox.writable());
                wait_for(&mut wanted, timeout)
            }
            (Inbox::Tcp(_), Outbox::Udp(_)) => Ok(()),
        }
    }
}

impl Inbox {
    /// The next message read and not yet lent, with where it came from.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<(&[u8], Peer)> {
        match self {
            Self::Udp(inbox) => inbox.next(),
            Self::Tcp(inbox) => inbox.next(),
        }
    }
}

impl Outbox {
    /// Collects one message for `to`, written by `write`, which says its length; what it refuses
    /// is not sent. Messages the network does not take are counted by [`Outbox::failed`].
    #[inline]
    pub(crate) fn send(&mut self, to: Peer, write: impl FnOnce(&mut [u8]) -> Option<usize>) {
        match self {
            Self::Udp(outbox) => outbox.send(to, write),
            Self::Tcp(outbox) => outbox.send(to, write),
        }
    }

    /// Hands everything collected to the kernel.
    pub(crate) fn flush(&mut self) {
        match self {
            Self::Udp(outbox) => outbox.flush(),
            Self::Tcp(outbox) => outbox.flush(),
        }
    }

    /// Messages that could not be sent.
    pub(crate) fn failed(&self) -> u64 {
        match self {
            Self::Udp(outbox) => outbox.failed,
            Self::Tcp(outbox) => outbox.failed,
        }
    }
}

fn wait_for(wanted: &mut [PollFd<'_>], timeout: Duration) -> io::Result<()> {
    match ppoll(wanted, Some(TimeSpec::from_duration(timeout)), None) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn poll_in(fd: BorrowedFd<'_>) -> PollFd<'_> {
    PollFd::new(fd, nix::poll::PollFlags::POLLIN)
}
