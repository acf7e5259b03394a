//! What the XML documents have in common: the gate in front of each, finding children, writing.

use std::fmt::{self, Write};
use std::str;

use roxmltree::{Document, Node, ParsingOptions};

/// The namespace of `xml:lang`.
pub(crate) const XML: &str = "http://www.w3.org/XML/1998/namespace";

/// The first line of every document that is written.
pub(crate) const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n";

/// Why octets are not read as the document they should be, whatever document that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    /// The document is longer, or has more elements, texts and comments, than is read.
    #[error("document is too large")]
    TooLarge,
    /// The document is not UTF-8.
    #[error("document is not UTF-8")]
    NotUtf8,
    /// The document is not well-formed XML without a document type declaration.
    #[error("document is not well-formed XML")]
    NotWellFormed,
    /// The root element is that of another document.
    #[error("root element is that of another document")]
    Root,
}

/// How much of a document is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Longest document, in octets.
    pub(crate) bytes_max: usize,
    /// Most elements, texts and comments.
    pub(crate) nodes_max: u32,
}

/// The elements of one namespace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Namespace(pub(crate) &'static str);

impl Namespace {
    /// Reads a document whose root element is `root`. A byte order mark and blanks around it do not
    /// count.
    pub(crate) fn parse<'a>(
        self,
        octets: &'a [u8],
        limits: Limits,
        root: &str,
    ) -> Result<Document<'a>, XmlError> {
        if octets.len() > limits.bytes_max {
            return Err(XmlError::TooLarge);
        }
        let text = str::from_utf8(octets).map_err(|_| XmlError::NotUtf8)?;
        let text = text.trim_start_matches('\u{feff}').trim();
        let options = ParsingOptions { nodes_limit: limits.nodes_max, ..ParsingOptions::default() };
        let document =
            Document::parse_with_options(text, options).map_err(|error| match error {
                roxmltree::Error::NodesLimitReached => XmlError::TooLarge,
                _ => XmlError::NotWellFormed,
            })?;
        if !self.is(document.root_element(), root) {
            return Err(XmlError::Root);
        }
        Ok(document)
    }

    /// Whether `node` is an element called `name`.
    pub(crate) fn is(self, node: Node<'_, '_>, name: &str) -> bool {
        node.has_tag_name((self.0, name))
    }

    /// The children called `name`.
    pub(crate) fn children<'a, 'i>(
        self,
        parent: Node<'a, 'i>,
        name: &str,
    ) -> impl Iterator<Item = Node<'a, 'i>> {
        parent.children().filter(move |node| self.is(*node, name))
    }

    /// The first child called `name`.
    pub(crate) fn child<'a, 'i>(self, parent: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
        self.children(parent, name).next()
    }

    /// The text of the first child called `name` as an XML token: blanks around it do not count;
    /// `None` when empty.
    pub(crate) fn token<'a>(self, parent: Node<'a, '_>, name: &str) -> Option<&'a str> {
        let text = self.child(parent, name)?.text()?.trim();
        (!text.is_empty()).then_some(text)
    }
}

/// A line with one element of text, in by two blanks.
pub(crate) fn element(out: &mut impl Write, name: &str, value: &str) -> fmt::Result {
    write!(out, "  <{name}>")?;
    text(out, value)?;
    write!(out, "</{name}>\r\n")
}

/// Character data, in an element or an attribute: what XML 1.0 §2.2 has no character for is left
/// out.
pub(crate) fn text(out: &mut impl Write, value: &str) -> fmt::Result {
    for character in value.chars() {
        match character {
            '&' => out.write_str("&amp;")?,
            '<' => out.write_str("&lt;")?,
            '>' => out.write_str("&gt;")?,
            '"' => out.write_str("&quot;")?,
            // Written as they are, a reader would turn them into a line feed or a blank.
            '\t' | '\n' | '\r' => write!(out, "&#{};", u32::from(character))?,
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {}
            other => out.write_char(other)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAMESPACE: Namespace = Namespace("urn:x");
    const LIMITS: Limits = Limits { bytes_max: 4096, nodes_max: 100 };

    fn refusal(octets: &[u8]) -> Option<XmlError> {
        NAMESPACE.parse(octets, LIMITS, "a").err()
    }

    #[test]
    fn what_every_document_is_refused_for() {
        let root = |inner: &str| format!("<a xmlns='urn:x'>{inner}</a>");
        #[rustfmt::skip]
        let table = [
            (root(""),                                      None),
            (format!("\u{feff}\r\n {}\r\n", root("")),      None),
            (String::new(),                                 Some(XmlError::NotWellFormed)),
            ("<a".to_owned(),                               Some(XmlError::NotWellFormed)),
            (format!("<!DOCTYPE a>{}", root("")),           Some(XmlError::NotWellFormed)),
            (format!("<!DOCTYPE a [<!ENTITY b 'c'>]>{}", root("")), Some(XmlError::NotWellFormed)),
            (root("").replace("urn:x", "urn:y"),            Some(XmlError::Root)),
            ("<a/>".to_owned(),                             Some(XmlError::Root)),
            ("<b xmlns='urn:x'/>".to_owned(),               Some(XmlError::Root)),
            (root(&"<b/>".repeat(97)),                      None),
            (root(&"<b/>".repeat(100)),                     Some(XmlError::TooLarge)),
            (root(&" ".repeat(4096)),                       Some(XmlError::TooLarge)),
        ];
        for (text, error) in table {
            assert_eq!(refusal(text.as_bytes()), error, "{text:.200}");
        }
        assert_eq!(refusal(b"<a>\xff</a>"), Some(XmlError::NotUtf8));
    }

    #[test]
    fn children_are_those_of_the_namespace() {
        let text = "<a xmlns='urn:x' xmlns:y='urn:y'><y:b>0</y:b><b> 1 </b><b>2</b><c> </c></a>";
        let document = NAMESPACE.parse(text.as_bytes(), LIMITS, "a").unwrap();
        let root = document.root_element();
        assert_eq!(NAMESPACE.token(root, "b"), Some("1"));
        assert_eq!(NAMESPACE.token(root, "c"), None);
        assert_eq!(NAMESPACE.token(root, "d"), None);
        assert_eq!(NAMESPACE.children(root, "b").count(), 2);
    }

    proptest! {
        #[test]
        fn text_is_read_as_it_was_written(value in "[ -~é\r\n\t]{0,40}", odd: String) {
            let mut out = "<a xmlns=\"urn:x\" b=\"".to_owned();
            text(&mut out, &value).unwrap();
            out.push_str("\">");
            text(&mut out, &value).unwrap();
            out.push_str("<!-- -->");
            text(&mut out, &odd).unwrap();
            out.push_str("</a>");
            let document = NAMESPACE.parse(out.as_bytes(), LIMITS, "a").unwrap();
            let root = document.root_element();
            prop_assert_eq!(root.attribute("b"), Some(value.as_str()));
            if !value.is_empty() {
                prop_assert_eq!(root.text(), Some(value.as_str()));
            }
        }
    }
}
