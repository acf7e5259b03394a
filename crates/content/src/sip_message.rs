//! SIP messages inside SIP messages (RFC 3261 §27.5, `message/sip`).
//!
//! An S-CSCF puts the UE's REGISTER, and where asked its 200, into the third-party REGISTER it
//! sends an application server (TS 24.229 §5.4.1.7): alone, or in `multipart/mixed` beside the
//! service information in `application/3gpp-ims+xml`.

use bytes::Bytes;

use crate::multipart::{Limits, Multipart, MultipartError, Part};
use crate::{MediaType, TransferEncoding};

/// The octets of each `message/sip` in `body`, in order; none when there is no such part.
///
/// Parts of other types, and parts that would need decoding, are passed over; bodies within
/// bodies are looked into as deep as `limits` allow. `limits.parts_max` also bounds what is given.
pub fn embedded(
    content_type: &MediaType<'_>,
    body: &Bytes,
    limits: &Limits,
) -> Result<Vec<Bytes>, MultipartError> {
    if content_type.is("message/sip") {
        return Ok(vec![body.clone()]);
    }
    let mut found = Vec::new();
    if content_type.is_multipart() {
        let multipart = Multipart::parse(content_type, body, limits)?;
        collect(multipart.parts(), limits, &mut found)?;
    }
    Ok(found)
}

/// As [`embedded`], only the requests of method `method`: not the 200 that may stand beside them.
///
/// A request is told by its start line, `method SP`; parsing it is the caller's.
pub fn requests(
    method: &str,
    content_type: &MediaType<'_>,
    body: &Bytes,
    limits: &Limits,
) -> Result<Vec<Bytes>, MultipartError> {
    let mut found = embedded(content_type, body, limits)?;
    found.retain(|octets| {
        octets.strip_prefix(method.as_bytes()).is_some_and(|rest| rest.starts_with(b" "))
    });
    Ok(found)
}

fn collect(parts: &[Part], limits: &Limits, found: &mut Vec<Bytes>) -> Result<(), MultipartError> {
    for part in parts {
        if part.headers.is_type("message/sip") {
            if part.headers.transfer_encoding() != TransferEncoding::Identity {
                continue;
            }
            if found.len() == limits.parts_max {
                return Err(MultipartError::TooManyParts);
            }
            found.push(part.body.clone());
        } else if let Some(nested) = part.nested(limits) {
            collect(nested?.parts(), limits, found)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALONE: &[u8] = include_bytes!("../testdata/register/kamailio.body");
    const BESIDE: &[u8] = include_bytes!("../testdata/register/multipart.body");

    fn registers(content_type: &str, body: &[u8]) -> Result<Vec<Bytes>, MultipartError> {
        let media = MediaType::parse(content_type).unwrap();
        requests("REGISTER", &media, &Bytes::copy_from_slice(body), &Limits::default())
    }

    // Covers: CORE-022
    #[test]
    fn the_register_of_the_ue_is_found() {
        let alone = registers("message/sip", ALONE).unwrap();
        assert_eq!(alone, [ALONE]);
        let beside = registers("multipart/mixed;boundary=\"b3p\"", BESIDE).unwrap();
        assert_eq!(beside.len(), 1);
        let text = String::from_utf8(beside[0].to_vec()).unwrap();
        assert!(text.starts_with("REGISTER sip:home1.example SIP/2.0\r\n"));
        assert!(text.contains("+g.oma.sip-im;"));
        assert!(text.ends_with("Content-Length: 0\r\n\r\n"));
    }

    // Covers: CORE-022
    #[test]
    fn no_register_is_no_error() {
        assert_eq!(registers("application/3gpp-ims+xml", b"<ims-3gpp/>"), Ok(vec![]));
        let body = b"--b\r\nContent-Type: application/3gpp-ims+xml\r\n\r\n<ims-3gpp/>\r\n--b--";
        assert_eq!(registers("multipart/mixed;boundary=b", body), Ok(vec![]));
    }

    #[test]
    fn every_part_counts_and_responses_do_not() {
        let body = b"--b\r\nContent-Type: message/sip\r\n\r\nREGISTER sip:a SIP/2.0\r\n\r\n\r\n\
            --b\r\nContent-Type: message/sip\r\n\r\nSIP/2.0 200 OK\r\n\r\n\r\n\
            --b\r\nContent-Type: message/sip\r\nContent-Transfer-Encoding: base64\r\n\r\nUg==\r\n\
            --b\r\nContent-Type: multipart/mixed;boundary=c\r\n\r\n\
            --c\r\nContent-Type: message/sip\r\n\r\nREGISTER sip:b SIP/2.0\r\n\r\n\r\n--c--\r\n\
            --b--";
        let found = registers("multipart/mixed;boundary=b", body).unwrap();
        assert_eq!(found, ["REGISTER sip:a SIP/2.0\r\n\r\n", "REGISTER sip:b SIP/2.0\r\n\r\n"]);
        let media = MediaType::parse("multipart/mixed;boundary=b").unwrap();
        let body = Bytes::copy_from_slice(body);
        assert_eq!(embedded(&media, &body, &Limits::default()).unwrap().len(), 3);
        let few = Limits { parts_max: 4, depth_max: 1, ..Limits::default() };
        assert_eq!(embedded(&media, &body, &few), Err(MultipartError::TooDeep));
    }

    #[test]
    fn a_broken_body_is_an_error() {
        assert_eq!(registers("multipart/mixed", BESIDE), Err(MultipartError::Boundary));
        assert_eq!(
            registers("multipart/mixed;boundary=x", BESIDE),
            Err(MultipartError::NoDelimiter)
        );
    }
}
