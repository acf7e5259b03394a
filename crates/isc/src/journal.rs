//! What was decided about which request, for an operator who asks afterwards.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;

use parlance_sip::header::SessionCase;
use parlance_sip::{Method, Request, Source};
use parlance_store::{Millis, UserId};

use crate::Private;
use crate::decision::{Decision, Function, Reason};

/// Octets of a Call-ID the journal keeps; local limit. A longer one is found by its beginning.
pub const CALL_ID_OCTETS_MAX: usize = 96;

/// What the text of a new entry has room for: with it, one that is written over does not grow.
const CALL_ID_OCTETS_USUAL: usize = 64;

/// One decision, as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// When it was made.
    pub at: Millis,
    /// The Call-ID, cut at [`CALL_ID_OCTETS_MAX`].
    pub call_id: String,
    /// The method; `other` for one the server does not implement.
    pub method: &'static str,
    /// Where the request came from.
    pub remote: SocketAddr,
    /// On which side the served user stood.
    pub case: SessionCase,
    /// The served user, if one was found.
    pub user: Option<Private<UserId>>,
    /// Who served the request.
    pub served_by: &'static str,
    /// Why.
    pub reason: Reason,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.case {
            SessionCase::Originating => "originating",
            SessionCase::Terminating => "terminating",
        };
        write!(f, "{} {} from {}, {side}", self.call_id, self.method, self.remote)?;
        if let Some(user) = &self.user {
            write!(f, " for {user}")?;
        }
        write!(f, ": {}, because {}", self.served_by, self.reason)
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({self})")
    }
}

/// The last decisions of a shard, oldest first. Full, it forgets the oldest.
#[derive(Debug)]
pub struct Journal {
    entries: VecDeque<Entry>,
    entries_max: usize,
}

impl Journal {
    /// A journal of at most `entries_max` decisions; default of the server 16,384 a shard, some
    /// 3 MB. With 0 nothing is kept.
    pub fn new(entries_max: usize) -> Self {
        Self { entries: VecDeque::new(), entries_max }
    }

    /// Writes down a decision.
    pub fn record(&mut self, at: Millis, source: &Source, request: &Request, decision: &Decision) {
        if self.entries_max == 0 {
            return;
        }
        // The oldest entry's text is written over, so that a full journal allocates nothing.
        let spare = (self.entries.len() >= self.entries_max).then(|| self.entries.pop_front());
        let mut call_id = spare
            .flatten()
            .map_or_else(|| String::with_capacity(CALL_ID_OCTETS_USUAL), |entry| entry.call_id);
        call_id.clear();
        call_id.push_str(&String::from_utf8_lossy(beginning(request.call_id())));
        self.entries.push_back(Entry {
            at,
            call_id,
            method: method(request.method()),
            remote: source.remote,
            case: decision.case(),
            user: decision.user.clone().map(Private),
            served_by: served_by(&decision.role),
            reason: decision.reason,
        });
    }

    /// The decisions about requests with this Call-ID, oldest first. One request may be there
    /// twice: it passes on its way out and on its way in.
    pub fn of_call(&self, call_id: &str) -> impl Iterator<Item = &Entry> {
        let wanted = String::from_utf8_lossy(beginning(call_id.as_bytes())).into_owned();
        self.entries.iter().filter(move |entry| entry.call_id == wanted)
    }

    /// The last decisions, newest first.
    pub fn latest(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().rev()
    }
}

fn beginning(call_id: &[u8]) -> &[u8] {
    call_id.get(..CALL_ID_OCTETS_MAX).unwrap_or(call_id)
}

fn method(method: Method<'_>) -> &'static str {
    match method {
        Method::Invite => "INVITE",
        Method::Ack => "ACK",
        Method::Bye => "BYE",
        Method::Cancel => "CANCEL",
        Method::Options => "OPTIONS",
        Method::Register => "REGISTER",
        Method::Message => "MESSAGE",
        Method::Subscribe => "SUBSCRIBE",
        Method::Notify => "NOTIFY",
        Method::Publish => "PUBLISH",
        Method::Refer => "REFER",
        Method::Update => "UPDATE",
        Method::Prack => "PRACK",
        Method::Info => "INFO",
        Method::Other(_) => "other",
    }
}

fn served_by(function: &Function) -> &'static str {
    match function {
        Function::Participating(_) => "served by the participating function",
        Function::Controlling(_) => "served by the controlling function",
        Function::Deferred => "served by the deferred function",
        Function::History => "served by the conversation history",
        Function::Registration => "taken as a registration",
        Function::Session => "given to its session",
        Function::Server => "answered by the server",
        Function::PassThrough => "passed on",
        Function::Refused(_) => "refused",
        Function::Dropped => "dropped",
    }
}

#[cfg(test)]
mod tests {
    use parlance_sip::{ListenerId, Source, Transport};
    use parlance_store::{Millis, Store};

    use super::{CALL_ID_OCTETS_MAX, Journal};
    use crate::decision::{Context, Decider, DecisionPolicy};
    use crate::fixture::{capture, request, services};
    use crate::mark::Marks;
    use crate::trust::Trust;

    fn decider() -> Decider {
        let store = Store::memory();
        Decider {
            trust: Trust::new(Vec::new(), true).unwrap(),
            services: services(),
            marks: Marks::new([0; 32]),
            filter: Vec::new(),
            policy: DecisionPolicy::default(),
            profiles: store.profiles,
            registrations: store.registrations,
        }
    }

    fn source(listener: u16) -> Source {
        Source {
            transport: Transport::Udp,
            remote: "127.0.0.13:6060".parse().unwrap(),
            listener: ListenerId(listener),
            connection: None,
            verified: false,
        }
    }

    // Covers: SEC-020
    #[tokio::test]
    async fn an_operator_learns_what_was_decided_and_why() {
        let decider = decider();
        let mut journal = Journal::new(10);
        for (at, (name, listener)) in [("orig_MESSAGE", 0), ("term_MESSAGE", 1)].iter().enumerate()
        {
            let (request, source) = (capture(name), source(*listener));
            let now = Millis(at as u64);
            let context = Context::default();
            let decision = decider.decide(&request, &source, &[], context, now).await;
            journal.record(now, &source, &request, &decision);
        }
        let lines: Vec<_> =
            journal.of_call("1-3248@127.0.0.41").map(|entry| entry.to_string()).collect();
        assert_eq!(
            lines,
            [
                "1-3248@127.0.0.41 MESSAGE from 127.0.0.13:6060, originating for …: served by the \
                 participating function, because its sender is a served user",
                "1-3248@127.0.0.41 MESSAGE from 127.0.0.13:6060, terminating for …: served by the \
                 participating function, because it goes to a served user",
            ]
        );
        assert!(!format!("{journal:?}").contains("alice"));
        assert_eq!(journal.of_call("1-9@x").count(), 0);
    }

    #[tokio::test]
    async fn the_journal_is_bounded() {
        let decider = decider();
        let mut journal = Journal::new(3);
        let mut nothing = Journal::new(0);
        let long = "x".repeat(CALL_ID_OCTETS_MAX + 10);
        for call_id in ["a", "b", "c", "d", &long] {
            let text = format!("OPTIONS sip:b@ims.test SIP/2.0\r\nCall-ID: {call_id}\r\n\r\n");
            let request = request(&text);
            let context = Context::default();
            let decision = decider.decide(&request, &source(0), &[], context, Millis(0)).await;
            journal.record(Millis(0), &source(0), &request, &decision);
            nothing.record(Millis(0), &source(0), &request, &decision);
        }
        let kept: Vec<_> = journal.latest().map(|entry| entry.call_id.len()).collect();
        assert_eq!(kept, [CALL_ID_OCTETS_MAX, 1, 1]);
        assert_eq!(journal.of_call("b").count(), 0);
        assert_eq!(journal.of_call("c").count(), 1);
        assert_eq!(journal.of_call(&long).count(), 1);
        assert_eq!(nothing.latest().count(), 0);
    }
}
