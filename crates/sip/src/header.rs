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

mod call_id;
mod cseq;
mod from;
mod via;

pub use call_id::CallId;
pub use cseq::CSeq;
pub use encode::{Encode, Sink};
pub use from::{From, To};
pub use name_addr::NameAddr;
pub use params::{PARAMS_MAX, Param, Params, Value};
pub use via::{MAGIC_COOKIE, Via};

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
