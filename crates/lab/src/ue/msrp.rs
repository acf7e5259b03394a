//! The MSRP of a UE (RFC 4975): framing of the lab's own, sessions, chunks put together.
//!
//! It answers each SEND as its Failure-Report asks, takes what comes in pieces, and keeps what it
//! heard. A connection is made when the description says so, and the first SEND on it is empty.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::cpim::Cpim;
use crate::msrp_load::frame::{Frame, Kind, Scanner, Step};
use crate::network::{Connection, Streams};

/// The port a UE on the simulated network listens on.
const PORT: u16 = 2855;

/// How long a response is waited for (RFC 4975 §7.1.1).
const RESPONSE_MAX: Duration = Duration::from_secs(30);

/// A message that came.
#[derive(Clone, Debug)]
pub struct Said {
    /// When all of it was there.
    pub at: Instant,
    /// Its Message-ID.
    pub message_id: String,
    /// The content, out of its wrapper when it had one.
    pub cpim: Cpim,
}

/// A REPORT that came: Message-ID and Status.
pub type Reported = (String, String);

/// All MSRP of one UE.
#[derive(Clone, Debug)]
pub(super) struct Client(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    streams: Streams,
    address: SocketAddr,
    sessions: RefCell<BTreeMap<String, Rc<Session>>>,
    /// Who waits for the response to which transaction.
    waiting: RefCell<HashMap<String, oneshot::Sender<u16>>>,
    random: RefCell<StdRng>,
    deaf: Cell<bool>,
    hearing: Notify,
}

/// One session.
#[derive(Debug)]
pub(super) struct Session {
    /// The own URI.
    pub(super) own: String,
    state: RefCell<State>,
    bound: Notify,
}

#[derive(Debug, Default)]
struct State {
    peer: String,
    connection: Option<Rc<Connection>>,
    said: Vec<Said>,
    reports: Vec<Reported>,
    partial: BTreeMap<String, Vec<u8>>,
    over: bool,
}

impl Client {
    /// Listens at the host of `streams`. Must be called on a `LocalSet`.
    pub(super) fn start(streams: Streams, seed: u64) -> std::io::Result<Self> {
        let mut listener = streams.listen(PORT)?;
        let client = Self(Rc::new(Inner {
            address: listener.address(),
            streams,
            sessions: RefCell::default(),
            waiting: RefCell::default(),
            random: RefCell::new(StdRng::seed_from_u64(seed)),
            deaf: Cell::new(false),
            hearing: Notify::new(),
        }));
        let this = client.clone();
        tokio::task::spawn_local(async move {
            while let Some(connection) = listener.accept().await {
                tokio::task::spawn_local(this.clone().read(Rc::new(connection)));
            }
        });
        Ok(client)
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Reads nothing from now on, or goes on.
    pub(super) fn deafen(&self, deaf: bool) {
        self.0.deaf.set(deaf);
        self.0.hearing.notify_waiters();
    }

    /// Forgets the requests to which nobody awaits a response.
    pub(super) fn forget(&self) {
        self.0.waiting.borrow_mut().retain(|_, waiting| !waiting.is_closed());
    }

    /// A session with a URI of its own.
    pub(super) fn open(&self) -> Rc<Session> {
        let (address, id) = (self.0.address, self.token() + &self.token());
        let own = format!("msrp://{address}/{id};tcp");
        let session = Rc::new(Session { own, state: RefCell::default(), bound: Notify::new() });
        self.0.sessions.borrow_mut().insert(id, Rc::clone(&session));
        session
    }

    /// Ends a session; its connection with it, unless another session is on that (RFC 4975 §5.4).
    pub(super) fn close(&self, session: &Session) {
        self.0.sessions.borrow_mut().retain(|_, known| known.own != session.own);
        session.state.borrow_mut().over = true;
        let connection = session.state.borrow_mut().connection.take();
        if let Some(connection) = connection {
            let is_on = |other: &Rc<Session>| {
                let state = other.state.borrow();
                state.connection.as_ref().is_some_and(|bound| Rc::ptr_eq(bound, &connection))
            };
            if !self.0.sessions.borrow().values().any(is_on) {
                connection.close();
            }
        }
        session.bound.notify_waiters();
    }

    /// The path of the peer is known: another one than before is another session. With `to` the
    /// connection is made now.
    pub(super) fn agree(&self, session: &Rc<Session>, path: &str, to: Option<SocketAddr>) {
        let before = std::mem::replace(&mut session.state.borrow_mut().peer, path.to_owned());
        if before == path {
            return;
        }
        if !before.is_empty() {
            let connection = session.state.borrow_mut().connection.take();
            connection.inspect(|connection| connection.close());
        }
        let Some(to) = to.filter(|_| !session.is_bound()) else { return };
        let (this, session) = (self.clone(), Rc::clone(session));
        let path = path.to_owned();
        tokio::task::spawn_local(async move {
            let connection = this.0.streams.connect(to).await;
            if session.state.borrow().peer != path {
                return;
            }
            let Some(connection) = connection else { return this.close(&session) };
            let connection = Rc::new(connection);
            session.bind(&connection);
            tokio::task::spawn_local(this.clone().read(connection));
            // What the peer says of the first, empty SEND does not matter here.
            drop(this.request(&session, "SEND", "Byte-Range: 1-0/0\r\n", None, '$'));
        });
    }

    /// Sends a message and waits for what is said to it: the code of the response; 408 when none
    /// comes in 30 s, 481 when the session is over.
    pub(super) async fn send(&self, session: &Session, content_type: &str, body: &[u8]) -> u16 {
        if !session.wait().await {
            return 481;
        }
        let length = body.len();
        let headers = format!(
            "Byte-Range: 1-{length}/{length}\r\nFailure-Report: yes\r\nSuccess-Report: yes\r\n\
             Content-Type: {content_type}\r\n"
        );
        let answered = self.request(session, "SEND", &headers, Some(body), '$');
        code(answered).await
    }

    /// Sends the first octets of a message of `total`, of which the rest never comes.
    pub(super) async fn send_part(
        &self,
        session: &Session,
        content_type: &str,
        part: &[u8],
        total: usize,
    ) -> u16 {
        if !session.wait().await {
            return 481;
        }
        let headers =
            format!("Byte-Range: 1-{}/{total}\r\nContent-Type: {content_type}\r\n", part.len());
        code(self.request(session, "SEND", &headers, Some(part), '+')).await
    }

    /// Asks to be called `name`; `None`: no longer (RFC 7701 §7).
    pub(super) async fn nickname(&self, session: &Session, name: Option<&str>) -> u16 {
        if !session.wait().await {
            return 481;
        }
        let header = name.map_or("Use-Nickname: \"\"\r\n".to_owned(), |name| {
            format!("Use-Nickname: \"{name}\"\r\n")
        });
        code(self.request(session, "NICKNAME", &header, None, '$')).await
    }

    fn request(
        &self,
        session: &Session,
        method: &str,
        headers: &str,
        body: Option<&[u8]>,
        end: char,
    ) -> oneshot::Receiver<u16> {
        let (answer, answered) = oneshot::channel();
        let id = self.token();
        let state = session.state.borrow();
        let Some(connection) = &state.connection else { return answered };
        let message_id = match method {
            "SEND" => format!("Message-ID: {}\r\n", self.token()),
            _ => String::new(),
        };
        let mut octets = format!(
            "MSRP {id} {method}\r\nTo-Path: {}\r\nFrom-Path: {}\r\n{message_id}{headers}",
            state.peer, session.own
        )
        .into_bytes();
        if let Some(body) = body {
            octets.extend_from_slice(b"\r\n");
            octets.extend_from_slice(body);
            octets.extend_from_slice(b"\r\n");
        }
        octets.extend_from_slice(format!("-------{id}{end}\r\n").as_bytes());
        self.0.waiting.borrow_mut().insert(id, answer);
        connection.send(octets.into());
        answered
    }

    /// Reads a connection to its end.
    async fn read(self, connection: Rc<Connection>) {
        let (mut buffer, mut scanner) = (Vec::new(), Scanner::new(true));
        loop {
            while self.0.deaf.get() {
                self.0.hearing.notified().await;
            }
            let Some(octets) = connection.recv().await else { break };
            buffer.extend_from_slice(&octets);
            loop {
                let taken = match scanner.next(&buffer) {
                    Step::Frame(frame) => {
                        self.handle(&connection, &frame);
                        frame.length
                    }
                    Step::Partial => break,
                    Step::Broken => {
                        connection.close();
                        return self.lose(&connection);
                    }
                };
                buffer.drain(..taken);
            }
        }
        self.lose(&connection);
    }

    fn lose(&self, connection: &Rc<Connection>) {
        let sessions: Vec<_> = self.0.sessions.borrow().values().cloned().collect();
        for session in sessions {
            let bound = session.state.borrow().connection.clone();
            if bound.is_some_and(|bound| Rc::ptr_eq(&bound, connection)) {
                self.close(&session);
            }
        }
    }

    fn handle(&self, connection: &Rc<Connection>, frame: &Frame<'_>) {
        let id = String::from_utf8_lossy(frame.id).into_owned();
        if let Kind::Response(code) = frame.kind {
            if let Some(waiting) = self.0.waiting.borrow_mut().remove(&id) {
                // Nobody may wait any more.
                let _ = waiting.send(code);
            }
            return;
        }
        let text = |name| {
            let value = frame.header(name).unwrap_or_default();
            String::from_utf8_lossy(value).into_owned()
        };
        let (to, from) = (text("To-Path"), text("From-Path"));
        let session = session_id(&to).and_then(|id| self.0.sessions.borrow().get(id).cloned());
        let known = session.as_ref().is_some_and(|session| session.is_from(&from));
        let status = match (&session, frame.kind) {
            (Some(session), Kind::Send) if known => {
                session.bind(connection);
                session.take(
                    frame,
                    &text("Message-ID"),
                    &text("Byte-Range"),
                    &text("Content-Type"),
                );
                200
            }
            (Some(session), Kind::Report) if known => {
                let report = (text("Message-ID"), text("Status"));
                session.state.borrow_mut().reports.push(report);
                return;
            }
            (_, Kind::Report) => return,
            (Some(_), _) if known => 501,
            _ => 481,
        };
        let failure = text("Failure-Report");
        if failure.eq_ignore_ascii_case("no")
            || status == 200 && failure.eq_ignore_ascii_case("partial")
        {
            return;
        }
        let head = format!("MSRP {id} {status}\r\nTo-Path: {from}\r\nFrom-Path: {to}\r\n");
        connection.send(Bytes::from(format!("{head}-------{id}$\r\n")));
        if status == 200 && text("Success-Report").eq_ignore_ascii_case("yes") {
            self.report(connection, frame, &from, &to);
        }
    }

    /// Says that a message came whole (RFC 4975 §7.1.3).
    fn report(&self, connection: &Connection, frame: &Frame<'_>, to: &str, from: &str) {
        if frame.flag != b'$' {
            return;
        }
        let (id, length) = (self.token(), frame.body().map_or(0, <[u8]>::len));
        let message_id = frame.header("Message-ID").unwrap_or_default();
        let message_id = String::from_utf8_lossy(message_id);
        connection.send(Bytes::from(format!(
            "MSRP {id} REPORT\r\nTo-Path: {to}\r\nFrom-Path: {from}\r\nMessage-ID: {message_id}\r\n\
             Byte-Range: 1-{length}/{length}\r\nStatus: 000 200 OK\r\n-------{id}$\r\n"
        )));
    }

    fn token(&self) -> String {
        format!("{:016x}", self.0.random.borrow_mut().random::<u64>())
    }
}

impl Session {
    /// Whether messages can go.
    pub(super) fn is_bound(&self) -> bool {
        self.state.borrow().connection.is_some()
    }

    /// Whether it has ended, or its connection is gone.
    pub(super) fn is_over(&self) -> bool {
        self.state.borrow().over
    }

    /// What came.
    pub(super) fn said(&self) -> Vec<Said> {
        self.state.borrow().said.clone()
    }

    /// The REPORTs that came.
    pub(super) fn reports(&self) -> Vec<Reported> {
        self.state.borrow().reports.clone()
    }

    fn bind(&self, connection: &Rc<Connection>) {
        let mut state = self.state.borrow_mut();
        if state.connection.is_none() && !state.over {
            state.connection = Some(Rc::clone(connection));
            self.bound.notify_waiters();
        }
    }

    /// Waits until it is bound; `false`: it is over.
    async fn wait(&self) -> bool {
        let bound = async {
            while !self.is_bound() && !self.is_over() {
                self.bound.notified().await;
            }
        };
        tokio::time::timeout(RESPONSE_MAX, bound).await.is_ok() && !self.is_over()
    }

    /// Whether a request comes from the peer of the description.
    fn is_from(&self, path: &str) -> bool {
        let state = self.state.borrow();
        state.peer.is_empty() || state.peer.eq_ignore_ascii_case(path)
    }

    fn take(&self, frame: &Frame<'_>, message_id: &str, range: &str, content_type: &str) {
        let Some(body) = frame.body() else { return };
        let mut state = self.state.borrow_mut();
        let start = range.split('-').next().and_then(|start| start.trim().parse::<usize>().ok());
        let start = start.unwrap_or(1).saturating_sub(1);
        let whole = state.partial.entry(message_id.to_owned()).or_default();
        whole.truncate(start);
        whole.extend_from_slice(body);
        if frame.flag == b'+' {
            return;
        }
        let Some(whole) = state.partial.remove(message_id) else { return };
        if frame.flag == b'#' {
            return;
        }
        let text = String::from_utf8_lossy(&whole).into_owned();
        let wrapped = content_type.to_ascii_lowercase().starts_with("message/cpim");
        let cpim = Cpim::read(&text).filter(|_| wrapped).unwrap_or_else(|| Cpim {
            content_type: content_type.to_owned(),
            text,
            ..Cpim::default()
        });
        let said = Said { at: Instant::now(), message_id: message_id.to_owned(), cpim };
        state.said.push(said);
    }
}

async fn code(answered: oneshot::Receiver<u16>) -> u16 {
    match tokio::time::timeout(RESPONSE_MAX, answered).await {
        Ok(Ok(code)) => code,
        Ok(Err(_)) => 481,
        Err(_) => 408,
    }
}

/// The session-id of a URI.
fn session_id(uri: &str) -> Option<&str> {
    let (_, rest) = uri.split_once("://")?;
    let (_, id) = rest.split_once('/')?;
    id.split(';').next()
}

/// The address in a URI; the lab has no names for hosts of MSRP.
pub(super) fn address_of(uri: &str) -> Option<SocketAddr> {
    let (_, rest) = uri.split_once("://")?;
    rest.split(['/', ';']).next()?.rsplit('@').next()?.parse().ok()
}
