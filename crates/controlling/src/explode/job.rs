//! What is kept of an explosion: what all copies have in common, and each recipient.

use bytes::Bytes;
use parlance_sip::message::Limits;
use parlance_sip::{Message, Request};
use parlance_store::{DedupKey, Millis, PAYLOAD_OCTETS_MAX};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What all copies of a message have in common.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) about: About,
    /// A MESSAGE with what goes into every copy: From without a tag, what the sender says about the
    /// message, and the content.
    pub(super) template: Request,
}

/// Who wants it and how he is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct About {
    /// The identity of the sender.
    pub(super) originator: String,
    /// The exploder or group he wrote to.
    pub(super) service: String,
    /// Whether it is a group: its members are not disclosed to him.
    pub(super) is_group: bool,
    /// Whether he wants a notification of each failure (RFC 5438 §6.2).
    pub(super) notify: bool,
    /// Whether he wants to be told in the end how it went.
    pub(super) report: bool,
    /// The description that he offered, when the message goes in sessions: it may say of which file
    /// it is (RFC 5547).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) offer: Option<String>,
    /// The list of the recipients as all may see it, for the INVITEs of those sessions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) history: Option<String>,
}

impl About {
    /// Whether each recipient gets the message in a session.
    pub(super) fn is_large(&self) -> bool {
        self.offer.is_some()
    }
}

/// A recipient.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Recipient {
    /// Request-URI and To of the copy.
    pub(super) uri: String,
    /// Header fields for him alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) headers: Vec<(String, String)>,
    /// It is a group that is hosted here, which gets no copy.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) nested: bool,
}

/// The identifiers of one copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ids {
    pub(super) call_id: String,
    pub(super) from_tag: String,
    /// What the branch is made from.
    pub(super) random: u64,
}

impl Job {
    /// The octets to keep.
    pub(super) fn write(&self) -> Bytes {
        let mut octets = serde_json::to_vec(&self.about).expect("it has string keys only");
        octets.push(b'\n');
        octets.extend_from_slice(&self.template.bytes());
        octets.into()
    }

    /// Reads what [`Job::write`] wrote.
    pub(super) fn read(octets: &Bytes) -> Option<Self> {
        let end = octets.iter().position(|octet| *octet == b'\n')?;
        let about = serde_json::from_slice(octets.get(..end)?).ok()?;
        // What was written here is read, however large the operator lets it be.
        let limits = Limits { body_octets_max: PAYLOAD_OCTETS_MAX, ..Limits::LARGEST };
        let message = Message::parse_datagram(octets.slice(end + 1..), &limits).ok()?;
        Some(Self { about, template: Request::new(message).ok()? })
    }
}

impl Recipient {
    pub(super) fn write(&self) -> String {
        serde_json::to_string(self).expect("it has string keys only")
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

impl Ids {
    /// Those of what is sent to the recipient at `place`, the same each time.
    pub(super) fn of(seed: &[u8; 16], place: u32, domain: &str) -> Self {
        let digest = Sha256::new_with_prefix(seed).chain_update(place.to_be_bytes()).finalize();
        let mut words = digest.chunks_exact(8).map(|word| {
            let octets = word.try_into().expect("chunks have eight octets");
            u64::from_be_bytes(octets)
        });
        let mut word = || words.next().expect("a digest has four words");
        Self {
            call_id: format!("{:016x}{:016x}@{domain}", word(), word()),
            from_tag: format!("x{:016x}", word()),
            random: word(),
        }
    }
}

/// How a message is recognised when it comes again: by who sent it and what RFC 3261 §17.2.3 tells
/// requests apart by.
pub(super) fn dedup(originator: &str, request: &Request) -> DedupKey {
    half(hash(originator, request))
}

/// The same for a message that came in the session which an INVITE made, by its Message-ID.
pub(super) fn dedup_of_send(originator: &str, invite: &Request, message_id: &[u8]) -> DedupKey {
    half(hash(originator, invite).chain_update(message_id))
}

fn hash(originator: &str, request: &Request) -> Sha256 {
    let from = request.header::<parlance_sip::header::From<'_>>().ok().flatten();
    let tag = from.as_ref().and_then(|from| from.tag()).unwrap_or_default();
    let cseq = request.cseq().map_or(0, |cseq| cseq.number);
    let mut hash = Sha256::new();
    for part in [originator.as_bytes(), request.call_id(), tag.as_bytes()] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.update(cseq.to_be_bytes());
    hash
}

fn half(hash: Sha256) -> DedupKey {
    let mut key = DedupKey::default();
    key.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
    key
}

/// When a message stops being worth sending (RFC 3428 §7): `Expires` after its `Date`, or after it
/// came; 0 means now or never, which an exploder does. `None`: it does not say.
pub(super) fn deadline(request: &Request, received: Millis) -> Option<Millis> {
    use parlance_sip::header::{Date, Expires};
    let expires = request.header::<Expires>().ok().flatten()?;
    let seconds = u64::from(expires.0).checked_mul(1000).filter(|millis| *millis > 0)?;
    let date = request.header::<Date>().ok().flatten();
    let begun = date.map_or(received.0, |date| date.epoch_seconds().saturating_mul(1000));
    Some(Millis(begun.saturating_add(seconds)))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use parlance_sip::RequestBuilder;

    use super::{About, Job, Recipient};

    #[test]
    fn what_is_kept_is_read() {
        let template = RequestBuilder::new("MESSAGE", "sip:copy.invalid")
            .octets(b"From", b"<sip:alice@ims.test>")
            .octets(b"Content-Type", b"text/plain")
            .build(&[b'\n'; 200_000])
            .unwrap();
        let about = About {
            originator: "sip:alice@ims.test".into(),
            is_group: true,
            notify: true,
            ..About::default()
        };
        let octets = Job { about: about.clone(), template: template.clone() }.write();
        let read = Job::read(&octets).unwrap();
        assert_eq!(read.about, about);
        assert_eq!(read.template.bytes(), template.bytes());
        for cut in [0, 1, octets.len() / 2] {
            assert!(Job::read(&octets.slice(..cut)).is_none(), "{cut}");
        }
        assert!(Job::read(&Bytes::from_static(b"{}\nno request")).is_none());
        let recipient = Recipient {
            uri: "sip:bob@ims.test".into(),
            headers: vec![("Subject".into(), "\"a\" b".into())],
            nested: true,
        };
        for recipient in [recipient, Recipient::default()] {
            assert_eq!(Recipient::read(&recipient.write()), Some(recipient));
        }
    }
}
