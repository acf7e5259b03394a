//! What a user has with a service that is hosted here: his own function is told of it by whoever
//! answers, and tells the sink and the history (OMA-AD-SIMPLE_IM §5.3.2.3.1; OMA-TS-SIMPLE_IM
//! §7.2.2.4).

use std::rc::Rc;
use std::sync::Arc;

use parlance_isc::media::{Gate, Heard};
use parlance_isc::{Cx, Lent, SessionCase};
use parlance_msrp::HoldLimits;
use parlance_sip::Request;
use parlance_sip::sdp::Sdp;
use parlance_store::UserId;

use super::Seat;
use super::chronicle::Chronicle;
use super::control::{Asks, Control, Controls};
use crate::event::{Ended, Event, EventSink, Step};

/// What the function lends with an INVITE of its user. Dropped, the user has his place back, and a
/// session of which nobody said that it is over has ended in good order.
pub(crate) struct Hosted {
    _seat: Seat,
    controlled: Controlled,
    told: Option<Told>,
    chronicle: Option<Chronicle>,
    stands: bool,
}

/// Where the session stands among the others of its user, once it may be held.
pub(crate) struct Controlled {
    controls: Arc<Controls>,
    user: UserId,
    limits: HoldLimits,
    control: Option<Control>,
}

impl Controlled {
    pub(crate) fn new(controls: &Arc<Controls>, user: &UserId, limits: HoldLimits) -> Self {
        Self { controls: Arc::clone(controls), user: user.clone(), limits, control: None }
    }
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
    pub(crate) fn new(
        seat: Seat,
        controlled: Controlled,
        told: Option<Told>,
        chronicle: Option<Chronicle>,
    ) -> Self {
        Self { _seat: seat, controlled, told, chronicle, stands: false }
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

    fn gated(&mut self, gate: Gate) {
        let Controlled { controls, user, limits, control } = &mut self.controlled;
        // A core that has no time to hold his messages has none for the session either.
        *control = controls.join(user, gate, *limits).ok();
    }

    fn described(&mut self, his: &Sdp, answer: Option<&mut Sdp>) {
        let asks = Asks::of(his);
        if let Some(control) = &self.controlled.control
            && control.ask(asks).is_ok()
            && let Some(answer) = answer
        {
            asks.tell(answer);
        }
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
