//! Sessions, as far as a scenario about a proxy needs them (RFC 3261 §12, §13, §15).

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use rsip::headers::{
    CSeq, CallId, Contact, ContentType, From, MaxForwards, Route, To, UntypedHeader, Via,
};
use rsip::message::HeadersExt;
use rsip::{Header, Method};
use sdp_rs::SessionDescription;

use super::state::{Heard, Outcome, RINGING_MAX, State, answer_of, octets};
use super::{ACCEPT_CONTACT, Answer, Ue};
use crate::transaction::{ClientId, Peer, ServerId};

/// The side of a dialog that was called.
#[derive(Clone, Debug)]
pub(super) struct Leg {
    pub(super) tag: String,
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

/// A dialog, for requests within it.
#[derive(Clone, Debug)]
pub struct Dialog {
    call_id: String,
    local: String,
    remote: String,
    target: String,
    route: Vec<String>,
    cseq: u32,
}

impl Dialog {
    /// The route set: every hop that will see the requests of the dialog.
    pub fn route(&self) -> &[String] {
        &self.route
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
}

/// A call that is not answered yet.
pub struct Ringing {
    ue: Ue,
    outcome: Outcome,
    id: ClientId,
    provisional: Vec<u16>,
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
        let (outcome, id) = self.0.borrow_mut().call(target);
        Ringing { ue: self.clone(), outcome, id, provisional: Vec::new() }
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
        live.map(|(call_id, leg)| Dialog {
            call_id: call_id.clone(),
            local: leg.from.clone(),
            remote: leg.to.clone(),
            target: leg.remote_target.clone(),
            route: leg.route.clone(),
            cseq: leg.cseq,
        })
        .collect()
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
        let Self { ue, id, provisional, outcome } = self;
        let success = response.filter(|response| response.status_code.code() < 300);
        let Some(response) = success else {
            return Call { answer, provisional, description: None, dialog: None };
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
        Call { answer, provisional, description, dialog }
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
    fn call(&mut self, target: &str) -> (Outcome, ClientId) {
        let call_id = format!("{}@{}", self.token(), self.local.ip());
        let tag = self.token();
        let from = format!("<{}>;tag={tag}", self.config.identity);
        let headers = vec![
            MaxForwards::from(70).into(),
            From::new(from).into(),
            To::new(format!("<{target}>")).into(),
            CallId::new(call_id).into(),
            CSeq::new("1 INVITE").into(),
            Contact::new(format!("<{}>;+g.oma.sip-im", self.contact())).into(),
            Header::Other("Accept-Contact".into(), ACCEPT_CONTACT.into()),
            Header::Other("User-Agent".into(), "IM-client/OMA1.0 lab".into()),
            ContentType::new("application/sdp").into(),
        ];
        let body = description(self.local);
        self.launch(Method::Invite, target, headers, &body)
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
        let mut route = record_route(&response.headers);
        route.reverse();
        let dialog = Dialog {
            call_id: invite.call_id_header().ok()?.value().to_owned(),
            local: invite.from_header().ok()?.value().to_owned(),
            remote: response.to_header().ok()?.value().to_owned(),
            target: contact_of(&response.headers),
            route,
            cseq: 1,
        };
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
        dialog.cseq += 1;
        let headers = dialog_headers(dialog, method);
        self.launch(method, &dialog.target.clone(), headers, &Bytes::new()).0
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
        if let Some(leg) = call_id.and_then(|call_id| self.legs.get_mut(&call_id)) {
            leg.ended = true;
        }
        self.respond(place, 200);
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

/// A description of a session of messages (RFC 4975 §8), built with `sdp-rs`.
pub(super) fn description(local: SocketAddr) -> Bytes {
    let ip = local.ip();
    let text = format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
         m=message 2855 TCP/MSRP *\r\na=accept-types:message/cpim\r\n\
         a=path:msrp://{ip}:2855/lab;tcp\r\na=setup:actpass\r\n"
    );
    let described = SessionDescription::try_from(text).map(|description| description.to_string());
    described.map_or_else(|_| Bytes::new(), Bytes::from)
}

#[cfg(test)]
mod tests {
    use sdp_rs::SessionDescription;

    #[test]
    fn a_description_can_be_read_again() {
        let octets = super::description("10.0.0.1:5060".parse().unwrap());
        let text = String::from_utf8(octets.to_vec()).unwrap();
        let description = SessionDescription::try_from(text).unwrap();
        assert_eq!(description.media_descriptions.len(), 1);
    }
}
