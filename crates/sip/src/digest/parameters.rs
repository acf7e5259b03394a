//! The header field values: `WWW-Authenticate`, `Proxy-Authenticate` ([`Challenge`]);
//! `Authorization`, `Proxy-Authorization` ([`Credentials`]) (RFC 7616 §3.3, §3.4).

use std::fmt;

use super::{Algorithm, Qop};
use crate::header::PARAMS_MAX;
use crate::{examined, grammar};

/// Why a value was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParametersError {
    /// The scheme is not Digest.
    #[error("scheme is not Digest")]
    Scheme,
    /// A parameter is not `name=value`, comes twice, is not UTF-8, or there are more than
    /// [`PARAMS_MAX`].
    #[error("malformed parameter")]
    Shape,
    /// `realm`, `nonce`, `username`, `uri` or `response` is missing.
    #[error("required parameter missing")]
    Missing,
    /// The algorithm or qop is not known here.
    #[error("unknown algorithm or qop")]
    Unknown,
    /// `qop`, `nc` and `cnonce` do not stand together, or `nc` is not eight hexadecimal digits.
    #[error("nonce count malformed")]
    Count,
}

/// What a server asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The protection domain.
    pub realm: String,
    /// The server's nonce.
    pub nonce: String,
    /// Given back as it is.
    pub opaque: Option<String>,
    /// Whether only the nonce was too old.
    pub stale: bool,
    /// The algorithm; MD5 when missing.
    pub algorithm: Algorithm,
    /// The qop values we know, in their order; empty for a server of RFC 2069.
    pub qop: Vec<Qop>,
}

/// What a client answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Who.
    pub username: String,
    /// The protection domain.
    pub realm: String,
    /// The server's nonce.
    pub nonce: String,
    /// The URI the digest was made with; need not equal the Request-URI (RFC 8760 §2.6 item 6).
    pub uri: String,
    /// The digest, in hexadecimal.
    pub response: String,
    /// The algorithm; MD5 when missing.
    pub algorithm: Algorithm,
    /// Given back as it was.
    pub opaque: Option<String>,
    /// `qop`, nonce count and `cnonce`; `None` for a client of RFC 2069.
    pub count: Option<NonceCount>,
}

/// The parameters that stand together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NonceCount {
    /// What is protected.
    pub qop: Qop,
    /// How often the nonce was used, this time included.
    pub nc: u32,
    /// The client's nonce.
    pub cnonce: String,
}

impl Challenge {
    /// Reads one field value. Unknown parameters are ignored, unknown qop values left out.
    pub fn parse(value: &[u8]) -> Result<Self, ParametersError> {
        let mut parameters = Parameters::parse(value)?;
        let qop = match parameters.take("qop") {
            None => Vec::new(),
            Some(list) => {
                let known: Vec<Qop> =
                    list.split(',').filter_map(|qop| Qop::from_token(qop.trim())).collect();
                if known.is_empty() {
                    return Err(ParametersError::Unknown);
                }
                known
            }
        };
        Ok(Self {
            realm: parameters.require("realm")?,
            nonce: parameters.require("nonce")?,
            opaque: parameters.take("opaque"),
            stale: parameters.take("stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
            algorithm: parameters.algorithm()?,
            qop,
        })
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest realm={}, nonce={}", Quoted(&self.realm), Quoted(&self.nonce))?;
        if let Some(opaque) = &self.opaque {
            write!(f, ", opaque={}", Quoted(opaque))?;
        }
        if self.stale {
            f.write_str(", stale=true")?;
        }
        write!(f, ", algorithm={}", self.algorithm)?;
        if !self.qop.is_empty() {
            let list: Vec<&str> = self.qop.iter().map(|qop| qop.token()).collect();
            write!(f, ", qop=\"{}\"", list.join(","))?;
        }
        Ok(())
    }
}

impl Credentials {
    /// Reads one field value. Unknown parameters are ignored.
    pub fn parse(value: &[u8]) -> Result<Self, ParametersError> {
        Self::read(value, None)
    }

    /// Reads one field value of a protocol that knows the URI anyway, and leaves it out: then it
    /// is `uri` (RFC 4976 §9.1).
    pub fn parse_for(value: &[u8], uri: &str) -> Result<Self, ParametersError> {
        Self::read(value, Some(uri))
    }

    fn read(value: &[u8], uri: Option<&str>) -> Result<Self, ParametersError> {
        let mut parameters = Parameters::parse(value)?;
        let (qop, nc) = (parameters.take("qop"), parameters.take("nc"));
        let count = match (qop, nc, parameters.take("cnonce")) {
            (Some(qop), Some(nc), Some(cnonce)) => {
                let qop = Qop::from_token(&qop).ok_or(ParametersError::Unknown)?;
                Some(NonceCount { qop, nc: nonce_count(&nc)?, cnonce })
            }
            (None, None, _) => None,
            (Some(_), _, _) | (None, Some(_), _) => return Err(ParametersError::Count),
        };
        Ok(Self {
            username: parameters.require("username")?,
            realm: parameters.require("realm")?,
            nonce: parameters.require("nonce")?,
            uri: match (parameters.take("uri"), uri) {
                (Some(uri), _) => uri,
                (None, Some(known)) => known.to_owned(),
                (None, None) => return Err(ParametersError::Missing),
            },
            response: parameters.require("response")?,
            algorithm: parameters.algorithm()?,
            opaque: parameters.take("opaque"),
            count,
        })
    }
}

impl fmt::Display for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest username={}, ", Quoted(&self.username))?;
        write!(f, "realm={}, nonce={}, ", Quoted(&self.realm), Quoted(&self.nonce))?;
        write!(f, "uri={}, response={}, ", Quoted(&self.uri), Quoted(&self.response))?;
        write!(f, "algorithm={}", self.algorithm)?;
        if let Some(opaque) = &self.opaque {
            write!(f, ", opaque={}", Quoted(opaque))?;
        }
        match &self.count {
            Some(NonceCount { qop, nc, cnonce }) => {
                write!(f, ", qop={}, nc={nc:08x}, cnonce={}", qop.token(), Quoted(cnonce))
            }
            None => Ok(()),
        }
    }
}

/// `nc-value`: exactly eight hexadecimal digits (RFC 7616 §3.4).
pub(super) fn nonce_count(text: &str) -> Result<u32, ParametersError> {
    if text.len() != 8 || !text.bytes().all(|octet| octet.is_ascii_hexdigit()) {
        return Err(ParametersError::Count);
    }
    u32::from_str_radix(text, 16).map_err(|_| ParametersError::Count)
}

/// A `quoted-string` (RFC 3261 §25.1).
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        f.write_char('"')?;
        for character in self.0.chars() {
            if matches!(character, '"' | '\\') {
                f.write_char('\\')?;
            }
            f.write_char(character)?;
        }
        f.write_char('"')
    }
}

/// Name and value of each parameter, the names in lower case.
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn parse(value: &[u8]) -> Result<Self, ParametersError> {
        let value = grammar::trim(value);
        let (scheme, rest) = value.split_at_checked(6).ok_or(ParametersError::Scheme)?;
        let spaced = rest.first().is_some_and(|octet| grammar::is_lws(*octet));
        if !scheme.eq_ignore_ascii_case(b"Digest") || !spaced {
            return Err(ParametersError::Scheme);
        }
        Self::parse_list(rest)
    }

    /// Parameters without a scheme before them.
    pub(super) fn parse_list(value: &[u8]) -> Result<Self, ParametersError> {
        let mut parameters: Vec<(String, String)> = Vec::new();
        for element in grammar::split_list(value) {
            let equals = element.iter().position(|octet| *octet == b'=');
            let (name, value) = equals
                .and_then(|equals| element.split_at_checked(equals))
                .ok_or(ParametersError::Shape)?;
            let name = text(grammar::trim(name))?.to_ascii_lowercase();
            let value = grammar::trim(value.get(1..).unwrap_or_default());
            let value = text(&grammar::unquote(value))?;
            // Two values for one name: whoever looks at the other one is fooled.
            examined(parameters.len() * name.len());
            let is_known = parameters.iter().any(|(known, _)| *known == name);
            if name.is_empty() || is_known || parameters.len() >= PARAMS_MAX {
                return Err(ParametersError::Shape);
            }
            parameters.push((name, value));
        }
        Ok(Self(parameters))
    }

    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let index = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(index).1)
    }

    pub(super) fn require(&mut self, name: &str) -> Result<String, ParametersError> {
        self.take(name).ok_or(ParametersError::Missing)
    }

    fn algorithm(&mut self) -> Result<Algorithm, ParametersError> {
        match self.take("algorithm") {
            None => Ok(Algorithm::Md5),
            Some(token) => Algorithm::from_token(&token).ok_or(ParametersError::Unknown),
        }
    }
}

fn text(octets: &[u8]) -> Result<String, ParametersError> {
    std::str::from_utf8(octets).map(str::to_owned).map_err(|_| ParametersError::Shape)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    fn credentials() -> Credentials {
        Credentials {
            username: "bob".into(),
            realm: "biloxi.com".into(),
            nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093".into(),
            uri: "sip:bob@biloxi.com".into(),
            response: "6629fae49393a05397450978507c4ef1".into(),
            algorithm: Algorithm::Md5,
            opaque: Some("5ccc069c403ebaf9f0171e9517f40e41".into()),
            count: Some(NonceCount { qop: Qop::Auth, nc: 1, cnonce: "0a4f113b".into() }),
        }
    }

    #[test]
    fn parses_credentials() {
        // RFC 3261 §22.4, as in §24.1 of its examples.
        let value = b"Digest username=\"bob\",\r\n realm=\"biloxi.com\",\r\n \
            nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", uri=\"sip:bob@biloxi.com\", qop=auth, \
            nc=00000001, cnonce=\"0a4f113b\", response=\"6629fae49393a05397450978507c4ef1\", \
            opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"";
        let without = String::from_utf8(value.to_vec()).unwrap();
        let (before, after) = without.split_once("uri=\"").unwrap();
        let (uri, after) = after.split_once("\",").unwrap();
        let without = format!("{before}{after}");
        assert_eq!(Credentials::parse(without.as_bytes()), Err(ParametersError::Missing));
        assert_eq!(Credentials::parse_for(without.as_bytes(), uri), Ok(credentials()));
        assert_eq!(Credentials::parse_for(value, "other"), Ok(credentials()));
        assert_eq!(Credentials::parse(value), Ok(credentials()));
        let bare = Credentials { count: None, opaque: None, ..credentials() };
        assert_eq!(Credentials::parse(bare.to_string().as_bytes()), Ok(bare));
    }

    #[test]
    fn parses_challenges() {
        let value = b"digest Realm=\"a, \\\"b\\\"\" , nonce=x,qop=\"auth, token,auth-int\",\
            ALGORITHM=sha-256, stale=TRUE, unknown=1";
        let challenge = Challenge {
            realm: "a, \"b\"".into(),
            nonce: "x".into(),
            opaque: None,
            stale: true,
            algorithm: Algorithm::Sha256,
            qop: vec![Qop::Auth, Qop::AuthInt],
        };
        assert_eq!(Challenge::parse(value), Ok(challenge.clone()));
        assert_eq!(Challenge::parse(challenge.to_string().as_bytes()), Ok(challenge));
    }

    #[test]
    fn refuses() {
        use ParametersError::{Count, Missing, Scheme, Shape, Unknown};
        let base = "Digest username=u, realm=r, nonce=n, uri=x, response=y";
        #[rustfmt::skip]
        let table = [
            ("Basic QWxhZGRpbg==".to_owned(),                      Scheme), // never (RFC 8760 §2.6)
            ("Digest".to_owned(),                                  Scheme),
            ("Digestrealm=r".to_owned(),                           Scheme),
            ("Digest ".to_owned(),                                 Scheme),
            ("Digest realm=r, nonce".to_owned(),                   Shape),
            ("Digest =r".to_owned(),                               Shape),
            (format!("{base}, realm=other"),                       Shape),
            ("Digest realm=r, nonce=n, uri=x, response=y".into(),  Missing),
            (format!("{base}, algorithm=SHA-512-256"),             Unknown),
            (format!("{base}, qop=auth-conf, nc=00000001, cnonce=c"), Unknown),
            (format!("{base}, qop=auth"),                          Count),
            (format!("{base}, qop=auth, nc=00000001"),             Count),
            (format!("{base}, nc=00000001, cnonce=c"),             Count),
            (format!("{base}, qop=auth, nc=1, cnonce=c"),          Count),
            (format!("{base}, qop=auth, nc=+0000001, cnonce=c"),   Count),
            (format!("{base}, qop=auth, nc=0000000g, cnonce=c"),   Count),
        ];
        for (value, error) in table {
            assert_eq!(Credentials::parse(value.as_bytes()), Err(error), "{value}");
        }
        assert_eq!(Credentials::parse(b"Digest realm=\xff"), Err(Shape));
        let more = |count| (0..count).map(|count| format!(", p{count}=v")).collect::<String>();
        assert!(Credentials::parse(format!("{base}{}", more(PARAMS_MAX - 5)).as_bytes()).is_ok());
        let many = format!("{base}{}", more(PARAMS_MAX - 4));
        assert_eq!(Credentials::parse(many.as_bytes()), Err(Shape));
        assert_eq!(Challenge::parse(b"Digest realm=r, nonce=n, qop=x"), Err(Unknown));
        assert_eq!(Challenge::parse(b"Digest realm=r"), Err(Missing));
    }

    proptest! {
        #[test]
        fn display_then_parse_is_identity(
            username in "[ -~]*", nonce in "[ -~é]*", nc: u32, int: bool, stale: bool,
        ) {
            let qop = if int { Qop::AuthInt } else { Qop::Auth };
            let count = Some(NonceCount { qop, nc, cnonce: username.clone() });
            let credentials = Credentials {
                username: username.clone(), nonce: nonce.clone(), count, ..credentials()
            };
            let text = credentials.to_string();
            prop_assert_eq!(Credentials::parse(text.as_bytes()), Ok(credentials));
            let challenge = Challenge {
                realm: username, nonce, opaque: None, stale,
                algorithm: Algorithm::Md5Sess, qop: vec![qop],
            };
            let text = challenge.to_string();
            prop_assert_eq!(Challenge::parse(text.as_bytes()), Ok(challenge));
        }

        #[test]
        fn never_panics(value in proptest::collection::vec(any::<u8>(), 0..60)) {
            let digest = [b"Digest ".as_slice(), &value].concat();
            for value in [value, digest] {
                let _ = Credentials::parse(&value);
                let _ = Challenge::parse(&value);
            }
        }
    }
}
