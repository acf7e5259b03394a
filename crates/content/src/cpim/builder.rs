//! Writing `message/cpim`.

use bytes::{BufMut, Bytes, BytesMut};

use super::address::written;
use super::{escape, is_name};

/// A `message/cpim` body being written, header by header in the order of the calls.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    head: String,
    fault: Option<BuildError>,
}

/// Why a body could not be written: the caller's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// A header name, prefix or language is not made of the characters allowed (§3.6).
    #[error("header name, prefix or language has a character that is not allowed")]
    Name,
    /// A URI is empty or has a character that would end it.
    #[error("URI has a character that is not allowed")]
    Uri,
    /// A MIME header field value, or a value to be written as it is, has a control character.
    #[error("header value has a control character")]
    Value,
}

impl Builder {
    /// A body without headers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `From` (§4.1); an empty `formal_name` is left out.
    pub fn from(self, formal_name: &str, uri: &str) -> Self {
        self.address("From", formal_name, uri)
    }

    /// Adds `To` (§4.2); an empty `formal_name` is left out.
    pub fn to(self, formal_name: &str, uri: &str) -> Self {
        self.address("To", formal_name, uri)
    }

    /// Adds `cc` (§4.3); an empty `formal_name` is left out.
    pub fn cc(self, formal_name: &str, uri: &str) -> Self {
        self.address("cc", formal_name, uri)
    }

    /// Adds `DateTime` (§4.4), RFC 3339.
    pub fn date_time(self, date_time: &str) -> Self {
        self.header("DateTime", date_time)
    }

    /// Adds `Subject` (§4.5) with its language, if known.
    pub fn subject(mut self, language: Option<&str>, text: &str) -> Self {
        let parameter = match language {
            Some(tag) if is_name(tag) => format!(";lang={tag}"),
            Some(_) => {
                self.fault = Some(BuildError::Name);
                return self;
            }
            None => String::new(),
        };
        self.push("Subject", &parameter, &escape(text));
        self
    }

    /// Declares that `prefix` means the namespace `uri` from here on (§4.6); empty is the default
    /// namespace.
    pub fn namespace(mut self, prefix: &str, uri: &str) -> Self {
        if !(prefix.is_empty() || is_name(prefix)) {
            self.fault = Some(BuildError::Name);
            return self;
        }
        self.check_uri(uri);
        let space = if prefix.is_empty() { "" } else { " " };
        self.push("NS", "", &format!("{prefix}{space}<{uri}>"));
        self
    }

    /// Adds a header called `name`, with its prefix if it has one; `text` is escaped (§2.3).
    pub fn header(mut self, name: &str, text: &str) -> Self {
        self.push(name, "", &escape(text));
        self
    }

    /// Adds a header whose `value` is written as it is: one read from another message.
    pub fn header_as_written(mut self, name: &str, value: &str) -> Self {
        if value.contains(|character: char| character.is_ascii_control()) {
            self.fault = Some(BuildError::Value);
        }
        self.push(name, "", value);
        self
    }

    /// Ends the headers and adds the content with its MIME header fields, `Content-Type` first;
    /// `Content-Length` is added.
    ///
    /// # Errors
    /// [`BuildError`]: the first fault of all calls.
    pub fn build(self, fields: &[(&str, &str)], content: &[u8]) -> Result<Bytes, BuildError> {
        let length = content.len().to_string();
        let fields = [fields, &[("Content-Length", &length)]].concat();
        let mut octets = BytesMut::from(&*self.head(&fields)?);
        octets.put_slice(content);
        Ok(octets.freeze())
    }

    /// Ends the headers and gives all that stands before the content, which may follow later and
    /// whose length need not be known: its MIME header fields are `fields`, `Content-Type` first.
    ///
    /// # Errors
    /// [`BuildError`]: the first fault of all calls.
    pub fn head(self, fields: &[(&str, &str)]) -> Result<Vec<u8>, BuildError> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let mut head = self.head;
        head.push_str("\r\n");
        for (name, value) in fields {
            if !is_name(name) {
                return Err(BuildError::Name);
            }
            if value.contains(|character: char| character.is_ascii_control()) {
                return Err(BuildError::Value);
            }
            for piece in [name, ": ", value, "\r\n"] {
                head.push_str(piece);
            }
        }
        head.push_str("\r\n");
        Ok(head.into_bytes())
    }

    fn address(mut self, name: &str, formal_name: &str, uri: &str) -> Self {
        self.check_uri(uri);
        self.push(name, "", &written(formal_name, uri));
        self
    }

    fn check_uri(&mut self, uri: &str) {
        let bad = |character: char| character.is_ascii_control() || " <>\"".contains(character);
        if uri.is_empty() || uri.contains(bad) {
            self.fault = Some(BuildError::Uri);
        }
    }

    fn push(&mut self, name: &str, parameters: &str, value: &str) {
        let (prefix, local) = name.split_once('.').unwrap_or(("x", name));
        if !is_name(prefix) || !is_name(local) {
            self.fault = Some(BuildError::Name);
        }
        for piece in [name, ":", parameters, " ", value, "\r\n"] {
            self.head.push_str(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Cpim, Limits};
    use super::*;

    #[test]
    fn writes() {
        let octets = Builder::new()
            .from("Alice \"A\"", "im:alice@example.com")
            .to("", "im:bob@example.com")
            .cc("", "im:carol@example.com")
            .date_time("2006-04-04T12:16:49-05:00")
            .subject(Some("en"), "two\nlines")
            .namespace("imdn", "urn:ietf:params:imdn")
            .header("imdn.Message-ID", "34jk324j")
            .build(&[("Content-Type", "text/plain")], b"Hello World")
            .unwrap();
        let expect = "From: \"Alice \\\"A\\\"\" <im:alice@example.com>\r\n\
            To: <im:bob@example.com>\r\ncc: <im:carol@example.com>\r\n\
            DateTime: 2006-04-04T12:16:49-05:00\r\nSubject:;lang=en two\\nlines\r\n\
            NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: 34jk324j\r\n\r\n\
            Content-Type: text/plain\r\nContent-Length: 11\r\n\r\nHello World";
        assert_eq!(octets, expect);
    }

    #[test]
    fn refuses() {
        let build = |builder: Builder| builder.build(&[], b"");
        #[rustfmt::skip]
        let table = [
            (Builder::new().from("", ""),                      BuildError::Uri),
            (Builder::new().to("", "im:a>\r\nTo: <im:b"),      BuildError::Uri),
            (Builder::new().namespace("a.b", "urn:x"),         BuildError::Name),
            (Builder::new().namespace("a", "urn:x>"),          BuildError::Uri),
            (Builder::new().header("a b", "x"),                BuildError::Name),
            (Builder::new().header("a.b.c", "x"),              BuildError::Name),
            (Builder::new().subject(Some("e n"), "x"),         BuildError::Name),
            (Builder::new().header_as_written("a", "x\r\ny"),  BuildError::Value),
        ];
        for (builder, error) in table {
            assert_eq!(build(builder.clone()), Err(error), "{builder:?}");
        }
        assert_eq!(Builder::new().build(&[("A", "b\r\nC: d")], b""), Err(BuildError::Value));
        assert_eq!(Builder::new().build(&[("A:", "b")], b""), Err(BuildError::Name));
    }

    proptest! {
        #[test]
        fn build_then_parse_is_identity(
            name: String, uri in "[a-z]{1,5}:[a-z@.]{1,20}", subject in "[^ ](.*[^ ])?",
            language in prop::option::of("[a-z]{2}"), content: Vec<u8>,
        ) {
            let octets = Builder::new()
                .from(&name, &uri)
                .subject(language.as_deref(), &subject)
                .build(&[("Content-Type", "text/plain")], &content)
                .unwrap();
            let read = Cpim::parse(&octets, &Limits::default()).unwrap();
            let from = read.from().unwrap();
            prop_assert_eq!((from.formal_name(), from.uri), (name.into(), uri.as_str()));
            let written = read.subjects().next().unwrap();
            prop_assert_eq!(written.text(), subject);
            prop_assert_eq!(written.language(), language.as_deref());
            prop_assert_eq!(&read.content()[..], &content[..]);
        }
    }
}
