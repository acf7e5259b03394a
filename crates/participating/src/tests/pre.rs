//! Pre-established sessions of Alice, and those that she is attached to.

mod called;
mod calling;
mod ending;
mod establishing;
mod racing;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parlance_isc::SessionCase::Originating;
use parlance_msrp::ConnectionId;
use parlance_sip::{HeaderName, Message, Method, Request, ResponseBuilder};
use parlance_store::{Entry, Profile};

use super::media::Core;
use super::world::{Setup, World, lines, status};
use crate::policy::{Policy, PreEstablishedPolicy};

/// A description with a session of this name.
fn sdp(name: &str) -> String {
    let setup = if name == "alice" { "active" } else { "actpass" };
    format!(
        "v=0\r\no=a 1 1 IN IP4 h\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n\
         m=message 7654 TCP/MSRP *\r\na=accept-types:message/cpim text/x-{name}\r\n\
         a=path:msrp://192.0.2.10:7654/{name};tcp\r\na=setup:{setup}\r\n"
    )
}

/// The same as an answer.
fn answer(name: &str) -> String {
    sdp(name).replace("setup:actpass", "setup:active")
}

fn policy() -> Policy {
    let factory = Some("sip:im-conf@ims.test".to_owned());
    let pre_established = PreEstablishedPolicy { factory, ..PreEstablishedPolicy::default() };
    Policy { pre_established, warning_host: "im.test".into(), ..Policy::default() }
}

/// Alice, who lets Bob in without being asked.
fn alice() -> Profile {
    let auto_answer = vec![Entry::Identity("sip:bob@ims.test".into())];
    Profile { user: "sip:alice@ims.test".into(), auto_answer, ..Profile::default() }
}

fn setup(policy: Policy, core: &Core) -> Setup {
    Setup {
        policy,
        profiles: vec![alice()],
        registered: vec![("sip:alice@ims.test", true)],
        media: Some(core.media()),
        pre_established: true,
        ..Setup::default()
    }
}

fn text(message: &Message) -> String {
    String::from_utf8(message.bytes().to_vec()).unwrap()
}

/// The value of a header line.
fn value(text: &str, name: &str) -> String {
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    value.unwrap_or_default().to_owned()
}

/// The session URI in a description.
fn path(text: &str) -> String {
    let mut lines = text.lines();
    lines.find_map(|line| line.strip_prefix("a=path:")).expect("a path").to_owned()
}

fn method(message: &Message) -> Method<'static> {
    match message.cseq().unwrap().method {
        Method::Invite => Method::Invite,
        Method::Ack => Method::Ack,
        Method::Bye => Method::Bye,
        Method::Cancel => Method::Cancel,
        Method::Notify => Method::Notify,
        Method::Refer => Method::Refer,
        other => panic!("{other:?}"),
    }
}

/// What was sent: the methods of requests, the codes of responses.
fn kinds(sent: &[Message]) -> Vec<String> {
    let kind = |message: &Message| match status(message) {
        0 => method(message).as_str().to_owned(),
        code => code.to_string(),
    };
    sent.iter().map(kind).collect()
}

/// Alice invites the service.
async fn invites(world: &World, headers: &str, body: &str) -> String {
    let headers =
        format!("Request-URI: sip:im-session@ims.test\nTo: <sip:im-session@ims.test>\n{headers}");
    world.asks(Originating, "INVITE", &headers, body).await
}

/// A world with a session of Alice.
struct Pre {
    world: World,
    core: Core,
    /// Our 200 to her.
    ok: String,
    /// Her media.
    media: ConnectionId,
    cseq: Cell<u32>,
}

impl Pre {
    async fn new() -> Self {
        Self::with(policy()).await
    }

    async fn with(policy: Policy) -> Self {
        let core = Core::new();
        let world = World::new(setup(policy, &core)).await;
        Self::of(world, core).await
    }

    async fn of(world: World, core: Core) -> Self {
        invites(&world, "Supported: timer", &sdp("alice")).await;
        let ok = text(&world.answered());
        let media = core.accept();
        let pre = Self { world, core, ok, media, cseq: Cell::new(1) };
        pre.acknowledges(1).await;
        pre.world.nothing_was_sent();
        assert!(pre.sends("alice", &path(&pre.ok), "").contains(" 200 OK"));
        pre.world.pass(Duration::from_millis(1)).await;
        pre
    }

    /// Somebody sends a message, or an empty one, to a session URI of ours; what he is told.
    fn sends_on(&self, connection: ConnectionId, from: &str, to: &str, body: &str) -> String {
        let content = match body {
            "" => String::new(),
            body => format!("Content-Type: text/plain\r\n\r\n{body}\r\n"),
        };
        let text = format!(
            "MSRP t1d00001 SEND\r\nTo-Path: {to}\r\n\
             From-Path: msrp://192.0.2.10:7654/{from};tcp\r\nMessage-ID: m1\r\n\
             {content}-------t1d00001$\r\n"
        );
        self.core.says(connection, &text)
    }

    fn sends(&self, from: &str, to: &str, body: &str) -> String {
        self.sends_on(self.media, from, to, body)
    }

    /// A request of Alice's in the dialog of her session; what is sent then.
    async fn asks(&self, method: &str, headers: &str, body: &str) -> Vec<Message> {
        self.at_once(vec![self.next(method, headers, body)]).await
    }

    async fn acknowledges(&self, cseq: u32) {
        self.within(&self.ok, "ACK", cseq, "", "").await;
    }

    /// A request in the dialog of `ours`, an answer or an INVITE.
    async fn within(&self, ours: &str, method: &str, cseq: u32, headers: &str, body: &str) {
        let text = within(ours, method, cseq, headers, body);
        self.world.receive(Originating, text.into()).await;
    }

    /// The next request of Alice's in the dialog of her session.
    fn next(&self, method: &str, headers: &str, body: &str) -> Bytes {
        let cseq = self.cseq.get() + 1;
        self.cseq.set(cseq);
        within(&self.ok, method, cseq, headers, body).into()
    }

    /// What is sent when these come at once.
    async fn at_once(&self, all: Vec<Bytes>) -> Vec<Message> {
        let all = all.into_iter().map(|bytes| (Originating, bytes)).collect();
        self.world.receive_together(all).await;
        self.world.sent()
    }

    /// Alice refers her session to `to`; our INVITE, and what is sent besides.
    async fn refers(&self, to: &str) -> (Request, Vec<Message>) {
        let mut sent = self.asks("REFER", &format!("Refer-To: <{to}>"), "").await;
        let at = sent.iter().position(|it| status(it) == 0 && method(it) == Method::Invite);
        let invite = sent.remove(at.unwrap_or_else(|| panic!("{:?}", kinds(&sent))));
        (Request::new(invite).unwrap(), sent)
    }

    /// Who was called answers.
    async fn answers(&self, invite: &Request, code: u16, body: &str) {
        let mut response = ResponseBuilder::new(invite, code, "b1")
            .header(HeaderName::Contact, "<sip:room@192.0.2.11>;isfocus");
        if !body.is_empty() {
            response = response.header(HeaderName::ContentType, "application/sdp");
        }
        self.world.answer_with(response.with_body(body.as_bytes())).await;
    }

    /// Every NOTIFY that was sent is answered, and those that follow; what they say.
    async fn notified(&self, sent: &[Message]) -> Vec<String> {
        let is_notify =
            |message: &&Message| status(message) == 0 && method(message) == Method::Notify;
        let mut waiting: Vec<Message> = sent.iter().filter(is_notify).cloned().collect();
        let mut told = Vec::new();
        while let Some(notify) = waiting.pop() {
            let state = lines(&notify, HeaderName::SubscriptionState).remove(0);
            let state = state.split(';').next().unwrap().to_owned();
            let body = String::from_utf8_lossy(notify.body()).into_owned();
            told.push(format!("{state} {}", body.lines().next().unwrap_or_default()));
            self.world.answer(&Request::new(notify).unwrap(), 200).await;
            let more = self.world.sent();
            assert!(more.iter().all(|it| is_notify(&it)), "{:?}", kinds(&more));
            waiting.extend(more);
        }
        told
    }

    /// Attaches Alice to `name`; our INVITE and his media.
    async fn attached(&self, name: &str) -> (Request, ConnectionId) {
        let (invite, sent) = self.refers(&format!("sip:{name}@ims.test")).await;
        self.notified(&sent).await;
        self.answers(&invite, 200, &answer(name)).await;
        let sent = self.world.sent();
        assert_eq!(kinds(&sent), ["ACK", "NOTIFY"]);
        assert_eq!(self.notified(&sent).await, ["terminated SIP/2.0 200 OK"]);
        let connection = self.core.accept();
        let own = path(&text(&invite));
        assert!(self.sends_on(connection, name, &own, "").contains(" 200 OK"));
        self.world.pass(Duration::from_millis(1)).await;
        (invite, connection)
    }

    /// Whether what Alice says comes out there, and what is said there comes to Alice.
    fn talk(&self, invite: &Request, name: &str, connection: ConnectionId) {
        let own = path(&text(invite));
        assert!(self.sends("alice", &path(&self.ok), "of Alice").contains(" 200 OK"));
        assert!(self.core.written(connection).contains("of Alice"));
        assert!(self.sends_on(connection, name, &own, "of him").contains(" 200 OK"));
        assert!(self.core.written(self.media).contains("of him"));
    }

    /// Nothing of any session is left.
    async fn nothing_is_left(&self) {
        // What is unanswered is given up.
        self.world.pass(Duration::from_secs(40)).await;
        self.world.sent();
        assert_eq!(self.core.sessions(), 0);
        assert_eq!(dialogs(&self.world).await, 0);
    }
}

/// A request in the dialog of `ours`, an answer or an INVITE.
fn within(ours: &str, method: &str, cseq: u32, headers: &str, body: &str) -> String {
    let (mine, theirs) = match ours.starts_with("SIP/2.0") {
        true => (value(ours, "To"), value(ours, "From")),
        false => (value(ours, "From"), format!("{};tag=b1", value(ours, "To"))),
    };
    let mut lines: String = headers.lines().map(|line| format!("{line}\r\n")).collect();
    if !headers.contains("Content-Type") {
        lines.push_str("Content-Type: application/sdp\r\n");
    }
    format!(
        "{method} sip:127.0.0.20:5080 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 127.0.0.13:6060;branch=z9hG4bKin{method}{cseq}{}\r\n\
         Max-Forwards: 68\r\nFrom: {theirs}\r\nTo: {mine}\r\nCall-ID: {}\r\n\
         CSeq: {cseq} {method}\r\nContact: <sip:peer@192.0.2.12>\r\n{lines}\
         Content-Length: {}\r\n\r\n{body}",
        value(ours, "Call-ID"),
        value(ours, "Call-ID"),
        body.len()
    )
}

/// How many dialogs there are.
async fn dialogs(world: &World) -> usize {
    let (tell, told) = tokio::sync::oneshot::channel();
    let asked = world.node.on_shard_of("x", move |cx| {
        let _ = tell.send(cx.dialogs());
        Box::pin(async {})
    });
    asked.unwrap();
    world.pass(Duration::from_millis(1)).await;
    told.await.unwrap()
}
