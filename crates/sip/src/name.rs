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
                let mut link = BUCKETS.first_of(name);
                while let Some(known) = link.checked_sub(1).and_then(|at| Self::ALL.get(at)) {
                    let text = known.as_str().as_bytes();
                    // Nearly always it is written as the RFCs write it.
                    if text == name || text.eq_ignore_ascii_case(name) {
                        return *known;
                    }
                    link = BUCKETS.after(link);
                }
                Self::Other
            }

            /// The full name as it is written; empty for [`HeaderName::Other`].
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other => "",
                }
            }
        }
    };
}

/// A hash table over the names, made by the compiler: every line of every message asks it.
///
/// Links are positions in [`HeaderName::ALL`] plus one; zero ends a chain.
struct Buckets {
    first: [u8; 256],
    next: [u8; 128],
}

static BUCKETS: Buckets = Buckets::new(HeaderName::ALL);

impl Buckets {
    #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which would refuse")]
    const fn new(names: &[HeaderName]) -> Self {
        let mut buckets = Self { first: [0; 256], next: [0; 128] };
        let mut at = 0;
        while at < names.len() {
            let bucket = Self::bucket(names[at].as_str().as_bytes());
            buckets.next[at] = buckets.first[bucket];
            at += 1;
            buckets.first[bucket] = at as u8;
        }
        buckets
    }

    /// Length, first and last letter tell nearly all names apart.
    const fn bucket(name: &[u8]) -> usize {
        let (Some(first), Some(last)) = (name.first(), name.last()) else { return 0 };
        let spread = (name.len() as u8).wrapping_mul(37);
        let letters = (*first | 0x20).wrapping_mul(11) ^ (*last | 0x20).wrapping_mul(5);
        (spread ^ letters) as usize
    }

    fn first_of(&self, name: &[u8]) -> usize {
        self.first.get(Self::bucket(name)).map_or(0, |link| usize::from(*link))
    }

    fn after(&self, link: usize) -> usize {
        let next = link.checked_sub(1).and_then(|at| self.next.get(at));
        next.map_or(0, |link| usize::from(*link))
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
