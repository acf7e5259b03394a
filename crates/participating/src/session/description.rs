//! The session description in the body of a message: alone, or as one part of several
//! (RFC 5621 §3).

use bytes::Bytes;
use parlance_content::MediaType;
use parlance_content::multipart::{Limits, Multipart};
use parlance_isc::session::Body;
use parlance_sip::sdp::Sdp;
use parlance_sip::{HeaderName, Message};

/// A description and what is around it in its body.
#[derive(Clone, Debug)]
pub(crate) struct Described {
    pub(crate) sdp: Sdp,
    content_type: String,
    before: Bytes,
    after: Bytes,
}

impl Described {
    /// The description in the body of `message`; `None` when there is none that can be read: whom
    /// it is for judges it.
    pub(crate) fn of(message: &Message) -> Option<Self> {
        let value = message.field(HeaderName::ContentType)?;
        let content_type = String::from_utf8(value.to_vec()).ok()?;
        let media = MediaType::parse(&content_type).ok()?;
        let body = message.body_bytes();
        if media.is("application/sdp") {
            let sdp = Sdp::parse(&body).ok()?;
            return Some(Self { content_type, ..Self::from(sdp) });
        }
        let parts = Multipart::parse(&media, &body, &Limits::default()).ok()?;
        let part = parts.parts().iter().find(|part| part.headers.is_type("application/sdp"))?;
        let sdp = Sdp::parse(&part.body).ok()?;
        // A part is a slice of the body.
        let from = (part.body.as_ptr() as usize).checked_sub(body.as_ptr() as usize)?;
        let to = from.checked_add(part.body.len()).filter(|to| *to <= body.len())?;
        let (before, after) = (body.slice(..from), body.slice(to..));
        Some(Self { sdp, content_type, before, after })
    }

    /// The description without what was around it.
    pub(crate) fn alone(&self) -> Self {
        Self::from(self.sdp.clone())
    }

    /// The body with `sdp` in the place of its own. What is around it stays, octet for octet.
    pub(crate) fn with(&self, sdp: &Sdp) -> Body {
        let sdp = sdp.to_string();
        let octets = [&self.before[..], sdp.as_bytes(), &self.after[..]].concat();
        Body::new(self.content_type.clone(), octets)
    }
}

impl From<Sdp> for Described {
    /// A body that is the description.
    fn from(sdp: Sdp) -> Self {
        let content_type = "application/sdp".to_owned();
        Self { sdp, content_type, before: Bytes::new(), after: Bytes::new() }
    }
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
    use super::{Described, size};
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
        assert_eq!(size(&Described::of(&alone).unwrap().sdp), Some(12_345));
        let part = request(&format!(
            "INVITE sip:b@h SIP/2.0\r\nContent-Type: multipart/mixed;boundary=x\r\n\r\n\
             --x\r\nContent-Type: text/plain\r\n\r\nhi\r\n--x\r\nContent-Type: application/sdp\r\n\
             \r\n{SDP}\r\n--x--\r\n"
        ));
        assert_eq!(size(&Described::of(&part).unwrap().sdp), Some(12_345));
        let none = request("INVITE sip:b@h SIP/2.0\r\nContent-Type: text/plain\r\n\r\nhi");
        assert!(Described::of(&none).is_none());
    }

    // Covers: PF-052
    #[test]
    fn what_is_around_it_stays_octet_for_octet() {
        let around = |sdp: &str| {
            format!(
                "preamble\r\n--x\r\nContent-Type: application/resource-lists+xml\r\n\r\n<a/>  \r\n\
                 --x\r\nX-Odd:  1\r\nContent-Type:application/sdp\r\n\r\n{sdp}\r\n--x--\r\nepilogue"
            )
        };
        let message = |sdp: &str| {
            let head = "INVITE sip:b@h SIP/2.0\r\nContent-Type: multipart/mixed;boundary=x\r\n\r\n";
            request(&format!("{head}{}", around(sdp)))
        };
        let described = Described::of(&message(SDP)).unwrap();
        let mut other = described.sdp.clone();
        other.set_session_attribute("new", Some("1"));
        let body = described.with(&other);
        assert_eq!(body.content_type(), "multipart/mixed;boundary=x");
        assert_eq!(body.octets(), around(&other.to_string()).as_bytes());
        assert_eq!(described.with(&described.sdp).octets(), around(SDP).as_bytes());
        let broken = message("v=0\r\nnonsense");
        assert!(Described::of(&broken).is_none());
    }
}
