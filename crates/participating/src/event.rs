//! What happens to messages, for whoever must know: charging and lawful interception attach here.

use parlance_isc::{Cause, SessionCase};
use parlance_sip::Request;
use parlance_store::{Millis, UserId};

/// What happened to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It reached the function of this user.
    Received,
    /// It went on; charging starts (OMA-TS-SIMPLE_IM §7.2.2.1).
    Forwarded,
    /// Its sender was answered so, by this server or with what came from downstream.
    Answered(u16),
    /// It was stored for later, and why. The answer follows.
    Deferred(Cause),
    /// The client took a message that had been stored meanwhile.
    DeliveredLate,
    /// No final response came and none was sent.
    Abandoned,
}

/// One event. The request holds everything else: identities, Call-ID, charging vector, body.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// When.
    pub at: Millis,
    /// Whether the user sends or receives.
    pub case: SessionCase,
    /// The served user.
    pub user: &'a UserId,
    /// The message, as it came.
    pub request: &'a Request,
    /// What happened to it.
    pub step: Step,
}

/// Takes events. None is installed by default (OMA-AD-SIMPLE_IM §5.3.2.3.1).
pub trait EventSink {
    /// Notes an event. Must not block: it is called on the thread of the shard.
    fn record(&self, event: &Event<'_>);
}
