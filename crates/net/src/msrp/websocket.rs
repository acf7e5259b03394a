//! MSRP over WebSocket (RFC 7977), as the server.

use std::io::{self, ErrorKind, Read, Write};

use bytes::Buf;
use parlance_msrp::Outbound;
use tungstenite::handshake::MidHandshake;
use tungstenite::handshake::server::{ErrorResponse, Request, Response, ServerHandshake};
use tungstenite::http::{HeaderValue, StatusCode};
use tungstenite::protocol::{Message, WebSocketConfig};
use tungstenite::{Error, HandshakeError, Utf8Bytes};

use super::frames::first_frames;
use super::socket::{Flushed, Got, Stream};

/// The subprotocol (RFC 7977 §4.1).
const SUBPROTOCOL: &str = "msrp";

const SUBPROTOCOL_HEADER: &str = "Sec-WebSocket-Protocol";

/// Octets read at once, and kept for each connection.
const READ_OCTETS: usize = 4096;

/// Octets gathered before they are written: several messages leave together.
const WRITE_OCTETS: usize = 16 * 1024;

type Callback = fn(&Request, Response) -> Result<Response, ErrorResponse>;
type Handshake = MidHandshake<ServerHandshake<Metered, Callback>>;

/// A WebSocket that is not open yet.
pub(crate) enum Upgrade {
    /// Before the HTTP request, with the octets of a message at most.
    Tls(Stream, usize),
    /// In the middle of it.
    Http(Handshake),
}

/// An open WebSocket.
pub(crate) struct WebSocket {
    inner: tungstenite::WebSocket<Metered>,
    /// Something is queued inside and has not left.
    pending: bool,
    /// Octets that had come when the last message was whole.
    whole: u64,
}

/// A stream whose octets are counted as they come.
pub(crate) struct Metered {
    stream: Stream,
    received: u64,
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let octets = self.stream.read(buffer)?;
        self.received += octets as u64;
        Ok(octets)
    }
}

impl Write for Metered {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.stream.write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Upgrade {
    /// Goes on; the WebSocket once it is open.
    pub(crate) fn advance(self) -> io::Result<Result<WebSocket, Self>> {
        let handshake = match self {
            Self::Tls(stream, octets_max) => {
                let config = WebSocketConfig::default()
                    .read_buffer_size(READ_OCTETS)
                    .write_buffer_size(WRITE_OCTETS)
                    .max_message_size(Some(octets_max))
                    .max_frame_size(Some(octets_max));
                ServerHandshake::start(
                    Metered { stream, received: 0 },
                    accept as Callback,
                    Some(config),
                )
            }
            Self::Http(handshake) => handshake,
        };
        match handshake.handshake() {
            Ok(inner) => {
                let whole = inner.get_ref().received;
                Ok(Ok(WebSocket { inner, pending: false, whole }))
            }
            Err(HandshakeError::Interrupted(handshake)) => Ok(Err(Self::Http(handshake))),
            Err(HandshakeError::Failure(error)) => Err(io_error(error)),
        }
    }

    pub(crate) fn stream_mut(&mut self) -> &mut Stream {
        match self {
            Self::Tls(stream, _) => stream,
            Self::Http(handshake) => &mut handshake.get_mut().get_mut().stream,
        }
    }
}

/// Takes a request that offers our subprotocol, and no other (RFC 7977 §4.1).
fn accept(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let offers = request.headers().get_all(SUBPROTOCOL_HEADER).into_iter();
    let mut offered = offers.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
    if offered.any(|offered| offered.trim() == SUBPROTOCOL) {
        let ours = HeaderValue::from_static(SUBPROTOCOL);
        response.headers_mut().insert(SUBPROTOCOL_HEADER, ours);
        return Ok(response);
    }
    let mut refusal = ErrorResponse::new(None);
    *refusal.status_mut() = StatusCode::BAD_REQUEST;
    Err(refusal)
}

impl WebSocket {
    /// Reads one message, of text or not: both are octets (RFC 7977 §5.1).
    pub(crate) fn read(&mut self) -> io::Result<Got> {
        loop {
            let read = self.inner.read();
            if read.is_ok() {
                self.whole = self.inner.get_ref().received;
            }
            match read {
                Ok(Message::Text(text)) => return Ok(Got::Message(text.into())),
                Ok(Message::Binary(octets)) => return Ok(Got::Message(octets)),
                // The answer is queued inside.
                Ok(Message::Ping(_)) => self.pending = true,
                Ok(_) => {}
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => return Ok(Got::End),
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                    self.settle()?;
                    return Ok(Got::Nothing);
                }
                Err(error) => return Err(io_error(error)),
            }
        }
    }

    /// Writes each message of `outbound` as a WebSocket message of its own (RFC 7977 §5.1).
    pub(crate) fn flush(&mut self, outbound: &mut Outbound) -> io::Result<Flushed> {
        let mut flushed = Flushed::default();
        if !self.settle()? {
            return Ok(Flushed { blocked: true, ..flushed });
        }
        let frames = first_frames(outbound);
        if frames.is_empty() && !outbound.is_empty() {
            return Err(io::Error::new(ErrorKind::InvalidData, "what is written is no MSRP"));
        }
        for frame in frames {
            flushed.octets += frame.len();
            outbound.advance(frame.len());
            let message = match Utf8Bytes::try_from(frame.clone()) {
                Ok(text) => Message::Text(text),
                Err(_) => Message::Binary(frame),
            };
            self.pending = true;
            match self.inner.write(message) {
                Ok(()) => {}
                // It is queued all the same.
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                    return Ok(Flushed { blocked: true, ..flushed });
                }
                Err(error) => return Err(io_error(error)),
            }
        }
        let blocked = !self.settle()?;
        // There may be more than was looked at.
        Ok(Flushed { blocked, more: !blocked && !outbound.is_empty(), ..flushed })
    }

    /// Writes what is queued inside; whether all of it left.
    fn settle(&mut self) -> io::Result<bool> {
        if !self.pending {
            return Ok(true);
        }
        match self.inner.flush() {
            Ok(()) => {
                self.pending = false;
                Ok(true)
            }
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(io_error(error)),
        }
    }

    /// Says goodbye, if there is room for it.
    pub(crate) fn close(&mut self) {
        let _ = self.inner.close(None);
        let _ = self.inner.flush();
    }

    pub(crate) fn stream_mut(&mut self) -> &mut Stream {
        &mut self.inner.get_mut().stream
    }

    /// Octets that came, and whether they go on after the last message that is whole.
    pub(crate) fn incoming(&self) -> (u64, bool) {
        let received = self.inner.get_ref().received;
        (received, received > self.whole)
    }
}

fn io_error(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        other => io::Error::new(ErrorKind::InvalidData, other),
    }
}
