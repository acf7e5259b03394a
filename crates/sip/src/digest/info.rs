//! The value of `Authentication-Info`: the server's proof that it knows the secret, too
//! (RFC 7616 §3.5, RFC 4976 §9.1).

use std::fmt;

use subtle::ConstantTimeEq;

use super::parameters::{NonceCount, Parameters, Quoted, nonce_count};
use super::verifier::stored_ha1;
use super::{Count, Credentials, ParametersError, Protected, Qop, Secret, response};

/// What a server says of accepted credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthenticationInfo {
    /// `nextnonce`: for the next request.
    pub nextnonce: Option<String>,
    /// `rspauth`: the digest, in hexadecimal.
    pub rspauth: String,
    /// `qop`, `nc` and `cnonce` of the credentials.
    pub count: NonceCount,
}

impl AuthenticationInfo {
    /// The proof for credentials that were accepted with `secret`; `None` without `qop`: a client
    /// of RFC 2069 does not know it.
    pub fn new(credentials: &Credentials, secret: Secret<'_>) -> Option<Self> {
        let count = credentials.count.clone()?;
        let ha1 = stored_ha1(credentials, Some(secret));
        let rspauth = rspauth(credentials, &count, &ha1);
        Some(Self { nextnonce: None, rspauth, count })
    }

    /// Reads one field value. Unknown parameters are ignored.
    ///
    /// # Errors
    /// [`ParametersError`]: it is none.
    pub fn parse(value: &[u8]) -> Result<Self, ParametersError> {
        let mut parameters = Parameters::parse_list(value)?;
        let qop = Qop::from_token(&parameters.require("qop")?).ok_or(ParametersError::Unknown)?;
        let nc = nonce_count(&parameters.require("nc")?)?;
        Ok(Self {
            nextnonce: parameters.take("nextnonce"),
            rspauth: parameters.require("rspauth")?,
            count: NonceCount { qop, nc, cnonce: parameters.require("cnonce")? },
        })
    }

    /// Whether it proves the server of `credentials` whose H(A1) is `ha1`.
    pub(super) fn proves(&self, credentials: &Credentials, ha1: &str) -> bool {
        let expected = rspauth(credentials, &self.count, ha1);
        let given = self.rspauth.to_ascii_lowercase();
        let equal = bool::from(expected.as_bytes().ct_eq(given.as_bytes()));
        equal && credentials.count.as_ref() == Some(&self.count)
    }
}

impl fmt::Display for AuthenticationInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(nextnonce) = &self.nextnonce {
            write!(f, "nextnonce={}, ", Quoted(nextnonce))?;
        }
        let NonceCount { qop, nc, cnonce } = &self.count;
        write!(f, "rspauth={}, cnonce={}, ", Quoted(&self.rspauth), Quoted(cnonce))?;
        write!(f, "nc={nc:08x}, qop={}", qop.token())
    }
}

/// The digest as that of a request, without the method (RFC 7616 §3.5).
fn rspauth(credentials: &Credentials, count: &NonceCount, ha1: &str) -> String {
    let count = Count { qop: count.qop, nc: count.nc, cnonce: &count.cnonce };
    let protected = Protected { method: "", uri: &credentials.uri, body: b"" };
    response(credentials.algorithm, ha1, &credentials.nonce, Some(count), &protected)
}

#[cfg(test)]
mod tests {
    use super::super::{Algorithm, Challenge, DigestSession};
    use super::*;
    use crate::entropy::seeded;

    const CREDENTIALS: &str = "Digest username=\"alice\", realm=\"relay.home1.example\", \
        nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", uri=\"msrps://relay.home1.example:2855;tcp\", \
        qop=auth, nc=00000001, cnonce=\"0a4f113b\", response=\"e20b816fbc5db01b945ff9326a3c6122\"";

    // The credentials and the proof computed from the formulas with another program.
    #[test]
    fn the_proof_is_that_of_the_formula() {
        let credentials = Credentials::parse(CREDENTIALS.as_bytes()).unwrap();
        let info =
            AuthenticationInfo::new(&credentials, Secret::Password("correct horse")).unwrap();
        assert_eq!(
            info.to_string(),
            "rspauth=\"7135f009cdce5ee7c5d7013c854c53c3\", cnonce=\"0a4f113b\", nc=00000001, qop=auth"
        );
        assert_eq!(AuthenticationInfo::parse(info.to_string().as_bytes()), Ok(info));
        // RFC 4976 §5.1: no space after a comma, qop last.
        let value = b"nextnonce=\"40f2\",rspauth=\"7327570c586207eca2afae94fc20903d\", \
            cnonce=\"0a4f113b\", nc=00000001, qop=auth";
        let read = AuthenticationInfo::parse(value).unwrap();
        assert_eq!(read.nextnonce.as_deref(), Some("40f2"));
        let bare = Credentials { count: None, ..credentials };
        assert_eq!(AuthenticationInfo::new(&bare, Secret::Password("x")), None);
    }

    #[test]
    fn refuses() {
        use ParametersError::{Count, Missing, Shape, Unknown};
        #[rustfmt::skip]
        let table = [
            ("",                                              Missing),
            ("x",                                             Shape),
            ("qop=auth, nc=00000001, cnonce=a",               Missing),
            ("qop=odd, nc=00000001, cnonce=a, rspauth=b",     Unknown),
            ("qop=auth, nc=1, cnonce=a, rspauth=b",           Count),
            ("qop=auth, qop=auth",                            Shape),
        ];
        for (value, error) in table {
            assert_eq!(AuthenticationInfo::parse(value.as_bytes()), Err(error), "{value}");
        }
    }

    #[test]
    fn a_client_believes_who_knows_the_secret_and_uses_the_next_nonce() {
        for algorithm in [Algorithm::Md5, Algorithm::Sha256] {
            let challenge = Challenge {
                realm: "r".to_owned(),
                nonce: "one".to_owned(),
                opaque: None,
                stale: false,
                algorithm,
                qop: vec![Qop::Auth],
            };
            let mut session = DigestSession::new(challenge, "alice", "secret");
            let protected = Protected { method: "AUTH", uri: "msrps://r;tcp", body: b"" };
            let credentials = session.authorize(&protected, &mut seeded(1));
            let info = AuthenticationInfo::new(&credentials, Secret::Password("secret")).unwrap();
            let wrong = AuthenticationInfo::new(&credentials, Secret::Password("other")).unwrap();
            let mut replayed = info.clone();
            replayed.count.nc += 1;
            assert!(!session.is_proved(&credentials, &wrong));
            assert!(!session.is_proved(&credentials, &replayed));
            assert!(session.is_proved(&credentials, &info));
            session.take_next_nonce(&info);
            assert_eq!(session.authorize(&protected, &mut seeded(1)).nonce, "one");
            let next = AuthenticationInfo { nextnonce: Some("two".to_owned()), ..info };
            session.take_next_nonce(&next);
            let again = session.authorize(&protected, &mut seeded(1));
            assert_eq!((again.nonce.as_str(), again.count.unwrap().nc), ("two", 1));
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(value: Vec<u8>, near in "(qop=|nc=|auth|rspauth=|,|\"|=|0){0,20}") {
            let _ = AuthenticationInfo::parse(&value);
            let _ = AuthenticationInfo::parse(near.as_bytes());
        }
    }
}
