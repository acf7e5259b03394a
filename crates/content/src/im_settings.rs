//! The IM service settings that a user publishes, `application/vnd.oma.im.service-settings+xml`
//! (OMA-TS-SIMPLE_IM §7.2.3.16).
//!
//! A setting that a document leaves out stays what the operator provisioned.

use std::fmt;

use roxmltree::Node;

use crate::xml::{DECLARATION, Limits, Namespace, XmlError, text};

/// The media type.
pub const MEDIA_TYPE: &str = "application/vnd.oma.im.service-settings+xml";

/// The namespace of the elements.
const NAMESPACE: Namespace = Namespace("urn:oma:xml:im:service-settings");

/// How much is read. Local limit: a document is some 600 octets and has some 40 nodes.
const LIMITS: Limits = Limits { bytes_max: 16 * 1024, nodes_max: 512 };

/// The settings of one user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImSettings {
    /// The service they are of, such as `org.openmobilealliance:IM`.
    pub service_id: Option<String>,
    /// Whether he can be reached by IM at all.
    pub active: Option<bool>,
    /// What becomes of messages while he is away.
    pub offline_delivery: Option<OfflineDelivery>,
    /// Whether others see that he is there.
    pub vis_status: Option<VisStatus>,
    /// Whether sessions are kept in his history.
    pub session_history: Option<bool>,
    /// Whether pager-mode and large messages are kept in his history.
    pub pager_large_history: Option<bool>,
}

/// What becomes of messages while the user is away (`offline-delivery`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OfflineDelivery {
    /// They are kept until he asks for them.
    Store,
    /// They are kept, and sent when he comes back.
    Push,
    /// They are kept, and he is told of them when he comes back.
    Notify,
    /// They are refused.
    Reject,
}

/// Whether others see the user (`vis-status`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VisStatus {
    /// They do.
    Visible,
    /// They do not, but he takes part.
    Hidden,
    /// He counts as away.
    Offline,
}

/// Why a document was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImSettingsError {
    /// It is no such document; one longer than 16 KiB or with more than 512 nodes is too large.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// An element has a value that is none of its kind.
    #[error("{0} has a value that it cannot have")]
    Value(&'static str),
    /// An element is there twice.
    #[error("{0} is there twice")]
    Twice(&'static str),
}

impl OfflineDelivery {
    const ALL: [(Self, &str); 4] = [
        (Self::Store, "store"),
        (Self::Push, "push"),
        (Self::Notify, "notify"),
        (Self::Reject, "reject"),
    ];
}

impl VisStatus {
    const ALL: [(Self, &str); 3] =
        [(Self::Visible, "visible"), (Self::Hidden, "hidden"), (Self::Offline, "offline")];
}

const TRUTHS: [(bool, &str); 4] = [(true, "true"), (false, "false"), (true, "1"), (false, "0")];

impl ImSettings {
    /// Reads a document. Elements of other namespaces, and those not known, are passed over.
    ///
    /// # Errors
    /// [`ImSettingsError`].
    pub fn parse(octets: &[u8]) -> Result<Self, ImSettingsError> {
        let document = NAMESPACE.parse(octets, LIMITS, "im-settings")?;
        let root = document.root_element();
        Ok(Self {
            service_id: NAMESPACE.token(root, "service-id").map(str::to_owned),
            active: known(&[root], "active", &TRUTHS)?,
            offline_delivery: known(
                &groups(root, "deferred-settings"),
                "offline-delivery",
                &OfflineDelivery::ALL,
            )?,
            vis_status: known(&groups(root, "vis-settings"), "vis-status", &VisStatus::ALL)?,
            session_history: known(&history(root), "session-mode", &TRUTHS)?,
            pager_large_history: known(&history(root), "pager-large-mode", &TRUTHS)?,
        })
    }
}

/// Writes the document; a setting that is not there is left out.
impl fmt::Display for ImSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{DECLARATION}<im-settings xmlns=\"{}\">\r\n", NAMESPACE.0)?;
        if let Some(service) = &self.service_id {
            f.write_str("  <service-id>")?;
            text(f, service)?;
            f.write_str("</service-id>\r\n")?;
        }
        if let Some(active) = self.active {
            write!(f, "  <active>{active}</active>\r\n")?;
        }
        if let Some(delivery) = written(&OfflineDelivery::ALL, self.offline_delivery) {
            write!(f, "  <deferred-settings><offline-delivery>{delivery}</offline-delivery>")?;
            f.write_str("</deferred-settings>\r\n")?;
        }
        if let Some(status) = written(&VisStatus::ALL, self.vis_status) {
            write!(f, "  <vis-settings><vis-status>{status}</vis-status></vis-settings>\r\n")?;
        }
        let modes = [
            ("session-mode", self.session_history),
            ("pager-large-mode", self.pager_large_history),
        ];
        if modes.iter().any(|(_, mode)| mode.is_some()) {
            f.write_str("  <hist-settings>\r\n")?;
            for (name, mode) in modes {
                let Some(mode) = mode else { continue };
                write!(f, "    <hist-activation><{name}>{mode}</{name}></hist-activation>\r\n")?;
            }
            f.write_str("  </hist-settings>\r\n")?;
        }
        f.write_str("</im-settings>\r\n")
    }
}

fn groups<'a, 'i>(root: Node<'a, 'i>, name: &str) -> Vec<Node<'a, 'i>> {
    NAMESPACE.children(root, name).collect()
}

/// Each mode has a `hist-activation` of its own.
fn history<'a, 'i>(root: Node<'a, 'i>) -> Vec<Node<'a, 'i>> {
    let settings = NAMESPACE.children(root, "hist-settings");
    settings.flat_map(|settings| NAMESPACE.children(settings, "hist-activation")).collect()
}

/// The one value of the elements called `name` in `parents`.
fn known<T: Copy>(
    parents: &[Node<'_, '_>],
    name: &'static str,
    all: &[(T, &str)],
) -> Result<Option<T>, ImSettingsError> {
    let mut found = None;
    for node in parents.iter().flat_map(|parent| NAMESPACE.children(*parent, name)) {
        let text = node.text().unwrap_or_default().trim();
        let row = all.iter().find(|(_, known)| *known == text);
        let (value, _) = row.ok_or(ImSettingsError::Value(name))?;
        if found.replace(*value).is_some() {
            return Err(ImSettingsError::Twice(name));
        }
    }
    Ok(found)
}

fn written<T: PartialEq>(all: &[(T, &'static str)], value: Option<T>) -> Option<&'static str> {
    let value = value?;
    all.iter().find(|(known, _)| *known == value).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PUBLISHED: &str = include_str!("../testdata/im-settings/published.xml");

    fn parse(text: &str) -> Result<ImSettings, ImSettingsError> {
        ImSettings::parse(text.as_bytes())
    }

    fn document(inner: &str) -> String {
        format!("<im-settings xmlns='{}' xmlns:x='urn:x'>{inner}</im-settings>", NAMESPACE.0)
    }

    // Covers: PF-056
    #[test]
    fn settings_are_read_and_written() {
        let settings = ImSettings {
            service_id: Some("org.openmobilealliance:IM".to_owned()),
            active: Some(true),
            offline_delivery: Some(OfflineDelivery::Push),
            vis_status: Some(VisStatus::Visible),
            session_history: Some(true),
            pager_large_history: Some(false),
        };
        assert_eq!(parse(PUBLISHED), Ok(settings.clone()));
        assert_eq!(parse(&settings.to_string()), Ok(settings));
        let none = ImSettings::default();
        assert_eq!(parse(&document("<x:active>odd</x:active><other/>")), Ok(none.clone()));
        assert_eq!(parse(&none.to_string()), Ok(none));
    }

    // Covers: PF-056
    #[test]
    fn every_value_is_known() {
        for (delivery, name) in OfflineDelivery::ALL {
            let inner = format!(
                "<deferred-settings><offline-delivery> {name} </offline-delivery></deferred-settings>"
            );
            assert_eq!(parse(&document(&inner)).unwrap().offline_delivery, Some(delivery));
        }
        for (status, name) in VisStatus::ALL {
            let inner = format!("<vis-settings><vis-status>{name}</vis-status></vis-settings>");
            assert_eq!(parse(&document(&inner)).unwrap().vis_status, Some(status));
        }
        for (truth, name) in TRUTHS {
            let read = parse(&document(&format!("<active>{name}</active>"))).unwrap();
            assert_eq!(read.active, Some(truth));
        }
    }

    // Covers: PF-055
    #[test]
    fn refuses_and_says_why() {
        let vis = "<vis-settings><vis-status>hidden</vis-status></vis-settings>";
        #[rustfmt::skip]
        let table = [
            (String::new(),                               "document is not well-formed XML"),
            (document("").replace("service-settings", "x"), "root element is that of another document"),
            (document(&" ".repeat(16 * 1024)),            "document is too large"),
            (document(&"<x:a/>".repeat(512)),             "document is too large"),
            (document("<active/>"),                       "active has a value that it cannot have"),
            (document("<active>TRUE</active>"),           "active has a value that it cannot have"),
            (document("<active>1</active><active>1</active>"), "active is there twice"),
            (document(&vis.replace("hidden", "gone")),    "vis-status has a value that it cannot have"),
            (document(&vis.repeat(2)),                    "vis-status is there twice"),
        ];
        for (text, error) in table {
            let refused = parse(&text).map_err(|error| error.to_string());
            assert_eq!(refused, Err(error.to_owned()), "{text:.200}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(octets: Vec<u8>, at in 0_usize..600, octet: u8) {
            let _ = ImSettings::parse(&octets);
            let mut octets = PUBLISHED.as_bytes().to_vec();
            if let Some(place) = octets.get_mut(at) {
                *place = octet;
            }
            let _ = ImSettings::parse(&octets);
        }

        #[test]
        fn display_then_parse_is_identity(
            service in prop::option::of("[!-~]{1,20}"), active: Option<bool>, history: Option<bool>,
            delivery in prop::option::of(0..4_usize), status in prop::option::of(0..3_usize),
        ) {
            let written = ImSettings {
                service_id: service,
                active,
                offline_delivery: delivery.map(|row| OfflineDelivery::ALL[row].0),
                vis_status: status.map(|row| VisStatus::ALL[row].0),
                session_history: history,
                pager_large_history: history.map(|on| !on),
            };
            prop_assert_eq!(parse(&written.to_string()), Ok(written));
        }
    }
}
