//! The dialogs of one shard in which the server is a user agent (RFC 3261 §12.2.2).

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use hashbrown::HashMap;
use parlance_sip::dialog::DialogId;
use parlance_sip::endpoint::shard_of_ack;
use parlance_sip::header::{From, To};
use parlance_sip::{HeaderName, Message, Method, Request, Source};
use smallvec::SmallVec;

use super::inbox::Mailbox;
use super::live::Live;
use super::{Event, SessionLimits};
use crate::{Cx, Incoming, Reply, ShardInput, forward};

/// The dialogs of one tag of ours: an INVITE that was forked has several.
type Forks = SmallVec<[Rc<Live>; 1]>;

/// The dialogs and mailboxes of one shard.
#[derive(Default)]
pub(crate) struct Sessions {
    /// By our tag.
    dialogs: RefCell<HashMap<Box<str>, Forks>>,
    count: Cell<usize>,
    serial: Cell<u64>,
    limits: Cell<SessionLimits>,
    mailboxes: RefCell<Vec<Weak<Mailbox>>>,
}

/// There is no room for another dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Sessions {
    pub(crate) fn limits(&self) -> SessionLimits {
        self.limits.get()
    }

    pub(crate) fn limit(&self, limits: SessionLimits) {
        self.limits.set(limits);
    }

    /// How many dialogs there are.
    pub(crate) fn len(&self) -> usize {
        self.count.get()
    }

    /// The next number of a leg or subscription.
    pub(super) fn next(&self) -> u64 {
        let next = self.serial.get() + 1;
        self.serial.set(next);
        next
    }

    pub(super) fn insert(&self, live: &Rc<Live>) -> Result<(), Full> {
        if self.count.get() >= self.limits.get().dialogs_max {
            return Err(Full);
        }
        self.count.set(self.count.get() + 1);
        let mut dialogs = self.dialogs.borrow_mut();
        dialogs.entry(live.name.local_tag.clone()).or_default().push(Rc::clone(live));
        Ok(())
    }

    pub(super) fn remove(&self, live: &Live) {
        let mut dialogs = self.dialogs.borrow_mut();
        let Some(forks) = dialogs.get_mut(&live.name.local_tag) else { return };
        let before = forks.len();
        forks.retain(|fork| fork.id != live.id);
        self.count.set(self.count.get() - (before - forks.len()));
        if forks.is_empty() {
            dialogs.remove(&live.name.local_tag);
        }
    }

    /// Whether a request is in a dialog here.
    pub(crate) fn owns(&self, request: &Request) -> bool {
        self.find(request).is_some()
    }

    pub(super) fn find(&self, request: &Message) -> Option<Rc<Live>> {
        // Most requests are in no dialog: a look at the octets spares them the parser.
        let value = request.field(HeaderName::To)?;
        if self.count.get() == 0 || !value.windows(3).any(|it| it.eq_ignore_ascii_case(b"tag")) {
            return None;
        }
        let to = request.header::<To<'_>>().ok().flatten()?;
        let dialogs = self.dialogs.borrow();
        let forks = dialogs.get(to.tag()?)?;
        let from = request.header::<From<'_>>().ok().flatten()?;
        let remote_tag = from.tag().unwrap_or_default();
        let same = |live: &&Rc<Live>| {
            let DialogId { call_id, remote_tag: theirs, .. } = &live.name;
            **theirs == *remote_tag && call_id.as_bytes() == request.call_id()
        };
        forks.iter().find(same).cloned()
    }

    /// Gives a request to the dialog it is in.
    pub(crate) fn deliver(&self, cx: &Cx, incoming: Incoming) {
        match self.find(incoming.request()) {
            Some(live) => live.handle(cx, incoming),
            None if incoming.request().method() == Method::Ack => incoming.abandon(),
            None => incoming.reply(&Reply::new(481)),
        }
    }

    pub(super) fn opened(&self, mailbox: &Rc<Mailbox>) {
        let mut mailboxes = self.mailboxes.borrow_mut();
        if mailboxes.len() == mailboxes.capacity() {
            mailboxes.retain(|mailbox| mailbox.upgrade().is_some_and(|open| !open.is_closed()));
        }
        mailboxes.push(Rc::downgrade(mailbox));
    }

    /// Tells every session that the server stops.
    pub(crate) fn drain(&self) {
        let open: Vec<_> = self.mailboxes.borrow().iter().filter_map(Weak::upgrade).collect();
        for mailbox in open {
            // One that is closed has ended already.
            let _ = mailbox.give(Event::Draining);
        }
    }
}

/// Takes the ACK of a 2xx of ours; any other goes on as a proxy sends it on.
///
/// One that came by a tag of ours which nobody here has acknowledges the failure of another leg
/// that was relayed: it belongs where its INVITE is.
pub(crate) fn pass_ack(cx: &Cx, source: Source, peer_names: Arc<[String]>, request: &Request) {
    let found = cx.0.sessions.find(request);
    if let Some(live) = found.as_ref().filter(|_| !forward::goes_on(cx, request)) {
        return live.acknowledged(cx, request);
    }
    let shards = &cx.node().shards;
    let home = shard_of_ack(request, shards.len());
    let elsewhere = home.filter(|home| found.is_none() && *home != usize::from(cx.shard()));
    let Some(queue) = elsewhere.and_then(|home| shards.get(home)) else {
        return forward::pass_ack(cx, source, request);
    };
    let message = Ok(request.clone().into_message());
    let at = cx.0.instant();
    // With its queue full the ACK is lost, as it might be on the way: the final response comes
    // again.
    let _ = queue.try_send(ShardInput::Received { at, source, peer_names, message });
}
