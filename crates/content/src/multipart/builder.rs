//! Writing bodies of several parts.

use std::fmt::Write;

use bytes::{BufMut, Bytes, BytesMut};
use memchr::memmem;

use super::is_boundary;

/// How many boundaries are tried before giving up. Local limit: a seed with 64 random bits never
/// needs a second one, and a peer that can guess it must not make us search for long.
const BOUNDARIES_MAX: u32 = 16;

/// A `multipart/*` body being written.
#[derive(Clone, Debug)]
pub struct Builder {
    subtype: &'static str,
    parts: Vec<NewPart>,
}

/// A part to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPart {
    /// The value of `Content-Type`.
    pub content_type: String,
    /// The value of `Content-Disposition`, if any.
    pub content_disposition: Option<String>,
    /// The value of `Content-ID` without angle brackets, if any.
    pub content_id: Option<String>,
    /// The value of `Content-Transfer-Encoding`, if any; the body is written as it is.
    pub transfer_encoding: Option<String>,
    /// The content.
    pub body: Bytes,
}

/// A written body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The value of `Content-Type` with the boundary.
    pub content_type: String,
    /// The body.
    pub body: Bytes,
}

/// Why a body could not be written: the caller's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The seed is empty, too long (66 characters at most) or not of the characters allowed.
    #[error("seed cannot be part of a boundary")]
    Seed,
    /// Every boundary made from the seed occurs in a part.
    #[error("no boundary was found that is not in a part")]
    Exhausted,
    /// A header field value has a control character.
    #[error("header field value has a control character")]
    Value,
    /// There is no part; a body must have one (RFC 2046 §5.1.1).
    #[error("a multipart body needs a part")]
    Empty,
}

impl NewPart {
    /// A part with a media type and a body.
    pub fn new(content_type: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self {
            content_type: content_type.into(),
            content_disposition: None,
            content_id: None,
            transfer_encoding: None,
            body: body.into(),
        }
    }

    fn head(&self) -> Result<String, BuildError> {
        let mut head = String::new();
        let id = self.content_id.as_ref().map(|id| format!("<{id}>"));
        let fields = [
            ("Content-Type", Some(&self.content_type)),
            ("Content-Disposition", self.content_disposition.as_ref()),
            ("Content-ID", id.as_ref()),
            ("Content-Transfer-Encoding", self.transfer_encoding.as_ref()),
        ];
        for (name, value) in fields {
            let Some(value) = value else { continue };
            if value.chars().any(char::is_control) {
                return Err(BuildError::Value);
            }
            // Writing to a String cannot fail.
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head.push_str("\r\n");
        Ok(head)
    }
}

impl Builder {
    /// A `multipart/mixed` body (RFC 2046 §5.1.3).
    pub fn mixed() -> Self {
        Self { subtype: "mixed", parts: Vec::new() }
    }

    /// Adds a part behind the others.
    pub fn part(mut self, part: NewPart) -> Self {
        self.parts.push(part);
        self
    }

    /// Writes the body with a boundary made from `seed` that occurs in no part.
    ///
    /// `seed` should be random and is 1 to 66 characters of letters, digits and `'()+_,-./:=?`.
    pub fn build(self, seed: &str) -> Result<Built, BuildError> {
        if self.parts.is_empty() {
            return Err(BuildError::Empty);
        }
        let heads: Vec<String> = self.parts.iter().map(NewPart::head).collect::<Result<_, _>>()?;
        let boundary = self.boundary(seed, &heads)?;
        let octets: usize = self.parts.iter().map(|part| part.body.len()).sum();
        let frame: usize = heads.iter().map(|head| head.len() + boundary.len() + 6).sum();
        let mut body = BytesMut::with_capacity(octets + frame + boundary.len() + 6);
        for (head, part) in heads.iter().zip(&self.parts) {
            for piece in ["--", &boundary, "\r\n", head] {
                body.put_slice(piece.as_bytes());
            }
            body.put_slice(&part.body);
            body.put_slice(b"\r\n");
        }
        for piece in ["--", &boundary, "--\r\n"] {
            body.put_slice(piece.as_bytes());
        }
        let content_type = format!("multipart/{};boundary=\"{boundary}\"", self.subtype);
        Ok(Built { content_type, body: body.freeze() })
    }

    fn boundary(&self, seed: &str, heads: &[String]) -> Result<String, BuildError> {
        if !is_boundary(seed) || seed.contains(' ') || seed.len() > 66 {
            return Err(BuildError::Seed);
        }
        let mut boundary = seed.to_owned();
        for attempt in 1..=BOUNDARIES_MAX {
            let needle = format!("--{boundary}");
            let finder = memmem::Finder::new(&needle);
            let taken = heads.iter().any(|head| finder.find(head.as_bytes()).is_some())
                || self.parts.iter().any(|part| finder.find(&part.body).is_some());
            if !taken {
                return Ok(boundary);
            }
            boundary = format!("{seed}-{attempt}");
        }
        Err(BuildError::Exhausted)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Limits, Multipart};
    use super::*;
    use crate::MediaType;

    fn read(built: &Built) -> Multipart {
        let media = MediaType::parse(&built.content_type).unwrap();
        Multipart::parse(&media, &built.body, &Limits::default()).unwrap()
    }

    #[test]
    fn writes() {
        let list = NewPart {
            content_disposition: Some("recipient-list".to_owned()),
            content_id: Some("l@h".to_owned()),
            transfer_encoding: Some("binary".to_owned()),
            ..NewPart::new("application/resource-lists+xml", "<x/>")
        };
        let built =
            Builder::mixed().part(NewPart::new("text/plain", "hi")).part(list).build("s").unwrap();
        assert_eq!(built.content_type, "multipart/mixed;boundary=\"s\"");
        let expect = "--s\r\nContent-Type: text/plain\r\n\r\nhi\r\n--s\r\n\
            Content-Type: application/resource-lists+xml\r\n\
            Content-Disposition: recipient-list\r\nContent-ID: <l@h>\r\n\
            Content-Transfer-Encoding: binary\r\n\r\n<x/>\r\n--s--\r\n";
        assert_eq!(built.body, expect);
    }

    #[test]
    fn refuses() {
        let part = NewPart::new("text/plain", "hi");
        let long = "s".repeat(67);
        for seed in ["", "a b", "a\"b", &long] {
            assert_eq!(
                Builder::mixed().part(part.clone()).build(seed),
                Err(BuildError::Seed),
                "{seed}"
            );
        }
        assert_eq!(Builder::mixed().build("s"), Err(BuildError::Empty));
        let injected = NewPart::new("text/plain\r\nX: y", "hi");
        assert_eq!(Builder::mixed().part(injected).build("s"), Err(BuildError::Value));
    }

    #[test]
    fn a_boundary_in_a_part_is_not_used() {
        let body = "\r\n--s\r\n--s-1--";
        // "--s" is in the part, "--s-1" too, "--s-2" is not.
        let built = Builder::mixed().part(NewPart::new("text/plain", body)).build("s").unwrap();
        assert_eq!(built.content_type, "multipart/mixed;boundary=\"s-2\"");
        assert_eq!(read(&built).parts()[0].body, body);
    }

    #[test]
    fn the_search_for_a_boundary_ends() {
        let mut body = "--s".to_owned();
        for attempt in 1..BOUNDARIES_MAX {
            let _ = write!(body, "--s-{attempt}");
        }
        let part = NewPart::new("text/plain", body);
        assert_eq!(Builder::mixed().part(part).build("s"), Err(BuildError::Exhausted));
    }

    proptest! {
        #[test]
        fn build_then_parse_is_identity(
            bodies in prop::collection::vec(
                prop_oneof![
                    prop::collection::vec(any::<u8>(), 0..40),
                    "(\r\n|--|b|-|x){0,20}".prop_map(String::into_bytes),
                ],
                1..6,
            )
        ) {
            let builder = bodies.iter().fold(Builder::mixed(), |builder, body| {
                builder.part(NewPart::new("application/octet-stream", body.clone()))
            });
            let multipart = read(&builder.build("b").unwrap());
            prop_assert!(multipart.is_closed());
            let read: Vec<Vec<u8>> =
                multipart.parts().iter().map(|part| part.body.to_vec()).collect();
            prop_assert_eq!(read, bodies);
        }
    }
}
