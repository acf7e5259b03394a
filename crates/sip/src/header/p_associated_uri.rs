//! `P-Associated-URI` (RFC 7315 §4.1).

use super::name_addr;
use super::params::Params;
use super::{Encode, Fault, Sink};
use crate::grammar;
use crate::uri::Uri;

/// Identities that were registered together with one; an element of a list.
///
/// One element is one URI. An S-CSCF in the field writes all of them between one pair of brackets,
/// `<sip:a@b, tel:+1>`, so an element may hold several (CORE-040). A comma that belongs to a user
/// part is told apart because the whole then is one good URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PAssociatedUri<'a> {
    /// What stands between the brackets.
    inner: &'a str,
    display: Option<&'a [u8]>,
    /// The parameters of the element.
    pub params: Params<'a>,
}

impl<'a> PAssociatedUri<'a> {
    fn read(value: &'a [u8]) -> Result<Self, Fault> {
        let (display, inner, rest) = name_addr::split(value)?;
        let element = Self { inner, display, params: Params::scan_rest(rest, |_| Ok(()))? };
        if let Err(error) = Uri::parse_text(inner) {
            // The error is about the URI when there is only one, about the first bad one of many.
            let mut parts = inner.split(',').map(|part| grammar::trim(part.as_bytes()));
            let bad = parts.find_map(|part| Uri::parse(part).err());
            return bad.map_or(Ok(element), |bad| {
                Err(Fault::Uri(if inner.contains(',') { bad } else { error }))
            });
        }
        Ok(element)
    }

    /// The URIs, at least one.
    pub fn uris(&self) -> impl Iterator<Item = Uri<'a>> + use<'a> {
        let whole = Uri::parse_text(self.inner).ok();
        let rest = if whole.is_some() { None } else { Some(self.inner) };
        let parts = rest.into_iter().flat_map(|inner| inner.split(','));
        let parts = parts.map(|part| grammar::trim(part.as_bytes()));
        whole.into_iter().chain(parts.filter_map(|part| Uri::parse(part).ok()))
    }
}

impl Encode for PAssociatedUri<'_> {
    /// Writes the element as it was read, malformed or not.
    fn write_to<S: Sink>(&self, out: &mut S) {
        if let Some(display) = self.display {
            out.octets(display);
            out.text(" ");
        }
        out.text("<");
        out.text(self.inner);
        out.text(">");
        self.params.write_to(out);
    }
}

header!(PAssociatedUri<'a>, list);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::grammar::split_list;
    use crate::header::Header;
    use crate::uri::UriError;

    fn read(line: &str) -> Vec<String> {
        let elements = split_list(line.as_bytes()).map(|item| PAssociatedUri::parse(item).unwrap());
        elements
            .flat_map(|item| item.uris().map(|uri| uri.to_string()).collect::<Vec<_>>())
            .collect()
    }

    // Covers: CORE-040
    #[test]
    fn well_formed_and_malformed_lists_are_read() {
        #[rustfmt::skip]
        let table: [(&str, &[&str]); 8] = [
            ("<sip:user1@example.com>", &["sip:user1@example.com"]),
            (
                "<sip:a@b.c>, <tel:+1>;x=y,\r\n \"N\" <sip:d@e.f>",
                &["sip:a@b.c", "tel:+1", "sip:d@e.f"],
            ),
            ("<sip:alice@ims.test, tel:+15550000001>", &["sip:alice@ims.test", "tel:+15550000001"]),
            ("<sip:alice@ims.test,tel:+15550000001>", &["sip:alice@ims.test", "tel:+15550000001"]),
            ("<tel:+1,sip:a@b.c,sip:d@e.f>", &["tel:+1", "sip:a@b.c", "sip:d@e.f"]),
            ("<sip:a,b@ims.test>", &["sip:a,b@ims.test"]),
            ("sip:a@b.c", &["sip:a@b.c"]),
            ("", &[]),
        ];
        for (line, uris) in table {
            assert_eq!(read(line), uris, "{line}");
        }
        let element = PAssociatedUri::parse(b"<sip:a@b.c, tel:+1>;x").unwrap();
        assert_eq!(element.to_string(), "<sip:a@b.c, tel:+1>;x");
    }

    #[test]
    fn refuses() {
        refuses!(PAssociatedUri, "", Fault::Empty);
        refuses!(PAssociatedUri, "<sip:a b@c.d>", Fault::Uri(UriError::Userinfo));
        refuses!(PAssociatedUri, "<sip:a@b.c,>", Fault::Uri(UriError::Scheme));
        refuses!(PAssociatedUri, "<sip:a@b.c, tel:x>", Fault::Uri(UriError::Number));
        refuses!(PAssociatedUri, "<sip:a@b.c", Fault::Syntax);
    }

    proptest! {
        #[test]
        fn every_uri_comes_back(
            users in proptest::collection::vec("[a-z]{1,6}", 1..5),
            gap in ", ?",
        ) {
            let uri = |user: &String| format!("sip:{user}@ims.test");
            let uris: Vec<String> = users.iter().map(uri).collect();
            prop_assert_eq!(read(&format!("<{}>", uris.join(&gap))), uris.clone());
            let malformed = format!("<{}>", uris.join(&gap));
            let written = PAssociatedUri::parse(malformed.as_bytes()).unwrap().to_string();
            prop_assert_eq!(read(&written), uris);
        }
    }
}
