//! Digest authentication for a core without IMS (CORE-038, RFC 3261 §22, RFC 8760).

use std::fmt;
use std::sync::{Mutex, PoisonError};

use parlance_sip::digest::{Credentials, NonceKey, Policy, Protected, Secret, Verifier};
use parlance_sip::uri::{Aor, Uri};
use parlance_sip::{Entropy, HeaderName, Request};
use parlance_store::Millis;

use crate::Reply;

/// The hashes that a user's password leaves behind (RFC 7616 §3.4.2, without `-sess`).
#[derive(Clone, PartialEq, Eq)]
pub struct Ha1 {
    /// The identity that the password proves.
    pub identity: Aor,
    /// For MD5, in hexadecimal.
    pub md5: String,
    /// For SHA-256, in hexadecimal.
    pub sha256: String,
}

impl fmt::Debug for Ha1 {
    /// Whom it is for; never the hashes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ha1").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// Who knows the users' secrets.
pub trait Secrets: Send + Sync {
    /// What is known of the user of this name; `None` for a stranger.
    fn of(&self, username: &str) -> Option<Ha1>;
}

/// What credentials in a request are worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// There are none.
    None,
    /// They prove this identity.
    Identity(Aor),
    /// They prove nothing; when `stale`, only because the nonce is too old.
    Rejected {
        /// Whether the client may repeat the request without asking its user.
        stale: bool,
    },
}

/// Challenges, and checks the answers. One for all shards: a nonce may be counted on any of them.
pub struct Gate {
    realm: String,
    secrets: Box<dyn Secrets>,
    verifier: Mutex<Verifier>,
}

impl Gate {
    /// A gate for one realm, usually the domain.
    pub fn new(realm: &str, policy: Policy, key: NonceKey, secrets: Box<dyn Secrets>) -> Self {
        let verifier = Mutex::new(Verifier::new(policy, key));
        Self { realm: realm.to_owned(), secrets, verifier }
    }

    /// What the credentials in `request` prove.
    pub fn prove(&self, request: &Request, now: Millis) -> Proof {
        let fields = [HeaderName::ProxyAuthorization, HeaderName::Authorization];
        let values = fields.into_iter().flat_map(|name| request.values(name));
        let mut proof = Proof::None;
        for credentials in values.filter_map(|value| Credentials::parse(value).ok()) {
            if credentials.realm != self.realm {
                continue;
            }
            proof = self.check(request, &credentials, now);
            if matches!(proof, Proof::Identity(_)) {
                break;
            }
        }
        proof
    }

    fn check(&self, request: &Request, credentials: &Credentials, now: Millis) -> Proof {
        // RFC 8760 §2.6 item 6: a digest for another target is somebody else's.
        let same = Uri::parse(credentials.uri.as_bytes())
            .is_ok_and(|uri| request.uri().is_some_and(|target| target.equivalent(&uri)));
        if !same {
            return Proof::Rejected { stale: false };
        }
        let known = self.secrets.of(&credentials.username);
        let secret = known.as_ref().map(|ha1| Secret::Ha1 { md5: &ha1.md5, sha256: &ha1.sha256 });
        let method = request.method();
        let protected =
            Protected { method: method.as_str(), uri: &credentials.uri, body: request.body() };
        let mut verifier = self.verifier.lock().unwrap_or_else(PoisonError::into_inner);
        match verifier.verify(now.0 / 1000, &self.realm, credentials, secret, &protected) {
            Ok(()) => match known {
                Some(ha1) => Proof::Identity(ha1.identity),
                None => Proof::Rejected { stale: false },
            },
            Err(rejection) => Proof::Rejected { stale: rejection.is_stale() },
        }
    }

    /// Adds the challenges to a 401 or 407.
    pub fn challenge(
        &self,
        reply: Reply,
        stale: bool,
        now: Millis,
        entropy: &mut impl Entropy,
    ) -> Reply {
        let name = match reply.status {
            407 => HeaderName::ProxyAuthenticate,
            _ => HeaderName::WwwAuthenticate,
        };
        let verifier = self.verifier.lock().unwrap_or_else(PoisonError::into_inner);
        let challenges = verifier.challenges(now.0 / 1000, &self.realm, stale, entropy);
        challenges.iter().fold(reply, |reply, challenge| reply.with(name, challenge))
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("realm", &self.realm).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use parlance_sip::digest::{Algorithm, Challenge, DigestSession, ha1};

    use super::*;
    use crate::fixture::request;

    struct Alice;

    impl Secrets for Alice {
        fn of(&self, username: &str) -> Option<Ha1> {
            (username == "alice").then(|| Ha1 {
                identity: "sip:alice@h".parse().unwrap(),
                md5: ha1(Algorithm::Md5, "alice", "h", "secret"),
                sha256: ha1(Algorithm::Sha256, "alice", "h", "secret"),
            })
        }
    }

    fn gate() -> Gate {
        Gate::new("h", Policy::default(), NonceKey::new([7; 32]), Box::new(Alice))
    }

    fn counter() -> impl Entropy {
        let mut next = 0;
        move || {
            next += 1;
            next
        }
    }

    /// What alice's client sends after a challenge, with `password`.
    fn answer(gate: &Gate, password: &str, at: Millis) -> Request {
        let reply = gate.challenge(Reply::new(407), false, at, &mut counter());
        let (name, value) = reply.headers.first().unwrap();
        assert_eq!(*name, HeaderName::ProxyAuthenticate);
        let challenge = Challenge::parse(value.as_bytes()).unwrap();
        let mut session = DigestSession::new(challenge, "alice", password);
        let protected = Protected { method: "MESSAGE", uri: "sip:b@h", body: b"" };
        let credentials = session.authorize(&protected, &mut counter());
        request(&format!("MESSAGE sip:b@h SIP/2.0\r\nProxy-Authorization: {credentials}\r\n\r\n"))
    }

    // Covers: CORE-038, SEC-019
    #[test]
    fn a_right_answer_proves_an_identity_once() {
        let gate = gate();
        let now = Millis(1_000_000);
        let right = answer(&gate, "secret", now);
        assert_eq!(gate.prove(&right, now), Proof::Identity("sip:alice@h".parse().unwrap()));
        assert_eq!(gate.prove(&right, now), Proof::Rejected { stale: true }, "a replay");
        let wrong = answer(&gate, "guess", now);
        assert_eq!(gate.prove(&wrong, now), Proof::Rejected { stale: false });
        let old = answer(&gate, "secret", Millis(0));
        let later = Millis(1_000_000_000);
        assert_eq!(gate.prove(&old, later), Proof::Rejected { stale: true });
    }

    #[test]
    fn credentials_for_something_else_prove_nothing() {
        let gate = gate();
        let now = Millis(0);
        let none = request("MESSAGE sip:b@h SIP/2.0\r\n\r\n");
        assert_eq!(gate.prove(&none, now), Proof::None);
        let right = answer(&gate, "secret", now);
        let credentials = right.field(HeaderName::ProxyAuthorization).unwrap();
        let credentials = String::from_utf8_lossy(credentials);
        let other = request(&format!(
            "MESSAGE sip:eve@h SIP/2.0\r\nProxy-Authorization: {credentials}\r\n\r\n"
        ));
        assert_eq!(gate.prove(&other, now), Proof::Rejected { stale: false });
    }
}
