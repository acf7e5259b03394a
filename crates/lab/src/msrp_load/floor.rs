//! The floor: what a switch or a relay would cost if MSRP were nothing to it.
//!
//! It reads the same octets and copies the same octets to the same sockets, all connections that
//! are ready first and then one write each, and answers every SEND. Of the protocol it knows the
//! length that all SENDs of a connection have and the length that all responses have, both learnt
//! from the first, and the one octet that tells them apart. Nothing is checked, matched, timed or
//! rewritten, so the load plays it without `--verify`.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use clap::Parser;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::command::{pin, raise_file_limit};
use super::frame::{Kind, Scanner, Step};
use super::legs::{Leg, Legs, Pair, Room};
use super::message::Answer;

/// Octets read at once; local limit.
const READ_OCTETS: usize = 256 * 1024;
/// Where a request has the first letter of its method, and a response its first digit: the
/// transaction ids of the load are 27 octets.
const KIND_AT: usize = 5 + 27 + 1;
/// The listener, among the connections.
const LISTENER: u64 = u64::MAX;

/// How the floor is laid.
#[derive(Clone, Debug, Parser)]
#[command(no_binary_name = true)]
pub struct FloorOptions {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Rooms.
    #[arg(long, default_value_t = 0)]
    pub rooms: usize,
    /// Participants of each room.
    #[arg(long, default_value_t = 10)]
    pub size: usize,
    /// Pairs.
    #[arg(long, default_value_t = 0)]
    pub pairs: usize,
    /// Pin this process to one processor.
    #[arg(long)]
    pub pin: Option<usize>,
}

/// Prints the sessions, and serves them until the process is ended.
pub fn floor(options: &FloorOptions, out: &mut impl Write) -> io::Result<()> {
    if let Some(processor) = options.pin {
        pin(processor).map_err(io::Error::other)?;
    }
    raise_file_limit();
    let listener = TcpListener::bind(options.listen)?;
    let (legs, groups) = lay(options, listener.local_addr()?);
    writeln!(out, "{}", serde_json::to_string(&legs)?)?;
    out.flush()?;
    Floor::new(listener, groups)?.serve()
}

/// The sessions: for each the first of its group and how many it has.
fn lay(options: &FloorOptions, at: SocketAddr) -> (Legs, Vec<(usize, usize)>) {
    let mut groups = Vec::new();
    let mut group = |size: usize| -> Vec<Leg> {
        let first = groups.len();
        groups.extend((0..size).map(|_| (first, size)));
        let leg = |number: usize| Leg {
            uri: format!("msrp://{at}/floor{number:08}00000000000;tcp"),
            peer: format!("msrp://127.0.0.1:9/peers{number:08}00000000000;tcp"),
            participant: format!("sip:p{number:08}@floor.invalid"),
        };
        (first..first + size).map(leg).collect()
    };
    let rooms = (0..options.rooms)
        .map(|n| Room { uri: format!("sip:room{n}@floor.invalid"), legs: group(options.size) });
    let rooms = rooms.collect();
    let pairs = (0..options.pairs).filter_map(|_| group(2).try_into().ok());
    let pairs = pairs.map(|legs| Pair { legs }).collect();
    (Legs { rooms, pairs }, groups)
}

#[derive(Debug)]
struct Connection {
    socket: TcpStream,
    /// Octets of a frame that is not all there.
    carry: Vec<u8>,
    out: Vec<u8>,
    written: usize,
    /// Octets of a response and of a SEND, once they are known.
    lengths: [Option<usize>; 2],
    /// Known with the first frame.
    session: Option<usize>,
    answer: Option<Answer>,
    dirty: bool,
    blocked: bool,
}

#[derive(Debug)]
struct Floor {
    listener: TcpListener,
    epoll: Epoll,
    connections: Vec<Option<Connection>>,
    groups: Vec<(usize, usize)>,
    /// The connection of each session.
    carriers: Vec<Option<usize>>,
    dirty: Vec<usize>,
}

impl Floor {
    fn new(listener: TcpListener, groups: Vec<(usize, usize)>) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
        let carriers = vec![None; groups.len()];
        Ok(Self { listener, epoll, connections: Vec::new(), groups, carriers, dirty: Vec::new() })
    }

    fn serve(&mut self) -> io::Result<()> {
        let mut slab = vec![0; READ_OCTETS * 2];
        let mut events = [EpollEvent::empty(); 1024];
        loop {
            let count = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
                Ok(count) => count,
                Err(nix::errno::Errno::EINTR) => 0,
                Err(error) => return Err(error.into()),
            };
            for event in events.iter().take(count) {
                if event.data() == LISTENER {
                    self.accept()?;
                    continue;
                }
                let number = usize::try_from(event.data()).unwrap_or(usize::MAX);
                if event.events().intersects(EpollFlags::EPOLLOUT) {
                    self.touch(number);
                }
                if event.events().intersects(!EpollFlags::EPOLLOUT)
                    && self.take(number, &mut slab).is_err()
                {
                    self.drop(number);
                }
            }
            for number in std::mem::take(&mut self.dirty) {
                if self.flush(number).is_err() {
                    self.drop(number);
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        let socket = match self.listener.accept() {
            Ok((socket, _)) => socket,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        let number = self.connections.len() as u64;
        self.epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, number))?;
        self.connections.push(Some(Connection {
            socket,
            carry: Vec::new(),
            out: Vec::new(),
            written: 0,
            lengths: [None; 2],
            session: None,
            answer: None,
            dirty: false,
            blocked: false,
        }));
        Ok(())
    }

    fn drop(&mut self, number: usize) {
        if let Some(place) = self.connections.get_mut(number) {
            let session = place.take().and_then(|connection| connection.session);
            if let Some(carrier) = session.and_then(|session| self.carriers.get_mut(session)) {
                *carrier = None;
            }
        }
    }

    fn touch(&mut self, number: usize) {
        if let Some(Some(connection)) = self.connections.get_mut(number)
            && !connection.dirty
        {
            connection.dirty = true;
            self.dirty.push(number);
        }
    }

    fn take(&mut self, number: usize, slab: &mut [u8]) -> io::Result<()> {
        let Some(Some(connection)) = self.connections.get_mut(number) else { return Ok(()) };
        let carried = connection.carry.len();
        if let Some(front) = slab.get_mut(..carried) {
            front.copy_from_slice(&connection.carry);
        }
        let room = slab.get_mut(carried..carried + READ_OCTETS).unwrap_or_default();
        let read = match connection.socket.read(room) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        connection.carry.clear();
        let octets = slab.get(..carried + read).unwrap_or_default();
        let mut at = 0;
        while let Some(rest) = octets.get(at..)
            && let Some(length) = self.frame(number, rest)?
        {
            at += length;
        }
        if let Some(Some(connection)) = self.connections.get_mut(number) {
            connection.carry.extend_from_slice(octets.get(at..).unwrap_or_default());
        }
        Ok(())
    }

    /// Takes the frame at the front: its length, `None` when it is not all there.
    #[inline]
    fn frame(&mut self, number: usize, octets: &[u8]) -> io::Result<Option<usize>> {
        let Some(Some(connection)) = self.connections.get_mut(number) else { return Ok(None) };
        let (Some(session), Some(kind)) = (connection.session, octets.get(KIND_AT)) else {
            return self.first(number, octets);
        };
        let request = *kind == b'S';
        let Some(known) = connection.lengths.get_mut(usize::from(request)) else {
            return Ok(None);
        };
        let length = match *known {
            Some(length) => length,
            None => match Scanner::default().next(octets) {
                Step::Frame(frame) => *known.insert(frame.length),
                Step::Partial => return Ok(None),
                Step::Broken => return Err(ErrorKind::InvalidData.into()),
            },
        };
        let Some(frame) = octets.get(..length) else { return Ok(None) };
        if request {
            if let Some(answer) = &connection.answer {
                answer.write(frame.get(5..KIND_AT - 1).unwrap_or_default(), &mut connection.out);
            }
            self.touch(number);
            self.copy(session, frame);
        }
        Ok(Some(length))
    }

    /// Copies a SEND to all others of the group.
    #[inline]
    fn copy(&mut self, session: usize, frame: &[u8]) {
        let Some((first, size)) = self.groups.get(session).copied() else { return };
        for other in (first..first + size).filter(|other| *other != session) {
            let Some(Some(number)) = self.carriers.get(other).copied() else { continue };
            if let Some(Some(connection)) = self.connections.get_mut(number) {
                connection.out.extend_from_slice(frame);
                if !connection.dirty {
                    connection.dirty = true;
                    self.dirty.push(number);
                }
            }
        }
    }

    /// The first frame of a connection says which session it carries.
    fn first(&mut self, number: usize, octets: &[u8]) -> io::Result<Option<usize>> {
        let frame = match Scanner::default().next(octets) {
            Step::Frame(frame) => frame,
            Step::Partial => return Ok(None),
            Step::Broken => return Err(ErrorKind::InvalidData.into()),
        };
        let path = frame.header("To-Path").unwrap_or_default();
        let id = path.split(|octet| *octet == b'/').nth(3).unwrap_or_default();
        let digits = std::str::from_utf8(id.get(5..13).unwrap_or_default()).unwrap_or_default();
        let session = digits.parse().ok().filter(|session| *session < self.carriers.len());
        let Some(session) = session.filter(|_| frame.kind == Kind::Send) else {
            return Err(ErrorKind::InvalidData.into());
        };
        if let Some(carrier) = self.carriers.get_mut(session) {
            *carrier = Some(number);
        }
        if let Some(Some(connection)) = self.connections.get_mut(number) {
            let answer = Answer::learn(&frame);
            answer.write(frame.id, &mut connection.out);
            (connection.session, connection.answer) = (Some(session), Some(answer));
        }
        self.touch(number);
        Ok(Some(frame.length))
    }

    fn flush(&mut self, number: usize) -> io::Result<()> {
        let Some(Some(connection)) = self.connections.get_mut(number) else { return Ok(()) };
        connection.dirty = false;
        let was_blocked = std::mem::take(&mut connection.blocked);
        while connection.written < connection.out.len() {
            let rest = connection.out.get(connection.written..).unwrap_or_default();
            match connection.socket.write(rest) {
                Ok(written) => connection.written += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    connection.blocked = true;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        if !connection.blocked {
            connection.out.clear();
            connection.written = 0;
        }
        if connection.blocked != was_blocked {
            let writable = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT;
            let flags = if connection.blocked { writable } else { EpollFlags::EPOLLIN };
            let mut event = EpollEvent::new(flags, number as u64);
            self.epoll.modify(&connection.socket, &mut event)?;
        }
        Ok(())
    }
}
