//! How an offer passes an anchored session, and its answer back.
//!
//! With `msrp-cema` a description may pass unseen: its path untouched, only `c=` and the port lead
//! here (RFC 6714 §6.2). Whether the answerer has it too is not known before it answers.
//!
//! | the offer | the answer | who answers sees | who offered sees |
//! |---|---|---|---|
//! | without it, or passing unseen is not possible | any | our URI | our URI |
//! | with it | with it | the path of who offered | the path of who answered |
//! | | without it, and waits for a connection | the path of who offered | our URI |
//! | | without it, and connects | our URI, in a second offer | our URI |
//!
//! Where the third row stands, RFC 6714 §4.2 has the offerer connect to `c=` and the port; he does,
//! whichever URI is there. In the last one who answers would connect to the path of who offered and
//! pass by here, so the RFC has the offerer offer again without `msrp-cema`. That is done here, so
//! that no offerer is relied on, and none sees a description that does not hold.
//!
//! An answer in a provisional response is not passed on in such an exchange: the answer of another
//! fork has another path, and the offerer takes the first as the answer to its offer
//! (RFC 3261 §13.2.1).

use parlance_isc::media::{Hosts, Pair};
use parlance_isc::session::{Body, Event, Inbox, Leg};
use parlance_isc::{Media, Outcome};
use parlance_msrp::MsrpUri;
use parlance_msrp::negotiate::{self, Agreement, Role, between, lendable};
use parlance_msrp::relay::PairSide;
use parlance_sip::sdp::Sdp;

use crate::session::control::Asks;
use crate::session::description::Described;

/// Whether descriptions may pass unseen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Those with `msrp-cema` do.
    Unseen,
    /// Never: our URI is in all of them.
    Seen,
}

/// An offer that goes on.
pub(super) struct Exchange<'a> {
    media: &'a Media,
    /// Who made it.
    from: PairSide,
    /// As it came.
    offer: &'a Sdp,
    /// Which line of it is the session.
    line: usize,
    /// As it goes on.
    pub(super) passed: Sdp,
    /// Whether it does unseen.
    is_unseen: bool,
    /// How the offers after it may.
    pub(super) manner: Manner,
    /// Which of its hosts are the same.
    hosts: Hosts,
}

/// What an answer comes to.
#[derive(Debug)]
pub(super) enum Concluded {
    /// The session is as said; the answer as it goes back.
    Shown(Sdp),
    /// The answerer is to be offered our URI, see [`Exchange::again`].
    Again,
    /// It is no answer to the offer, or the line was refused.
    Refused,
}

impl<'a> Exchange<'a> {
    /// The offer of `from`, as it goes on. `before` is what was shown last to whom it goes to.
    /// `None`: it has no such line, or there is nowhere to listen.
    pub(super) async fn begin(
        media: &'a Media,
        pair: &mut Pair,
        from: PairSide,
        (offer, line): (&'a Sdp, usize),
        manner: Manner,
        before: Option<&Sdp>,
    ) -> Option<Self> {
        let to = from.other();
        let unseen = match manner {
            Manner::Unseen => unseen(media, pair, to, (offer, line)).await,
            Manner::Seen => None,
        };
        let is_unseen = unseen.is_some();
        let passed = match unseen {
            Some(passed) => passed,
            None => {
                pair.own(to, media).await.ok()?;
                pair.anchor(to, media).offer(offer, line)?
            }
        };
        let passed = before.map_or(passed.clone(), |before| newer(passed, before));
        let hosts = media.hosts(offer).await;
        Some(Self { media, from, offer, line, passed, is_unseen, manner, hosts })
    }

    /// The same offer with our URI in it, after one that passed unseen was answered. `None`: there
    /// is nowhere to listen.
    pub(super) async fn again(&mut self, pair: &mut Pair) -> Option<()> {
        let to = self.from.other();
        pair.own(to, self.media).await.ok()?;
        let passed = pair.anchor(to, self.media).offer(self.offer, self.line)?;
        self.passed = passed.following(&self.passed);
        (self.is_unseen, self.manner) = (false, Manner::Seen);
        Some(())
    }

    /// The answer as it goes back before anything is agreed; `None`: it does not go back yet.
    pub(super) fn preview(&self, pair: &Pair, answer: &Sdp) -> Option<Sdp> {
        if self.is_unseen {
            return None;
        }
        Some(self.seen(pair, answer)?.0)
    }

    /// Tells the pair what the offer and its answer come to.
    pub(super) async fn conclude(&self, pair: &mut Pair, answer: &Sdp) -> Concluded {
        let answerer = self.from.other();
        let terms = pair.terms(answerer);
        let hosts = self.media.hosts(answer).await;
        let with_answerer = match negotiate::conclude(&self.passed, answer, &terms, &hosts.same()) {
            Ok(negotiate::Outcome::Agreed(agreement)) => agreement,
            Ok(negotiate::Outcome::OfferWithoutCema) => return Concluded::Again,
            Ok(negotiate::Outcome::Refused) | Err(_) => return Concluded::Refused,
        };
        let answered = answer.media().nth(self.line);
        let has_cema = answered.is_some_and(|line| line.attribute("msrp-cema").is_some());
        if self.is_unseen && !has_cema && with_answerer.role == Role::Passive {
            return Concluded::Again;
        }
        let agreed = match self.is_unseen && has_cema {
            true => self.unseen(pair, answer).await,
            false => None,
        };
        let agreed = match agreed {
            Some(agreed) => Some(agreed),
            None => self.stay_or_own(pair, answer).await,
        };
        let Some((shown, with_offerer)) = agreed else { return Concluded::Refused };
        // The answerer first: whoever was there in his place is gone before anything passes.
        for (side, agreement) in [(answerer, &with_answerer), (self.from, &with_offerer)] {
            match pair.agree(side, agreement).await {
                Ok(()) => {}
                // What was shown to the answerer is not ours any more.
                Err(_) if self.is_unseen && side == answerer => return Concluded::Again,
                Err(_) => return Concluded::Refused,
            }
        }
        Concluded::Shown(shown)
    }

    /// The answer with its path untouched, and what is agreed with the offerer then. `None`: that
    /// is not possible.
    async fn unseen(&self, pair: &mut Pair, answer: &Sdp) -> Option<(Sdp, Agreement)> {
        let offered = self.offer.media().nth(self.line)?;
        let answered = answer.media().nth(self.line)?;
        let shown = unseen(self.media, pair, self.from, (answer, self.line)).await?;
        let agreement = between(&offered, &answered, &pair.terms(self.from)).ok()?;
        Some((shown, agreement))
    }

    /// The answer with the URI that the offerer knows for the answerer's, when neither has another
    /// path than before and the session goes on (RFC 4975 §8.4), or else with ours.
    async fn stay_or_own(&self, pair: &mut Pair, answer: &Sdp) -> Option<(Sdp, Agreement)> {
        let (offered, answered) = (path(self.offer, self.line)?, path(answer, self.line)?);
        let is_lent = |uris: &[MsrpUri]| match uris {
            [uri] => pair.is_lent(self.from, uri),
            _ => false,
        };
        match is_lent(&answered) && pair.is_with(self.from, &offered) {
            true => pair.withdraw(self.from),
            false => pair.own(self.from, self.media).await.ok()?,
        }
        self.seen(pair, answer)
    }

    /// The answer with what the pair goes by, and what is agreed with the offerer then.
    fn seen(&self, pair: &Pair, answer: &Sdp) -> Option<(Sdp, Agreement)> {
        let offered = self.offer.media().nth(self.line)?;
        let terms = pair.terms(self.from);
        let (_, agreement) = negotiate::answer_line(&offered, &terms, &self.hosts.same())?.ok()?;
        let anchor = pair.anchor(self.from, self.media);
        let shown = anchor.answer(answer, self.line, agreement.role)?;
        Some((shown, agreement))
    }
}

/// What the answer of `leg` to an offer comes to, and what it is: the one that came, or one to a
/// second offer.
pub(super) async fn joined(
    exchange: &mut Exchange<'_>,
    pair: &mut Pair,
    leg: &Leg,
    answer: Option<Described>,
    inbox: &mut Inbox,
) -> Option<(Described, Asks, Sdp)> {
    let (mut answer, mut theirs) = (answer?, Asks::default());
    loop {
        let asks = Asks::take(&mut answer.sdp);
        if asks.is_some() {
            theirs = asks;
        }
        match exchange.conclude(pair, &answer.sdp).await {
            Concluded::Shown(shown) => return Some((answer, theirs, shown)),
            Concluded::Refused => return None,
            Concluded::Again => {
                exchange.again(pair).await?;
                let body = Body::sdp(exchange.passed.to_string());
                answer = answered(leg, body, inbox).await?;
            }
        }
    }
}

/// Offers `body` in a session that is not joined yet, and waits for the answer.
async fn answered(leg: &Leg, body: Body, inbox: &mut Inbox) -> Option<Described> {
    let asking = leg.offer(body, &[]);
    tokio::pin!(asking);
    loop {
        tokio::select! {
            outcome = &mut asking => return match outcome {
                Outcome::Final(answer) if answer.is_success() => Described::of(&answer),
                _ => None,
            },
            // Too early for anything but the end: dropped, it is answered.
            event = inbox.next() => if matches!(event, Event::Ended(..) | Event::Draining) {
                return None;
            },
        }
    }
}

/// A description with its path untouched, as it goes to the side `to`. `None`: it cannot go so.
async fn unseen(
    media: &Media,
    pair: &mut Pair,
    to: PairSide,
    (sdp, index): (&Sdp, usize),
) -> Option<Sdp> {
    let line = sdp.media().nth(index)?;
    let uri = lendable(&line)?;
    let shown = pair.unseen(sdp, index, media)?;
    pair.lend(to, &uri, &line, media).await.then_some(shown)
}

/// The path of who wrote a line.
fn path(sdp: &Sdp, line: usize) -> Option<Vec<MsrpUri>> {
    let path = sdp.media().nth(line)?.message()?.ok()?.path;
    path.iter().map(|uri| uri.parse().ok()).collect()
}

/// A description that differs from the one `before` has a later version, also when there was one
/// between that its writer knows nothing of.
fn newer(passed: Sdp, before: &Sdp) -> Sdp {
    let (own, known) = (passed.origin(), before.origin());
    let is_old = own.session_id == known.session_id && own.version <= known.version;
    if is_old { passed.following(before) } else { passed }
}
