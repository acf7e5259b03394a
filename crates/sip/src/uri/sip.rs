//! SIP and SIPS URIs (RFC 3261 §19.1).

use std::fmt;

use super::escape::{USER, cut_escaped, is_escaped, same, same_ignoring_case};
use super::{Host, HostPort, UriError, UriHeaders, UriParams};
use crate::grammar::Class;
use crate::{Transport, examined};

/// What a password may hold unescaped.
const PASSWORD: Class = Class::UNRESERVED.with(b"&=+$,");
/// Parameters that, in one URI only, make two URIs differ (RFC 3261 §19.1.4). The text has a rule
/// for `user`, `ttl`, `method` and `maddr`; its statement that an omitted `transport` does not
/// match an explicit default, and its table of examples, put `transport` beside them.
const NEVER_IGNORED: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];
/// URI headers whose values hold user parts or text, so that their case matters (RFC 3261 §20).
const CASE_SENSITIVE: [&str; 9] =
    ["body", "call-id", "contact", "from", "refer-to", "referred-by", "replaces", "route", "to"];

/// A SIP or SIPS URI. All parts are spelled as they were, escapes unresolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SipUri<'a> {
    /// Whether the scheme is `sips`.
    pub secure: bool,
    /// The user part; `None` when the URI names a host only.
    pub user: Option<&'a str>,
    /// The password; only ever with a user.
    pub password: Option<&'a str>,
    /// The host.
    pub host: Host<'a>,
    /// The port; `None` when none is written.
    pub port: Option<u16>,
    /// The URI parameters.
    pub params: UriParams<'a>,
    /// The headers to put into a request made from this URI. They belong in a Contact, a Refer-To
    /// or a redirection, never in a Request-URI (RFC 3261 §19.1.1, Table 1).
    pub headers: UriHeaders<'a>,
}

impl<'a> SipUri<'a> {
    /// Reads what follows the scheme and its colon.
    #[inline(always)]
    pub(super) fn parse_rest(secure: bool, rest: &'a str) -> Result<Self, UriError> {
        let (user, password, rest) = userinfo(rest)?;
        let (HostPort { host, port }, rest) = HostPort::scan(rest, b";?")?;
        let mut uri = Self {
            secure,
            user,
            password,
            host,
            port,
            params: UriParams::default(),
            headers: UriHeaders::default(),
        };
        if !rest.is_empty() {
            let (params, headers) = UriParams::scan(rest, b"?")?;
            (uri.params, uri.headers) = (params, UriHeaders::parse(headers)?);
        }
        Ok(uri)
    }

    /// What it addresses: user, host, port, and the parameters that are not in `left_out`; no
    /// password and no headers.
    pub fn without(&self, left_out: &[&str]) -> String {
        let user = self.user.map(|user| format!("{user}@")).unwrap_or_default();
        let hostport = HostPort { host: self.host, port: self.port };
        let mut text = format!("{}:{user}{hostport}", self.scheme());
        for (name, value) in self.params.iter() {
            if left_out.iter().any(|left_out| name.eq_ignore_ascii_case(left_out)) {
                continue;
            }
            text.push(';');
            text.push_str(name);
            if let Some(value) = value {
                text.push('=');
                text.push_str(value);
            }
        }
        text
    }

    /// `sip` or `sips`.
    pub fn scheme(&self) -> &'static str {
        if self.secure { "sips" } else { "sip" }
    }

    /// Whether the element this URI names routes loosely: the `lr` parameter, with or without a
    /// value (RFC 3261 §16.12).
    pub fn is_loose_router(&self) -> bool {
        self.params.has("lr")
    }

    /// The `maddr` parameter; `None` when absent or no host.
    pub fn maddr(&self) -> Option<Host<'a>> {
        self.params.value("maddr").and_then(|text| Host::parse(text).ok())
    }

    /// The `transport` parameter when it is one we have; see [`UriParams::value`] for the others.
    pub fn transport(&self) -> Option<Transport> {
        self.params.value("transport").and_then(|text| Transport::from_token(text.as_bytes()))
    }

    /// Whether the user part is a telephone number: `user=phone` (RFC 3261 §19.1.1).
    pub fn is_phone(&self) -> bool {
        self.params.value("user").is_some_and(|user| user.eq_ignore_ascii_case("phone"))
    }

    /// Whether two URIs are equivalent by the rules of RFC 3261 §19.1.4.
    pub fn equivalent(&self, other: &SipUri<'_>) -> bool {
        self.secure == other.secure
            && same_option(self.user, other.user)
            && same_option(self.password, other.password)
            && self.host == other.host
            && self.port == other.port
            && params_match(self.params, other.params)
            && params_match(other.params, self.params)
            && headers_match(self.headers, other.headers)
    }
}

/// Takes `userinfo` off the front, if there is one: user, password, and what follows the "@".
///
/// Neither host, parameters nor headers may hold an "@", so the first one, if any, ends the user
/// part, which may itself hold ";" and "?" (RFC 4475 §3.1.1.9).
#[inline(always)]
fn userinfo(text: &str) -> Result<(Option<&str>, Option<&str>, &str), UriError> {
    let (user, tail) = cut_escaped(text, &USER);
    let (password, rest) = match tail.strip_prefix('@') {
        // Nearly always it is written like this.
        Some(rest) => (None, rest),
        None => match split_at_sign(tail) {
            Some((password, rest)) => (Some(read_password(password)?), rest),
            None => return Ok((None, None, text)),
        },
    };
    if user.is_empty() { Err(UriError::Userinfo) } else { Ok((Some(user), password, rest)) }
}

fn split_at_sign(text: &str) -> Option<(&str, &str)> {
    examined(text.len());
    text.split_once('@')
}

/// Reads a password behind its colon.
fn read_password(text: &str) -> Result<&str, UriError> {
    let password = text.strip_prefix(':').filter(|password| is_escaped(password, &PASSWORD));
    password.ok_or(UriError::Userinfo)
}

fn same_option(one: Option<&str>, two: Option<&str>) -> bool {
    match (one, two) {
        (Some(one), Some(two)) => same(one, two),
        (None, None) => true,
        _ => false,
    }
}

/// Whether no parameter of `one` forbids equivalence with `two`. A name may stand only once
/// (§19.1.1); where it stands twice the first counts, as it does for everybody who looks it up.
fn params_match(one: UriParams<'_>, two: UriParams<'_>) -> bool {
    one.iter().all(|(name, _)| match (one.first(name).flatten(), two.first(name)) {
        (Some(ours), Some(Some(theirs))) => same_ignoring_case(ours, theirs),
        (None, Some(None)) => true,
        (Some(_) | None, Some(_)) => false,
        (_, None) => !NEVER_IGNORED.iter().any(|known| same_ignoring_case(name, known)),
    })
}

/// Whether both have the same headers, in whatever order, none ignored.
fn headers_match(one: UriHeaders<'_>, two: UriHeaders<'_>) -> bool {
    let covers = |one: UriHeaders<'_>, two: UriHeaders<'_>| {
        one.iter().all(|ours| two.iter().any(|theirs| same_header(ours, theirs)))
    };
    one.iter().count() == two.iter().count() && covers(one, two) && covers(two, one)
}

fn same_header(one: (&str, &str), two: (&str, &str)) -> bool {
    if !same_ignoring_case(one.0, two.0) {
        return false;
    }
    if CASE_SENSITIVE.iter().any(|known| same_ignoring_case(one.0, known)) {
        same(one.1, two.1)
    } else {
        same_ignoring_case(one.1, two.1)
    }
}

impl fmt::Display for SipUri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.scheme())?;
        if let Some(user) = self.user {
            f.write_str(user)?;
            if let Some(password) = self.password {
                write!(f, ":{password}")?;
            }
            f.write_str("@")?;
        }
        let hostport = HostPort { host: self.host, port: self.port };
        write!(f, "{hostport}{}{}", self.params, self.headers)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Uri;
    use super::*;

    fn sip(text: &str) -> Result<SipUri<'_>, UriError> {
        let (scheme, rest) = text.split_once(':').unwrap();
        SipUri::parse_rest(scheme.eq_ignore_ascii_case("sips"), rest)
    }

    #[test]
    fn parameters_are_left_out() {
        let text = "sips:a:secret@[2001:db8::1]:5070;LR;orig;x=1;Method=BYE?subject=z";
        let uri = sip(text).unwrap();
        assert_eq!(uri.without(&["orig", "lr"]), "sips:a@[2001:db8::1]:5070;x=1;Method=BYE");
        assert_eq!(uri.without(&["method"]), "sips:a@[2001:db8::1]:5070;LR;orig;x=1");
        assert_eq!(sip("sip:h.test").unwrap().without(&["lr"]), "sip:h.test");
    }

    #[test]
    fn parses() {
        #[rustfmt::skip]
        let table = [
            // RFC 3261 §19.1.3
            ("sip:alice@atlanta.com", Some("alice"), None, None),
            (
                "sip:alice:secretword@atlanta.com;transport=tcp",
                Some("alice"),
                Some("secretword"),
                None,
            ),
            (
                "sips:alice@atlanta.com?subject=project%20x&priority=urgent",
                Some("alice"),
                None,
                None,
            ),
            (
                "sip:+1-212-555-1212:1234@gateway.com;user=phone",
                Some("+1-212-555-1212"),
                Some("1234"),
                None,
            ),
            ("sips:1212@gateway.com", Some("1212"), None, None),
            ("sip:alice@192.0.2.4", Some("alice"), None, None),
            ("sip:atlanta.com;method=REGISTER?to=alice%40atlanta.com", None, None, None),
            ("sip:alice;day=tuesday@atlanta.com", Some("alice;day=tuesday"), None, None),
            // RFC 4475 §3.1.1.1, §3.1.1.2, §3.1.1.3, §3.1.1.4, §3.1.1.9
            ("sip:vivekg@chair-dnrc.example.com;unknownparam", Some("vivekg"), None, None),
            ("sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*\
                :&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com",
                Some("1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"),
                Some("&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"), None),
            (
                "sip:sips%3Auser%40example.com@example.net",
                Some("sips%3Auser%40example.com"),
                None,
                None,
            ),
            ("sip:%00@host5.example.com", Some("%00"), None, None),
            (
                "sip:user;par=u%40example.net@example.com",
                Some("user;par=u%40example.net"),
                None,
                None,
            ),
            // RFC 5118 §4.1, §4.4
            ("sip:[2001:db8::10]", None, None, None),
            ("sip:caller@[2001:db8::1]:5070", Some("caller"), None, Some(5070)),
            (
                "sip:iscmark@scscf.ims.test:6060;lr;s=2;h=0;d=0;a=7369",
                Some("iscmark"),
                None,
                Some(6060),
            ),
        ];
        for (text, user, password, port) in table {
            let uri = sip(text).unwrap();
            assert_eq!((uri.user, uri.password, uri.port), (user, password, port), "{text}");
            assert_eq!(uri.to_string(), text);
        }
    }

    #[test]
    fn refuses() {
        use UriError::{Header, Host, Parameter, Port, Userinfo};
        #[rustfmt::skip]
        let table = [
            ("sip:@example.com", Userinfo),
            ("sip::pw@example.com", Userinfo),
            ("sip:a b@example.com", Userinfo),
            ("sip:a%4@example.com", Userinfo),
            ("sip:a:b:c@example.com", Userinfo),
            ("sip:a\"b@example.com", Userinfo),
            ("sip:a@b@example.com", Host),
            ("sip:a@", Host),
            ("sip:a@exa mple.com", Host),
            ("sip:user@example.com, x", Host),
            ("sip:user@example.com:", Port),
            ("sip:user@example.com;", Parameter),
            ("sip:user@example.com;a=<b>", Parameter),
            ("sip:user@example.com?", Header),
            ("sip:C.example;method=REFER?Refer-To=\"<sip:D.example>\"", Header),
        ];
        for (text, error) in table {
            assert_eq!(sip(text), Err(error), "{text}");
        }
    }

    // Covers: CORE-045
    #[test]
    fn equivalent_uris() {
        #[rustfmt::skip]
        let table = [
            // The sets of RFC 3261 §19.1.4, equivalent and not.
            ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp", true),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5", true),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on", true),
            ("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on", true),
            ("sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com", true),
            ("sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&subject=project%20x", true),
            ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP", false),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060", false),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp", false),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp", false),
            ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting", false),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4", false),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off", false),
            // The rules without an example.
            ("sip:a@b.c", "sips:a@b.c", false),
            ("sip:b.c", "sip:a@b.c", false),
            ("sip:a@b.c", "sip:a:pw@b.c", false),
            ("sip:a:pw@b.c", "sip:a:PW@b.c", false),
            ("sip:a@b.c;user=phone", "sip:a@b.c", false),
            ("sip:a@b.c", "sip:a@b.c;ttl=1", false),
            ("sip:a@b.c", "sip:a@b.c;method=INVITE", false),
            ("sip:a@b.c;maddr=192.0.2.1", "sip:a@b.c", false),
            ("sip:a@b.c;maddr=192.0.2.1", "sip:a@b.c;maddr=192.0.2.2", false),
            ("sip:a@b.c;lr", "sip:a@b.c", true),
            ("sip:a@b.c;comp=sigcomp", "sip:a@b.c", true), // RFC 3486
            ("sip:a@b.c;lr", "sip:a@b.c;lr=on", false),
            ("sip:a@b.c?x=1&x=2", "sip:a@b.c?x=2&x=1", true),
            ("sip:a@b.c?x=1&x=1", "sip:a@b.c?x=1&x=2", false),
            ("sip:a@b.c?x=1", "sip:a@b.c?x=1&x=1", false),
            ("sip:a@b.c?To=sip:A%40b", "sip:a@b.c?to=sip:a%40b", false),
            ("sip:a@b.c;%6Cr", "sip:a@b.c;lr=x", false),
            ("sip:cal%6Cer@[2001:DB8::1]", "sip:caller@[2001:db8:0::1]", true),
            ("sip:a;b@b.c", "sip:a%3Bb@b.c", false),
            ("sip:a@b.c;x=1;x=2", "sip:a@b.c;x=1", true),
            ("sip:a@b.c;x=1;x=2", "sip:a@b.c;x=2", false),
        ];
        for (one, two, equal) in table {
            let (first, second) = (sip(one).unwrap(), sip(two).unwrap());
            assert_eq!(first.equivalent(&second), equal, "{one} {two}");
            assert_eq!(second.equivalent(&first), equal, "{two} {one}");
        }
    }

    #[test]
    fn typed_parameters() {
        let uri = sip("sip:a@b.c;%6C%72;transport=Tls;maddr=[::1];user=Phone").unwrap();
        assert!(uri.is_loose_router() && uri.is_phone());
        assert_eq!(uri.transport(), Some(Transport::Tls));
        assert_eq!(uri.maddr(), Host::parse("[::1]").ok());
        let uri = sip("sip:a@b.c;transport=sctp").unwrap();
        assert_eq!((uri.transport(), uri.params.value("transport")), (None, Some("sctp")));
        assert!(!uri.is_loose_router() && !uri.is_phone());
    }

    proptest! {
        #[test]
        fn display_then_parse_is_identity(
            secure: bool,
            user in proptest::option::of("[a-z0-9;?/&=+$,]{0,3}(%[0-9A-F]{2}|[A-Z._~-]){1,4}"),
            password in proptest::option::of("[a-z&=+$,]{0,5}"),
            host in "[a-z]([a-z0-9-]{0,5}[a-z0-9])?\\.[a-z]{2}\
                |192\\.0\\.2\\.[1-9]|\\[::[0-9a-f]\\]",
            port: Option<u16>,
            params in "(;[a-z]{1,4}(=[a-z:/+]{1,4})?){0,3}",
            headers in "(\\?[a-z]{1,4}=[a-z%20]{0}(&[a-z]{1,4}=[A-Z/:]{0,4}){0,2})?",
        ) {
            let host = Host::parse(&host).unwrap();
            let uri = SipUri {
                secure,
                user: user.as_deref(),
                password: user.as_ref().and(password.as_deref()),
                host,
                port,
                params: UriParams::parse(&params).unwrap(),
                headers: UriHeaders::parse(&headers).unwrap(),
            };
            let text = uri.to_string();
            prop_assert_eq!(Uri::parse(text.as_bytes()), Ok(Uri::Sip(uri)));
            prop_assert!(uri.equivalent(&uri));
        }
    }
}
