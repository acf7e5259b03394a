//! What is kept of a message that came over MSRP (OMA-TS-SIMPLE_IM Appendix H, example 2).
//!
//! The record is the INVITE of the session, as [`keep::payload`] keeps a request, with a body of
//! several parts: the INVITE itself, our 200, and the SEND with the whole message. So all that a
//! push over MSRP shows is there, and what is asked of any kept message stands in the same place.

use bytes::{Bytes, BytesMut};
use parlance_content::MediaType;
use parlance_content::multipart::{Builder, Limits, Multipart, NewPart};
use parlance_msrp::endpoint::Description;
use parlance_msrp::header::ByteRange;
use parlance_msrp::{Continuation, Framer, Method as MsrpMethod, Piece, TransactionId, write};
use parlance_sip::header::{ContentType, Date};
use parlance_sip::{Edits, HeaderName, Method, Request};
use parlance_store::Millis;

use crate::keep;

/// The head of a SEND that is written here: of one that came, with our path.
const HEAD_LIMITS: parlance_msrp::Limits = parlance_msrp::Limits {
    head_octets_max: 65_536,
    headers_max: 1_024,
    uris_max: 64,
    other_body_octets_max: 0,
};

/// A message that came over MSRP, and all that its record shows.
pub(crate) struct Came<'a> {
    /// The INVITE of its session.
    pub(crate) invite: &'a Request,
    /// Our 200 to it.
    pub(crate) accepted: &'a [u8],
    /// What the first chunk said.
    pub(crate) description: &'a Description,
    /// The whole content.
    pub(crate) body: &'a Bytes,
    /// The paths of the session: ours, and the sender's.
    pub(crate) paths: (&'a str, &'a str),
    /// When it came.
    pub(crate) received: Millis,
}

impl Came<'_> {
    /// The record; `None` when no boundary or transaction can be made from `random` that does not
    /// occur in the message.
    pub(crate) fn payload(&self, random: u64) -> Option<Bytes> {
        let invite = keep::payload(self.invite, self.received);
        let body = Builder::mixed()
            .part(NewPart::new("message/sip", invite.clone()))
            .part(NewPart::new("message/sip", self.accepted.to_vec()))
            .part(NewPart::new("message/msrp", self.send(random)?))
            .build(&format!("{random:016x}"))
            .ok()?;
        let kept = keep::read(&invite)?;
        let mut edits = Edits::new();
        edits.set(&kept, HeaderName::ContentType, &body.content_type);
        edits.body(&kept, body.body);
        let mut out = BytesMut::new();
        edits.write(&kept, &mut out);
        Some(out.freeze())
    }

    /// The SEND, in one chunk.
    fn send(&self, random: u64) -> Option<Vec<u8>> {
        let mut ids = (0..16).map(|turn| TransactionId::new(0, random, turn).octets());
        let id = ids.find(|id| !TransactionId::occurs_in(id, self.body))?;
        let (ours, theirs) = self.paths;
        let mut out = Vec::with_capacity(self.body.len() + 1024);
        write::request(&mut out, &id, MsrpMethod::Send, ours.as_bytes(), theirs.as_bytes());
        let whole = self.body.len() as u64;
        for line in self.description.headers.split_inclusive(|octet| *octet == b'\n') {
            if !is_called(line, b"Byte-Range") && !is_called(line, b"Content-Type") {
                out.extend_from_slice(line);
            }
        }
        write::byte_range(&mut out, ByteRange { start: 1, end: Some(whole), total: Some(whole) });
        if let Some(date) = Date::from_epoch_seconds(self.received.0 / 1000) {
            write::header(&mut out, "Date", date.to_string().as_bytes());
        }
        write::header(&mut out, "Content-Type", self.description.content_type.as_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(self.body);
        write::body_end(&mut out, &id, Continuation::Last);
        Some(out)
    }
}

fn is_called(line: &[u8], name: &[u8]) -> bool {
    let written = line.split(|octet| *octet == b':').next();
    written.is_some_and(|written| written.eq_ignore_ascii_case(name))
}

/// The content of a message that came over MSRP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    /// Its type.
    pub(crate) content_type: String,
    /// Name and value of each further header that describes it.
    pub(crate) headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// The octets.
    pub(crate) body: Bytes,
}

/// Whether a kept request is such a record.
pub(crate) fn is_large(kept: &Request) -> bool {
    kept.method() == Method::Invite
}

/// The content of the message of a record; `None` when it is none.
pub(crate) fn content(kept: &Request) -> Option<Content> {
    let written = kept.header::<ContentType<'_>>().ok()??.to_string();
    let media = MediaType::parse(&written).ok()?;
    let limits = Limits { parts_max: 8, ..Limits::default() };
    let parts = Multipart::parse(&media, &kept.body_bytes(), &limits).ok()?.into_parts();
    let send = parts.into_iter().find(|part| part.headers.is_type("message/msrp"))?;
    read_send(&send.body)
}

fn read_send(octets: &Bytes) -> Option<Content> {
    let mut framer = Framer::new(HEAD_LIMITS);
    let mut at = 0;
    let Some(Piece::Head { head, body, end: Some(_) }) = framer.next(octets, &mut at) else {
        return None;
    };
    let headers = head.lines().filter(|line| {
        let name = line.name.to_ascii_lowercase();
        name.starts_with(b"content-") && name != b"content-type"
    });
    Some(Content {
        content_type: String::from_utf8(head.content_type?.to_vec()).ok()?,
        headers: headers.map(|line| (line.name.to_vec(), line.value.to_vec())).collect(),
        body: octets.slice_ref(body),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::request;

    /// 2006-03-01T10:15:30Z.
    const T0: Millis = Millis(1_141_208_130_000);

    fn came(body: &'static [u8], content_type: &str) -> Option<Bytes> {
        let invite = request(
            "INVITE sip:bob@ims.test SIP/2.0\r\n\
             Via: SIP/2.0/UDP 127.0.0.13;branch=z9hG4bKa\r\nRoute: <sip:as;lr>\r\n\
             From: <sip:alice@ims.test>;tag=1\r\nTo: <sip:bob@ims.test>\r\n\
             Call-ID: c1\r\nCSeq: 1 INVITE\r\nContent-Type: application/sdp\r\n\
             Content-Length: 5\r\n\r\nv=0\r\n",
        );
        let description = Description {
            message_id: b"m1".as_slice().into(),
            content_type: content_type.into(),
            headers: b"Message-ID: m1\r\nByte-Range: 1-2/8\r\nSuccess-Report: yes\r\n\
                       Content-Disposition: render\r\nContent-Type: text/plain\r\n"
                .as_slice()
                .into(),
            success_report: true,
        };
        Came {
            invite: &invite,
            accepted: b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.13\r\n\r\n",
            description: &description,
            body: &Bytes::from_static(body),
            paths: ("msrp://as:2855/ours;tcp", "msrp://ue:7777/theirs;tcp"),
            received: T0,
        }
        .payload(7)
    }

    // Covers: DF-031, DF-032, DF-075, DF-076
    #[test]
    fn the_record_shows_invite_answer_and_send() {
        let kept = keep::read(&came(b"hi\r\n\0!", "text/plain").unwrap()).unwrap();
        assert!(is_large(&kept));
        assert_eq!(kept.field(HeaderName::Route), None);
        assert_eq!(kept.call_id(), b"c1");
        let text = String::from_utf8(kept.body().to_vec()).unwrap();
        let date = "Date: Wed, 01 Mar 2006 10:15:30 GMT\r\n";
        for part in [
            "Content-Type: message/sip\r\n\r\nINVITE sip:bob@ims.test SIP/2.0\r\n",
            "Content-Length: 5\r\n",
            "Content-Type: message/sip\r\n\r\nSIP/2.0 200 OK\r\n",
            "SEND\r\nTo-Path: msrp://as:2855/ours;tcp\r\nFrom-Path: msrp://ue:7777/theirs;tcp\r\n",
            "Message-ID: m1\r\nSuccess-Report: yes\r\nContent-Disposition: render\r\n\
             Byte-Range: 1-6/6\r\nDate: Wed, 01 Mar 2006 10:15:30 GMT\r\n\
             Content-Type: text/plain\r\n\r\nhi\r\n\0!\r\n-------",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
        assert_eq!(text.matches(date).count(), 2, "{text}");
        let expected = Content {
            content_type: "text/plain".to_owned(),
            headers: vec![(b"Content-Disposition".to_vec(), b"render".to_vec())],
            body: Bytes::from_static(b"hi\r\n\0!"),
        };
        assert_eq!(content(&kept), Some(expected));
    }

    #[test]
    fn any_content_survives() {
        let all: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        let all: &'static [u8] = all.leak();
        for body in [all, b"", b"-------0000$\r\n", b"--0000000000000007\r\n"] {
            let kept = keep::read(&came(body, "application/octet-stream").unwrap()).unwrap();
            assert_eq!(content(&kept).unwrap().body, body);
        }
    }

    #[test]
    fn what_is_no_record_has_no_content() {
        let table = [
            "INVITE sip:b@h SIP/2.0\r\n\r\n",
            "INVITE sip:b@h SIP/2.0\r\nContent-Type: text/plain\r\n\r\nx",
            "INVITE sip:b@h SIP/2.0\r\nContent-Type: multipart/mixed;boundary=b\r\n\r\n\
             --b\r\nContent-Type: message/msrp\r\n\r\nMSRP what\r\n--b--\r\n",
        ];
        for text in table {
            assert_eq!(content(&request(text)), None, "{text}");
        }
    }
}
