//! MSRP URIs and their comparison (RFC 4975 §6, §9; transports of RFC 7977 §5.2.1).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// `msrp` or `msrps`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `msrp`.
    Msrp,
    /// `msrps`: the connection is protected with TLS.
    Msrps,
}

impl Scheme {
    /// The scheme as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Msrp => "msrp",
            Self::Msrps => "msrps",
        }
    }
}

/// Why octets are not an MSRP URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// It starts with neither `msrp://` nor `msrps://`.
    #[error("the scheme is not msrp or msrps")]
    Scheme,
    /// The userinfo has a character that it cannot have (RFC 3986 §3.2.1).
    #[error("the userinfo of an MSRP URI is wrong")]
    Userinfo,
    /// The host is missing, or is neither a name nor an address (RFC 3986 §3.2.2).
    #[error("the host of an MSRP URI is wrong")]
    Host,
    /// The port is not a number up to 65535.
    #[error("the port of an MSRP URI is wrong")]
    Port,
    /// An address without a port (RFC 4975 §6: it MUST have one).
    #[error("an MSRP URI with an address has no port")]
    PortMissing,
    /// The session-id is empty or has a character that it cannot have.
    #[error("the session-id of an MSRP URI is wrong")]
    SessionId,
    /// The transport is missing or is not letters and digits.
    #[error("the transport of an MSRP URI is missing or wrong")]
    Transport,
    /// A parameter is not `token` or `token=token`.
    #[error("a parameter of an MSRP URI is wrong")]
    Parameter,
}

/// An MSRP URI, read and kept: the text as it was.
///
/// `==` compares the text; [`equivalent`](Self::equivalent) is the comparison of RFC 4975 §6.1.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MsrpUri {
    text: Box<str>,
}

impl MsrpUri {
    /// Reads a URI.
    ///
    /// # Errors
    /// [`UriError`]: it is none.
    pub fn parse(octets: &[u8]) -> Result<Self, UriError> {
        UriRef::parse(octets).map(|uri| Self { text: uri.text.into() })
    }

    /// The URI as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The octets as they were written.
    pub fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// Its parts.
    pub fn parts(&self) -> UriRef<'_> {
        UriRef::parse(self.text.as_bytes()).expect("it was read before it was kept")
    }

    /// Whether both name the same session at the same device (RFC 4975 §6.1).
    pub fn equivalent(&self, other: &Self) -> bool {
        self.matches(other.as_bytes())
    }

    /// Whether `octets` are a URI that is equivalent to this one (RFC 4975 §6.1): at once when the
    /// octets are the same.
    pub fn matches(&self, octets: &[u8]) -> bool {
        self.as_bytes() == octets
            || UriRef::parse(octets).is_ok_and(|other| self.parts().equivalent(&other))
    }
}

impl FromStr for MsrpUri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        Self::parse(text.as_bytes())
    }
}

impl fmt::Display for MsrpUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for MsrpUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MsrpUri({})", self.text)
    }
}

/// The parts of an MSRP URI, borrowed from its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UriRef<'a> {
    text: &'a str,
    /// `msrp` or `msrps`.
    pub scheme: Scheme,
    /// What stands before `@`; it is not compared.
    pub userinfo: Option<&'a str>,
    /// The host as written, an IPv6 address in its brackets.
    pub host: &'a str,
    /// The port; `None` is never equivalent to a port, there is no default (RFC 4975 §6).
    pub port: Option<u16>,
    /// Names the session at the device; `None` is the device itself.
    pub session_id: Option<&'a str>,
    /// `tcp`, `ws` or another, in the case it was written in.
    pub transport: &'a str,
    /// What follows the transport, each with its semicolon; not compared.
    pub parameters: &'a str,
}

impl<'a> UriRef<'a> {
    /// Reads a URI without copying it.
    ///
    /// # Errors
    /// [`UriError`]: it is none.
    pub fn parse(octets: &'a [u8]) -> Result<Self, UriError> {
        let text = std::str::from_utf8(octets).map_err(|_| UriError::Host)?;
        let (scheme, rest) = text.split_once("://").ok_or(UriError::Scheme)?;
        let scheme = match scheme {
            _ if scheme.eq_ignore_ascii_case("msrp") => Scheme::Msrp,
            _ if scheme.eq_ignore_ascii_case("msrps") => Scheme::Msrps,
            _ => return Err(UriError::Scheme),
        };
        // No other part can have an "@".
        let (userinfo, rest) = match rest.rsplit_once('@') {
            Some((userinfo, rest)) => (Some(userinfo), rest),
            None => (None, rest),
        };
        if !userinfo.is_none_or(is_userinfo) {
            return Err(UriError::Userinfo);
        }
        let (before, parameters) = rest.split_once(';').ok_or(UriError::Transport)?;
        let (host_port, session_id) = match before.split_once('/') {
            Some((host_port, id)) => (host_port, Some(id)),
            None => (before, None),
        };
        if !session_id.is_none_or(is_session_id) {
            return Err(UriError::SessionId);
        }
        let (host, port) = host_and_port(host_port)?;
        let end = parameters.find(';').unwrap_or(parameters.len());
        let (transport, parameters) = parameters.split_at(end);
        if transport.is_empty() || !transport.bytes().all(|octet| octet.is_ascii_alphanumeric()) {
            return Err(UriError::Transport);
        }
        if !parameters.split(';').skip(1).all(is_parameter) {
            return Err(UriError::Parameter);
        }
        Ok(Self { text, scheme, userinfo, host, port, session_id, transport, parameters })
    }

    /// The URI as it was written.
    pub fn as_str(&self) -> &'a str {
        self.text
    }

    /// The host when it is an address.
    pub fn address(&self) -> Option<IpAddr> {
        address(self.host)
    }

    /// Whether both name the same session at the same device (RFC 4975 §6.1): the scheme, a host
    /// name and the transport without case, an address and the port by value, the session-id with
    /// case; neither userinfo nor further parameters.
    pub fn equivalent(&self, other: &UriRef<'_>) -> bool {
        self.session_id == other.session_id
            && self.transport.eq_ignore_ascii_case(other.transport)
            && self.is_same_hop(other)
    }

    /// Whether both name the same device: scheme, host and port are the same.
    pub fn is_same_hop(&self, other: &UriRef<'_>) -> bool {
        self.scheme == other.scheme && self.port == other.port && same_host(self.host, other.host)
    }
}

fn host_and_port(text: &str) -> Result<(&str, Option<u16>), UriError> {
    let (host, port) = match text.strip_prefix('[') {
        Some(literal) => {
            let end = literal.find(']').ok_or(UriError::Host)?;
            let (host, rest) = text.split_at(end + 2);
            let port = rest.strip_prefix(':');
            if port.is_none() && !rest.is_empty() {
                return Err(UriError::Host);
            }
            (host, port)
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let is_address = address(host).is_some();
    if host.is_empty() || (!is_address && !is_name(host)) {
        return Err(UriError::Host);
    }
    let port = port.map(port_number).transpose()?;
    if is_address && port.is_none() {
        return Err(UriError::PortMissing);
    }
    Ok((host, port))
}

fn port_number(text: &str) -> Result<u16, UriError> {
    // `u16::from_str` also takes a leading "+", which the ABNF (*DIGIT) does not.
    let digits = text.bytes().all(|octet| octet.is_ascii_digit());
    if digits { text.parse().map_err(|_| UriError::Port) } else { Err(UriError::Port) }
}

fn address(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[') {
        Some(literal) => literal.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

fn same_host(one: &str, other: &str) -> bool {
    if one.eq_ignore_ascii_case(other) {
        return true;
    }
    match (address(one), address(other)) {
        (Some(one), Some(other)) => one == other,
        (None, None) => Decoded(one.as_bytes()).eq(Decoded(other.as_bytes())),
        _ => false,
    }
}

/// The octets of a name in lower case, with percent-encoded unreserved characters decoded
/// (RFC 3986 §6.2.2).
struct Decoded<'a>(&'a [u8]);

impl Iterator for Decoded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        if let [b'%', high, low, rest @ ..] = self.0
            && let Some(octet) = hex(*high).zip(hex(*low)).map(|(high, low)| 16 * high + low)
            && is_unreserved(octet)
        {
            self.0 = rest;
            return Some(octet.to_ascii_lowercase());
        }
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first.to_ascii_lowercase())
    }
}

fn hex(octet: u8) -> Option<u8> {
    char::from(octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn is_unreserved(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"-._~".contains(&octet)
}

fn is_sub_delim(octet: u8) -> bool {
    b"!$&'()*+,;=".contains(&octet)
}

/// `*( unreserved / pct-encoded / sub-delims / extra )`
fn is_encoded(text: &str, extra: &[u8]) -> bool {
    let mut rest = text.as_bytes();
    loop {
        rest = match rest {
            [] => return true,
            [b'%', high, low, rest @ ..] if hex(*high).is_some() && hex(*low).is_some() => rest,
            [octet, rest @ ..]
                if is_unreserved(*octet) || is_sub_delim(*octet) || extra.contains(octet) =>
            {
                rest
            }
            _ => return false,
        }
    }
}

fn is_name(text: &str) -> bool {
    is_encoded(text, b"")
}

fn is_userinfo(text: &str) -> bool {
    is_encoded(text, b":")
}

fn is_session_id(text: &str) -> bool {
    let allowed = |octet: u8| is_unreserved(octet) || b"+=/".contains(&octet);
    !text.is_empty() && text.bytes().all(allowed)
}

fn is_parameter(text: &str) -> bool {
    match text.split_once('=') {
        Some((name, value)) => is_token(name) && is_token(value),
        None => is_token(text),
    }
}

/// `token` of RFC 4975 §9.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(crate::header::is_token_octet)
}

#[cfg(test)]
mod tests;
