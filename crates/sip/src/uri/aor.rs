//! The key under which a public identity is stored.

use std::fmt;
use std::str::FromStr;

use super::escape::{USER, escape_user, unescape};
use super::{Host, OtherUri, SipUri, TelUri, Uri, UriError};
use crate::grammar::find;

/// A public identity in canonical spelling, owned: equal keys are the same user.
///
/// - SIP and SIPS become `sip:` user `@` host. Escapes in the user part are resolved unless they
///   are needed (RFC 3261 §10.3 step 5), its case is kept; password, parameters and headers go.
///   The host is in lower case, an address in its shortest form. A port stays unless it is 5060
///   or 5061: `sip:alice@ims.test:5060` is the user of that domain, while lab users on one
///   address are told apart by port. A URI without a user part is the identity of that host.
/// - tel becomes `tel:` and the digits without visual separators; a local number keeps its
///   `phone-context`. `ext` and `isub` go: they name a station of the user, not the user.
/// - `im:` and `pres:` keep their scheme and are treated like SIP without a port.
///
/// A `tel:` and a `sip:` identity are two keys, even with `user=phone`: which belong to one user is
/// provisioned or learnt, not spelled (CORE-040).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Aor(String);

/// Why a text is no public identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AorError {
    /// The text is no URI.
    #[error(transparent)]
    Uri(#[from] UriError),
    /// A URI of a scheme that names no user.
    #[error("URI scheme names no user")]
    Scheme,
}

impl Aor {
    /// The identity a URI names; `None` when its scheme is none of `sip`, `sips`, `tel`, `im` and
    /// `pres`, or when an `im` or `pres` URI is no mailbox.
    pub fn from_uri(uri: &Uri<'_>) -> Option<Self> {
        match uri {
            Uri::Sip(uri) => Some(Self::from_sip(uri)),
            Uri::Tel(uri) => Some(Self::from_tel(uri)),
            Uri::Other(uri) => Self::from_mailbox(uri),
        }
    }

    /// Reads a URI and takes its identity.
    pub fn parse(text: &str) -> Result<Self, AorError> {
        Self::from_uri(&Uri::parse(text.as_bytes())?).ok_or(AorError::Scheme)
    }

    /// The canonical URI.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The scheme: `sip`, `tel`, `im` or `pres`.
    pub fn scheme(&self) -> &str {
        self.split().0
    }

    /// The user part, escaped where needed; the number of a tel identity without its parameters.
    /// `None` for the identity of a host.
    pub fn user(&self) -> Option<&str> {
        self.split().1
    }

    /// The host, with its port if one was kept; for a local number its `phone-context`; `None` for
    /// a global number, which belongs to no domain.
    pub fn domain(&self) -> Option<&str> {
        self.split().2
    }

    fn split(&self) -> (&str, Option<&str>, Option<&str>) {
        let (scheme, rest) = match self.0.strip_prefix("sip:") {
            Some(rest) => ("sip", rest),
            None => self.0.split_once(':').unwrap_or((&self.0, "")),
        };
        if scheme == "tel" {
            return match rest.split_once(";phone-context=") {
                Some((number, context)) => (scheme, Some(number), Some(context)),
                None => (scheme, Some(rest), None),
            };
        }
        let at = find(b'@', rest.as_bytes());
        match at.and_then(|at| Some((rest.get(..at)?, rest.get(at + 1..)?))) {
            Some((user, domain)) => (scheme, Some(user), Some(domain)),
            None => (scheme, None, Some(rest)),
        }
    }

    fn from_sip(uri: &SipUri<'_>) -> Self {
        // Room for all of it at once, the port included.
        let user = uri.user.map_or(0, str::len);
        let mut text = String::with_capacity("sip:@:65535".len() + user + uri.host.as_str().len());
        text.push_str("sip:");
        if let Some(user) = uri.user {
            push_user(&mut text, user);
        }
        push_host(&mut text, uri.host);
        if let Some(port) = uri.port.filter(|port| !matches!(port, 5060 | 5061)) {
            text.push_str(&format!(":{port}"));
        }
        Self(text)
    }

    fn from_tel(uri: &TelUri<'_>) -> Self {
        let mut text = String::from("tel:");
        text.extend(uri.digits().map(|digit| digit.to_ascii_lowercase()));
        if let Some(context) = uri.context().filter(|_| !uri.is_global()) {
            text.push_str(";phone-context=");
            let is_number = context.starts_with('+');
            let dropped = |octet: &char| is_number && matches!(octet, '-' | '.' | '(' | ')');
            let kept = context.chars().filter(|octet| !dropped(octet));
            text.extend(kept.map(|octet| octet.to_ascii_lowercase()));
        }
        Self(text)
    }

    fn from_mailbox(uri: &OtherUri<'_>) -> Option<Self> {
        let (user, host) = uri.mailbox()?;
        let host = Host::parse(host).ok()?;
        let mut text = uri.scheme.to_ascii_lowercase();
        text.push(':');
        push_user(&mut text, user);
        push_host(&mut text, host);
        Some(Self(text))
    }
}

fn push_user(text: &mut String, user: &str) {
    let plain = user.bytes().all(|octet| USER.contains(octet));
    if plain {
        text.push_str(user);
    } else {
        text.push_str(&escape_user(&unescape(user)));
    }
    text.push('@');
}

fn push_host(text: &mut String, host: Host<'_>) {
    match host.ip() {
        Some(std::net::IpAddr::V6(ip)) => text.push_str(&format!("[{ip}]")),
        Some(std::net::IpAddr::V4(_)) => text.push_str(host.as_str()),
        None => {
            let name = host.as_str();
            let name = name.strip_suffix('.').unwrap_or(name);
            let at = text.len();
            text.push_str(name);
            if let Some(name) = text.get_mut(at..) {
                name.make_ascii_lowercase();
            }
        }
    }
}

impl FromStr for Aor {
    type Err = AorError;

    fn from_str(text: &str) -> Result<Self, AorError> {
        Self::parse(text)
    }
}

impl fmt::Display for Aor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn identities_are_canonical() {
        #[rustfmt::skip]
        let table = [
            ("sip:Alice@IMS.Test", "sip:Alice@ims.test"),
            ("sips:alice@ims.test:5061;transport=tls?subject=x", "sip:alice@ims.test"),
            ("sip:alice:pw@ims.test:5060;user=phone", "sip:alice@ims.test"),
            ("sip:service@127.0.0.1:5090", "sip:service@127.0.0.1:5090"),
            ("sip:%61lice@ims.test.", "sip:alice@ims.test"),
            ("sip:a%3Bb%40c@ims.test", "sip:a;b%40c@ims.test"),
            ("sip:j%c3%a9@ims.test", "sip:j%C3%A9@ims.test"),
            ("sip:null-%00-null@example.com", "sip:null-%00-null@example.com"), // RFC 4475 §3.1.1.4
            ("sip:factory.ims.test;lr", "sip:factory.ims.test"),
            ("sip:a@[2001:DB8:0::1]", "sip:a@[2001:db8::1]"),
            ("tel:+1-555-000-0001;ext=2", "tel:+15550000001"),
            ("tel:70-42;phone-context=Example.COM", "tel:7042;phone-context=example.com"),
            ("tel:7042;phone-context=+1-914;x", "tel:7042;phone-context=+1914"),
            ("IM:Fred@Example.com?x=y", "im:Fred@example.com"),
            ("pres:fred@example.com", "pres:fred@example.com"),
        ];
        for (text, key) in table {
            let aor: Aor = text.parse().unwrap();
            assert_eq!(aor.to_string(), key, "{text}");
            assert_eq!(Aor::parse(aor.as_str()), Ok(aor.clone()), "a key is its own key");
        }
    }

    #[test]
    fn parts() {
        #[rustfmt::skip]
        let table = [
            ("sip:Alice@IMS.Test", "sip", Some("Alice"), Some("ims.test")),
            ("sip:IMS.Test", "sip", None, Some("ims.test")),
            ("sip:a@[::1]:99", "sip", Some("a"), Some("[::1]:99")),
            ("tel:+1-5", "tel", Some("+15"), None),
            ("tel:5;phone-context=x.y", "tel", Some("5"), Some("x.y")),
            ("im:a@b.c", "im", Some("a"), Some("b.c")),
        ];
        for (text, scheme, user, domain) in table {
            let aor = Aor::parse(text).unwrap();
            assert_eq!((aor.scheme(), aor.user(), aor.domain()), (scheme, user, domain), "{text}");
        }
    }

    #[test]
    fn refuses() {
        let table = [
            ("urn:service:sos", AorError::Scheme),
            ("http://example.com", AorError::Scheme),
            ("im:fred", AorError::Scheme),
            ("alice", AorError::Uri(UriError::Scheme)),
            ("sip:a@b c", AorError::Uri(UriError::Host)),
        ];
        for (text, error) in table {
            assert_eq!(Aor::parse(text), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_key_is_its_own_key(
            user: Vec<u8>,
            host in "[A-Za-z]{1,8}\\.[a-z]{2}",
            port: Option<u16>,
        ) {
            let user = escape_user(&user);
            let at = if user.is_empty() { "" } else { "@" };
            let port = port.map_or(String::new(), |port| format!(":{port}"));
            let aor = Aor::parse(&format!("sips:{user}{at}{host}{port};x")).unwrap();
            prop_assert_eq!(Aor::parse(aor.as_str()), Ok(aor));
        }

        #[test]
        fn never_panics(text: String) {
            let _ = Aor::parse(&text);
        }
    }
}
