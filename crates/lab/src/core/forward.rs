//! How a request and its responses leave the core (RFC 3261 §16.6, §16.7).

use std::net::SocketAddr;

use bytes::BytesMut;
use parlance_sip::header::Route;
use parlance_sip::{
    Edits, HeaderName, Method, Request, RequestBuilder, Response, ResponseBuilder, Transport,
};

use super::proxy::{Branch, Context, Pending, edited};
use super::{Case, Mark, State, Tag};
use crate::transaction::{ClientId, Peer, ServerId};

/// A copy of a request that is to be sent.
struct Outgoing {
    peer: Peer,
    /// The Request-URI it gets; `None`: it keeps the one it has.
    uri: Option<String>,
    /// Changes made for the request of the context.
    edits: Edits,
    skippable: bool,
}

impl State {
    /// Notes where a request really came from (RFC 3581 §4).
    pub(super) fn with_received(&self, peer: Peer, request: Request) -> Request {
        let Some(via) = request.values(HeaderName::Via).next() else { return request };
        let first = parlance_sip::grammar::split_list(via).next().unwrap_or_default();
        let text = String::from_utf8_lossy(first);
        let Some((before, after)) = text.split_once(";rport") else { return request };
        if after.starts_with('=') {
            return request;
        }
        let (ip, port) = (peer.address.ip(), peer.address.port());
        let noted = format!("{};received={ip};rport={port}{after}", before.trim());
        let mut edits = Edits::new();
        edits.set_first_value(&request, HeaderName::Via, noted);
        edited(&request, &edits)
    }

    /// What the P-CSCF adds to a request of a UE.
    pub(super) fn asserted(&mut self, request: &Request, identity: &str) -> Request {
        let icid = self.token();
        let mut edits = Edits::new();
        edits.remove(request, HeaderName::PPreferredIdentity);
        edits.set(request, HeaderName::PAssertedIdentity, format_args!("<{identity}>"));
        let vector = format!("icid-value=\"{icid}\";icid-generated-at={}", self.local.ip());
        edits.set(request, HeaderName::PChargingVector, vector);
        let network = format!("\"visited.{}\"", self.config.domain);
        edits.set(request, HeaderName::PVisitedNetworkId, network);
        edits.set(
            request,
            HeaderName::PAccessNetworkInfo,
            "IEEE-802.11;i-wlan-node-id=000000000000",
        );
        edited(request, &edits)
    }

    /// Sends a request to an application server.
    pub(super) fn send_to_server(
        &mut self,
        number: u64,
        mark: &Mark,
        server: &str,
        skippable: bool,
    ) {
        let Some(peer) = self.peer_of(server) else { return self.refuse(number, 480) };
        let mut edits = Edits::new();
        let Some(context) = self.contexts.get_mut(&number) else { return };
        context.done = Some(mark.priority);
        let (sescase, regstate) = match mark.case {
            Case::Originating => ("orig", "reg"),
            Case::Terminating => ("term", "reg"),
            Case::TerminatingUnregistered => ("term", "unreg"),
        };
        let request = &context.request;
        let hops = format!("<{server};lr>, {}", mark.hop(self.local));
        edits.prepend(request, HeaderName::Route, hops);
        let user = &mark.user;
        let served = format!("<{user}>;sescase={sescase};regstate={regstate}");
        edits.prepend(request, HeaderName::PServedUser, served);
        self.counts.send_to_server += 1;
        let outgoing = Outgoing { peer, uri: None, edits, skippable };
        if let Some(pending) = self.send(number, outgoing)
            && skippable
        {
            self.wait_for_server(&pending);
        }
    }

    /// Sends a request to every contact of the user.
    pub(super) fn send_to_contacts(&mut self, number: u64) {
        let now = tokio::time::Instant::now();
        let Some(context) = self.contexts.get(&number) else { return };
        let user = self.resolved(&context.user);
        let called = context.user.clone();
        let Some(subscriber) = self.subscribers.get(&user) else { return };
        let contacts: Vec<(String, SocketAddr)> = subscriber
            .bindings(now)
            .map(|binding| (binding.uri.clone(), binding.address))
            .collect();
        for (uri, address) in contacts {
            let Some(context) = self.contexts.get(&number) else { return };
            let request = &context.request;
            let mut edits = Edits::new();
            edits.request_uri(&uri);
            edits.remove(request, HeaderName::Route);
            for name in [
                HeaderName::PChargingVector,
                HeaderName::PVisitedNetworkId,
                HeaderName::PAccessNetworkInfo,
            ] {
                edits.remove(request, name);
            }
            edits.append(HeaderName::PCalledPartyId, format_args!("<{called}>"));
            self.counts.delivered += 1;
            let peer = Peer { transport: Transport::Udp, address };
            self.send(number, Outgoing { peer, uri: Some(uri), edits, skippable: false });
        }
    }

    /// Sends a request of a dialog where its route says.
    pub(super) fn in_dialog(&mut self, peer: Peer, server: ServerId, request: Request) {
        let Some(next) = self.next_hop(&request) else {
            let refusal = self.response_to(&request, 404).build();
            return self.answer(peer, &server, 404, refusal);
        };
        let context = Context {
            server,
            peer,
            request,
            case: Case::Originating,
            user: String::new(),
            done: None,
            branches: Vec::new(),
            best: None,
            answered: false,
            cancelled: false,
        };
        let number = self.keep(context);
        let edits = Edits::new();
        self.send(number, Outgoing { peer: next, uri: None, edits, skippable: false });
    }

    /// Where the topmost Route, else the Request-URI, leads.
    fn next_hop(&self, request: &Request) -> Option<Peer> {
        let route = request.list::<Route<'_>>().next().and_then(Result::ok);
        let uri = match route {
            Some(route) => route.uri,
            None => request.uri()?,
        };
        let service = self.is_service(&self.identity(Some(uri)));
        self.peer_of(&if service { self.config.services_at.clone() } else { uri.to_string() })
    }

    /// Starts a branch.
    fn send(&mut self, number: u64, outgoing: Outgoing) -> Option<Pending> {
        let Outgoing { peer, uri, mut edits, skippable } = outgoing;
        let token = self.branch();
        let (local, transport) = (self.local, peer.transport.token());
        let context = self.contexts.get_mut(&number)?;
        let request = &context.request;
        let opens = matches!(request.method(), Method::Invite | Method::Subscribe | Method::Refer);
        if opens && !context.user.is_empty() {
            edits.prepend(request, HeaderName::RecordRoute, format_args!("<sip:{local};lr>"));
        }
        let via = format!("SIP/2.0/{transport} {local};branch={token}");
        edits.prepend(request, HeaderName::Via, via);
        let mut out = BytesMut::new();
        edits.write(request, &mut out);
        let id = ClientId { branch: token, method: request.method().as_str().to_owned() };
        let branch = context.branches.len();
        let same = || String::from_utf8_lossy(context.request.uri_text()).into_owned();
        let uri = uri.unwrap_or_else(same);
        context.branches.push(Branch {
            id: id.clone(),
            peer,
            uri,
            skippable,
            progressed: false,
            done: false,
        });
        self.start(id, peer, out.freeze(), Tag::Branch(number, branch));
        Some(Pending { context: number, branch })
    }

    /// Sends a response back where the request came from.
    pub(super) fn pass_back(&mut self, number: u64, response: &Response) {
        let Some(context) = self.contexts.get(&number) else { return };
        let (server, peer) = (context.server.clone(), context.peer);
        let mut edits = Edits::new();
        edits.remove_values(response, HeaderName::Via, 1);
        let mut out = BytesMut::new();
        edits.write(response, &mut out);
        self.answer(peer, &server, response.status(), out.freeze());
    }

    /// Answers a request itself.
    pub(super) fn refuse(&mut self, number: u64, status: u16) {
        let token = self.token();
        let Some(context) = self.contexts.remove(&number) else { return };
        let refusal = ResponseBuilder::new(&context.request, status, &token).build();
        self.answer(context.peer, &context.server, status, refusal);
    }

    /// Sends the ACK to a final response other than 2xx (RFC 3261 §17.1.1.3).
    pub(super) fn acknowledge(&mut self, number: u64, at: usize, response: &Response) {
        let Some(context) = self.contexts.get(&number) else { return };
        let Some(branch) = context.branches.get(at) else { return };
        let to = response.field(HeaderName::To).unwrap_or_default();
        let Some(ack) = self.like(context, branch, "ACK", to) else { return };
        let id = branch.id.clone();
        self.transactions.acknowledge(&id, ack.bytes());
    }

    /// Cancels every branch that rings; the others when they do.
    pub(super) fn cancel_branches(&mut self, number: u64) {
        let Some(context) = self.contexts.get(&number) else { return };
        let to = context.request.field(HeaderName::To).unwrap_or_default();
        let mut cancels = Vec::new();
        for branch in &context.branches {
            if self.transactions.is_proceeding(&branch.id)
                && let Some(cancel) = self.like(context, branch, "CANCEL", to)
            {
                let id = ClientId { method: "CANCEL".to_owned(), ..branch.id.clone() };
                cancels.push((id, branch.peer, cancel));
            }
        }
        for (id, peer, cancel) in cancels {
            self.start(id, peer, cancel.bytes(), Tag::Cancel);
        }
    }

    /// An ACK or CANCEL for the INVITE sent on `branch` (RFC 3261 §9.1, §17.1.1.3).
    fn like(&self, context: &Context, branch: &Branch, method: &str, to: &[u8]) -> Option<Request> {
        let request = &context.request;
        let number = request.cseq()?.number;
        let (local, transport) = (self.local, branch.peer.transport.token());
        let id = &branch.id.branch;
        let mut out = RequestBuilder::new(method, &branch.uri)
            .header(HeaderName::Via, format_args!("SIP/2.0/{transport} {local};branch={id}"))
            .octets(b"To", to);
        for name in [HeaderName::From, HeaderName::CallId] {
            if let Some(value) = request.field(name) {
                out = out.octets(name.as_str().as_bytes(), value);
            }
        }
        out.header(HeaderName::CSeq, format_args!("{number} {method}"))
            .header(HeaderName::MaxForwards, 70)
            .build(&[])
    }

    /// An ACK: for a refusal of this core, or for a 2xx on its way.
    pub(super) fn acknowledged(&mut self, server: &ServerId, request: &Request) {
        let invite = ServerId { method: "INVITE".to_owned(), ..server.clone() };
        if self.transactions.serves(&invite) {
            return self.transactions.confirm(&invite);
        }
        let mut own = 0;
        for route in request.list::<Route<'_>>().flatten() {
            if !self.is_own(&route.uri) {
                break;
            }
            own += 1;
        }
        let mut edits = Edits::new();
        edits.remove_values(request, HeaderName::Route, own);
        let request = edited(request, &edits);
        let Some(peer) = self.next_hop(&request) else { return };
        let mut edits = Edits::new();
        let (branch, local) = (self.branch(), self.local);
        let transport = peer.transport.token();
        let via = format!("SIP/2.0/{transport} {local};branch={branch}");
        edits.prepend(&request, HeaderName::Via, via);
        let mut out = BytesMut::new();
        edits.write(&request, &mut out);
        let octets = out.freeze();
        self.note(true, peer.address, octets.clone());
        self.transactions.send(peer, octets);
    }
}
