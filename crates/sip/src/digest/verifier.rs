//! The server: challenges, and the check of credentials (RFC 7616 §3.6, RFC 8760 §2.3).

use subtle::ConstantTimeEq;

use super::nonce::Nonce;
use super::replay::Replay;
use super::{Algorithm, Challenge, Count, Credentials, NonceKey, Protected, Qop, ha1, response};
use crate::entropy::Entropy;

/// What the server offers and accepts.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The algorithms, the preferred one first; each is one challenge. Default SHA-256, MD5.
    pub algorithms: Vec<Algorithm>,
    /// The qop values offered. Default `auth`, `auth-int`.
    pub qop: Vec<Qop>,
    /// Whether credentials without qop are accepted, once for each nonce (RFC 2069). Default no:
    /// RFC 8760 §2.6 item 8 has clients send it.
    pub allow_missing_qop: bool,
    /// How long a nonce lasts, in seconds. Default 300; local limit.
    pub nonce_secs: u64,
    /// Nonces whose counts are remembered. Default 100,000; local limit. At the limit the oldest
    /// become stale.
    pub nonces_max: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            algorithms: vec![Algorithm::Sha256, Algorithm::Md5],
            qop: vec![Qop::Auth, Qop::AuthInt],
            allow_missing_qop: false,
            nonce_secs: 300,
            nonces_max: 100_000,
        }
    }
}

/// What the server knows of a user.
#[derive(Clone, Copy)]
pub enum Secret<'a> {
    /// The password.
    Password(&'a str),
    /// What [`ha1`] gives, for the hash of the algorithm used, in hexadecimal.
    Ha1 {
        /// For MD5 and MD5-sess.
        md5: &'a str,
        /// For SHA-256 and SHA-256-sess.
        sha256: &'a str,
    },
}

/// Why credentials are not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// User, password or digest is wrong, or the realm, algorithm or qop is none we offer:
    /// challenge again. A login failure for the log.
    #[error("credentials not valid")]
    Invalid,
    /// The digest is right, but the nonce is too old, not ours or its count was used: challenge
    /// again with `stale=true`; the client repeats the request without asking its user.
    #[error("nonce no longer valid")]
    Stale,
}

impl Rejection {
    /// For the `stale` parameter of the next challenge.
    pub fn is_stale(&self) -> bool {
        match self {
            Self::Invalid => false,
            Self::Stale => true,
        }
    }
}

/// The server side of digest authentication, for any number of realms.
///
/// Time is given as whole seconds of a clock that all servers with the same key share.
#[derive(Debug)]
pub struct Verifier {
    policy: Policy,
    key: NonceKey,
    replay: Replay,
}

impl Verifier {
    /// No nonce is in use yet.
    pub fn new(policy: Policy, key: NonceKey) -> Self {
        let replay = Replay::new(policy.nonces_max);
        Self { policy, key, replay }
    }

    /// The challenges for a 401 or 407, in their order (RFC 8760 §2.3). The realm is that of the
    /// domain the request is for.
    pub fn challenges(
        &self,
        now_secs: u64,
        realm: &str,
        stale: bool,
        entropy: &mut impl Entropy,
    ) -> Vec<Challenge> {
        let nonce = Nonce { issued: now_secs, serial: entropy.next_u64() };
        let nonce = nonce.text(&self.key, realm);
        let challenge = |algorithm: &Algorithm| Challenge {
            realm: realm.to_owned(),
            nonce: nonce.clone(),
            opaque: None,
            stale,
            algorithm: *algorithm,
            qop: self.policy.qop.clone(),
        };
        self.policy.algorithms.iter().map(challenge).collect()
    }

    /// Checks credentials for a realm. `secret` is `None` for an unknown user, which takes as long
    /// as a wrong password. The `uri` in `protected` is that of the credentials; whether it fits
    /// the request is for the caller to judge (RFC 8760 §2.6 item 6).
    pub fn verify(
        &mut self,
        now_secs: u64,
        realm: &str,
        credentials: &Credentials,
        secret: Option<Secret<'_>>,
        protected: &Protected<'_>,
    ) -> Result<(), Rejection> {
        let Credentials { algorithm, nonce, count, .. } = credentials;
        let offered = match count {
            Some(count) => self.policy.qop.contains(&count.qop),
            None => self.policy.allow_missing_qop,
        };
        if credentials.realm != realm || !self.policy.algorithms.contains(algorithm) || !offered {
            return Err(Rejection::Invalid);
        }
        let known = secret.is_some();
        let ha1 = stored_ha1(credentials, secret);
        let counted = count.as_ref().map(|count| Count {
            qop: count.qop,
            nc: count.nc,
            cnonce: &count.cnonce,
        });
        let expected = response(*algorithm, &ha1, nonce, counted, protected);
        // Hexadecimal digits are compared as written in RFC 7616, lower case.
        let given = credentials.response.to_ascii_lowercase();
        let equal = bool::from(expected.as_bytes().ct_eq(given.as_bytes()));
        if !equal || !known {
            return Err(Rejection::Invalid);
        }
        let oldest = now_secs.saturating_sub(self.policy.nonce_secs);
        if let Some(expired) = oldest.checked_sub(1) {
            self.replay.expire(expired);
        }
        // The nonce is looked at last: only who knows the password makes the table grow.
        let nc = count.as_ref().map_or(1, |count| count.nc);
        match Nonce::parse(nonce, &self.key, realm) {
            Some(nonce) if nonce.issued < oldest || nonce.issued > now_secs => {
                Err(Rejection::Stale)
            }
            Some(nonce) if self.replay.take(nonce, nc) => Ok(()),
            Some(_) | None => Err(Rejection::Stale),
        }
    }

    /// How many nonces are in use, for a gauge.
    pub fn nonces(&self) -> usize {
        self.replay.len()
    }
}

pub(super) fn stored_ha1(credentials: &Credentials, secret: Option<Secret<'_>>) -> String {
    let Credentials { algorithm, username, realm, .. } = credentials;
    match (secret, algorithm) {
        (Some(Secret::Password(password)), _) => ha1(*algorithm, username, realm, password),
        (Some(Secret::Ha1 { md5, .. }), Algorithm::Md5 | Algorithm::Md5Sess) => md5.to_owned(),
        (Some(Secret::Ha1 { sha256, .. }), Algorithm::Sha256 | Algorithm::Sha256Sess) => {
            sha256.to_owned()
        }
        (None, _) => ha1(*algorithm, username, realm, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::super::DigestSession;
    use super::*;
    use crate::entropy::seeded;

    const REALM: &str = "biloxi.com";
    const NOW: u64 = 1_700_000_000;
    const MESSAGE: Protected<'static> =
        Protected { method: "MESSAGE", uri: "sip:bob@biloxi.com", body: b"Hello" };

    fn verifier(policy: Policy) -> Verifier {
        Verifier::new(policy, NonceKey::random(&mut seeded(1)))
    }

    /// A client session that answers the `index`th challenge.
    fn session(verifier: &Verifier, realm: &str, index: usize) -> DigestSession {
        let challenges = verifier.challenges(NOW, realm, false, &mut seeded(2));
        DigestSession::new(challenges[index].clone(), "bob", "zanzibar")
    }

    fn credentials(session: &mut DigestSession) -> Credentials {
        session.authorize(&MESSAGE, &mut seeded(3))
    }

    fn verify(
        verifier: &mut Verifier,
        now: u64,
        credentials: &Credentials,
    ) -> Result<(), Rejection> {
        verifier.verify(now, REALM, credentials, Some(Secret::Password("zanzibar")), &MESSAGE)
    }

    // Covers: SEC-019
    #[test]
    fn challenges_name_realm_algorithms_and_qop() {
        let verifier = verifier(Policy::default());
        let challenges = verifier.challenges(NOW, REALM, false, &mut seeded(2));
        let algorithms: Vec<Algorithm> =
            challenges.iter().map(|challenge| challenge.algorithm).collect();
        assert_eq!(algorithms, [Algorithm::Sha256, Algorithm::Md5]);
        for challenge in &challenges {
            let text = challenge.to_string();
            assert!(text.starts_with("Digest realm=\"biloxi.com\", nonce=\""), "{text}");
            assert!(text.ends_with("qop=\"auth,auth-int\""), "{text}");
            assert!(!text.contains("stale"), "{text}");
        }
        let again = verifier.challenges(NOW, "atlanta.com", true, &mut seeded(2));
        assert!(again[0].to_string().contains("realm=\"atlanta.com\""));
        assert!(again[0].to_string().contains("stale=true"));
        assert_ne!(again[0].nonce, challenges[0].nonce, "the realm is part of the nonce");
    }

    // Covers: SEC-008, SEC-019
    #[test]
    fn every_algorithm_and_qop_is_verified() {
        let algorithms =
            vec![Algorithm::Md5, Algorithm::Md5Sess, Algorithm::Sha256, Algorithm::Sha256Sess];
        for qop in [Qop::Auth, Qop::AuthInt] {
            for (index, algorithm) in algorithms.iter().enumerate() {
                let policy =
                    Policy { algorithms: algorithms.clone(), qop: vec![qop], ..Policy::default() };
                let mut verifier = verifier(policy);
                let answer = credentials(&mut session(&verifier, REALM, index));
                assert_eq!(answer.algorithm, *algorithm);
                assert_eq!(answer.count.as_ref().unwrap().qop, qop);
                assert_eq!(verify(&mut verifier, NOW, &answer), Ok(()), "{algorithm} {qop:?}");
            }
        }
    }

    // Covers: SEC-019
    #[test]
    fn stored_hashes_serve_instead_of_the_password() {
        let mut verifier = verifier(Policy::default());
        let md5 = ha1(Algorithm::Md5, "bob", REALM, "zanzibar");
        let sha256 = ha1(Algorithm::Sha256, "bob", REALM, "zanzibar");
        for index in [0, 1] {
            let answer = credentials(&mut session(&verifier, REALM, index));
            let secret = Secret::Ha1 { md5: &md5, sha256: &sha256 };
            // One nonce is behind both challenges, and its count is used once.
            let expected = if index == 0 { Ok(()) } else { Err(Rejection::Stale) };
            assert_eq!(verifier.verify(NOW, REALM, &answer, Some(secret), &MESSAGE), expected);
        }
    }

    // Covers: SEC-019
    #[test]
    fn what_does_not_fit_is_refused() {
        let mut verifier = verifier(Policy { qop: vec![Qop::AuthInt], ..Policy::default() });
        let answer = credentials(&mut session(&verifier, REALM, 0));
        let invalid = Err(Rejection::Invalid);
        let password = Some(Secret::Password("zanzibar"));
        let other = Protected { body: b"Bye", ..MESSAGE };
        assert_eq!(verifier.verify(NOW, REALM, &answer, password, &other), invalid, "the body");
        let other = Protected { method: "INVITE", ..MESSAGE };
        assert_eq!(verifier.verify(NOW, REALM, &answer, password, &other), invalid);
        let wrong = Some(Secret::Password("Zanzibar"));
        assert_eq!(verifier.verify(NOW, REALM, &answer, wrong, &MESSAGE), invalid);
        assert_eq!(verifier.verify(NOW, REALM, &answer, None, &MESSAGE), invalid, "unknown user");
        assert_eq!(verifier.verify(NOW, "x", &answer, password, &MESSAGE), invalid, "realm");
        let short = Credentials { response: String::new(), ..answer.clone() };
        assert_eq!(verify(&mut verifier, NOW, &short), invalid);
        let sess = Credentials { algorithm: Algorithm::Md5Sess, ..answer.clone() };
        assert_eq!(verify(&mut verifier, NOW, &sess), invalid, "not offered");
        assert_eq!(verifier.nonces(), 0, "a refused request leaves no trace");
        assert!(!Rejection::Invalid.is_stale());
        assert_eq!(verify(&mut verifier, NOW, &answer), Ok(()));
    }

    #[test]
    fn an_unknown_user_without_a_password_stays_unknown() {
        let mut verifier = verifier(Policy::default());
        let challenge = verifier.challenges(NOW, REALM, false, &mut seeded(2)).remove(0);
        let answer = DigestSession::new(challenge, "bob", "").authorize(&MESSAGE, &mut seeded(3));
        let result = verifier.verify(NOW, REALM, &answer, None, &MESSAGE);
        assert_eq!(result, Err(Rejection::Invalid));
    }

    // Covers: SEC-019
    #[test]
    fn an_old_or_foreign_nonce_is_stale() {
        let mut verifier = verifier(Policy::default());
        let mut client = session(&verifier, REALM, 0);
        assert_eq!(verify(&mut verifier, NOW + 300, &credentials(&mut client)), Ok(()));
        let late = verify(&mut verifier, NOW + 301, &credentials(&mut client));
        assert_eq!(late, Err(Rejection::Stale));
        assert!(Rejection::Stale.is_stale());
        let early = verify(&mut verifier, NOW - 1, &credentials(&mut client));
        assert_eq!(early, Err(Rejection::Stale), "issued in the future");
        let mut other = Verifier::new(Policy::default(), NonceKey::random(&mut seeded(9)));
        let foreign = verify(&mut other, NOW, &credentials(&mut client));
        assert_eq!(foreign, Err(Rejection::Stale), "made with another key");
    }

    // Covers: SEC-019
    #[test]
    fn a_nonce_count_is_accepted_once() {
        let mut verifier = verifier(Policy::default());
        let mut client = session(&verifier, REALM, 0);
        let first = credentials(&mut client);
        let second = credentials(&mut client);
        assert_eq!(verify(&mut verifier, NOW, &second), Ok(()));
        assert_eq!(verify(&mut verifier, NOW, &first), Ok(()), "overtaken");
        assert_eq!(verify(&mut verifier, NOW, &first), Err(Rejection::Stale));
        assert_eq!(verify(&mut verifier, NOW, &second), Err(Rejection::Stale));
        assert_eq!(verify(&mut verifier, NOW, &credentials(&mut client)), Ok(()));
    }

    #[test]
    fn without_qop_a_nonce_serves_once() {
        let strict = &mut verifier(Policy::default());
        let mut challenge = strict.challenges(NOW, REALM, false, &mut seeded(2)).remove(0);
        challenge.qop.clear();
        let mut client = DigestSession::new(challenge, "bob", "zanzibar");
        let answer = credentials(&mut client);
        assert_eq!(answer.count, None);
        assert_eq!(verify(strict, NOW, &answer), Err(Rejection::Invalid));
        let mut old = verifier(Policy { allow_missing_qop: true, ..Policy::default() });
        assert_eq!(verify(&mut old, NOW, &answer), Ok(()));
        assert_eq!(verify(&mut old, NOW, &answer), Err(Rejection::Stale));
    }

    #[test]
    fn nonces_that_ran_out_are_forgotten() {
        let mut verifier = verifier(Policy::default());
        for (at, expected) in [(NOW, 1), (NOW + 10, 2), (NOW + 305, 2)] {
            let challenge = verifier.challenges(at, REALM, false, &mut seeded(at)).remove(0);
            let mut client = DigestSession::new(challenge, "bob", "zanzibar");
            assert_eq!(verify(&mut verifier, at, &credentials(&mut client)), Ok(()));
            assert_eq!(verifier.nonces(), expected);
        }
    }
}
