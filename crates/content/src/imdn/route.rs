//! Staying on the path of notifications (RFC 5438 §8).

use bytes::{BufMut, Bytes, BytesMut};

use super::{NAMESPACE, routes};
use crate::cpim::{Address, BuildError, Cpim};

/// Where a notification goes next: the topmost `IMDN-Route`, else `To` (§8).
pub fn next_hop(notification: &Cpim) -> Option<Address<'_>> {
    routes(notification).into_iter().next().or_else(|| notification.to().next())
}

/// `message` with `uri` as its topmost `IMDN-Record-Route`; all other octets stay as they are.
///
/// The prefix in use for [`NAMESPACE`] is kept; without one, `NS` is added too.
pub fn with_record_route(message: &Cpim, uri: &str) -> Result<Bytes, BuildError> {
    if uri.is_empty() || uri.contains(|c: char| c.is_ascii_control() || " <>\"".contains(c)) {
        return Err(BuildError::Uri);
    }
    let top = message.named(NAMESPACE, "IMDN-Record-Route").next();
    let (at, prefix) = match (message.line(NAMESPACE, "IMDN-Record-Route"), top) {
        (Some(line), Some(top)) => (line.start, Some(top.prefix)),
        _ => (message.headers_end(), message.prefix_of(NAMESPACE)),
    };
    let octets = message.octets();
    let before = octets.slice(..at);
    let mut lines = String::new();
    // Only the last line of a message without content can lack its line end.
    if !before.is_empty() && !before.ends_with(b"\n") {
        lines.push_str("\r\n");
    }
    let free;
    let prefix = match prefix {
        Some(prefix) => prefix,
        None => {
            free = free_prefix(message);
            lines.push_str(&format!("NS: {free} <{NAMESPACE}>\r\n"));
            &free
        }
    };
    let dot = if prefix.is_empty() { "" } else { "." };
    lines.push_str(&format!("{prefix}{dot}IMDN-Record-Route: <{uri}>\r\n"));
    let mut written = BytesMut::with_capacity(octets.len() + lines.len());
    written.put_slice(&before);
    written.put_slice(lines.as_bytes());
    written.put_slice(octets.get(at..).unwrap_or_default());
    Ok(written.freeze())
}

/// `notification` without its topmost `IMDN-Route`, which named us (§8); all other octets stay.
pub fn without_top_route(notification: &Cpim) -> Bytes {
    let octets = notification.octets();
    let Some(line) = notification.line(NAMESPACE, "IMDN-Route") else { return octets.clone() };
    let mut written = BytesMut::with_capacity(octets.len() - line.len());
    written.put_slice(octets.get(..line.start).unwrap_or_default());
    written.put_slice(octets.get(line.end..).unwrap_or_default());
    written.freeze()
}

/// `imdn`, or the first of `imdn1`, `imdn2` ... that no header of `message` uses or declares.
fn free_prefix(message: &Cpim) -> String {
    let taken = |prefix: &str| {
        message.headers().any(|header| {
            header.prefix == prefix || (header.name == "NS" && header.value.starts_with(prefix))
        })
    };
    let mut prefix = "imdn".to_owned();
    let mut number = 0_u32;
    while taken(&prefix) {
        number += 1;
        prefix = format!("imdn{number}");
    }
    prefix
}

#[cfg(test)]
mod tests {
    use super::super::record_routes;
    use super::*;
    use crate::cpim::Limits;

    fn parse(octets: &str) -> Cpim {
        Cpim::parse(&Bytes::copy_from_slice(octets.as_bytes()), &Limits::default()).unwrap()
    }

    // Covers: PF-024
    #[test]
    fn record_route_is_added_on_top_and_nothing_else_changes() {
        const TAIL: &str = "\r\nContent-Type: text/plain\r\n\r\n\u{0}\r\nbody";
        #[rustfmt::skip]
        let table = [
            // The prefix of the message is kept.
            ("NS: i <urn:ietf:params:imdn>\r\ni.Message-ID: 1\r\nX:  y \r\n",
             "NS: i <urn:ietf:params:imdn>\r\ni.Message-ID: 1\r\nX:  y \r\n\
              i.IMDN-Record-Route: <sip:as>\r\n"),
            // On top of the others.
            ("NS: i <urn:ietf:params:imdn>\r\ni.IMDN-Record-Route: <sip:b>\r\nNS: i <urn:x>\r\n",
             "NS: i <urn:ietf:params:imdn>\r\ni.IMDN-Record-Route: <sip:as>\r\n\
              i.IMDN-Record-Route: <sip:b>\r\nNS: i <urn:x>\r\n"),
            // The default namespace has no prefix.
            ("NS: <urn:ietf:params:imdn>\r\n",
             "NS: <urn:ietf:params:imdn>\r\nIMDN-Record-Route: <sip:as>\r\n"),
            // Nothing declared; `imdn` means something else.
            ("From: <sip:a>\r\n",
             "From: <sip:a>\r\nNS: imdn <urn:ietf:params:imdn>\r\n\
              imdn.IMDN-Record-Route: <sip:as>\r\n"),
            ("NS: imdn <urn:x>\r\n",
             "NS: imdn <urn:x>\r\nNS: imdn1 <urn:ietf:params:imdn>\r\n\
              imdn1.IMDN-Record-Route: <sip:as>\r\n"),
        ];
        for (head, expect) in table {
            let message = parse(&format!("{head}{TAIL}"));
            let written = with_record_route(&message, "sip:as").unwrap();
            assert_eq!(written, format!("{expect}{TAIL}"));
            let read = Cpim::parse(&written, &Limits::default()).unwrap();
            assert_eq!(record_routes(&read)[0].uri, "sip:as");
            assert_eq!(read.content(), message.content());
        }
    }

    #[test]
    fn record_route_goes_before_mime_fields_without_an_empty_line() {
        let message = parse("From: <im:a@b>\r\nContent-type: text/plain\r\n\r\nhi");
        let written = with_record_route(&message, "sip:as").unwrap();
        let read = Cpim::parse(&written, &Limits::default()).unwrap();
        assert_eq!(record_routes(&read).len(), 1);
        assert_eq!(read.mime(), message.mime());
        let cut = with_record_route(&parse("From: <im:a@b>"), "sip:as").unwrap();
        assert!(cut.starts_with(b"From: <im:a@b>\r\nNS: imdn <"));
    }

    #[test]
    fn a_uri_cannot_bring_a_header_along() {
        for uri in ["", "sip:a>\r\nFrom: <sip:b", "sip:a b"] {
            assert_eq!(with_record_route(&parse("A: b\r\n\r\n"), uri), Err(BuildError::Uri));
        }
    }

    #[test]
    fn the_top_route_is_taken_off() {
        let text = "To: <im:c@d>\r\nNS: i <urn:ietf:params:imdn>\r\ni.IMDN-Route: <sip:as>\r\n\
            i.IMDN-Route: <sip:as2>\r\n\r\nContent-Type: message/imdn+xml\r\n\r\n<imdn/>";
        let first = parse(text);
        assert_eq!(next_hop(&first).unwrap().uri, "sip:as");
        let octets = without_top_route(&first);
        assert_eq!(octets, text.replace("i.IMDN-Route: <sip:as>\r\n", ""));
        let second = Cpim::parse(&octets, &Limits::default()).unwrap();
        assert_eq!(next_hop(&second).unwrap().uri, "sip:as2");
        let third = Cpim::parse(&without_top_route(&second), &Limits::default()).unwrap();
        assert_eq!(next_hop(&third).unwrap().uri, "im:c@d");
        assert_eq!(without_top_route(&third), third.octets());
    }
}
