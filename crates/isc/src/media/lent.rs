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
//! second one that would go by it goes by one of ours.
//!
//! Two pairs of ours may follow each other, that of who invites and that of who is invited. Then
//! the one next to a user goes by the URI that this user knows, and the two meet by URIs of ours:
//!
//! | who | towards Alice | between them | towards Bob |
//! |---|---|---|---|
//! | Alice's pair | Bob's URI | its own, and its peer is the own one of Bob's pair | |
//! | Bob's pair | | its own, and its peer is the own one of Alice's pair | Alice's URI |
//!
//! Each finds the other when a description that leads here has a URI that the other has lent. Their
//! descriptions say nothing of it: both show the URIs of the users.

use parlance_msrp::negotiate::{Agreement, anchor_unseen};
use parlance_msrp::relay::{Name, PairSide};
use parlance_msrp::{FromRule, LentUris, LocalAddress, MsrpUri, Scheme, SessionKey, Ticket};
use parlance_sip::sdp::{MediaLine, Sdp};

use super::{AtCore, Media, MediaError, Pair, Place, Told};

/// A URI that a session goes by. Dropped, it is given back.
#[derive(Debug)]
pub(super) struct LentUri {
    place: Place,
    uri: MsrpUri,
    ticket: Ticket,
}

impl LentUri {
    fn lend(place: &Place, uri: &MsrpUri, door: Option<&MsrpUri>) -> Option<Self> {
        let ticket = place.lent(|uris| uris.lend(uri, place.core, door))?.ok()?;
        Some(Self { place: place.clone(), uri: uri.clone(), ticket })
    }

    /// That of another pair, and where it is met.
    fn take_over(place: &Place, uri: &MsrpUri) -> Option<(Self, MsrpUri)> {
        let (ticket, door) = place.lent(|uris| uris.take_over(uri, place.core))??;
        Some((Self { place: place.clone(), uri: uri.clone(), ticket }, door))
    }

    /// Nobody takes it over any more; `false`: somebody has.
    fn settle(&self) -> bool {
        self.place.lent(|uris| uris.settle(&self.uri, self.ticket)) == Some(true)
    }
}

impl Drop for LentUri {
    fn drop(&mut self) {
        self.place.lent(|uris| uris.give_back(&self.uri, self.ticket));
    }
}

impl Place {
    fn lent<T>(&self, act: impl FnOnce(&mut LentUris) -> T) -> Option<T> {
        let (mut act, mut done) = (Some(act), None);
        self.cores.lent(&mut |uris| done = act.take().map(|act| act(uris)));
        done
    }
}

/// What may take the place of how a session goes.
#[derive(Debug)]
pub(super) struct Beside {
    /// Another session; `None`: the same one, by its URI of ours.
    session: Option<SessionKey>,
    /// What descriptions show.
    pub(super) uri: MsrpUri,
    lent: Option<LentUri>,
    /// The pair of ours that is the peer, by its URI.
    next: Option<MsrpUri>,
}

/// A session by a URI of ours whose peer is another pair of ours.
#[derive(Debug)]
pub(super) struct Joint {
    /// What descriptions show: the URI of the user beyond this pair.
    shown: MsrpUri,
    /// The other pair's.
    next: MsrpUri,
    /// Held for the other pair to find.
    _lent: Option<LentUri>,
}

impl Media {
    /// Whether the addresses of a line lead here.
    pub fn is_shown_in(&self, line: &MediaLine<'_>) -> bool {
        let here = self.address(false);
        here.is_some_and(|here| {
            let shown = line.connection().unwrap_or_default();
            let host = here.host.trim_matches(['[', ']']);
            host.eq_ignore_ascii_case(shown)
                && [here.port, parlance_msrp::negotiate::PORT_DISCARD].contains(&line.port())
        })
    }
}

impl Pair {
    /// Prepares that the session towards `side` goes by `uri`, of the peer on the other side, of
    /// whose description this is `line`; it can be described then. `false`: that is not possible,
    /// and it stays as it was.
    pub async fn lend(
        &mut self,
        side: PairSide,
        uri: &MsrpUri,
        line: &MediaLine<'_>,
        media: &Media,
    ) -> bool {
        self.put_away(side);
        if self.is_lent(side, uri) {
            return true;
        }
        let addresses = [media.address(false), media.address(true)];
        if addresses.into_iter().flatten().any(|here| leads_to(uri, &here)) {
            return false;
        }
        let door = self.door(side).cloned();
        let mut met = None;
        let lent = match LentUri::lend(self.held.place(), uri, door.as_ref()) {
            Some(lent) => lent,
            // Only what has been shown to us, by a pair of ours, and to nobody else.
            None if media.is_shown_in(line) && self.door(side.other()).is_some() => {
                let Some((lent, door)) = LentUri::take_over(self.held.place(), uri) else {
                    return false;
                };
                met = Some(door);
                lent
            }
            None => return false,
        };
        let beside = match self.met.of(side).clone().filter(|_| met.is_none()) {
            Some(next) => Beside { session: None, uri: uri.clone(), lent: None, next: Some(next) },
            None => match self.prepare(side, Name::Lent(uri.clone())).await {
                Ok(beside) => beside,
                Err(_) => return false,
            },
        };
        *self.beside.of_mut(side) = Some(Beside { lent: Some(lent), ..beside });
        if let Some(door) = met {
            self.meet(side.other(), door);
        }
        true
    }

    /// By which URI another pair of ours can speak to this side, which it does without TLS. `None`:
    /// it goes by that of a peer.
    fn door(&self, side: PairSide) -> Option<&MsrpUri> {
        let own = self.uris.of(side);
        let is_plain = own.parts().scheme == Scheme::Msrp;
        (self.lent.of(side).is_none() && is_plain).then_some(own)
    }

    /// The peer on `side` is another pair of ours.
    fn meet(&mut self, side: PairSide, door: MsrpUri) {
        if let Some(uri) = self.beside.of(side).as_ref().map(|beside| beside.uri.clone()) {
            // What was shown there is of the other pair by now.
            self.put_away(side);
            let next = Some(door.clone());
            *self.beside.of_mut(side) = Some(Beside { session: None, uri, lent: None, next });
        }
        *self.met.of_mut(side) = Some(door);
    }

    /// Prepares that the session towards `side` goes by a URI of ours, if it does not.
    ///
    /// # Errors
    /// [`MediaError`]; it stays as it was.
    pub async fn own(&mut self, side: PairSide, media: &Media) -> Result<(), MediaError> {
        self.put_away(side);
        let next = self.met.of_mut(side).take();
        let uri = self.uris.of(side).clone();
        let beside = match (self.lent.of(side), self.joint.of(side)) {
            (Some(_), _) => {
                let address = media.address(*self.secure.of(side)).ok_or(MediaError::NoListener)?;
                self.prepare(side, Name::Own(address)).await?
            }
            (None, Some(joint)) if joint.shown == uri && next.is_none() => return Ok(()),
            (None, None) if next.is_none() => return Ok(()),
            (None, _) => Beside { session: None, uri, lent: None, next },
        };
        *self.beside.of_mut(side) = Some(beside);
        Ok(())
    }

    /// It does not come to what was prepared towards `side`.
    pub fn withdraw(&mut self, side: PairSide) {
        self.put_away(side);
        *self.met.of_mut(side) = None;
    }

    fn put_away(&mut self, side: PairSide) {
        let Some(beside) = self.beside.of_mut(side).take() else { return };
        self.end_beside(side, beside.session);
    }

    fn end_beside(&self, side: PairSide, session: Option<SessionKey>) {
        let Some(session) = session else { return };
        let (key, place) = (self.key, self.held.place());
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

    /// Whether `side` knows `uri`, of the peer on the other side.
    pub fn is_lent(&self, side: PairSide, uri: &MsrpUri) -> bool {
        let lent = self.lent.of(side).as_ref().is_some_and(|lent| lent.uri == *uri);
        lent || self.joint.of(side).as_ref().is_some_and(|joint| joint.shown == *uri)
    }

    /// Our URI towards a side, as its next description says it.
    pub(super) fn next_uri(&self, side: PairSide) -> &MsrpUri {
        match (self.beside.of(side), self.joint.of(side)) {
            (Some(beside), _) => &beside.uri,
            (None, Some(joint)) => &joint.shown,
            (None, None) => self.uri(side),
        }
    }

    /// Whether that is one of a peer.
    pub(super) fn next_is_lent(&self, side: PairSide) -> bool {
        match self.beside.of(side) {
            Some(beside) => beside.lent.is_some() || beside.next.is_some(),
            None => self.lent.of(side).is_some() || self.joint.of(side).is_some(),
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
        Ok(Beside { session: Some(session), uri, lent: None, next: None })
    }

    /// What was prepared holds from now on. Whether the session is another one, and its peer known.
    pub(super) async fn take(
        &mut self,
        side: PairSide,
        agreement: &Agreement,
    ) -> Result<bool, MediaError> {
        let beside = self.beside.of_mut(side).take();
        *self.met.of_mut(side) = None;
        let Some(Beside { session, uri, lent, mut next }) = beside else { return Ok(false) };
        let mut session = session;
        if lent.as_ref().is_some_and(|lent| session.is_some() && !lent.settle()) {
            // Another pair of ours shows it now: the one that we speak to.
            self.end_beside(side, session.take());
            next = Some(self.next_of(side, agreement).ok_or(MediaError::Gone)?);
        }
        let Some(session) = session else {
            *self.joint.of_mut(side) = next.map(|next| Joint { shown: uri, next, _lent: lent });
            return Ok(false);
        };
        let (key, told) = (self.key, Told::new(agreement));
        let taken = self.held.place().run(move |at| {
            let before = at.node.pair_session(key, side)?;
            let (rule, shown) = (told.agreement.from_rule, told.agreement.peer_certificates());
            let session = at.node.take_beside(at.now, key, side, told.path(), rule, shown)?;
            at.sinks.unsubscribe(before);
            told.tell(at, session, false);
            Some(())
        });
        taken.await?.ok_or(MediaError::Gone)?;
        *self.sessions.of_mut(side) = Some(session);
        *self.uris.of_mut(side) = uri;
        *self.lent.of_mut(side) = lent;
        *self.joint.of_mut(side) = None;
        Ok(true)
    }

    /// The other pair of ours that is the peer on `side`: by what its description says, or as
    /// before.
    fn next_of(&self, side: PairSide, agreement: &Agreement) -> Option<MsrpUri> {
        let own = self.uris.of(side).parts();
        let is_ours = |uri: &&MsrpUri| (uri.parts().host, uri.parts().port) == (own.host, own.port);
        let told = agreement.peer_path.first().filter(is_ours);
        told.or(self.joint.of(side).as_ref().map(|joint| &joint.next)).cloned()
    }

    /// What was agreed with `side`, as it is between two pairs of ours.
    pub(super) fn between_pairs(&self, side: PairSide, agreement: &Agreement) -> Agreement {
        let mut agreement = agreement.clone();
        if let Some(joint) = self.joint.of(side) {
            agreement.own_path = vec![self.uris.of(side).clone()];
            agreement.peer_path = vec![joint.next.clone()];
            agreement.from_rule = FromRule::Whole;
        }
        agreement
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

    /// A description with this path that leads to `host` and port 2855.
    fn described(path: &str, host: &str) -> Sdp {
        let text = format!(
            "v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n\
             m=message 2855 TCP/MSRP *\r\na=accept-types:*\r\na=path:{path}\r\n"
        );
        Sdp::parse(text.as_bytes()).unwrap()
    }

    async fn lend_of(bench: &Bench, pair: &mut Pair, side: PairSide, sdp: &Sdp) -> bool {
        let line = sdp.media().next().unwrap();
        let uri = uri(line.attribute("path").unwrap());
        bench.done(pair.lend(side, &uri, &line, &bench.media)).await
    }

    /// Of a client.
    async fn lend(bench: &Bench, pair: &mut Pair, side: PairSide, of: &str) -> bool {
        lend_of(bench, pair, side, &described(of, "192.0.2.10")).await
    }

    /// Of another pair of ours.
    async fn lend_on(bench: &Bench, pair: &mut Pair, side: PairSide, of: &str) -> bool {
        lend_of(bench, pair, side, &described(of, "im.example.com")).await
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
            let (alice, sdp) = (uri(ALICE), described(ALICE, "192.0.2.10"));
            let line = sdp.media().next().unwrap();
            let mut lending = Box::pin(it.lend(ANSWERER, &alice, &line, &bench.media));
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

    /// Two pairs, that of Alice and that of Bob, and the offer of Alice has passed both.
    async fn two(bench: &Bench) -> [Pair; 2] {
        let mut pairs = [pair(bench).await, pair(bench).await];
        let [hers, his] = &mut pairs;
        assert!(lend(bench, hers, ANSWERER, ALICE).await);
        assert!(lend_on(bench, his, ANSWERER, ALICE).await, "it came from the other");
        assert_eq!(bench.lent(), 1);
        pairs
    }

    /// What is agreed between the two, Alice's being the one that connects.
    async fn joined(bench: &Bench, [hers, his]: &mut [Pair; 2], shown: &str) {
        agree(bench, his, ANSWERER, BOB).await;
        agree(bench, his, OFFERER, ALICE).await;
        let own = hers.terms(ANSWERER).path.remove(0);
        let agreed = agreement(&own, shown, true);
        bench.done(hers.agree(ANSWERER, &agreed)).await.unwrap();
        agree(bench, hers, OFFERER, ALICE).await;
    }

    /// The first request of Alice's pair to Bob's, by the URIs of the pairs.
    fn first_between(bench: &Bench, [hers, his]: &[Pair; 2], core: usize) -> String {
        let connects = bench.connected(core);
        let [(connection, _)] = &connects[..] else { panic!("{connects:?}") };
        let read = bench.written(core, *connection);
        let (to, from) = (his.uri(OFFERER), hers.uri(ANSWERER));
        assert!(read.contains(&format!("To-Path: {to}\r\nFrom-Path: {from}\r\n")), "{read}");
        read
    }

    // Covers: MSRP-048
    #[tokio::test(start_paused = true)]
    async fn two_pairs_of_ours_meet_by_their_own_uris() {
        let bench = Bench::new();
        let mut pairs = two(&bench).await;
        let [hers, his] = &mut pairs;
        assert!(lend(&bench, his, OFFERER, BOB).await);
        assert_eq!(his.anchor(OFFERER, &bench.media).own, uri(BOB), "what is shown");
        assert!(lend_on(&bench, hers, OFFERER, BOB).await);
        joined(&bench, &mut pairs, BOB).await;
        let [hers, his] = &pairs;
        assert_eq!((hers.uri(OFFERER), his.uri(ANSWERER)), (&uri(BOB), &uri(ALICE)));
        assert!(hers.is_lent(ANSWERER, &uri(ALICE)) && his.is_lent(OFFERER, &uri(BOB)));
        assert_eq!((bench.lent(), bench.load().0), (2, 4));
        first_between(&bench, &pairs, 0);
        let between = bench.accept(1);
        let [hers, his] = &pairs;
        let (from, to) = (hers.uri(ANSWERER).as_str(), his.uri(OFFERER).as_str());
        assert!(bench.octets(1, between, &send(to, from)).contains(" 200 OK"));
        let bob = bench.accept(1);
        let read = bench.octets(1, bob, &send(ALICE, BOB));
        assert!(read.contains(&format!("To-Path: {BOB}\r\nFrom-Path: {ALICE}\r\n")), "{read}");
        // Alice has another path: it is another session for Bob, and the same between the two.
        let moved = ALICE.replace("iau39", "iau40");
        let [hers, his] = &mut pairs;
        assert!(lend(&bench, hers, ANSWERER, &moved).await);
        assert!(lend_on(&bench, his, ANSWERER, &moved).await);
        assert!(lend(&bench, his, OFFERER, BOB).await && lend_on(&bench, hers, OFFERER, BOB).await);
        agree(&bench, his, ANSWERER, BOB).await;
        agree(&bench, his, OFFERER, &moved).await;
        let own = hers.terms(ANSWERER).path.remove(0);
        assert_eq!(own, uri(&moved));
        bench.done(hers.agree(ANSWERER, &agreement(&own, BOB, true))).await.unwrap();
        agree(&bench, hers, OFFERER, &moved).await;
        bench.work();
        assert!(bench.connected(0).is_empty());
        assert_eq!((bench.lent(), bench.load().0), (2, 4));
        let bob = bench.accept(1);
        assert!(bench.octets(1, bob, &send(&moved, BOB)).contains(" 200 OK"));
        assert!(bench.octets(1, bob, &send(ALICE, BOB)).contains(" 481 "));
        drop(pairs);
        bench.work();
        assert_eq!((bench.lent(), bench.load()), (0, (0, 0)));
    }

    // Covers: MSRP-048
    #[tokio::test(start_paused = true)]
    async fn two_pairs_of_ours_meet_also_when_bob_has_no_cema() {
        let bench = Bench::new();
        let mut pairs = two(&bench).await;
        bench.done(pairs[1].own(OFFERER, &bench.media)).await.unwrap();
        let shown = pairs[1].terms(OFFERER).path.remove(0);
        assert_eq!(&shown, pairs[1].uri(OFFERER));
        joined(&bench, &mut pairs, shown.as_str()).await;
        first_between(&bench, &pairs, 0);
        assert_eq!((bench.lent(), bench.load().0), (1, 4));
        // The same again changes nothing.
        assert!(lend(&bench, &mut pairs[0], ANSWERER, ALICE).await);
        assert!(lend_on(&bench, &mut pairs[1], ANSWERER, ALICE).await);
        bench.done(pairs[1].own(OFFERER, &bench.media)).await.unwrap();
        joined(&bench, &mut pairs, shown.as_str()).await;
        assert!(bench.connected(0).is_empty());
        assert_eq!((bench.lent(), bench.load().0), (1, 4));
    }

    // Covers: MSRP-048
    #[tokio::test(start_paused = true)]
    async fn what_was_taken_over_by_a_pair_that_is_no_peer_cannot_be_used() {
        let bench = Bench::new();
        let [mut hers, his] = two(&bench).await;
        drop(his);
        let own = hers.terms(ANSWERER).path.remove(0);
        let agreed = bench.done(hers.agree(ANSWERER, &agreement(&own, BOB, true))).await;
        assert_eq!(agreed, Err(MediaError::Gone));
        bench.done(hers.own(ANSWERER, &bench.media)).await.unwrap();
        agree(&bench, &mut hers, ANSWERER, BOB).await;
        bench.work();
        assert_eq!((bench.lent(), bench.load().0), (0, 2));
        // And what is settled, or did not come from here, is not taken over at all.
        assert!(lend(&bench, &mut hers, ANSWERER, ALICE).await);
        let mut other = pair(&bench).await;
        assert!(!lend(&bench, &mut other, ANSWERER, ALICE).await);
        agree(&bench, &mut hers, ANSWERER, BOB).await;
        assert!(!lend_on(&bench, &mut other, ANSWERER, ALICE).await);
    }
}
