//! The ACK of a 2xx to an INVITE of ours (RFC 3261 §13.2.2.4).

use std::cell::RefCell;

use parlance_sip::dialog::Dialog;
use parlance_sip::{HeaderName, ListenerId, Method, Request};

use super::{Body, wording};
use crate::{Cx, NextHop, forward};

/// The ACK of one 2xx. It is sent again with each repetition of the 2xx, which shows that the last
/// one was lost; the client transaction hears repetitions for 64*T1 (Timer M).
pub(super) struct Ack {
    cseq: u32,
    sent: RefCell<Option<(Request, NextHop)>>,
}

impl Ack {
    /// The ACK of an INVITE with this number; not sent yet.
    pub(super) fn new(cseq: u32) -> Self {
        Self { cseq, sent: RefCell::default() }
    }

    /// Sends it for the first time. A second call has no effect.
    pub(super) fn send(
        &self,
        cx: &Cx,
        dialog: &Dialog,
        listener: ListenerId,
        headers: &[(HeaderName, String)],
        body: &Body,
    ) {
        if self.sent.borrow().is_some() {
            return;
        }
        let made = wording::request_within(dialog, Method::Ack, self.cseq, listener);
        let Some((builder, hop)) = made else { return };
        let builder =
            headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, value));
        let Some(request) = wording::finish(builder, body) else { return };
        *self.sent.borrow_mut() = Some((request, hop));
        self.again(cx);
    }

    /// Sends it once more, if it was sent.
    pub(super) fn again(&self, cx: &Cx) {
        let sent = self.sent.borrow().clone();
        if let Some((request, hop)) = sent {
            forward::send_ack(cx, request, hop);
        }
    }
}
