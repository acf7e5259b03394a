//! `host` and `hostport` (RFC 3261 §25.1), IPv6 references as RFC 5118 wants them read.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::UriError;
use crate::examined;
use crate::grammar::{Class, cut_before, decimal};

/// A host: a name, an IPv4 address or an IPv6 reference.
///
/// Two hosts are equal when they are the same address or, whatever the case, the same name. An
/// address never equals a name (RFC 3261 §19.1.4).
#[derive(Clone, Copy, Debug)]
pub struct Host<'a> {
    text: &'a str,
    ip: Option<IpAddr>,
}

impl<'a> Host<'a> {
    /// Reads a host; an IPv6 address stands in brackets.
    ///
    /// A last label may begin with a digit, which `toplabel` does not allow, because container
    /// and lab hosts are named so; it must not be all digits, so that a bad IPv4 address is no
    /// name. A number of an IPv4 address has no leading zeros: its base would be in doubt.
    pub fn parse(text: &'a str) -> Result<Self, UriError> {
        match Self::scan(text)? {
            (host, "") => Ok(host),
            _ => Err(UriError::Host),
        }
    }

    /// Takes a host off the front of `text`.
    #[inline(always)]
    pub(crate) fn scan(text: &'a str) -> Result<(Self, &'a str), UriError> {
        if let Some(inner) = text.strip_prefix('[') {
            examined(inner.len());
            let (inner, rest) = inner.split_once(']').ok_or(UriError::Host)?;
            let ip = parse_ipv6(inner).ok_or(UriError::Host)?;
            let (text, rest) = text.split_at_checked(text.len() - rest.len()).unwrap_or((text, ""));
            return Ok((Self { text, ip: Some(IpAddr::V6(ip)) }, rest));
        }
        if text.starts_with(|first: char| first.is_ascii_digit())
            && let Some((ip, end)) = ipv4_before(text.as_bytes())
        {
            let (text, rest) = text.split_at_checked(end).ok_or(UriError::Host)?;
            return Ok((Self { text, ip: Some(IpAddr::V4(ip)) }, rest));
        }
        let end = end_of_labels(text).ok_or(UriError::Host)?;
        let (text, rest) = text.split_at_checked(end).ok_or(UriError::Host)?;
        if ends_in_number(text) { Err(UriError::Host) } else { Ok((Self { text, ip: None }, rest)) }
    }

    /// As it was written, an IPv6 address in its brackets.
    pub fn as_str(&self) -> &'a str {
        self.text
    }

    /// The address; `None` for a name.
    pub fn ip(&self) -> Option<IpAddr> {
        self.ip
    }
}

impl PartialEq for Host<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self.ip, other.ip) {
            (Some(one), Some(two)) => one == two,
            (None, None) => self.text.eq_ignore_ascii_case(other.text),
            _ => false,
        }
    }
}

impl Eq for Host<'_> {}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

/// `hostport`: a host and perhaps a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostPort<'a> {
    /// The host.
    pub host: Host<'a>,
    /// The port; `None` when none is written, which is not the same as writing the default.
    pub port: Option<u16>,
}

impl<'a> HostPort<'a> {
    /// Reads `host [ ":" port ]` without white space.
    pub fn parse(text: &'a str) -> Result<Self, UriError> {
        Self::scan(text, b"").map(|(hostport, _)| hostport)
    }

    /// Takes `host [ ":" port ]` off the front of `text`, up to its end or one of the octets
    /// `stops`.
    #[inline(always)]
    pub(super) fn scan(text: &'a str, stops: &[u8]) -> Result<(Self, &'a str), UriError> {
        let (host, rest) = Host::scan(text)?;
        let (port, rest) = match rest.strip_prefix(':') {
            Some(rest) => {
                let (digits, rest) = cut_before(rest, |octet| !octet.is_ascii_digit());
                (Some(parse_port(digits.as_bytes()).ok_or(UriError::Port)?), rest)
            }
            None => (None, rest),
        };
        match rest.bytes().next() {
            Some(octet) if !stops.contains(&octet) => {
                Err(if port.is_some() { UriError::Port } else { UriError::Host })
            }
            _ => Ok((Self { host, port }, rest)),
        }
    }
}

impl fmt::Display for HostPort<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.host.fmt(f)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// `port`: `1*DIGIT`, here of 16 bits.
pub(crate) fn parse_port(digits: &[u8]) -> Option<u16> {
    decimal(digits).and_then(|port| u16::try_from(port).ok())
}

/// Reads an `IPv4address` at the front of `text`, four numbers below 256 without leading zeros, and
/// where it ends; `None` when what stands there is, or goes on as, something else.
fn ipv4_before(text: &[u8]) -> Option<(Ipv4Addr, usize)> {
    let value = |octet: &u8| u32::from(octet & 15);
    let mut address = 0_u32;
    let mut rest = text;
    for place in 0..4 {
        if place > 0 {
            rest = rest.strip_prefix(b".")?;
        }
        let (number, tail) = match rest {
            [a @ b'1'..=b'2', b @ b'0'..=b'9', c @ b'0'..=b'9', tail @ ..] => {
                (100 * value(a) + 10 * value(b) + value(c), tail)
            }
            [a @ b'1'..=b'9', b @ b'0'..=b'9', tail @ ..] => (10 * value(a) + value(b), tail),
            [a @ b'0'..=b'9', tail @ ..] => (value(a), tail),
            _ => return None,
        };
        if number > 255 {
            return None;
        }
        address = address << 8 | number;
        rest = tail;
    }
    let goes_on = |octet: u8| Class::ALPHANUM.contains(octet) || matches!(octet, b'-' | b'.');
    match rest.first() {
        Some(octet) if goes_on(*octet) => None,
        _ => Some((Ipv4Addr::from_bits(address), text.len() - rest.len())),
    }
}

/// Reads an IPv6 address without brackets. The third colon that the ABNF of RFC 3261 puts before
/// an embedded IPv4 address is ignored (RFC 5118 §4.10).
pub(crate) fn parse_ipv6(text: &str) -> Option<Ipv6Addr> {
    examined(2 * text.len());
    if let Ok(ip) = text.parse() {
        return Some(ip);
    }
    // The longest address text has 45 octets; the scan stays short whatever the peer sent.
    let (before, after) = text.split_once(":::").filter(|_| text.len() <= 46)?;
    let is_ipv4 = after.parse::<Ipv4Addr>().is_ok();
    is_ipv4.then(|| format!("{before}::{after}").parse().ok()).flatten()
}

/// Where the labels of letters, digits and hyphens end at the front of `text`, perhaps with a dot
/// behind the last; `None` when one is empty or has a hyphen first or last.
fn end_of_labels(text: &str) -> Option<usize> {
    let mut end = 0;
    // What a label may not begin with: another label's end, a hyphen.
    let mut before = b'.';
    for octet in text.bytes() {
        match octet {
            _ if Class::ALPHANUM.contains(octet) => {}
            b'-' | b'.' if before == b'.' || (before == b'-' && octet == b'.') => return None,
            b'-' | b'.' => {}
            _ => break,
        }
        before = octet;
        end += 1;
    }
    examined(end);
    if end == 0 || before == b'-' { None } else { Some(end) }
}

/// Whether the last label is digits only, which makes the name an IPv4 address or nothing.
fn ends_in_number(name: &str) -> bool {
    examined(name.len());
    let labels = name.strip_suffix('.').unwrap_or(name).as_bytes();
    labels.iter().rev().take_while(|octet| **octet != b'.').all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parses() {
        #[rustfmt::skip]
        let table = [
            ("atlanta.com",                  None, None),
            ("example.com.:5060",            None, Some(5060)),
            ("a-b.c1:0",                     None, Some(0)),
            ("3f2a9c1b77de",                 None, None),
            ("chair-dnrc.example.com",       None, None),                     // RFC 4475 §3.1.1.1
            ("192.0.2.1:65535",              Some("192.0.2.1"), Some(65535)),
            ("[2001:db8::10]",               Some("2001:db8::10"), None),     // RFC 5118 §4.1
            ("[2001:db8::10:5070]",          Some("2001:db8::10:5070"), None), // RFC 5118 §4.3
            ("[2001:db8::10]:5070",          Some("2001:db8::10"), Some(5070)), // RFC 5118 §4.4
            ("[::ffff:192.0.2.10]:19823",    Some("::ffff:192.0.2.10"), Some(19823)), // §4.9
            ("[2001:db8:::192.0.2.1]",       Some("2001:db8::192.0.2.1"), None), // §4.10
            ("[2001:db8::192.0.2.1]",        Some("2001:db8::192.0.2.1"), None), // §4.10
        ];
        for (text, ip, port) in table {
            let read = HostPort::parse(text).unwrap();
            assert_eq!(read.host.ip(), ip.map(|ip: &str| ip.parse().unwrap()), "{text}");
            assert_eq!(read.port, port, "{text}");
            assert_eq!(read.to_string(), text);
        }
    }

    #[test]
    fn refuses() {
        use UriError::{Host, Port};
        #[rustfmt::skip]
        let table = [
            ("", Host), (":5060", Host), (".", Host), ("a..b", Host), ("-a.b", Host),
            ("a-.b", Host), ("a_b", Host), ("1.2.3", Host), ("1.2.3.256", Host),
            ("192.0.02.1", Host), ("[::1", Host), ("[]", Host), ("[:::1]", Host),
            ("[::1]x", Host), ("[1:2]", Host), ("2001:db8::10", Host), ("a:", Port),
            ("a:65536", Port), ("a:-1", Port), ("a:5060:1", Port), ("a b", Host),
            ("[2001:db8:::1]", Host),
        ];
        for (text, error) in table {
            assert_eq!(HostPort::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn equal_hosts() {
        let same = |one, two| Host::parse(one).unwrap() == Host::parse(two).unwrap();
        assert!(same("AtLanTa.CoM", "atlanta.com"));
        assert!(same("[2001:DB8:0::1]", "[2001:db8::1]"));
        assert!(!same("phone21.boxesbybob.com", "192.0.2.4")); // RFC 3261 §19.1.4
    }

    proptest! {
        #[test]
        fn addresses_survive(ip: Ipv6Addr, v4: Ipv4Addr, port: Option<u16>) {
            for text in [format!("[{ip}]"), v4.to_string()] {
                let host = Host::parse(&text).unwrap();
                let text = HostPort { host, port }.to_string();
                prop_assert_eq!(HostPort::parse(&text), Ok(HostPort { host, port }));
            }
        }

        #[test]
        fn never_panics(text in "[\\[\\]:.0-9a-f-]{0,50}|\\PC{0,12}") {
            let _ = HostPort::parse(&text);
            let _ = parse_ipv6(&text);
        }
    }
}
