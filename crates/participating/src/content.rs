//! What may be in a message: its size, its types, its words (OMA-TS-SIMPLE_IM §7.2.2.4).

use std::borrow::Cow;

use bytes::Bytes;
use parlance_content::cpim::{self, Cpim};
use parlance_content::multipart::{self, Multipart};
use parlance_content::{MediaType, MimeHeaders};
use parlance_isc::{Decision, Local};
use parlance_sip::uri::Aor;
use parlance_sip::{HeaderName, Request};

use crate::policy::Policy;
use crate::refusal::Refusal;

/// What a filter says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The message may go on.
    Pass,
    /// It may not: 403.
    Refuse,
}

/// One part of a message that is no container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its `Content-Type`, `text/plain` without one.
    pub content_type: String,
    /// Its content.
    pub body: Bytes,
}

/// An adapter to a filter outside this server.
///
/// It must answer well within 3 s, after which an S-CSCF may go on without the server. A filter
/// that cannot decide decides itself whether the message passes.
pub trait ContentFilter {
    /// Looks at the parts of a message.
    fn judge<'a>(&'a self, parts: &'a [Part]) -> Local<'a, Verdict>;
}

/// Types and words not let through, of the operator and of a recipient.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits<'a> {
    /// Those of the operator.
    pub(crate) policy: &'a Policy,
    /// Types the recipient does not want; empty on the sender's side.
    pub(crate) blocked: &'a [String],
    /// Octets of a body the recipient takes; `None` on the sender's side.
    pub(crate) octets_max: Option<u32>,
}

/// Applies the limits to a message.
///
/// # Errors
/// The first that it breaks: size, type, words, and what `filter` says.
pub(crate) async fn check(
    request: &Request,
    limits: Limits<'_>,
    filter: Option<&dyn ContentFilter>,
) -> Result<(), Refusal> {
    let Limits { policy, blocked, octets_max } = limits;
    let most = octets_max.unwrap_or(u32::MAX).min(policy.body_octets_max);
    if u32::try_from(request.body().len()).unwrap_or(u32::MAX) > most {
        return Err(Refusal::SizeExceeded(most));
    }
    let no_types = policy.accepted_content.is_empty()
        && policy.blocked_content.is_empty()
        && blocked.is_empty();
    if no_types && policy.blocked_words.is_empty() && filter.is_none() {
        return Ok(());
    }
    let opened = Opened::of(request);
    for content_type in &opened.types {
        let media = MediaType::parse(content_type).ok();
        check_type(media.as_ref(), policy, blocked)?;
    }
    if !policy.blocked_words.is_empty() && opened.parts.iter().any(|part| has_word(part, policy)) {
        return Err(Refusal::Content);
    }
    match filter {
        Some(filter) if filter.judge(&opened.parts).await == Verdict::Refuse => {
            Err(Refusal::Content)
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether the CPIM From is an identity of the sender, or anonymous, or there is none to compare
/// (RFC 3862 §4.1). A body that is not CPIM after all is the recipient's business.
pub(crate) fn cpim_from_is_his(request: &Request, decision: &Decision) -> bool {
    if !is_cpim(request) {
        return true;
    }
    let Ok(cpim) = Cpim::parse(&request.body_bytes(), &cpim::Limits::default()) else {
        return true;
    };
    let mut senders = cpim.named(cpim::CORE_NAMESPACE, "From").peekable();
    if senders.peek().is_none() {
        return true;
    }
    senders.all(|sender| {
        let address = cpim::Address::parse(sender.value);
        address.and_then(|address| identity(address.uri)).is_some_and(|identity| {
            identity.domain() == Some("anonymous.invalid")
                || decision.served.identity.as_ref() == Some(&identity)
                || decision.originator.as_ref().is_some_and(|sender| sender.is(&identity))
                || decision.subscriber.has(&identity)
        })
    })
}

/// Whether the body is CPIM. Most types begin with another letter, and need not be read.
fn is_cpim(request: &Request) -> bool {
    let written = request.field(HeaderName::ContentType).unwrap_or_default();
    matches!(written.first(), Some(b'm' | b'M'))
        && MediaType::parse(&content_type(request)).is_ok_and(|media| media.is("message/cpim"))
}

/// The identity of a CPIM address; `im:user@host` is the IM address of that SIP user (RFC 3860).
fn identity(uri: &str) -> Option<Aor> {
    let sip = uri.split_once(':').filter(|(scheme, _)| {
        scheme.eq_ignore_ascii_case("im") || scheme.eq_ignore_ascii_case("pres")
    });
    match sip {
        Some((_, rest)) => Aor::parse(&format!("sip:{rest}")).ok(),
        None => Aor::parse(uri).ok(),
    }
}

/// The Content-Type; what is not said counts as `text/plain` (RFC 3428 §4).
pub(crate) fn content_type(request: &Request) -> Cow<'_, str> {
    let value = request.field(HeaderName::ContentType);
    value.map_or(Cow::Borrowed("text/plain"), String::from_utf8_lossy)
}

/// Whether a message is of one of these types, or holds a part that is.
pub(crate) fn holds(request: &Request, types: &[String]) -> bool {
    Opened::of(request).types.iter().any(|content_type| {
        let media = MediaType::parse(content_type);
        media.is_ok_and(|media| types.iter().any(|known| media.is(known)))
    })
}

/// The first part of a request that is of this type, or the whole body.
pub(crate) fn part(request: &Request, wanted: &str) -> Option<Bytes> {
    let parts = Opened::of(request).parts.into_iter();
    let is_wanted =
        |part: &Part| MediaType::parse(&part.content_type).is_ok_and(|media| media.is(wanted));
    parts.filter(is_wanted).map(|part| part.body).next()
}

/// A message taken apart.
#[derive(Debug, Default)]
struct Opened {
    /// Every type there is, those of containers as well.
    types: Vec<String>,
    /// What is in the containers.
    parts: Vec<Part>,
}

/// Containers within containers that are opened; local limit. What is deeper counts as one part.
const DEPTH_MAX: usize = 4;

impl Opened {
    fn of(request: &Request) -> Self {
        let mut opened = Self::default();
        opened.open(content_type(request).trim().to_owned(), request.body_bytes(), 1);
        opened
    }

    fn open(&mut self, content_type: String, body: Bytes, depth: usize) {
        self.types.push(content_type.clone());
        let inner = match MediaType::parse(&content_type) {
            Ok(media) if depth < DEPTH_MAX => inside(&media, &body),
            Ok(_) | Err(_) => None,
        };
        match inner {
            Some(parts) => parts
                .into_iter()
                .for_each(|(content_type, body)| self.open(content_type, body, depth + 1)),
            None => self.parts.push(Part { content_type, body }),
        }
    }
}

/// The types and contents in a container; `None` when it is none, or none that can be read.
fn inside(media: &MediaType<'_>, body: &Bytes) -> Option<Vec<(String, Bytes)>> {
    if media.is("message/cpim") {
        let cpim = Cpim::parse(body, &cpim::Limits::default()).ok()?;
        return Some(vec![(mime_type(cpim.mime()), cpim.content().clone())]);
    }
    if media.is_multipart() {
        let parts = Multipart::parse(media, body, &multipart::Limits::default()).ok()?;
        let parts = parts.into_parts().into_iter();
        return Some(parts.map(|part| (mime_type(&part.headers), part.body)).collect());
    }
    None
}

fn mime_type(headers: &MimeHeaders) -> String {
    match headers.content_type() {
        None => "text/plain".to_owned(),
        Some(Ok(media)) => media.to_string(),
        Some(Err(_)) => String::new(),
    }
}

fn check_type(
    media: Option<&MediaType<'_>>,
    policy: &Policy,
    blocked: &[String],
) -> Result<(), Refusal> {
    let in_range = |range: &&String| media.is_some_and(|media| covers(range, media));
    let accepted = &policy.accepted_content;
    if !accepted.is_empty() && !accepted.iter().any(|range| in_range(&range)) {
        return Err(Refusal::ContentType(accepted.join(", ")));
    }
    match policy.blocked_content.iter().chain(blocked).find(in_range) {
        // Everything but that (RFC 3261 §20.1, RFC 2616 §14.1).
        Some(range) => Err(Refusal::ContentType(format!("*/*, {range};q=0"))),
        None => Ok(()),
    }
}

/// Whether `range`, `type/subtype` with stars, covers a type.
fn covers(range: &str, media: &MediaType<'_>) -> bool {
    let Some((kind, subtype)) = range.split_once('/') else { return false };
    (kind == "*" || kind.eq_ignore_ascii_case(media.kind()))
        && (subtype == "*" || subtype.eq_ignore_ascii_case(media.subtype()))
}

fn has_word(part: &Part, policy: &Policy) -> bool {
    let is_text = MediaType::parse(&part.content_type).is_ok_and(|media| covers("text/*", &media));
    if !is_text {
        return false;
    }
    let text = String::from_utf8_lossy(&part.body).to_lowercase();
    policy.blocked_words.iter().any(|word| text.contains(&word.to_lowercase()))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use parlance_isc::Local;

    use super::{ContentFilter, Limits, Part, Verdict, check, identity};
    use crate::policy::Policy;
    use crate::refusal::Refusal;
    use crate::tests::request;

    const CPIM: &str = "From: <im:a@h>\r\nTo: <im:b@h>\r\n\r\n\
                        Content-Type: image/png\r\n\r\nPNG";
    const MIXED: &str = "--x\r\n\r\nhello Casino\r\n--x\r\nContent-Type: message/cpim\r\n\r\n\
                         From: <im:a@h>\r\n\r\nContent-Type: image/gif\r\n\r\nGIF\r\n--x--\r\n";

    async fn judge(content_type: &str, body: &str, limits: Limits<'_>) -> Result<(), Refusal> {
        let request = request(&format!(
            "MESSAGE sip:b@h SIP/2.0\r\nContent-Type: {content_type}\r\n\r\n{body}"
        ));
        check(&request, limits, None).await
    }

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    // Covers: PF-012, PF-013, CORE-051
    #[tokio::test]
    async fn the_body_has_a_limit_and_nothing_else() {
        let policy = Policy::default();
        let ours = Limits { policy: &policy, blocked: &[], octets_max: None };
        assert_eq!(judge("text/plain", &"x".repeat(1300), ours).await, Ok(()));
        let refused = Err(Refusal::SizeExceeded(1300));
        assert_eq!(judge("text/plain", &"x".repeat(1301), ours).await, refused);
        // The head alone is larger than the limit of the body.
        let long = format!("text/plain;x=\"{}\"", "y".repeat(2000));
        assert_eq!(judge(&long, "x", ours).await, Ok(()));
        let less = Limits { octets_max: Some(10), ..ours };
        assert_eq!(judge("text/plain", "0123456789", less).await, Ok(()));
        assert_eq!(judge("text/plain", "0123456789a", less).await, Err(Refusal::SizeExceeded(10)));
        let more = Limits { octets_max: Some(9999), ..ours };
        assert_eq!(judge("text/plain", &"x".repeat(1301), more).await, refused);
    }

    // Covers: PF-022
    #[tokio::test]
    async fn types_are_let_through_or_not() {
        const ACCEPTED: &[&str] = &["text/*", "message/cpim", "multipart/mixed", "image/gif"];
        let refused = |accept: &str| Err(Refusal::ContentType(accept.to_owned()));
        let only_accepted = refused("text/*, message/cpim, multipart/mixed, image/gif");
        type Texts<'a> = &'a [&'a str];
        type Row<'a> = (&'a str, &'a str, Texts<'a>, Texts<'a>, Texts<'a>, Result<(), Refusal>);
        #[rustfmt::skip]
        let table: [Row<'_>; 10] = [
            ("text/plain",           "x",   ACCEPTED, &[], &[], Ok(())),
            ("TEXT/Plain;charset=x", "x",   ACCEPTED, &[], &[], Ok(())),
            ("image/png",            "x",   ACCEPTED, &[], &[], only_accepted.clone()),
            ("message/cpim",         CPIM,  ACCEPTED, &[], &[], only_accepted.clone()),
            ("multipart/mixed;boundary=x", MIXED, ACCEPTED, &[], &[], Ok(())),
            ("garbage",              "x",   ACCEPTED, &[], &[], only_accepted),
            ("message/cpim",         CPIM,  &[], &["image/png"], &[],
                refused("*/*, image/png;q=0")),
            ("multipart/mixed;boundary=x", MIXED, &[], &[], &["image/*"],
                refused("*/*, image/*;q=0")),
            ("message/cpim",         CPIM,  &[], &["image/gif"], &["video/*"], Ok(())),
            ("garbage",              "x",   &[], &["image/gif"], &[], Ok(())),
        ];
        for (content_type, body, accepted, blocked, unwanted, expected) in table {
            let policy = Policy {
                accepted_content: texts(accepted),
                blocked_content: texts(blocked),
                ..Policy::default()
            };
            let unwanted = texts(unwanted);
            let limits = Limits { policy: &policy, blocked: &unwanted, octets_max: None };
            let found = judge(content_type, body, limits).await;
            assert_eq!(found, expected, "{content_type} {accepted:?} {blocked:?} {unwanted:?}");
        }
    }

    struct Notes(RefCell<Vec<Part>>, Verdict);

    impl ContentFilter for Notes {
        fn judge<'a>(&'a self, parts: &'a [Part]) -> Local<'a, Verdict> {
            self.0.borrow_mut().extend_from_slice(parts);
            Box::pin(async { self.1 })
        }
    }

    // Covers: PF-022
    #[tokio::test]
    async fn words_and_an_adapter_judge_the_text() {
        let policy = Policy { blocked_words: texts(&["CASINO"]), ..Policy::default() };
        let limits = Limits { policy: &policy, blocked: &[], octets_max: None };
        assert_eq!(judge("text/plain", "my casino", limits).await, Err(Refusal::Content));
        assert_eq!(judge("text/plain", "my house", limits).await, Ok(()));
        assert_eq!(judge("image/png", "casino", limits).await, Ok(()), "not a text");
        let mixed = "multipart/mixed;boundary=x";
        assert_eq!(judge(mixed, MIXED, limits).await, Err(Refusal::Content));

        let policy = Policy::default();
        let limits = Limits { policy: &policy, blocked: &[], octets_max: None };
        let text = format!("MESSAGE sip:b@h SIP/2.0\r\nContent-Type: {mixed}\r\n\r\n{MIXED}");
        for (verdict, expected) in
            [(Verdict::Pass, Ok(())), (Verdict::Refuse, Err(Refusal::Content))]
        {
            let filter = Notes(RefCell::default(), verdict);
            assert_eq!(check(&request(&text), limits, Some(&filter)).await, expected);
            let parts = filter.0.borrow();
            let seen: Vec<_> =
                parts.iter().map(|part| (part.content_type.as_str(), &part.body[..])).collect();
            let parts: [(&str, &[u8]); 2] =
                [("text/plain", b"hello Casino"), ("image/gif", b"GIF")];
            assert_eq!(seen, parts);
        }
    }

    #[test]
    fn an_im_uri_names_the_sip_user() {
        let same = |uri: &str| identity(uri).map(|identity| identity.to_string());
        assert_eq!(same("im:alice@IMS.test").as_deref(), Some("sip:alice@ims.test"));
        assert_eq!(same("pres:alice@ims.test").as_deref(), Some("sip:alice@ims.test"));
        assert_eq!(same("tel:+1-5").as_deref(), Some("tel:+15"));
        assert_eq!(same("x"), None);
    }
}
