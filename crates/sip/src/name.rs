//! Header field names and their compact forms (RFC 3261 §7.3.1, §7.3.3).

use std::fmt;

macro_rules! header_names {
    ($($variant:ident $text:literal $($compact:literal)?;)*) => {
        /// The name of a header field, as far as somebody in this workspace asks for it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum HeaderName {
            $(#[doc = concat!("`", $text, "`")] $variant,)*
            /// Any other name; the octets stay in the message.
            Other,
        }

        impl HeaderName {
            /// Every name there is but [`HeaderName::Other`], in the order of the variants.
            const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Reads a name, full or compact, whatever its case.
            pub fn parse(name: &[u8]) -> Self {
                if let [letter] = name {
                    return match letter.to_ascii_lowercase() {
                        $($($compact => Self::$variant,)?)*
                        _ => Self::Other,
                    };
                }
                let is_this = |known: &Self| known.as_str().as_bytes().eq_ignore_ascii_case(name);
                TABLE.candidates(front(name)).find(is_this).unwrap_or(Self::Other)
            }

            /// The name as it stands before a value, with colon and space.
            #[inline(always)]
            #[expect(clippy::indexing_slicing, reason = "every variant has a text")]
            pub(crate) const fn prefix(self) -> &'static str {
                static TEXTS: [&str; HeaderName::ALL.len() + 1] =
                    [$(concat!($text, ": "),)* ": "];
                TEXTS[self as usize]
            }
        }
    };
}

impl HeaderName {
    /// The full name as it is written; empty for [`HeaderName::Other`].
    pub const fn as_str(self) -> &'static str {
        let text = self.prefix();
        text.split_at(text.len() - 2).0
    }

    /// The known name that `line` begins with, written as the RFCs write it, with a colon and a
    /// space behind it.
    #[inline(always)]
    pub(crate) fn at_front(line: &[u8]) -> Option<Self> {
        let mut candidates = TABLE.candidates(*line.first_chunk()?);
        candidates.find(|known| starts_with(line, known.prefix().as_bytes()))
    }
}

/// Whether a line begins with a text of 4 to 32 octets. To compare both ends of it, which may
/// overlap, costs less than a call.
#[inline(always)]
fn starts_with(line: &[u8], text: &[u8]) -> bool {
    let Some(line) = line.get(..text.len()) else { return false };
    match text.len() {
        ..8 => ends::<4>(line) == ends(text),
        8..16 => ends::<8>(line) == ends(text),
        16.. => ends::<16>(line) == ends(text),
    }
}

/// The first and the last `N` octets.
#[inline(always)]
fn ends<const N: usize>(text: &[u8]) -> Option<(&[u8; N], &[u8; N])> {
    text.first_chunk().zip(text.last_chunk())
}

/// A set of header names: one bit for each of the first 64; those behind are in none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeaderNames(u64);

impl HeaderNames {
    /// The given names.
    pub(crate) const fn of(mut names: &[HeaderName]) -> Self {
        let mut set = 0;
        while let [name, rest @ ..] = names {
            set |= 1 << *name as u32;
            names = rest;
        }
        Self(set)
    }

    /// The names of both.
    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Adds a name; whether it was not there yet.
    #[inline(always)]
    pub(crate) fn insert(&mut self, name: HeaderName) -> bool {
        let before = self.0;
        self.0 |= 1_u64.unbounded_shl(name as u32);
        self.0 != before
    }

    /// Whether the name is there.
    #[inline(always)]
    pub(crate) const fn contains(self, name: HeaderName) -> bool {
        let bit = name as u32;
        bit < u64::BITS && self.0 & 1 << bit != 0
    }
}

/// A hash table over the first four octets of a header line, made by the compiler: every line of
/// every message asks it.
struct Table {
    /// The first candidate of each bucket; [`HeaderName::Other`] when there is none.
    first: [HeaderName; 256],
    /// The candidate behind each.
    next: [HeaderName; HeaderName::ALL.len() + 1],
}

static TABLE: Table = Table::new(HeaderName::ALL);

impl Table {
    #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which would refuse")]
    const fn new(names: &[HeaderName]) -> Self {
        let first = [HeaderName::Other; 256];
        let mut table = Self { first, next: [HeaderName::Other; HeaderName::ALL.len() + 1] };
        let mut at = names.len();
        while at > 0 {
            at -= 1;
            let Some(front) = names[at].prefix().as_bytes().first_chunk() else { continue };
            assert!(names[at].prefix().len() <= 32, "`starts_with` compares that many octets");
            let bucket = Self::bucket(*front);
            table.next[names[at] as usize] = table.first[bucket];
            table.first[bucket] = names[at];
        }
        table
    }

    /// Letters count whatever their case. The factor spreads the names well.
    const fn bucket(front: [u8; 4]) -> usize {
        let letters = u32::from_le_bytes(front) | 0x2020_2020;
        (letters.wrapping_mul(1_348_809) >> 24) as usize
    }

    /// The names that may stand at the front of a line that begins so.
    #[inline(always)]
    #[expect(clippy::indexing_slicing, reason = "a bucket is below 256, a name has a next")]
    fn candidates(&self, front: [u8; 4]) -> impl Iterator<Item = HeaderName> {
        let mut next = self.first[Self::bucket(front)];
        std::iter::from_fn(move || {
            let name = next;
            next = self.next[name as usize];
            (name != HeaderName::Other).then_some(name)
        })
    }
}

/// The first four octets of the line that `name` begins.
fn front(name: &[u8]) -> [u8; 4] {
    let mut front = [b' '; 4];
    for (octet, from) in front.iter_mut().zip(name.iter().chain(b": ")) {
        *octet = *from;
    }
    front
}

header_names! {
    Via "Via" b'v';
    From "From" b'f';
    To "To" b't';
    CallId "Call-ID" b'i';
    CSeq "CSeq";
    Contact "Contact" b'm';
    Route "Route";
    RecordRoute "Record-Route";
    MaxForwards "Max-Forwards";
    ContentLength "Content-Length" b'l';
    ContentType "Content-Type" b'c';
    Expires "Expires";
    Accept "Accept";
    AcceptContact "Accept-Contact" b'a';
    AcceptEncoding "Accept-Encoding";
    AcceptLanguage "Accept-Language";
    Allow "Allow";
    AllowEvents "Allow-Events" b'u';
    AnswerMode "Answer-Mode";
    Authorization "Authorization";
    ContentDisposition "Content-Disposition";
    ContentEncoding "Content-Encoding" b'e';
    Date "Date";
    Event "Event" b'o';
    Identity "Identity" b'y';
    IdentityInfo "Identity-Info" b'n';
    MaxBreadth "Max-Breadth";
    MinExpires "Min-Expires";
    MinSe "Min-SE";
    PAccessNetworkInfo "P-Access-Network-Info";
    PAssertedIdentity "P-Asserted-Identity";
    PAssociatedUri "P-Associated-URI";
    PCalledPartyId "P-Called-Party-ID";
    PChargingFunctionAddresses "P-Charging-Function-Addresses";
    PChargingVector "P-Charging-Vector";
    PPreferredIdentity "P-Preferred-Identity";
    PServedUser "P-Served-User";
    PVisitedNetworkId "P-Visited-Network-ID";
    Path "Path";
    Privacy "Privacy";
    ProxyAuthenticate "Proxy-Authenticate";
    ProxyAuthorization "Proxy-Authorization";
    ProxyRequire "Proxy-Require";
    RAck "RAck";
    RSeq "RSeq";
    Reason "Reason";
    ReferSub "Refer-Sub";
    ReferTo "Refer-To" b'r';
    ReferredBy "Referred-By" b'b';
    RejectContact "Reject-Contact" b'j';
    RequestDisposition "Request-Disposition" b'd';
    Replaces "Replaces";
    Require "Require";
    RetryAfter "Retry-After";
    Server "Server";
    ServiceRoute "Service-Route";
    SessionExpires "Session-Expires" b'x';
    SipETag "SIP-ETag";
    SipIfMatch "SIP-If-Match";
    Subject "Subject" b's';
    SubscriptionState "Subscription-State";
    Supported "Supported" b'k';
    Timestamp "Timestamp";
    Unsupported "Unsupported";
    UserAgent "User-Agent";
    Warning "Warning";
    WwwAuthenticate "WWW-Authenticate";
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Covers: CORE-003
    #[test]
    fn names_are_read_in_every_form() {
        let table = [
            ("Via", HeaderName::Via),
            ("v", HeaderName::Via),
            ("V", HeaderName::Via),
            ("cAlL-iD", HeaderName::CallId),
            ("i", HeaderName::CallId),
            ("m", HeaderName::Contact),
            ("f", HeaderName::From),
            ("t", HeaderName::To),
            ("c", HeaderName::ContentType),
            ("l", HeaderName::ContentLength),
            ("k", HeaderName::Supported),
            ("s", HeaderName::Subject),
            ("e", HeaderName::ContentEncoding),
            ("o", HeaderName::Event),
            ("u", HeaderName::AllowEvents),
            ("r", HeaderName::ReferTo),
            ("x", HeaderName::SessionExpires),
            ("a", HeaderName::AcceptContact),
            ("j", HeaderName::RejectContact),
            ("d", HeaderName::RequestDisposition),
            ("b", HeaderName::ReferredBy),
            ("n", HeaderName::IdentityInfo),
            ("y", HeaderName::Identity),
            ("z", HeaderName::Other),
            ("C%6Fntact", HeaderName::Other), // RFC 4475 §3.1.1.5
            ("", HeaderName::Other),
            ("Vias", HeaderName::Other),
        ];
        for name in HeaderName::ALL {
            assert_eq!(HeaderName::parse(name.as_str().to_uppercase().as_bytes()), *name);
        }
        for (text, name) in table {
            assert_eq!(HeaderName::parse(text.as_bytes()), name, "{text}");
        }
    }

    #[test]
    fn a_line_begins_with_the_usual_spelling() {
        let at_front = |line: &str| HeaderName::at_front(line.as_bytes());
        for name in HeaderName::ALL {
            let prefix = name.prefix();
            assert_eq!(prefix, format!("{name}: "));
            assert_eq!(at_front(&format!("{prefix}value")), Some(*name));
            assert_eq!(at_front(prefix), Some(*name));
            assert_eq!(at_front(&format!("X{prefix}")), None);
            assert_eq!(at_front(&prefix.to_lowercase()), None);
            for (at, _) in prefix.char_indices() {
                assert_eq!(at_front(&prefix[..at]), None, "cut off");
                let other = format!("{}#{}", &prefix[..at], &prefix[at + 1..]);
                assert_eq!(at_front(&other), None, "{other}");
            }
        }
        for line in ["", ": x", "Via:x", "Via : x", "Vias: x", "v: x", "Content-Types: x"] {
            assert_eq!(at_front(line), None, "{line}");
        }
    }
}
