//! What the session description of an INVITE says to the function.

use parlance_content::MediaType;
use parlance_content::multipart::{Limits, Multipart};
use parlance_sip::sdp::Sdp;
use parlance_sip::{HeaderName, Request};

/// The description in the body, alone or as a part of it; `None` when there is none that can be
/// read: whom it is for judges it.
pub(crate) fn of(request: &Request) -> Option<Sdp> {
    let content_type = request.field(HeaderName::ContentType)?;
    let media = MediaType::parse(std::str::from_utf8(content_type).ok()?).ok()?;
    if media.is("application/sdp") {
        return Sdp::parse(request.body()).ok();
    }
    if !media.is_multipart() {
        return None;
    }
    let body = Multipart::parse(&media, &request.body_bytes(), &Limits::default()).ok()?;
    let part = body.parts().iter().find(|part| part.headers.is_type("application/sdp"))?;
    Sdp::parse(&part.body).ok()
}

/// How large the message is that the session is for, in octets, when the description says so
/// (`file-selector`, RFC 5547 §6).
pub(crate) fn size(sdp: &Sdp) -> Option<u64> {
    let (_, media) = sdp.first_message()?;
    media.ok()?.file?.selector.size
}

/// Whether the session is for a file (RFC 5547 §6).
pub(crate) fn is_file(sdp: &Sdp) -> bool {
    let media = sdp.first_message().and_then(|(_, media)| media.ok());
    media.is_some_and(|media| media.file.is_some())
}

#[cfg(test)]
mod tests {
    use super::{of, size};
    use crate::tests::request;

    const SDP: &str = "v=0\r\no=a 1 1 IN IP4 h\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n\
        m=message 7654 TCP/MSRP *\r\na=accept-types:message/cpim\r\n\
        a=path:msrp://192.0.2.10:7654/peer;tcp\r\na=sendonly\r\n\
        a=file-selector:name:\"a.png\" size:12345\r\na=file-transfer-id:x\r\n";

    // Covers: PF-030
    #[test]
    fn the_size_is_found_alone_and_in_a_part() {
        let alone = request(&format!(
            "INVITE sip:b@h SIP/2.0\r\nContent-Type: application/sdp\r\n\r\n{SDP}"
        ));
        assert_eq!(size(&of(&alone).unwrap()), Some(12_345));
        let part = request(&format!(
            "INVITE sip:b@h SIP/2.0\r\nContent-Type: multipart/mixed;boundary=x\r\n\r\n\
             --x\r\nContent-Type: text/plain\r\n\r\nhi\r\n--x\r\nContent-Type: application/sdp\r\n\
             \r\n{SDP}\r\n--x--\r\n"
        ));
        assert_eq!(size(&of(&part).unwrap()), Some(12_345));
        let none = request("INVITE sip:b@h SIP/2.0\r\nContent-Type: text/plain\r\n\r\nhi");
        assert!(of(&none).is_none());
    }
}
