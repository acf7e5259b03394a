//! What happens to messages and sessions, for whoever must know: charging and lawful interception
//! attach here.

use parlance_isc::{Cause, SessionCase};
use parlance_msrp::relay::{PairCounts, PairSide, SideCounts};
use parlance_sip::Request;
use parlance_store::{Millis, UserId};

/// What happened to a message, or to a session.
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
    /// A session stands: its 2xx has gone back.
    Started,
    /// The sides of a session agreed on a new description; of one that is proxied, one was offered.
    Modified,
    /// A session is over.
    Ended(Ended),
}

/// How a session has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Why, as a status code: 200 after a BYE, 408 when it was not refreshed or a side fell silent,
    /// 503 when the media were lost or the server stops.
    pub cause: u16,
    /// What has passed; `None` for a session that was proxied, whose messages do not pass here.
    pub traffic: Option<Traffic>,
}

/// What has passed in a session, as its user sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// What he has sent.
    pub sent: Volume,
    /// What came for him.
    pub received: Volume,
}

/// Messages and their octets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Messages that ended.
    pub messages: u64,
    /// Octets of bodies.
    pub octets: u64,
}

impl Traffic {
    /// What has passed a pair whose user is on `side`.
    pub(crate) fn of(counts: &PairCounts, side: PairSide) -> Self {
        let volume = |side: SideCounts| Volume { messages: side.messages, octets: side.octets };
        let (offerer, answerer) = (volume(counts.offerer), volume(counts.answerer));
        match side {
            PairSide::Offerer => Self { sent: offerer, received: answerer },
            PairSide::Answerer => Self { sent: answerer, received: offerer },
        }
    }
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
    /// The message, or the INVITE of the session, as it came; when a session that is proxied is
    /// modified or ends, the request that does it.
    pub request: &'a Request,
    /// What happened to it.
    pub step: Step,
}

/// Takes events. None is installed by default (OMA-AD-SIMPLE_IM §5.3.2.3.1).
pub trait EventSink {
    /// Notes an event. Must not block: it is called on the thread of the shard.
    fn record(&self, event: &Event<'_>);
}
