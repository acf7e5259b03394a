//! Calls and their dialogs (RFC 3261 §12, §13, §15).

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use rsip::headers::{
    CSeq, CallId, Contact, ContentType, From, MaxForwards, Route, To, ToTypedHeader, UntypedHeader,
    Via,
};
use rsip::message::HeadersExt;
use rsip::{Header, Method};
use sdp_rs::SessionDescription;

use super::chat::{self, Chat, Invitation};
use super::msrp::{Client, Session, address_of};
use super::sdp::{self, Setup};
use super::state::{Heard, Outcome, RINGING_MAX, State, answer_of, octets};
use super::{ACCEPT_CONTACT, Answer, Draft, Ue};
use crate::transaction::{ClientId, Peer, ServerId};

/// The side of a dialog that was called.
#[derive(Clone, Debug)]
pub(super) struct Leg {
    pub(super) tag: String,
    focus: bool,
    invite: ServerId,
    remote_target: String,
    route: Vec<String>,
    from: String,
    to: String,
    cseq: u32,
    acknowledged: bool,
    ended: bool,
}

impl Leg {
    pub(super) fn called(request: &rsip::Request, tag: String, invite: ServerId) -> Self {
        let local = request.to_header().map(|to| to.value().to_owned()).unwrap_or_default();
        let remote = request.from_header().map(|from| from.value().to_owned());
        Self {
            from: format!("{local};tag={tag}"),
            tag,
            focus: is_focus(&request.headers),
            invite,
            remote_target: contact_of(&request.headers),
            route: record_route(&request.headers),
            to: remote.unwrap_or_default(),
            cseq: 0,
            acknowledged: false,
            ended: false,
        }
    }
}

impl Leg {
    /// Whether a BYE came.
    pub(super) fn is_over(&self) -> bool {
        self.ended
    }

    pub(super) fn dialog(&self, call_id: &str) -> Dialog {
        Dialog {
            call_id: call_id.to_owned(),
            local: self.from.clone(),
            remote: self.to.clone(),
            target: self.remote_target.clone(),
            route: self.route.clone(),
            cseq: self.cseq,
            focus: self.focus,
        }
    }
}

/// A dialog, for requests within it.
#[derive(Clone, Debug)]
pub struct Dialog {
    call_id: String,
    local: String,
    remote: String,
    target: String,
    route: Vec<String>,
    cseq: u32,
    focus: bool,
}

impl Dialog {
    /// The route set: every hop that will see the requests of the dialog.
    pub fn route(&self) -> &[String] {
        &self.route
    }

    /// The Call-ID.
    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    /// The remote target.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Whether the other end is a focus: `isfocus` in its Contact.
    pub fn is_focus(&self) -> bool {
        self.focus
    }

    /// The dialog that a request of ours made with this 2xx.
    pub(super) fn of(request: &rsip::Request, response: &rsip::Response) -> Option<Self> {
        let mut route = record_route(&response.headers);
        route.reverse();
        Some(Self {
            call_id: request.call_id_header().ok()?.value().to_owned(),
            local: request.from_header().ok()?.value().to_owned(),
            remote: response.to_header().ok()?.value().to_owned(),
            target: contact_of(&response.headers),
            route,
            cseq: request.cseq_header().ok()?.typed().ok()?.seq,
            focus: is_focus(&response.headers),
        })
    }
}

/// A call that was answered.
#[derive(Clone, Debug)]
pub struct Call {
    /// The final response.
    pub answer: Answer,
    /// The provisional responses before it, 100 left out.
    pub provisional: Vec<u16>,
    /// The description in a 2xx, as `sdp-rs` reads it.
    pub description: Option<SessionDescription>,
    /// The dialog a 2xx made. The ACK was sent.
    pub dialog: Option<Dialog>,
    /// The session a 2xx made, when the UE speaks MSRP and the answer was one.
    pub chat: Option<Chat>,
}

/// A call that is not answered yet.
pub struct Ringing {
    ue: Ue,
    outcome: Outcome,
    id: ClientId,
    provisional: Vec<u16>,
    session: Option<Rc<Session>>,
}

impl std::fmt::Debug for Ringing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ringing({})", self.id.branch)
    }
}

impl Ue {
    /// Invites `target` to a session of messages (RFC 4975) and waits for the answer.
    pub async fn invite(&self, target: &str) -> Call {
        self.call(target).answered().await
    }

    /// Starts a call.
    pub fn call(&self, target: &str) -> Ringing {
        self.call_as(&Invitation::to(target))
    }

    /// Invites as the script says, and waits for the answer.
    pub async fn invite_as(&self, invitation: Invitation) -> Call {
        self.call_as(&invitation).answered().await
    }

    /// Starts a call as the script says.
    pub fn call_as(&self, invitation: &Invitation) -> Ringing {
        let (outcome, id, session) = self.0.borrow_mut().call(invitation);
        Ringing { ue: self.clone(), outcome, id, provisional: Vec::new(), session }
    }

    /// Sends a request within a dialog.
    pub async fn within(&self, dialog: &mut Dialog, method: Method) -> Answer {
        let outcome = self.0.borrow_mut().within(dialog, method);
        answer_of(outcome).await
    }

    /// The dialogs this UE was called into and that are acknowledged and not ended.
    pub fn sessions(&self) -> Vec<Dialog> {
        let state = self.0.borrow();
        let live = state.legs.iter().filter(|(_, leg)| leg.acknowledged && !leg.ended);
        live.map(|(call_id, leg)| leg.dialog(call_id)).collect()
    }
}

impl Ringing {
    /// Waits until it rings; `false` when it was answered without ringing.
    pub async fn rings(&mut self) -> bool {
        while let Some(heard) = self.outcome.recv().await {
            match heard {
                Heard::Provisional(100) => {}
                Heard::Provisional(status) => {
                    self.provisional.push(status);
                    return true;
                }
                Heard::Final(..) => return false,
            }
        }
        false
    }

    /// Gives up: CANCEL; waits for the final answer of the INVITE.
    pub async fn cancel(self) -> (Answer, Answer) {
        let outcome = self.ue.0.borrow_mut().cancel(&self.id);
        let cancel = answer_of(outcome).await;
        (cancel, self.answered().await.answer)
    }

    /// Waits for the answer, and sends the ACK.
    pub async fn answered(mut self) -> Call {
        loop {
            let heard = tokio::time::timeout(RINGING_MAX, self.outcome.recv()).await;
            match heard {
                Ok(Some(Heard::Provisional(100))) => {}
                Ok(Some(Heard::Provisional(status))) => self.provisional.push(status),
                Ok(Some(Heard::Final(answer, response))) => {
                    return self.finish(answer, response.as_ref());
                }
                Ok(None) | Err(_) => {
                    let outcome = self.ue.0.borrow_mut().cancel(&self.id);
                    let answer = answer_of(outcome).await;
                    return self.finish(answer, None);
                }
            }
        }
    }

    fn finish(self, answer: Answer, response: Option<&rsip::Response>) -> Call {
        let Self { ue, id, provisional, outcome, session } = self;
        let success = response.filter(|response| response.status_code.code() < 300);
        let Some(response) = success else {
            let mut state = ue.0.borrow_mut();
            state.give_up(session.as_ref());
            return Call { answer, provisional, description: None, dialog: None, chat: None };
        };
        let body = String::from_utf8_lossy(&response.body).into_owned();
        let description = SessionDescription::try_from(body).ok();
        let dialog = ue.0.borrow_mut().established(&id, response);
        if let Some((_, ack, peer)) = &dialog {
            tokio::task::spawn_local(acknowledge_again(
                Rc::clone(&ue.0),
                outcome,
                ack.clone(),
                *peer,
            ));
        }
        let dialog = dialog.map(|(dialog, ..)| dialog);
        let chat = dialog.clone().zip(session).and_then(|(dialog, session)| {
            let inner = ue.0.borrow_mut().answered(dialog, session, &id, &response.body)?;
            Some(Chat::new(ue.clone(), inner))
        });
        Call { answer, provisional, description, dialog, chat }
    }
}

/// Each 2xx gets an ACK (RFC 3261 §13.2.2.4).
async fn acknowledge_again(
    state: Rc<RefCell<State>>,
    mut outcome: Outcome,
    ack: Bytes,
    peer: Peer,
) {
    while outcome.recv().await.is_some() {
        state.borrow().transactions.send(peer, ack.clone());
    }
}

impl State {
    fn call(&mut self, invitation: &Invitation) -> (Outcome, ClientId, Option<Rc<Session>>) {
        let call_id = format!("{}@{}", self.token(), self.local.ip());
        let tag = self.token();
        let from = format!("<{}>;tag={tag}", self.config.identity);
        let target = &invitation.target;
        let session = self.msrp.as_ref().map(Client::open);
        let sdp = self.description(session.as_deref(), Setup::ActPass);
        let (content_type, body) = invitation.body(&sdp);
        let mut headers: Vec<Header> = vec![
            MaxForwards::from(70).into(),
            From::new(from).into(),
            To::new(format!("<{target}>")).into(),
            CallId::new(call_id).into(),
            CSeq::new("1 INVITE").into(),
            Contact::new(format!("<{}>;+g.oma.sip-im", self.contact())).into(),
            Header::Other("Accept-Contact".into(), ACCEPT_CONTACT.into()),
            Header::Other("User-Agent".into(), "IM-client/OMA1.0 lab".into()),
            ContentType::new(content_type).into(),
        ];
        let more = invitation.headers().into_iter();
        headers.extend(more.map(|(name, value)| Header::Other(name, value)));
        let (outcome, id) = self.launch(Method::Invite, target, headers, &body.into());
        (outcome, id, session)
    }

    /// The description of a session; without MSRP, of one that nobody can connect to.
    fn description(&self, session: Option<&Session>, setup: Setup) -> Bytes {
        match (&self.msrp, session) {
            (Some(client), Some(session)) => {
                sdp::description(client.address(), &session.own, setup, self.negotiation.cema)
            }
            _ => {
                let address = SocketAddr::new(self.local.ip(), 9);
                let uri = format!("msrp://{address}/lab;tcp");
                sdp::description(address, &uri, setup, false)
            }
        }
    }

    /// The description of a session that stands, and the URI that leads here.
    pub(super) fn describe(&self, session: &Session) -> (String, String) {
        let sdp = self.description(Some(session), Setup::ActPass);
        (String::from_utf8_lossy(&sdp).into_owned(), self.contact().to_string())
    }

    /// A session is not wanted any more.
    fn give_up(&mut self, session: Option<&Rc<Session>>) {
        if let Some((client, session)) = self.msrp.as_ref().zip(session) {
            client.close(session);
        }
    }

    /// A 2xx answered our offer: the session is as both sides described it.
    fn answered(
        &mut self,
        dialog: Dialog,
        session: Rc<Session>,
        id: &ClientId,
        answer: &[u8],
    ) -> Option<Rc<chat::Inner>> {
        let client = self.msrp.clone()?;
        let Some(described) = sdp::read(answer).filter(|described| !described.refused) else {
            client.close(&session);
            return None;
        };
        let connects = described.setup != Some(Setup::Active);
        // Who offered connects there whoever answered (RFC 6714 §4.2).
        let to = target(&described, self.negotiation.cema).filter(|_| connects);
        client.agree(&session, &described.path, to);
        let to = self.sent.get(id)?.request.to_header().ok()?.value().to_owned();
        let to = match dialog.focus {
            true => dialog.target.clone(),
            false => address_in(&to),
        };
        let inner = chat::Inner::new(dialog, session, &self.config.identity, &to);
        inner.confirmed.set(true);
        self.chats.push(Rc::clone(&inner));
        Some(inner)
    }

    /// The answer to the offer of an INVITE that came; the session is made for it, or goes on.
    pub(super) fn answer_offer(&mut self, request: &rsip::Request) -> Bytes {
        let call_id = request.call_id_header().map(|id| id.value().to_owned()).unwrap_or_default();
        let known = self.chats.iter().find(|chat| chat.call_id == call_id);
        let known = known.map(|chat| Rc::clone(&chat.session));
        let kind = super::header(&request.headers, "Content-Type").unwrap_or_default();
        let offer = sdp::read(&sdp::part(&kind, &request.body));
        let (Some(client), Some(offer)) = (self.msrp.clone(), offer) else {
            return self.description(known.as_deref(), Setup::Active);
        };
        let is_known = known.is_some();
        let session = known.unwrap_or_else(|| client.open());
        // Whoever may connect does, unless the script says otherwise: a UE is behind a translator.
        let connects = offer.setup != Some(Setup::Active) && !self.negotiation.waits;
        let to = target(&offer, self.negotiation.cema && offer.cema).filter(|_| connects);
        client.agree(&session, &offer.path, to);
        let setup = if connects { Setup::Active } else { Setup::Passive };
        let answer = self.description(Some(&session), setup);
        if is_known {
            return answer;
        }
        if let Some(leg) = self.legs.get(&call_id) {
            let dialog = leg.dialog(&call_id);
            let to = match dialog.focus {
                true => dialog.target.clone(),
                false => address_in(&dialog.remote),
            };
            let inner = chat::Inner::new(dialog, session, &self.config.identity, &to);
            self.chats.push(inner);
        }
        answer
    }

    fn cancel(&mut self, id: &ClientId) -> Outcome {
        let request = self.sent.get(id).map(|sent| sent.request.clone());
        let (outcome, heard) = tokio::sync::mpsc::unbounded_channel();
        let Some(invite) = request else { return heard };
        let number = invite.cseq_header().map(|cseq| cseq.value().to_owned()).unwrap_or_default();
        let number = number.split(' ').next().unwrap_or("1").to_owned();
        let keep = |header: &&Header| {
            matches!(
                header,
                Header::Via(_)
                    | Header::From(_)
                    | Header::To(_)
                    | Header::CallId(_)
                    | Header::MaxForwards(_)
            )
        };
        let mut headers: Vec<Header> = invite.headers.iter().filter(keep).cloned().collect();
        headers.push(CSeq::new(format!("{number} CANCEL")).into());
        let request = rsip::Request {
            method: Method::Cancel,
            headers: headers.into(),
            body: Vec::new(),
            ..invite
        };
        let octets = octets(&request.clone().into(), &Bytes::new());
        let id = ClientId { method: "CANCEL".to_owned(), ..id.clone() };
        self.remember(id.clone(), outcome, request);
        let core = self.core();
        self.transactions.request(id.clone(), core, octets, id);
        self.wake();
        heard
    }

    /// The dialog a 2xx made, and its ACK, which is sent.
    fn established(
        &mut self,
        id: &ClientId,
        response: &rsip::Response,
    ) -> Option<(Dialog, Bytes, Peer)> {
        let invite = self.sent.get(id)?.request.clone();
        let dialog = Dialog::of(&invite, response)?;
        let mut headers = vec![Via::new(self.fresh_via()).into()];
        headers.extend(dialog_headers(&dialog, Method::Ack));
        let request = rsip::Request {
            method: Method::Ack,
            uri: rsip::Uri::try_from(dialog.target.as_str()).ok()?,
            version: rsip::Version::V2,
            headers: headers.into(),
            body: Vec::new(),
        };
        let ack = octets(&request.into(), &Bytes::new());
        let core = self.core();
        self.transactions.send(core, ack.clone());
        Some((dialog, ack, core))
    }

    fn fresh_via(&mut self) -> String {
        let token = self.token();
        format!("SIP/2.0/UDP {};branch=z9hG4bK{token};rport", self.local)
    }

    fn within(&mut self, dialog: &mut Dialog, method: Method) -> Outcome {
        self.within_as(dialog, &Draft::new(method, ""))
    }

    /// Sends a request within a dialog: method, header fields and body of `draft`.
    pub(super) fn within_as(&mut self, dialog: &mut Dialog, draft: &Draft) -> Outcome {
        dialog.cseq += 1;
        let mut headers = dialog_headers(dialog, draft.method);
        if matches!(draft.method, Method::Subscribe | Method::Refer | Method::Invite) {
            headers.push(Contact::new(format!("<{}>;+g.oma.sip-im", self.contact())).into());
        }
        headers.extend(draft.headers());
        self.launch(draft.method, &dialog.target.clone(), headers, &draft.body).0
    }

    /// The ACK to a refusal (RFC 3261 §17.1.1.3): the Via of the INVITE, the To of the response.
    pub(super) fn acknowledge_refusal(&mut self, id: &ClientId, response: &rsip::Response) {
        let Some(sent) = self.sent.get(id) else { return };
        let mut headers: Vec<Header> = Vec::new();
        for header in sent.request.headers.iter() {
            match header {
                Header::To(_) => {
                    let to = response.to_header().map(|to| to.value().to_owned());
                    headers.push(To::new(to.unwrap_or_default()).into());
                }
                Header::CSeq(cseq) => {
                    headers.push(CSeq::new(cseq.value().replace("INVITE", "ACK")).into());
                }
                Header::Via(_) | Header::From(_) | Header::CallId(_) | Header::MaxForwards(_) => {
                    headers.push(header.clone());
                }
                _ => {}
            }
        }
        let request = rsip::Request {
            method: Method::Ack,
            headers: headers.into(),
            body: Vec::new(),
            ..sent.request.clone()
        };
        let octets = octets(&request.into(), &Bytes::new());
        self.transactions.acknowledge(id, octets);
    }

    /// An ACK: its INVITE needs no more repeating.
    pub(super) fn acknowledged(&mut self, id: &ServerId, request: &rsip::Request) {
        let call_id = request.call_id_header().map(|id| id.value().to_owned()).unwrap_or_default();
        if let Some(leg) = self.legs.get_mut(&call_id) {
            leg.acknowledged = true;
            let invite = leg.invite.clone();
            self.transactions.confirm(&invite);
        }
        for chat in self.chats.iter().filter(|chat| chat.call_id == call_id) {
            chat.confirmed.set(true);
        }
        let invite = ServerId { method: "INVITE".to_owned(), ..id.clone() };
        self.transactions.confirm(&invite);
    }

    /// A CANCEL: 200 to it, 487 to its INVITE.
    pub(super) fn cancelled(&mut self, place: usize) {
        self.respond(place, 200);
        let Some(id) = self.places.get(place).cloned() else { return };
        let invite = ServerId { method: "INVITE".to_owned(), ..id };
        if let Some(place) = self.places.iter().position(|id| *id == invite) {
            self.respond(place, 487);
        }
    }

    /// A BYE.
    pub(super) fn ended(&mut self, place: usize) {
        let call_id = self.received.get(place).and_then(|received| {
            received.request.call_id_header().ok().map(|id| id.value().to_owned())
        });
        let call_id = call_id.unwrap_or_default();
        if let Some(leg) = self.legs.get_mut(&call_id) {
            leg.ended = true;
        }
        let chat = self.chats.iter().find(|chat| chat.call_id == call_id).cloned();
        if let Some(chat) = chat {
            chat.ended.set(true);
            self.give_up(Some(&chat.session));
        }
        self.respond(place, 200);
    }
}

/// Where a session is connected to: what the addresses say, or the path.
fn target(described: &sdp::Described, by_addresses: bool) -> Option<SocketAddr> {
    match by_addresses {
        true => described.shown,
        false => address_of(described.path.split(' ').next()?),
    }
}

fn dialog_headers(dialog: &Dialog, method: Method) -> Vec<Header> {
    let mut headers: Vec<Header> = vec![
        MaxForwards::from(70).into(),
        From::new(dialog.local.clone()).into(),
        To::new(dialog.remote.clone()).into(),
        CallId::new(dialog.call_id.clone()).into(),
        CSeq::new(format!("{} {method}", dialog.cseq)).into(),
    ];
    headers.extend(dialog.route.iter().map(|hop| Route::new(hop.clone()).into()));
    headers
}

/// The hops of Record-Route, in order.
fn record_route(headers: &rsip::Headers) -> Vec<String> {
    let values = headers.iter().filter_map(|header| match header {
        Header::RecordRoute(route) => Some(route.value().to_owned()),
        _ => None,
    });
    values
        .flat_map(|value| value.split(',').map(|hop| hop.trim().to_owned()).collect::<Vec<_>>())
        .collect()
}

/// The URI of Contact.
fn contact_of(headers: &rsip::Headers) -> String {
    let contact = headers.iter().find_map(|header| match header {
        Header::Contact(contact) => Some(contact.value().to_owned()),
        _ => None,
    });
    let contact = contact.unwrap_or_default();
    let inside = contact.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inside.map_or(contact.clone(), |(uri, _)| uri.to_owned())
}

/// Whether Contact says that its URI is a focus (RFC 4579 §5.1).
fn is_focus(headers: &rsip::Headers) -> bool {
    let contact = headers.iter().find_map(|header| match header {
        Header::Contact(contact) => Some(contact.value().to_ascii_lowercase()),
        _ => None,
    });
    contact.is_some_and(|contact| contact.split(';').any(|name| name.trim() == "isfocus"))
}

/// The URI in a header value with or without angle brackets and parameters.
fn address_in(value: &str) -> String {
    let inside = value.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inside.map_or_else(|| value.split(';').next().unwrap_or_default(), |(uri, _)| uri).to_owned()
}
