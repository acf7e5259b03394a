//! Both ends of sessions over TCP, as an S-CSCF beside the server would have them: who calls, and
//! behind the server's next hop whoever is called, who answers at once.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use parlance_sip::frame::{Frame, Framer};
use parlance_sip::message::Limits;
use parlance_sip::{HeaderName, Message, Method, Request, Response, ResponseBuilder};
use tokio::time::Instant;

use crate::msrp::Result;

/// Where whoever is called is, and the next hop of the server under test.
pub const CALLED: &str = "127.0.0.1:15070";

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the ends say of their MSRP. Nobody listens there: they would connect to the server.
const MSRP: &str = "127.0.0.1:9";

/// How a call reaches whom it is for.
#[derive(Clone, Debug)]
pub struct Way {
    /// Where the server under test listens.
    pub server: SocketAddr,
    /// The hops of the INVITE, each with its brackets.
    pub route: Vec<String>,
    /// Whether it goes to a conference factory with a list of one.
    pub factory: Option<String>,
}

/// A call that was answered.
#[derive(Clone, Debug)]
pub struct Answered {
    /// Its number.
    pub number: usize,
    /// From the INVITE to its 2xx.
    pub took: Duration,
    /// The URI in Contact of the 2xx.
    pub contact: String,
    /// The MSRP path that the server described.
    pub path: String,
}

/// An invitation as whoever is called got it.
#[derive(Clone, Debug)]
pub struct Offered {
    /// The number of the call.
    pub number: usize,
    /// The MSRP path that the server described.
    pub path: String,
}

/// The MSRP URI of who calls, or is called, in a call.
pub fn own_path(caller: bool, number: usize) -> String {
    let side = if caller { "caller" } else { "called" };
    format!("msrp://{MSRP}/{side}{number};tcp")
}

/// The identity of who calls, or is called, in a call.
pub fn identity(caller: bool, number: usize) -> String {
    let side = if caller { "alice" } else { "bob" };
    format!("sip:{side}{number}@ims.test")
}

/// Answers every INVITE at [`CALLED`] with 200, and tells of it.
///
/// # Errors
/// The port is taken.
pub fn answer_calls() -> Result<mpsc::Receiver<Offered>> {
    let listener = TcpListener::bind(CALLED)?;
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let tell = tell.clone();
            thread::spawn(move || serve(stream, &tell));
        }
    });
    Ok(told)
}

fn serve(mut stream: TcpStream, tell: &mpsc::Sender<Offered>) {
    // Only a delay more where it cannot be set.
    let _ = stream.set_nodelay(true);
    let mut framer = Framer::new(Limits::default());
    let mut octets = vec![0; 65_536];
    while let Ok(count @ 1..) = stream.read(&mut octets) {
        framer.buffer().extend_from_slice(octets.get(..count).unwrap_or_default());
        let mut answers = Vec::new();
        while let Some(frame) = framer.next_frame() {
            let Frame::Message(message) = frame else { continue };
            let Ok(request) = Request::new(message) else { continue };
            match request.method() {
                Method::Ack => {}
                Method::Invite => {
                    let number = number(request.uri_text());
                    let path = path(&request);
                    answers.extend_from_slice(&ok(&request, number));
                    // Nobody may want to know.
                    let _ = tell.send(Offered { number, path });
                }
                _ => {
                    let ok = ResponseBuilder::new(&request, 200, "called");
                    answers.extend_from_slice(&ok.build());
                }
            }
        }
        if stream.write_all(&answers).is_err() {
            return;
        }
    }
}

fn ok(request: &Request, number: usize) -> bytes::Bytes {
    ResponseBuilder::new(request, 200, "called")
        .copy(request, HeaderName::RecordRoute)
        .header(HeaderName::Contact, format_args!("<sip:bob@{CALLED};transport=tcp>;+g.oma.sip-im"))
        .header(HeaderName::ContentType, "application/sdp")
        .with_body(description(&own_path(false, number)).as_bytes())
}

/// The digits in the user part of a URI.
fn number(uri: &[u8]) -> usize {
    let user = uri.split(|octet| *octet == b'@').next().unwrap_or_default();
    let digits = user.iter().filter(|octet| octet.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
}

fn description(path: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
         m=message 9 TCP/MSRP *\r\na=accept-types:message/cpim text/plain\r\n\
         a=accept-wrapped-types:*\r\na=path:{path}\r\na=setup:active\r\n"
    )
}

/// The MSRP path in the body of a message.
fn path(message: &Message) -> String {
    let body = String::from_utf8_lossy(message.body());
    let line = body.lines().find_map(|line| line.strip_prefix("a=path:"));
    line.unwrap_or_default().trim().to_owned()
}

/// Who calls, over one connection.
#[derive(Debug)]
pub struct Caller {
    stream: TcpStream,
    framer: Framer,
    from: SocketAddr,
    way: Way,
    calls: HashMap<usize, Instant>,
    out: Vec<u8>,
}

impl Caller {
    /// Connects to the server.
    ///
    /// # Errors
    /// There is none.
    pub fn new(way: Way) -> Result<Self> {
        let stream = TcpStream::connect(way.server)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let from = stream.local_addr()?;
        let framer = Framer::new(Limits::default());
        Ok(Self { stream, framer, from, way, calls: HashMap::new(), out: Vec::new() })
    }

    /// Begins `count` calls from number `first` on, which stay.
    ///
    /// # Errors
    /// One of them was not answered 2xx.
    pub fn begin(&mut self, first: usize, count: usize) -> Result<Vec<Answered>> {
        let mut answered = Vec::with_capacity(count);
        for number in first..first + count {
            self.invite(number);
            while answered.len() <= number - first {
                self.turn(false, &mut |done| answered.push(done))?;
            }
        }
        Ok(answered)
    }

    /// Begins and ends calls, `window` of them at a time, until `over`: each is INVITE, 2xx, ACK,
    /// BYE and its 200. Tells of each as it is answered.
    ///
    /// # Errors
    /// One of them was not answered 2xx.
    pub fn load(
        &mut self,
        window: usize,
        over: impl Fn() -> bool,
        mut tell: impl FnMut(Answered),
    ) -> Result<()> {
        let mut next = 0;
        loop {
            while self.calls.len() < window && !over() {
                self.invite(next);
                next += 1;
            }
            if self.calls.is_empty() {
                return Ok(());
            }
            self.turn(true, &mut tell)?;
        }
    }

    fn invite(&mut self, number: usize) {
        let (from, caller) = (self.from, identity(true, number));
        let sdp = description(&own_path(true, number));
        let (uri, content, body) = match &self.way.factory {
            None => (identity(false, number), "application/sdp".to_owned(), sdp),
            Some(factory) => {
                let called = identity(false, number);
                (factory.clone(), "multipart/mixed;boundary=b".to_owned(), list(&sdp, &called))
            }
        };
        let route: String = self.way.route.iter().map(|hop| format!("Route: {hop}\r\n")).collect();
        let list = match self.way.factory {
            None => "",
            Some(_) => "Require: recipient-list-invite\r\n",
        };
        let text = format!(
            "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/TCP {from};branch=z9hG4bK-i{number}\r\n{route}\
             P-Served-User: <{caller}>;sescase=orig;regstate=reg\r\nMax-Forwards: 68\r\n\
             From: <{caller}>;tag=t{number}\r\nTo: <{uri}>\r\nCall-ID: {number}@bench\r\n\
             CSeq: 1 INVITE\r\nContact: <sip:alice@{from};transport=tcp>;+g.oma.sip-im\r\n\
             P-Asserted-Identity: <{caller}>\r\nAccept-Contact: *;+g.oma.sip-im\r\n{list}\
             User-Agent: IM-client/OMA1.0 bench\r\nContent-Type: {content}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.calls.insert(number, Instant::now());
        self.out.extend_from_slice(text.as_bytes());
    }

    /// Writes what there is to write, and takes what has come.
    fn turn(&mut self, ends: bool, tell: &mut impl FnMut(Answered)) -> Result<()> {
        self.stream.write_all(&self.out)?;
        self.out.clear();
        let mut octets = vec![0; 65_536];
        let count = self.stream.read(&mut octets)?;
        if count == 0 {
            return Err("the server closed the connection".into());
        }
        self.framer.buffer().extend_from_slice(octets.get(..count).unwrap_or_default());
        while let Some(frame) = self.framer.next_frame() {
            let Frame::Message(message) = frame else { continue };
            match Response::new(message) {
                Ok(response) => self.response(&response, ends, tell)?,
                // What the server asks, it is told; the call that it is in is held.
                Err(message) => {
                    if let Ok(request) = Request::new(message) {
                        let ok = ResponseBuilder::new(&request, 200, "caller").build();
                        self.out.extend_from_slice(&ok);
                    }
                }
            }
        }
        Ok(())
    }

    fn response(
        &mut self,
        response: &Response,
        ends: bool,
        tell: &mut impl FnMut(Answered),
    ) -> Result<()> {
        let status = response.status();
        if status < 200 {
            return Ok(());
        }
        let number = number(response.call_id());
        let cseq = response.cseq().ok_or("no CSeq")?;
        if status >= 300 {
            return Err(format!("{} was answered {status}", cseq.method.as_str()).into());
        }
        if cseq.method != Method::Invite {
            self.calls.remove(&number);
            return Ok(());
        }
        let began = self.calls.get(&number).copied().ok_or("an answer to no call")?;
        let dialog = Dialog::of(response);
        self.within(&dialog, number, 1, "ACK");
        if ends {
            self.within(&dialog, number, 2, "BYE");
        } else {
            self.calls.remove(&number);
        }
        let contact = dialog.target;
        tell(Answered { number, took: began.elapsed(), contact, path: path(response) });
        Ok(())
    }

    fn within(&mut self, dialog: &Dialog, number: usize, cseq: u32, method: &str) {
        let (from, caller) = (self.from, identity(true, number));
        let Dialog { to, target, route } = dialog;
        let text = format!(
            "{method} {target} SIP/2.0\r\n\
             Via: SIP/2.0/TCP {from};branch=z9hG4bK-{method}{number}\r\n{route}\
             Max-Forwards: 68\r\nFrom: <{caller}>;tag=t{number}\r\nTo: {to}\r\n\
             Call-ID: {number}@bench\r\nCSeq: {cseq} {method}\r\nContent-Length: 0\r\n\r\n"
        );
        self.out.extend_from_slice(text.as_bytes());
    }
}

/// The dialog a 2xx made (RFC 3261 §12.1.2).
struct Dialog {
    to: String,
    target: String,
    /// The whole header fields.
    route: String,
}

impl Dialog {
    fn of(response: &Response) -> Self {
        let text =
            |name| String::from_utf8_lossy(response.field(name).unwrap_or_default()).into_owned();
        let contact = text(HeaderName::Contact);
        let inside = contact.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
        let target = inside.map_or(contact.as_str(), |(uri, _)| uri).to_owned();
        let recorded: Vec<String> = response
            .values(HeaderName::RecordRoute)
            .map(|value| String::from_utf8_lossy(value).into_owned())
            .collect();
        let hops = recorded.iter().flat_map(|value| value.split(','));
        let mut hops: Vec<&str> = hops.map(str::trim).collect();
        hops.reverse();
        let route = hops.iter().map(|hop| format!("Route: {hop}\r\n")).collect();
        Self { to: text(HeaderName::To), target, route }
    }
}

/// The description, and a list of one (RFC 5366).
fn list(sdp: &str, called: &str) -> String {
    format!(
        "--b\r\nContent-Type: application/sdp\r\n\r\n{sdp}\r\n--b\r\n\
         Content-Type: application/resource-lists+xml\r\n\
         Content-Disposition: recipient-list\r\n\r\n\
         <resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\"><list>\
         <entry uri=\"{called}\"/></list></resource-lists>\r\n--b--\r\n"
    )
}
