//! One user's subscription to his `reg` event, from his REGISTER to the end of his registration.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parlance_content::reginfo::{Applied, RegInfo};
use parlance_sip::dialog::Dialog;
use parlance_sip::subscription::Subscriber;
use parlance_sip::subscription::subscriber::{Again, Input, Output};
use parlance_store::{Registration, UserId};
use tokio::sync::mpsc;

use super::message::{self, Name, Notified, Subject};
use super::{Event, RegEvent};
use crate::forward::{Outcome, send_beside};
use crate::registration::{Ended, Notification, RegistrationEvent, Verdict, verdict};
use crate::shard::sleep_until;
use crate::{Cx, Incoming, Reply};

/// The shortest time between two subscriptions for one user. Local limit, as long as Timer N: a
/// notifier that ends each at once is not asked more often (RFC 6665 §4.1.3 sets none).
const PAUSE: Duration = Duration::from_secs(32);

/// The shortest time between two requests for the whole state. Local limit: a notifier that never
/// sends it is not asked more often.
const FULL_STATE_PAUSE: Duration = Duration::from_secs(32);

/// The user's registration, followed through one subscription after another.
pub(super) struct Following {
    reg_event: Rc<RegEvent>,
    cx: Cx,
    user: UserId,
    registration: Arc<Registration>,
    mailbox: mpsc::Sender<Event>,
    serial: u64,
}

impl Following {
    pub(super) fn new(
        reg_event: &Rc<RegEvent>,
        cx: &Cx,
        user: UserId,
        registration: Arc<Registration>,
        mailbox: mpsc::Sender<Event>,
        serial: u64,
    ) -> Self {
        let (reg_event, cx) = (Rc::clone(reg_event), cx.clone());
        Self { reg_event, cx, user, registration, mailbox, serial }
    }

    pub(super) async fn run(self, mut events: mpsc::Receiver<Event>) {
        loop {
            let began = tokio::time::Instant::now();
            let name = Name::new(&self.cx);
            self.reg_event.open(&name, &self.mailbox);
            let end = Subscription::new(&self, name.clone()).run(&mut events).await;
            self.reg_event.close(&name);
            let wait = match end {
                Again::Never => break,
                Again::Now => Duration::ZERO,
                Again::After(wait) => wait,
            };
            let next = (began + PAUSE).max(tokio::time::Instant::now() + wait);
            if tokio::time::timeout_at(next, stopped(&mut events)).await.is_ok()
                || !Box::pin(self.is_current()).await
            {
                break;
            }
        }
        self.reg_event.forget(&self.user, self.serial);
    }

    /// Whether the registration that is followed is still there. While the store cannot say, it is.
    async fn is_current(&self) -> bool {
        let rules = (self.reg_event.rules)();
        let id = self.registration.id;
        match rules.registrar.current(&self.user, id, self.cx.now()).await {
            Ok(found) => found.is_some(),
            Err(error) => {
                tracing::warn!(%error, "a registration could not be looked up");
                true
            }
        }
    }

    /// Does what the registration state asks for; whether the registration is over.
    async fn judge(&self, shown: &RegInfo, told_params: bool, cseq: u32, call_id: &str) -> bool {
        let rules = (self.reg_event.rules)();
        let (registrar, now) = (&rules.registrar, self.cx.now());
        let id = self.registration.id;
        let known = match registrar.current(&self.user, id, now).await {
            Ok(Some(known)) => known,
            Ok(None) => return true,
            Err(error) => {
                tracing::error!(%error, "a notification of the reg event was lost");
                return false;
            }
        };
        let notification = Notification { call_id, cseq };
        let (over, done) = match verdict(shown, told_params, &known) {
            Verdict::Unchanged => return false,
            Verdict::Gone => {
                (true, registrar.end_notified(&self.user, id, Ended::Notified, now).await)
            }
            Verdict::TagLost(left) => {
                (true, registrar.lose_tag(&known, left, notification, now).await)
            }
            Verdict::Contacts(contacts) => {
                (false, registrar.show_contacts(&known, contacts, notification, now).await)
            }
        };
        match done {
            Ok(event) => event.iter().for_each(|event| self.tell(event)),
            Err(error) => {
                tracing::error!(%error, "a notification of the reg event was lost");
                return false;
            }
        }
        over
    }

    fn tell(&self, event: &RegistrationEvent) {
        self.reg_event.events.handle_registration(&self.cx, event);
    }
}

/// Waits until the subscription is not wanted. What else comes is for a dialog that is over.
async fn stopped(events: &mut mpsc::Receiver<Event>) {
    while let Some(event) = events.recv().await {
        match event {
            Event::Stop => return,
            Event::Request(incoming) => incoming.reply(&Reply::new(481)),
        }
    }
}

type Sent = Pin<Box<dyn Future<Output = Outcome>>>;

/// One subscription: one dialog, once the notifier has made it.
struct Subscription<'a> {
    following: &'a Following,
    name: Name,
    machine: Subscriber,
    /// Our last number before there is a dialog.
    cseq: u32,
    dialog: Option<Dialog>,
    /// The SUBSCRIBE that waits for its answer.
    sent: Option<Sent>,
    shown: RegInfo,
    /// Whether the notifier tells parameters of contacts.
    told_params: bool,
    /// When to ask for the whole state, if it is missing.
    full_state_at: Option<Instant>,
    /// Not before this.
    full_state_after: Option<Instant>,
}

impl<'a> Subscription<'a> {
    fn new(following: &'a Following, name: Name) -> Self {
        let timers = following.cx.0.endpoint.borrow().config().timers;
        let expires = following.reg_event.policy.expires;
        Self {
            following,
            name,
            machine: Subscriber::new(following.cx.0.instant(), &timers, expires),
            cseq: 0,
            dialog: None,
            sent: None,
            shown: RegInfo::new(),
            told_params: false,
            full_state_at: None,
            full_state_after: None,
        }
    }

    /// Runs to the end of the subscription; whether to subscribe anew.
    async fn run(mut self, events: &mut mpsc::Receiver<Event>) -> Again {
        loop {
            if let Some(end) = self.drain().await {
                return end;
            }
            let due = [self.machine.poll_timeout(), self.full_state_at].into_iter().flatten().min();
            tokio::select! {
                event = events.recv() => match event {
                    Some(Event::Request(incoming)) => {
                        // Boxed: most of the time a subscription waits, and then it is small.
                        if let Some(end) = Box::pin(self.handle_request(*incoming)).await {
                            return end;
                        }
                    }
                    Some(Event::Stop) | None => self.leave(),
                },
                outcome = answer(&mut self.sent) => self.handle_outcome(outcome),
                () = sleep_until(due) => self.handle_timeout(),
            }
        }
    }

    fn feed(&mut self, input: Input) {
        self.machine.handle_input(self.following.cx.0.instant(), input);
    }

    fn leave(&mut self) {
        self.feed(Input::Unsubscribe);
    }

    fn handle_timeout(&mut self) {
        let now = self.following.cx.0.instant();
        if self.full_state_at.is_some_and(|at| at <= now) {
            self.full_state_at = None;
            if !self.shown.is_complete() {
                self.full_state_after = Some(now + FULL_STATE_PAUSE);
                self.feed(Input::Refresh);
            }
        }
        self.feed(Input::Timeout);
    }

    fn handle_outcome(&mut self, outcome: Outcome) {
        self.sent = None;
        let (status, seconds) = match outcome {
            Outcome::Final(response) | Outcome::Relayed(response) => {
                if let Some(dialog) = self.dialog.as_mut().filter(|_| response.is_success())
                    && let Some(target) = message::target(&response)
                {
                    dialog.refresh_target(target);
                }
                (response.status(), message::seconds(&response))
            }
            Outcome::Timeout | Outcome::Cancelled => (408, None),
            // RFC 3261 §8.1.3.1.
            Outcome::Unreachable => (503, None),
        };
        self.feed(Input::Response { status, seconds });
    }

    /// Does what the machine asks for; its end, when it is over.
    async fn drain(&mut self) -> Option<Again> {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Subscribe { expires } => {
                    let refreshes = self.dialog.is_some() && expires > 0;
                    if refreshes && !Box::pin(self.following.is_current()).await {
                        self.leave();
                    } else if !self.subscribe(expires) {
                        return Some(Again::Never);
                    }
                }
                Output::Terminated(again) => return Some(again),
                // A NOTIFY is answered where it is fed.
                Output::Accept | Output::Refuse => {}
            }
        }
        None
    }

    /// Sends a SUBSCRIBE; `false` when none can be sent. To leave before there is a dialog nothing
    /// is sent: the notifications that come get 481 (RFC 6665 §4.2.2).
    fn subscribe(&mut self, expires: u32) -> bool {
        let Following { reg_event, cx, registration, .. } = self.following;
        let subject = Subject { policy: &reg_event.policy, registration, name: &self.name };
        let made = match &mut self.dialog {
            Some(dialog) => subject.refresh(cx, dialog, expires),
            None if expires == 0 => None,
            None => {
                self.cseq += 1;
                subject.initial(cx, self.cseq, expires)
            }
        };
        let Some((request, hop)) = made else { return false };
        let cx = cx.clone();
        self.sent = Some(Box::pin(async move { send_beside(&cx, request, hop, None).await }));
        true
    }

    /// Serves a request in our dialog; the end of the subscription, when this is it.
    async fn handle_request(&mut self, incoming: Incoming) -> Option<Again> {
        let request = incoming.request().clone();
        let cseq = request.cseq().map(|cseq| cseq.number).unwrap_or_default();
        if let Err(refusal) = self.check_dialog(&request, cseq) {
            incoming.reply(&refusal);
            return None;
        }
        let notified = match Notified::read(&request) {
            Ok(notified) => notified,
            Err(refusal) => {
                incoming.reply(&refusal);
                return None;
            }
        };
        if !self.join_dialog(&request) {
            incoming.reply(&Reply::new(400));
            return None;
        }
        self.feed(Input::Notify(notified.state));
        match self.machine.poll_output() {
            Some(Output::Accept) => incoming.reply(&Reply::new(200)),
            // It ended in this very moment.
            Some(Output::Refuse | Output::Subscribe { .. } | Output::Terminated(_)) | None => {
                incoming.reply(&Reply::new(481));
            }
        }
        let end = self.drain().await;
        if let Some(document) = notified.document {
            let applied = self.shown.apply(document);
            let gone = self.judge(applied, cseq, end.is_some()).await;
            if gone && end.is_some() {
                return Some(Again::Never);
            }
            if gone {
                self.leave();
            }
        }
        end
    }

    /// Whether `request` is in our dialog and in order (RFC 3261 §12.2.2). One subscription makes
    /// one dialog (RFC 3680 §4.9): notifications of another fork are refused.
    fn check_dialog(&mut self, request: &parlance_sip::Request, cseq: u32) -> Result<(), Reply> {
        let Some(dialog) = &mut self.dialog else { return Ok(()) };
        if dialog.id().remote_tag != message::remote_tag(request) {
            return Err(Reply::new(481));
        }
        dialog.receive(cseq).map_err(|refusal| Reply::new(refusal.status()))
    }

    /// Makes the dialog of the first NOTIFY, or takes its new target; `false` without a Contact to
    /// make one from.
    fn join_dialog(&mut self, request: &parlance_sip::Request) -> bool {
        if let Some(dialog) = &mut self.dialog {
            if let Some(target) = message::target(request) {
                dialog.refresh_target(target);
            }
            return true;
        }
        let Following { reg_event, registration, .. } = self.following;
        let subject = Subject { policy: &reg_event.policy, registration, name: &self.name };
        self.dialog = message::dialog(request, &subject, self.cseq);
        if let (Some(dialog), Some(cseq)) = (&mut self.dialog, request.cseq()) {
            // The first number is in order whatever it is.
            let _ = dialog.receive(cseq.number);
        }
        self.dialog.is_some()
    }

    /// Acts upon what is shown, once it is whole or nothing more will come (`is_last`); whether the
    /// registration is over.
    async fn judge(&mut self, applied: Applied, cseq: u32, is_last: bool) -> bool {
        self.told_params |= self.shown.active_contacts().any(|row| !row.params.is_empty());
        let is_whole = match applied {
            Applied::Stale => return false,
            Applied::Taken => true,
            Applied::Incomplete => false,
        };
        if !is_whole && !is_last {
            let now = self.following.cx.0.instant();
            self.full_state_at = Some(self.full_state_after.map_or(now, |after| after.max(now)));
            return false;
        }
        self.full_state_at = None;
        self.following.judge(&self.shown, self.told_params, cseq, &self.name.call_id).await
    }
}

async fn answer(sent: &mut Option<Sent>) -> Outcome {
    match sent {
        Some(sent) => sent.await,
        None => std::future::pending().await,
    }
}
