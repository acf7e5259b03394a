//! The client transactions of an endpoint (RFC 3261 §17.1).

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use hashbrown::HashMap;

use super::branch::{self, BranchText};
use super::{ACCEPTED, Armed, ClientKey, Drop, Endpoint, Failure, Output, Overload};
use crate::message::{Edits, Message, Request, Response};
use crate::transaction::{InviteClient, NonInviteClient, invite_client, non_invite_client};
use crate::{HeaderName, Method, Target};

/// One client transaction.
#[derive(Debug)]
struct Client {
    /// The random half of the branch; its low half is the key's generation.
    random: u64,
    /// What finds the transaction when an indexed branch does not: the branch chosen by the TU,
    /// or a CANCEL's, which is its INVITE's.
    name: Option<Box<str>>,
    /// A CANCEL of ours: the TU is not told of its fate.
    silent: bool,
    target: Target,
    machine: Machine,
    armed: Option<Instant>,
}

impl Client {
    fn new(random: u64, name: Option<Box<str>>, target: Target) -> Self {
        Self { random, name, silent: false, target, machine: Machine::Gone, armed: None }
    }
}

#[derive(Debug)]
enum Machine {
    Invite(Box<InviteClient>),
    NonInvite(NonInviteClient),
    /// The slot is free.
    Gone,
}

impl Machine {
    /// What `Send` means: the request or its ACK.
    fn take_unsent(&mut self) -> Option<Bytes> {
        match self {
            Self::Invite(machine) => machine.last().cloned(),
            Self::NonInvite(machine) => machine.take_request(),
            Self::Gone => None,
        }
    }

    /// The INVITE that a CANCEL is made of.
    fn invite(&self) -> Option<&Bytes> {
        match self {
            Self::Invite(machine) => machine.last(),
            Self::NonInvite(_) | Self::Gone => None,
        }
    }
}

/// The table of client transactions.
#[derive(Debug)]
pub(super) struct Clients {
    max: usize,
    slots: Vec<Client>,
    free: Vec<u32>,
    /// Transactions whose branch the TU chose.
    named: HashMap<Box<str>, u32, foldhash::fast::RandomState>,
    /// The `Reason` of a CANCEL that waits for the first provisional response.
    reasons: HashMap<u32, String>,
}

impl Clients {
    pub(super) fn new(max: usize) -> Self {
        let named = HashMap::default();
        let (slots, reasons) = (Vec::with_capacity(max), HashMap::new());
        Self { max, slots, free: Vec::new(), named, reasons }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    fn get(&mut self, client: ClientKey) -> Option<&mut Client> {
        let slot = self.slots.get_mut(client.index as usize)?;
        let live = !matches!(slot.machine, Machine::Gone);
        (live && slot.random as u32 == client.generation).then_some(slot)
    }

    /// The slot the next transaction will take.
    fn next_index(&self) -> Result<u32, Overload> {
        if let Some(index) = self.free.last() {
            return Ok(*index);
        }
        let next = self.slots.len();
        if next < self.max { u32::try_from(next).map_err(|_| Overload) } else { Err(Overload) }
    }

    fn insert(&mut self, index: u32, client: Client) -> ClientKey {
        let key = ClientKey { index, generation: client.random as u32 };
        if let Some(name) = &client.name {
            self.named.insert(name.clone(), index);
        }
        self.free.pop_if(|free| *free == index);
        match self.slots.get_mut(index as usize) {
            Some(slot) => *slot = client,
            None => self.slots.push(client),
        }
        key
    }

    fn remove(&mut self, client: ClientKey) {
        let Some(slot) = self.get(client) else { return };
        slot.machine = Machine::Gone;
        if let Some(name) = slot.name.take() {
            self.named.remove(&name);
        }
        self.reasons.remove(&client.index);
        self.free.push(client.index);
    }

    /// The transaction that branch and `CSeq` method name (RFC 3261 §17.1.3).
    fn find(&mut self, branch: &str, method: Method<'_>) -> Option<ClientKey> {
        if method == Method::Cancel {
            return self.find_named(&cancel_name(branch));
        }
        match branch::parse(branch) {
            Some((client, random)) => {
                self.get(client).is_some_and(|slot| slot.random == random).then_some(client)
            }
            None => self.find_named(branch),
        }
    }

    fn find_named(&self, name: &str) -> Option<ClientKey> {
        let index = *self.named.get(name)?;
        let random = self.slots.get(index as usize)?.random;
        Some(ClientKey { index, generation: random as u32 })
    }
}

/// A CANCEL has the branch of its INVITE (RFC 3261 §9.1); no branch has a space.
fn cancel_name(branch: &str) -> Box<str> {
    format!("{branch} CANCEL").into_boxed_str()
}

impl Endpoint {
    /// Sends `request`, changed by `edits`, in a client transaction of its own. Our `Via` is added
    /// to them here (RFC 3261 §8.1.1.7, §16.6 step 8).
    ///
    /// # Errors
    /// [`Overload`] when there are too many transactions; nothing is sent.
    pub fn request(
        &mut self,
        now: Instant,
        request: &Request,
        edits: &mut Edits,
        target: Target,
    ) -> Result<ClientKey, Overload> {
        let index = self.clients.next_index()?;
        let random = self.entropy.next_u64();
        let branch = BranchText::new(self.config.shard, index, random);
        let client = Client::new(random, None, target);
        Ok(self.open_client(now, request, edits, branch.as_str(), (index, client)))
    }

    /// Sends `request` under a branch chosen by the TU, which made it durable before: after a
    /// restart the same branch lets the peer's transaction absorb the repetition.
    ///
    /// The branch must name this shard ([`super::shard_of_branch`]).
    ///
    /// # Errors
    /// [`Overload`] when there are too many transactions, or one has this branch already.
    pub fn request_named(
        &mut self,
        now: Instant,
        request: &Request,
        edits: &mut Edits,
        target: Target,
        branch: &str,
    ) -> Result<ClientKey, Overload> {
        if self.clients.named.contains_key(branch) {
            return Err(Overload);
        }
        let index = self.clients.next_index()?;
        let random = self.entropy.next_u64();
        let name = Some(Box::from(branch));
        let client = Client::new(random, name, target);
        Ok(self.open_client(now, request, edits, branch, (index, client)))
    }

    /// Sends a request that has no transaction: the ACK of a 2xx (RFC 3261 §13.2.2.4), or a CANCEL
    /// whose INVITE is unknown (§16.10). One that was received gets the same branch each time it
    /// comes (§16.11). What is answered to it is dropped (RFC 6026 §7.3).
    pub fn request_stateless(&mut self, request: &Request, mut edits: Edits, target: Target) {
        let passed = self.servers.keys().passed(request, target.listener);
        let random = passed.unwrap_or_else(|| self.entropy.next_u64());
        let branch = BranchText::new(self.config.shard, u32::MAX, random);
        self.add_via(request, &mut edits, target, branch.as_str());
        let bytes = self.write(request, &edits);
        self.outputs.push_back(Output::Transmit { target, bytes, client: None });
    }

    fn add_via(&self, request: &Request, edits: &mut Edits, target: Target, branch: &str) {
        let sent_by = self.config.sent_by.get(usize::from(target.listener.0));
        let sent_by = sent_by.map_or("", String::as_str);
        let transport = target.transport.token();
        let via = ["SIP/2.0/", transport, " ", sent_by, ";branch=", branch];
        edits.prepend_pieces(request, HeaderName::Via, &via);
    }

    fn open_client(
        &mut self,
        now: Instant,
        request: &Request,
        edits: &mut Edits,
        branch: &str,
        (index, mut client): (u32, Client),
    ) -> ClientKey {
        let target = client.target;
        self.add_via(request, edits, target, branch);
        let bytes = self.write(request, edits);
        let timers = &self.config.timers;
        let reliability = target.transport.reliability();
        client.machine = match request.method() {
            Method::Invite => {
                let machine = InviteClient::new(now, timers, reliability, bytes);
                Machine::Invite(Box::new(machine))
            }
            _ => Machine::NonInvite(NonInviteClient::new(now, timers, reliability, bytes)),
        };
        let key = self.clients.insert(index, client);
        self.drain_client(now, key, None);
        key
    }

    /// Cancels an INVITE: now, or when the first provisional response comes (RFC 3261 §9.1), with
    /// this `Reason` (RFC 3326).
    pub fn cancel(&mut self, now: Instant, client: ClientKey, reason: Option<String>) {
        let Some(slot) = self.clients.get(client) else { return };
        if let Machine::Invite(machine) = &mut slot.machine {
            machine.handle_input(now, invite_client::Input::Cancel);
            if let Some(reason) = reason {
                self.clients.reasons.insert(client.index, reason);
            }
        }
        self.drain_client(now, client, None);
    }

    /// The transaction that branch and `CSeq` method name.
    pub(super) fn client(&mut self, branch: &str, method: Method<'_>) -> Option<ClientKey> {
        self.clients.find(branch, method)
    }

    /// A response to `client`; `invite` says that `CSeq` names that method.
    pub(super) fn response(
        &mut self,
        now: Instant,
        client: Option<ClientKey>,
        invite: bool,
        response: Response,
    ) {
        let found = client.and_then(|client| Some((client, self.clients.get(client)?)));
        let Some((client, slot)) = found else {
            return self.outputs.push_back(Output::Dropped(Drop::StrayResponse));
        };
        let status = response.status();
        match &mut slot.machine {
            Machine::Invite(machine) if invite => {
                let ack = (status >= 300 && machine.wants_ack())
                    .then(|| machine.last().and_then(|invite| ack(invite, &response)))
                    .flatten();
                machine.handle_input(now, invite_client::Input::Response { status, ack });
            }
            Machine::NonInvite(machine) if !invite => {
                machine.handle_input(now, non_invite_client::Input::Response { status });
            }
            Machine::Invite(_) | Machine::NonInvite(_) | Machine::Gone => {
                return self.outputs.push_back(Output::Dropped(Drop::StrayResponse));
            }
        }
        self.drain_client(now, client, Some(response));
    }

    pub(super) fn undeliverable(&mut self, now: Instant, client: ClientKey) {
        let Some(slot) = self.clients.get(client) else { return };
        match &mut slot.machine {
            Machine::Invite(machine) => {
                machine.handle_input(now, invite_client::Input::TransportError);
            }
            Machine::NonInvite(machine) => {
                machine.handle_input(now, non_invite_client::Input::TransportError);
            }
            Machine::Gone => {}
        }
        self.drain_client(now, client, None);
    }

    pub(super) fn client_timeout(&mut self, now: Instant, client: ClientKey) {
        let Some(slot) = self.clients.get(client) else { return };
        slot.armed = None;
        match &mut slot.machine {
            Machine::Invite(machine) => machine.handle_input(now, invite_client::Input::Timeout),
            Machine::NonInvite(machine) => {
                machine.handle_input(now, non_invite_client::Input::Timeout);
            }
            Machine::Gone => {}
        }
        self.drain_client(now, client, None);
    }

    /// Does what the machine asks, then sees to its timer. `response` is the one just fed.
    fn drain_client(&mut self, now: Instant, client: ClientKey, mut response: Option<Response>) {
        loop {
            let Some(slot) = self.clients.get(client) else { return };
            let (target, silent) = (slot.target, slot.silent);
            let effect = match &mut slot.machine {
                Machine::Invite(machine) => machine.poll_output().map(Effect::from),
                Machine::NonInvite(machine) => machine.poll_output().map(Effect::from),
                Machine::Gone => return,
            };
            match effect {
                None => break,
                Some(Effect::Send) => {
                    if let Some(bytes) = slot.machine.take_unsent() {
                        let client = Some(client);
                        self.outputs.push_back(Output::Transmit { target, bytes, client });
                    }
                }
                Some(Effect::SendCancel) => {
                    if let Some(invite) = slot.machine.invite().cloned() {
                        let reason = self.clients.reasons.remove(&client.index);
                        self.send_cancel(now, &invite, target, reason);
                    }
                }
                Some(Effect::Deliver | Effect::Failed(_)) if silent => {}
                Some(Effect::Deliver) => {
                    if let Some(response) = response.take() {
                        self.outputs.push_back(Output::Response { client, response });
                    }
                }
                Some(Effect::Failed(failure)) => {
                    self.outputs.push_back(Output::Failed { client, failure });
                }
                Some(Effect::Terminated) => return self.close_client(client),
            }
        }
        self.arm_client(now, client);
    }

    fn close_client(&mut self, client: ClientKey) {
        let slot = self.clients.get(client);
        if slot.is_some_and(|slot| matches!(slot.machine, Machine::Invite(_))) {
            self.outputs.push_back(Output::Ended { client });
        }
        self.clients.remove(client);
    }

    /// Sends the CANCEL of `invite` in a transaction of its own; without room for one it is not
    /// sent, and the INVITE ends by its own timers.
    fn send_cancel(
        &mut self,
        now: Instant,
        invite: &Bytes,
        target: Target,
        reason: Option<String>,
    ) {
        let Some((bytes, branch)) = cancel_of(invite, reason) else { return };
        let Ok(index) = self.clients.next_index() else { return };
        let random = self.entropy.next_u64();
        let mut client = Client::new(random, Some(cancel_name(&branch)), target);
        client.silent = true;
        let reliability = target.transport.reliability();
        let machine = NonInviteClient::new(now, &self.config.timers, reliability, bytes);
        client.machine = Machine::NonInvite(machine);
        let client = self.clients.insert(index, client);
        self.drain_client(now, client, None);
    }

    fn arm_client(&mut self, now: Instant, client: ClientKey) {
        let Some(slot) = self.clients.get(client) else { return };
        let due = match &slot.machine {
            Machine::Invite(machine) => machine.poll_timeout(),
            Machine::NonInvite(machine) => machine.poll_timeout(),
            Machine::Gone => None,
        };
        let Some(due) = due else { return };
        if slot.armed.is_none_or(|armed| due < armed) {
            slot.armed = Some(due);
            self.wheel.arm(now, due, Armed::Client(client));
        }
    }
}

/// Indexes a request of ours that was sent before.
fn sent(bytes: &Bytes) -> Option<Message> {
    Message::parse_datagram(bytes.clone(), &ACCEPTED).ok()
}

/// The ACK of a final response from 300 on (RFC 3261 §17.1.1.3).
fn ack(invite: &Bytes, response: &Response) -> Option<Bytes> {
    let to = response.field(HeaderName::To)?;
    within(&sent(invite)?, "ACK", to, None)
}

/// The CANCEL of an INVITE that was sent as `invite` (RFC 3261 §9.1), and their branch.
fn cancel_of(invite: &Bytes, reason: Option<String>) -> Option<(Bytes, String)> {
    let invite = sent(invite)?;
    let to = invite.field(HeaderName::To)?;
    let branch = invite.top_via()?.branch()?.to_owned();
    Some((within(&invite, "CANCEL", to, reason)?, branch))
}

/// A request in the transaction of `invite`: same Request-URI, top `Via`, Call-ID, From, CSeq
/// number and Route.
fn within(invite: &Message, method: &str, to: &[u8], reason: Option<String>) -> Option<Bytes> {
    let invite = Request::new(invite.clone()).ok()?;
    let via = invite
        .values(HeaderName::Via)
        .next()
        .and_then(|via| crate::grammar::split_list(via).next())?;
    let number = invite.cseq()?.number;
    let mut out = BytesMut::with_capacity(512);
    for part in [method.as_bytes(), b" ", invite.uri_text(), b" SIP/2.0\r\n"] {
        out.extend_from_slice(part);
    }
    let mut line = |name: HeaderName, value: &[u8]| {
        for part in [name.as_str().as_bytes(), b": ", value, b"\r\n"] {
            out.extend_from_slice(part);
        }
    };
    line(HeaderName::Via, via);
    line(HeaderName::MaxForwards, b"70");
    for route in invite.values(HeaderName::Route) {
        line(HeaderName::Route, route);
    }
    line(HeaderName::From, invite.field(HeaderName::From)?);
    line(HeaderName::To, to);
    line(HeaderName::CallId, invite.call_id());
    line(HeaderName::CSeq, format!("{number} {method}").as_bytes());
    if let Some(reason) = reason {
        line(HeaderName::Reason, reason.as_bytes());
    }
    line(HeaderName::ContentLength, b"0");
    out.extend_from_slice(b"\r\n");
    Some(out.freeze())
}

/// What a client machine asks for, of whichever kind it is.
enum Effect {
    Send,
    SendCancel,
    Deliver,
    Failed(Failure),
    Terminated,
}

impl From<invite_client::Output> for Effect {
    fn from(output: invite_client::Output) -> Self {
        use invite_client::Output;
        match output {
            Output::Send | Output::SendAck => Self::Send,
            Output::SendCancel => Self::SendCancel,
            Output::Deliver => Self::Deliver,
            Output::TimedOut => Self::Failed(Failure::Timeout),
            Output::TransportFailed => Self::Failed(Failure::Transport),
            Output::Terminated => Self::Terminated,
        }
    }
}

impl From<non_invite_client::Output> for Effect {
    fn from(output: non_invite_client::Output) -> Self {
        use non_invite_client::Output;
        match output {
            Output::Send => Self::Send,
            Output::Deliver => Self::Deliver,
            Output::TimedOut => Self::Failed(Failure::Timeout),
            Output::TransportFailed => Self::Failed(Failure::Transport),
            Output::Terminated => Self::Terminated,
        }
    }
}
