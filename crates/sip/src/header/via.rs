//! `Via` (RFC 3261 §20.42, RFC 3581).

use std::net::IpAddr;

use super::params::{Params, Value};
use super::{Encode, Fault, Sink};
use crate::Transport;
use crate::grammar::{self, Scanner};
use crate::uri::{Host, HostPort, UriError};

/// What every branch made by RFC 3261 begins with (§8.1.1.7).
const MAGIC_COOKIE: &str = "z9hG4bK";

/// One hop of the way a request came, and its response goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via<'a> {
    /// The protocol name: `SIP`, or whatever the peer wrote.
    pub protocol: &'a str,
    /// The protocol version: `2.0`, or whatever the peer wrote.
    pub version: &'a str,
    /// The transport as written; see [`Via::transport`].
    pub transport_token: &'a str,
    /// Where the sender wants responses.
    pub sent_by: HostPort<'a>,
    /// All parameters, those with methods of their own among them.
    pub params: Params<'a>,
    branch: Option<&'a str>,
    received: Option<IpAddr>,
    rport: Option<Option<u16>>,
}

impl<'a> Via<'a> {
    pub(super) fn read(value: &'a [u8]) -> Result<Self, Fault> {
        let mut scanner = Scanner::new(grammar::trim(value));
        if scanner.is_empty() {
            return Err(Fault::Empty);
        }
        let (protocol, version) = match scanner.eat_text(b"SIP/2.0/") {
            // Nearly always it is written like this.
            true => ("SIP", "2.0"),
            false => {
                let protocol = scanner.token().ok_or(Fault::Syntax)?;
                let version = slash_token(&mut scanner)?;
                if !scanner.separator(b'/') {
                    return Err(Fault::Syntax);
                }
                (protocol, version)
            }
        };
        scanner.lws();
        let transport_token = scanner.token().ok_or(Fault::Syntax)?;
        if !scanner.lws() {
            return Err(Fault::Syntax);
        }
        let sent_by = sent_by(&mut scanner)?;
        let (mut branch, mut received, mut rport) = (None, None, None);
        let (mut maddr, mut ttl) = (None, None);
        let params = Params::scan_rest(scanner, |param| {
            let value = param.value;
            if param.is("branch") {
                once(&mut branch, value.and_then(|value| value.token()))
            } else if param.is("received") {
                once(&mut received, value.and_then(address))
            } else if param.is("rport") {
                once(&mut rport, value.map_or(Some(None), |value| number(value).map(Some)))
            } else if param.is("maddr") {
                once(&mut maddr, value.and_then(host))
            } else if param.is("ttl") {
                once(&mut ttl, value.and_then(number::<u8>))
            } else {
                Ok(())
            }
        })?;
        Ok(Self { protocol, version, transport_token, sent_by, params, branch, received, rport })
    }

    /// The transport when it is one we have (RFC 4475 §3.1.1.10 shows others).
    pub fn transport(&self) -> Option<Transport> {
        Transport::from_token(self.transport_token.as_bytes())
    }

    /// The branch as written, with or without the magic cookie; `None` from RFC 2543 peers.
    pub fn branch(&self) -> Option<&'a str> {
        self.branch
    }

    /// The branch when it is unique by RFC 3261 §8.1.1.7: the magic cookie and something after it.
    /// Otherwise a request is matched by the rules of RFC 2543 (§17.2.3; RFC 4475 §3.2.1).
    pub fn unique_branch(&self) -> Option<&'a str> {
        self.branch.filter(|branch| {
            branch.len() > MAGIC_COOKIE.len()
                && branch
                    .get(..MAGIC_COOKIE.len())
                    .is_some_and(|cookie| cookie.eq_ignore_ascii_case(MAGIC_COOKIE))
        })
    }

    /// The address the request came from, as the next hop saw it (RFC 3261 §18.2.1).
    pub fn received(&self) -> Option<IpAddr> {
        self.received
    }

    /// The `rport` parameter (RFC 3581): `Some(None)` is a request for it, without a value.
    pub fn rport(&self) -> Option<Option<u16>> {
        self.rport
    }

    /// The multicast address to answer to (RFC 3261 §18.2.2).
    pub fn maddr(&self) -> Option<Host<'a>> {
        self.params.value("maddr").and_then(host)
    }

    /// The time to live of a multicast response.
    pub fn ttl(&self) -> Option<u8> {
        self.params.value("ttl").and_then(number)
    }
}

/// Keeps the value of a parameter that may stand once; `None` when it must not have that value.
fn once<T>(place: &mut Option<T>, value: Option<T>) -> Result<(), Fault> {
    if place.is_some() {
        return Err(Fault::Repeated);
    }
    *place = Some(value.ok_or(Fault::Parameter)?);
    Ok(())
}

fn slash_token<'a>(scanner: &mut Scanner<'a>) -> Result<&'a str, Fault> {
    if !scanner.separator(b'/') {
        return Err(Fault::Syntax);
    }
    scanner.token().ok_or(Fault::Syntax)
}

/// `host [ COLON port ]`, white space around the colon allowed.
fn sent_by<'a>(scanner: &mut Scanner<'a>) -> Result<HostPort<'a>, Fault> {
    let ahead = scanner.text_ahead();
    let (host, rest) = Host::scan(ahead)?;
    scanner.skip(ahead.len() - rest.len());
    let port = if scanner.separator(b':') {
        let port = scanner.number().and_then(|port| u16::try_from(port).ok());
        Some(port.ok_or(UriError::Port)?)
    } else {
        None
    };
    Ok(HostPort { host, port })
}

/// An address, an IPv6 one with or without brackets (RFC 5118 §4.5).
fn address(value: Value<'_>) -> Option<IpAddr> {
    let text = value.as_str()?;
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    inner.parse().ok().or_else(|| crate::uri::parse_ipv6(inner).map(IpAddr::V6))
}

fn host(value: Value<'_>) -> Option<Host<'_>> {
    value.as_str().and_then(|text| Host::parse(text).ok())
}

fn number<N: TryFrom<u64>>(value: Value<'_>) -> Option<N> {
    value.number().and_then(|number| N::try_from(number).ok())
}

impl Encode for Via<'_> {
    fn write_to<S: Sink>(&self, out: &mut S) {
        for (part, after) in
            [(self.protocol, "/"), (self.version, "/"), (self.transport_token, " ")]
        {
            out.text(part);
            out.text(after);
        }
        out.show(self.sent_by);
        self.params.write_to(out);
    }
}

header!(Via<'a>, list);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::header::Header;

    #[test]
    fn parses() {
        #[rustfmt::skip]
        let table = [
            // RFC 3261 §20.42
            ("SIP/2.0/UDP erlang.bell-telephone.com:5060;branch=z9hG4bK87asdks7",
                Some(Transport::Udp), Some(5060), Some("z9hG4bK87asdks7")),
            ("SIP/2.0/UDP 192.0.2.1:5060 ;received=192.0.2.207\r\n  ;branch=z9hG4bK77asjd",
                Some(Transport::Udp), Some(5060), Some("z9hG4bK77asjd")),
            ("SIP / 2.0 / UDP first.example.com: 4000;ttl=16\r\n  ;maddr=224.2.0.1 ;\
                branch=z9hG4bKa7c6a8dlze.1",
                Some(Transport::Udp), Some(4000), Some("z9hG4bKa7c6a8dlze.1")),
            // RFC 4475 §3.1.1.1, §3.1.1.2, §3.1.1.10, §3.2.1, §3.4.1
            (
                "SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=390skdjuw",
                Some(Transport::Udp),
                None,
                Some("390skdjuw"),
            ),
            ("SIP  / 2.0  / TCP     spindle.example.com   ;\r\n  branch  =   z9hG4bK9ikj8",
                Some(Transport::Tcp), None, Some("z9hG4bK9ikj8")),
            (
                "SIP/2.0/TCP host1.example.com;branch=z9hG4bK-.!%66*_+`'~",
                Some(Transport::Tcp),
                None,
                Some("z9hG4bK-.!%66*_+`'~"),
            ),
            (
                "SIP/2.0/SCTP t2.example.com;branch=z9hG4bKklasjdhf",
                None,
                None,
                Some("z9hG4bKklasjdhf"),
            ),
            (
                "SIP/2.0/UNKNOWN t4.example.com;branch=z9hG4bKasd0f3en",
                None,
                None,
                Some("z9hG4bKasd0f3en"),
            ),
            ("SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK", Some(Transport::Udp), None, Some("z9hG4bK")),
            ("SIP/2.0/UDP iftgw.example.com", Some(Transport::Udp), None, None),
            // RFC 5118 §4.5, §4.7, §4.9
            ("SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];branch=z9hG4bKas3-111",
                Some(Transport::Udp), None, Some("z9hG4bKas3-111")),
            ("SIP/2.0/TCP [2001:db8::9:255];branch=z9hG4bK451jj;received=192.0.2.200",
                Some(Transport::Tcp), None, Some("z9hG4bK451jj")),
            ("SIP/2.0/UDP [::ffff:192.0.2.10]:19823;branch=z9hG4bKbh19",
                Some(Transport::Udp), Some(19823), Some("z9hG4bKbh19")),
            ("SIP/2.0/tls a.b;comp=sigcomp;rport=5061", Some(Transport::Tls), None, None),
        ];
        for (text, transport, port, branch) in table {
            let via = Via::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}"));
            assert_eq!(via.transport(), transport, "{text}");
            assert_eq!((via.sent_by.port, via.branch()), (port, branch), "{text}");
            assert_eq!(Via::parse(via.to_string().as_bytes()), Ok(via));
        }
    }

    #[test]
    fn parameters() {
        let via = Via::parse(
            b"SIP/2.0/UDP a.b:1;rport;received=2001:db8::9:255;ttl=16;maddr=224.2.0.1;\
              branch=Z9HG4BKx",
        );
        let via = via.unwrap();
        assert_eq!(via.rport(), Some(None));
        assert_eq!(via.received(), "2001:db8::9:255".parse().ok());
        assert_eq!(via.ttl(), Some(16));
        assert_eq!(via.maddr(), Host::parse("224.2.0.1").ok());
        assert_eq!(via.unique_branch(), Some("Z9HG4BKx"));
        let via = Via::parse(b"SIP/2.0/UDP a.b;rport=9;branch=z9hG4bK").unwrap();
        assert_eq!((via.rport(), via.unique_branch()), (Some(Some(9)), None));
        let via = Via::parse(b"SIP/2.0/UDP a.b;branch=390skdjuw").unwrap();
        assert_eq!((via.rport(), via.unique_branch(), via.received()), (None, None, None));
    }

    #[test]
    fn refuses() {
        use Fault::{Empty, Parameter, Repeated, Syntax};
        #[rustfmt::skip]
        let table = [
            ("", Empty),
            ("SIP/2.0/UDP 192.0.2.15;;", Parameter), // RFC 4475 §3.1.2.1
            (";", Syntax),
            ("SIP/2.0/UDP", Syntax),
            ("SIP/2.0 a.b", Syntax),
            ("SIP/2.0/UDP ", Syntax),
            ("SIP/2.0/UDP a_b", Syntax),
            ("SIP/2.0/UDP a.b c", Syntax),
            ("SIP/2.0/UDP 1.2.3", Fault::Uri(UriError::Host)),
            ("SIP/2.0/UDP [::1", Fault::Uri(UriError::Host)),
            ("SIP/2.0/UDP 2001:db8::1", Fault::Uri(UriError::Host)),
            ("SIP/2.0/UDP a.b:99999", Fault::Uri(UriError::Port)),
            ("SIP/2.0/UDP a.b:", Fault::Uri(UriError::Port)),
            ("SIP/2.0/UDP a.b;branch", Parameter),
            ("SIP/2.0/UDP a.b;branch=\"x\"", Parameter),
            ("SIP/2.0/UDP a.b;branch=x;branch=y", Repeated),
            ("SIP/2.0/UDP a.b;rport;rport=1", Repeated),
            ("SIP/2.0/UDP a.b;rport=x", Parameter),
            ("SIP/2.0/UDP a.b;ttl=256", Parameter),
            ("SIP/2.0/UDP a.b;received=a.b", Parameter),
        ];
        for (text, fault) in table {
            refuses!(Via, text, fault);
        }
    }

    proptest! {
        #[test]
        fn display_then_parse_is_identity(
            transport in "UDP|TCP|TLS|[a-zA-Z0-9-]{1,6}",
            host in "[a-z]([a-z0-9-]{0,5}[a-z0-9])?\\.[a-z]{2}\
                |10\\.0\\.0\\.[1-9]|\\[::[0-9a-f]{1,4}\\]",
            port in proptest::option::of(any::<u16>()),
            branch in "[a-zA-Z0-9.!%*_+`'~-]{1,12}",
            rport in "|;rport|;rport=[1-9][0-9]{0,3}",
        ) {
            let port = port.map_or(String::new(), |port| format!(":{port}"));
            let text = format!("SIP/2.0/{transport} {host}{port};branch={branch}{rport}");
            let via = Via::parse(text.as_bytes()).unwrap();
            prop_assert_eq!(via.branch(), Some(branch.as_str()));
            prop_assert_eq!(via.to_string(), text);
        }
    }
}
