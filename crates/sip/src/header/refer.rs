//! `Refer-To` (RFC 3515 §2.1), `Referred-By` (RFC 3892 §3) and `Replaces` (RFC 3891 §6.1).

use super::call_id::CallId;
use super::name_addr::NameAddr;
use super::params::Params;
use super::{Encode, Fault, Sink};
use crate::grammar;

wrap! {
    /// Where the recipient of a REFER is sent: any URI, `cid:` for a list in the body.
    ReferTo(NameAddr = NameAddr::read);
    /// Who sent the REFER that caused this request.
    ReferredBy(NameAddr = NameAddr::read);
}

impl<'a> ReferredBy<'a> {
    /// The Content-ID of the body part that proves the referrer, without quotation marks.
    pub fn cid(&self) -> Option<&'a str> {
        self.params.value("cid").and_then(|cid| cid.as_str())
    }
}

/// Which dialog a new INVITE takes the place of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replaces<'a> {
    /// The Call-ID of the dialog.
    pub call_id: CallId<'a>,
    /// The tag at the recipient's side; `0` also stands for no tag (RFC 3891 §6.1).
    pub to_tag: &'a str,
    /// The tag at the other side; `0` also stands for no tag.
    pub from_tag: &'a str,
    /// Whether only a dialog that is not confirmed yet is replaced.
    pub early_only: bool,
    params: Params<'a>,
}

impl<'a> Replaces<'a> {
    /// Names a dialog.
    pub fn new(call_id: CallId<'a>, to_tag: &'a str, from_tag: &'a str) -> Self {
        Self { call_id, to_tag, from_tag, early_only: false, params: Params::default() }
    }

    fn read(value: &'a [u8]) -> Result<Self, Fault> {
        let value = grammar::trim(value);
        let end = memchr::memchr(b';', value).unwrap_or(value.len());
        let (call_id, rest) = value.split_at_checked(end).ok_or(Fault::Syntax)?;
        let call_id = CallId::read(call_id)?;
        let [mut to_tag, mut from_tag] = [None; 2];
        let mut early_only = false;
        let params = Params::parse_each(rest, |param| {
            early_only |= param.is("early-only");
            for (name, tag) in [("to-tag", &mut to_tag), ("from-tag", &mut from_tag)] {
                if param.is(name) {
                    let token = param.value.and_then(|value| value.token());
                    if tag.replace(token.ok_or(Fault::Parameter)?).is_some() {
                        return Err(Fault::Repeated);
                    }
                }
            }
            Ok(())
        })?;
        let (to_tag, from_tag) = to_tag.zip(from_tag).ok_or(Fault::Missing)?;
        Ok(Self { call_id, to_tag, from_tag, early_only, params })
    }
}

impl Encode for Replaces<'_> {
    fn write_to<S: Sink>(&self, out: &mut S) {
        self.call_id.write_to(out);
        if !self.params.is_empty() {
            return self.params.write_to(out);
        }
        for (name, tag) in [(";to-tag=", self.to_tag), (";from-tag=", self.from_tag)] {
            out.text(name);
            out.text(tag);
        }
        if self.early_only {
            out.text(";early-only");
        }
    }
}

header!(Replaces<'a>);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::header::Header;

    #[test]
    fn parses() {
        // RFC 3515 §2.1
        accepts!(ReferTo, "sip:alice@atlanta.example.com", "<sip:alice@atlanta.example.com>");
        accepts!(ReferTo, "<sip:carol@cleveland.example.org;method=SUBSCRIBE>"); // RFC 3515 §2.1
        accepts!(
            ReferTo,
            "<sip:dave@denver.example.org?Replaces=12345%40192.168.118.3\
             %3Bto-tag%3D12345%3Bfrom-tag%3D5FFE-3994>"
        );
        accepts!(ReferTo, "<cid:cn35t8jf02@example.com>"); // RFC 5368 §7
        accepts!(
            ReferredBy,
            "<sip:referrer@referrer.example>;cid=\"20398823.2UWQFN309shb3@referrer.example\""
        );
        let by = ReferredBy::parse(b"sip:r@ref.example;cid=\"2UWQFN309shb3@ref.example\"").unwrap();
        assert_eq!(by.cid(), Some("2UWQFN309shb3@ref.example"));
        // RFC 3891 §6.1
        accepts!(Replaces, "98732@sip.example.com;from-tag=r33th4x0r;to-tag=ff87ff");
        accepts!(Replaces, "12adf2f34456gs5;to-tag=12345;from-tag=54321");
        accepts!(Replaces, "87134@171.161.34.23;to-tag=24796;from-tag=0;early-only");
        let replaces = Replaces::parse(b"a@b;to-tag=1;early-only;from-tag=0").unwrap();
        assert_eq!((replaces.to_tag, replaces.from_tag, replaces.early_only), ("1", "0", true));
    }

    #[test]
    fn refuses() {
        refuses!(ReferTo, "<sip:C.example;method=REFER?Refer-To=\"<sip:D.example>\">", {
            Fault::Uri(crate::uri::UriError::Header)
        });
        refuses!(Replaces, "", Fault::Empty);
        refuses!(Replaces, "a@b", Fault::Missing);
        refuses!(Replaces, "a@b;to-tag=1", Fault::Missing);
        refuses!(Replaces, "a@b;to-tag=1;to-tag=2;from-tag=3", Fault::Repeated);
        refuses!(Replaces, "a@b;to-tag=\"1\";from-tag=3", Fault::Parameter);
        refuses!(Replaces, ";to-tag=1;from-tag=3", Fault::Empty);
    }

    proptest! {
        #[test]
        fn display_then_parse_is_identity(
            id in "[a-z0-9]{1,6}@[a-z]{1,4}",
            to_tag in "[a-z0-9]{1,5}",
            from_tag in "[a-z0-9]{1,5}",
            early: bool,
        ) {
            let mut ours = Replaces::new(CallId::read(id.as_bytes()).unwrap(), &to_tag, &from_tag);
            ours.early_only = early;
            let text = ours.to_string();
            let read = Replaces::parse(text.as_bytes()).unwrap();
            prop_assert_eq!(
                (read.call_id, read.to_tag, read.from_tag),
                (ours.call_id, ours.to_tag, ours.from_tag),
            );
            prop_assert_eq!((read.early_only, read.to_string()), (early, text.clone()));
        }
    }
}
