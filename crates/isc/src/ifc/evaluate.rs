//! Evaluates filter criteria against a request (TS 29.228 Annex C, TS 23.218 §5.2.2).

use parlance_sip::uri::Uri;
use parlance_sip::{HeaderName, Method, Request};

use super::{
    Condition, Form, InitialFilterCriteria, ProfilePart, RegistrationType, SessionCase, Spt,
    TriggerPoint,
};
use crate::session_description;

/// What criteria are evaluated against.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The initial request.
    pub request: &'a Request,
    /// The side it is on.
    pub session_case: SessionCase,
    /// What it does, if it is a REGISTER.
    pub registration: Option<RegistrationType>,
}

/// The criteria whose trigger holds for `subject`, lowest priority number first.
pub fn evaluate<'a>(
    criteria: &'a [InitialFilterCriteria],
    subject: &Subject<'_>,
) -> Vec<&'a InitialFilterCriteria> {
    let mut matched: Vec<_> =
        criteria.iter().filter(|criterion| criterion.holds(subject)).collect();
    matched.sort_by_key(|criterion| criterion.priority);
    matched
}

impl InitialFilterCriteria {
    /// Whether it applies to `subject`.
    pub fn holds(&self, subject: &Subject<'_>) -> bool {
        let registered = subject.session_case.is_registered();
        let in_part = match self.profile_part {
            None => true,
            Some(ProfilePart::Registered) => registered,
            Some(ProfilePart::Unregistered) => !registered,
        };
        in_part && self.trigger_point.as_ref().is_none_or(|point| point.holds(subject))
    }
}

impl TriggerPoint {
    /// Whether the expression is true for `subject`.
    pub fn holds(&self, subject: &Subject<'_>) -> bool {
        let groups = self.spts.iter().flat_map(|spt| spt.groups.iter().copied());
        let spts = |group| self.spts.iter().filter(move |spt| spt.groups.contains(&group));
        let mut groups = groups;
        match self.form {
            Form::Conjunctive => groups.all(|group| spts(group).any(|spt| spt.holds(subject))),
            Form::Disjunctive => groups.any(|group| spts(group).all(|spt| spt.holds(subject))),
        }
    }
}

impl Spt {
    /// Whether the trigger holds for `subject`, negation included.
    pub fn holds(&self, subject: &Subject<'_>) -> bool {
        self.condition_holds(subject) != self.negated
    }

    fn condition_holds(&self, subject: &Subject<'_>) -> bool {
        let request = subject.request;
        match &self.condition {
            Condition::RequestUri(uri) => same_uri(request, uri),
            Condition::Method(method) => {
                request.method().as_str() == method && self.registration_holds(subject)
            }
            Condition::SipHeader { header, content } => {
                // The name as written would hide compact forms, so the full one is matched.
                request.fields().any(|(name, written, value)| {
                    let full = match name {
                        HeaderName::Other => written,
                        known => known.as_str().as_bytes(),
                    };
                    header.matches(full) && content.as_ref().is_none_or(|ere| ere.matches(value))
                })
            }
            Condition::SessionCase(case) => *case == subject.session_case,
            Condition::SessionDescription { line, content } => session_description(request)
                .is_some_and(|sdp| {
                    lines(&sdp).any(|(letter, value)| {
                        line.matches(letter)
                            && content.as_ref().is_none_or(|ere| ere.matches(value))
                    })
                }),
        }
    }

    fn registration_holds(&self, subject: &Subject<'_>) -> bool {
        if self.registrations.is_empty() || subject.request.method() != Method::Register {
            return true;
        }
        subject.registration.is_some_and(|kind| self.registrations.contains(&kind))
    }
}

fn same_uri(request: &Request, wanted: &str) -> bool {
    if request.uri_text() == wanted.as_bytes() {
        return true;
    }
    match (request.uri(), Uri::parse(wanted.as_bytes())) {
        (Some(uri), Ok(wanted)) => uri.equivalent(&wanted),
        _ => false,
    }
}

/// The lines of a session description as letter and value (RFC 4566 §5).
fn lines(sdp: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    sdp.split(|octet| *octet == b'\n').filter_map(|line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let at = line.iter().position(|octet| *octet == b'=')?;
        Some((line.get(..at)?, line.get(at + 1..)?))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{SessionCase, Subject, evaluate};
    use crate::fixture::{capture, request};
    use crate::ifc::{
        Condition, Ere, Form, InitialFilterCriteria, RegistrationType, Spt, TriggerPoint, profiles,
    };

    fn spt(groups: &[i32], condition: Condition) -> Spt {
        Spt { negated: false, groups: groups.to_vec(), condition, registrations: Vec::new() }
    }

    fn holds(spt: &Spt, name: &str) -> bool {
        let request = capture(name);
        let session_case = SessionCase::TerminatingRegistered;
        spt.holds(&Subject { request: &request, session_case, registration: None })
    }

    #[test]
    fn conditions_hold() {
        let ere = |text: &str| Ere::parse(text).unwrap();
        let header = |name: &str, content: Option<&str>| Condition::SipHeader {
            header: ere(name),
            content: content.map(ere),
        };
        let sdp = |line: &str, content: Option<&str>| Condition::SessionDescription {
            line: ere(line),
            content: content.map(ere),
        };
        #[rustfmt::skip]
        let table = [
            (Condition::Method("INVITE".into()), true),
            (Condition::Method("invite".into()), false),
            (Condition::RequestUri("sip:bob@IMS.test".into()), true),
            (Condition::RequestUri("sip:Bob@ims.test".into()), false),
            (Condition::SessionCase(SessionCase::TerminatingRegistered), true),
            (Condition::SessionCase(SessionCase::Originating), false),
            (header("Accept-Contact", Some(r"\+g\.oma\.sip-im")), true),
            (header("Accept-Contact", Some("video")), false),
            (header("Contribution", None), true),
            (header("^Contribution$", None), false),
            (sdp("m", Some("TCP/MSRP")), true),
            (sdp("a", Some("^accept-types:message/cpim$")), true),
            (sdp("m", Some("audio")), false),
            (sdp("b", None), false),
        ];
        for (condition, expected) in table {
            let mut spt = spt(&[0], condition);
            assert_eq!(holds(&spt, "term_INVITE"), expected, "{spt:?}");
            spt.negated = true;
            assert_eq!(holds(&spt, "term_INVITE"), !expected, "negated {spt:?}");
        }
    }

    #[test]
    fn compact_names_and_multipart_bodies_are_seen() {
        let request = request(
            "INVITE sip:b@h SIP/2.0\r\na: *;+g.oma.sip-im\r\n\
             Content-Type: multipart/mixed;boundary=x\r\n\r\n\
             --x\r\nContent-Type: application/sdp\r\n\r\nv=0\r\nm=message 9 TCP/MSRP *\r\n\r\n--x--",
        );
        let session_case = SessionCase::Originating;
        let subject = Subject { request: &request, session_case, registration: None };
        let ere = |text: &str| Ere::parse(text).unwrap();
        let header =
            Condition::SipHeader { header: ere("^Accept-Contact$"), content: Some(ere("sip-im")) };
        assert!(spt(&[0], header).holds(&subject));
        let line =
            Condition::SessionDescription { line: ere("^m$"), content: Some(ere("^message")) };
        assert!(spt(&[0], line).holds(&subject));
    }

    #[test]
    fn registration_types_narrow_a_register() {
        let mut spt = spt(&[0], Condition::Method("REGISTER".into()));
        spt.registrations = vec![RegistrationType::Initial, RegistrationType::DeRegistration];
        let request = capture("reg_REGISTER");
        let of = |registration| {
            let session_case = SessionCase::Originating;
            spt.holds(&Subject { request: &request, session_case, registration })
        };
        assert!(of(Some(RegistrationType::Initial)));
        assert!(!of(Some(RegistrationType::ReRegistration)));
        assert!(of(Some(RegistrationType::DeRegistration)));
        assert!(!of(None));
    }

    #[test]
    fn criteria_come_in_the_order_of_priority() {
        let one = |priority| {
            let xml = format!(
                "<InitialFilterCriteria><Priority>{priority}</Priority><ApplicationServer>\
                 <ServerName>sip:as@h</ServerName></ApplicationServer></InitialFilterCriteria>"
            );
            profiles(&xml).unwrap().remove(0).criteria.remove(0)
        };
        let criteria: Vec<InitialFilterCriteria> = vec![one(9), one(2), one(5)];
        let request = capture("orig_MESSAGE");
        let session_case = SessionCase::Originating;
        let subject = Subject { request: &request, session_case, registration: None };
        let order: Vec<_> = evaluate(&criteria, &subject).iter().map(|c| c.priority).collect();
        assert_eq!(order, [2, 5, 9]);
    }

    proptest! {
        /// Both forms against the definition, over triggers that are true or false by themselves
        /// and belong to one or two groups.
        #[test]
        fn groups_combine_as_defined(
            truths in proptest::collection::vec((any::<bool>(), any::<bool>(), 0..3i32, 0..3i32), 1..6)
        ) {
            let request = capture("orig_MESSAGE");
            let session_case = SessionCase::Originating;
            let subject = Subject { request: &request, session_case, registration: None };
            let spts: Vec<Spt> = truths
                .iter()
                .map(|(is_true, negated, first, second)| {
                    let case = if is_true != negated {
                        SessionCase::Originating
                    } else {
                        SessionCase::TerminatingRegistered
                    };
                    let spt = spt(&[*first, *second], Condition::SessionCase(case));
                    Spt { negated: *negated, ..spt }
                })
                .collect();
            let in_group = |group: i32| {
                truths.iter().filter(move |t| t.2 == group || t.3 == group).map(|t| t.0)
            };
            let used: Vec<i32> = (0..3).filter(|group| in_group(*group).count() > 0).collect();
            let conjunctive = used.iter().all(|group| in_group(*group).any(|is_true| is_true));
            let disjunctive = used.iter().any(|group| in_group(*group).all(|is_true| is_true));
            let point = TriggerPoint { form: Form::Conjunctive, spts };
            prop_assert_eq!(point.holds(&subject), conjunctive);
            let point = TriggerPoint { form: Form::Disjunctive, ..point };
            prop_assert_eq!(point.holds(&subject), disjunctive);
        }
    }
}
