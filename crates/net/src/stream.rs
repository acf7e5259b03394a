//! TCP and TLS connections: accepting, connecting, and one task for each while it lives.

use std::future::Future;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use parlance_sip::frame::{Frame, Framer};
use parlance_sip::message::Malformed;
use parlance_sip::{ListenerId, Message, Source};
use rustls_pki_types::ServerName;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::admission::{Admission, Full};
use crate::connection::{Batch, Connection, Path};
use crate::rate::prefix;
use crate::shared::Shared;
use crate::{Peer, Refused, TransmitError};

/// Connections that wait to be accepted, per listener.
const ACCEPT_BACKLOG: i32 = 1024;

/// Room for reads. A message that fits is framed where it was read.
const READ_OCTETS: usize = 16 * 1024;

/// Room that is enough for another read: most messages fit several times, and share the memory.
const READ_OCTETS_LEAST: usize = 4 * 1024;

/// Room for the reads after one that was filled.
const READ_OCTETS_BUSY: usize = 64 * 1024;

/// How often a message that a full queue refused is offered again.
const RETRY_INTERVAL: Duration = Duration::from_millis(5);

/// How long accepting rests when the system has no more descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// What a peer may still send after we have stopped reading, so that closing does not reset the
/// connection under the answer it has not read yet. Local limit.
const DISCARD_OCTETS: usize = 1024 * 1024;

/// Binds a listening socket.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A restart must not wait for the connections of the last run to be forgotten.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(ACCEPT_BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts connections until the task is ended.
pub(crate) async fn accept(shared: Arc<Shared>, id: ListenerId, socket: TcpListener) {
    loop {
        match socket.accept().await {
            Ok((stream, remote)) => {
                // Each costs a task, and over TLS a handshake.
                if shared.take_token(remote.ip()).is_err() {
                    shared.meter.refused_rate.raise(remote.ip());
                    continue;
                }
                let source = (!shared.is_trusted(remote.ip())).then(|| prefix(remote.ip()));
                match shared.table.admit(source) {
                    Ok(room) => {
                        let stream = stream.into_std();
                        let accepted = accepted(Arc::clone(&shared), id, stream, remote, room);
                        shared.runtimes.next().spawn(accepted);
                    }
                    Err(Full::Total) => shared.meter.refused_total.raise(remote.ip()),
                    Err(Full::Source) => shared.meter.refused_source.raise(remote.ip()),
                }
            }
            Err(error) => {
                tracing::warn!(%error, listener = id.0, "accept");
                sleep(ACCEPT_REST).await;
            }
        }
    }
}

async fn accepted(
    shared: Arc<Shared>,
    listener: ListenerId,
    stream: io::Result<std::net::TcpStream>,
    remote: SocketAddr,
    room: Admission,
) {
    // It comes from another runtime; the queue of events of this one takes it now.
    let stream = match stream.and_then(TcpStream::from_std) {
        Ok(stream) => stream,
        Err(error) => return tracing::warn!(%error, listener = listener.0, "accept"),
    };
    let _ = stream.set_nodelay(true);
    let Some(bound) = shared.bound(listener) else { return };
    let path = Path { transport: bound.transport, listener, remote, name: None };
    let Some(configs) = shared.tls(listener) else {
        let connection = shared.table.insert(&path, true);
        let life = Life { shared: &shared, connection, path, peer: None, verified: false, room };
        return life.run_plain(stream).await;
    };
    let acceptor = TlsAcceptor::from(configs.server);
    let handshake = timeout(shared.limits.handshake_timeout, acceptor.accept(stream));
    let Ok(Ok(stream)) = handshake.await else {
        return shared.meter.refused_handshake.raise(remote.ip());
    };
    let peer = Peer::of(stream.get_ref().1.peer_certificates()).map(Arc::new);
    // The roots that vouch for clients are the listener's own, so that no name need be listed.
    let names = &bound.trusted_names;
    let verified = peer.as_ref().is_some_and(|peer| names.is_empty() || peer.is_one_of(names));
    // A peer without a certificate has proved nothing, so no request for it goes there.
    let connection = shared.table.insert(&path, peer.is_some());
    Life { shared: &shared, connection, path, peer, verified, room }.run_tls(stream).await;
}

/// Opens a connection that messages already wait for.
pub(crate) async fn connect(
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    path: Path,
    room: Admission,
) {
    let stream = tokio::select! {
        opened = timeout(shared.limits.connect_timeout, open(&shared, &path)) => match opened {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return shared.bury(&connection, &path, error.into()),
            Err(_) => return shared.bury(&connection, &path, TransmitError::TimedOut),
        },
        () = connection.closing.notified() => {
            return shared.bury(&connection, &path, TransmitError::Closed);
        }
    };
    let Some((bound, configs)) = shared.bound(path.listener).zip(shared.tls(path.listener)) else {
        let life = Life { shared: &shared, connection, path, peer: None, verified: false, room };
        return life.run_plain(stream).await;
    };
    let connector = TlsConnector::from(configs.client);
    let handshake = connector.connect(shared.server_name(&path), stream);
    match timeout(shared.limits.handshake_timeout, handshake).await {
        Ok(Ok(stream)) => {
            let peer = Peer::of(stream.get_ref().1.peer_certificates()).map(Arc::new);
            // It proved the name we asked for, by any public authority: only a listed name makes
            // it a trusted peer when it sends requests on this connection.
            let names = &bound.trusted_names;
            let verified = peer.as_ref().is_some_and(|peer| peer.is_one_of(names));
            let life = Life { shared: &shared, connection, path, peer, verified, room };
            life.run_tls(stream).await;
        }
        Ok(Err(error)) => {
            tracing::warn!(remote = %path.remote, %error, "TLS handshake");
            shared.bury(&connection, &path, TransmitError::Tls);
        }
        Err(_) => shared.bury(&connection, &path, TransmitError::TimedOut),
    }
}

async fn open(shared: &Shared, path: &Path) -> io::Result<TcpStream> {
    let socket = if path.remote.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // The peer knows us by the address of the listener; the port is any.
    let local = shared.bound(path.listener).map(|bound| bound.address.ip());
    if let Some(local) = local.filter(|local| !local.is_unspecified()) {
        socket.bind(SocketAddr::new(local, 0))?;
    }
    let stream = socket.connect(path.remote).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The name a TLS server must prove: as asked for, else as configured, else its address.
pub(crate) fn server_name(
    path: &Path,
    names: &[(std::net::IpAddr, String)],
) -> ServerName<'static> {
    let configured = || names.iter().find(|(address, _)| *address == path.remote.ip());
    let name = path.name.as_deref().or_else(|| configured().map(|(_, name)| name.as_str()));
    name.and_then(|name| ServerName::try_from(name.to_owned()).ok())
        .unwrap_or_else(|| ServerName::IpAddress(path.remote.ip().into()))
}

/// One connection while it is open.
struct Life<'a> {
    shared: &'a Arc<Shared>,
    connection: Arc<Connection>,
    path: Path,
    peer: Option<Arc<Peer>>,
    /// See [`Source::verified`].
    verified: bool,
    /// Held until the connection is gone.
    room: Admission,
}

/// Why reading ended.
enum End {
    /// The peer finished before it had its answers, or the stream cannot be framed: answers that
    /// are on their way are still written.
    Linger,
    /// The peer is gone, too slow or idle.
    Now(TransmitError),
}

impl Life<'_> {
    /// Plain TCP: whoever has something to send writes it, and only what the kernel does not take
    /// is written here.
    async fn run_plain(self, stream: TcpStream) {
        let (mut reader, writer) = stream.into_split();
        let writer = Arc::new(writer);
        self.connection.open(Arc::clone(&writer));
        let error = self.live(&mut reader, self.write_rest(&writer)).await;
        self.connection.shut();
        let _ = SockRef::from(AsRef::<TcpStream>::as_ref(&*writer)).shutdown(Shutdown::Write);
        self.end(error, part(&mut reader)).await;
    }

    async fn run_tls<S: AsyncRead + AsyncWrite>(self, stream: S) {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let error = self.live(&mut reader, self.write(&mut writer)).await;
        let parting = async {
            writer.shutdown().await?;
            part(&mut reader).await
        };
        self.end(error, parting).await;
    }

    /// Reads and writes until either ends.
    async fn live<R: AsyncRead + Unpin>(
        &self,
        reader: &mut R,
        writing: impl Future<Output = TransmitError>,
    ) -> TransmitError {
        self.shared.meter.of(self.path.transport).connections.increment(1.0);
        let mut framer = Framer::new(self.shared.framing);
        let mut writing = pin!(writing);
        let end = tokio::select! {
            end = self.read(reader, &mut framer) => end,
            error = &mut writing => End::Now(error),
            () = self.connection.closing.notified() => End::Now(TransmitError::Closed),
        };
        match end {
            End::Now(error) => error,
            End::Linger => {
                self.shared.table.retire(&self.path, self.connection.id);
                tokio::select! {
                    () = self.answered() => TransmitError::Closed,
                    error = &mut writing => error,
                }
            }
        }
    }

    /// Forgets the connection; a peer that did nothing wrong is parted from.
    async fn end(self, error: TransmitError, parting: impl Future<Output = io::Result<()>>) {
        self.shared.bury(&self.connection, &self.path, error);
        if error == TransmitError::Closed {
            let _ = timeout(self.shared.limits.linger, parting).await;
        }
        self.shared.meter.of(self.path.transport).connections.decrement(1.0);
        drop(self.room);
    }

    /// Waits until what was asked has been answered, as far as can be known: something was
    /// written, and nothing more waits. At most [`crate::ConnectionLimits::linger`].
    async fn answered(&self) {
        let before = self.connection.outbound().written();
        let answered = async {
            loop {
                let progress = self.connection.progress.notified();
                {
                    let outbound = self.connection.outbound();
                    if outbound.written() > before && outbound.is_empty() {
                        return;
                    }
                }
                progress.await;
            }
        };
        let _ = timeout(self.shared.limits.linger, answered).await;
    }

    /// Writes what others could not, until that fails or takes too long.
    async fn write_rest(&self, writer: &OwnedWriteHalf) -> TransmitError {
        let meter = self.shared.meter.of(self.path.transport);
        loop {
            match self.connection.write(meter) {
                Ok(()) => self.connection.ready.notified().await,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let written = self.connection.outbound().written();
                    let deadline = Instant::now() + self.shared.limits.write_timeout;
                    while self.connection.outbound().written() == written {
                        match timeout_at(deadline, writer.writable()).await {
                            Ok(Ok(())) => {}
                            Ok(Err(error)) => return error.into(),
                            Err(_) => return self.too_slow(),
                        }
                        match self.connection.write(meter) {
                            Ok(()) => break,
                            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                            Err(error) => return error.into(),
                        }
                    }
                }
                Err(error) => return error.into(),
            }
        }
    }

    fn too_slow(&self) -> TransmitError {
        self.shared.meter.closed_slow_reader.raise(self.path.remote.ip());
        TransmitError::TimedOut
    }

    /// Writes what waits, one write per wake-up, until that fails or takes too long.
    async fn write<W: AsyncWrite + Unpin>(&self, writer: &mut W) -> TransmitError {
        let meter = self.shared.meter.of(self.path.transport);
        let mut batch = Batch::default();
        loop {
            while !self.connection.outbound().take(&mut batch) {
                self.connection.ready.notified().await;
            }
            let write = async {
                writer.write_all(batch.rest()).await?;
                writer.flush().await
            };
            match timeout(self.shared.limits.write_timeout, write).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error.into(),
                Err(_) => return self.too_slow(),
            }
            let messages = self.connection.outbound().wrote();
            meter.count_transmitted(messages, batch.len());
            self.connection.progress.notify_one();
        }
    }

    /// Reads and hands up messages until the peer finishes, is too slow or breaks the framing.
    async fn read<R: AsyncRead + Unpin>(&self, reader: &mut R, framer: &mut Framer) -> End {
        let limits = &self.shared.limits;
        let idle = limits.idle_effective();
        let mut deadline = Instant::now() + idle;
        let mut began = false;
        // Requests handed up; what was written beyond as many is no answer to them.
        let mut requests = 0;
        let mut room = READ_OCTETS;
        loop {
            let buffer = framer.buffer();
            if buffer.capacity() - buffer.len() < READ_OCTETS_LEAST || room > READ_OCTETS {
                buffer.reserve(room);
            }
            let spare = buffer.capacity() - buffer.len();
            let octets = match timeout_at(deadline, reader.read_buf(framer.buffer())).await {
                Ok(Ok(0)) if self.connection.outbound().written() < requests => return End::Linger,
                Ok(Ok(0)) => return End::Now(TransmitError::Closed),
                Ok(Ok(octets)) => octets,
                Ok(Err(error)) => return End::Now(error.into()),
                Err(_) if began => {
                    self.shared.meter.closed_slow_message.raise(self.path.remote.ip());
                    return End::Now(TransmitError::Closed);
                }
                Err(_) => {
                    self.shared.meter.closed_idle.increment(1);
                    return End::Now(TransmitError::Closed);
                }
            };
            self.shared.meter.of(self.path.transport).received_octets.increment(octets as u64);
            room = if octets < spare { READ_OCTETS } else { READ_OCTETS_BUSY };
            let mut framed = false;
            while let Some(frame) = framer.next_frame() {
                framed = true;
                match frame {
                    Frame::Message(message) => {
                        requests += u64::from(message.is_request());
                        self.offer(Ok(message)).await;
                    }
                    Frame::Malformed(malformed) => self.offer(Err(malformed)).await,
                    Frame::Ping => {
                        self.pace().await;
                        self.connection.pong(self.shared.meter.of(self.path.transport));
                    }
                }
            }
            if framer.is_broken() {
                self.shared.meter.closed_framing.raise(self.path.remote.ip());
                return End::Linger;
            }
            // Half a keep-alive is no message: only what holds more than line ends has begun.
            let begun = framer.buffer().iter().any(|octet| !matches!(octet, b'\r' | b'\n'));
            if !begun {
                deadline = Instant::now() + idle;
            } else if framed || !began {
                deadline = Instant::now() + limits.message_timeout;
            }
            began = begun;
        }
    }

    /// Hands one message up, as often as it takes; meanwhile nothing is read.
    async fn offer(&self, message: Result<Message, Box<Malformed>>) {
        self.pace().await;
        let mut received = self.shared.received(self.source(), self.peer.clone(), message);
        while let Err(Refused(back)) = self.shared.deliver.deliver(received) {
            received = *back;
            sleep(RETRY_INTERVAL).await;
        }
    }

    /// Waits until the peer may send another message: on a stream the rate slows it down.
    async fn pace(&self) {
        while let Err(wait) = self.shared.take_token(self.path.remote.ip()) {
            sleep(wait).await;
        }
    }

    fn source(&self) -> Source {
        Source {
            transport: self.path.transport,
            remote: self.path.remote,
            listener: self.path.listener,
            connection: Some(self.connection.id),
            verified: self.verified,
        }
    }
}

/// Reads until the peer has seen that we are done.
async fn part<R: AsyncRead + Unpin>(reader: &mut R) -> io::Result<()> {
    let mut discarded = 0;
    let mut buffer = vec![0; READ_OCTETS];
    while discarded < DISCARD_OCTETS {
        match reader.read(&mut buffer).await? {
            0 => break,
            octets => discarded += octets,
        }
    }
    Ok(())
}
