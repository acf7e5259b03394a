//! `Accept-Contact` and `Reject-Contact` (RFC 3841 §9.2).

use super::feature::Features;
use super::params::Params;
use super::{Encode, Fault, Sink};
use crate::grammar::{self, Scanner};

/// Features a contact should have, one set of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptContact<'a> {
    /// Whether contacts that do not match are dropped.
    pub require: bool,
    /// Whether only what the contact names itself counts as a match.
    pub explicit: bool,
    /// All parameters, `require` and `explicit` among them.
    params: Params<'a>,
}

/// Features a contact must not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RejectContact<'a> {
    params: Params<'a>,
}

impl<'a> AcceptContact<'a> {
    fn read(value: &'a [u8]) -> Result<Self, Fault> {
        let [mut require, mut explicit] = [false; 2];
        let params = read(value, |name| {
            for (known, flag) in [("require", &mut require), ("explicit", &mut explicit)] {
                if name.eq_ignore_ascii_case(known) && std::mem::replace(flag, true) {
                    return Err(Fault::Repeated);
                }
            }
            Ok(())
        })?;
        Ok(Self { require, explicit, params })
    }

    /// The features asked for.
    pub fn features(&self) -> Features<'a> {
        Features::new(self.params)
    }

    /// Whether a contact with these features is acceptable: it matches, and with `explicit` it
    /// names every tag that is asked for.
    pub fn accepts(&self, contact: &Features<'_>) -> bool {
        self.features().matches(contact) && (!self.explicit || self.share(contact) >= 1.0)
    }

    /// Which part of the asked tags the contact names, 0 to 1 (RFC 3841 §7.2.4). Where nothing is
    /// asked everything is named.
    fn share(&self, contact: &Features<'_>) -> f64 {
        let (mut asked, mut named) = (0u32, 0u32);
        for feature in self.features().iter() {
            asked += 1;
            named += u32::from(contact.has(feature.tag));
        }
        if asked == 0 { 1.0 } else { f64::from(named) / f64::from(asked) }
    }
}

impl<'a> RejectContact<'a> {
    fn read(value: &'a [u8]) -> Result<Self, Fault> {
        Ok(Self { params: read(value, |_| Ok(()))? })
    }

    /// The features not wanted.
    pub fn features(&self) -> Features<'a> {
        Features::new(self.params)
    }

    /// Whether a contact with these features is not wanted: it names every tag, and all match.
    pub fn rejects(&self, contact: &Features<'_>) -> bool {
        self.features().iter().all(|feature| {
            contact.first(feature.tag).is_some_and(|theirs| feature.matches(&theirs))
        })
    }
}

/// How much the caller likes a contact, 0 to 1; `None` when it is not to be tried at all
/// (RFC 3841 §7.2.4). A contact without features is immune: 1. So is every contact when the caller
/// stated no preference.
pub fn caller_preference(
    accept: &[AcceptContact<'_>],
    reject: &[RejectContact<'_>],
    contact: &Features<'_>,
) -> Option<f64> {
    if contact.is_empty() {
        return Some(1.0);
    }
    if reject.iter().any(|reject| reject.rejects(contact)) {
        return None;
    }
    let (mut sum, mut matching) = (0.0, 0u32);
    for accept in accept {
        if !accept.features().matches(contact) {
            if accept.require {
                return None;
            }
            continue;
        }
        let share = accept.share(contact);
        matching += 1;
        if !accept.explicit || share >= 1.0 {
            sum += share;
        } else if accept.require {
            return None;
        }
    }
    Some(if matching == 0 {
        f64::from(u8::from(accept.is_empty()))
    } else {
        sum / f64::from(matching)
    })
}

/// `"*" *( SEMI param )`: no tag twice, the rest is the caller's check on each name.
fn read<'a>(
    value: &'a [u8],
    mut check: impl FnMut(&str) -> Result<(), Fault>,
) -> Result<Params<'a>, Fault> {
    let mut scanner = Scanner::new(grammar::trim(value));
    if scanner.is_empty() {
        return Err(Fault::Empty);
    }
    if !scanner.eat(b'*') {
        return Err(Fault::Syntax);
    }
    let params = Params::parse_each(scanner.rest(), |param| check(param.name))?;
    let features = Features::new(params);
    for (at, feature) in features.iter().enumerate().skip(1) {
        if features.iter().take(at).any(|before| before.tag.eq_ignore_ascii_case(feature.tag)) {
            return Err(Fault::Repeated);
        }
    }
    Ok(params)
}

impl Encode for AcceptContact<'_> {
    fn write_to<S: Sink>(&self, out: &mut S) {
        out.text("*");
        self.params.write_to(out);
    }
}

impl Encode for RejectContact<'_> {
    fn write_to<S: Sink>(&self, out: &mut S) {
        out.text("*");
        self.params.write_to(out);
    }
}

header!(AcceptContact<'a>, list);
header!(RejectContact<'a>, list);

#[cfg(test)]
mod tests {
    use super::super::feature::SIP_IM;
    use super::*;
    use crate::header::{Contact, Header};

    // Covers: CORE-033
    #[test]
    fn parses() {
        accepts!(AcceptContact, "*;mobility=\"fixed\"\r\n ;require;explicit");
        accepts!(AcceptContact, "* ;+g.oma.sip-im", "*;+g.oma.sip-im");
        accepts!(RejectContact, "*;actor=\"msg-taker\";video"); // RFC 3841 §7.2.5
        let table = [
            ("*;+g.oma.sip-im", false, false),
            ("*;+G.OMA.SIP-IM;Require", true, false),
            ("*;+g.oma.sip-im;explicit;require", true, true),
        ];
        for (text, require, explicit) in table {
            let accept = AcceptContact::parse(text.as_bytes()).unwrap();
            assert_eq!((accept.require, accept.explicit), (require, explicit), "{text}");
            assert!(accept.features().has(SIP_IM));
            assert_eq!(accept.features().iter().count(), 1);
        }
    }

    #[test]
    fn refuses() {
        refuses!(AcceptContact, "", Fault::Empty);
        refuses!(AcceptContact, "sip:a@b.c", Fault::Syntax);
        refuses!(AcceptContact, "**", Fault::Syntax);
        refuses!(AcceptContact, "*;", Fault::Parameter);
        refuses!(AcceptContact, "*;require;Require", Fault::Repeated);
        refuses!(AcceptContact, "*;explicit;explicit", Fault::Repeated);
        refuses!(AcceptContact, "*;audio;AUDIO=\"FALSE\"", Fault::Repeated);
        refuses!(RejectContact, "*;audio;audio", Fault::Repeated);
    }

    // Covers: CORE-033
    #[test]
    fn the_example_of_rfc_3841() {
        let reject = [RejectContact::parse(b"*;actor=\"msg-taker\";video").unwrap()];
        let accept = [
            AcceptContact::parse(b"*;audio;require").unwrap(),
            AcceptContact::parse(b"*;video;explicit").unwrap(),
            AcceptContact::parse(b"*;methods=\"BYE\";class=\"business\";q=1.0").unwrap(),
        ];
        #[rustfmt::skip]
        let table = [
            ("sip:u1@h.example.com;audio;video;methods=\"INVITE,BYE\";q=0.2", Some(83)),
            (
                "sip:u2@h.example.com;audio=\"FALSE\";methods=\"INVITE\";actor=\"msg-taker\";q=0.2",
                None,
            ),
            ("sip:u3@h.example.com;audio;actor=\"msg-taker\";methods=\"INVITE\";video;q=0.3", None),
            ("sip:u4@h.example.com;audio;methods=\"INVITE,OPTIONS\";q=0.2", Some(50)),
            ("sip:u5@h.example.com;q=0.5", Some(100)),
        ];
        for (contact, percent) in table {
            let features = Contact::parse(contact.as_bytes()).unwrap().features();
            let preference = caller_preference(&accept, &reject, &features);
            let rounded = preference.map(|preference| (preference * 100.0) as u32);
            assert_eq!(rounded, percent, "{contact}");
        }
        assert!(!accept[1].accepts(&Features::default()));
        assert!(accept[0].accepts(&Features::default()));
        let audio = Contact::parse(b"sip:u@h.example.com;audio").unwrap().features();
        assert_eq!(caller_preference(&[], &[], &audio), Some(1.0));
        let strict = [AcceptContact::parse(b"*;video;require;explicit").unwrap()];
        assert_eq!(caller_preference(&strict, &[], &audio), None);
        let lenient = [AcceptContact::parse(b"*;audio=\"FALSE\"").unwrap()];
        assert_eq!(caller_preference(&lenient, &[], &audio), Some(0.0));
    }
}
