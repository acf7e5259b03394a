//! The XML document `message/imdn+xml` (RFC 5438 §11).

use std::fmt::{self, Write};

use roxmltree::Node;

use crate::xml::{DECLARATION, Limits, Namespace, XML, XmlError, element, text};

/// The XML namespace of the elements (§11.1).
const NAMESPACE: Namespace = Namespace("urn:ietf:params:xml:ns:imdn");

/// How much is read. Local limit: a document is some 500 octets, extensions included, and has 16
/// elements and texts.
const LIMITS: Limits = Limits { bytes_max: 64 * 1024, nodes_max: 1024 };

/// A disposition notification: what became of one IM for one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imdn {
    /// The `Message-ID` of the IM (§11.1.1).
    pub message_id: String,
    /// When the IM was sent, as its `DateTime` said (§11.1.2).
    pub date_time: String,
    /// The final recipient (§11.1.3); `None` when it is not disclosed.
    pub recipient_uri: Option<String>,
    /// The recipient the IM was first sent to (§11.1.4).
    pub original_recipient_uri: Option<String>,
    /// The subject of the IM (§11.1.5).
    pub subject: Option<Subject>,
    /// What is reported.
    pub disposition: Disposition,
}

/// The subject of an IM, as far as a notification repeats it (§11.1.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The text.
    pub text: String,
    /// Its language, if the IM told it.
    pub language: Option<String>,
}

/// What a notification reports (§11.1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// `delivery-notification`.
    Delivery(DeliveryStatus),
    /// `processing-notification`, written by intermediaries only (§8.1).
    Processing(ProcessingStatus),
    /// `display-notification`.
    Display(DisplayStatus),
}

/// The status in a `delivery-notification` (§11.1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeliveryStatus {
    /// The IM reached its recipient.
    Delivered,
    /// The IM did not reach its recipient.
    Failed,
    /// The disposition was denied.
    Forbidden,
    /// Internal server error.
    Error,
}

/// The status in a `processing-notification` (§11.1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProcessingStatus {
    /// An intermediary passed the IM on.
    Processed,
    /// An intermediary stored the IM.
    Stored,
    /// The disposition was denied.
    Forbidden,
    /// Internal server error, or the fate of the IM cannot be known (§8.1).
    Error,
}

/// The status in a `display-notification` (§11.1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DisplayStatus {
    /// The IM was shown.
    Displayed,
    /// The disposition was denied.
    Forbidden,
    /// Internal error, or whether it was shown cannot be known (§7.2.1.2).
    Error,
}

/// Why a document was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImdnError {
    /// It is no such document; one longer than 64 KiB or with more than 1024 nodes is too large.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// `message-id` is missing or empty.
    #[error("message-id is missing")]
    MessageId,
    /// `datetime` is missing or empty.
    #[error("datetime is missing")]
    DateTime,
    /// There is no notification with a status that is known, or there are several.
    #[error("notification or its status is missing, unknown or not the only one")]
    Disposition,
}

/// Elements and their statuses, as written and as meant.
#[rustfmt::skip]
const DISPOSITIONS: [(&str, &str, Disposition); 11] = [
    ("delivery-notification",   "delivered", Disposition::Delivery(DeliveryStatus::Delivered)),
    ("delivery-notification",   "failed",    Disposition::Delivery(DeliveryStatus::Failed)),
    ("delivery-notification",   "forbidden", Disposition::Delivery(DeliveryStatus::Forbidden)),
    ("delivery-notification",   "error",     Disposition::Delivery(DeliveryStatus::Error)),
    ("processing-notification", "processed", Disposition::Processing(ProcessingStatus::Processed)),
    ("processing-notification", "stored",    Disposition::Processing(ProcessingStatus::Stored)),
    ("processing-notification", "forbidden", Disposition::Processing(ProcessingStatus::Forbidden)),
    ("processing-notification", "error",     Disposition::Processing(ProcessingStatus::Error)),
    ("display-notification",    "displayed", Disposition::Display(DisplayStatus::Displayed)),
    ("display-notification",    "forbidden", Disposition::Display(DisplayStatus::Forbidden)),
    ("display-notification",    "error",     Disposition::Display(DisplayStatus::Error)),
];

impl Disposition {
    /// The names of the notification element and of the status element.
    fn elements(self) -> (&'static str, &'static str) {
        let row = DISPOSITIONS.iter().find(|(_, _, disposition)| *disposition == self);
        let (notification, status, _) = row.expect("the table has a row for each value");
        (notification, status)
    }
}

impl Imdn {
    /// Reads a document. Elements of other namespaces are passed over (§11.1).
    pub fn parse(octets: &[u8]) -> Result<Self, ImdnError> {
        let document = NAMESPACE.parse(octets, LIMITS, "imdn")?;
        let root = document.root_element();
        let token = |name| NAMESPACE.token(root, name).map(str::to_owned);
        let subject = NAMESPACE.child(root, "subject").map(|node| Subject {
            text: node.text().unwrap_or_default().to_owned(),
            language: node.attribute((XML, "lang")).map(str::to_owned),
        });
        Ok(Self {
            message_id: token("message-id").ok_or(ImdnError::MessageId)?,
            date_time: token("datetime").ok_or(ImdnError::DateTime)?,
            recipient_uri: token("recipient-uri"),
            original_recipient_uri: token("original-recipient-uri"),
            subject,
            disposition: disposition(root).ok_or(ImdnError::Disposition)?,
        })
    }

    /// Takes out who the recipient is, for a list whose members are not disclosed (§8).
    pub fn without_recipient(mut self) -> Self {
        self.recipient_uri = None;
        self.original_recipient_uri = None;
        self
    }
}

/// Writes the document.
///
/// The schema (§11.1.9) has `recipient-uri` and `original-recipient-uri` only together, and
/// `subject` only behind them: a missing one of the two is written as the other, and without
/// either there is no subject. The language of the subject is `xml:lang`: §11.1.5 asks for it, the
/// schema names no attribute.
impl fmt::Display for Imdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{DECLARATION}<imdn xmlns=\"{}\">\r\n", NAMESPACE.0)?;
        element(f, "message-id", &self.message_id)?;
        element(f, "datetime", &self.date_time)?;
        let original = self.original_recipient_uri.as_ref().or(self.recipient_uri.as_ref());
        let recipient = self.recipient_uri.as_ref().or(original);
        if let (Some(recipient), Some(original)) = (recipient, original) {
            element(f, "recipient-uri", recipient)?;
            element(f, "original-recipient-uri", original)?;
            if let Some(subject) = &self.subject {
                f.write_str("  <subject")?;
                if let Some(language) = &subject.language {
                    f.write_str(" xml:lang=\"")?;
                    text(f, language)?;
                    f.write_char('"')?;
                }
                f.write_char('>')?;
                text(f, &subject.text)?;
                f.write_str("</subject>\r\n")?;
            }
        }
        let (notification, status) = self.disposition.elements();
        write!(f, "  <{notification}><status><{status}/></status></{notification}>\r\n</imdn>\r\n")
    }
}

/// The one notification of `root` with the one status that is known.
fn disposition(root: Node<'_, '_>) -> Option<Disposition> {
    let mut found = None;
    for (notification, status, disposition) in DISPOSITIONS {
        let notifications = NAMESPACE.children(root, notification);
        let statuses = notifications.flat_map(|node| NAMESPACE.children(node, "status"));
        for _ in statuses.flat_map(|node| NAMESPACE.children(node, status)) {
            if found.replace(disposition).is_some() {
                return None;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn imdn(disposition: Disposition) -> Imdn {
        Imdn {
            message_id: "34jk324j".to_owned(),
            date_time: "2008-04-04T12:16:49-05:00".to_owned(),
            recipient_uri: Some("im:bob@example.com".to_owned()),
            original_recipient_uri: Some("im:bob@example.com".to_owned()),
            subject: None,
            disposition,
        }
    }

    #[test]
    fn reads_the_examples_of_the_rfc() {
        let delivered = Disposition::Delivery(DeliveryStatus::Delivered);
        let displayed = Disposition::Display(DisplayStatus::Displayed);
        let processed = Disposition::Processing(ProcessingStatus::Processed);
        let table: [(&[u8], Disposition); 5] = [
            (include_bytes!("../../testdata/imdn/rfc5438-01-imdn.xml"), delivered),
            (include_bytes!("../../testdata/imdn/rfc5438-02-imdn.xml"), displayed),
            (include_bytes!("../../testdata/imdn/rfc5438-03-imdn.xml"), processed),
            (include_bytes!("../../testdata/imdn/rfc5438-04-imdn.xml"), delivered),
            (include_bytes!("../../testdata/imdn/rfc5438-05-imdn.xml"), displayed),
        ];
        for (octets, disposition) in table {
            assert_eq!(Imdn::parse(octets), Ok(imdn(disposition)));
        }
    }

    #[test]
    fn every_disposition_is_written_and_read() {
        for (notification, status, disposition) in DISPOSITIONS {
            let written = imdn(disposition).to_string();
            assert!(
                written.contains(&format!("<{notification}><status><{status}/></status>")),
                "{written}"
            );
            assert_eq!(Imdn::parse(written.as_bytes()), Ok(imdn(disposition)));
        }
    }

    #[test]
    fn writes_what_the_schema_has() {
        let stored = Disposition::Processing(ProcessingStatus::Stored);
        let subject = Subject { text: "a & <b>\r\n".to_owned(), language: Some("fr".to_owned()) };
        let mut written = Imdn { subject: Some(subject), ..imdn(stored) };
        written.original_recipient_uri = None;
        let expect = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
            <imdn xmlns=\"urn:ietf:params:xml:ns:imdn\">\r\n  \
            <message-id>34jk324j</message-id>\r\n  \
            <datetime>2008-04-04T12:16:49-05:00</datetime>\r\n  \
            <recipient-uri>im:bob@example.com</recipient-uri>\r\n  \
            <original-recipient-uri>im:bob@example.com</original-recipient-uri>\r\n  \
            <subject xml:lang=\"fr\">a &amp; &lt;b&gt;&#13;&#10;</subject>\r\n  \
            <processing-notification><status><stored/></status></processing-notification>\r\n\
            </imdn>\r\n";
        assert_eq!(written.to_string(), expect);
        let undisclosed = written.without_recipient().to_string();
        assert!(!undisclosed.contains("recipient") && !undisclosed.contains("subject"));
        assert!(Imdn::parse(undisclosed.as_bytes()).is_ok());
    }

    /// A document with `inner` for the notification.
    fn with(inner: &str) -> String {
        format!(
            "<imdn xmlns='urn:ietf:params:xml:ns:imdn' xmlns:x='urn:x'><message-id> 1 </message-id>\
             <datetime>2</datetime>{inner}</imdn>"
        )
    }

    #[test]
    fn extensions_are_passed_over() {
        let inner = "<x:more><x:imdn/></x:more><delivery-notification><status><x:odd/>\
            <failed/></status></delivery-notification>";
        let read = Imdn::parse(with(inner).as_bytes()).unwrap();
        assert_eq!(read.disposition, Disposition::Delivery(DeliveryStatus::Failed));
        assert_eq!(read.message_id, "1");
    }

    #[test]
    fn refuses() {
        let status = |name: &str| {
            with(&format!("<delivery-notification><status>{name}</status></delivery-notification>"))
        };
        let deep = "<x:a>".repeat(9000);
        let nodes = with(&"<x:a/>".repeat(2000));
        let large = with(&" ".repeat(64 * 1024));
        let bomb = "<!DOCTYPE imdn [<!ENTITY a 'b'>]><imdn xmlns='urn:ietf:params:xml:ns:imdn'/>";
        #[rustfmt::skip]
        let table = [
            ("".to_owned(),                                     ImdnError::Xml(XmlError::NotWellFormed)),
            ("<imdn".to_owned(),                                ImdnError::Xml(XmlError::NotWellFormed)),
            (bomb.to_owned(),                                   ImdnError::Xml(XmlError::NotWellFormed)),
            ("<imdn/>".to_owned(),                              ImdnError::Xml(XmlError::Root)),
            (status("").replace("<message-id> 1 </message-id>", ""), ImdnError::MessageId),
            (status("").replace(" 1 ", " "),                    ImdnError::MessageId),
            (status("").replace("<datetime>2</datetime>", ""),  ImdnError::DateTime),
            (with(""),                                          ImdnError::Disposition),
            (status(""),                                        ImdnError::Disposition),
            (status("<displayed/>"),                            ImdnError::Disposition),
            (status("<delivered/><failed/>"),                   ImdnError::Disposition),
            (status("<delivered/><delivered/>"),                ImdnError::Disposition),
            (nodes,                                             ImdnError::Xml(XmlError::TooLarge)),
            (large,                                             ImdnError::Xml(XmlError::TooLarge)),
        ];
        for (octets, error) in table {
            assert_eq!(Imdn::parse(octets.as_bytes()), Err(error), "{octets:.200}");
        }
        assert!(Imdn::parse(with(&deep).as_bytes()).is_err());
        assert_eq!(Imdn::parse(b"<imdn>\xff</imdn>"), Err(ImdnError::Xml(XmlError::NotUtf8)));
    }

    proptest! {
        #[test]
        fn display_then_parse_is_identity(
            message_id in "[!-~]{1,20}", uri in "[!-~]{1,20}", subject in "[ -~é\r\n\t]{1,20}",
            language in prop::option::of("[a-z\"<&]{1,5}"), disposition in 0..DISPOSITIONS.len(),
        ) {
            let written = Imdn {
                message_id,
                original_recipient_uri: Some(uri),
                subject: Some(Subject { text: subject, language }),
                ..imdn(DISPOSITIONS[disposition].2)
            };
            prop_assert_eq!(Imdn::parse(written.to_string().as_bytes()), Ok(written));
        }

        #[test]
        fn display_is_well_formed_whatever_is_in_it(subject: String, language: String) {
            let subject = Some(Subject { text: subject, language: Some(language) });
            let written =
                Imdn { subject, ..imdn(Disposition::Display(DisplayStatus::Displayed)) };
            prop_assert!(Imdn::parse(written.to_string().as_bytes()).is_ok());
        }

        #[test]
        fn never_panics(octets: Vec<u8>, cut in 0_usize..400, at in 0_usize..400, octet: u8) {
            let _ = Imdn::parse(&octets);
            let mut octets =
                imdn(Disposition::Display(DisplayStatus::Displayed)).to_string().into_bytes();
            if let Some(place) = octets.get_mut(at) {
                *place = octet;
            }
            octets.truncate(cut.max(1));
            let _ = Imdn::parse(&octets);
        }
    }
}
