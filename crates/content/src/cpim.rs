//! `message/cpim`: an instant message with its metadata (RFC 3862).
//!
//! A [`Cpim`] is an index over the octets it was read from; nothing is copied but the MIME header
//! fields, and [`Cpim::octets`] is what goes on, octet for octet (§2.2: message processors
//! preserve all octets of all headers and their order).
//!
//! Deviation: §2 separates the message headers from the MIME header fields by an empty line, and
//! every example of RFC 5438 leaves it out. A header named `Content-...` without a prefix, or
//! `MIME-Version`, therefore begins the MIME header fields.

mod address;
mod builder;
mod escape;
mod line;
mod reader;

use std::borrow::Cow;
use std::ops::Range;
use std::str;

use bytes::Bytes;
use memchr::memchr;

pub use self::address::Address;
pub use self::builder::{BuildError, Builder};
pub use self::escape::{escape, unescape};
use self::line::{Line, begins_mime, is_name, split_name, within};
pub use self::reader::{Envelope, Reader};
use crate::{MimeError, MimeHeaders};

/// The namespace of the headers RFC 3862 §4 defines, and of names without prefix (§6).
pub const CORE_NAMESPACE: &str = "urn:ietf:params:cpim-headers:";

/// The core headers (§4); a message may always require them.
const CORE_NAMES: [&str; 7] = ["From", "To", "cc", "DateTime", "Subject", "NS", "Require"];

/// Bounds on what is read. Local limits: §2.2 asks for no limit on the length of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Message headers. Default 64. More are refused.
    pub headers_max: usize,
    /// Octets of all message headers, and of the MIME header fields. Default 16 KiB each. More are
    /// refused.
    pub header_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { headers_max: 64, header_bytes_max: 16 * 1024 }
    }
}

/// Why a body is not `message/cpim`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CpimError {
    /// A line is not `[prefix "."] name ":" value`.
    #[error("message header line is not a header")]
    NotAHeader,
    /// A message header has a control character (§2.2).
    #[error("message header has a control character")]
    Control,
    /// A message header is not UTF-8 (§3).
    #[error("message header is not UTF-8")]
    NotUtf8,
    /// An `NS` header is not `[prefix] "<" URI ">"` (§4.6).
    #[error("NS header is not a prefix and a URI")]
    Namespace,
    /// More headers or octets than [`Limits`] allow.
    #[error("message headers are too many or too long")]
    TooLong,
    /// The MIME header fields of the content are wrong.
    #[error("content: {0}")]
    Content(#[from] MimeError),
}

/// A header or feature that a message requires and we do not know (§3.5, §4.7).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("message requires {name} of namespace {}", namespace.as_deref().unwrap_or("unknown"))]
pub struct NotUnderstood {
    /// The URI of the namespace; `None` when its prefix was not declared.
    pub namespace: Option<String>,
    /// The name within the namespace.
    pub name: String,
}

/// A `message/cpim` body, indexed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cpim {
    octets: Bytes,
    fields: Vec<Field>,
    bindings: Vec<Binding>,
    headers_end: usize,
    mime: MimeHeaders,
    content: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    line: Range<usize>,
    prefix: Range<usize>,
    name: Range<usize>,
    parameters: Range<usize>,
    value: Range<usize>,
    namespace: Namespace,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Namespace {
    Core,
    Declared(Range<usize>),
    Unbound,
}

/// `prefix` means `uri` from header number `from` on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Binding {
    from: usize,
    prefix: Range<usize>,
    uri: Range<usize>,
}

/// One message header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The URI of its namespace; `None` when its prefix was not declared before it (§3.4).
    pub namespace: Option<&'a str>,
    /// The prefix as written; empty without one.
    pub prefix: &'a str,
    /// Its name within the namespace. Case matters (§3).
    pub name: &'a str,
    /// Its parameters as written, `;lang=fr`; empty without any.
    pub parameters: &'a str,
    /// Its value as written, escapes included.
    pub value: &'a str,
}

impl<'a> Header<'a> {
    /// The value with escapes resolved (§2.3).
    pub fn text(&self) -> Cow<'a, str> {
        unescape(self.value)
    }

    /// The language of the value (§3.3, `;lang=`); `None` is `i-default`.
    pub fn language(&self) -> Option<&'a str> {
        self.parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("lang="))
    }

    fn is(&self, namespace: &str, name: &str) -> bool {
        self.name == name && self.namespace == Some(namespace)
    }
}

impl Cpim {
    /// Reads a body; `Require` is looked at by [`Cpim::check_required`], not here.
    pub fn parse(octets: &Bytes, limits: &Limits) -> Result<Self, CpimError> {
        let mut read = Self {
            octets: octets.clone(),
            fields: Vec::new(),
            bindings: Vec::new(),
            headers_end: 0,
            mime: MimeHeaders::default(),
            content: Bytes::new(),
        };
        let mut at = 0;
        let content = loop {
            let rest = octets.get(at..).unwrap_or_default();
            let end = memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
            let line = rest.get(..end).unwrap_or_default();
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            read.headers_end = at;
            if line.is_empty() {
                break at + end;
            }
            if begins_mime(line) {
                break at;
            }
            if read.fields.len() == limits.headers_max || at + end > limits.header_bytes_max {
                return Err(CpimError::TooLong);
            }
            read.push(at..at + end, line)?;
            at += end;
        };
        let (mime, content) =
            MimeHeaders::parse(&octets.slice(content..), limits.header_bytes_max)?;
        read.mime = mime;
        read.content = content;
        Ok(read)
    }

    /// The whole body as it was read.
    pub fn octets(&self) -> &Bytes {
        &self.octets
    }

    /// The MIME header fields of the content (§2.4).
    pub fn mime(&self) -> &MimeHeaders {
        &self.mime
    }

    /// The content, octet for octet.
    pub fn content(&self) -> &Bytes {
        &self.content
    }

    /// Every message header, known or not, in order.
    pub fn headers(&self) -> impl Iterator<Item = Header<'_>> {
        self.fields.iter().map(|field| self.header(field))
    }

    /// The message headers called `name` in the namespace with the URI `namespace`, in order.
    pub fn named<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> impl Iterator<Item = Header<'a>> {
        self.headers().filter(move |header| header.is(namespace, name))
    }

    /// The sender (§4.1); `None` without the header, or when its value is no address.
    pub fn from(&self) -> Option<Address<'_>> {
        self.addresses("From").next()
    }

    /// The recipients (§4.2). Values that are no address are passed over.
    pub fn to(&self) -> impl Iterator<Item = Address<'_>> {
        self.addresses("To")
    }

    /// The recipients of courtesy copies (§4.3). Values that are no address are passed over.
    pub fn cc(&self) -> impl Iterator<Item = Address<'_>> {
        self.addresses("cc")
    }

    /// When the message was sent, as written (§4.4, RFC 3339).
    pub fn date_time(&self) -> Option<&str> {
        self.named(CORE_NAMESPACE, "DateTime").next().map(|header| header.value)
    }

    /// What the message is about, once for each language (§4.5).
    pub fn subjects(&self) -> impl Iterator<Item = Header<'_>> {
        self.named(CORE_NAMESPACE, "Subject")
    }

    /// Checks that everything the message requires is understood (§3.5).
    ///
    /// The core headers always are; `understood` holds what else is, as namespace URI and name.
    /// This is for who consumes the message: one that only passes it on does not ask.
    pub fn check_required(&self, understood: &[(&str, &str)]) -> Result<(), NotUnderstood> {
        for (index, field) in self.fields.iter().enumerate() {
            let header = self.header(field);
            if !header.is(CORE_NAMESPACE, "Require") {
                continue;
            }
            for feature in header.value.split(',') {
                let (prefix, name) = split_name(feature.trim());
                let namespace = self.uri(&self.resolve(prefix, index));
                let known = namespace.is_some_and(|uri| {
                    understood.contains(&(uri, name))
                        || (uri == CORE_NAMESPACE && CORE_NAMES.contains(&name))
                });
                if !known {
                    return Err(NotUnderstood {
                        namespace: namespace.map(str::to_owned),
                        name: name.to_owned(),
                    });
                }
            }
        }
        Ok(())
    }

    /// The prefix that means `namespace` at the end of the headers: empty when it is the default,
    /// `None` when no prefix means it.
    pub fn prefix_of(&self, namespace: &str) -> Option<&str> {
        let latest_first = self.bindings.iter().rev();
        latest_first
            .map(|binding| self.slice(&binding.prefix))
            .find(|prefix| self.uri(&self.resolve(prefix, self.fields.len())) == Some(namespace))
    }

    /// Where the message headers end, before the empty line or the MIME header fields.
    pub(crate) fn headers_end(&self) -> usize {
        self.headers_end
    }

    /// The octets of the first header called `name`, its line end included.
    pub(crate) fn line(&self, namespace: &str, name: &str) -> Option<Range<usize>> {
        let mut fields = self.fields.iter();
        fields.find(|field| self.header(field).is(namespace, name)).map(|field| field.line.clone())
    }

    fn addresses<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Address<'a>> {
        self.named(CORE_NAMESPACE, name).filter_map(|header| Address::parse(header.value))
    }

    fn header<'a>(&'a self, field: &'a Field) -> Header<'a> {
        Header {
            namespace: self.uri(&field.namespace),
            prefix: self.slice(&field.prefix),
            name: self.slice(&field.name),
            parameters: self.slice(&field.parameters),
            value: self.slice(&field.value),
        }
    }

    fn push(&mut self, line: Range<usize>, octets: &[u8]) -> Result<(), CpimError> {
        let read = Line::parse(octets)?;
        let prefix = str::from_utf8(read.prefix).map_err(|_| CpimError::NotUtf8)?;
        let namespace = self.resolve(prefix, self.fields.len());
        let range = |part: &[u8]| within(octets, part, line.start);
        let field = Field {
            prefix: range(read.prefix),
            name: range(read.name),
            parameters: range(read.parameters),
            value: range(read.value.as_bytes()),
            namespace,
            line: line.clone(),
        };
        let declares = read.is("NS") && (!read.is_prefixed() || field.namespace_is_core(self));
        self.fields.push(field);
        if declares {
            let (prefix, uri) = read.declaration()?;
            let from = self.fields.len();
            self.bindings.push(Binding { from, prefix: range(prefix), uri: range(uri) });
        }
        Ok(())
    }

    /// What `prefix` means for header number `index`: the latest declaration before it.
    fn resolve(&self, prefix: &str, index: usize) -> Namespace {
        let before = self.bindings.iter().rev().filter(|binding| binding.from <= index);
        for binding in before {
            if self.slice(&binding.prefix) == prefix {
                return Namespace::Declared(binding.uri.clone());
            }
        }
        if prefix.is_empty() { Namespace::Core } else { Namespace::Unbound }
    }

    fn uri<'a>(&'a self, namespace: &Namespace) -> Option<&'a str> {
        match namespace {
            Namespace::Core => Some(CORE_NAMESPACE),
            Namespace::Declared(uri) => Some(self.slice(uri)),
            Namespace::Unbound => None,
        }
    }

    fn slice(&self, range: &Range<usize>) -> &str {
        let octets = self.octets.get(range.clone()).unwrap_or_default();
        str::from_utf8(octets).expect("ranges are of whole characters of a line that was checked")
    }
}

impl Field {
    fn namespace_is_core(&self, cpim: &Cpim) -> bool {
        cpim.uri(&self.namespace) == Some(CORE_NAMESPACE)
    }
}

#[cfg(test)]
mod tests;
