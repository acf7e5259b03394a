//! `application/im-iscomposing+xml`: somebody is writing a message (RFC 3994).

use std::fmt;
use std::str;
use std::time::Duration;

use roxmltree::{Document, Node, ParsingOptions};

use crate::xml::element;

/// The media type (§8.1).
pub const MEDIA_TYPE: &str = "application/im-iscomposing+xml";

/// The namespace of the elements (§6).
const NAMESPACE: &str = "urn:ietf:params:xml:ns:im-iscomposing";

/// How long `active` lasts at the receiver when the sender does not tell (§3.3).
pub const DEFAULT_REFRESH: Duration = Duration::from_secs(120);

/// Longest document that is read. Local limit: a document is some 300 octets, extensions included.
const DOCUMENT_BYTES_MAX: usize = 16 * 1024;

/// Most elements, texts and comments that are read. Local limit: a document has 13.
const NODES_MAX: u32 = 256;

/// Whether its sender is composing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsComposing {
    /// What the sender is doing.
    pub state: State,
    /// When the user last wrote something, an XML `dateTime` as written (§3.5).
    pub last_active: Option<String>,
    /// What is being composed: a media type, or only its first part (§3.5).
    pub content_type: Option<String>,
    /// When to expect the next status: whole seconds, one or more (§3.2).
    pub refresh: Option<Duration>,
}

/// What the sender of a status is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Composing.
    Active,
    /// Not composing.
    Idle,
    /// A token of an extension, which counts as idle (§3.5).
    Other(String),
}

/// Why a document was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IsComposingError {
    /// The document is longer than 16 KiB or has more than 256 nodes.
    #[error("document is too large")]
    TooLarge,
    /// The document is not UTF-8 (§6).
    #[error("document is not UTF-8")]
    NotUtf8,
    /// The document is not well-formed XML without a document type declaration.
    #[error("document is not well-formed XML")]
    Xml,
    /// The root element is not `isComposing`.
    #[error("root element is not isComposing")]
    Root,
    /// `state` is missing or empty.
    #[error("state is missing")]
    State,
    /// `refresh` is no positive number of seconds.
    #[error("refresh is no positive number")]
    Refresh,
}

impl State {
    /// Whether the sender is composing.
    pub fn is_active(&self) -> bool {
        *self == Self::Active
    }

    /// The token as written.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Active => "active",
            Self::Idle => "idle",
            Self::Other(token) => token,
        }
    }
}

impl IsComposing {
    /// A status without anything optional.
    pub fn new(state: State) -> Self {
        Self { state, last_active: None, content_type: None, refresh: None }
    }

    /// Reads a document. Elements of other namespaces are passed over (§3.5).
    ///
    /// # Errors
    /// [`IsComposingError`]; a `refresh` longer than 64 bits of seconds is one.
    pub fn parse(octets: &[u8]) -> Result<Self, IsComposingError> {
        if octets.len() > DOCUMENT_BYTES_MAX {
            return Err(IsComposingError::TooLarge);
        }
        let text = str::from_utf8(octets).map_err(|_| IsComposingError::NotUtf8)?;
        let text = text.trim_start_matches('\u{feff}').trim();
        let options = ParsingOptions { nodes_limit: NODES_MAX, ..ParsingOptions::default() };
        let document =
            Document::parse_with_options(text, options).map_err(|error| match error {
                roxmltree::Error::NodesLimitReached => IsComposingError::TooLarge,
                _ => IsComposingError::Xml,
            })?;
        let root = document.root_element();
        if !root.has_tag_name((NAMESPACE, "isComposing")) {
            return Err(IsComposingError::Root);
        }
        let state = match token(root, "state").ok_or(IsComposingError::State)? {
            "active" => State::Active,
            "idle" => State::Idle,
            other => State::Other(other.to_owned()),
        };
        let refresh = token(root, "refresh").map(seconds).transpose()?;
        Ok(Self {
            state,
            last_active: token(root, "lastactive").map(str::to_owned),
            content_type: token(root, "contenttype").map(str::to_owned),
            refresh,
        })
    }

    /// How long the sender counts as composing without another status (§3.3); zero when it is not.
    pub fn lasts(&self) -> Duration {
        match self.state {
            State::Active => self.refresh.unwrap_or(DEFAULT_REFRESH),
            State::Idle | State::Other(_) => Duration::ZERO,
        }
    }
}

/// Writes the document, its elements in the order of the schema (§6.1); a refresh is written in
/// whole seconds, and one below a second not at all.
impl fmt::Display for IsComposing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n")?;
        write!(f, "<isComposing xmlns=\"{NAMESPACE}\">\r\n")?;
        element(f, "state", self.state.as_str())?;
        for (name, value) in
            [("lastactive", &self.last_active), ("contenttype", &self.content_type)]
        {
            if let Some(value) = value {
                element(f, name, value)?;
            }
        }
        if let Some(seconds) = self.refresh.map(|refresh| refresh.as_secs()).filter(|s| *s > 0) {
            element(f, "refresh", &seconds.to_string())?;
        }
        f.write_str("</isComposing>\r\n")
    }
}

/// An XML `positiveInteger`, which may have a plus and leading zeros.
fn seconds(text: &str) -> Result<Duration, IsComposingError> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let number = digits.bytes().all(|octet| octet.is_ascii_digit());
    match digits.parse() {
        Ok(seconds) if number && seconds > 0 => Ok(Duration::from_secs(seconds)),
        _ => Err(IsComposingError::Refresh),
    }
}

/// The text of a child as an XML token: blanks around it do not count; `None` when empty.
fn token<'a>(parent: Node<'a, '_>, name: &str) -> Option<&'a str> {
    let child = parent.children().find(|node| node.has_tag_name((NAMESPACE, name)))?;
    let text = child.text()?.trim();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn document(inner: &str) -> String {
        format!("<isComposing xmlns='{NAMESPACE}' xmlns:x='urn:x'>{inner}</isComposing>")
    }

    #[test]
    fn reads_the_examples_of_the_rfc() {
        let active = IsComposing {
            content_type: Some("text/plain".to_owned()),
            refresh: Some(Duration::from_secs(90)),
            ..IsComposing::new(State::Active)
        };
        let idle = IsComposing {
            last_active: Some("2003-01-27T10:43:00Z".to_owned()),
            content_type: Some("audio".to_owned()),
            ..IsComposing::new(State::Idle)
        };
        let first = include_bytes!("../testdata/iscomposing/rfc3994-01.xml");
        let second = include_bytes!("../testdata/iscomposing/rfc3994-02.xml");
        assert_eq!(IsComposing::parse(first), Ok(active));
        assert_eq!(IsComposing::parse(second), Ok(idle));
    }

    #[test]
    fn writes_in_the_order_of_the_schema() {
        let written = IsComposing {
            last_active: Some("2003-01-27T10:43:00Z".to_owned()),
            content_type: Some("text/<&>".to_owned()),
            refresh: Some(Duration::from_millis(90_500)),
            ..IsComposing::new(State::Active)
        };
        let expect = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
            <isComposing xmlns=\"urn:ietf:params:xml:ns:im-iscomposing\">\r\n  \
            <state>active</state>\r\n  <lastactive>2003-01-27T10:43:00Z</lastactive>\r\n  \
            <contenttype>text/&lt;&amp;&gt;</contenttype>\r\n  <refresh>90</refresh>\r\n\
            </isComposing>\r\n";
        assert_eq!(written.to_string(), expect);
        let short = IsComposing {
            refresh: Some(Duration::from_millis(999)),
            ..IsComposing::new(State::Idle)
        };
        assert!(!short.to_string().contains("refresh"));
    }

    #[test]
    fn how_long_it_lasts() {
        #[rustfmt::skip]
        let table = [
            ("<state>active</state><refresh>60</refresh>",      60),
            ("<state> active\n</state><refresh>+060</refresh>", 60),
            ("<state>active</state>",                           120),
            ("<state>idle</state><refresh>60</refresh>",        0),
            ("<state>thinking</state><refresh>60</refresh>",    0), // §3.5
            ("<state>ACTIVE</state>",                           0),
            ("<x:a><state>idle</state></x:a><state>active</state>", 120),
        ];
        for (inner, lasts) in table {
            let read = IsComposing::parse(document(inner).as_bytes()).unwrap();
            assert_eq!(read.lasts(), Duration::from_secs(lasts), "{inner}");
            assert_eq!(read.state.is_active(), lasts > 0, "{inner}");
        }
    }

    #[test]
    fn refuses() {
        let active = |more: &str| document(&format!("<state>active</state>{more}"));
        let nodes = active(&"<x:a/>".repeat(300));
        let large = active(&" ".repeat(16 * 1024));
        let bomb = format!("<!DOCTYPE a [<!ENTITY b 'c'>]>{}", active(""));
        #[rustfmt::skip]
        let table = [
            (String::new(),                          IsComposingError::Xml),
            (bomb,                                   IsComposingError::Xml),
            ("<isComposing/>".to_owned(),            IsComposingError::Root),
            (document(""),                           IsComposingError::State),
            (document("<state> </state>"),           IsComposingError::State),
            (document("<x:state>idle</x:state>"),    IsComposingError::State),
            (active("<refresh>0</refresh>"),         IsComposingError::Refresh),
            (active("<refresh>-1</refresh>"),        IsComposingError::Refresh),
            (active("<refresh>++1</refresh>"),       IsComposingError::Refresh),
            (active("<refresh>1.5</refresh>"),       IsComposingError::Refresh),
            (active("<refresh>99999999999999999999</refresh>"), IsComposingError::Refresh),
            (nodes,                                  IsComposingError::TooLarge),
            (large,                                  IsComposingError::TooLarge),
        ];
        for (octets, error) in table {
            assert_eq!(IsComposing::parse(octets.as_bytes()), Err(error), "{octets:.200}");
        }
        assert_eq!(IsComposing::parse(b"<a>\xff</a>"), Err(IsComposingError::NotUtf8));
    }

    proptest! {
        #[test]
        fn display_then_parse_is_identity(
            state in "[a-z<&]{1,8}", last_active in prop::option::of("[!-~]{1,20}"),
            content_type in prop::option::of("[!-~]{1,20}"), refresh in prop::option::of(1..=u64::MAX),
        ) {
            let state = match state.as_str() {
                "active" => State::Active,
                "idle" => State::Idle,
                _ => State::Other(state),
            };
            let refresh = refresh.map(Duration::from_secs);
            let written = IsComposing { state, last_active, content_type, refresh };
            prop_assert_eq!(IsComposing::parse(written.to_string().as_bytes()), Ok(written));
        }

        #[test]
        fn never_panics(octets: Vec<u8>, at in 0_usize..300, octet: u8) {
            let _ = IsComposing::parse(&octets);
            let mut octets = IsComposing::new(State::Active).to_string().into_bytes();
            if let Some(place) = octets.get_mut(at) {
                *place = octet;
            }
            let _ = IsComposing::parse(&octets);
        }
    }
}
