//! `application/im-iscomposing+xml`: somebody is writing a message (RFC 3994).

use std::fmt;
use std::time::Duration;

use crate::xml::{DECLARATION, Limits, Namespace, XmlError, element};

/// The media type (§8.1).
pub const MEDIA_TYPE: &str = "application/im-iscomposing+xml";

/// The namespace of the elements (§6).
const NAMESPACE: Namespace = Namespace("urn:ietf:params:xml:ns:im-iscomposing");

/// How long `active` lasts at the receiver when the sender does not tell (§3.3).
pub const DEFAULT_REFRESH: Duration = Duration::from_secs(120);

/// How much is read. Local limit: a document is some 300 octets, extensions included, and has 13
/// elements and texts.
const LIMITS: Limits = Limits { bytes_max: 16 * 1024, nodes_max: 256 };

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
    /// It is no such document; one longer than 16 KiB or with more than 256 nodes is too large.
    #[error(transparent)]
    Xml(#[from] XmlError),
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
        let document = NAMESPACE.parse(octets, LIMITS, "isComposing")?;
        let token = |name| NAMESPACE.token(document.root_element(), name);
        let state = match token("state").ok_or(IsComposingError::State)? {
            "active" => State::Active,
            "idle" => State::Idle,
            other => State::Other(other.to_owned()),
        };
        let refresh = token("refresh").map(seconds).transpose()?;
        Ok(Self {
            state,
            last_active: token("lastactive").map(str::to_owned),
            content_type: token("contenttype").map(str::to_owned),
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
        write!(f, "{DECLARATION}<isComposing xmlns=\"{}\">\r\n", NAMESPACE.0)?;
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn document(inner: &str) -> String {
        format!("<isComposing xmlns='{}' xmlns:x='urn:x'>{inner}</isComposing>", NAMESPACE.0)
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

    // Covers: CLI-026
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
            (String::new(),                          IsComposingError::Xml(XmlError::NotWellFormed)),
            (bomb,                                   IsComposingError::Xml(XmlError::NotWellFormed)),
            ("<isComposing/>".to_owned(),            IsComposingError::Xml(XmlError::Root)),
            (document(""),                           IsComposingError::State),
            (document("<state> </state>"),           IsComposingError::State),
            (document("<x:state>idle</x:state>"),    IsComposingError::State),
            (active("<refresh>0</refresh>"),         IsComposingError::Refresh),
            (active("<refresh>-1</refresh>"),        IsComposingError::Refresh),
            (active("<refresh>++1</refresh>"),       IsComposingError::Refresh),
            (active("<refresh>1.5</refresh>"),       IsComposingError::Refresh),
            (active("<refresh>99999999999999999999</refresh>"), IsComposingError::Refresh),
            (nodes,                                  IsComposingError::Xml(XmlError::TooLarge)),
            (large,                                  IsComposingError::Xml(XmlError::TooLarge)),
        ];
        for (octets, error) in table {
            assert_eq!(IsComposing::parse(octets.as_bytes()), Err(error), "{octets:.200}");
        }
        assert_eq!(
            IsComposing::parse(b"<a>\xff</a>"),
            Err(IsComposingError::Xml(XmlError::NotUtf8))
        );
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
