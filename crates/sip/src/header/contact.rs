//! `Contact` (RFC 3261 §20.10, RFC 3840 §9).

use super::feature::Features;
use super::name_addr::NameAddr;
use super::q_value::QValue;
use super::{Encode, Fault, Sink};
use crate::grammar;

/// One contact, or the `*` that stands for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact<'a> {
    /// `*`: only in a REGISTER that removes every binding, and then alone (RFC 3261 §10.2.2).
    Star,
    /// An address.
    Address(NameAddr<'a>),
}

/// What a malformed or overlarge `expires` stands for, in seconds (RFC 3261 §10.2.1.1).
const EXPIRES_FALLBACK: u32 = 3600;

impl<'a> Contact<'a> {
    pub(super) fn read(value: &'a [u8]) -> Result<Self, Fault> {
        if grammar::trim(value) == b"*" {
            return Ok(Self::Star);
        }
        let address = NameAddr::read_each(value, |param| {
            let is_good = !param.is("q")
                || param.value.and_then(|q| q.token()).and_then(QValue::parse).is_some();
            if is_good { Ok(()) } else { Err(Fault::Parameter) }
        })?;
        Ok(Self::Address(address))
    }

    /// The address; `None` for `*`.
    pub fn address(&self) -> Option<&NameAddr<'a>> {
        match self {
            Self::Address(address) => Some(address),
            Self::Star => None,
        }
    }

    /// The preference among contacts; [`QValue::ONE`] when none is written.
    pub fn q(&self) -> QValue {
        let q = self.address().and_then(|address| address.params.token("q"));
        q.and_then(QValue::parse).unwrap_or(QValue::ONE)
    }

    /// The `expires` parameter in seconds; `None` when absent. What is no number of 32 bits counts
    /// as 3600 (RFC 3261 §10.2.1.1, RFC 4475 §3.1.2.4).
    pub fn expires(&self) -> Option<u32> {
        let expires = self.address()?.params.first("expires")?;
        let seconds = expires.value.and_then(|value| value.number());
        Some(seconds.and_then(|seconds| seconds.try_into().ok()).unwrap_or(EXPIRES_FALLBACK))
    }

    /// The capabilities of the user agent at this contact; none for `*`.
    pub fn features(&self) -> Features<'a> {
        Features::new(self.address().map(|address| address.params).unwrap_or_default())
    }

    /// The instance of the device: `+sip.instance`, a URN without its brackets (RFC 5626 §4.1).
    pub fn instance(&self) -> Option<&'a str> {
        let value = self.address()?.params.value("+sip.instance")?.as_str()?;
        value.strip_prefix('<')?.strip_suffix('>')
    }
}

impl Encode for Contact<'_> {
    fn write_to<S: Sink>(&self, out: &mut S) {
        match self {
            Self::Star => out.text("*"),
            Self::Address(address) => address.write_to(out),
        }
    }
}

header!(Contact<'a>, list);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::Header;
    use crate::uri::UriError;

    #[test]
    fn parses() {
        #[rustfmt::skip]
        let table = [
            ("\"Mr. Watson\" <sip:watson@worcester.bell-telephone.com>;q=0.7; expires=3600",
                "0.7", Some(3600)), // RFC 3261 §20.10
            ("<sip:caller@u1.example.com>;q=0.1", "0.1", None),
            ("sip:+19725552222@gw1.example.net;unknownparam", "1", None), // RFC 4475 §3.3.12
            // §3.1.2.4
            ("<sip:user@host129.example.com>\r\n  ;expires=280297596632815", "1", Some(3600)),
            ("<sip:a@b.c>;expires=soon", "1", Some(3600)),
            ("<sip:a@b.c>;expires=0;q=0", "0", Some(0)),
            ("<name:John_Smith>", "1", None), // RFC 4475 §3.3.4
            ("*", "1", None),
        ];
        for (text, q, expires) in table {
            let contact = Contact::parse(text.as_bytes()).unwrap();
            assert_eq!(
                (contact.q().to_string().as_str(), contact.expires()),
                (q, expires),
                "{text}"
            );
            assert_eq!(Contact::parse(contact.to_string().as_bytes()), Ok(contact));
        }
    }

    // Covers: CORE-035
    #[test]
    fn features_and_instance() {
        let contact = Contact::parse(
            b"<sip:alice@192.0.2.1>;+sip.instance=\"<urn:gsma:imei:90420156-025763-0>\"\
              ;+G.OMA.SIP-IM;isfocus;q=0.5",
        )
        .unwrap();
        assert_eq!(contact.instance(), Some("urn:gsma:imei:90420156-025763-0"));
        assert!(contact.features().has("+g.oma.sip-im") && contact.features().has("isfocus"));
        assert_eq!(contact.features().iter().count(), 3);
        assert_eq!(Contact::Star.features().iter().count(), 0);
    }

    #[test]
    fn refuses() {
        refuses!(Contact, "", Fault::Empty);
        refuses!(Contact, "\"Joe\" <sip:joe@example.org>;;;;", Fault::Parameter); // §3.1.2.1
        refuses!(Contact, "sip:user@example.com?Route=%3Csip:x%3E", Fault::Syntax); // §3.1.2.13
        refuses!(Contact, "<sip:a@b.c>;q=2", Fault::Parameter);
        refuses!(Contact, "<sip:a@b.c>;q", Fault::Parameter);
        refuses!(Contact, "*;expires=0", Fault::Uri(UriError::Scheme));
    }
}
