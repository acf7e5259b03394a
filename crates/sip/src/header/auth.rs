//! `WWW-Authenticate`, `Authorization` and their proxy forms (RFC 3261 §20.44, §20.7, RFC 7616).

use super::params::{PARAMS_MAX, Param, Value};
use super::{Encode, Fault, Sink};
use crate::grammar::{self, Scanner};

/// A scheme and its parameters, which commas separate: the field is no list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthParams<'a> {
    /// The scheme: `Digest`, or one we do not have (RFC 4475 §3.3.7).
    pub scheme: &'a str,
    /// The parameters as written.
    raw: &'a [u8],
}

impl<'a> AuthParams<'a> {
    fn read(value: &'a [u8]) -> Result<Self, Fault> {
        let mut scanner = Scanner::new(grammar::trim(value));
        if scanner.is_empty() {
            return Err(Fault::Empty);
        }
        let scheme = scanner.token().ok_or(Fault::Syntax)?;
        if !scanner.lws() {
            return Err(Fault::Syntax);
        }
        let read = Self { scheme, raw: scanner.rest() };
        let mut count = 0;
        loop {
            let param = Param::scan(&mut scanner).ok_or(Fault::Parameter)?;
            if param.value.is_none() {
                return Err(Fault::Parameter);
            }
            // A repeated parameter could mean one thing to us and another to the next hop.
            if read.iter().take(count).any(|before| before.is(param.name)) {
                return Err(Fault::Repeated);
            }
            count += 1;
            if scanner.is_empty() {
                return Ok(read);
            }
            if count >= PARAMS_MAX {
                return Err(Fault::TooMany);
            }
            if !scanner.separator(b',') {
                return Err(Fault::Parameter);
            }
        }
    }

    /// The parameters in order.
    pub fn iter(&self) -> impl Iterator<Item = Param<'a>> + use<'a> {
        let mut scanner = Scanner::new(self.raw);
        std::iter::from_fn(move || {
            let param = Param::scan(&mut scanner);
            scanner.separator(b',');
            param
        })
    }

    /// The value of a parameter, whatever the case of its name.
    pub fn value(&self, name: &str) -> Option<Value<'a>> {
        self.iter().find(|param| param.is(name)).and_then(|param| param.value)
    }

    /// Whether the scheme is `Digest`.
    pub fn is_digest(&self) -> bool {
        self.scheme.eq_ignore_ascii_case("Digest")
    }
}

impl Encode for AuthParams<'_> {
    fn write_to<S: Sink>(&self, out: &mut S) {
        out.text(self.scheme);
        out.text(" ");
        out.octets(self.raw);
    }
}

wrap! {
    /// What a 401 asks for.
    WwwAuthenticate(AuthParams = AuthParams::read);
    /// What a 407 asks for.
    ProxyAuthenticate(AuthParams = AuthParams::read);
    /// The answer to a 401.
    Authorization(AuthParams = AuthParams::read);
    /// The answer to a 407.
    ProxyAuthorization(AuthParams = AuthParams::read);
}

/// The parameters of a Digest answer that verifying it needs (RFC 7616 §3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DigestResponse<'a> {
    /// Who answers.
    pub username: Value<'a>,
    /// The protection space of the challenge.
    pub realm: Value<'a>,
    /// The nonce of the challenge.
    pub nonce: Value<'a>,
    /// The request target the answer is for.
    pub uri: Value<'a>,
    /// The answer: lower-case hexadecimal digits.
    pub response: Value<'a>,
    /// The algorithm; `None` is MD5.
    pub algorithm: Option<Value<'a>>,
    /// The client's nonce; there whenever `qop` is.
    pub cnonce: Option<Value<'a>>,
    /// What the challenge asked to be sent back.
    pub opaque: Option<Value<'a>>,
    /// The quality of protection: `auth` or `auth-int`.
    pub qop: Option<Value<'a>>,
    /// How often the nonce was used, as written: eight hexadecimal digits. There whenever `qop` is.
    pub nc: Option<&'a str>,
}

impl<'a> DigestResponse<'a> {
    /// Takes the parameters out of an `Authorization` or `Proxy-Authorization`.
    ///
    /// # Errors
    /// [`Fault::Syntax`] when the scheme is another, [`Fault::Missing`] without a parameter that
    /// must stand, [`Fault::Parameter`] for an `nc` that is not eight hexadecimal digits.
    pub fn new(credentials: &AuthParams<'a>) -> Result<Self, Fault> {
        if !credentials.is_digest() {
            return Err(Fault::Syntax);
        }
        let required = |name| credentials.value(name).ok_or(Fault::Missing);
        let qop = credentials.value("qop");
        let cnonce = credentials.value("cnonce");
        let nc = match credentials.value("nc") {
            Some(nc) => Some(nc.as_str().filter(|nc| is_count(nc)).ok_or(Fault::Parameter)?),
            None => None,
        };
        if qop.is_some() && (cnonce.is_none() || nc.is_none()) {
            return Err(Fault::Missing);
        }
        Ok(Self {
            username: required("username")?,
            realm: required("realm")?,
            nonce: required("nonce")?,
            uri: required("uri")?,
            response: required("response")?,
            algorithm: credentials.value("algorithm"),
            cnonce,
            opaque: credentials.value("opaque"),
            qop,
            nc,
        })
    }

    /// The nonce count as a number; `None` when there is none.
    pub fn nonce_count(&self) -> Option<u32> {
        self.nc.and_then(|nc| u32::from_str_radix(nc, 16).ok())
    }
}

fn is_count(nc: &str) -> bool {
    nc.len() == 8 && nc.bytes().all(|octet| octet.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::header::Header;

    /// RFC 3261 §22.4, with the shape of RFC 2617.
    const DIGEST: &str = "Digest username=\"bob\",\r\n realm=\"biloxi.com\",\
        nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\",\
        uri=\"sip:bob@biloxi.com\",qop=auth,nc=00000001,\
        cnonce=\"0a4f113b\",response=\"6629fae49393a05397450978507c4ef1\",\
        opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"";

    #[test]
    fn parses() {
        accepts!(
            WwwAuthenticate,
            "Digest realm=\"atlanta.com\", domain=\"sip:boxesbybob.com\", qop=\"auth\""
        );
        accepts!(ProxyAuthenticate, "Digest realm=\"a, b\\\"c\" , stale=FALSE, algorithm=MD5");
        accepts!(Authorization, "NoOneKnowsThisScheme opaque-data=here"); // RFC 4475 §3.3.7
        accepts!(ProxyAuthorization, DIGEST);
        let read = Authorization::parse(DIGEST.as_bytes()).unwrap();
        let digest = DigestResponse::new(&read).unwrap();
        assert_eq!(digest.username.as_str(), Some("bob"));
        assert_eq!(digest.uri.as_str(), Some("sip:bob@biloxi.com"));
        assert_eq!((digest.nc, digest.nonce_count()), (Some("00000001"), Some(1)));
        assert!(digest.qop.is_some_and(|qop| qop.is("auth")) && digest.algorithm.is_none());
        assert_eq!(read.iter().count(), 9);
        assert!(read.value("OPAQUE").is_some());
    }

    #[test]
    fn refuses() {
        refuses!(Authorization, "", Fault::Empty);
        refuses!(Authorization, "Digest", Fault::Syntax);
        refuses!(Authorization, "Digest ,", Fault::Parameter);
        refuses!(Authorization, "Digest realm", Fault::Parameter);
        refuses!(Authorization, "Digest realm=\"a\",", Fault::Parameter);
        refuses!(Authorization, "Digest realm=\"a\" nonce=\"b\"", Fault::Parameter);
        refuses!(Authorization, "Digest realm=\"a\",Realm=\"b\"", Fault::Repeated);
        let list = |count| (0..count).map(|at| format!("p{at}=x")).collect::<Vec<_>>().join(",");
        accepts!(Authorization, &format!("Digest {}", list(PARAMS_MAX)));
        refuses!(Authorization, &format!("Digest {}", list(PARAMS_MAX + 1)), Fault::TooMany);
    }

    #[test]
    fn incomplete_answers() {
        let table = [
            ("Basic x=y", Fault::Syntax),
            ("Digest username=\"bob\"", Fault::Missing),
            ("Digest nc=1", Fault::Parameter),
            (&DIGEST.replace(",nc=00000001", ""), Fault::Missing),
            (&DIGEST.replace("cnonce=", "x="), Fault::Missing),
            (&DIGEST.replace("response=", "x="), Fault::Missing),
        ];
        for (text, fault) in table {
            let credentials = Authorization::parse(text.as_bytes()).unwrap();
            assert_eq!(DigestResponse::new(&credentials), Err(fault), "{text}");
        }
    }

    proptest! {
        #[test]
        fn display_then_parse_is_identity(
            list in proptest::collection::vec("=[a-z]{1,4}|=\"[a-z, ]{0,5}\"", 1..6),
        ) {
            let named = list.iter().enumerate().map(|(at, value)| format!("p{at}{value}"));
            let params: Vec<String> = named.collect();
            let text = format!("Digest {}", params.join(", "));
            let read = WwwAuthenticate::parse(text.as_bytes()).unwrap();
            prop_assert_eq!(read.iter().count(), list.len());
            prop_assert_eq!(read.to_string(), text);
        }
    }
}
