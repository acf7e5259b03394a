//! The two legs of an anchored session, from the 2xx to the end of both.

use std::collections::VecDeque;
use std::future::Future;
use std::rc::Rc;

use parlance_isc::media::{Pair, PairEvent};
use parlance_isc::session::{Body, Ended, Event, Inbox, Leg, LegId, Offer, Reason};
use parlance_isc::{Cx, Incoming, Media, Outcome};
use parlance_msrp::negotiate::{self, Outcome as Concluded};
use parlance_msrp::relay::PairSide;
use parlance_sip::sdp::Sdp;
use parlance_sip::{Method, Request};

use super::call::carried;

/// Both legs, the inviter's first, and the pair between them.
pub(super) struct Bridge {
    pub(super) cx: Cx,
    pub(super) media: Media,
    pub(super) pair: Pair,
    pub(super) legs: [Rc<Leg>; 2],
    /// What either leg was shown last.
    pub(super) shown: [Sdp; 2],
    /// Which line of the descriptions is the session.
    pub(super) line: usize,
}

/// Why both legs end.
type Over = Option<Reason>;

impl Bridge {
    /// Passes on what one leg says to the other until one of them or the pair ends; then all end.
    pub(super) async fn run(mut self, inbox: &mut Inbox) {
        let mut waiting = VecDeque::new();
        let reason = loop {
            let over = match waiting.pop_front() {
                Some(event) => self.handle(event, inbox, &mut waiting).await,
                None => tokio::select! {
                    event = inbox.next() => self.handle(event, inbox, &mut waiting).await,
                    event = self.pair.next() => lost(&event),
                },
            };
            if let Some(reason) = over {
                break reason;
            }
        };
        // Without effect for the one that has ended.
        for leg in &self.legs {
            leg.end(reason.clone());
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

    async fn handle(
        &mut self,
        event: Event,
        inbox: &mut Inbox,
        waiting: &mut VecDeque<Event>,
    ) -> Option<Over> {
        match event {
            Event::Ended(_, ended) => Some(why(&ended)),
            Event::Draining => Some(Some(Reason::sip(503, "the server stops"))),
            Event::Offer(id, offer) => {
                self.offered(self.index(id), offer, inbox, waiting).await;
                None
            }
            Event::Request(id, incoming) => {
                let other = self.leg(1 - self.index(id));
                self.cx.spawn(pass_on(other, incoming));
                None
            }
            // This session takes nobody in; dropped, they are answered.
            Event::Joining(_) | Event::Outside(_) => None,
            Event::Confirmed(_) | Event::Answer(..) => None,
            Event::Notify(..) | Event::Unwatched(_) => None,
        }
    }

    /// One side offers a new description (OMA-TS-SIMPLE_IM §7.2.3.7): the other is asked, with the
    /// pair's URI in the place of the peer's; what it refuses is refused.
    async fn offered(
        &mut self,
        from: usize,
        offer: Offer,
        inbox: &mut Inbox,
        waiting: &mut VecDeque<Event>,
    ) {
        if offer.request().body().is_empty() {
            // A refresh that wants our description: it stands as it is.
            let (response, shown) = (offer.response(200), self.shown_to(from).to_string());
            return offer.accept(response, Body::sdp(shown));
        }
        let Ok(sdp) = Sdp::parse(offer.request().body()) else { return drop(offer) };
        let other = 1 - from;
        let passed = self.pair.anchor(side(other), &self.media).offer(&sdp, self.line);
        let Some(passed) = passed else { return drop(offer) };
        let (leg, headers) = (self.leg(other), carried(offer.request()));
        let asking = leg.offer(Body::sdp(passed.to_string()), &headers);
        let response = match meanwhile(asking, inbox, waiting).await {
            Some(Outcome::Final(response)) if response.is_success() => response,
            Some(Outcome::Final(response)) => {
                let refusal = offer.response(refusal_of(response.status()));
                return offer.refuse(refusal);
            }
            Some(_) | None => return drop(offer),
        };
        let shown = match Sdp::parse(response.body()) {
            Ok(answer) => {
                let offers = (&sdp, &passed);
                let pair = &mut self.pair;
                agree(&self.media, pair, side(from), offers, &answer, self.line).await
            }
            Err(_) => None,
        };
        *self.shown_to(other) = passed;
        let Some(shown) = shown else { return drop(offer) };
        let ok = offer.response(200);
        offer.accept(ok, Body::sdp(shown.to_string()));
        *self.shown_to(from) = shown;
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

fn opposite(side: PairSide) -> PairSide {
    match side {
        PairSide::Offerer => PairSide::Answerer,
        PairSide::Answerer => PairSide::Offerer,
    }
}

/// Tells the pair what an offer of `side` and its answer come to: the offer as it came and as it
/// went on, and the answer as it came. Gives the answer as it goes back.
pub(super) async fn agree(
    media: &Media,
    pair: &mut Pair,
    side: PairSide,
    (offer, passed): (&Sdp, &Sdp),
    answer: &Sdp,
    line: usize,
) -> Option<Sdp> {
    // Names are not resolved here: those that differ are not the same host.
    let same_host = |_: &str, _: &str| false;
    let answerer = opposite(side);
    let concluded = negotiate::conclude(passed, answer, &pair.terms(answerer), &same_host).ok()?;
    let Concluded::Agreed(with_answerer) = concluded else { return None };
    let offered = offer.media().nth(line)?;
    let (_, with_offerer) =
        negotiate::answer_line(&offered, &pair.terms(side), &same_host)?.ok()?;
    let shown = pair.anchor(side, media).answer(answer, line, with_offerer.role)?;
    pair.agree(side, &with_offerer).await.ok()?;
    pair.agree(answerer, &with_answerer).await.ok()?;
    Some(shown)
}

/// Waits for `asking`, keeping what happens meanwhile; `None` when a leg ends first, which is kept
/// as well.
async fn meanwhile<T>(
    asking: impl Future<Output = T>,
    inbox: &mut Inbox,
    waiting: &mut VecDeque<Event>,
) -> Option<T> {
    tokio::pin!(asking);
    loop {
        tokio::select! {
            done = &mut asking => return Some(done),
            event = inbox.next() => {
                let over = matches!(event, Event::Ended(..) | Event::Draining);
                waiting.push_back(event);
                if over {
                    return None;
                }
            }
        }
    }
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
fn why(ended: &Ended) -> Over {
    match ended {
        Ended::Bye(bye) => Reason::of(bye),
        Ended::NotRefreshed => Some(Reason::sip(408, "session not refreshed")),
        Ended::NoAck => Some(Reason::sip(408, "no ACK")),
        Ended::Gone(status) => Some(Reason::sip(*status, "the other side is gone")),
    }
}

/// Why both legs end when something happens to the pair, if they do.
fn lost(event: &PairEvent) -> Option<Over> {
    match event {
        PairEvent::Connected(_) | PairEvent::Passed(_) => None,
        PairEvent::Lost(..) | PairEvent::Gone => Some(Some(Reason::sip(503, "media lost"))),
    }
}
