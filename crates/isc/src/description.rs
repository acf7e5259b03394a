//! The session description in the body of a request: alone, or as one part of several
//! (RFC 5621 §3).

use bytes::Bytes;
use parlance_content::MediaType;
use parlance_content::multipart::{Limits, Multipart};
use parlance_sip::{HeaderName, Request};

/// The session description of `request`; `None` when there is none.
pub fn session_description(request: &Request) -> Option<Bytes> {
    let content_type = request.field(HeaderName::ContentType)?;
    let media = MediaType::parse(std::str::from_utf8(content_type).ok()?).ok()?;
    if media.is("application/sdp") {
        return Some(request.body_bytes());
    }
    if !media.is_multipart() {
        return None;
    }
    let body = Multipart::parse(&media, &request.body_bytes(), &Limits::default()).ok()?;
    let part = body.parts().iter().find(|part| part.headers.is_type("application/sdp"))?;
    Some(part.body.clone())
}

#[cfg(test)]
mod tests {
    use super::session_description;
    use crate::fixture::request;

    #[test]
    fn the_description_is_found_alone_and_in_a_part() {
        let found = |head: &str, body: &str| {
            session_description(&request(&format!(
                "INVITE sip:b@h SIP/2.0\r\n{head}\r\n\r\n{body}"
            )))
        };
        let alone = found("Content-Type: application/sdp", "v=0\r\n");
        assert_eq!(alone.as_deref(), Some(b"v=0\r\n".as_slice()));
        let parts = "--x\r\nContent-Type: text/plain\r\n\r\nhi\r\n\
                     --x\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--x--\r\n";
        let part = found("Content-Type: multipart/mixed;boundary=x", parts);
        assert_eq!(part.as_deref(), Some(b"v=0".as_slice()));
        for (head, body) in [
            ("Content-Type: text/plain", "v=0\r\n"),
            ("Content-Type: multipart/mixed;boundary=y", parts),
            ("Subject: x", ""),
        ] {
            assert_eq!(found(head, body), None, "{head}");
        }
    }
}
