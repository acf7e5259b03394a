//! Which certificate a peer has to show that connects to us (RFC 4975 §14.4, RFC 8122).
//!
//! Its SDP names them by their fingerprints, and whoever comes for the session shows one of them
//! in TLS. One that leads to our roots and names the host does not stand in for those: going by the
//! name is what RFC 4975 §5.4 allows, and where there are fingerprints, §14.4 and RFC 8122 §6.2
//! have everybody turned away who does not match.
//!
//! | who | shows another certificate, or none |
//! |---|---|
//! | comes for a session | 403, and the session goes on waiting for its peer |
//! | had a session before its SDP came | the session fails |
//! | has a session, and a new SDP names others | leaves its connection, and may come again |
//!
//! The connection is closed each time, unless others have sessions on it.

use parlance_sip::sdp::{Fingerprint, HashFunction};

use crate::node::cx::Cx;
use crate::node::{CloseReason, ConnectionId, Lost};
use crate::session::{FromRule, SessionKey};
use crate::{Head, Path};

/// The hash of a certificate (DER); `None`: nobody here can do that function.
pub type CertificateHash = fn(&HashFunction, &[u8]) -> Option<Vec<u8>>;

impl Cx {
    /// What the SDP of the peer of a session says: its path, how that is compared, and the
    /// certificates one of which it shows; none of them: it need not.
    ///
    /// # Errors
    /// Why the session has to fail: another than the peer had it before.
    pub(crate) fn set_peer(
        &mut self,
        key: SessionKey,
        path: Path<'_>,
        rule: FromRule,
        fingerprints: &[Fingerprint],
    ) -> Result<(), Lost> {
        let Some(session) = self.sessions.get(key) else { return Ok(()) };
        let (connection, claimed) = (session.connection, session.claimed);
        self.sessions.set_fingerprints(key, fingerprints);
        if !self.sessions.set_peer(key, path, rule) {
            return Err(Lost::Path);
        }
        let Some(connection) = connection else { return Ok(()) };
        // Who is at the other end of a connection that we made for the session was seen then.
        let is_ours = self.connections.get(connection).is_some_and(|found| found.hop.is_some());
        if is_ours && !claimed || self.shows_certificate(connection, key) {
            return Ok(());
        }
        self.detach(key);
        self.turn_away(connection);
        if claimed { Err(Lost::Certificate) } else { Ok(()) }
    }

    /// Whether who is on `connection` shows a certificate of the peer of a session.
    pub(super) fn shows_certificate(&self, connection: ConnectionId, key: SessionKey) -> bool {
        let fingerprints = self.sessions.fingerprints(key);
        if fingerprints.is_empty() {
            return true;
        }
        let peer = self.connections.get(connection).and_then(|found| found.peer.as_deref());
        let shown = peer.and_then(|peer| peer.tls.as_ref()?.certificate.as_ref());
        shown.is_some_and(|shown| {
            Fingerprint::any_matches(fingerprints, |function| (self.hash)(function, shown))
        })
    }

    /// Answers a request for a session by somebody who has not the certificate for it.
    pub(super) fn refuse_certificate(
        &mut self,
        connection: ConnectionId,
        key: SessionKey,
        head: &Head<'_>,
    ) {
        self.answer(connection, key, head, 403);
        self.turn_away(connection);
    }

    /// Closes a connection whose peer has shown another certificate than it had to.
    ///
    /// Deviation: one on which others have sessions stays, against RFC 8122 §6.2, which has one
    /// connection for one media line; several sessions may share one here (RFC 4975 §5.4), and
    /// nothing is wrong with those.
    fn turn_away(&mut self, connection: ConnectionId) {
        let Some(found) = self.connections.get(connection) else { return };
        if found.sessions.is_empty() && !found.kept && !found.shared {
            self.close(connection, CloseReason::Certificate);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::node::{Hop, Input, Output, Peer, Tls};
    use crate::tests::{Bench, Said, peer, text, wire};

    const PEER: &str = "msrps://alicepc.example.com:7777/iau39soe2843z;tcp";
    const OWN: &str = "msrps://bob.example.com:8888/9di4eae923wzd;tcp";
    const SECOND: &str = "msrps://bob.example.com:8888/second;tcp";

    /// A certificate is its own hash.
    fn hash(function: &HashFunction, certificate: &[u8]) -> Option<Vec<u8>> {
        (*function == HashFunction::Sha256).then(|| certificate.to_vec())
    }

    fn fingerprint(function: HashFunction, certificate: &'static str) -> Fingerprint {
        Fingerprint { function, digest: certificate.into() }
    }

    fn of(certificates: &[&'static str]) -> Vec<Fingerprint> {
        let one = |certificate: &&'static str| fingerprint(HashFunction::Sha256, certificate);
        certificates.iter().map(one).collect()
    }

    fn bench() -> Bench {
        let mut bench = Bench::new(1);
        bench.node.set_certificate_hash(hash);
        bench
    }

    /// A session whose peer has shown these in its SDP.
    fn session(bench: &mut Bench, own: &str, fingerprints: &[Fingerprint]) -> SessionKey {
        let session = bench.endpoint(own, PEER, |_| {});
        describe(bench, session, fingerprints);
        session
    }

    /// The SDP of the peer comes.
    fn describe(bench: &mut Bench, session: SessionKey, fingerprints: &[Fingerprint]) {
        let path = Path::new(PEER.as_bytes());
        bench.node.set_peer(bench.now, session, path, FromRule::Whole, fingerprints);
    }

    /// Whom TLS names, and what it shows.
    fn over_tls(certificate: Option<&'static str>) -> Peer {
        let names = certificate.map(|_| "alicepc.example.com".into()).into_iter().collect();
        let certificate = certificate.map(|one| Bytes::from_static(one.as_bytes()));
        Peer { tls: Some(Box::new(Tls { names, certificate })), ..peer() }
    }

    fn accept(bench: &mut Bench, certificate: &'static str) -> ConnectionId {
        bench.node.accept(bench.now, over_tls(Some(certificate)))
    }

    /// The code that a SEND for `own` is answered with.
    fn sent(bench: &mut Bench, connection: ConnectionId, own: &str) -> String {
        let paths = format!("To-Path: {own}\nFrom-Path: {PEER}\n");
        let request = format!("MSRP t3st SEND\n{paths}Message-ID: 1\n-------t3st$\n");
        bench.octets(connection, &wire(&request));
        text(&bench.written(connection)).split(' ').nth(2).unwrap_or_default().into()
    }

    // Covers: MSRP-016
    #[test]
    fn a_session_waits_for_who_shows_a_certificate_of_the_sdp() {
        let sha_512 = fingerprint(HashFunction::Sha512, "A");
        let weaker = [fingerprint(HashFunction::Sha1, "B"), of(&["A"]).remove(0)];
        let tls = |certificate| over_tls(Some(certificate));
        #[rustfmt::skip]
        let table = [
            (of(&[]),         peer(),         true,  "neither"),
            (of(&[]),         over_tls(None), true,  "nothing in the SDP, nothing shown"),
            (of(&[]),         tls("B"),       true,  "nothing in the SDP"),
            (of(&["A"]),      peer(),         false, "without TLS"),
            (of(&["A"]),      over_tls(None), false, "nothing shown"),
            (of(&["A"]),      tls("B"),       false, "another, though it names the host"),
            (of(&["A"]),      tls("A"),       true,  "the one"),
            (of(&["B", "A"]), tls("A"),       true,  "one of two"),
            (weaker.into(),   tls("B"),       false, "the weaker function does not count"),
            (vec![sha_512],   tls("A"),       false, "a function that nobody can do"),
        ];
        for (fingerprints, peer, fits, name) in table {
            let mut bench = bench();
            let session = session(&mut bench, OWN, &fingerprints);
            let connection = bench.node.accept(bench.now, peer);
            let code = sent(&mut bench, connection, OWN);
            assert_eq!(code, if fits { "200" } else { "403" }, "{name}");
            assert_eq!(bench.node.connection(session), fits.then_some(connection), "{name}");
            if fits {
                assert_eq!(bench.said(), [Said::Bound], "{name}");
                continue;
            }
            assert_eq!(bench.said(), [Said::Close(CloseReason::Certificate)], "{name}");
            // Nothing more of it is looked at, and the right one still comes.
            assert_eq!(sent(&mut bench, connection, OWN), "", "{name}");
            let right = accept(&mut bench, "A");
            let fits = fingerprints.iter().any(|one| one.function == HashFunction::Sha256);
            assert_eq!(sent(&mut bench, right, OWN), if fits { "200" } else { "403" }, "{name}");
        }
    }

    #[test]
    fn without_a_hash_no_certificate_matches() {
        let mut bench = Bench::new(1);
        session(&mut bench, OWN, &of(&["A"]));
        let connection = accept(&mut bench, "A");
        assert_eq!(sent(&mut bench, connection, OWN), "403");
    }

    // Covers: MSRP-016
    #[test]
    fn a_connection_that_others_use_stays() {
        let mut bench = bench();
        session(&mut bench, OWN, &of(&["A"]));
        session(&mut bench, SECOND, &of(&["B"]));
        let connection = accept(&mut bench, "A");
        assert_eq!(sent(&mut bench, connection, OWN), "200");
        assert_eq!(sent(&mut bench, connection, SECOND), "403");
        assert_eq!(sent(&mut bench, connection, OWN), "200");
        assert_eq!(bench.said(), [Said::Bound]);
        // So does one on which another core has sessions.
        let shared = accept(&mut bench, "A");
        bench.node.set_places(Box::new(|_| Some(1)));
        assert_eq!(sent(&mut bench, shared, "msrps://bob.example.com:8888/far;tcp"), "");
        assert_eq!(sent(&mut bench, shared, SECOND), "403");
        assert_eq!(bench.said(), []);
    }

    // Covers: MSRP-016
    #[test]
    fn who_came_before_the_sdp_has_to_have_the_certificate_in_it() {
        for (shown, fits) in [("A", true), ("B", false)] {
            let mut bench = bench();
            let config = crate::endpoint::EndpointConfig::new(Default::default());
            let own = OWN.parse().unwrap();
            let session = bench.node.open_endpoint_as(bench.now, own, config);
            let connection = accept(&mut bench, shown);
            assert_eq!(sent(&mut bench, connection, OWN), "200");
            assert_eq!(bench.said(), [Said::Bound]);
            describe(&mut bench, session, &of(&["A"]));
            let close = Said::Close(CloseReason::Certificate);
            let lost = [close, Said::Lost(Lost::Certificate)];
            assert_eq!(bench.said(), if fits { &[][..] } else { &lost });
        }
    }

    // Covers: MSRP-016
    #[test]
    fn a_new_sdp_may_have_another_certificate() {
        let mut bench = bench();
        let session = session(&mut bench, OWN, &of(&["A"]));
        let before = accept(&mut bench, "A");
        assert_eq!(sent(&mut bench, before, OWN), "200");
        for same in [of(&["A"]), of(&["B", "A"]), of(&[])] {
            describe(&mut bench, session, &same);
            assert_eq!(bench.node.connection(session), Some(before));
        }
        assert_eq!(bench.said(), [Said::Bound]);
        describe(&mut bench, session, &of(&["B"]));
        assert_eq!(bench.said(), [Said::Close(CloseReason::Certificate)]);
        assert_eq!(bench.node.connection(session), None);
        let (again, after) = (accept(&mut bench, "A"), accept(&mut bench, "B"));
        assert_eq!(sent(&mut bench, again, OWN), "403");
        assert_eq!(sent(&mut bench, after, OWN), "200");
        let said = [Said::Close(CloseReason::Certificate), Said::Bound];
        assert_eq!(bench.said(), said);
    }

    #[test]
    fn who_we_connected_to_was_looked_at_then() {
        let mut bench = bench();
        let active = session(&mut bench, OWN, &of(&["A"]));
        let hop = Hop {
            secure: true,
            host: "alicepc.example.com".into(),
            port: Some(7777),
            through: None,
            fingerprints: of(&["A"]),
        };
        bench.node.connect(bench.now, active, hop);
        bench.drain();
        let connection = bench.node.connection(active).unwrap();
        assert!(bench.outputs.iter().any(|output| matches!(output, Output::Connect { .. })));
        // It has proved its name.
        bench.input(Input::Connected { connection, peer: over_tls(Some("B")) });
        bench.written(connection);
        describe(&mut bench, active, &of(&["A"]));
        assert_eq!(bench.node.connection(active), Some(connection));
        // Another session may not go by that.
        session(&mut bench, SECOND, &of(&["A"]));
        assert_eq!(sent(&mut bench, connection, SECOND), "403");
        assert_eq!(bench.said(), [Said::Bound]);
    }

    #[test]
    fn what_one_session_has_to_show_is_not_left_to_the_next() {
        let mut bench = bench();
        let first = session(&mut bench, OWN, &of(&["A"]));
        bench.node.end_endpoint(bench.now, first);
        let second = bench.endpoint(SECOND, PEER, |_| {});
        assert_eq!(first.index(), second.index());
        describe(&mut bench, first, &of(&["A"]));
        let connection = bench.accept();
        assert_eq!(sent(&mut bench, connection, SECOND), "200");
    }
}
