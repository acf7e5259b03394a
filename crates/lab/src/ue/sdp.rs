//! Session descriptions of a UE, written and read with `sdp-rs` (RFC 4975 §8).

use std::net::SocketAddr;

use bytes::Bytes;
use sdp_rs::SessionDescription;
use sdp_rs::lines::Attribute;

/// Who opens the connection (RFC 6135).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setup {
    Active,
    Passive,
    ActPass,
}

impl Setup {
    fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::ActPass => "actpass",
        }
    }
}

/// What a description says of a session of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Described {
    /// The path, outermost relay first.
    pub(super) path: String,
    /// `setup`; none: the offerer connects.
    pub(super) setup: Option<Setup>,
    /// Whether the line was refused.
    pub(super) refused: bool,
    /// Whether it has `msrp-cema` (RFC 6714).
    pub(super) cema: bool,
    /// The address in `c=` and the port.
    pub(super) shown: Option<SocketAddr>,
}

/// A description whose session is `uri`, at `address`, with `msrp-cema` or without.
pub(super) fn description(address: SocketAddr, uri: &str, setup: Setup, cema: bool) -> Bytes {
    let cema = if cema { "a=msrp-cema\r\n" } else { "" };
    let (ip, port) = (address.ip(), address.port());
    let text = format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
         m=message {port} TCP/MSRP *\r\na=accept-types:message/cpim text/plain\r\n\
         a=accept-wrapped-types:*\r\na=path:{uri}\r\na=setup:{}\r\n\
         {cema}a=chatroom:nickname private-messages\r\n",
        setup.as_str()
    );
    let described = SessionDescription::try_from(text).map(|description| description.to_string());
    described.map_or_else(|_| Bytes::new(), Bytes::from)
}

/// What a description says; `None` when `sdp-rs` cannot read it or there are no messages in it.
pub(super) fn read(body: &[u8]) -> Option<Described> {
    let text = String::from_utf8_lossy(body).into_owned();
    let description = SessionDescription::try_from(text).ok()?;
    let media = description
        .media_descriptions
        .iter()
        .find(|media| media.media.media.to_string().eq_ignore_ascii_case("message"))?;
    let attribute = |wanted: &str| {
        media.attributes.iter().find_map(|attribute| match attribute {
            Attribute::Other(name, value) if name == wanted => value.clone(),
            _ => None,
        })
    };
    let setup = attribute("setup").and_then(|setup| match setup.trim() {
        "active" => Some(Setup::Active),
        "passive" => Some(Setup::Passive),
        "actpass" => Some(Setup::ActPass),
        _ => None,
    });
    let path = attribute("path")?.trim().to_owned();
    let has_cema = |attribute: &Attribute| match attribute {
        Attribute::Other(name, _) => name == "msrp-cema",
        _ => false,
    };
    let cema = media.attributes.iter().any(has_cema);
    let shown = media.connections.first().or(description.connection.as_ref());
    let port = media.media.port;
    let shown = shown.map(|shown| SocketAddr::new(shown.connection_address.base, port));
    Some(Described { path, setup, refused: port == 0, cema, shown })
}

/// The description in a body that may have other parts beside it.
pub(super) fn part(content_type: &str, body: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(body);
    let boundary = content_type.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"'))
    });
    let Some(boundary) = boundary else { return body.to_vec() };
    let delimiter = format!("--{boundary}");
    let parts = text.split(delimiter.as_str());
    let sdp = parts
        .filter_map(|part| part.split_once("\r\n\r\n"))
        .find(|(head, _)| head.to_ascii_lowercase().contains("application/sdp"));
    sdp.map_or_else(Vec::new, |(_, text)| text.trim_end_matches("\r\n").as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_can_be_read_again() {
        let uri = "msrp://10.0.0.1:2855/abc;tcp";
        let address = "10.0.0.1:2855".parse().unwrap();
        for setup in [Setup::Active, Setup::Passive, Setup::ActPass] {
            for cema in [false, true] {
                let read = read(&description(address, uri, setup, cema)).unwrap();
                let (path, setup, shown) = (uri.into(), Some(setup), Some(address));
                assert_eq!(read, Described { path, setup, refused: false, cema, shown });
            }
        }
        assert_eq!(read(b"v=0\r\n"), None);
    }

    #[test]
    fn the_description_is_found_among_other_parts() {
        let body = "--b\r\nContent-Type: application/resource-lists+xml\r\n\r\n<x/>\r\n\
                    --b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\ns=-\r\n--b--\r\n";
        let found = part("multipart/mixed;boundary=\"b\"", body.as_bytes());
        assert_eq!(found, b"v=0\r\ns=-");
        assert_eq!(part("application/sdp", b"v=0"), b"v=0");
    }
}
