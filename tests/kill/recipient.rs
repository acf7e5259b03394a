//! The S-CSCF and behind it the clients of all users: each request is answered, one that comes
//! again with the answer it got (RFC 3261 §17.2.2).

use std::collections::{BTreeMap, HashMap};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::server::PATIENCE;

/// What arrived.
#[derive(Debug, Default)]
pub(crate) struct Delivery {
    /// For each user and sender, the numbers of the messages in the order they came.
    pub(crate) first: BTreeMap<(String, String), Vec<usize>>,
    /// Requests that were under way at a kill and came again as the same ones.
    pub(crate) absorbed: usize,
    /// Requests that one process sent again.
    pub(crate) retransmitted: usize,
    /// Messages that came again as other requests.
    pub(crate) duplicates: usize,
    /// What must not be.
    pub(crate) faults: Vec<String>,
    /// The requests by their branches.
    transactions: HashMap<String, Transaction>,
    /// The branch of the last request to each user.
    last: HashMap<String, String>,
    /// How often the server was started again.
    restarts: usize,
}

/// A request and when it came.
#[derive(Debug)]
struct Transaction {
    /// Call-ID, CSeq, From and the body.
    identity: [String; 4],
    restarts: usize,
}

/// All users behind one socket.
pub(crate) struct Recipients {
    address: SocketAddr,
    delivery: Arc<Mutex<Delivery>>,
    withholding: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Recipients {
    /// Begins to receive.
    pub(crate) fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("there are ports");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("it is not zero");
        let address = socket.local_addr().expect("it is bound");
        let delivery = Arc::new(Mutex::new(Delivery::default()));
        let withholding = Arc::new(AtomicBool::new(false));
        let over = Arc::new(AtomicBool::new(false));
        let (kept, silent, end) =
            (Arc::clone(&delivery), Arc::clone(&withholding), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            let mut octets = [0; 65_536];
            while !end.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut octets) else { continue };
                let request = String::from_utf8_lossy(&octets[..length]).into_owned();
                kept.lock().unwrap_or_else(PoisonError::into_inner).receive(&request);
                if !silent.load(Ordering::Relaxed) {
                    // The server may be gone.
                    let _ = socket.send_to(ok(&request).as_bytes(), from);
                }
            }
        });
        Self { address, delivery, withholding, over, thread }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many messages arrived.
    pub(crate) fn delivered(&self) -> usize {
        let delivery = self.delivery.lock().unwrap_or_else(PoisonError::into_inner);
        delivery.first.values().map(Vec::len).sum()
    }

    /// Whether requests are taken without an answer, until the next restart.
    pub(crate) fn withhold(&self, withhold: bool) {
        self.withholding.store(withhold, Ordering::Relaxed);
    }

    /// Notes that the server is another process now.
    pub(crate) fn restarted(&self) {
        self.delivery.lock().unwrap_or_else(PoisonError::into_inner).restarts += 1;
        self.withhold(false);
    }

    /// Sends the third-party REGISTER for a user until it is answered 200.
    pub(crate) fn register(&self, server: SocketAddr, user: &str) {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("there are ports");
        let again = Duration::from_millis(200);
        socket.set_read_timeout(Some(again)).expect("it is not zero");
        let (here, core) = (socket.local_addr().expect("it is bound"), self.address);
        let text = format!(
            "REGISTER sip:im-reg@{server} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {here};branch=z9hG4bK-reg-{user}\r\nMax-Forwards: 10\r\n\
             From: <sip:{core}>;tag=1\r\nTo: <sip:{user}@ims.test>\r\nCall-ID: reg-{user}\r\n\
             CSeq: 1 REGISTER\r\nContact: <sip:{core}>\r\nExpires: 3600\r\n\
             Content-Length: 0\r\n\r\n"
        );
        let mut octets = [0; 4096];
        for _ in 0..PATIENCE.as_millis() / again.as_millis() {
            // The server may be away.
            let _ = socket.send_to(text.as_bytes(), server);
            let Ok(length) = socket.recv(&mut octets) else { continue };
            let answer = String::from_utf8_lossy(&octets[..length]);
            if !answer.starts_with("SIP/2.0 1") {
                assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
                return;
            }
        }
        panic!("not in time: {user} is registered");
    }

    /// Ends, and tells what arrived.
    pub(crate) fn end(self) -> Delivery {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().expect("it ends");
        let mut delivery = self.delivery.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *delivery)
    }
}

impl Delivery {
    fn receive(&mut self, request: &str) {
        let (head, body) = request.split_once("\r\n\r\n").unwrap_or((request, ""));
        let [via, call_id, cseq, from] =
            ["Via", "Call-ID", "CSeq", "From"].map(|name| field(head, name).to_owned());
        let branch = via.split(";branch=").nth(1).unwrap_or_default();
        let branch = branch.split(';').next().unwrap_or_default().to_owned();
        let words: Vec<&str> = body.split(' ').collect();
        let (&[sender, user, number], true) = (&words[..], head.starts_with("MESSAGE sip:u"))
        else {
            self.faults.push(format!("it is no message of ours: {request}"));
            return;
        };
        let identity = [call_id, cseq, from, body.to_owned()];
        if let Some(known) = self.transactions.get_mut(&branch) {
            if known.identity != identity {
                self.faults.push(format!("{:?} and {identity:?} have one branch", known.identity));
            }
            // Another one to this user has come since: what its 2xx said is durable.
            if self.last.get(user) != Some(&branch) {
                self.faults.push(format!("{body} came again after its end"));
            }
            if known.restarts == self.restarts {
                self.retransmitted += 1;
            } else {
                self.absorbed += 1;
            }
            known.restarts = self.restarts;
            return;
        }
        let transaction = Transaction { identity, restarts: self.restarts };
        self.transactions.insert(branch.clone(), transaction);
        self.last.insert(user.to_owned(), branch);
        let Ok(number) = number.parse() else {
            self.faults.push(format!("it has no number: {request}"));
            return;
        };
        let numbers = self.first.entry((user.to_owned(), sender.to_owned())).or_default();
        if numbers.contains(&number) {
            self.duplicates += 1;
            self.faults.push(format!("{body} came again as another request"));
        } else {
            numbers.push(number);
        }
    }
}

/// The value of the first header field of this name.
fn field<'a>(head: &'a str, name: &str) -> &'a str {
    let line = head.lines().find(|line| line.split(':').next() == Some(name));
    line.and_then(|line| line.split_once(':')).map_or("", |(_, value)| value.trim())
}

/// 200 to a request.
fn ok(request: &str) -> String {
    let copied = ["Via", "From", "To", "Call-ID", "CSeq"];
    let head = request.lines().take_while(|line| !line.is_empty());
    let mut lines = vec!["SIP/2.0 200 OK"];
    lines.extend(head.filter(|line| copied.contains(&line.split(':').next().unwrap_or_default())));
    format!("{}\r\nContent-Length: 0\r\n\r\n", lines.join("\r\n"))
}
