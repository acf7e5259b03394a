//! The client: which challenge is answered, and how (RFC 7616 §3.4, RFC 8760 §2.4).

use super::parameters::NonceCount;
use super::{AuthenticationInfo, Challenge, Count, Credentials, Protected, Qop, ha1, response};
use crate::entropy::{Entropy, token};

/// The client's memory of one realm: the last challenge and how often its nonce was used.
#[derive(Clone)]
pub struct DigestSession {
    challenge: Challenge,
    username: String,
    /// H(A1); the password itself is not kept.
    ha1: String,
    nc: u32,
}

impl std::fmt::Debug for DigestSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { challenge, nc, .. } = self;
        f.debug_struct("DigestSession")
            .field("realm", &challenge.realm)
            .field("nc", nc)
            .finish_non_exhaustive()
    }
}

impl DigestSession {
    /// The challenge to answer: the topmost one we understand of those for `realm`, or of any when
    /// it is `None` (RFC 8760 §2.4).
    pub fn choose<'a>(
        values: impl IntoIterator<Item = &'a [u8]>,
        realm: Option<&str>,
    ) -> Option<Challenge> {
        values
            .into_iter()
            .filter_map(|value| Challenge::parse(value).ok())
            .find(|challenge| realm.is_none_or(|realm| realm == challenge.realm))
    }

    /// The nonce was not used yet.
    pub fn new(challenge: Challenge, username: &str, password: &str) -> Self {
        let ha1 = ha1(challenge.algorithm, username, &challenge.realm, password);
        Self { challenge, username: username.to_owned(), ha1, nc: 0 }
    }

    /// Whether a challenge to a request that carried our credentials is worth a new session: the
    /// nonce was stale, or it comes from another realm. Otherwise the password is wrong, and the
    /// same answer would only be refused again (RFC 3261 §22.2).
    pub fn is_worth_another_try(&self, challenge: &Challenge) -> bool {
        let new_nonce = challenge.nonce != self.challenge.nonce;
        (challenge.stale && new_nonce) || challenge.realm != self.challenge.realm
    }

    /// Whether the server that accepted `credentials` of this session knows the secret.
    pub fn is_proved(&self, credentials: &Credentials, info: &AuthenticationInfo) -> bool {
        info.proves(credentials, &self.ha1)
    }

    /// Uses the nonce that the server gave for the next request, if it did (RFC 7616 §3.5). One of
    /// a `-sess` algorithm stays: its key is bound to the first nonce.
    pub fn take_next_nonce(&mut self, info: &AuthenticationInfo) {
        if let Some(nonce) = &info.nextnonce
            && !self.challenge.algorithm.is_session()
        {
            self.challenge.nonce.clone_from(nonce);
            self.nc = 0;
        }
    }

    /// The credentials for one request. `auth` is preferred to `auth-int`: some elements on the
    /// path, B2BUAs and gateways, change bodies.
    pub fn authorize(
        &mut self,
        protected: &Protected<'_>,
        entropy: &mut impl Entropy,
    ) -> Credentials {
        let Challenge { algorithm, nonce, qop, .. } = &self.challenge;
        let qop = [Qop::Auth, Qop::AuthInt].into_iter().find(|known| qop.contains(known));
        let cnonce = token(entropy, 2);
        let count = qop.map(|qop| {
            self.nc = self.nc.saturating_add(1);
            NonceCount { qop, nc: self.nc, cnonce }
        });
        let counted = count.as_ref().map(|count| Count {
            qop: count.qop,
            nc: count.nc,
            cnonce: &count.cnonce,
        });
        let response = response(*algorithm, &self.ha1, nonce, counted, protected);
        Credentials {
            username: self.username.clone(),
            realm: self.challenge.realm.clone(),
            nonce: nonce.clone(),
            uri: protected.uri.to_owned(),
            response,
            algorithm: *algorithm,
            opaque: self.challenge.opaque.clone(),
            count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Algorithm;
    use super::*;
    use crate::entropy::seeded;

    const MESSAGE: Protected<'static> =
        Protected { method: "MESSAGE", uri: "sip:bob@biloxi.com", body: b"" };

    #[test]
    fn the_topmost_challenge_we_understand_is_answered() {
        let values: [&[u8]; 4] = [
            b"Basic realm=\"a\"",
            b"Digest realm=\"a\", nonce=\"1\", algorithm=SHA-512-256, qop=\"auth\"",
            b"Digest realm=\"a\", nonce=\"2\", algorithm=SHA-256, qop=\"auth\"",
            b"Digest realm=\"b\", nonce=\"3\", algorithm=MD5",
        ];
        let any = DigestSession::choose(values, None).unwrap();
        assert_eq!((any.nonce.as_str(), any.algorithm), ("2", Algorithm::Sha256));
        assert_eq!(DigestSession::choose(values, Some("b")).unwrap().nonce, "3");
        assert_eq!(DigestSession::choose(values, Some("c")), None);
    }

    #[test]
    fn the_nonce_count_goes_up() {
        let value = b"Digest realm=\"a\", nonce=\"2\", opaque=\"o\", qop=\"auth-int,auth\"";
        let challenge = Challenge::parse(value).unwrap();
        let mut session = DigestSession::new(challenge, "bob", "zanzibar");
        for nc in 1..4 {
            let answer = session.authorize(&MESSAGE, &mut seeded(u64::from(nc)));
            let count = answer.count.unwrap();
            assert_eq!((count.nc, count.qop), (nc, Qop::Auth));
            assert_eq!(answer.opaque.as_deref(), Some("o"));
        }
        assert!(!format!("{session:?}").contains(&session.ha1));
    }

    #[test]
    fn a_wrong_password_is_not_tried_again() {
        let challenge = |text: &str| Challenge::parse(text.as_bytes()).unwrap();
        let first = challenge("Digest realm=a, nonce=1, qop=auth");
        let session = DigestSession::new(first.clone(), "bob", "zanzibar");
        let table = [
            ("Digest realm=a, nonce=2, qop=auth", false),
            ("Digest realm=a, nonce=2, qop=auth, stale=true", true),
            ("Digest realm=a, nonce=1, qop=auth, stale=true", false),
            ("Digest realm=b, nonce=2, qop=auth", true),
        ];
        for (text, worth) in table {
            assert_eq!(session.is_worth_another_try(&challenge(text)), worth, "{text}");
        }
    }
}
