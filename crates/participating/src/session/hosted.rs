//! What a user has with a service that is hosted here: his own function is told of it by whoever
//! answers, and tells the sink and the history (OMA-AD-SIMPLE_IM §5.3.2.3.1; OMA-TS-SIMPLE_IM
//! §7.2.2.4).

use std::rc::Rc;

use parlance_isc::media::Heard;
use parlance_isc::{Cx, Lent, SessionCase};
use parlance_sip::Request;
use parlance_store::UserId;

use super::Seat;
use super::chronicle::Chronicle;
use crate::event::{Ended, Event, EventSink, Step};

/// What the function lends with an INVITE of its user. Dropped, the user has his place back, and a
/// session of which nobody said that it is over has ended in good order.
pub(crate) struct Hosted {
    _seat: Seat,
    told: Option<Told>,
    chronicle: Option<Chronicle>,
    stands: bool,
}

/// What the function lends with a MESSAGE of a user whose history is active.
pub(crate) struct Posted(pub(crate) Chronicle);

impl Lent for Posted {
    fn answered(&mut self, status: u16) {
        if (200..300).contains(&status) {
            self.0.keep_request();
        }
    }
}

/// Whom to tell, and of whom.
pub(crate) struct Told {
    pub(crate) events: Rc<dyn EventSink>,
    pub(crate) cx: Cx,
    pub(crate) case: SessionCase,
    pub(crate) user: UserId,
    pub(crate) request: Request,
}

impl Hosted {
    pub(crate) fn new(seat: Seat, told: Option<Told>, chronicle: Option<Chronicle>) -> Self {
        Self { _seat: seat, told, chronicle, stands: false }
    }

    fn note(&self, step: Step) {
        if let Some(Told { events, cx, case, user, request }) = &self.told {
            events.record(&Event { at: cx.now(), case: *case, user, request, step });
        }
    }
}

impl Lent for Hosted {
    fn started(&mut self) {
        self.stands = true;
        self.note(Step::Started);
    }

    fn ended(&mut self, cause: u16) {
        if std::mem::take(&mut self.stands) {
            self.note(Step::Ended(Ended { cause, traffic: None }));
        }
    }

    fn listens(&self) -> bool {
        self.chronicle.is_some()
    }

    fn heard(&mut self, heard: Heard) {
        if let Some(chronicle) = &mut self.chronicle {
            chronicle.take(heard);
        }
    }
}

impl Drop for Hosted {
    fn drop(&mut self) {
        self.ended(200);
    }
}
