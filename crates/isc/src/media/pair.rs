//! Two sessions of a B2BUA, between which messages pass (RFC 6714 §6.2).
//!
//! Each goes by a URI of ours, or by that of the peer on the other side, see [`super::lent`].

use std::time::Duration;

use parlance_msrp::negotiate::{Agreement, Anchor, Terms};
use parlance_msrp::relay::{self, PairConfig, PairCounts, PairKey, PairSide, Passage};
use parlance_msrp::{Event, LocalAddress, Lost, MsrpUri, Scheme, SessionKey};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::gate::{Gate, To};
use super::held::{Held, What, end_pair};
use super::lent::{Beside, Joint, LentUri};
use super::{AtCore, EVENTS_MAX, MediaError, Place, Told, Towards, at_once};

/// How long a side may take to answer what was passed on to it once the other has left, and how
/// often is looked; local values.
const SETTLE_MAX: Duration = Duration::from_secs(2);
const SETTLE_LOOK: Duration = Duration::from_millis(10);

/// One pair. Dropped: both sessions end.
#[derive(Debug)]
pub struct Pair {
    // The first to be dropped: a URI is given back once its session has been told to end.
    pub(super) held: Held,
    pub(super) key: PairKey,
    /// The sessions whose events count; `None` where nobody is.
    pub(super) sessions: Towards<Option<SessionKey>>,
    /// Where they come from; held by the core alone, whose end so is noticed.
    pub(super) sink: mpsc::WeakSender<Event>,
    pub(super) uris: Towards<MsrpUri>,
    /// Where they are lent.
    pub(super) lent: Towards<Option<LentUri>>,
    /// Where the peer is another pair of ours.
    pub(super) joint: Towards<Option<Joint>>,
    /// What may take the place of those.
    pub(super) beside: Towards<Option<Beside>>,
    /// Where another pair of ours was met, by its URI.
    pub(super) met: Towards<Option<MsrpUri>>,
    /// Whether URIs of ours are with TLS.
    pub(super) secure: Towards<bool>,
    max_size: Option<u64>,
    events: mpsc::Receiver<Event>,
    over: bool,
    agreed: Towards<Option<Agreement>>,
}

/// What happens to a pair.
#[derive(Debug)]
pub enum PairEvent {
    /// The connection of a side stands.
    Connected(PairSide),
    /// A side has failed and is gone: the role ends both dialogs and drops the pair, or gives the
    /// side to somebody else.
    Lost(PairSide, Lost),
    /// A chunk has passed, when [`PairConfig::copies`] asks for them.
    Passed(Box<Passage>),
    /// The core has ended. Nothing comes any more.
    Gone,
}

impl Pair {
    pub(super) async fn open(
        place: Place,
        addresses: Towards<LocalAddress>,
        config: PairConfig,
    ) -> Result<Self, MediaError> {
        let (sink, events) = mpsc::channel(EVENTS_MAX);
        let (at_place, max_size) = (place.clone(), config.max_size);
        let own_sink = sink.downgrade();
        let secure = addresses.as_ref().map(|address| address.scheme == Scheme::Msrps);
        let opened = place.run(move |at| {
            let Towards { offerer, answerer } = &addresses;
            let key = at.node.open_pair(at.now, offerer, answerer, config);
            let sessions = Towards {
                offerer: at.node.pair_session(key, PairSide::Offerer)?,
                answerer: at.node.pair_session(key, PairSide::Answerer)?,
            };
            for session in [sessions.offerer, sessions.answerer] {
                at.sinks.subscribe(session, sink.clone());
            }
            let held = at_place.hold(What::Pair(key));
            let uri = |session| at.node.uri(session).cloned();
            let uris =
                Towards { offerer: uri(sessions.offerer)?, answerer: uri(sessions.answerer)? };
            Some((held, key, sessions, uris))
        });
        let (held, key, sessions, uris) = opened.await?.ok_or(MediaError::Gone)?;
        Ok(Self {
            held,
            key,
            sessions: Towards {
                offerer: Some(sessions.offerer),
                answerer: Some(sessions.answerer),
            },
            sink: own_sink,
            uris,
            lent: Towards::default(),
            joint: Towards::default(),
            beside: Towards::default(),
            met: Towards::default(),
            secure,
            max_size,
            events,
            over: false,
            agreed: Towards::default(),
        })
    }

    /// Where what goes to `side` can be held.
    pub fn gate(&self, side: PairSide) -> Gate {
        Gate::new(self.held.place(), To::Side(self.key, side))
    }

    /// Our URI towards a side.
    pub fn uri(&self, side: PairSide) -> &MsrpUri {
        self.uris.of(side)
    }

    /// What replaces the peer in a description that goes to `side`.
    pub fn anchor(&self, side: PairSide, media: &super::Media) -> Anchor {
        let own = self.next_uri(side).clone();
        let secure = own.parts().scheme == Scheme::Msrps;
        let fingerprints = if secure { media.fingerprints() } else { Vec::new() };
        let here = self.next_is_lent(side).then(|| media.address(false)).flatten();
        Anchor { own, here, fingerprints, max_size: self.max_size }
    }

    /// What we say towards `side` for [`negotiate`](parlance_msrp::negotiate): anything may pass,
    /// the peers agree on the rest between them.
    pub fn terms(&self, side: PairSide) -> Terms {
        Terms { max_size: self.max_size, ..Terms::anything(self.next_uri(side).clone()) }
    }

    /// A side is as it and we described it: only its peer can use its session, and we connect when
    /// that is for us to do. Said again with the same paths, only certificates change.
    ///
    /// # Errors
    /// [`MediaError`]; nothing has changed then.
    pub async fn agree(&mut self, side: PairSide, agreement: &Agreement) -> Result<(), MediaError> {
        let before = self.agreed.of(side).as_ref();
        let before = before.map(|before| self.between_pairs(side, before));
        if !self.take(side, agreement).await? {
            let session = self.sessions.of(side).ok_or(MediaError::Gone)?;
            let agreement = self.between_pairs(side, agreement);
            let again = before.is_some_and(|before| agreement.continues(&before));
            let told = Told::new(&agreement);
            self.held.place().run(move |at| told.tell(at, session, again)).await?;
        }
        *self.agreed.of_mut(side) = Some(agreement.clone());
        Ok(())
    }

    /// Whether the peer on `side` is agreed to be the one with this path.
    pub fn is_with(&self, side: PairSide, path: &[MsrpUri]) -> bool {
        self.agreed.of(side).as_ref().is_some_and(|agreed| agreed.peer_path == path)
    }

    /// Ready when `side` has answered what was passed on to it
    /// ([`Node::is_pair_settled`](parlance_msrp::Node::is_pair_settled)), after two seconds in any
    /// case. To be waited for before its dialog is ended: BYE must not overtake the last message,
    /// which was answered here.
    pub async fn settle(&self, side: PairSide) {
        let (key, place) = (self.key, self.held.place());
        let settled = async {
            while place.run(move |at| at.node.is_pair_settled(key, side)).await == Ok(false) {
                sleep(SETTLE_LOOK).await;
            }
        };
        // After that time nobody waits for what is left.
        let _ = timeout(SETTLE_MAX, settled).await;
    }

    /// Ends the session of a side; the other side stays as it is, and what it sends is answered 403
    /// until [`Pair::renew`]. Without either side the pair is [`PairEvent::Gone`].
    pub fn vacate(&mut self, side: PairSide) {
        *self.sessions.of_mut(side) = None;
        *self.agreed.of_mut(side) = None;
        let (key, place) = (self.key, self.held.place());
        let vacate = move |at: &mut AtCore<'_>| {
            if let Some(session) = at.node.pair_session(key, side) {
                at.sinks.unsubscribe(session);
            }
            at.node.vacate_pair_side(at.now, key, side);
        };
        place.cores.run_always(place.core, Box::new(vacate));
    }

    /// Gives a side a new session with a new URI, with TLS or without: for another peer, or for
    /// another path of the same one. The session before it ends.
    ///
    /// # Errors
    /// [`MediaError`]; whoever had the side has lost it then, as when it is dropped before it is
    /// ready.
    pub async fn renew(
        &mut self,
        side: PairSide,
        secure: bool,
        media: &super::Media,
    ) -> Result<(), MediaError> {
        *self.sessions.of_mut(side) = None;
        *self.agreed.of_mut(side) = None;
        let address = media.address(secure).ok_or(MediaError::NoListener)?;
        let key = self.key;
        let sink = self.sink.upgrade().ok_or(MediaError::Gone)?;
        let renewed = self.held.place().run(move |at| {
            let before = at.node.pair_session(key, side);
            let session = at.node.renew_pair_side(at.now, key, side, &address)?;
            at.sinks.subscribe(session, sink);
            if let Some(before) = before {
                at.sinks.unsubscribe(before);
            }
            Some((session, at.node.uri(session).cloned()?))
        });
        let (session, uri) = renewed.await?.ok_or(MediaError::Gone)?;
        *self.sessions.of_mut(side) = Some(session);
        *self.uris.of_mut(side) = uri;
        *self.secure.of_mut(side) = secure;
        Ok(())
    }

    /// What has passed so far, for timers and charging; `None`: the pair has ended.
    ///
    /// # Errors
    /// [`MediaError`].
    pub async fn counts(&self) -> Result<Option<PairCounts>, MediaError> {
        let key = self.key;
        self.held.place().run(move |at| at.node.pair_counts(key)).await
    }

    /// Ends the pair; what has passed. `None`: it had ended.
    ///
    /// # Errors
    /// [`MediaError`]: what has passed is not known. The pair ends all the same.
    pub async fn end(self) -> Result<Option<PairCounts>, MediaError> {
        let key = self.key;
        self.held.place().run(move |at| end_pair(at, key)).await
    }

    /// The next event; after [`PairEvent::Gone`] none comes. Cancel-safe.
    pub async fn next(&mut self) -> PairEvent {
        loop {
            if self.over {
                return std::future::pending().await;
            }
            match self.events.recv().await {
                Some(Event::Bound { session }) => {
                    if let Some(side) = self.side(session) {
                        return PairEvent::Connected(side);
                    }
                }
                Some(Event::Lost { session, why }) => {
                    if let Some(side) = self.side(session) {
                        return PairEvent::Lost(side, why);
                    }
                }
                Some(Event::Relay(relay::Event::Passed(passage))) => {
                    return PairEvent::Passed(passage);
                }
                // Not of a pair.
                Some(Event::Relay(_) | Event::Endpoint(_) | Event::Switch(_)) => {}
                None => {
                    self.over = true;
                    return PairEvent::Gone;
                }
            }
        }
    }

    /// What has happened by now, if anything has.
    pub fn told(&mut self) -> Option<PairEvent> {
        at_once(self.next())
    }

    /// The side that has this session now; what was said of one before counts no more.
    fn side(&self, session: SessionKey) -> Option<PairSide> {
        let sides = [PairSide::Offerer, PairSide::Answerer];
        sides.into_iter().find(|side| *self.sessions.of(*side) == Some(session))
    }
}

impl<T> Towards<T> {
    /// A reference to each.
    pub fn as_ref(&self) -> Towards<&T> {
        Towards { offerer: &self.offerer, answerer: &self.answerer }
    }

    /// What `of` makes of each.
    pub fn map<U>(self, of: impl Fn(T) -> U) -> Towards<U> {
        Towards { offerer: of(self.offerer), answerer: of(self.answerer) }
    }

    /// That of `side`.
    pub fn of(&self, side: PairSide) -> &T {
        match side {
            PairSide::Offerer => &self.offerer,
            PairSide::Answerer => &self.answerer,
        }
    }

    /// That of `side`, to be changed.
    pub fn of_mut(&mut self, side: PairSide) -> &mut T {
        match side {
            PairSide::Offerer => &mut self.offerer,
            PairSide::Answerer => &mut self.answerer,
        }
    }
}
