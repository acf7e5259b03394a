//! Digest authentication, RFC 7616 as RFC 8760 and RFC 3261 §22 use it in SIP.
//!
//! [`Verifier`] is the server: challenges, nonces, the check of credentials. [`DigestSession`] is
//! the client. [`AuthenticationInfo`] proves the server to the client. Algorithms are MD5, SHA-256
//! and their `-sess` forms; Basic is never used (RFC 8760 §2.6).

mod client;
mod info;
mod nonce;
mod parameters;
mod replay;
mod verifier;

pub use client::DigestSession;
pub use info::AuthenticationInfo;
pub use nonce::NonceKey;
pub use parameters::{Challenge, Credentials, NonceCount, ParametersError};
pub use verifier::{Policy, Rejection, Secret, Verifier};

use std::fmt;

use data_encoding::HEXLOWER;
use md5::Md5;
use sha2::{Digest, Sha256};

/// The `algorithm` parameter (RFC 7616 §3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// `MD5`, what a missing parameter means.
    Md5,
    /// `MD5-sess`.
    Md5Sess,
    /// `SHA-256`.
    Sha256,
    /// `SHA-256-sess`.
    Sha256Sess,
}

const ALGORITHMS: [(&str, Algorithm); 4] = [
    ("MD5", Algorithm::Md5),
    ("MD5-sess", Algorithm::Md5Sess),
    ("SHA-256", Algorithm::Sha256),
    ("SHA-256-sess", Algorithm::Sha256Sess),
];

impl Algorithm {
    /// Reads the token, whatever its case; `None` when we do not know it.
    pub fn from_token(token: &str) -> Option<Self> {
        ALGORITHMS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(token))
            .map(|(_, algorithm)| *algorithm)
    }

    /// The token.
    pub fn token(self) -> &'static str {
        ALGORITHMS.iter().find(|(_, algorithm)| *algorithm == self).map_or("", |(name, _)| name)
    }

    fn is_session(self) -> bool {
        match self {
            Self::Md5Sess | Self::Sha256Sess => true,
            Self::Md5 | Self::Sha256 => false,
        }
    }

    /// H: the hash of `parts` joined by colons, in lower-case hexadecimal.
    fn hash(self, parts: &[&[u8]]) -> String {
        match self {
            Self::Md5 | Self::Md5Sess => hash_with::<Md5>(parts),
            Self::Sha256 | Self::Sha256Sess => hash_with::<Sha256>(parts),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.token())
    }
}

/// The `qop` parameter: what the digest protects (RFC 7616 §3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qop {
    /// Method and URI.
    Auth,
    /// The body too.
    AuthInt,
}

impl Qop {
    /// Reads the token, whatever its case; `None` when we do not know it.
    pub fn from_token(token: &str) -> Option<Self> {
        [Self::Auth, Self::AuthInt].into_iter().find(|qop| qop.token().eq_ignore_ascii_case(token))
    }

    /// The token.
    pub fn token(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::AuthInt => "auth-int",
        }
    }
}

/// What of the request goes into the digest.
#[derive(Clone, Copy, Debug)]
pub struct Protected<'a> {
    /// The method.
    pub method: &'a str,
    /// The `uri` parameter of the credentials.
    pub uri: &'a str,
    /// The body; empty when there is none (RFC 8760 §2.6 item 7).
    pub body: &'a [u8],
}

/// The hash of user name, realm and password that a server may keep instead of the password: A1 of
/// an algorithm that is no `-sess` form, hashed (RFC 7616 §3.4.2).
pub fn ha1(algorithm: Algorithm, username: &str, realm: &str, password: &str) -> String {
    algorithm.hash(&[username.as_bytes(), realm.as_bytes(), password.as_bytes()])
}

/// The nonce count and `cnonce` that belong to a `qop`.
#[derive(Clone, Copy, Debug)]
struct Count<'a> {
    qop: Qop,
    nc: u32,
    cnonce: &'a str,
}

/// The `response` parameter (RFC 7616 §3.4.1); without `qop` that of RFC 2069.
fn response(
    algorithm: Algorithm,
    ha1: &str,
    nonce: &str,
    count: Option<Count<'_>>,
    protected: &Protected<'_>,
) -> String {
    let cnonce = count.map_or("", |count| count.cnonce);
    let session_ha1 = algorithm
        .is_session()
        .then(|| algorithm.hash(&[ha1.as_bytes(), nonce.as_bytes(), cnonce.as_bytes()]));
    let ha1 = session_ha1.as_deref().unwrap_or(ha1);
    let (method, uri) = (protected.method.as_bytes(), protected.uri.as_bytes());
    let Some(count) = count else {
        let ha2 = algorithm.hash(&[method, uri]);
        return algorithm.hash(&[ha1.as_bytes(), nonce.as_bytes(), ha2.as_bytes()]);
    };
    let ha2 = match count.qop {
        Qop::Auth => algorithm.hash(&[method, uri]),
        Qop::AuthInt => {
            let body = algorithm.hash(&[protected.body]);
            algorithm.hash(&[method, uri, body.as_bytes()])
        }
    };
    let nc = format!("{:08x}", count.nc);
    algorithm.hash(&[
        ha1.as_bytes(),
        nonce.as_bytes(),
        nc.as_bytes(),
        cnonce.as_bytes(),
        count.qop.token().as_bytes(),
        ha2.as_bytes(),
    ])
}

fn hash_with<D: Digest>(parts: &[&[u8]]) -> String {
    let mut hasher = D::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            hasher.update(b":");
        }
        hasher.update(part);
    }
    HEXLOWER.encode(&hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: &str = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
    const CNONCE: &str = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";

    // The examples of RFC 7616 §3.9.1; the rest computed from its formulas with another program.
    #[test]
    fn responses_are_those_of_the_rfc() {
        let get = Protected { method: "GET", uri: "/dir/index.html", body: b"" };
        let auth = Some(Count { qop: Qop::Auth, nc: 1, cnonce: CNONCE });
        let int = Some(Count { qop: Qop::AuthInt, nc: 1, cnonce: CNONCE });
        #[rustfmt::skip]
        let table = [
            (Algorithm::Md5,        auth, "8ca523f5e9506fed4657c9700eebdbec"),
            (Algorithm::Sha256,     auth,
                "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
            (Algorithm::Md5,        int,  "8804a53d3640a40a4f73cea12c5ba451"),
            (Algorithm::Sha256,     int,
                "8bdf6f15638e260831e905028de5450562816d093c9bfc5c13d3a46adcdde940"),
            (Algorithm::Md5Sess,    auth, "e783283f46242139c486a698fec7211d"),
            (Algorithm::Sha256Sess, auth,
                "2fd51b3a77ad75bad6afad6003e818d767133c46d9e2749e7f5232ae1ea3efd7"),
            (Algorithm::Md5,        None, "7b2cc3b30e75b4777ea31027084363fd"),
        ];
        for (algorithm, count, expected) in table {
            let ha1 = ha1(algorithm, "Mufasa", "http-auth@example.org", "Circle of Life");
            assert_eq!(response(algorithm, &ha1, NONCE, count, &get), expected, "{algorithm}");
        }
    }

    // RFC 8760 §2.6 item 7.
    #[test]
    fn an_empty_body_has_the_hash_of_nothing() {
        assert_eq!(Algorithm::Md5.hash(&[b""]), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(
            Algorithm::Sha256.hash(&[b""]),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }

    #[test]
    fn tokens_are_read_whatever_their_case() {
        for (name, algorithm) in ALGORITHMS {
            assert_eq!(Algorithm::from_token(&name.to_lowercase()), Some(algorithm));
            assert_eq!(algorithm.to_string(), name);
        }
        assert_eq!(Algorithm::from_token("SHA-512-256"), None);
        assert_eq!(Qop::from_token("AUTH-INT"), Some(Qop::AuthInt));
        assert_eq!(Qop::from_token("auth-conf"), None);
    }
}
