//! One connection to the server: TCP, TLS over it, WebSocket over either.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection};

use super::frame::{Frame, Scanner, Step};
use super::websocket::{self, Unframer};

/// Octets read at once; local limit.
const READ_OCTETS: usize = 256 * 1024;
/// Largest frame taken in one piece; local limit.
const FRAME_OCTETS_MAX: usize = 16 * 1024 * 1024;
/// Longest wait for an answer before the load; local limit.
const ANSWER: Duration = Duration::from_secs(10);

/// What a connection is made of.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Where to connect to.
    pub(crate) address: SocketAddr,
    /// The host of the URI, for SNI and the WebSocket handshake.
    pub(crate) host: String,
    /// TLS, when there is any.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// WebSocket (RFC 7977).
    pub(crate) websocket: bool,
}

/// Octets read, shared by all connections: those not yet used stay in front.
#[derive(Debug)]
pub(crate) struct Slab {
    octets: Vec<u8>,
    filled: usize,
}

impl Slab {
    pub(crate) fn new() -> Self {
        Self { octets: vec![0; READ_OCTETS], filled: 0 }
    }

    /// One without room, that costs nothing.
    pub(crate) fn empty() -> Self {
        Self { octets: Vec::new(), filled: 0 }
    }

    pub(crate) fn filled(&self) -> &[u8] {
        self.octets.get(..self.filled).unwrap_or_default()
    }

    /// Begins anew with `octets`, and with room for as many as are read at once.
    fn begin(&mut self, octets: &[u8]) {
        let wanted = octets.len() + READ_OCTETS;
        if self.octets.len() < wanted {
            self.octets.resize(wanted.next_power_of_two(), 0);
        }
        if let Some(front) = self.octets.get_mut(..octets.len()) {
            front.copy_from_slice(octets);
        }
        self.filled = octets.len();
    }

    fn room(&mut self) -> &mut [u8] {
        self.octets.get_mut(self.filled..).unwrap_or_default()
    }
}

/// Whose sessions a connection carries.
#[derive(Debug)]
pub(crate) enum Sessions {
    /// One; its number.
    One(u32),
    /// Several, by the URI that a To-Path to them begins with.
    Many(HashMap<Vec<u8>, u32>),
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Link {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    websocket: Option<Unframer>,
    /// Plain octets of a frame that is not all there.
    carry: Vec<u8>,
    /// Octets waiting to be written, `written` of which are.
    out: Vec<u8>,
    written: usize,
    /// One frame, before it is put into a WebSocket message.
    scratch: Vec<u8>,
    messages: u64,
    pub(crate) scanner: Scanner,
    pub(crate) sessions: Sessions,
    /// In the list of those with something to write.
    pub(crate) dirty: bool,
    /// The socket takes nothing more at the moment.
    pub(crate) blocked: bool,
    pub(crate) lost: bool,
}

impl Link {
    /// Connects, with TLS and the WebSocket handshake where asked for; blocking.
    pub(crate) fn connect(place: &Place, strict: bool) -> io::Result<Self> {
        let mut socket = TcpStream::connect(place.address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(ANSWER))?;
        let mut tls = None;
        if let Some(config) = &place.tls {
            let name = place.host.clone().try_into().map_err(io::Error::other)?;
            let connection = ClientConnection::new(Arc::clone(config), name);
            let mut connection = Box::new(connection.map_err(io::Error::other)?);
            connection.set_buffer_limit(None);
            while connection.is_handshaking() {
                connection.complete_io(&mut socket)?;
            }
            tls = Some(connection);
        }
        let mut carry = Vec::new();
        let mut unframer = None;
        if place.websocket {
            let mut rest = match &mut tls {
                Some(tls) => websocket::open(
                    &mut rustls::Stream::new(tls.as_mut(), &mut socket),
                    &place.host,
                )?,
                None => websocket::open(&mut socket, &place.host)?,
            };
            let (mut frames, mut out) = (Unframer::default(), Vec::new());
            let kept = frames.take(&mut rest, &mut out)?;
            rest.truncate(kept);
            (carry, unframer) = (rest, Some(frames));
        }
        Ok(Self {
            socket,
            tls,
            websocket: unframer,
            carry,
            out: Vec::new(),
            written: 0,
            scratch: Vec::new(),
            messages: 0,
            scanner: Scanner::new(strict),
            sessions: Sessions::Many(HashMap::new()),
            dirty: false,
            blocked: false,
            lost: false,
        })
    }

    /// From now on nothing waits.
    pub(crate) fn unblock(&mut self) -> io::Result<()> {
        self.socket.set_nonblocking(true)
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Octets waiting to be written.
    pub(crate) fn waiting(&self) -> usize {
        self.out.len() - self.written
    }

    /// Appends one frame.
    #[inline]
    pub(crate) fn push(&mut self, frame: impl FnOnce(&mut Vec<u8>)) {
        if self.websocket.is_none() {
            frame(&mut self.out);
            return;
        }
        self.scratch.clear();
        frame(&mut self.scratch);
        self.messages += 1;
        websocket::write(&self.scratch, self.messages, &mut self.out);
    }

    /// Reads what is there, once, behind what was left over: true when something came. An error
    /// means that the connection has ended.
    pub(crate) fn receive(&mut self, slab: &mut Slab, wire: &mut Vec<u8>) -> io::Result<bool> {
        slab.begin(&self.carry);
        self.carry.clear();
        let start = slab.filled;
        let read = match &mut self.tls {
            None => {
                let read = read(&mut self.socket, slab.room())?;
                slab.filled += read;
                read
            }
            Some(tls) => {
                wire.resize(READ_OCTETS, 0);
                let read = read(&mut self.socket, wire)?;
                let mut rest = wire.get(..read).unwrap_or_default();
                while !rest.is_empty() {
                    tls.read_tls(&mut rest)?;
                    tls.process_new_packets().map_err(io::Error::other)?;
                    slab.filled += read_plain(tls, slab)?;
                }
                read
            }
        };
        if let Some(websocket) = &mut self.websocket {
            let payload = slab.octets.get_mut(start..slab.filled).unwrap_or_default();
            slab.filled = start + websocket.take(payload, &mut self.out)?;
        }
        Ok(read > 0)
    }

    /// Keeps what a scan of the slab has left over.
    pub(crate) fn keep(&mut self, rest: &[u8]) -> io::Result<()> {
        if rest.len() > FRAME_OCTETS_MAX {
            return Err(io::Error::other("a frame is larger than 16 MiB"));
        }
        if rest.is_empty() {
            // A quiet connection holds no buffer, here too.
            self.carry = Vec::new();
        } else {
            self.carry.extend_from_slice(rest);
        }
        Ok(())
    }

    /// Writes what waits, as much as the socket takes.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.blocked = false;
        if let Some(tls) = &mut self.tls {
            tls.writer().write_all(self.out.get(self.written..).unwrap_or_default())?;
            self.out.clear();
            self.written = 0;
            while tls.wants_write() {
                match tls.write_tls(&mut self.socket) {
                    Ok(_) => {}
                    Err(error) => return self.not_now(error),
                }
            }
            return Ok(());
        }
        while self.waiting() > 0 {
            match self.socket.write(self.out.get(self.written..).unwrap_or_default()) {
                Ok(written) => self.written += written,
                Err(error) => return self.not_now(error),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    fn not_now(&mut self, error: io::Error) -> io::Result<()> {
        match error.kind() {
            ErrorKind::WouldBlock => {
                self.blocked = true;
                Ok(())
            }
            ErrorKind::Interrupted => Ok(()),
            _ => Err(error),
        }
    }

    /// Sends one frame on a blocking connection and waits for the next one that comes.
    pub(crate) fn ask<T>(
        &mut self,
        frame: impl FnOnce(&mut Vec<u8>),
        take: impl FnOnce(Frame<'_>) -> T,
    ) -> io::Result<T> {
        self.push(frame);
        while self.waiting() > 0 {
            self.flush()?;
        }
        let (mut slab, mut wire) = (Slab::new(), Vec::new());
        loop {
            self.receive(&mut slab, &mut wire)?;
            match self.scanner.next(slab.filled()) {
                Step::Frame(frame) => {
                    let rest = slab.filled().get(frame.length..).unwrap_or_default();
                    self.keep(rest)?;
                    return Ok(take(frame));
                }
                Step::Partial => self.keep(slab.filled())?,
                Step::Broken => return Err(io::Error::other("the server does not speak MSRP")),
            }
        }
    }
}

/// One read: zero when nothing is there, an error when the connection has ended.
fn read(socket: &mut TcpStream, room: &mut [u8]) -> io::Result<usize> {
    match socket.read(room) {
        Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
        Ok(read) => Ok(read),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            Ok(0)
        }
        Err(error) => Err(error),
    }
}

/// Moves what TLS has decrypted into the slab: how many octets.
fn read_plain(tls: &mut ClientConnection, slab: &mut Slab) -> io::Result<usize> {
    let mut all = 0;
    loop {
        let room = slab.octets.get_mut(slab.filled + all..).unwrap_or_default();
        match tls.reader().read(room) {
            Ok(0) => return Ok(all),
            Ok(read) => all += read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(all),
            Err(error) => return Err(error),
        }
    }
}
