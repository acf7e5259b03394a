//! What is kept of a message: its octets, and the facts its delivery rests on (RFC 3428 §5, §7).

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parlance_content::MediaType;
use parlance_content::cpim::{Cpim, Limits};
use parlance_content::imdn::{self, Asked, Disposition};
use parlance_sip::grammar::split_list;
use parlance_sip::header::{ContentType, Date, Expires, From, Privacy, PrivacyValue};
use parlance_sip::{Edits, HeaderName, Message, Request, message};
use parlance_store::{DedupKey, Millis};
use sha2::{Digest, Sha256};

use crate::large;

/// Header fields that concern the way a request came, or one passage of it only.
const OF_THE_WAY: [HeaderName; 12] = [
    HeaderName::Route,
    HeaderName::RecordRoute,
    HeaderName::Path,
    HeaderName::MaxBreadth,
    HeaderName::PServedUser,
    HeaderName::PAssociatedUri,
    HeaderName::PChargingVector,
    HeaderName::PChargingFunctionAddresses,
    HeaderName::PAccessNetworkInfo,
    HeaderName::PVisitedNetworkId,
    HeaderName::Authorization,
    HeaderName::ProxyAuthorization,
];

/// How long the sender lets a message live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// `Expires: 0`: now or never.
    NowOnly,
    /// Its time was over when it came.
    Over,
    /// Until then, or as long as the operator keeps it.
    Until(Millis),
}

impl Lifetime {
    /// `Expires` counts from `Date`, without one from the receipt. The operator's `age_max` counts
    /// from the receipt: a sender's clock that is ahead does not lengthen it.
    pub(crate) fn of(request: &Message, received: Millis, age_max: Duration) -> Lifetime {
        let longest = received + age_max;
        let Ok(Some(Expires(seconds))) = request.header::<Expires>() else {
            return Lifetime::Until(longest);
        };
        if seconds == 0 {
            return Lifetime::NowOnly;
        }
        let sent = match request.header::<Date>() {
            Ok(Some(date)) => Millis(date.epoch_seconds().saturating_mul(1000)),
            Ok(None) | Err(_) => received,
        };
        let until = sent + Duration::from_secs(u64::from(seconds));
        if until <= received { Lifetime::Over } else { Lifetime::Until(until.min(longest)) }
    }
}

/// Whether the sender wants his identity withheld (RFC 3323 §4.2, RFC 3325 §9.3).
pub(crate) fn is_private(request: &Message) -> bool {
    let Ok(Some(privacy)) = request.header::<Privacy<'_>>() else { return false };
    let hides = [PrivacyValue::Id, PrivacyValue::User, PrivacyValue::Header];
    !privacy.is_none() && hides.into_iter().any(|value| privacy.has(value))
}

/// The body, when it is `message/cpim` and can be read.
pub(crate) fn cpim(request: &Message) -> Option<Cpim> {
    let content = request.header::<ContentType<'_>>().ok()??;
    cpim_in(&content.to_string(), &request.body_bytes())
}

/// Content of a type, when it is `message/cpim` and can be read.
pub(crate) fn cpim_in(content_type: &str, body: &Bytes) -> Option<Cpim> {
    let content = MediaType::parse(content_type).ok()?;
    content.is("message/cpim").then(|| Cpim::parse(body, &Limits::default()).ok())?
}

/// The same of a kept message, however it came.
pub(crate) fn kept_cpim(stored: &Request) -> Option<Cpim> {
    if !large::is_large(stored) {
        return cpim(stored);
    }
    let content = large::content(stored)?;
    cpim_in(&content.content_type, &content.body)
}

/// Whether the sender wants to hear of `disposition`; never for a notification (RFC 5438 §7.2.1),
/// and not for a message that has no name to report on.
pub(crate) fn asks_for(disposition: Disposition, cpim: Option<&Cpim>) -> bool {
    cpim.is_some_and(|cpim| {
        Asked::of(cpim).includes(disposition) && imdn::message_id(cpim).is_some()
    })
}

/// The octets to keep: the request without what belongs to its way here except the topmost `Via`,
/// which a whole message needs, and with the time of receipt when it has no `Date`.
pub(crate) fn payload(request: &Message, received: Millis) -> Bytes {
    let mut edits = Edits::new();
    for name in OF_THE_WAY {
        edits.remove(request, name);
    }
    let via = request.field(HeaderName::Via).and_then(|value| split_list(value).next());
    if let Some(via) = via {
        edits.set(request, HeaderName::Via, String::from_utf8_lossy(via));
    }
    let has_date = matches!(request.header::<Date>(), Ok(Some(_)));
    if let (false, Some(date)) = (has_date, Date::from_epoch_seconds(received.0 / 1000)) {
        edits.set(request, HeaderName::Date, date);
    }
    let mut out = BytesMut::with_capacity(request.bytes().len() + 64);
    edits.write(request, &mut out);
    out.freeze()
}

/// What a message is recognised by when it comes again from the same originator (DF-086).
#[derive(Clone)]
pub(crate) struct Dedup {
    key: [u8; 32],
}

impl Dedup {
    /// Keys are made with a secret, so that a sender cannot make one that is another's.
    pub(crate) fn new(secret: &[u8; 32]) -> Dedup {
        let mut hash = Sha256::new_with_prefix(b"parlance deferred dedup");
        hash.update(secret);
        Dedup { key: hash.finalize().into() }
    }

    /// Of the request, and of the name in its CPIM body if it has one.
    pub(crate) fn of(
        &self,
        request: &Request,
        originator: &str,
        cpim: Option<&Cpim>,
    ) -> Vec<DedupKey> {
        let cseq = request.cseq().map_or(0, |cseq| cseq.number).to_be_bytes();
        let from = request.header::<From<'_>>().ok().flatten();
        let tag = from.and_then(|from| from.tag()).unwrap_or_default();
        let originator = originator.as_bytes();
        let mut keys =
            vec![self.hash(&[b"request", originator, request.call_id(), &cseq, tag.as_bytes()])];
        // Without an originator the name proves nothing: anybody may have chosen it.
        if let (Some(name), false) = (cpim.and_then(imdn::message_id), originator.is_empty()) {
            keys.push(self.hash(&[b"imdn", originator, name.as_bytes()]));
        }
        keys
    }

    /// Of a message that came over MSRP, in the session that the INVITE made.
    pub(crate) fn of_send(
        &self,
        invite: &Request,
        originator: &str,
        message_id: &[u8],
        cpim: Option<&Cpim>,
    ) -> Vec<DedupKey> {
        let mut keys = self.of(invite, originator, cpim);
        if let Some(first) = keys.first_mut() {
            *first = self.hash(&[b"send", first, message_id]);
        }
        keys
    }

    /// The first half of the hash of the secret and the parts, each behind its length.
    fn hash(&self, parts: &[&[u8]]) -> DedupKey {
        let mut hash = Sha256::new_with_prefix(self.key);
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let digest: [u8; 32] = hash.finalize().into();
        let mut half = DedupKey::default();
        half.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        half
    }
}

/// A kept message, read again; `None` when the octets are no request.
pub(crate) fn read(payload: &Bytes) -> Option<Request> {
    let body_octets_max = parlance_store::PAYLOAD_OCTETS_MAX;
    let limits = message::Limits { body_octets_max, ..message::Limits::LARGEST };
    let message = Message::parse_datagram(payload.clone(), &limits).ok()?;
    Request::new(message).ok()
}

#[cfg(test)]
mod tests {
    use super::{Dedup, Duration, Lifetime, Millis, cpim, payload, read};
    use super::{asks_for, is_private};
    use crate::imdn::{FAILED, STORED};
    use crate::scenario::request;

    /// 2006-03-01T10:15:30Z.
    const T0: Millis = Millis(1_141_208_130_000);

    fn with(headers: &str) -> parlance_sip::Request {
        request(&format!("MESSAGE sip:bob@ims.test SIP/2.0\r\n{headers}\r\n\r\n"))
    }

    // Covers: CORE-052, DF-009
    #[test]
    fn the_shorter_of_both_lifetimes_counts() {
        const WEEK: u64 = 7 * 86_400_000;
        let until = |offset: u64| Lifetime::Until(Millis(T0.0 + offset));
        #[rustfmt::skip]
        let table = [
            ("Subject: x",                                             until(WEEK)),
            ("Expires: 60",                                            until(60_000)),
            ("Expires: 0",                                             Lifetime::NowOnly),
            ("Expires: 0\r\nDate: Wed, 01 Mar 2006 10:15:30 GMT",      Lifetime::NowOnly),
            ("Expires: 60\r\nDate: Wed, 01 Mar 2006 10:15:00 GMT",     until(30_000)),
            ("Expires: 30\r\nDate: Wed, 01 Mar 2006 10:15:00 GMT",     Lifetime::Over),
            ("Expires: 29\r\nDate: Wed, 01 Mar 2006 10:15:00 GMT",     Lifetime::Over),
            ("Expires: 60\r\nDate: Wed, 01 Mar 2006 10:16:30 GMT",     until(120_000)),
            ("Expires: 60\r\nDate: yesterday",                         until(60_000)),
            ("Expires: 700000",                                        until(WEEK)),
            ("Expires: 60\r\nDate: Wed, 01 Mar 2036 10:16:30 GMT",     until(WEEK)),
            ("Expires: soon",                                          until(WEEK)),
        ];
        for (headers, expected) in table {
            let age_max = Duration::from_secs(7 * 86_400);
            assert_eq!(Lifetime::of(&with(headers), T0, age_max), expected, "{headers}");
        }
    }

    #[test]
    fn privacy_is_read_as_asked() {
        let table = [
            ("Privacy: id", true),
            ("Privacy: header;user", true),
            ("Privacy: none", false),
            ("Privacy: session", false),
            ("Privacy: ;", false),
            ("Subject: id", false),
        ];
        for (header, expected) in table {
            assert_eq!(is_private(&with(header)), expected, "{header}");
        }
    }

    // Covers: DF-080, DF-032
    #[test]
    fn what_is_kept_says_nothing_of_the_way() {
        let original = request(
            "MESSAGE sip:bob@ims.test SIP/2.0\r\n\
             Route: <sip:im-term@127.0.0.20:5081;lr>, <sip:iscmark@127.0.0.13:6060;lr>\r\n\
             P-Served-User: <sip:bob@ims.test>;sescase=term;regstate=unreg\r\n\
             Via: SIP/2.0/UDP 127.0.0.13:6060;branch=z9hG4bKa, SIP/2.0/UDP 10.0.0.1\r\n\
             Via: SIP/2.0/UDP 127.0.0.41:5060;branch=z9hG4bKc\r\n\
             From: \"A\" <sip:alice@ims.test>;tag=1\r\nTo: <sip:bob@ims.test>\r\n\
             Call-ID: c1\r\nCSeq: 1 MESSAGE\r\nP-Asserted-Identity: <sip:alice@ims.test>\r\n\
             P-Charging-Vector: icid-value=x\r\nP-Access-Network-Info: 3GPP-E-UTRAN\r\n\
             X-Odd:   kept\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nhi!",
        );
        let kept = payload(&original, T0);
        assert_eq!(
            std::str::from_utf8(&kept).unwrap(),
            "MESSAGE sip:bob@ims.test SIP/2.0\r\n\
             Via: SIP/2.0/UDP 127.0.0.13:6060;branch=z9hG4bKa\r\n\
             From: \"A\" <sip:alice@ims.test>;tag=1\r\nTo: <sip:bob@ims.test>\r\n\
             Call-ID: c1\r\nCSeq: 1 MESSAGE\r\nP-Asserted-Identity: <sip:alice@ims.test>\r\n\
             X-Odd:   kept\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\
             Date: Wed, 01 Mar 2006 10:15:30 GMT\r\n\r\nhi!"
        );
        let again = read(&kept).unwrap();
        assert_eq!(again.body(), b"hi!");
        // With a Date nothing is added.
        assert_eq!(payload(&again, Millis(0)), kept);
    }

    // Covers: DF-031, DF-074
    #[test]
    fn a_date_that_is_none_is_replaced() {
        let dated = |value: &str| {
            let request = with(&format!("Date: {value}"));
            let kept = read(&payload(&request, T0)).unwrap();
            let date = kept.field(parlance_sip::HeaderName::Date).unwrap();
            String::from_utf8(date.to_vec()).unwrap()
        };
        assert_eq!(dated("yesterday"), "Wed, 01 Mar 2006 10:15:30 GMT");
        assert_eq!(dated("Tue, 28 Feb 2006 10:15:30 GMT"), "Tue, 28 Feb 2006 10:15:30 GMT");
    }

    fn cpim_message(headers: &str, content: &str) -> parlance_sip::Request {
        let body = format!(
            "From: <sip:alice@ims.test>\r\nTo: <sip:bob@ims.test>\r\n\
             NS: imdn <urn:ietf:params:imdn>\r\n{headers}\r\n{content}\r\n\r\nhi"
        );
        let length = body.len();
        request(&format!(
            "MESSAGE sip:bob@ims.test SIP/2.0\r\nc: Message/CPIM;x=y\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        ))
    }

    // Covers: DF-009, PF-094
    #[test]
    fn a_report_must_be_asked_for_and_possible() {
        const PLAIN: &str = "Content-Type: text/plain";
        let asks = |headers: &str, content: &str| {
            let body = cpim(&cpim_message(headers, content));
            [FAILED, STORED].map(|disposition| asks_for(disposition, body.as_ref()))
        };
        const NONE: [bool; 2] = [false, false];
        let id = "imdn.Message-ID: m1\r\n";
        let asked = |values: &str| format!("{id}imdn.Disposition-Notification: {values}\r\n");
        let wanted = asked("positive-delivery, negative-delivery, processing");
        assert_eq!(asks(&wanted, PLAIN), [true, true]);
        assert_eq!(asks(&asked("positive-delivery, negative-delivery"), PLAIN), [true, false]);
        assert_eq!(asks(&asked("processing, display"), PLAIN), [false, true]);
        assert_eq!(asks(&asked("positive-delivery, display"), PLAIN), NONE);
        assert_eq!(asks(id, PLAIN), NONE);
        let unnamed = wanted.replace(id, "");
        assert_eq!(asks(&unnamed, PLAIN), NONE, "without a name nothing can be said about it");
        let notification = "Content-Type: message/imdn+xml\r\nContent-Disposition: notification";
        assert_eq!(asks(&wanted, notification), NONE, "never about a notification");
        assert!(!asks_for(FAILED, cpim(&with("Content-Type: text/plain")).as_ref()));
    }

    // Covers: DF-086
    #[test]
    fn the_same_message_has_a_key_in_common() {
        let dedup = Dedup::new(&[7; 32]);
        let sent = |call_id: &str, cseq: u32, tag: &str| {
            with(&format!(
                "From: <sip:a@b>;tag={tag}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} MESSAGE"
            ))
        };
        let key =
            |request: &parlance_sip::Request, originator: &str| dedup.of(request, originator, None);
        let first = key(&sent("c1", 1, "t1"), "sip:a@b");
        assert_eq!(first.len(), 1);
        assert_eq!(key(&sent("c1", 1, "t1"), "sip:a@b"), first);
        let others = [
            key(&sent("c2", 1, "t1"), "sip:a@b"),
            key(&sent("c1", 2, "t1"), "sip:a@b"),
            key(&sent("c1", 1, "t2"), "sip:a@b"),
            key(&sent("c1", 1, "t1"), "sip:x@b"),
            Dedup::new(&[8; 32]).of(&sent("c1", 1, "t1"), "sip:a@b", None),
        ];
        for other in others {
            assert_ne!(other, first);
        }
        let named = cpim_message("imdn.Message-ID: m1\r\n", "Content-Type: text/plain");
        let body = cpim(&named);
        let keys = dedup.of(&named, "sip:a@b", body.as_ref());
        let again = dedup.of(&sent("c9", 9, "t9"), "sip:a@b", body.as_ref());
        assert_eq!((keys.len(), keys[1]), (2, again[1]));
        assert_ne!(dedup.of(&named, "sip:x@b", body.as_ref())[1], keys[1]);
        assert_eq!(dedup.of(&named, "", body.as_ref()).len(), 1);
    }
}
