//! Typed header fields: one type for each, reading one raw value and borrowing from it.
//!
//! A value is what stands after the colon, folding and all; a header that is a list
//! ([`ListHeader`]) is cut with [`crate::grammar::split_list`] first and each element is parsed
//! alone. Every type is [`Encode`] (octet for octet) and `Display`; they differ only where a
//! quoted string or comment holds octets that are not UTF-8: `Display` shows U+FFFD there.

#[macro_use]
mod encode;
mod name_addr;
mod params;

mod accept_contact;
mod auth;
mod call_id;
mod contact;
mod content_type;
mod count;
mod cseq;
mod date;
mod event;
mod expires;
mod feature;
mod from;
mod identity;
mod p_associated_uri;
mod p_charging;
mod p_served_user;
mod privacy;
mod q_value;
mod rack;
mod reason;
mod refer;
mod request_disposition;
mod route;
mod text;
mod token;
mod token_params;
mod via;

pub use accept_contact::{AcceptContact, RejectContact, caller_preference};
pub use auth::{
    AuthParams, Authorization, DigestResponse, ProxyAuthenticate, ProxyAuthorization,
    WwwAuthenticate,
};
pub use call_id::CallId;
pub use contact::Contact;
pub use content_type::{Accept, ContentType, MediaType};
pub use count::{ContentLength, MaxBreadth, MaxForwards, RSeq};
pub use cseq::CSeq;
pub use date::Date;
pub use encode::{Encode, Sink};
pub use event::{AllowEvents, Event, EventType, SubscriptionState, Substate};
pub use expires::{Expires, MinExpires, MinSe, Refresher, RetryAfter, SessionExpires};
pub use feature::{
    Feature, Features, SIP_IM, SIP_IM_LARGE_MESSAGE, SIP_IM_SYSTEM_MESSAGE, TERMS_MAX, Term,
};
pub use from::{From, To};
pub use identity::{PAssertedIdentity, PCalledPartyId, PPreferredIdentity};
pub use name_addr::NameAddr;
pub use p_associated_uri::PAssociatedUri;
pub use p_charging::{PChargingFunctionAddresses, PChargingVector};
pub use p_served_user::{PServedUser, SessionCase};
pub use params::{PARAMS_MAX, Param, Params, Value};
pub use privacy::{Privacy, PrivacyValue};
pub use q_value::QValue;
pub use rack::{RAck, Timestamp};
pub use reason::{Reason, Warning};
pub use refer::{ReferTo, ReferredBy, Replaces};
pub use request_disposition::RequestDisposition;
pub use route::{Path, RecordRoute, Route, ServiceRoute};
pub use text::{Release, Server, Subject, Text, UserAgent};
pub use token::{Allow, ProxyRequire, Require, SipETag, SipIfMatch, Supported, Token, Unsupported};
pub use token_params::{
    AcceptEncoding, AcceptLanguage, AnswerMode, ContentDisposition, ContentEncoding, ReferSub,
    TokenParams,
};
pub use via::Via;

use crate::HeaderName;
use crate::uri::UriError;

/// One typed header.
pub trait Header<'a>: Encode + Sized {
    /// The name of the field it is the value of.
    const NAME: HeaderName;

    /// Reads one value: of a [`ListHeader`] one element, of every other header the whole field.
    fn parse(value: &'a [u8]) -> Result<Self, HeaderError>;
}

/// A header whose value is one element of a comma-separated list. The list of a message is the
/// elements of all fields of that name, in order (RFC 3261 §7.3.1).
pub trait ListHeader<'a>: Header<'a> {}

/// Which header of a message was refused, and why: the reason phrase of a 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad {name}: {fault}")]
pub struct HeaderError {
    /// The header.
    pub name: HeaderName,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a header value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Nothing where the grammar wants something; also an empty element of a list.
    #[error("empty value")]
    Empty,
    /// The value has not the shape of the header's grammar.
    #[error("syntax")]
    Syntax,
    /// A display name is neither tokens nor one whole quoted string.
    #[error("display name")]
    DisplayName,
    /// The URI is not one.
    #[error(transparent)]
    Uri(#[from] UriError),
    /// A parameter is empty, misshapen, or has a value it must not have.
    #[error("parameter")]
    Parameter,
    /// A parameter that may stand once stands twice.
    #[error("repeated parameter")]
    Repeated,
    /// A parameter that must stand is missing.
    #[error("missing parameter")]
    Missing,
    /// More parameters than [`PARAMS_MAX`].
    #[error("too many parameters")]
    TooMany,
    /// A number is not made of digits.
    #[error("not a number")]
    Number,
    /// A number is outside its range.
    #[error("number out of range")]
    Range,
    /// The request method is not a token.
    #[error("method")]
    Method,
    /// Not an RFC 1123 date in GMT.
    #[error("not a GMT date")]
    Date,
}

impl Fault {
    /// The fault, in the header of that name.
    pub fn at(self, name: HeaderName) -> HeaderError {
        HeaderError { name, fault: self }
    }
}

/// Gives every type of header to a macro.
#[cfg(test)]
macro_rules! every_header {
    ($then:ident) => {
        $then! {
            Accept AcceptContact AcceptEncoding AcceptLanguage Allow AllowEvents AnswerMode
            Authorization CSeq CallId Contact ContentDisposition ContentEncoding ContentLength
            ContentType Date Event Expires From MaxBreadth MaxForwards MinExpires MinSe
            PAssertedIdentity PAssociatedUri PCalledPartyId PChargingFunctionAddresses
            PChargingVector PPreferredIdentity PServedUser Path Privacy ProxyAuthenticate
            ProxyAuthorization ProxyRequire RAck RSeq Reason RecordRoute ReferSub ReferTo
            ReferredBy RejectContact Replaces RequestDisposition Require RetryAfter Route Server
            ServiceRoute SessionExpires SipETag SipIfMatch Subject SubscriptionState Supported
            Timestamp To Unsupported UserAgent Via Warning WwwAuthenticate
        }
    };
}
#[cfg(test)]
pub(crate) use every_header;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Values of many headers; cut and joined at random they reach deep into every parser.
    const SEEDS: [&str; 24] = [
        "\"A. G. Bell\" <sip:agb@bell-telephone.com;lr> ;tag=a48s",
        "<sip:alice@ims.test, tel:+15550000001>",
        "<tel:+1-201;ext=1>;q=0.7;expires=3600",
        "SIP/2.0/UDP [2001:db8::9:1]:5060;received=192.0.2.1;rport;branch=z9hG4bKas3",
        "*;+g.oma.sip-im;audio=\"!TRUE,#>=4\";require;explicit",
        "4711 INVITE",
        "776656 1 INVITE",
        "application/sdp;level=\"1\"",
        "presence.winfo;id=1",
        "terminated;reason=noresource;retry-after=9",
        "Sat, 13 Nov 2010 23:29:00 GMT",
        "id;header;critical",
        "<sip:user@example.com>;sescase=orig;regstate=reg",
        "icid-value=\"a=b\";orig-ioi=home1.net",
        "ccf=aaa://192.0.8.1;ecf=x",
        "SIP;cause=487;text=\"Request \\\"terminated\\\"\"",
        "307 isi.edu:5060 \"not understood\"",
        "Digest realm=\"a, b\",nonce=x,qop=\"auth\"",
        "IM-client/OMA1.0 (comment (nested)) [x/y]",
        "425723@127.0.0.1;to-tag=12345;from-tag=54321;early-only",
        "18000 (at (lunch));duration=3600",
        "1800;refresher=uac",
        "54.21 0.05",
        "\r\n no-queue",
    ];

    /// A value made of pieces of seeds and arbitrary octets.
    fn soup() -> impl Strategy<Value = Vec<u8>> {
        let piece =
            (0..SEEDS.len(), 0.0..1.0, 0.0..1.0).prop_map(|(seed, from, to): (_, f64, f64)| {
                let seed = SEEDS[seed].as_bytes();
                let cut = |share: f64| (share * seed.len() as f64) as usize;
                seed[cut(from.min(to))..cut(from.max(to))].to_vec()
            });
        let whole = (0..SEEDS.len()).prop_map(|seed| SEEDS[seed].as_bytes().to_vec());
        let noise = prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..3),
            "[;,=<>\"\\\\ ]{1,3}".prop_map(String::into_bytes),
        ];
        let part = prop_oneof![2 => whole, 3 => piece, 2 => noise];
        proptest::collection::vec(part, 0..4).prop_map(|parts| parts.concat())
    }

    /// What holds for every header: nothing panics, an error names the header, and what was
    /// accepted is read as the same when it is written, octet for octet.
    macro_rules! laws {
        ($($type:ident)*) => {
            proptest! {
                $(
                    #[test]
                    #[expect(non_snake_case, reason = "named after the header")]
                    fn $type(value in soup()) {
                        match super::$type::parse(&value) {
                            Err(error) => {
                                prop_assert_eq!(error.name, HeaderName::$type);
                                let start = format!("bad {}: ", error.name);
                                prop_assert!(error.to_string().starts_with(&start));
                            }
                            Ok(read) => {
                                let mut written = Vec::new();
                                read.write_to(&mut written);
                                let again = super::$type::parse(&written);
                                prop_assert!(again.is_ok(), "{:?}: {}", again, read);
                                let mut twice = Vec::new();
                                again.unwrap().write_to(&mut twice);
                                prop_assert_eq!(&twice, &written);
                                prop_assert_eq!(
                                    read.to_string(),
                                    String::from_utf8_lossy(&written),
                                );
                            }
                        }
                    }
                )*
            }
        };
    }

    super::every_header! { laws }
}
