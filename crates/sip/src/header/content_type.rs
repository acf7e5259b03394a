//! `Content-Type` (RFC 3261 §20.15) and `Accept` (§20.1).

use super::params::Params;
use super::q_value::QValue;
use super::{Encode, Fault, Sink};
use crate::grammar::{self, Scanner};

/// A media type with its parameters; in `Accept` a range, where a part may be `*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaType<'a> {
    /// The type, as written; compared whatever its case.
    pub kind: &'a str,
    /// The subtype, as written; compared whatever its case.
    pub subtype: &'a str,
    /// The parameters: `boundary`, `charset`, in `Accept` also `q`.
    pub params: Params<'a>,
}

impl<'a> MediaType<'a> {
    fn read(value: &'a [u8]) -> Result<Self, Fault> {
        let mut scanner = Scanner::new(grammar::trim(value));
        if scanner.is_empty() {
            return Err(Fault::Empty);
        }
        let kind = scanner.token().ok_or(Fault::Syntax)?;
        if !scanner.separator(b'/') {
            return Err(Fault::Syntax);
        }
        let subtype = scanner.token().ok_or(Fault::Syntax)?;
        Ok(Self { kind, subtype, params: Params::parse(scanner.rest())? })
    }

    /// `m-parameter` has a value, unlike `generic-param`.
    fn read_exact(value: &'a [u8]) -> Result<Self, Fault> {
        let media = Self::read(value)?;
        let valued = media.params.iter().all(|param| param.value.is_some());
        if valued { Ok(media) } else { Err(Fault::Parameter) }
    }

    /// Whether type and subtype are these, whatever their case: `is("message", "cpim")`.
    pub fn is(&self, kind: &str, subtype: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind) && self.subtype.eq_ignore_ascii_case(subtype)
    }

    /// Whether this range covers the type, parameters aside.
    pub fn covers(&self, kind: &str, subtype: &str) -> bool {
        (self.kind == "*" || self.kind.eq_ignore_ascii_case(kind))
            && (self.subtype == "*" || self.subtype.eq_ignore_ascii_case(subtype))
    }

    /// How well what it names is liked; [`QValue::ONE`] when no `q` is written or it is malformed.
    pub fn q(&self) -> QValue {
        self.params.token("q").and_then(QValue::parse).unwrap_or(QValue::ONE)
    }
}

impl Encode for MediaType<'_> {
    fn write_to<S: Sink>(&self, out: &mut S) {
        out.text(self.kind);
        out.text("/");
        out.text(self.subtype);
        self.params.write_to(out);
    }
}

wrap! {
    /// What the body is (RFC 3261 §20.15).
    ContentType(MediaType = MediaType::read_exact);
    /// One kind of body that is understood (RFC 3261 §20.1). An empty field accepts none.
    Accept(MediaType = MediaType::read), list;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::header::Header;

    #[test]
    fn parses() {
        accepts!(ContentType, "application/sdp"); // RFC 3261 §20.15
        accepts!(ContentType, "text/html; charset=ISO-8859-4"); // RFC 3261 §20.15
        accepts!(ContentType, "multipart/mixed;boundary=\"a b;c\"");
        accepts!(ContentType, "message / CPIM\r\n ", "message/CPIM");
        accepts!(Accept, "application/sdp;level=1"); // RFC 3261 §20.1
        accepts!(Accept, "*/*;q=0.5");
        let content = ContentType::parse(b"Message/cpim;x=y").unwrap();
        assert!(content.is("message", "CPIM") && !content.is("message", "sip"));
    }

    #[test]
    fn ranges_cover_types() {
        #[rustfmt::skip]
        let table = [
            ("*/*", "text", "plain", true),
            ("text/*", "text", "plain", true),
            ("text/*", "message", "cpim", false),
            ("TEXT/Plain;q=0.1", "text", "plain", true),
            ("text/plain", "text", "html", false),
        ];
        for (range, kind, subtype, covered) in table {
            let range = Accept::parse(range.as_bytes()).unwrap();
            assert_eq!(range.covers(kind, subtype), covered, "{range}");
        }
        assert_eq!(Accept::parse(b"a/b;q=0.25").unwrap().q().thousandths(), 250);
        assert_eq!(Accept::parse(b"a/b;q=x").unwrap().q(), QValue::ONE);
    }

    #[test]
    fn refuses() {
        refuses!(ContentType, "", Fault::Empty);
        refuses!(ContentType, "text", Fault::Syntax);
        refuses!(ContentType, "text/", Fault::Syntax);
        refuses!(ContentType, "text/plain charset=x", Fault::Syntax);
        refuses!(ContentType, "text/plain;charset", Fault::Parameter);
        refuses!(ContentType, "text/plain;", Fault::Parameter);
    }

    proptest! {
        #[test]
        fn display_then_parse_is_identity(
            kind in "[a-z*]{1,6}", subtype in "[a-z.+-]{1,9}",
            params in "(;[a-z]{1,4}=([a-z0-9]{1,4}|\"[a-z; ]{0,4}\")){0,2}",
        ) {
            let params = Params::parse(params.as_bytes()).unwrap();
            let media = ContentType(MediaType { kind: &kind, subtype: &subtype, params });
            let text = media.to_string();
            prop_assert_eq!(ContentType::parse(text.as_bytes()), Ok(media));
        }
    }
}
