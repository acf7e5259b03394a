//! Sessions of messages: the dialog (RFC 3261 §12) and the MSRP session it set up.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

use rsip::Method;

use super::call::Dialog;
use super::cpim::Cpim;
use super::msrp::{Client, Reported, Said, Session};
use super::state::answer_of;
use super::{Answer, Draft, Ue};

/// A session a UE takes part in. Cheap to clone. Dropping it ends nothing: [`Chat::leave`] does.
#[derive(Clone)]
pub struct Chat {
    ue: Ue,
    inner: Rc<Inner>,
}

/// What a UE keeps of a session.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) call_id: String,
    pub(super) dialog: RefCell<Dialog>,
    pub(super) session: Rc<Session>,
    /// The identity of the UE as it speaks.
    from: String,
    /// Whom it speaks to when it names nobody: the other user, or the room.
    pub(super) to: String,
    /// Whether the ACK went or came.
    pub(super) confirmed: Cell<bool>,
    pub(super) ended: Cell<bool>,
}

impl Inner {
    pub(super) fn new(dialog: Dialog, session: Rc<Session>, from: &str, to: &str) -> Rc<Self> {
        Rc::new(Self {
            call_id: dialog.call_id().to_owned(),
            dialog: RefCell::new(dialog),
            session,
            from: from.to_owned(),
            to: to.to_owned(),
            confirmed: Cell::new(false),
            ended: Cell::new(false),
        })
    }
}

impl Ue {
    /// The sessions it takes part in, oldest first: those that were answered, whoever called, and
    /// have not ended.
    pub fn chats(&self) -> Vec<Chat> {
        let state = self.0.borrow();
        let live = state.chats.iter().filter(|chat| chat.confirmed.get() && !chat.ended.get());
        live.map(|inner| Chat { ue: self.clone(), inner: Rc::clone(inner) }).collect()
    }

    /// Everything that was heard over MSRP, in sessions that have ended as well, oldest session
    /// first.
    pub fn heard(&self) -> Vec<Said> {
        self.0.borrow().chats.iter().flat_map(|chat| chat.session.said()).collect()
    }

    /// Reads no MSRP from now on, or goes on.
    pub fn deafen(&self, deaf: bool) {
        if let Some(client) = &self.0.borrow().msrp {
            client.deafen(deaf);
        }
    }
}

impl Chat {
    pub(super) fn new(ue: Ue, inner: Rc<Inner>) -> Self {
        Self { ue, inner }
    }

    /// Says something to the other user, or to the room; what MSRP answers. 481 when the session is
    /// over, 408 when nothing is answered.
    pub async fn say(&self, text: &str) -> u16 {
        let to = self.inner.to.clone();
        self.say_to(&to, text).await
    }

    /// Says something to one participant of a room (RFC 7701 §6.2).
    pub async fn say_to(&self, to: &str, text: &str) -> u16 {
        self.send(&Cpim::text(&self.inner.from, to, text)).await
    }

    /// Sends a wrapped message as it is.
    pub async fn send(&self, cpim: &Cpim) -> u16 {
        self.send_octets("message/cpim", cpim.write().as_bytes()).await
    }

    /// Sends content of any type as it is.
    pub async fn send_octets(&self, content_type: &str, body: &[u8]) -> u16 {
        let Some(client) = self.client() else { return 481 };
        client.send(&self.inner.session, content_type, body).await
    }

    /// Sends the first octets of a message of `total`, of which the rest never comes.
    pub async fn send_part(&self, content_type: &str, part: &[u8], total: usize) -> u16 {
        let Some(client) = self.client() else { return 481 };
        client.send_part(&self.inner.session, content_type, part, total).await
    }

    /// Asks to be called `name` in the room; `None`: no longer (RFC 7701 §7).
    pub async fn nickname(&self, name: Option<&str>) -> u16 {
        let Some(client) = self.client() else { return 481 };
        client.nickname(&self.inner.session, name).await
    }

    /// What was heard, oldest first.
    pub fn said(&self) -> Vec<Said> {
        self.inner.session.said()
    }

    /// The texts that were heard, oldest first.
    pub fn texts(&self) -> Vec<String> {
        self.said().into_iter().map(|said| said.cpim.text).collect()
    }

    /// The REPORTs that came, oldest first.
    pub fn reports(&self) -> Vec<Reported> {
        self.inner.session.reports()
    }

    /// The other end as the dialog names it: URI of the remote target. For a session at a focus
    /// that is the identity of the session, see [`Chat::is_focus`].
    pub fn remote_target(&self) -> String {
        self.inner.dialog.borrow().target().to_owned()
    }

    /// Whether the other end said that it is a focus (RFC 4579 §5.1).
    pub fn is_focus(&self) -> bool {
        self.inner.dialog.borrow().is_focus()
    }

    /// Whom it speaks to when it names nobody.
    pub fn partner(&self) -> &str {
        &self.inner.to
    }

    /// The own URI of MSRP.
    pub fn uri(&self) -> &str {
        &self.inner.session.own
    }

    /// Whether the MSRP connection stands.
    pub fn is_connected(&self) -> bool {
        self.inner.session.is_bound()
    }

    /// Whether a BYE came or went.
    pub fn is_over(&self) -> bool {
        self.inner.ended.get()
    }

    /// Whether the MSRP session has ended or lost its connection.
    pub fn is_disconnected(&self) -> bool {
        self.inner.session.is_over()
    }

    /// Closes the MSRP connection and says nothing over SIP, as a client that failed.
    pub fn disconnect(&self) {
        if let Some(client) = self.client() {
            client.close(&self.inner.session);
        }
    }

    /// Sends a request within the dialog.
    pub async fn request(&self, draft: Draft) -> Answer {
        let outcome = {
            let mut state = self.ue.0.borrow_mut();
            state.within_as(&mut self.inner.dialog.borrow_mut(), &draft)
        };
        answer_of(outcome).await
    }

    /// Offers its description again, with these attributes of the whole session: UPDATE (RFC 3311).
    pub async fn update(&self, attributes: &[&str]) -> Answer {
        let (sdp, contact) = self.ue.0.borrow().describe(&self.inner.session);
        let lines: String = attributes.iter().map(|line| format!("a={line}\r\n")).collect();
        let sdp = sdp.replacen("m=message", &format!("{lines}m=message"), 1);
        let draft = Draft::new(Method::Update, "").header("Contact", &format!("<{contact}>"));
        self.request(draft.body("application/sdp", sdp.as_bytes())).await
    }

    /// Asks the focus to add somebody (RFC 4579 §5.5).
    pub async fn add(&self, who: &str) -> Answer {
        self.request(refer(&format!("<{who}>"))).await
    }

    /// Asks the focus to expel somebody (RFC 4579 §5.11).
    pub async fn expel(&self, who: &str) -> Answer {
        self.request(refer(&format!("<{who};method=BYE>"))).await
    }

    /// Leaves: BYE; the MSRP session ends with it.
    pub async fn leave(&self) -> Answer {
        self.inner.ended.set(true);
        let answer = self.request(Draft::new(Method::Bye, "")).await;
        self.disconnect();
        answer
    }

    fn client(&self) -> Option<Client> {
        self.ue.0.borrow().msrp.clone()
    }
}

fn refer(target: &str) -> Draft {
    Draft::new(Method::Refer, "").header("Refer-To", target)
}

impl fmt::Debug for Chat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chat({} with {})", self.inner.from, self.inner.to)
    }
}

/// An INVITE to a session of messages, as far as the script decides it.
#[derive(Clone, Debug)]
pub struct Invitation {
    pub(super) target: String,
    recipients: Vec<String>,
    more: Vec<(String, String)>,
}

impl Invitation {
    /// To a user, a group, or a session that runs.
    pub fn to(target: &str) -> Self {
        Self { target: target.to_owned(), recipients: Vec::new(), more: Vec::new() }
    }

    /// To a conference factory, which is to invite these (RFC 5366).
    #[must_use]
    pub fn with(mut self, recipients: &[&str]) -> Self {
        self.recipients = recipients.iter().map(|uri| (*uri).to_owned()).collect();
        self
    }

    /// Adds a header field.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.more.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn headers(&self) -> Vec<(String, String)> {
        let mut headers = self.more.clone();
        if !self.recipients.is_empty() {
            headers.push(("Require".to_owned(), "recipient-list-invite".to_owned()));
        }
        headers
    }

    /// The body around a description, and its type.
    pub(super) fn body(&self, sdp: &[u8]) -> (String, Vec<u8>) {
        if self.recipients.is_empty() {
            return ("application/sdp".to_owned(), sdp.to_vec());
        }
        let entry = |uri: &String| format!("<entry uri=\"{uri}\" cp:copyControl=\"to\"/>");
        let entries: String = self.recipients.iter().map(entry).collect();
        let list = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
             <resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\" \
             xmlns:cp=\"urn:ietf:params:xml:ns:copycontrol\"><list>{entries}</list>\
             </resource-lists>\r\n"
        );
        let mut body = b"--lab-boundary\r\nContent-Type: application/sdp\r\n\r\n".to_vec();
        body.extend_from_slice(sdp);
        body.extend_from_slice(
            b"\r\n--lab-boundary\r\nContent-Type: application/resource-lists+xml\r\n\
              Content-Disposition: recipient-list\r\n\r\n",
        );
        body.extend_from_slice(list.as_bytes());
        body.extend_from_slice(b"\r\n--lab-boundary--\r\n");
        ("multipart/mixed;boundary=\"lab-boundary\"".to_owned(), body)
    }
}
