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
            #[inline]
            pub fn parse(name: &[u8]) -> Self {
                if let [letter] = name {
                    return match letter.to_ascii_lowercase() {
                        $($($compact => Self::$variant,)?)*
                        _ => Self::Other,
                    };
                }
                let known = BUCKETS.at(name);
                let text = known.as_str().as_bytes();
                // Nearly always it is written as the RFCs write it.
                if text == name || text.eq_ignore_ascii_case(name) { known } else { Self::Other }
            }

            /// The full name as it is written; empty for [`HeaderName::Other`].
            #[inline]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other => "",
                }
            }
        }
    };
}

/// A set of header names: one bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeaderNames(u128);

const _: () = assert!((HeaderName::Other as u32) < u128::BITS, "a bit for every name");

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

    /// Adds a name; whether it was not there yet.
    pub(crate) fn insert(&mut self, name: HeaderName) -> bool {
        let before = self.0;
        self.0 |= 1 << name as u32;
        self.0 != before
    }

    /// Whether the name is there.
    pub(crate) const fn contains(self, name: HeaderName) -> bool {
        self.0 & 1 << name as u32 != 0
    }
}

/// A hash table over the names, made by the compiler: every line of every message asks it.
struct Buckets([HeaderName; 256]);

static BUCKETS: Buckets = Buckets::new(HeaderName::ALL);

impl Buckets {
    /// Spreads the names so that no two share a bucket, which the compiler checks. When a new name
    /// does, look for another odd factor.
    const FACTOR: u32 = 1_348_809;

    #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which would refuse")]
    const fn new(names: &[HeaderName]) -> Self {
        let mut buckets = [HeaderName::Other; 256];
        let mut at = 0;
        while at < names.len() {
            let bucket = Self::bucket(names[at].as_str().as_bytes()) as usize;
            assert!(matches!(buckets[bucket], HeaderName::Other), "two names in one bucket");
            buckets[bucket] = names[at];
            at += 1;
        }
        Self(buckets)
    }

    /// Length, first and last letter tell all names apart.
    const fn bucket(name: &[u8]) -> u8 {
        let [first, .., last] = name else { return 0 };
        let letters = u32::from_le_bytes([*first | 0x20, *last | 0x20, name.len() as u8, 0]);
        (letters.wrapping_mul(Self::FACTOR) >> 24) as u8
    }

    /// The only name that `name` can be.
    #[expect(clippy::indexing_slicing, reason = "an octet is below 256")]
    fn at(&self, name: &[u8]) -> HeaderName {
        self.0[usize::from(Self::bucket(name))]
    }
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
}
