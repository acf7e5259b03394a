//! The requests this function originates (OMA-TS-SIMPLE_IM §7.3.4, §8.1.2; RFC 3428 §4, §8).

use parlance_isc::{Charging, Cx, MAX_FORWARDS, Way};
use parlance_sip::header::{Encode, From, NameAddr, Params};
use parlance_sip::{HeaderName, Request, RequestBuilder};
use parlance_store::{Attempt, Item};

use crate::deferred::Shared;
use crate::large;

/// Whose message it is when the sender wants to stay unknown (RFC 3323 §4.1.1.3).
const ANONYMOUS: &[u8] = b"\"Anonymous\" <sip:anonymous@anonymous.invalid>";

/// The identifiers of a request; those of a request that carries an item are kept with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) call_id: String,
    pub(crate) cseq: u32,
    pub(crate) from_tag: String,
}

impl Ids {
    /// New ones.
    pub(crate) fn fresh(cx: &Cx, host: &str) -> Ids {
        let call_id = format!("{:016x}{:016x}@{host}", cx.random(), cx.random());
        Ids { call_id, cseq: 1, from_tag: cx.tag() }
    }

    /// Those of an attempt.
    pub(crate) fn of(attempt: &Attempt) -> Ids {
        Ids {
            call_id: attempt.call_id.clone(),
            cseq: attempt.cseq,
            from_tag: attempt.from_tag.clone(),
        }
    }
}

/// What all requests of this function have in common.
pub(crate) struct Envelope<'a> {
    /// The function itself.
    pub(crate) shared: &'a Shared,
    /// The way it goes.
    pub(crate) way: &'a Way,
    /// Whom it is for: Request-URI and To.
    pub(crate) to: &'a str,
    /// Its identifiers.
    pub(crate) ids: &'a Ids,
    /// Its charging headers: fresh for each transaction (RFC 7315 §4.6).
    pub(crate) charging: Charging,
}

impl Envelope<'_> {
    /// A request from `from`, a whole address without tag, asserted to be from `asserted`.
    fn start(&self, from: &[u8], asserted: &str) -> RequestBuilder {
        let tag = [from, b";tag=", self.ids.from_tag.as_bytes()].concat();
        let mut request =
            RequestBuilder::new("MESSAGE", self.to).header(HeaderName::MaxForwards, MAX_FORWARDS);
        if let Some(route) = &self.way.route {
            request = request.header(HeaderName::Route, route);
        }
        request = request
            .octets(HeaderName::From.as_str().as_bytes(), &tag)
            .header(HeaderName::To, format_args!("<{}>", self.to))
            .header(HeaderName::CallId, &self.ids.call_id)
            .header(HeaderName::CSeq, format_args!("{} MESSAGE", self.ids.cseq))
            .header(HeaderName::PAssertedIdentity, format_args!("<{asserted}>"));
        request = self.charging.put_on(request);
        if !self.shared.policy().accept_contact.is_empty() {
            request =
                request.header(HeaderName::AcceptContact, &self.shared.policy().accept_contact);
        }
        request
    }

    /// The MESSAGE that delivers a kept one; `None` when it cannot be made from what is kept.
    ///
    /// The content with its headers goes octet for octet, the rest is ours. A sender who asked for
    /// privacy is neither in From nor asserted; the service is, with `Privacy: id`.
    pub(crate) fn push(&self, item: &Item, stored: &Request) -> Option<Request> {
        let service = &self.shared.service;
        let from = match item.private {
            true => ANONYMOUS.to_vec(),
            false => address(stored)?,
        };
        let known = !item.private && !item.originator.is_empty();
        let asserted = if known { &item.originator } else { service };
        let mut request = self.start(&from, asserted);
        if item.private {
            request = request.header(HeaderName::Privacy, "id");
        }
        let large = large::is_large(stored);
        for (name, written, value) in stored.fields() {
            let own = large && is_of_content(name, written);
            if !own && goes_along(name, written, item.private) {
                let full = name.as_str().as_bytes();
                request = request.octets(if full.is_empty() { written } else { full }, value);
            }
        }
        if !large {
            return request.build(stored.body());
        }
        let content = large::content(stored)?;
        request = request.header(HeaderName::ContentType, &content.content_type);
        let headers = content.headers.iter();
        let request = headers.fold(request, |request, (name, value)| request.octets(name, value));
        request.build(&content.body)
    }

    /// The MESSAGE that tells the user how many are kept (§7.3.4.1).
    pub(crate) fn notification(&self, count: u64) -> Option<Request> {
        let policy = self.shared.policy();
        let text = policy.notification_text.replace("{count}", &count.to_string());
        let service = &self.shared.service;
        self.start(format!("<{service}>").as_bytes(), service)
            .header(HeaderName::ContentType, "text/plain;charset=utf-8")
            .build(text.as_bytes())
    }

    /// The MESSAGE that carries a disposition notification in `message/cpim`.
    pub(crate) fn report(&self, cpim: &[u8]) -> Option<Request> {
        let service = &self.shared.service;
        self.start(format!("<{service}>").as_bytes(), service)
            .header(HeaderName::ContentType, "message/cpim")
            .build(cpim)
    }
}

/// From without its tag and other parameters.
fn address(stored: &Request) -> Option<Vec<u8>> {
    let from = stored.header::<From<'_>>().ok()??;
    let mut written = Vec::new();
    NameAddr { params: Params::default(), ..from.address() }.write_to(&mut written);
    Some(written)
}

/// Whether a field describes the content.
fn is_of_content(name: HeaderName, written: &[u8]) -> bool {
    match name {
        HeaderName::ContentType | HeaderName::ContentDisposition | HeaderName::ContentEncoding => {
            true
        }
        HeaderName::Other => {
            let written = written.to_ascii_lowercase();
            written == b"mime-version" || written.starts_with(b"content-")
        }
        _ => false,
    }
}

/// Whether a field of the kept message goes along: what describes the content, and what the sender
/// says about the message as a whole.
fn goes_along(name: HeaderName, written: &[u8], private: bool) -> bool {
    match name {
        HeaderName::Subject | HeaderName::Date | HeaderName::Expires => true,
        HeaderName::Other => match written.to_ascii_lowercase().as_slice() {
            b"priority" | b"in-reply-to" => true,
            b"reply-to" => !private,
            _ => is_of_content(name, written),
        },
        _ => is_of_content(name, written),
    }
}

#[cfg(test)]
mod tests {
    use parlance_isc::{Charging, Marks, Origin, Way};

    use super::{Envelope, Ids};
    use crate::deferred::Shared;
    use crate::keep;
    use crate::scenario::{item, request, setup};
    use crate::{Deferred, Policy};
    use parlance_sip::{ListenerId, Request};
    use parlance_store::Item;

    fn text(request: &Request) -> String {
        String::from_utf8(request.bytes().to_vec()).unwrap()
    }

    fn charging(vector: &str, addresses: Option<&str>) -> Charging {
        Charging { vector: vector.into(), addresses: addresses.map(Into::into) }
    }

    fn made(policy: Policy, make: impl FnOnce(&Envelope<'_>) -> Option<Request>) -> String {
        let deferred = Deferred::new(setup(policy));
        let shared: &Shared = deferred.shared();
        let way = Way::to_scscf("sip:scscf2.home2.example", ListenerId(0)).unwrap();
        let ids = Ids { call_id: "dn-1@as".into(), cseq: 1, from_tag: "dn1".into() };
        let envelope = Envelope {
            shared,
            way: &way,
            to: "sip:bob@ims.test",
            ids: &ids,
            charging: charging("icid-value=\"icid-1\"", Some("ccf=192.0.2.40")),
        };
        text(&make(&envelope).unwrap())
    }

    // Covers: DF-060, DF-063, CORE-037, CORE-050, ROLE-013, SEC-007
    #[test]
    fn a_notification_comes_from_the_service() {
        let policy = Policy::default();
        assert_eq!(
            made(policy, |envelope| envelope.notification(3)),
            "MESSAGE sip:bob@ims.test SIP/2.0\r\n\
             Max-Forwards: 70\r\n\
             Route: <sip:scscf2.home2.example;lr>\r\n\
             From: <sip:im-deferred@ims.test>;tag=dn1\r\n\
             To: <sip:bob@ims.test>\r\n\
             Call-ID: dn-1@as\r\n\
             CSeq: 1 MESSAGE\r\n\
             P-Asserted-Identity: <sip:im-deferred@ims.test>\r\n\
             P-Charging-Vector: icid-value=\"icid-1\"\r\n\
             P-Charging-Function-Addresses: ccf=192.0.2.40\r\n\
             Accept-Contact: *;+g.oma.sip-im\r\n\
             Content-Type: text/plain;charset=utf-8\r\n\
             Content-Length: 35\r\n\r\n\
             You have 3 stored instant messages."
        );
        let policy = Policy {
            notification_text: "{count} Nachrichten für {count}".into(),
            service_uri: Some("sip:box@im.test".into()),
            accept_contact: String::new(),
            ..Policy::default()
        };
        let other = made(policy, |envelope| envelope.notification(12));
        assert!(other.ends_with("\r\n\r\n12 Nachrichten für 12"), "{other}");
        assert!(other.contains("From: <sip:box@im.test>;tag=dn1\r\n"), "{other}");
        assert!(!other.contains("Accept-Contact"), "{other}");
    }

    const STORED: &str = "MESSAGE sip:bob@10.0.0.1 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 127.0.0.13;branch=z9hG4bKa\r\n\
        f: \"Al \\\"ice\" <sip:alice@ims.test;x=y>;tag=old;z=1\r\nTo: <tel:+1555>\r\n\
        Call-ID: original\r\nCSeq: 77 MESSAGE\r\nContact: <sip:alice@10.1.1.1>\r\n\
        P-Asserted-Identity: \"Al\" <sip:alice@ims.test>\r\nRequire: x\r\nX-Odd: 1\r\n\
        Reply-To: <sip:al@ims.test>\r\nPriority: urgent\r\n\
        Date: Wed, 01 Mar 2006 10:15:30 GMT\r\nExpires: 600\r\ns: Lunch\r\n\
        c: text/plain;\r\n charset=utf-8\r\nContent-Language: en\r\n\
        Content-Disposition: render\r\nContent-Length: 4\r\n\r\n\u{0}a\r\n";

    fn stored(private: bool) -> (Item, Request) {
        let request = request(STORED);
        let item = Item { originator: "sip:alice@ims.test".into(), private, ..item(&request) };
        (item, request)
    }

    // Covers: DF-070, CORE-037, CORE-050
    #[test]
    fn a_pushed_message_is_the_senders_in_our_envelope() {
        let (item, stored) = stored(false);
        assert_eq!(
            made(Policy::default(), |envelope| envelope.push(&item, &stored)),
            "MESSAGE sip:bob@ims.test SIP/2.0\r\n\
             Max-Forwards: 70\r\n\
             Route: <sip:scscf2.home2.example;lr>\r\n\
             From: \"Al \\\"ice\" <sip:alice@ims.test;x=y>;tag=dn1\r\n\
             To: <sip:bob@ims.test>\r\n\
             Call-ID: dn-1@as\r\n\
             CSeq: 1 MESSAGE\r\n\
             P-Asserted-Identity: <sip:alice@ims.test>\r\n\
             P-Charging-Vector: icid-value=\"icid-1\"\r\n\
             P-Charging-Function-Addresses: ccf=192.0.2.40\r\n\
             Accept-Contact: *;+g.oma.sip-im\r\n\
             Reply-To: <sip:al@ims.test>\r\n\
             Priority: urgent\r\n\
             Date: Wed, 01 Mar 2006 10:15:30 GMT\r\n\
             Expires: 600\r\n\
             Subject: Lunch\r\n\
             Content-Type: text/plain;\r\n charset=utf-8\r\n\
             Content-Language: en\r\n\
             Content-Disposition: render\r\n\
             Content-Length: 4\r\n\r\n\u{0}a\r\n"
        );
    }

    // Covers: DF-080
    #[test]
    fn who_asked_for_privacy_is_not_named() {
        let (item, stored) = stored(true);
        let pushed = made(Policy::default(), |envelope| envelope.push(&item, &stored));
        assert!(!pushed.contains("alice") && !pushed.contains("sip:al@"), "{pushed}");
        let from = "From: \"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=dn1\r\n";
        assert!(pushed.contains(from), "{pushed}");
        assert!(pushed.contains("\r\nPrivacy: id\r\n"), "{pushed}");
        assert!(pushed.contains("\r\nP-Asserted-Identity: <sip:im-deferred@ims.test>\r\n"));
    }

    #[test]
    fn octets_that_are_no_text_survive() {
        let body: Vec<u8> = (0..=255).collect();
        let mut octets =
            b"MESSAGE sip:b@h SIP/2.0\r\nFrom: \"\xff\" <sip:a@h>;tag=1\r\n\r\n".to_vec();
        octets.extend(&body);
        let stored = keep::read(&octets.into()).unwrap();
        let item = item(&stored);
        let deferred = Deferred::new(setup(Policy::default()));
        let way = Way::to_scscf("sip:h", ListenerId(0)).unwrap();
        let ids = Ids { call_id: "c".into(), cseq: 1, from_tag: "t".into() };
        let envelope = Envelope {
            shared: deferred.shared(),
            way: &way,
            to: "sip:b@h",
            ids: &ids,
            charging: charging("", None),
        };
        let pushed = envelope.push(&item, &stored).unwrap();
        assert_eq!(pushed.body(), body);
        let from = pushed.field(parlance_sip::HeaderName::From).unwrap();
        assert_eq!(from, b"\"\xff\" <sip:a@h>;tag=t");
    }

    // Covers: CORE-064
    #[test]
    fn a_branch_of_ours_is_signed_for_call_and_recipient() {
        let pushed = request(&made(Policy::default(), |envelope| {
            let (item, stored) = stored(false);
            envelope.push(&item, &stored)
        }));
        let marks = Marks::new([7; 32]);
        let branch = marks.branch(Origin::Deferred, 0, 1, &pushed);
        let with_via = text(&pushed).replacen(
            "\r\n",
            &format!("\r\nVia: SIP/2.0/UDP h\r\nVia: SIP/2.0/UDP h;branch={branch}\r\n"),
            1,
        );
        assert_eq!(marks.recognise(&request(&with_via)), Some(Origin::Deferred));
    }
}
