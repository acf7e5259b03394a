//! One session: a task with a focus, a room, a leg for each participant and its subscriptions
//! (OMA-TS-SIMPLE_IM §7.4.3).
//!
//! | what | where | section |
//! |---|---|---|
//! | how it begins | `begin` | §7.4.3.3, §7.4.3.4, §7.4.3.6 |
//! | who joins, and comes back | `join` | §7.4.3.5, §7.4.3.7 |
//! | whom it calls | `call`, `invitation` | §7.4.4.1 to §7.4.4.3 |
//! | changed descriptions | `modify` | §7.4.3.8, §7.4.4.5 |
//! | whose connection is lost | `reconnect` | §7.4.3.16 |
//! | who comes in place of another | `replace` | §6.1.3.2.4 |
//! | who is added and removed | `refer` | §7.4.3.9, §7.4.3.17, §7.4.4.4 |
//! | who is told | `watch` | §7.4.3.12 |
//! | how it ends | `end` | §7.4.3.10, §7.4.3.11, §7.4.3.16 |
//!
//! **Invariant:** everything a session has (legs, calls, subscriptions, the room) is in its
//! [`Session`] and ends with it.

pub(crate) mod begin;
mod call;
mod end;
mod invitation;
mod join;
mod modify;
mod reconnect;
mod refer;
pub(crate) mod replace;
mod timers;
pub(crate) mod watch;

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use parlance_isc::media::{Heard, Room, RoomEvent, RoomLeg};
use parlance_isc::session::{Address, Event, Inbox, Leg, LegId, LegTerms, WatcherId};
use parlance_isc::{Cx, Local, Permit, Reply};
use parlance_msrp::SessionKey;
use parlance_msrp::negotiate::Terms;
use parlance_msrp::switch::Passed;
use parlance_sip::Method;
use parlance_sip::dialog::DialogId;
use parlance_sip::header::SIP_IM;
use parlance_sip::sdp::Sdp;
use parlance_sip::session_timer;
use parlance_sip::uri::Aor;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::describe::Described;
use crate::focus::{Caller, EndpointId, Focus};
use crate::policy::Policy;
use crate::quota::{SessionPermit, UserPermit};
use crate::refusal::{Refusal, refusal};
use crate::register::{self, Question, Registered};
use crate::role::{Hosted, Present};
use begin::Founder;
use call::{Call, Done};
use end::Ending;
use reconnect::Loss;
use refer::Referral;
use timers::Timers;
use watch::Watching;

/// What may be sent in the dialog of a participant.
const ALLOW: &[Method<'static>] = &[
    Method::Invite,
    Method::Ack,
    Method::Cancel,
    Method::Bye,
    Method::Prack,
    Method::Update,
    Method::Options,
    Method::Refer,
    Method::Subscribe,
];

/// A session that runs.
pub(crate) struct Session {
    cx: Cx,
    hosted: Rc<Hosted>,
    focus: Focus,
    /// What it is called by: its own identity first, then that of its group.
    identities: Vec<Aor>,
    inbox: Inbox,
    address: Address,
    room: Room,
    participants: HashMap<EndpointId, Participant>,
    legs: HashMap<LegId, EndpointId>,
    /// Dialogs that are over.
    ended: VecDeque<DialogId>,
    keys: HashMap<SessionKey, EndpointId>,
    /// Those without an MSRP connection, who may get another.
    losses: HashMap<EndpointId, Loss>,
    founder: Option<Founder>,
    /// What takes time: calls, new offers, looking for the group.
    work: FuturesUnordered<Local<'static, Done>>,
    watchers: HashMap<WatcherId, Watching>,
    referrals: HashMap<WatcherId, Referral>,
    timers: Timers,
    ending: Option<Ending>,
    /// `None` once it ends.
    registered: Option<Registered>,
    questions: mpsc::Receiver<Question>,
    _permit: SessionPermit,
}

/// An endpoint with a place in the room.
struct Participant {
    caller: Caller,
    room_leg: RoomLeg,
    /// Whether its MSRP is over TLS.
    secure: bool,
    stage: Stage,
    /// Counts somebody who called.
    _permit: Option<UserPermit>,
    /// What his participating function lent: his place in the count of his sessions.
    lent: Permit,
    /// Counts somebody who is in.
    _present: Option<Present>,
}

/// How far an endpoint is.
enum Stage {
    /// He is called.
    Calling(Box<Call>),
    /// He is in, or is the founder.
    In(Box<Inside>),
}

/// An endpoint with a description, and with a dialog once the founder is answered.
struct Inside {
    /// `None` before that, and while a new offer of ours is under way, which has it.
    leg: Option<Leg>,
    /// The dialog, once there is one.
    dialog: Option<DialogId>,
    description: Description,
}

/// What both sides have said of a session.
enum Description {
    /// All of it.
    Agreed(Box<Described>),
    /// Our offer is in the 2xx, the answer will be in the ACK; and what was agreed before.
    Offered { own: Sdp, terms: Box<Terms>, before: Option<Box<Described>> },
}

impl Description {
    /// Our side.
    fn own(&self) -> &Sdp {
        match self {
            Self::Agreed(described) => &described.own,
            Self::Offered { own, .. } => own,
        }
    }
}

/// What a session waits for.
enum Input {
    Event(Event),
    Room(RoomEvent),
    Done(Done),
    /// The operator wants to know who takes part.
    Asked(Question),
    /// The founder's INVITE is lost.
    Lost,
    Time,
}

impl Session {
    /// Runs until it ends.
    pub(crate) async fn run(mut self) {
        self.settle();
        while self.ending.is_none() {
            let input = self.next_input().await;
            self.focus.at(self.cx.now());
            self.handle(input).await;
            self.settle();
        }
        self.finish().await;
    }

    async fn next_input(&mut self) -> Input {
        let at = self.timers.next();
        let Self { inbox, room, work, founder, questions, .. } = self;
        let time = async {
            match at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = inbox.next() => Input::Event(event),
            event = room.next() => Input::Room(event),
            Some(done) = work.next() => Input::Done(done),
            Some(question) = questions.recv() => Input::Asked(question),
            _ = begin::lost(founder.as_ref()) => Input::Lost,
            () = time => Input::Time,
        }
    }

    async fn handle(&mut self, input: Input) {
        match input {
            Input::Event(event) => self.handle_event(event).await,
            Input::Room(event) => self.handle_room(event),
            Input::Done(Done::Progress(calling, response)) => self.progress(calling, &response),
            Input::Done(Done::Answered(endpoint, leg, response)) => {
                self.answered(endpoint, leg, &response).await;
            }
            Input::Done(Done::Failed(endpoint, failure)) => self.failed(endpoint, failure).await,
            Input::Done(Done::Offered(offered)) => self.offer_answered(*offered).await,
            Input::Done(Done::Group(found)) => self.group_found(found),
            // Nobody may wait any more.
            Input::Asked(question) => drop(question.send(register::participants(&self.focus))),
            Input::Lost => self.founder_lost(),
            Input::Time => self.time_passed().await,
        }
    }

    async fn handle_event(&mut self, event: Event) {
        match event {
            Event::Joining(invite) => self.joining(invite).await,
            Event::Outside(incoming) => self.asked(None, incoming).await,
            Event::Request(leg, incoming) => match self.legs.get(&leg).copied() {
                Some(endpoint) => self.asked(Some(endpoint), incoming).await,
                None => drop(incoming),
            },
            Event::Offer(leg, offer) => self.offered(leg, offer).await,
            Event::Answer(leg, answer) => self.answer_came(leg, &answer).await,
            Event::Confirmed(_) => {}
            Event::Ended(leg, ended) => {
                // What he has said before he left.
                self.hear_room();
                self.leg_ended(leg, &ended);
            }
            Event::Notify(watcher, due) => self.notify(watcher, due),
            Event::Unwatched(watcher) => self.unwatched(watcher),
            Event::Draining => self.end_with(Ending::Draining),
        }
    }

    fn handle_room(&mut self, event: RoomEvent) {
        let endpoint = |session: &Self, key| session.keys.get(&key).copied();
        match event {
            RoomEvent::Connected(key) => {
                if let Some(endpoint) = endpoint(self, key) {
                    self.connected(endpoint);
                }
            }
            RoomEvent::Suspended(key, why) => {
                if let Some(endpoint) = endpoint(self, key) {
                    self.suspended(endpoint, why);
                }
            }
            RoomEvent::Lost(key, _) => {
                if let Some(endpoint) = endpoint(self, key) {
                    self.lost(endpoint, end::MEDIA_LOST);
                }
            }
            RoomEvent::Slow(key) => {
                if let Some(endpoint) = endpoint(self, key) {
                    self.lost(endpoint, end::TOO_SLOW);
                }
            }
            RoomEvent::Passed(passed) => self.passed(&passed),
            RoomEvent::Nickname(key, nickname) => {
                if let Some(endpoint) = endpoint(self, key) {
                    let text = nickname.as_ref().map(ToString::to_string);
                    self.focus.nickname(endpoint, text.as_deref());
                }
            }
        }
    }

    /// Tells what was said to the functions that keep it.
    fn passed(&mut self, passed: &Passed) {
        let Passed { sender, for_sender, recipients, .. } = passed;
        let sender = for_sender.then_some((sender, true)).into_iter();
        for (key, is_sent) in sender.chain(recipients.iter().map(|key| (key, false))) {
            let endpoint = self.keys.get(key);
            let participant = endpoint.and_then(|endpoint| self.participants.get_mut(endpoint));
            if let Some(lent) = participant.and_then(|participant| participant.lent.as_mut()) {
                lent.heard(Heard::in_room(passed, is_sent));
            }
        }
    }

    /// Takes what the room has told by now.
    fn hear_room(&mut self) {
        while let Some(event) = self.room.told() {
            self.handle_room(event);
        }
    }

    fn policy(&self) -> Arc<Policy> {
        Arc::clone(self.focus.policy())
    }

    fn reply(&self, refused: &Refusal) -> Reply {
        self.hosted.meter.refused(refused);
        refusal(refused, self.focus.policy())
    }

    /// The `Contact` of the focus (CF-030, CF-071).
    fn contact(&self) -> String {
        let entity = self.focus.entity();
        let kind = match self.focus.policy().session_type_in_contact {
            true => format!(";session={}", self.focus.kind().as_str()),
            false => String::new(),
        };
        format!("<{entity}{kind}>;isfocus;{SIP_IM}")
    }

    fn terms(&self) -> LegTerms {
        let policy = self.focus.policy();
        LegTerms {
            timer: session_timer::Policy {
                interval: policy.session_expires_s,
                min_se: policy.session_expires_s_min,
                ..session_timer::Policy::default()
            },
            allow: ALLOW,
            ..LegTerms::new(self.contact())
        }
    }

    /// The names of whoever has an endpoint.
    fn names_of(&self, endpoint: EndpointId) -> Vec<Aor> {
        let participant = self.participants.get(&endpoint);
        participant.map(|participant| participant.caller.names()).unwrap_or_default()
    }

    /// What has to follow from what has happened: subscribers are told, and the session may end.
    fn settle(&mut self) {
        self.tell_watchers();
        if let Some(registered) = &mut self.registered {
            registered.changed(&self.focus);
        }
        self.pair_up();
        if self.ending.is_none() {
            self.check_release();
        }
    }

    fn now(&self) -> Instant {
        Instant::now()
    }
}

/// Whose handle cancels a call when it is dropped.
type Cancel = oneshot::Sender<()>;
