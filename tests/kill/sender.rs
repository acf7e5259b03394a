//! Originators: each message is sent again until it is answered, and the next one goes after that
//! (RFC 3428 §8).

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Who sends; each to every user, and to each user one message after the other.
const SENDERS: [&str; 4] = ["s0", "s1", "s2", "s3"];

/// How long an answer is waited for before the request is sent again; below T1, since the server
/// is away so often.
const AGAIN: Duration = Duration::from_millis(100);
/// How often that is done before a message counts as never answered: a server that is being killed
/// is away for some starts in a row.
const TIMES_MAX: usize = 300;

/// What one sender sent to one user.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) sender: &'static str,
    pub(crate) user: &'static str,
    /// Messages that got 202, numbered from 0.
    pub(crate) accepted: usize,
    /// Requests sent again.
    pub(crate) repeated: usize,
    /// What other messages got.
    pub(crate) refused: Vec<String>,
}

/// The streams of some senders to some users, each on a thread of its own.
pub(crate) struct Senders {
    threads: Vec<JoinHandle<Stream>>,
    accepted: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
}

impl Senders {
    /// Begins to send, with a pause between two messages of one stream.
    pub(crate) fn new(
        server: SocketAddr,
        core: SocketAddr,
        users: &[&'static str],
        pause: Duration,
    ) -> Self {
        let accepted = Arc::new(AtomicUsize::new(0));
        let over = Arc::new(AtomicBool::new(false));
        let pairs = SENDERS.iter().flat_map(|sender| users.iter().map(|user| (*sender, *user)));
        let threads = pairs
            .map(|(sender, user)| {
                let (accepted, over) = (Arc::clone(&accepted), Arc::clone(&over));
                std::thread::spawn(move || {
                    let socket = Socket::new(server, core);
                    let mut stream = Stream::new(sender, user);
                    while !over.load(Ordering::Relaxed) && stream.refused.is_empty() {
                        if stream.send_next(&socket) {
                            accepted.fetch_add(1, Ordering::Relaxed);
                        }
                        std::thread::sleep(pause);
                    }
                    stream
                })
            })
            .collect();
        Self { threads, accepted, over }
    }

    /// How many messages got 202 so far.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Ends when each message under way is answered.
    pub(crate) fn end(self) -> Vec<Stream> {
        self.over.store(true, Ordering::Relaxed);
        let ended = self.threads.into_iter().map(|thread| thread.join().expect("it ends"));
        ended.collect()
    }
}

impl Stream {
    fn new(sender: &'static str, user: &'static str) -> Self {
        Self { sender, user, accepted: 0, repeated: 0, refused: Vec::new() }
    }

    /// Sends the next message until it is answered; whether it got 202.
    fn send_next(&mut self, socket: &Socket) -> bool {
        let number = self.accepted;
        let call_id = format!("{}-{}-{number}", self.sender, self.user);
        let request = socket.message(self, &call_id, number);
        let mut answer = None;
        for times in 0..TIMES_MAX {
            self.repeated += usize::from(times > 0);
            // While the server is away the kernel says so.
            let _ = socket.socket.send_to(&request, socket.server);
            answer = socket.answer(&call_id);
            if answer.is_some() {
                break;
            }
        }
        let answer = answer.unwrap_or_else(|| "no answer".to_owned());
        let is_accepted = answer.starts_with("SIP/2.0 202 ");
        match is_accepted {
            true => self.accepted += 1,
            false => self.refused.push(format!("{number}: {answer}")),
        }
        is_accepted
    }
}

struct Socket {
    socket: UdpSocket,
    server: SocketAddr,
    core: SocketAddr,
}

impl Socket {
    fn new(server: SocketAddr, core: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("there are ports");
        socket.set_read_timeout(Some(AGAIN)).expect("it is not zero");
        Self { socket, server, core }
    }

    /// A MESSAGE as an S-CSCF sends it on for a user who is not registered.
    fn message(&self, stream: &Stream, call_id: &str, number: usize) -> Vec<u8> {
        let Stream { sender, user, .. } = stream;
        let here = self.socket.local_addr().expect("it is bound");
        let body = format!("{sender} {user} {number}");
        let text = format!(
            "MESSAGE sip:{user}@ims.test SIP/2.0\r\n\
             Via: SIP/2.0/UDP {here};branch=z9hG4bK{call_id}\r\n\
             Route: <sip:im-term@{};lr>, <sip:mark@{};lr>\r\n\
             P-Served-User: <sip:{user}@ims.test>;sescase=term;regstate=unreg\r\n\
             P-Asserted-Identity: <sip:{sender}@ims.test>\r\nMax-Forwards: 68\r\n\
             From: <sip:{sender}@ims.test>;tag={call_id}\r\nTo: <sip:{user}@ims.test>\r\n\
             Call-ID: {call_id}\r\nCSeq: 1 MESSAGE\r\nAccept-Contact: *;+g.oma.sip-im\r\n\
             Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
            self.server,
            self.core,
            body.len()
        );
        text.into_bytes()
    }

    /// The first line of the final answer, if it comes in time.
    fn answer(&self, call_id: &str) -> Option<String> {
        let wanted = format!("\r\nCall-ID: {call_id}\r\n");
        let mut octets = [0; 4096];
        loop {
            let length = self.socket.recv(&mut octets).ok()?;
            let text = String::from_utf8_lossy(&octets[..length]).into_owned();
            // An answer may come again; it is no answer to what was sent since.
            if text.contains(&wanted) && !text.starts_with("SIP/2.0 1") {
                return text.lines().next().map(str::to_owned);
            }
        }
    }
}
