//! A session of a user with a service that is hosted here: his own function is told of it by
//! whoever answers, and tells the sink (OMA-AD-SIMPLE_IM §5.3.2.3.1).

use std::rc::Rc;

use parlance_isc::{Cx, Lent, SessionCase};
use parlance_sip::Request;
use parlance_store::UserId;

use super::Seat;
use crate::event::{Ended, Event, EventSink, Step};

/// What the function lends with an INVITE of its user. Dropped, the user has his place back, and a
/// session of which nobody said that it is over has ended in good order.
pub(crate) struct Hosted {
    _seat: Seat,
    told: Option<Told>,
    stands: bool,
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
    pub(crate) fn new(seat: Seat, told: Option<Told>) -> Self {
        Self { _seat: seat, told, stands: false }
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
}

impl Drop for Hosted {
    fn drop(&mut self) {
        self.ended(200);
    }
}
