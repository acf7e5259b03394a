//! Resource lists, `application/resource-lists+xml` (RFC 4826 §3): whom a request on a list goes
//! to, with the copy control attributes of RFC 5364.
//!
//! [`ResourceLists`] is the document. [`ResourceLists::entries`] lists its entries in one row,
//! nested lists included, [`recipients`] makes one recipient of the entries that name the same, and
//! [`history`] is the list that the recipients may see.

mod recipients;

use std::fmt::{self, Write};

use roxmltree::Node;

pub use self::recipients::{ANONYMOUS, Recipient, history, recipients};
use crate::xml::{self, DECLARATION, Namespace, XML, XmlError, text};

/// The media type (RFC 4826 §3.4.2).
pub const MEDIA_TYPE: &str = "application/resource-lists+xml";

/// The disposition of a list of recipients in a request to a URI-list service (RFC 5363 §9).
pub const RECIPIENT_LIST: &str = "recipient-list";

/// The disposition of the list that the recipients see (RFC 5364 §7).
pub const RECIPIENT_LIST_HISTORY: &str = "recipient-list-history";

/// The namespace of the elements (RFC 4826 §3.1).
const NAMESPACE: Namespace = Namespace("urn:ietf:params:xml:ns:resource-lists");

/// The namespace of the copy control attributes (RFC 5364 §5), which is the one written.
const COPY_CONTROL: &str = "urn:ietf:params:xml:ns:copycontrol";

/// The namespace as an example of RFC 5366 and clients after it write it.
const COPY_CONTROL_CAPITAL: &str = "urn:ietf:params:xml:ns:copyControl";

/// How much of a document is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest document, in octets. Default 512 KiB: an entry has some 100.
    pub bytes_max: usize,
    /// Most entries, references and lists together. Default 4096.
    pub members_max: usize,
    /// How many lists may be inside one another. Default 8.
    pub depth_max: usize,
}

/// A document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceLists {
    /// Its lists.
    pub lists: Vec<List>,
}

/// One list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// Its handle: the only one among its siblings.
    pub name: Option<String>,
    /// What users call it.
    pub display_name: Option<DisplayName>,
    /// The attributes of RFC 5364, for what is inside and has none.
    pub copy: CopyAttributes,
    /// What is on it, in order.
    pub members: Vec<Member>,
}

/// One thing on a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Member {
    /// A resource.
    Entry(Entry),
    /// A list inside the list.
    List(List),
    /// An `entry-ref`: an entry of another document below the same XCAP root.
    EntryRef(Reference),
    /// An `external`: a list of another document, maybe on another server.
    External(Reference),
}

/// A resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The URI, of any scheme.
    pub uri: String,
    /// What users call it.
    pub display_name: Option<DisplayName>,
    /// The attributes of RFC 5364.
    pub copy: CopyAttributes,
}

/// A reference to an entry or list that is elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reference {
    /// `ref`, relative to the XCAP root, or `anchor`, an absolute HTTP URI; percent-encoded.
    pub uri: String,
    /// What users call it.
    pub display_name: Option<DisplayName>,
    /// The attributes of RFC 5364.
    pub copy: CopyAttributes,
}

/// A `display-name`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DisplayName {
    /// The text.
    pub text: String,
    /// Its language (`xml:lang`), if told.
    pub language: Option<String>,
}

/// The attributes of RFC 5364 as written; each may be left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyAttributes {
    /// `copyControl`: the level; without it an entry counts as [`CopyControl::Bcc`] (§4).
    pub control: Option<CopyControl>,
    /// `anonymize`: the URI is not for the other recipients; `false` without it.
    pub anonymize: Option<bool>,
    /// `count`: how many equal URIs the entry stands for; 1 without it.
    pub count: Option<u32>,
}

/// The copy level of a recipient (RFC 5364 §4), the higher the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CopyControl {
    /// A blind copy: the other recipients do not see this one.
    Bcc,
    /// A copy.
    Cc,
    /// A primary recipient.
    To,
}

/// Why a document was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResourceListsError {
    /// It is no such document.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// It has more entries, references and lists than [`Limits::members_max`].
    #[error("list has too many entries")]
    Members,
    /// Its lists are deeper inside one another than [`Limits::depth_max`].
    #[error("lists are nested too deep")]
    Depth,
    /// A `uri`, `ref` or `anchor` is missing or empty.
    #[error("an entry has no URI")]
    Uri,
    /// A `copyControl`, `anonymize` or `count` has a value that the schema does not allow.
    #[error("a copy control attribute has no value of its kind")]
    Copy,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes_max: 512 * 1024, members_max: 4096, depth_max: 8 }
    }
}

impl CopyControl {
    /// The value as written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::To => "to",
            Self::Cc => "cc",
            Self::Bcc => "bcc",
        }
    }

    fn parse(value: &str) -> Option<Self> {
        [Self::To, Self::Cc, Self::Bcc].into_iter().find(|known| known.as_str() == value.trim())
    }
}

impl CopyAttributes {
    /// These, and what they leave out as in `outer`.
    fn within(self, outer: Self) -> Self {
        Self {
            control: self.control.or(outer.control),
            anonymize: self.anonymize.or(outer.anonymize),
            count: self.count,
        }
    }
}

impl ResourceLists {
    /// Reads a document. Elements and attributes of other namespaces are passed over (RFC 4826
    /// §3.1).
    ///
    /// That entries are told apart by their `uri` and lists by their `name` (§3.4.5) is not looked
    /// at: whoever explodes a list takes each recipient once ([`recipients`]).
    ///
    /// # Errors
    /// [`ResourceListsError`].
    pub fn parse(octets: &[u8], limits: &Limits) -> Result<Self, ResourceListsError> {
        // A member has its element, a display name and the blanks around both.
        let nodes_max = u32::try_from(limits.members_max.saturating_mul(8)).unwrap_or(u32::MAX);
        let gate = xml::Limits { bytes_max: limits.bytes_max, nodes_max: nodes_max.max(256) };
        let document = NAMESPACE.parse(octets, gate, "resource-lists")?;
        let mut reader = Reader { depth_max: limits.depth_max, left: limits.members_max };
        let lists = NAMESPACE.children(document.root_element(), "list");
        let lists = lists.map(|node| reader.list(node, 1)).collect::<Result<_, _>>()?;
        Ok(Self { lists })
    }

    /// The entries, nested lists included, in the order of the document; an entry without an
    /// attribute of RFC 5364 has that of the list around it.
    pub fn entries(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        for list in &self.lists {
            list.collect(CopyAttributes::default(), &mut entries);
        }
        entries
    }
}

impl List {
    /// A list of `members` without a name.
    pub fn new(members: Vec<Member>) -> Self {
        Self { members, ..Self::default() }
    }

    /// The references to what is elsewhere, nested lists included.
    pub fn references(&self) -> Vec<&Member> {
        let mut found = Vec::new();
        for member in &self.members {
            match member {
                Member::Entry(_) => {}
                Member::List(list) => found.extend(list.references()),
                Member::EntryRef(_) | Member::External(_) => found.push(member),
            }
        }
        found
    }

    fn collect(&self, outer: CopyAttributes, entries: &mut Vec<Entry>) {
        let outer = self.copy.within(outer);
        for member in &self.members {
            match member {
                Member::Entry(entry) => {
                    let copy = entry.copy.within(outer);
                    entries.push(Entry { copy, ..entry.clone() });
                }
                Member::List(list) => list.collect(outer, entries),
                Member::EntryRef(_) | Member::External(_) => {}
            }
        }
    }
}

/// What may still be read.
struct Reader {
    depth_max: usize,
    left: usize,
}

impl Reader {
    fn list(&mut self, node: Node<'_, '_>, depth: usize) -> Result<List, ResourceListsError> {
        if depth > self.depth_max {
            return Err(ResourceListsError::Depth);
        }
        self.take()?;
        let mut list = List {
            name: node.attribute("name").map(str::to_owned),
            display_name: display_name(node),
            copy: copy(node)?,
            members: Vec::new(),
        };
        for child in node.children().filter(Node::is_element) {
            let member = match child.tag_name().name() {
                _ if child.tag_name().namespace() != Some(NAMESPACE.0) => continue,
                "list" => Member::List(self.list(child, depth + 1)?),
                "entry" => {
                    let Reference { uri, display_name, copy } = self.reference(child, "uri")?;
                    Member::Entry(Entry { uri, display_name, copy })
                }
                "entry-ref" => Member::EntryRef(self.reference(child, "ref")?),
                "external" => Member::External(self.reference(child, "anchor")?),
                _ => continue,
            };
            list.members.push(member);
        }
        Ok(list)
    }

    fn reference(
        &mut self,
        node: Node<'_, '_>,
        attribute: &str,
    ) -> Result<Reference, ResourceListsError> {
        self.take()?;
        let uri = node.attribute(attribute).unwrap_or_default().trim();
        if uri.is_empty() {
            return Err(ResourceListsError::Uri);
        }
        let (display_name, copy) = (display_name(node), copy(node)?);
        Ok(Reference { uri: uri.to_owned(), display_name, copy })
    }

    fn take(&mut self) -> Result<(), ResourceListsError> {
        self.left = self.left.checked_sub(1).ok_or(ResourceListsError::Members)?;
        Ok(())
    }
}

fn display_name(node: Node<'_, '_>) -> Option<DisplayName> {
    let node = NAMESPACE.child(node, "display-name")?;
    let language = node.attribute((XML, "lang")).map(str::to_owned);
    Some(DisplayName { text: node.text().unwrap_or_default().to_owned(), language })
}

fn copy(node: Node<'_, '_>) -> Result<CopyAttributes, ResourceListsError> {
    let value = |name| {
        [COPY_CONTROL, COPY_CONTROL_CAPITAL].iter().find_map(|ns| node.attribute((*ns, name)))
    };
    let refused = ResourceListsError::Copy;
    let control = value("copyControl").map(|value| CopyControl::parse(value).ok_or(refused));
    let anonymize = value("anonymize").map(|value| match value.trim() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(refused),
    });
    let count = value("count").map(|value| value.trim().parse().map_err(|_| refused));
    Ok(CopyAttributes {
        control: control.transpose()?,
        anonymize: anonymize.transpose()?,
        count: count.transpose()?,
    })
}

/// Writes the document.
impl fmt::Display for ResourceLists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{DECLARATION}<resource-lists xmlns=\"{}\"", NAMESPACE.0)?;
        write!(f, " xmlns:cp=\"{COPY_CONTROL}\">\r\n")?;
        for list in &self.lists {
            write_list(f, list, 2)?;
        }
        f.write_str("</resource-lists>\r\n")
    }
}

fn write_list(f: &mut fmt::Formatter<'_>, list: &List, indent: usize) -> fmt::Result {
    write!(f, "{:indent$}<list", "")?;
    if let Some(name) = &list.name {
        attribute(f, "name", name)?;
    }
    write_copy(f, list.copy)?;
    f.write_str(">\r\n")?;
    let inner = indent + 2;
    if let Some(name) = &list.display_name {
        write!(f, "{:inner$}", "")?;
        write_display_name(f, name)?;
        f.write_str("\r\n")?;
    }
    for member in &list.members {
        let (element, key, uri, name, copy) = match member {
            Member::List(list) => {
                write_list(f, list, inner)?;
                continue;
            }
            Member::Entry(Entry { uri, display_name, copy }) => {
                ("entry", "uri", uri, display_name, copy)
            }
            Member::EntryRef(Reference { uri, display_name, copy }) => {
                ("entry-ref", "ref", uri, display_name, copy)
            }
            Member::External(Reference { uri, display_name, copy }) => {
                ("external", "anchor", uri, display_name, copy)
            }
        };
        write!(f, "{:inner$}<{element}", "")?;
        attribute(f, key, uri)?;
        write_copy(f, *copy)?;
        match name {
            None => f.write_str("/>\r\n")?,
            Some(name) => {
                f.write_char('>')?;
                write_display_name(f, name)?;
                write!(f, "</{element}>\r\n")?;
            }
        }
    }
    write!(f, "{:indent$}</list>\r\n", "")
}

fn write_display_name(f: &mut fmt::Formatter<'_>, name: &DisplayName) -> fmt::Result {
    f.write_str("<display-name")?;
    if let Some(language) = &name.language {
        attribute(f, "xml:lang", language)?;
    }
    f.write_char('>')?;
    text(f, &name.text)?;
    f.write_str("</display-name>")
}

fn write_copy(f: &mut fmt::Formatter<'_>, copy: CopyAttributes) -> fmt::Result {
    if let Some(control) = copy.control {
        attribute(f, "cp:copyControl", control.as_str())?;
    }
    if let Some(anonymize) = copy.anonymize {
        attribute(f, "cp:anonymize", if anonymize { "true" } else { "false" })?;
    }
    match copy.count {
        Some(count) => write!(f, " cp:count=\"{count}\""),
        None => Ok(()),
    }
}

fn attribute(f: &mut fmt::Formatter<'_>, name: &str, value: &str) -> fmt::Result {
    write!(f, " {name}=\"")?;
    text(f, value)?;
    f.write_char('"')
}

#[cfg(test)]
mod tests;
