//! Pairs that are not seen: a session that goes by the URI of the peer on the other side
//! (RFC 6714 §6.2).
//!
//! | when | what |
//! |---|---|
//! | an offer goes on with its path untouched | [`Pair::lend`] towards who gets it |
//! | its answer goes back so | [`Pair::lend`] towards who made it |
//! | either goes on with a URI of ours again | [`Pair::own`] |
//! | both are known | [`Pair::agree`]: what was prepared takes the place of what was |
//! | the offer was refused | [`Pair::withdraw`] |
//!
//! Between the first two who answers may connect already. A URI is of one session of all cores; a
//! second one that would go by it goes by one of ours, and so does one of which nothing could be
//! found by the first To-Path alone: a URI that leads to ourselves is of another session of ours.

use parlance_msrp::negotiate::anchor_unseen;
use parlance_msrp::relay::{Name, PairSide};
use parlance_msrp::{LocalAddress, MsrpUri, SessionKey};
use parlance_sip::sdp::Sdp;

use super::{AtCore, Media, MediaError, Pair, Place, Told};

/// A URI that a session goes by. Dropped, it is given back.
#[derive(Debug)]
pub(super) struct LentUri {
    place: Place,
    uri: MsrpUri,
}

impl LentUri {
    fn lend(place: &Place, uri: &MsrpUri) -> Option<Self> {
        let lent = place.cores.lend(uri, place.core);
        lent.then(|| Self { place: place.clone(), uri: uri.clone() })
    }
}

impl Drop for LentUri {
    fn drop(&mut self) {
        self.place.cores.give_back(&self.uri);
    }
}

/// A session that may take the place of one of a pair.
#[derive(Debug)]
pub(super) struct Beside {
    session: SessionKey,
    pub(super) uri: MsrpUri,
    lent: Option<LentUri>,
}

impl Pair {
    /// Prepares that the session towards `side` goes by `uri`, of the peer on the other side; it
    /// can be described then. `false`: that is not possible, and it stays as it was.
    pub async fn lend(&mut self, side: PairSide, uri: &MsrpUri, media: &Media) -> bool {
        self.withdraw(side);
        if self.is_lent(side, uri) {
            return true;
        }
        let Some(here) = media.address(false) else { return false };
        let secure = media.address(true);
        if [Some(here), secure].into_iter().flatten().any(|here| leads_to(uri, &here)) {
            return false;
        }
        let Some(lent) = LentUri::lend(self.held.place(), uri) else { return false };
        let prepared = self.prepare(side, Name::Lent(uri.clone())).await;
        let Ok(beside) = prepared else { return false };
        *self.beside.of_mut(side) = Some(Beside { lent: Some(lent), ..beside });
        true
    }

    /// Prepares that the session towards `side` goes by a URI of ours, if it does not.
    ///
    /// # Errors
    /// [`MediaError`]; it stays as it was.
    pub async fn own(&mut self, side: PairSide, media: &Media) -> Result<(), MediaError> {
        self.withdraw(side);
        if self.lent.of(side).is_none() {
            return Ok(());
        }
        let address = media.address(*self.secure.of(side)).ok_or(MediaError::NoListener)?;
        let beside = self.prepare(side, Name::Own(address)).await?;
        *self.beside.of_mut(side) = Some(beside);
        Ok(())
    }

    /// It does not come to what was prepared towards `side`.
    pub fn withdraw(&mut self, side: PairSide) {
        let Some(beside) = self.beside.of_mut(side).take() else { return };
        let (key, place) = (self.key, self.held.place());
        let session = beside.session;
        let withdraw = move |at: &mut AtCore<'_>| {
            at.sinks.unsubscribe(session);
            at.node.end_beside(at.now, key, side);
        };
        place.cores.run_always(place.core, Box::new(withdraw));
    }

    /// The description of a peer, as it goes to the other one with nothing but its addresses
    /// changed. `None`: it has no `msrp-cema`.
    pub fn unseen(&self, sdp: &Sdp, line: usize, media: &Media) -> Option<Sdp> {
        anchor_unseen(sdp, line, &media.address(false)?)
    }

    /// Whether the session towards `side` goes by `uri`, which is lent.
    pub fn is_lent(&self, side: PairSide, uri: &MsrpUri) -> bool {
        self.lent.of(side).as_ref().is_some_and(|lent| lent.uri == *uri)
    }

    /// Whether it will go by one that is.
    pub(super) fn next_is_lent(&self, side: PairSide) -> bool {
        match self.beside.of(side) {
            Some(beside) => beside.lent.is_some(),
            None => self.lent.of(side).is_some(),
        }
    }

    async fn prepare(&mut self, side: PairSide, name: Name) -> Result<Beside, MediaError> {
        let key = self.key;
        let sink = self.sink.upgrade().ok_or(MediaError::Gone)?;
        let opened = self.held.place().run(move |at| {
            // Whoever prepared that did not wait for it.
            if let Some(before) = at.node.beside(key, side) {
                at.sinks.unsubscribe(before);
            }
            let session = at.node.open_beside(at.now, key, side, name)?;
            at.sinks.subscribe(session, sink);
            Some((session, at.node.uri(session).cloned()?))
        });
        let (session, uri) = opened.await?.ok_or(MediaError::Gone)?;
        Ok(Beside { session, uri, lent: None })
    }

    /// What was prepared takes its place, its peer being known.
    pub(super) async fn take(
        &mut self,
        side: PairSide,
        beside: Beside,
        told: Told,
    ) -> Result<(), MediaError> {
        let key = self.key;
        let taken = self.held.place().run(move |at| {
            let before = at.node.pair_session(key, side)?;
            let rule = told.agreement.from_rule;
            let session = at.node.take_beside(at.now, key, side, told.path(), rule)?;
            at.sinks.unsubscribe(before);
            told.tell(at, session, false);
            Some(())
        });
        taken.await?.ok_or(MediaError::Gone)?;
        *self.sessions.of_mut(side) = Some(beside.session);
        *self.uris.of_mut(side) = beside.uri;
        *self.lent.of_mut(side) = beside.lent;
        Ok(())
    }
}

/// Whether a URI says that its session is here.
fn leads_to(uri: &MsrpUri, here: &LocalAddress) -> bool {
    let parts = uri.parts();
    parts.host.eq_ignore_ascii_case(&here.host) && parts.port == Some(here.port)
}

#[cfg(test)]
mod tests {
    use parlance_msrp::Lost;
    use parlance_msrp::relay::PairConfig;

    use super::super::fixture::{Bench, LENT_MAX, agreement, request, text};
    use super::super::{PairEvent, Towards, at_once};
    use super::*;

    const ALICE: &str = "msrp://alice.example.com:7777/iau39soe2843z;tcp";
    const BOB: &str = "msrp://bob.example.com:8888/9di4eae923wzd;tcp";
    const OFFERER: PairSide = PairSide::Offerer;
    const ANSWERER: PairSide = PairSide::Answerer;

    fn uri(text: &str) -> MsrpUri {
        text.parse().unwrap()
    }

    async fn pair(bench: &Bench) -> Pair {
        let towards = Towards { offerer: false, answerer: false };
        bench.done(bench.media.pair(towards, PairConfig::default())).await.unwrap()
    }

    async fn lend(bench: &Bench, pair: &mut Pair, side: PairSide, of: &str) -> bool {
        bench.done(pair.lend(side, &uri(of), &bench.media)).await
    }

    async fn agree(bench: &Bench, pair: &mut Pair, side: PairSide, peer: &str) {
        let own = pair.terms(side).path.remove(0);
        bench.done(pair.agree(side, &agreement(&own, peer, false))).await.unwrap();
    }

    fn send(to: &str, from: &str) -> String {
        request("SEND", &uri(to), from, &text("m1", "hello"))
    }

    // Covers: MSRP-048
    #[tokio::test(start_paused = true)]
    async fn peers_meet_by_their_own_uris_at_any_core() {
        let bench = Bench::new();
        for core in [0, 1] {
            let mut pair = pair(&bench).await;
            assert!(lend(&bench, &mut pair, ANSWERER, ALICE).await);
            assert_ne!(pair.uri(ANSWERER), &uri(ALICE), "until it is agreed");
            assert_eq!(pair.anchor(ANSWERER, &bench.media).own, uri(ALICE));
            assert!(lend(&bench, &mut pair, OFFERER, BOB).await);
            agree(&bench, &mut pair, ANSWERER, BOB).await;
            agree(&bench, &mut pair, OFFERER, ALICE).await;
            assert_eq!((pair.uri(OFFERER), pair.uri(ANSWERER)), (&uri(BOB), &uri(ALICE)));
            assert!(pair.is_lent(OFFERER, &uri(BOB)) && pair.is_lent(ANSWERER, &uri(ALICE)));
            assert_eq!((bench.lent(), bench.load()), (2, (2, 2)));
            let (alice, bob) = (bench.accept(core), bench.accept(core));
            assert!(bench.octets(core, alice, &send(BOB, ALICE)).contains(" 200 OK"));
            let read = bench.octets(core, bob, &send(ALICE, BOB));
            let passed = format!("To-Path: {BOB}\r\nFrom-Path: {ALICE}\r\n");
            assert!(read.contains(&passed) && read.contains("\r\n\r\nhello\r\n"), "{read}");
            assert!(matches!(pair.next().await, PairEvent::Connected(OFFERER)));
            assert!(matches!(pair.next().await, PairEvent::Connected(ANSWERER)));
            // Said again it is the same.
            assert!(lend(&bench, &mut pair, ANSWERER, ALICE).await);
            agree(&bench, &mut pair, ANSWERER, BOB).await;
            assert!(bench.octets(core, bob, &send(ALICE, BOB)).contains(" 200 OK"));
            let counts = bench.done(pair.end()).await.unwrap().unwrap();
            assert_eq!((counts.offerer.messages, counts.answerer.messages), (1, 2));
            bench.work();
            assert_eq!((bench.lent(), bench.load()), (0, (0, 0)));
        }
    }

    // Covers: MSRP-048
    #[tokio::test(start_paused = true)]
    async fn one_uri_is_of_one_session_and_there_are_as_many_as_there_may_be() {
        let bench = Bench::new();
        let (mut one, mut other) = (pair(&bench).await, pair(&bench).await);
        assert!(lend(&bench, &mut one, ANSWERER, ALICE).await);
        assert!(!lend(&bench, &mut other, ANSWERER, ALICE).await, "at another core as well");
        assert!(!lend(&bench, &mut one, OFFERER, ALICE).await);
        let here = "msrp://IM.example.com:2855/300000000000000000000000abcd;tcp";
        assert!(!lend(&bench, &mut one, OFFERER, here).await, "it is of another session of ours");
        assert_eq!((bench.lent(), bench.load()), (1, (5, 5)));
        // It goes by a URI of ours then.
        agree(&bench, &mut other, ANSWERER, BOB).await;
        assert!(!other.is_lent(ANSWERER, &uri(ALICE)));
        let numbered = |number: usize| ALICE.replace("iau39", &format!("iau{number:02}"));
        for number in 1..LENT_MAX {
            let mut more = pair(&bench).await;
            assert!(lend(&bench, &mut more, ANSWERER, &numbered(number)).await);
            std::mem::forget(more);
        }
        assert!(!lend(&bench, &mut other, OFFERER, &numbered(LENT_MAX)).await);
        drop(one);
        bench.work();
        assert!(lend(&bench, &mut other, OFFERER, ALICE).await);
        assert_eq!(bench.lent(), LENT_MAX);
    }

    // Covers: MSRP-048
    #[tokio::test(start_paused = true)]
    async fn what_did_not_come_to_be_is_given_back() {
        let bench = Bench::new();
        let mut it = pair(&bench).await;
        let own = it.uri(ANSWERER).clone();
        agree(&bench, &mut it, ANSWERER, BOB).await;
        assert!(lend(&bench, &mut it, ANSWERER, ALICE).await);
        it.withdraw(ANSWERER);
        bench.work();
        assert_eq!((bench.lent(), bench.load()), (0, (2, 2)));
        assert_eq!(it.terms(ANSWERER).path, [own]);
        // And a URI of ours again, of which the peer is told.
        assert!(lend(&bench, &mut it, ANSWERER, ALICE).await);
        agree(&bench, &mut it, ANSWERER, BOB).await;
        bench.done(it.own(OFFERER, &bench.media)).await.unwrap();
        bench.done(it.own(ANSWERER, &bench.media)).await.unwrap();
        assert_eq!((bench.lent(), bench.load()), (1, (3, 3)));
        agree(&bench, &mut it, ANSWERER, BOB).await;
        assert!(it.uri(ANSWERER).as_str().starts_with("msrp://im.example.com:2855/"));
        assert_eq!((bench.lent(), bench.load()), (0, (2, 2)));
        for worked in [false, true] {
            let alice = uri(ALICE);
            let mut lending = Box::pin(it.lend(ANSWERER, &alice, &bench.media));
            assert!(at_once(lending.as_mut()).is_none());
            if worked {
                bench.work();
            }
            drop(lending);
            assert_eq!(bench.lent(), 0, "{worked}");
        }
        drop(it);
        bench.work();
        assert_eq!((bench.lent(), bench.load()), (0, (0, 0)));
    }

    // Covers: MSRP-017, MSRP-048
    #[tokio::test(start_paused = true)]
    async fn who_was_there_first_and_is_not_the_peer_ends_it() {
        let bench = Bench::new();
        let mut pair = pair(&bench).await;
        assert!(lend(&bench, &mut pair, ANSWERER, ALICE).await);
        let mallory = bench.accept(0);
        let answer = bench.octets(0, mallory, &send(ALICE, "msrp://m.example:1/m;tcp"));
        assert!(answer.contains(" 200 OK"), "{answer}");
        agree(&bench, &mut pair, ANSWERER, BOB).await;
        assert!(matches!(pair.next().await, PairEvent::Connected(ANSWERER)));
        let lost = pair.next().await;
        assert!(matches!(lost, PairEvent::Lost(ANSWERER, Lost::Path)), "{lost:?}");
    }
}
