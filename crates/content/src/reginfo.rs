//! Registration state, `application/reginfo+xml` (RFC 3680 §5), as its subscriber reads it.
//!
//! A [`Document`] is one body of a NOTIFY; [`RegInfo`] is the table that those of one subscription
//! add up to (§5.2). Elements and attributes of other namespaces, such as those of GRUU (RFC 5628)
//! and of 3GPP, are passed over (§5.1).

mod table;

use roxmltree::Node;

pub use self::table::{Applied, RegInfo};
use crate::xml::{Limits, Namespace, XmlError};

/// The media type (§8.2).
pub const MEDIA_TYPE: &str = "application/reginfo+xml";

/// The namespace of the elements (§5.1).
const NAMESPACE: Namespace = Namespace("urn:ietf:params:xml:ns:reginfo");

/// How much is read. Local limit: a contact with ten parameters takes some 1,000 octets and 40
/// nodes, a user has few.
const LIMITS: Limits = Limits { bytes_max: 64 * 1024, nodes_max: 8192 };

/// Most registrations in one document or table, and most contacts in one registration. Local
/// limit: a user has about three identities in one registration set, and fewer devices.
pub const ROWS_MAX: usize = 64;

/// What one notification says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its number within the subscription: from 0, one more for each.
    pub version: u32,
    /// Whether it tells everything.
    pub extent: Extent,
    /// The registrations it tells about, at most [`ROWS_MAX`].
    pub registrations: Vec<Registration>,
}

/// How much a document tells: the `state` of `reginfo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Everything: what it does not name is not there.
    Full,
    /// What changed since the document before.
    Partial,
}

/// The registration of one address of record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The address of record, a URI.
    pub aor: String,
    /// Names it within the subscription.
    pub id: String,
    /// Whether it is registered.
    pub state: RegistrationState,
    /// Its contacts, at most [`ROWS_MAX`]; in a partial document those that changed.
    pub contacts: Vec<Contact>,
}

/// The state of a registration (§4.7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistrationState {
    /// It has no contact yet.
    Init,
    /// It has contacts.
    Active,
    /// Its last contact went.
    Terminated,
}

/// One contact of a registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// Names it within the subscription.
    pub id: String,
    /// Whether it is bound.
    pub state: ContactState,
    /// What brought it into its state: `registered`, `expired`, ... (§5.1); empty when not told.
    pub event: String,
    /// The contact URI.
    pub uri: String,
    /// Seconds until it expires, when told.
    pub expires: Option<u64>,
    /// Its parameters that RFC 3261 does not know, feature tags among them (`unknown-param`): name
    /// and value as written in `Contact`, the value empty for a parameter without one.
    pub params: Vec<(String, String)>,
}

/// The state of a contact (§4.7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContactState {
    /// It is bound.
    Active,
    /// It is not bound any more.
    Terminated,
}

/// Why a document was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReginfoError {
    /// It is no such document; one longer than 64 KiB or with more than 8192 nodes is too large.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// It has more than 64 registrations, or 64 contacts in one of them.
    #[error("document has too many registrations or contacts")]
    Rows,
    /// `version` is missing or no number of 32 bits.
    #[error("version is missing or no number")]
    Version,
    /// A `state` is missing or none of those there are.
    #[error("a state is missing or unknown")]
    State,
    /// An `id`, an `aor` or a `uri` is missing or empty, or an `id` is there twice.
    #[error("an id, aor or uri is missing, or an id is not the only one")]
    Identity,
}

impl Document {
    /// Reads a document.
    ///
    /// # Errors
    /// [`ReginfoError`]; what the schema wants and nobody needs, such as `event`, may be missing.
    pub fn parse(octets: &[u8]) -> Result<Self, ReginfoError> {
        let document = NAMESPACE.parse(octets, LIMITS, "reginfo")?;
        let root = document.root_element();
        let version = root.attribute("version").and_then(|version| version.trim().parse().ok());
        let extent = match root.attribute("state") {
            Some("full") => Extent::Full,
            Some("partial") => Extent::Partial,
            Some(_) | None => return Err(ReginfoError::State),
        };
        let registrations = rows(root, "registration", registration, |row| &row.id)?;
        let version = version.ok_or(ReginfoError::Version)?;
        Ok(Self { version, extent, registrations })
    }
}

fn registration(node: Node<'_, '_>) -> Result<Registration, ReginfoError> {
    let state = match node.attribute("state") {
        Some("init") => RegistrationState::Init,
        Some("active") => RegistrationState::Active,
        Some("terminated") => RegistrationState::Terminated,
        Some(_) | None => return Err(ReginfoError::State),
    };
    let contacts = rows(node, "contact", contact, |row| &row.id)?;
    Ok(Registration { aor: named(node, "aor")?, id: named(node, "id")?, state, contacts })
}

fn contact(node: Node<'_, '_>) -> Result<Contact, ReginfoError> {
    let state = match node.attribute("state") {
        Some("active") => ContactState::Active,
        Some("terminated") => ContactState::Terminated,
        Some(_) | None => return Err(ReginfoError::State),
    };
    let uri = NAMESPACE.token(node, "uri").ok_or(ReginfoError::Identity)?;
    let params = NAMESPACE.children(node, "unknown-param").filter_map(|param| {
        let name = param.attribute("name")?.trim();
        let value = param.text().unwrap_or_default().trim();
        Some((name.to_owned(), value.to_owned()))
    });
    Ok(Contact {
        id: named(node, "id")?,
        state,
        event: node.attribute("event").unwrap_or_default().to_owned(),
        uri: uri.to_owned(),
        expires: node.attribute("expires").and_then(|expires| expires.trim().parse().ok()),
        params: params.collect(),
    })
}

/// The children called `name`, each read with `read`; no two of them may share their name.
fn rows<T>(
    parent: Node<'_, '_>,
    name: &str,
    read: impl Fn(Node<'_, '_>) -> Result<T, ReginfoError>,
    id: impl Fn(&T) -> &String,
) -> Result<Vec<T>, ReginfoError> {
    let mut rows: Vec<T> = Vec::new();
    for node in NAMESPACE.children(parent, name) {
        if rows.len() >= ROWS_MAX {
            return Err(ReginfoError::Rows);
        }
        let row = read(node)?;
        if rows.iter().any(|known| id(known) == id(&row)) {
            return Err(ReginfoError::Identity);
        }
        rows.push(row);
    }
    Ok(rows)
}

/// An attribute that must be there and not be empty.
fn named(node: Node<'_, '_>, attribute: &str) -> Result<String, ReginfoError> {
    let value = node.attribute(attribute).unwrap_or_default().trim();
    if value.is_empty() { Err(ReginfoError::Identity) } else { Ok(value.to_owned()) }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{any, proptest};

    use super::*;

    fn parse(text: &str) -> Result<Document, ReginfoError> {
        Document::parse(text.as_bytes())
    }

    /// The document in few words.
    fn render(document: &Document) -> String {
        let mut out = format!("{} {:?}", document.version, document.extent);
        for Registration { aor, id, state, contacts } in &document.registrations {
            out.push_str(&format!(" | {aor} {id} {state:?}"));
            for Contact { id, state, event, uri, expires, params } in contacts {
                let expires = expires.map_or(String::new(), |seconds| format!(" {seconds}s"));
                out.push_str(&format!(", {id} {state:?} {event} {uri}{expires}"));
                for (name, value) in params {
                    out.push_str(&format!(" {name}={value}"));
                }
            }
        }
        out
    }

    /// `registration` inside a document.
    fn document(registrations: &str) -> String {
        format!(
            "<reginfo xmlns='{}' version='1' state='full'>{registrations}</reginfo>",
            NAMESPACE.0
        )
    }

    /// A registration around `contacts`.
    fn registration(contacts: &str) -> String {
        document(&format!(
            "<registration aor='sip:a@h' id='r' state='active'>{contacts}\
                           </registration>"
        ))
    }

    // Covers: CORE-021
    #[test]
    fn the_documents_of_the_rfc_are_read() {
        #[rustfmt::skip]
        let table: [(&[u8], &str); 3] = [
            (
                include_bytes!("../testdata/reginfo/rfc3680-01-reginfo.xml"), // RFC 3680 §5.3
                "0 Full | sip:user@example.com as9 Active, \
                 76 Active registered sip:user@pc887.example.com, \
                 77 Terminated expired sip:user@university.edu",
            ),
            (
                include_bytes!("../testdata/reginfo/rfc3680-03-reginfo.xml"), // RFC 3680 §6
                "0 Full | sip:joe@example.com a7 Init",
            ),
            (
                include_bytes!("../testdata/reginfo/rfc3680-04-reginfo.xml"), // RFC 3680 §6
                "1 Partial | sip:joe@example.com a7 Active, \
                 76 Active registered sip:joe@pc34.example.com",
            ),
        ];
        for (octets, expected) in table {
            assert_eq!(render(&Document::parse(octets).unwrap()), expected);
        }
    }

    // Covers: CORE-021
    #[test]
    fn parameters_are_read_and_extensions_passed_over() {
        let text = "\u{feff}\n<?xml version='1.0' encoding='UTF-8'?>
            <r:reginfo xmlns:r='urn:ietf:params:xml:ns:reginfo' version=' 4294967295 '
              xmlns:gr='urn:ietf:params:xml:ns:gruuinfo' state='partial' gr:odd='1'>
             <r:registration aor='sip:alice@home1.example' id='a7' state='active'>
              <r:contact id='c1' state='active' event='created' expires=' 599988' q='0.8'>
               <r:uri> sip:alice@192.0.2.10:5060;ob </r:uri>
               <r:display-name xml:lang='en'>Alice</r:display-name>
               <r:unknown-param name='+g.oma.sip-im'/>
               <r:unknown-param name='+sip.instance'>\"&lt;urn:x:1&gt;\"</r:unknown-param>
               <r:unknown-param>nameless</r:unknown-param>
               <gr:pub-gruu uri='sip:alice@home1.example;gr=x'/>
               <unknown-param name='elsewhere'/>
              </r:contact>
              <gr:contact id='c2'/>
             </r:registration>
             <r:actions/><gr:x/>
            </r:reginfo>";
        assert_eq!(
            render(&parse(text).unwrap()),
            "4294967295 Partial | sip:alice@home1.example a7 Active, c1 Active created \
             sip:alice@192.0.2.10:5060;ob 599988s +g.oma.sip-im= +sip.instance=\"<urn:x:1>\""
        );
        let bare = "<contact id='1' state='terminated' expires='soon'><uri>sip:x</uri></contact>";
        assert_eq!(
            render(&parse(&registration(bare)).unwrap()),
            "1 Full | sip:a@h r Active, 1 Terminated  sip:x"
        );
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        use ReginfoError::{Identity, State, Version, Xml};
        use XmlError::{NotUtf8, NotWellFormed, Root, TooLarge};
        assert_eq!(Document::parse(b"<reginfo \xff/>"), Err(Xml(NotUtf8)));
        let full = document("");
        let contact = |attributes: &str| {
            registration(&format!("<contact {attributes}><uri>sip:x</uri></contact>"))
        };
        #[rustfmt::skip]
        let table = [
            (String::new(),                                                 Xml(NotWellFormed)),
            (full.replace("</reginfo>", ""),                                Xml(NotWellFormed)),
            (format!("<!DOCTYPE reginfo>{full}"),                           Xml(NotWellFormed)),
            (full.replace("ns:reginfo", "ns:other"),                        Xml(Root)),
            (full.replace("reginfo ", "r ").replace("/reginfo", "/r"),      Xml(Root)),
            (full.replace("'1'", "'-1'"),                                   Version),
            (full.replace("'1'", "'4294967296'"),                           Version),
            (full.replace("version", "v"),                                  Version),
            (full.replace("full", "half"),                                  State),
            (full.replace("state", "s"),                                    State),
            (document("<registration aor='a' id='b' state='odd'/>"),        State),
            (document("<registration aor='a' id='b'/>"),                    State),
            (document("<registration aor='a' state='init'/>"),              Identity),
            (document("<registration aor=' ' id='b' state='init'/>"),       Identity),
            (document(&"<registration aor='a' id='b' state='init'/>".repeat(2)), Identity),
            (contact("state='active'"),                                     Identity),
            (contact("id='1' state='init'"),                                State),
            (registration("<contact id='1' state='active'/>"),              Identity),
            (document(&" ".repeat(LIMITS.bytes_max)),                     Xml(TooLarge)),
            (document(&"<a/>".repeat(8192)),                                Xml(TooLarge)),
        ];
        for (text, error) in table {
            assert_eq!(parse(&text), Err(error), "{text}");
        }
    }

    #[test]
    fn rows_are_bounded() {
        let contacts = |count: usize| {
            let contact =
                |n| format!("<contact id='{n}' state='active'><uri>sip:x</uri></contact>");
            parse(&registration(&(0..count).map(contact).collect::<String>()))
        };
        assert!(contacts(ROWS_MAX).is_ok());
        assert_eq!(contacts(ROWS_MAX + 1), Err(ReginfoError::Rows));
        let registrations = |count: usize| {
            let row = |n| format!("<registration aor='a' id='{n}' state='init'/>");
            parse(&document(&(0..count).map(row).collect::<String>()))
        };
        assert!(registrations(ROWS_MAX).is_ok());
        assert_eq!(registrations(ROWS_MAX + 1), Err(ReginfoError::Rows));
    }

    proptest! {
        #[test]
        fn never_panics(octets in vec(any::<u8>(), 0..300)) {
            let _ = Document::parse(&octets);
        }

        #[test]
        fn never_panics_on_what_is_nearly_a_document(
            parts in vec(proptest::sample::select(vec![
                "<reginfo xmlns='urn:ietf:params:xml:ns:reginfo' version='1' state='full'>",
                "<registration aor='a' id='b' state='active'>", "<contact id='1' state='active'>",
                "<uri>", "sip:x", "</uri>", "</contact>", "</registration>", "</reginfo>", "&lt;",
                "<unknown-param name='x'/>", "<!--", "-->", "<?x?>", "<![CDATA[", "]]>",
            ]), 0..20),
        ) {
            let _ = Document::parse(parts.concat().as_bytes());
        }
    }
}
