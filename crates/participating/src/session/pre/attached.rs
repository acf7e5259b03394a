//! The dialog that a pre-established session is joined to, in a task of its own.

use parlance_isc::Reply;
use parlance_isc::session::{Body, Event, Inbox, Leg, Offer, Reason};
use parlance_sip::sdp::Sdp;
use parlance_sip::uri::Aor;
use tokio::sync::{mpsc, oneshot};

/// What one dialog has said and was not heard yet, at most; its task waits then. Local limit.
const SAID_MAX: usize = 8;

/// What is said of the attached dialog.
#[derive(Debug)]
pub(super) enum Said {
    /// Our INVITE has this provisional response.
    Provisional(u16, String),
    /// Our INVITE is accepted.
    Accepted {
        /// The answer to our offer.
        answer: Sdp,
        /// Who is there.
        by: Answerer,
        /// Whether it fits; the dialog ends otherwise.
        taken: oneshot::Sender<bool>,
    },
    /// Our INVITE is refused.
    Refused(u16, String),
    /// The other side offers a new description, or asks for ours.
    Offered {
        /// The offer; `None` when it wants ours.
        offer: Option<Sdp>,
        /// Our description; `None`: the session stays as it was.
        answer: oneshot::Sender<Option<Sdp>>,
    },
}

/// Who has accepted an INVITE of ours.
#[derive(Clone, Debug, Default)]
pub(super) struct Answerer {
    /// By every name.
    pub(super) names: Vec<Aor>,
    /// Its `Contact`: for a focus, the identity of the session (RFC 4579 §5.2).
    pub(super) contact: Option<String>,
}

/// The end of the line at the pre-established session. Dropped: the dialog ends.
#[derive(Debug)]
pub(super) struct Line {
    said: mpsc::Receiver<Said>,
    stop: oneshot::Sender<Option<Reason>>,
}

/// The end of the line at the dialog. Dropped: the dialog is over.
#[derive(Debug)]
pub(super) struct Far {
    said: mpsc::Sender<Said>,
    stop: oneshot::Receiver<Option<Reason>>,
}

/// A line with both its ends.
pub(super) fn line() -> (Line, Far) {
    let (said, hears) = mpsc::channel(SAID_MAX);
    let (stop, stopped) = oneshot::channel();
    (Line { said: hears, stop }, Far { said, stop: stopped })
}

impl Line {
    /// What is said next; `None`: the dialog is over. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Said> {
        self.said.recv().await
    }

    /// Ends the dialog.
    pub(super) fn end(self, reason: Option<Reason>) {
        // Without effect when it is over.
        let _ = self.stop.send(reason);
    }
}

impl Far {
    /// Waits until the session lets go of the dialog; why. Not to be called again then.
    pub(super) async fn stopped(&mut self) -> Option<Reason> {
        (&mut self.stop).await.ok().flatten()
    }

    /// Tells how the INVITE gets on. What the session has no time for is not told.
    pub(super) fn progress(&self, status: u16, reason: &str) {
        let _ = self.said.try_send(Said::Provisional(status, reason.to_owned()));
    }

    /// Tells that the INVITE came to nothing.
    pub(super) async fn refused(self, status: u16, reason: &str) {
        // Nobody may want to know any more.
        let _ = self.said.send(Said::Refused(status, reason.to_owned())).await;
    }

    /// The INVITE is accepted: joins the dialog to the session, until either is over.
    pub(super) async fn accepted(
        mut self,
        leg: Leg,
        inbox: Inbox,
        answer: Option<Sdp>,
        by: Answerer,
    ) {
        let taken = match answer {
            Some(answer) => {
                let (taken, told) = oneshot::channel();
                let said = self.said.send(Said::Accepted { answer, by, taken }).await;
                said.is_ok() && told.await == Ok(true)
            }
            None => false,
        };
        if taken {
            return self.stay(leg, inbox).await;
        }
        let stopped = self.stop.try_recv().ok();
        let unfit = || Some(Reason::sip(488, "session description"));
        leg.end(stopped.unwrap_or_else(unfit));
    }

    /// Serves the dialog until it or the session is over.
    pub(super) async fn stay(mut self, leg: Leg, mut inbox: Inbox) {
        loop {
            let event = tokio::select! {
                biased;
                reason = self.stopped() => return leg.end(reason),
                event = inbox.next() => event,
            };
            match event {
                Event::Ended(..) => return,
                Event::Draining => return leg.end(Some(Reason::sip(503, "the server stops"))),
                Event::Offer(_, offer) => self.offered(offer).await,
                // OPTIONS: nothing else is allowed.
                Event::Request(_, incoming) => incoming.reply(&Reply::new(200)),
                Event::Confirmed(_) | Event::Answer(..) => {}
                Event::Joining(_) | Event::Outside(_) => {}
                Event::Notify(..) | Event::Unwatched(_) => {}
            }
        }
    }

    /// A re-INVITE or UPDATE; what the session does not take is answered 488.
    async fn offered(&mut self, offer: Offer) {
        let body = offer.request().body();
        let sdp = match body {
            [] => None,
            octets => match Sdp::parse(octets) {
                Ok(sdp) => Some(sdp),
                Err(_) => return drop(offer),
            },
        };
        let (answer, told) = oneshot::channel();
        if self.said.send(Said::Offered { offer: sdp, answer }).await.is_err() {
            return drop(offer);
        }
        if let Ok(Some(own)) = told.await {
            let response = offer.response(200);
            offer.accept(response, Body::sdp(own.to_string()));
        }
    }
}
