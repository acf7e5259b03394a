//! What the core does with a request: whose it is, which criteria are still to come, where it goes
//! (TS 24.229 §5.4.3; RFC 3261 §16).

use parlance_isc::ifc::{DefaultHandling, SessionCase, Subject, evaluate};
use parlance_sip::header::{PServedUser, Route};
use parlance_sip::uri::{Aor, Uri};
use parlance_sip::{Edits, HeaderName, Method, Request, Response};
use tokio::time::Instant;

use super::subscriber::same_host;
use super::{Case, Mark, State, Tag};
use crate::transaction::{ClientId, Manner, Matched, Peer, ServerId};

/// A request on its way through the core.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) server: ServerId,
    pub(super) peer: Peer,
    /// The request without the hops of ours that stood on top.
    pub(super) request: Request,
    pub(super) case: Case,
    /// Whom the criteria that run now belong to.
    pub(super) user: String,
    /// The priority of the criterion that matched last.
    pub(super) done: Option<u32>,
    pub(super) branches: Vec<Branch>,
    /// The best final response that is not sent yet.
    pub(super) best: Option<Response>,
    pub(super) answered: bool,
    pub(super) cancelled: bool,
}

/// One copy of it.
#[derive(Debug)]
pub(super) struct Branch {
    pub(super) id: ClientId,
    pub(super) peer: Peer,
    /// The Request-URI it was sent with.
    pub(super) uri: String,
    /// Whether it went to an application server that may be left out.
    pub(super) skippable: bool,
    pub(super) progressed: bool,
    pub(super) done: bool,
}

/// A branch, by name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) context: u64,
    pub(super) branch: usize,
}

/// What comes next for a request.
enum Step {
    Server(Box<Mark>, String, bool),
    Contacts,
    Refuse(u16),
}

impl State {
    pub(super) fn request(&mut self, peer: Peer, server: ServerId, request: Request) {
        match request.method() {
            Method::Ack => return self.acknowledged(&server, &request),
            Method::Cancel => return self.cancel(peer, &server, &request),
            _ => {}
        }
        let request = self.with_received(peer, request);
        let trying = self.response_to(&request, 100).build();
        let manner = Manner { trying: Some(trying), repeats_success: false };
        if !self.transactions.received(server.clone(), peer, manner) {
            return;
        }
        if request.method() == Method::Register {
            return self.register(peer, &server, &request);
        }
        let (request, mark, orig) = self.without_own_hops(request);
        let Some(request) = one_hop_less(request.clone()) else {
            let refusal = self.response_to(&request, 483).build();
            return self.answer(peer, &server, 483, refusal);
        };
        let to_tag = request.field(HeaderName::To).is_some_and(has_tag);
        if to_tag && mark.is_none() {
            return self.in_dialog(peer, server, request);
        }
        self.initial(peer, server, request, mark, orig);
    }

    fn initial(
        &mut self,
        peer: Peer,
        server: ServerId,
        request: Request,
        mark: Option<Mark>,
        orig: bool,
    ) {
        let from_ue = self.subscribers.values().find(|user| user.has_address(peer.address));
        let sender = from_ue.map(|user| user.subscription.identity.clone());
        let target = self.identity(request.uri());
        let (case, user, done, request) = match (mark, sender) {
            (Some(mark), _) => (mark.case, mark.user, Some(mark.priority), request),
            (None, Some(sender)) => {
                let request = self.asserted(&request, &sender);
                (Case::Originating, sender, None, request)
            }
            // From an application server: one of ours, or it is refused.
            (None, None) if !self.is_server(peer) => {
                let refusal = self.response_to(&request, 403).build();
                return self.answer(peer, &server, 403, refusal);
            }
            (None, None) if orig => {
                let user = served(&request).unwrap_or_default();
                (Case::Originating, user, None, request)
            }
            (None, None) => (self.terminating(&target), target, None, request),
        };
        let request = without(&request, HeaderName::PServedUser);
        let context = Context {
            server: server.clone(),
            peer,
            request,
            case,
            user,
            done,
            branches: Vec::new(),
            best: None,
            answered: false,
            cancelled: false,
        };
        let number = self.keep(context);
        self.advance(number);
    }

    /// Keeps a context and returns its number.
    pub(super) fn keep(&mut self, context: Context) -> u64 {
        self.number += 1;
        if context.request.method() == Method::Invite {
            self.invites.insert(context.server.clone(), self.number);
        }
        self.contexts.insert(self.number, context);
        self.number
    }

    /// Does with a request what comes next.
    fn advance(&mut self, number: u64) {
        match self.next_step(number) {
            Step::Server(mark, server, skippable) => {
                self.send_to_server(number, &mark, &server, skippable);
            }
            Step::Contacts => self.send_to_contacts(number),
            Step::Refuse(status) => self.refuse(number, status),
        }
    }

    fn next_step(&mut self, number: u64) -> Step {
        let now = Instant::now();
        loop {
            let Some(context) = self.contexts.get(&number) else { return Step::Refuse(500) };
            if let Some(step) = self.next_server(context) {
                return step;
            }
            if context.case != Case::Originating {
                let user = self.subscribers.get(&self.resolved(&context.user));
                return match user.is_some_and(|user| user.is_registered(now)) {
                    true => Step::Contacts,
                    false => Step::Refuse(480),
                };
            }
            let target = self.identity(context.request.uri());
            if self.is_service(&target) {
                let (priority, handling) = (u32::MAX, 1);
                let mark = Mark { priority, handling, case: Case::Terminating, user: target };
                return Step::Server(Box::new(mark), self.config.services_at.clone(), false);
            }
            if !self.subscribers.contains_key(&self.resolved(&target)) {
                return Step::Refuse(404);
            }
            let case = self.terminating(&target);
            if let Some(context) = self.contexts.get_mut(&number) {
                (context.case, context.user, context.done) = (case, target, None);
            }
        }
    }

    /// The application server whose criterion is the next to match.
    fn next_server(&self, context: &Context) -> Option<Step> {
        self.subscribers.get(&self.resolved(&context.user))?;
        let session_case = match context.case {
            Case::Originating => SessionCase::Originating,
            Case::Terminating => SessionCase::TerminatingRegistered,
            Case::TerminatingUnregistered => SessionCase::TerminatingUnregistered,
        };
        let subject = Subject { request: &context.request, session_case, registration: None };
        let criterion = evaluate(&self.criteria, &subject)
            .into_iter()
            .find(|criterion| context.done.is_none_or(|done| criterion.priority > done))?;
        let server = &criterion.application_server;
        let skippable = server.default_handling == DefaultHandling::SessionContinued;
        let mark = Mark {
            priority: criterion.priority,
            handling: u8::from(!skippable),
            case: context.case,
            user: context.user.clone(),
        };
        Some(Step::Server(Box::new(mark), server.server_name.clone(), skippable))
    }

    pub(super) fn response(&mut self, id: &ClientId, response: &Response) {
        let status = response.status();
        match self.transactions.response(id, status) {
            Matched::Pass(Tag::Branch(context, branch)) => {
                self.branch_answered(context, branch, response);
            }
            Matched::Pass(Tag::ThirdParty(number)) if status >= 200 => {
                if let Some(third) = self.third_party.get_mut(number) {
                    third.status = Some(status);
                    let confirmed = response.field(HeaderName::Expires);
                    third.confirmed =
                        confirmed.map(|text| String::from_utf8_lossy(text).into_owned());
                }
            }
            Matched::Pass(Tag::ThirdParty(_) | Tag::Cancel) | Matched::Again | Matched::Stray => {}
        }
    }

    fn branch_answered(&mut self, number: u64, at: usize, response: &Response) {
        let status = response.status();
        let Some(context) = self.contexts.get_mut(&number) else { return };
        let invite = context.request.method() == Method::Invite;
        let Some(branch) = context.branches.get_mut(at) else { return };
        if status < 200 {
            branch.progressed = true;
            if context.cancelled {
                return self.cancel_branches(number);
            }
            if status > 100 && !context.answered {
                self.pass_back(number, response);
            }
            return;
        }
        let again = std::mem::replace(&mut branch.done, true);
        if invite && status >= 300 {
            self.acknowledge(number, at, response);
        }
        let Some(context) = self.contexts.get_mut(&number) else { return };
        let Some(branch) = context.branches.get(at) else { return };
        if branch.skippable && leaves_out(status) && !context.answered && !context.cancelled {
            self.counts.bypassed += 1;
            return self.advance(number);
        }
        if status < 300 {
            if !context.answered || invite {
                context.answered = true;
                self.pass_back(number, response);
            }
        } else if !again {
            let better = |best: &Response| status / 100 < best.status() / 100;
            if context.best.as_ref().is_none_or(better) {
                context.best = Some(response.clone());
            }
        }
        self.settle(number);
    }

    /// Sends the best response once every branch has one, and forgets the request then.
    fn settle(&mut self, number: u64) {
        let Some(context) = self.contexts.get_mut(&number) else { return };
        if context.branches.iter().any(|branch| !branch.done) {
            return;
        }
        if !context.answered
            && let Some(best) = context.best.take()
        {
            context.answered = true;
            self.pass_back(number, &best);
        }
        // Another 2xx to an INVITE may still come: the context stays for it.
        if self.contexts.get(&number).is_some_and(|it| it.request.method() != Method::Invite) {
            self.contexts.remove(&number);
        }
    }

    /// A branch got no final response in time.
    pub(super) fn timed_out(&mut self, number: u64, at: usize) {
        let Some(context) = self.contexts.get_mut(&number) else { return };
        let Some(branch) = context.branches.get_mut(at) else { return };
        branch.done = true;
        if branch.skippable && !context.answered && !context.cancelled {
            self.counts.bypassed += 1;
            return self.advance(number);
        }
        let invite = context.request.method() == Method::Invite;
        let last = context.branches.iter().all(|branch| branch.done);
        let silent = last && !context.answered && context.best.is_none();
        if silent && (invite || self.config.answers_408) {
            return self.refuse(number, 408);
        }
        self.settle(number);
    }

    /// The application server has said nothing for too long.
    pub(super) fn server_is_silent(&mut self, number: u64, at: usize) {
        let Some(context) = self.contexts.get_mut(&number) else { return };
        let Some(branch) = context.branches.get_mut(at) else { return };
        if branch.done || branch.progressed {
            return;
        }
        let id = branch.id.clone();
        self.transactions.abandon(&id);
        self.timed_out(number, at);
    }

    fn cancel(&mut self, peer: Peer, server: &ServerId, request: &Request) {
        if !self.transactions.received(server.clone(), peer, Manner::default()) {
            return;
        }
        let invite = ServerId { method: "INVITE".to_owned(), ..server.clone() };
        let number = self.invites.get(&invite).copied();
        let status = if number.is_some() { 200 } else { 481 };
        let answer = self.response_to(request, status).build();
        self.answer(peer, server, status, answer);
        let Some(number) = number else { return };
        if let Some(context) = self.contexts.get_mut(&number) {
            context.cancelled = true;
        }
        self.cancel_branches(number);
    }

    /// Whether an identity is that of a service.
    pub(super) fn is_service(&self, identity: &str) -> bool {
        let named = identity.strip_prefix("sip:").and_then(|rest| rest.split_once('@'));
        named.is_some_and(|(user, domain)| {
            domain == self.config.domain
                && self.config.services.iter().any(|prefix| user.starts_with(prefix.as_str()))
        })
    }

    /// The user an address names, canonical; empty when it names nobody.
    pub(super) fn identity(&self, uri: Option<Uri<'_>>) -> String {
        uri.and_then(|uri| Aor::from_uri(&uri))
            .map_or_else(String::new, |aor| aor.as_str().to_owned())
    }

    /// The identity behind an alias.
    pub(super) fn resolved(&self, identity: &str) -> String {
        self.aliases.get(identity).cloned().unwrap_or_else(|| identity.to_owned())
    }

    fn terminating(&self, identity: &str) -> Case {
        let user = self.subscribers.get(&self.resolved(identity));
        match user.is_some_and(|user| user.is_registered(Instant::now())) {
            true => Case::Terminating,
            false => Case::TerminatingUnregistered,
        }
    }

    /// Whether a request comes from an application server of the criteria or of the services.
    fn is_server(&self, peer: Peer) -> bool {
        let servers = self.criteria.iter().map(|one| one.application_server.server_name.as_str());
        servers.chain([self.config.services_at.as_str()]).any(|server| {
            let server = self.peer_of(server);
            server.is_some_and(|server| same_host(peer.address, server.address.ip()))
        })
    }

    /// Whether a URI is the core.
    pub(super) fn is_own(&self, uri: &Uri<'_>) -> bool {
        uri.as_sip().is_some_and(|uri| {
            uri.host.ip() == Some(self.local.ip()) && uri.port.unwrap_or(5060) == self.local.port()
        })
    }

    /// Takes the hops that are the core off the top of the route; what the mark among them said.
    fn without_own_hops(&self, request: Request) -> (Request, Option<Mark>, bool) {
        let (mut own, mut mark, mut orig) = (0, None, false);
        for route in request.list::<Route<'_>>() {
            let Ok(route) = route else { break };
            if !self.is_own(&route.uri) {
                break;
            }
            own += 1;
            if let Some(uri) = route.uri.as_sip() {
                mark = mark.or_else(|| Mark::of(uri));
                orig |= uri.params.has("orig");
            }
        }
        let mut edits = Edits::new();
        edits.remove_values(&request, HeaderName::Route, own);
        (edited(&request, &edits), mark, orig)
    }
}

/// Whether a final status makes a request go on without the server (TS 24.229 §5.4.3.2).
fn leaves_out(status: u16) -> bool {
    status == 408 || (500..600).contains(&status)
}

fn served(request: &Request) -> Option<String> {
    let user = request.header::<PServedUser<'_>>().ok().flatten();
    let uri = user.map(|user| user.address.uri).or_else(|| {
        let asserted = request.list::<parlance_sip::header::PAssertedIdentity<'_>>().next()?;
        asserted.ok().map(|asserted| asserted.uri)
    });
    uri.and_then(|uri| Aor::from_uri(&uri)).map(|aor| aor.as_str().to_owned())
}

fn has_tag(to: &[u8]) -> bool {
    String::from_utf8_lossy(to).contains(";tag=")
}

/// The request with one hop less to go; `None` when it may go no further.
fn one_hop_less(request: Request) -> Option<Request> {
    let left = match request.field(HeaderName::MaxForwards) {
        None => 70,
        Some(text) => std::str::from_utf8(text).ok()?.trim().parse::<u8>().ok()?.checked_sub(1)?,
    };
    let mut edits = Edits::new();
    edits.set(&request, HeaderName::MaxForwards, left);
    Some(edited(&request, &edits))
}

pub(super) fn without(request: &Request, name: HeaderName) -> Request {
    let mut edits = Edits::new();
    edits.remove(request, name);
    edited(request, &edits)
}

/// The request with `edits` made; as it was should that give no message.
pub(super) fn edited(request: &Request, edits: &Edits) -> Request {
    let mut out = bytes::BytesMut::new();
    edits.write(request, &mut out);
    let limits = parlance_sip::message::Limits::default();
    let message = parlance_sip::Message::parse_datagram(out.freeze(), &limits).ok();
    message.and_then(|message| Request::new(message).ok()).unwrap_or_else(|| request.clone())
}
