//! What is under one connection: TCP, TLS on it, WebSocket on either. Never blocks.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::SocketAddr;

use bytes::{Buf, Bytes};
use mio::net::TcpStream;
use parlance_msrp::Outbound;
use rustls_pki_types::CertificateDer;

use super::websocket::{Upgrade, WebSocket};

/// Slices handed to one system call; the kernel takes 1024.
const SLICES_MAX: usize = 64;

/// A stream of octets: TCP, or TLS on it.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Tls(Box<Tls>),
}

/// TLS on TCP.
#[derive(Debug)]
pub(crate) struct Tls {
    stream: TcpStream,
    session: rustls::Connection,
}

/// One connection, whatever it is made of.
pub(crate) enum Socket {
    /// MSRP right on the stream.
    Bare(Stream),
    /// The WebSocket handshake has not ended.
    Upgrading(Option<Box<Upgrade>>),
    /// MSRP in WebSocket messages.
    Upgraded(Box<WebSocket>),
}

/// What one read gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Got {
    /// As many octets, now in the buffer. Whether there may be more at once.
    Octets(usize, bool),
    /// A WebSocket message; there may be more.
    Message(Bytes),
    /// Nothing for now.
    Nothing,
    /// The peer has finished.
    End,
}

/// What one flush did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flushed {
    /// Octets of MSRP that were taken.
    pub(crate) octets: usize,
    /// Whether the rest must wait until the socket is writable.
    pub(crate) blocked: bool,
    /// Whether it should be called again at once.
    pub(crate) more: bool,
}

impl Stream {
    /// TLS on `stream`, in the role that `session` has.
    pub(crate) fn tls(stream: TcpStream, session: rustls::Connection) -> Self {
        Self::Tls(Box::new(Tls { stream, session }))
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Tcp(stream) => stream,
            Self::Tls(tls) => &tls.stream,
        }
    }

    pub(crate) fn tcp_mut(&mut self) -> &mut TcpStream {
        match self {
            Self::Tcp(stream) => stream,
            Self::Tls(tls) => &mut tls.stream,
        }
    }

    /// Goes on with the TLS handshake; whether it has ended.
    fn advance(&mut self) -> io::Result<bool> {
        let Self::Tls(tls) = self else { return Ok(true) };
        while tls.session.is_handshaking() {
            let wrote = tls.write_out()?;
            let read = tls.session.wants_read() && tls.read_in()?;
            if !wrote || !read && tls.session.is_handshaking() {
                return Ok(false);
            }
        }
        // The last message may wait behind the handshake.
        tls.write_out()?;
        Ok(true)
    }

    /// Writes what it can of `outbound`.
    fn flush(&mut self, outbound: &mut Outbound) -> io::Result<Flushed> {
        match self {
            Self::Tcp(stream) => flush_tcp(stream, outbound),
            Self::Tls(tls) => tls.flush(outbound),
        }
    }
}

fn flush_tcp(stream: &mut TcpStream, outbound: &mut Outbound) -> io::Result<Flushed> {
    let mut flushed = Flushed::default();
    while !outbound.is_empty() {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let count = outbound.chunks_vectored(&mut slices);
        let slices = slices.get(..count).unwrap_or_default();
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        let written = match slices {
            [one] => stream.write(one),
            several => stream.write_vectored(several),
        };
        match written {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(octets) => {
                outbound.advance(octets);
                flushed.octets += octets;
                if octets < offered {
                    // The kernel has no room: it says so again when it has.
                    return Ok(Flushed { blocked: true, ..flushed });
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Ok(Flushed { blocked: true, ..flushed });
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(flushed)
}

impl Tls {
    /// Reads records; whether something came.
    fn read_in(&mut self) -> io::Result<bool> {
        match self.session.read_tls(&mut self.stream) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => {
                if let Err(error) = self.session.process_new_packets() {
                    // The alert says why; whether it leaves does not matter any more.
                    let _ = self.write_out();
                    return Err(io::Error::new(ErrorKind::InvalidData, error));
                }
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Writes the records that wait; whether all of them left.
    fn write_out(&mut self) -> io::Result<bool> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.stream) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn flush(&mut self, outbound: &mut Outbound) -> io::Result<Flushed> {
        let mut flushed = Flushed::default();
        loop {
            if !self.write_out()? {
                return Ok(Flushed { blocked: true, ..flushed });
            }
            if outbound.is_empty() {
                return Ok(flushed);
            }
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let count = outbound.chunks_vectored(&mut slices);
            let slices = slices.get(..count).unwrap_or_default();
            // As much as rustls holds back at once; the rest in the next round.
            let octets = self.session.writer().write_vectored(slices)?;
            outbound.advance(octets);
            flushed.octets += octets;
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let tls = match self {
            Self::Tcp(stream) => return stream.read(buffer),
            Self::Tls(tls) => tls,
        };
        loop {
            match tls.session.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // Ended without saying so: whether a message was cut short, its framing says.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            match tls.read_in() {
                Ok(true) => {
                    // Answers to what came, such as a key update.
                    tls.write_out()?;
                }
                Ok(false) => return Err(ErrorKind::WouldBlock.into()),
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                Err(error) => return Err(error),
            }
        }
    }
}

impl Write for Stream {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let tls = match self {
            Self::Tcp(stream) => return stream.write(octets),
            Self::Tls(tls) => tls,
        };
        if !tls.write_out()? {
            return Err(ErrorKind::WouldBlock.into());
        }
        let written = tls.session.writer().write(octets)?;
        tls.write_out()?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(_) => Ok(()),
            Self::Tls(tls) => match tls.write_out()? {
                true => Ok(()),
                false => Err(ErrorKind::WouldBlock.into()),
            },
        }
    }
}

impl Socket {
    /// MSRP right on `stream`, or after a WebSocket handshake as the server.
    pub(crate) fn new(stream: Stream, websocket: Option<usize>) -> Self {
        match websocket {
            None => Self::Bare(stream),
            Some(octets_max) => Self::Upgrading(Some(Box::new(Upgrade::Tls(stream, octets_max)))),
        }
    }

    /// Goes on with the handshakes; whether all have ended.
    ///
    /// # Errors
    /// One failed.
    pub(crate) fn advance(&mut self) -> io::Result<bool> {
        match self {
            Self::Bare(stream) => stream.advance(),
            Self::Upgraded(_) => Ok(true),
            Self::Upgrading(upgrade) => {
                let mut upgrading = upgrade.take().ok_or(ErrorKind::NotConnected)?;
                if let Upgrade::Tls(stream, _) = &mut *upgrading
                    && !stream.advance()?
                {
                    *upgrade = Some(upgrading);
                    return Ok(false);
                }
                match upgrading.advance()? {
                    Ok(websocket) => {
                        *self = Self::Upgraded(Box::new(websocket));
                        Ok(true)
                    }
                    Err(upgrading) => {
                        *upgrade = Some(Box::new(upgrading));
                        Ok(false)
                    }
                }
            }
        }
    }

    /// Reads once into `buffer`, or one WebSocket message.
    ///
    /// # Errors
    /// The connection is gone, or what came cannot be read.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Got> {
        match self {
            Self::Bare(stream) => {
                let is_tcp = matches!(stream, Stream::Tcp(_));
                match stream.read(buffer) {
                    Ok(0) => Ok(Got::End),
                    // TCP that gave less than there was room for has no more.
                    Ok(octets) => Ok(Got::Octets(octets, !is_tcp || octets == buffer.len())),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Got::Nothing),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {
                        Ok(Got::Octets(0, true))
                    }
                    Err(error) => Err(error),
                }
            }
            Self::Upgraded(websocket) => websocket.read(),
            Self::Upgrading(_) => Ok(Got::Nothing),
        }
    }

    /// Writes what it can of `outbound`: over WebSocket each message in one of its own.
    ///
    /// # Errors
    /// The connection is gone.
    pub(crate) fn flush(&mut self, outbound: &mut Outbound) -> io::Result<Flushed> {
        match self {
            Self::Bare(stream) => stream.flush(outbound),
            Self::Upgraded(websocket) => websocket.flush(outbound),
            Self::Upgrading(_) => Ok(Flushed { blocked: true, ..Flushed::default() }),
        }
    }

    /// Octets that came below WebSocket messages, and whether one of those has begun and not ended;
    /// `None` when it is no WebSocket.
    pub(crate) fn incoming(&self) -> Option<(u64, bool)> {
        match self {
            Self::Upgraded(websocket) => Some(websocket.incoming()),
            Self::Bare(_) | Self::Upgrading(_) => None,
        }
    }

    /// Says that nothing more will be written.
    pub(crate) fn finish(&mut self) {
        if let Self::Upgraded(websocket) = self {
            websocket.close();
        }
        let Some(stream) = self.stream_mut() else { return };
        if let Stream::Tls(tls) = stream {
            tls.session.send_close_notify();
            // It is a courtesy: a peer that does not read it sees the end of TCP.
            let _ = tls.write_out();
        }
        // A peer that is gone already needs no goodbye.
        let _ = stream.tcp().shutdown(std::net::Shutdown::Write);
    }

    fn stream_mut(&mut self) -> Option<&mut Stream> {
        match self {
            Self::Bare(stream) => Some(stream),
            Self::Upgrading(upgrade) => upgrade.as_mut().map(|upgrade| upgrade.stream_mut()),
            Self::Upgraded(websocket) => Some(websocket.stream_mut()),
        }
    }

    /// The socket below, for the event queue.
    pub(crate) fn tcp_mut(&mut self) -> Option<&mut TcpStream> {
        self.stream_mut().map(Stream::tcp_mut)
    }

    fn session(&mut self) -> Option<&rustls::Connection> {
        match self.stream_mut()? {
            Stream::Tcp(_) => None,
            Stream::Tls(tls) => Some(&tls.session),
        }
    }

    /// Whether TLS is spoken, and what the other end has shown.
    pub(crate) fn certificates(&mut self) -> Option<Option<&[CertificateDer<'static>]>> {
        self.session().map(|session| session.peer_certificates())
    }

    /// Our own address, if the system still knows it.
    pub(crate) fn local(&mut self) -> Option<SocketAddr> {
        self.tcp_mut()?.local_addr().ok()
    }

    /// Whether messages go in WebSocket messages.
    pub(crate) fn is_websocket(&self) -> bool {
        matches!(self, Self::Upgraded(_))
    }
}
