//! The server transactions of an endpoint (RFC 3261 §17.2).

use std::time::Instant;

use bytes::Bytes;
use hashbrown::HashTable;

use super::key::{Key, Keys};
use super::{ACCEPTED, Armed, Endpoint, Output, ServerKey, arrived};
use crate::entropy::Entropy;
use crate::message::{Message, Request, ResponseBuilder};
use crate::transaction::{InviteServer, NonInviteServer, invite_server, non_invite_server};
use crate::{Method, Source, Target};

/// One server transaction.
#[derive(Debug)]
struct Server {
    key: Key,
    generation: u32,
    target: Target,
    machine: Machine,
    /// The request, until it is answered: a 100 may have to be made of it.
    unanswered: Option<Box<Unanswered>>,
    /// When the wheel will call; `None` when it will not.
    armed: Option<Instant>,
}

#[derive(Debug)]
enum Machine {
    // An INVITE is rarer and larger.
    Invite(Box<InviteServer>),
    NonInvite(NonInviteServer),
    /// The slot is free.
    Gone,
}

impl Machine {
    /// What `Send` means: the last response.
    fn last(&self) -> Option<&Bytes> {
        match self {
            Self::Invite(machine) => machine.last(),
            Self::NonInvite(machine) => machine.last(),
            Self::Gone => None,
        }
    }
}

#[derive(Debug)]
struct Unanswered {
    request: Bytes,
    /// When the 100 is due; `None` once a response was sent.
    trying: Option<Instant>,
}

/// The table of server transactions.
#[derive(Debug)]
pub(super) struct Servers {
    keys: Keys,
    index: HashTable<u32>,
    slots: Vec<Server>,
    free: Vec<u32>,
    unanswered: usize,
}

impl Servers {
    pub(super) fn new(max: usize, entropy: &mut dyn Entropy) -> Self {
        Self {
            keys: Keys::new(entropy),
            index: HashTable::with_capacity(max),
            slots: Vec::with_capacity(max),
            free: Vec::new(),
            unanswered: 0,
        }
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    pub(super) fn unanswered(&self) -> usize {
        self.unanswered
    }

    pub(super) fn find(&self, key: Key) -> Option<ServerKey> {
        let same = |index: &u32| self.slot(*index).is_some_and(|server| server.key == key);
        let index = *self.index.find(key as u64, same)?;
        Some(ServerKey { index, generation: self.slot(index)?.generation })
    }

    fn slot(&self, index: u32) -> Option<&Server> {
        self.slots.get(index as usize)
    }

    fn get(&mut self, server: ServerKey) -> Option<&mut Server> {
        let slot = self.slots.get_mut(server.index as usize)?;
        (slot.generation == server.generation).then_some(slot)
    }

    fn insert(&mut self, mut new: Server) -> ServerKey {
        let key = new.key;
        let index = match self.free.pop() {
            Some(index) => index,
            None => u32::try_from(self.slots.len()).unwrap_or(u32::MAX),
        };
        if let Some(slot) = self.slots.get_mut(index as usize) {
            new.generation = slot.generation.wrapping_add(1);
            *slot = new;
        } else {
            self.slots.push(new);
        }
        let slots = &self.slots;
        let hash = |index: &u32| slots.get(*index as usize).map_or(0, |slot| slot.key as u64);
        self.index.insert_unique(key as u64, index, hash);
        self.unanswered += 1;
        ServerKey { index, generation: self.slot(index).map_or(0, |slot| slot.generation) }
    }

    fn remove(&mut self, server: ServerKey) {
        let Some(slot) = self.get(server) else { return };
        let key = slot.key;
        slot.generation = slot.generation.wrapping_add(1);
        slot.machine = Machine::Gone;
        slot.armed = None;
        self.answered(server.index);
        if let Ok(entry) = self.index.find_entry(key as u64, |index| *index == server.index) {
            entry.remove();
        }
        self.free.push(server.index);
    }

    /// Notes that a final response was given.
    fn answered(&mut self, index: u32) {
        let slot = self.slots.get_mut(index as usize);
        if slot.is_some_and(|slot| slot.unanswered.take().is_some()) {
            self.unanswered = self.unanswered.saturating_sub(1);
        }
    }
}

impl Endpoint {
    /// Opens a transaction for a request that matches none. `back` is where its response goes when
    /// the request may stay as it is.
    pub(super) fn open_server(
        &mut self,
        now: Instant,
        key: Key,
        source: Source,
        request: Request,
        back: Option<Target>,
    ) {
        let (request, target) = match back {
            Some(target) => (request, target),
            None => arrived(request, &source),
        };
        let timers = &self.config.timers;
        let reliability = source.transport.reliability();
        let (machine, trying) = match request.method() {
            Method::Invite => (
                Machine::Invite(Box::new(InviteServer::new(timers, reliability))),
                timers.trying_invite(),
            ),
            _ => (
                Machine::NonInvite(NonInviteServer::new(timers, reliability)),
                timers.trying_non_invite(reliability),
            ),
        };
        let trying = now + trying;
        let unanswered = Unanswered { request: request.bytes(), trying: Some(trying) };
        let server = self.servers.insert(Server {
            key,
            generation: 0,
            target,
            machine,
            unanswered: Some(Box::new(unanswered)),
            armed: Some(trying),
        });
        self.wheel.arm(now, trying, Armed::Server(server));
        self.outputs.push_back(Output::Request { server, source, request });
    }

    /// A request that belongs to a transaction: a retransmission or an ACK.
    pub(super) fn handle_again(
        &mut self,
        now: Instant,
        server: ServerKey,
        source: Source,
        request: Request,
    ) {
        let Some(slot) = self.servers.get(server) else { return };
        // A retransmission may come on a new connection; answer where the peer is now.
        slot.target.connection = source.connection.or(slot.target.connection);
        let ack = request.method() == Method::Ack;
        match &mut slot.machine {
            Machine::Invite(machine) => {
                use invite_server::Input;
                machine.handle_input(now, if ack { Input::Ack } else { Input::Retransmit });
            }
            Machine::NonInvite(machine) => {
                machine.handle_input(now, non_invite_server::Input::Retransmit);
            }
            Machine::Gone => {}
        }
        self.drain_server(now, server, ack.then_some((source, request)));
    }

    /// CANCEL (RFC 3261 §9.2): it is answered here when it matches an INVITE.
    pub(super) fn handle_cancel(
        &mut self,
        now: Instant,
        key: Key,
        source: Source,
        cancel: Request,
        back: Option<Target>,
    ) {
        let (via, keys) = (cancel.top_via(), self.servers.keys());
        let invite = keys.server(&cancel, via.as_ref(), Method::Invite, source.listener);
        let Some(invite) = self.servers.find(invite) else {
            return self.open_server(now, key, source, cancel, back);
        };
        self.open_server(now, key, source, cancel.clone(), back);
        let Some(Output::Request { server, request, .. }) = self.outputs.pop_back() else { return };
        let tag = self.tag();
        let bytes = self.finish(ResponseBuilder::new(&request, 200, &tag));
        self.respond(now, server, 200, bytes);
        let answered = self.servers.get(invite).is_none_or(|slot| match &slot.machine {
            Machine::Invite(machine) => machine.is_answered(),
            Machine::NonInvite(_) | Machine::Gone => true,
        });
        if !answered {
            self.outputs.push_back(Output::Cancelled { server: invite, cancel });
        }
    }

    /// Gives a response to a transaction. `bytes` is the whole message, `status` its status code.
    ///
    /// Without effect when the transaction is gone or has a final response already, and for a 1xx
    /// other than 100 to a request that is no INVITE (RFC 4320 §4.1).
    pub fn respond(&mut self, now: Instant, server: ServerKey, status: u16, bytes: Bytes) {
        let Some(slot) = self.servers.get(server) else { return };
        match &mut slot.machine {
            Machine::Invite(machine) => {
                machine.handle_input(now, invite_server::Input::Respond { status, bytes });
            }
            Machine::NonInvite(_) if (101..200).contains(&status) => return,
            Machine::NonInvite(machine) => {
                machine.handle_input(now, non_invite_server::Input::Respond { status, bytes });
            }
            Machine::Gone => {}
        }
        if status >= 200 {
            self.servers.answered(server.index);
        } else if let Some(unanswered) = slot.unanswered.as_mut() {
            unanswered.trying = None;
        }
        self.drain_server(now, server, None);
    }

    /// Ends a transaction without a final response: the only way out when a 408 would be due to
    /// a request that is no INVITE (RFC 4320 §4.2).
    pub fn abandon(&mut self, now: Instant, server: ServerKey) {
        let Some(slot) = self.servers.get(server) else { return };
        if let Machine::NonInvite(machine) = &mut slot.machine {
            machine.handle_input(now, non_invite_server::Input::Abandon);
        }
        self.servers.answered(server.index);
        self.drain_server(now, server, None);
    }

    pub(super) fn server_timeout(&mut self, now: Instant, server: ServerKey) {
        let Some(slot) = self.servers.get(server) else { return };
        slot.armed = None;
        let trying = slot.unanswered.as_mut().and_then(|unanswered| {
            unanswered.trying.take_if(|trying| *trying <= now).map(|_| unanswered.request.clone())
        });
        match &mut slot.machine {
            Machine::Invite(machine) => machine.handle_input(now, invite_server::Input::Timeout),
            Machine::NonInvite(machine) => {
                machine.handle_input(now, non_invite_server::Input::Timeout);
            }
            Machine::Gone => {}
        }
        self.drain_server(now, server, None);
        if let Some(request) = trying {
            self.send_trying(now, server, request);
        }
    }

    fn send_trying(&mut self, now: Instant, server: ServerKey, request: Bytes) {
        if let Ok(request) = Message::parse_datagram(request, &ACCEPTED) {
            let bytes = ResponseBuilder::new(&request, 100, "").build();
            self.respond(now, server, 100, bytes);
        }
    }

    /// Does what the machine asks, then sees to its timer. `ack` is the ACK just fed.
    fn drain_server(
        &mut self,
        now: Instant,
        server: ServerKey,
        mut ack: Option<(Source, Request)>,
    ) {
        loop {
            let Some(slot) = self.servers.get(server) else { return };
            let effect = match &mut slot.machine {
                Machine::Invite(machine) => machine.poll_output().map(Effect::from),
                Machine::NonInvite(machine) => machine.poll_output().map(Effect::from),
                Machine::Gone => return,
            };
            let target = slot.target;
            match effect {
                None => break,
                Some(Effect::Send) => {
                    if let Some(bytes) = slot.machine.last().cloned() {
                        self.outputs.push_back(Output::Transmit { target, bytes, client: None });
                    }
                }
                Some(Effect::DeliverAck) => {
                    if let Some((source, request)) = ack.take() {
                        self.outputs.push_back(Output::Ack { source, request });
                    }
                }
                Some(Effect::Unacknowledged) => {
                    self.outputs.push_back(Output::Unacknowledged { server });
                }
                Some(Effect::Terminated) => {
                    if matches!(slot.machine, Machine::Invite(_)) {
                        self.outputs.push_back(Output::Closed { server });
                    }
                    return self.servers.remove(server);
                }
            }
        }
        self.arm_server(now, server);
    }

    fn arm_server(&mut self, now: Instant, server: ServerKey) {
        let Some(slot) = self.servers.get(server) else { return };
        let machine = match &slot.machine {
            Machine::Invite(machine) => machine.poll_timeout(),
            Machine::NonInvite(machine) => machine.poll_timeout(),
            Machine::Gone => None,
        };
        let trying = slot.unanswered.as_ref().and_then(|unanswered| unanswered.trying);
        let Some(due) = [machine, trying].into_iter().flatten().min() else { return };
        if slot.armed.is_none_or(|armed| due < armed) {
            slot.armed = Some(due);
            self.wheel.arm(now, due, Armed::Server(server));
        }
    }
}

/// What a server machine asks for, of whichever kind it is.
enum Effect {
    Send,
    DeliverAck,
    Unacknowledged,
    Terminated,
}

impl From<invite_server::Output> for Effect {
    fn from(output: invite_server::Output) -> Self {
        use invite_server::Output;
        match output {
            Output::Send => Self::Send,
            Output::DeliverAck => Self::DeliverAck,
            Output::TimedOut | Output::TransportFailed => Self::Unacknowledged,
            Output::Terminated => Self::Terminated,
        }
    }
}

impl From<non_invite_server::Output> for Effect {
    fn from(output: non_invite_server::Output) -> Self {
        use non_invite_server::Output;
        match output {
            Output::Send => Self::Send,
            Output::TransportFailed => Self::Unacknowledged,
            Output::Terminated => Self::Terminated,
        }
    }
}
