//! The two legs of an anchored session, from the 2xx to the end of both.

use std::collections::VecDeque;
use std::future::Future;
use std::rc::Rc;

use parlance_isc::media::{Heard, Pair, PairEvent};
use parlance_isc::session::{Body, Ended as LegEnded, Event, Inbox, Leg, LegId, Offer, Reason};
use parlance_isc::{Incoming, Outcome};
use parlance_msrp::relay::PairSide;
use parlance_sip::sdp::Sdp;
use parlance_sip::{Method, Request};
use tokio::sync::Notify;

use super::call::carried;
use super::exchange::{Concluded, Exchange, Manner};
use super::{Serving, if_his};
use crate::event::{Ended, Step, Traffic};
use crate::session::control::{Asks, Control};
use crate::session::description::Described;

/// Both legs, the inviter's first, and the pair between them.
pub(super) struct Bridge<'a> {
    serving: Serving<'a>,
    control: Control,
    pair: Pair,
    legs: [Rc<Leg>; 2],
    /// What either leg was shown last.
    shown: [Sdp; 2],
    /// Which line of the descriptions is the session.
    line: usize,
    manner: Manner,
    /// What happened while something else was waited for.
    waiting: VecDeque<Happened>,
}

/// Something that happens to the session.
enum Happened {
    Leg(Event),
    Pair(PairEvent),
    /// An immediate message was misused.
    Misused,
}

/// How a side has answered.
struct Answered {
    /// The offer as it was shown.
    passed: Sdp,
    /// The answer as it came, without what is asked for.
    answer: Described,
    asks: Asks,
    /// As it goes back.
    shown: Sdp,
}

/// Why both legs end: what they are told, and the status code that says the same.
struct Over {
    reason: Option<Reason>,
    cause: u16,
    /// Who has left; the other may still get what he has sent.
    left: Option<PairSide>,
}

impl Over {
    fn new(cause: u16, text: &str) -> Self {
        Self { reason: Some(Reason::sip(cause, text)), cause, left: None }
    }
}

impl<'a> Bridge<'a> {
    pub(super) fn new(
        serving: Serving<'a>,
        control: Control,
        pair: Pair,
        legs: [Rc<Leg>; 2],
        shown: [Sdp; 2],
        (line, manner): (usize, Manner),
    ) -> Self {
        let waiting = VecDeque::new();
        Self { serving, control, pair, legs, shown, line, manner, waiting }
    }

    /// Passes on what one leg says to the other until one of them or the pair ends; then all end.
    pub(super) async fn run(mut self, inbox: &mut Inbox) {
        self.serving.note(Step::Started);
        let Over { reason, cause, left } = loop {
            let happened = match self.waiting.pop_front() {
                Some(happened) => happened,
                None => next(inbox, &mut self.pair, &self.serving.misused).await,
            };
            let over = match happened {
                Happened::Leg(event) => self.handle(event, inbox).await,
                Happened::Pair(event) => self.passed(event),
                Happened::Misused => Some(Over::new(403, "one message only")),
            };
            if let Some(over) = over {
                break over;
            }
        };
        if let Some(left) = left {
            self.pair.settle(left.other()).await;
        }
        while let Some(event) = self.pair.told() {
            self.passed(event);
        }
        // Without effect for the one that has ended.
        for leg in &self.legs {
            leg.end(reason.clone());
        }
        let Self { serving, control, pair, .. } = self;
        drop(control);
        // What has passed is not known when the core has ended.
        let counts = pair.end().await.ok().flatten();
        let traffic = counts.map(|counts| Traffic::of(&counts, serving.side()));
        serving.note(Step::Ended(Ended { cause, traffic }));
    }

    /// Something of the pair: messages, for the history, or its end.
    fn passed(&mut self, event: PairEvent) -> Option<Over> {
        match event {
            PairEvent::Connected(_) => None,
            PairEvent::Passed(passage) => {
                let his = self.serving.side();
                if let Some(chronicle) = &mut self.serving.chronicle {
                    chronicle.take(Heard::of(*passage, his));
                }
                None
            }
            PairEvent::Lost(side, _) => {
                Some(Over { left: Some(side), ..Over::new(503, "media lost") })
            }
            PairEvent::Gone => Some(Over::new(503, "media lost")),
        }
    }

    /// Which of the two legs.
    fn index(&self, id: LegId) -> usize {
        usize::from(self.legs.first().is_none_or(|leg| leg.id() != id))
    }

    fn leg(&self, index: usize) -> Rc<Leg> {
        let [first, second] = &self.legs;
        Rc::clone(if index == 0 { first } else { second })
    }

    fn shown_to(&mut self, index: usize) -> &mut Sdp {
        let [first, second] = &mut self.shown;
        if index == 0 { first } else { second }
    }

    async fn handle(&mut self, event: Event, inbox: &mut Inbox) -> Option<Over> {
        match event {
            Event::Ended(id, ended) => {
                Some(Over { left: Some(side(self.index(id))), ..why(&ended) })
            }
            Event::Draining => Some(Over::new(503, "the server stops")),
            Event::Offer(id, offer) => {
                if self.offered(self.index(id), offer, inbox).await.is_some() {
                    self.serving.note(Step::Modified);
                }
                None
            }
            Event::Request(id, incoming) => {
                let other = self.leg(1 - self.index(id));
                self.serving.cx.spawn(pass_on(other, incoming));
                None
            }
            // This session takes nobody in; dropped, they are answered.
            Event::Joining(_) | Event::Outside(_) => None,
            Event::Confirmed(_) | Event::Answer(..) => None,
            Event::Notify(..) | Event::Unwatched(_) => None,
        }
    }

    /// One side offers a new description (OMA-TS-SIMPLE_IM §7.2.3.7): the other is asked, as
    /// [`Exchange`] passes it; what it refuses is refused. What the user asks for (§7.2.3.14) holds
    /// with the answer, and is repeated there. `None`: nothing has changed.
    async fn offered(&mut self, from: usize, offer: Offer, inbox: &mut Inbox) -> Option<()> {
        if offer.request().body().is_empty() {
            // A refresh that wants our description: it stands as it is.
            let (response, shown) = (offer.response(200), self.shown_to(from).to_string());
            offer.accept(response, Body::sdp(shown));
            return None;
        }
        // Dropped, it is refused with 488.
        let mut described = Described::of(offer.request())?;
        let his = side(from) == self.serving.side();
        let asks = if_his(his, Asks::take(&mut described.sdp));
        let answered = self.asked(from, &offer, &described, inbox).await;
        for side in [PairSide::Offerer, PairSide::Answerer] {
            // What was agreed has been taken.
            self.pair.withdraw(side);
        }
        let Answered { passed, answer, asks: theirs, mut shown } = match answered? {
            Ok(answered) => answered,
            Err(status) => {
                let refusal = offer.response(refusal_of(status));
                offer.refuse(refusal);
                return None;
            }
        };
        *self.shown_to(1 - from) = passed;
        *self.shown_to(from) = shown.clone();
        if self.control.ask(asks).is_ok() {
            asks.tell(&mut shown);
        }
        let _ = self.control.ask(if_his(!his, theirs));
        let ok = offer.response(200);
        offer.accept(ok, answer.with(&shown));
        Some(())
    }

    /// Asks the other side, a second time when it is to have our URI after all. The status when it
    /// refuses; `None`: there is no answer, or none that holds.
    async fn asked(
        &mut self,
        from: usize,
        offer: &Offer,
        described: &Described,
        inbox: &mut Inbox,
    ) -> Option<Result<Answered, u16>> {
        let (other, before) = (1 - from, self.shown_to(1 - from).clone());
        let media = &self.serving.functions.media;
        let (sdp, manner) = ((&described.sdp, self.line), self.manner);
        let begun =
            Exchange::begin(media, &mut self.pair, side(from), sdp, manner, Some(&before)).await;
        let mut exchange = begun?;
        let (leg, headers) = (self.leg(other), carried(offer.request()));
        let mut body = described.with(&exchange.passed);
        loop {
            let response = match self.meanwhile(leg.offer(body, &headers), inbox).await? {
                Outcome::Final(response) if response.is_success() => response,
                Outcome::Final(response) => return Some(Err(response.status())),
                Outcome::Relayed(_) | Outcome::Timeout => return None,
                Outcome::Unreachable | Outcome::Cancelled => return None,
            };
            let mut answer = Described::of(&response)?;
            let asks = Asks::take(&mut answer.sdp);
            match exchange.conclude(&mut self.pair, &answer.sdp).await {
                Concluded::Shown(shown) => {
                    let passed = exchange.passed;
                    return Some(Ok(Answered { passed, answer, asks, shown }));
                }
                Concluded::Refused => {
                    *self.shown_to(other) = exchange.passed;
                    return None;
                }
                Concluded::Again => {
                    exchange.again(&mut self.pair).await?;
                    self.manner = exchange.manner;
                    body = Body::sdp(exchange.passed.to_string());
                }
            }
        }
    }

    /// Waits for `asking`, keeping what happens meanwhile; messages pass. `None` when the session
    /// ends first, which is kept as well.
    async fn meanwhile<T>(
        &mut self,
        asking: impl Future<Output = T>,
        inbox: &mut Inbox,
    ) -> Option<T> {
        tokio::pin!(asking);
        loop {
            tokio::select! {
                done = &mut asking => return Some(done),
                happened = next(inbox, &mut self.pair, &self.serving.misused) => {
                    let is_over = match happened {
                        Happened::Pair(PairEvent::Lost(..) | PairEvent::Gone) => true,
                        Happened::Pair(event) => {
                            self.passed(event);
                            continue;
                        }
                        Happened::Misused => true,
                        Happened::Leg(Event::Ended(..) | Event::Draining) => true,
                        Happened::Leg(_) => false,
                    };
                    self.waiting.push_back(happened);
                    if is_over {
                        return None;
                    }
                }
            }
        }
    }
}

/// What happens next. Cancel-safe.
async fn next(inbox: &mut Inbox, pair: &mut Pair, misused: &Notify) -> Happened {
    tokio::select! {
        event = inbox.next() => Happened::Leg(event),
        event = pair.next() => Happened::Pair(event),
        () = misused.notified() => Happened::Misused,
    }
}

/// A refusal as it goes back: a 408 or 5xx of one leg is none of the other's (CORE-063).
fn refusal_of(status: u16) -> u16 {
    match status {
        408 | 500..600 | ..=399 => 488,
        status => status,
    }
}

/// The side of the pair that a leg is on.
fn side(index: usize) -> PairSide {
    if index == 0 { PairSide::Offerer } else { PairSide::Answerer }
}

/// Sends a request of one leg on the other, and its answer back.
async fn pass_on(other: Rc<Leg>, incoming: Incoming) {
    let request = incoming.request().clone();
    let Some(method) = method(&request) else { return drop(incoming) };
    let outcome = other.request(method, &carried(&request), &Body::of(&request)).await;
    let answer = match outcome {
        Outcome::Final(answer) if answer.status() != 408 => answer,
        // RFC 4320 §4.2: the sender's own timer ends it.
        Outcome::Final(_) | Outcome::Timeout => return incoming.abandon(),
        Outcome::Relayed(_) | Outcome::Unreachable | Outcome::Cancelled => return drop(incoming),
    };
    let response = incoming.response(answer.status());
    let response = carried(&answer)
        .iter()
        .fold(response, |response, (name, value)| response.header(*name, value));
    incoming.answer(response);
}

/// The method of a request that passes from leg to leg.
fn method(request: &Request) -> Option<Method<'static>> {
    use Method::{Info, Message, Notify, Options, Refer, Subscribe};
    let passing = [Info, Message, Notify, Options, Refer, Subscribe];
    passing.into_iter().find(|method| *method == request.method())
}

/// Why the other leg ends (OMA-TS-SIMPLE_IM §7.2.2.8, §7.2.2.11, §7.2.4.6.1).
fn why(ended: &LegEnded) -> Over {
    match ended {
        LegEnded::Bye(bye) => Over { reason: Reason::of(bye), cause: 200, left: None },
        LegEnded::NotRefreshed => Over::new(408, "session not refreshed"),
        LegEnded::NoAck => Over::new(408, "no ACK"),
        LegEnded::Gone(status) => Over::new(*status, "the other side is gone"),
    }
}
