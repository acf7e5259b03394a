//! `message/cpim` (RFC 3862) as a client writes and reads it.

/// A message in its wrapper.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cpim {
    /// The URI in From.
    pub from: String,
    /// The URI in To.
    pub to: String,
    /// Other headers of the message, as written.
    pub headers: Vec<(String, String)>,
    /// The type of the content.
    pub content_type: String,
    /// The content as text.
    pub text: String,
}

impl Cpim {
    /// A text.
    pub fn text(from: &str, to: &str, text: &str) -> Self {
        Self {
            from: from.to_owned(),
            to: to.to_owned(),
            headers: Vec::new(),
            content_type: "text/plain;charset=utf-8".to_owned(),
            text: text.to_owned(),
        }
    }

    /// As it is written.
    pub fn write(&self) -> String {
        let Self { from, to, headers, content_type, text } = self;
        let more: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let more = more.concat();
        format!(
            "From: <{from}>\r\nTo: <{to}>\r\n{more}\r\nContent-Type: {content_type}\r\n\r\n{text}"
        )
    }

    /// Reads one; `None` when there is none.
    pub fn read(text: &str) -> Option<Self> {
        let (head, rest) = text.split_once("\r\n\r\n")?;
        let (inner, text) = rest.split_once("\r\n\r\n").unwrap_or((rest, ""));
        let mut read = Self { text: text.to_owned(), ..Self::default() };
        for line in head.split("\r\n") {
            let (name, value) = line.split_once(':')?;
            let value = value.trim();
            match name.trim().to_ascii_lowercase().as_str() {
                "from" => read.from = uri(value),
                "to" if read.to.is_empty() => read.to = uri(value),
                _ => read.headers.push((name.trim().to_owned(), value.to_owned())),
            }
        }
        let kind = inner.split("\r\n").find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.trim().eq_ignore_ascii_case("content-type").then(|| value.trim().to_owned())
        });
        read.content_type = kind.unwrap_or_default();
        Some(read)
    }
}

fn uri(value: &str) -> String {
    let inside = value.rsplit_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inside.map_or(value, |(uri, _)| uri).to_owned()
}

#[cfg(test)]
mod tests {
    use super::Cpim;

    #[test]
    fn what_is_written_is_read() {
        let mut cpim = Cpim::text("sip:a@x", "sip:b@x", "one\r\n\r\ntwo");
        cpim.headers.push(("DateTime".into(), "2026-01-01T00:00:00Z".into()));
        assert_eq!(Cpim::read(&cpim.write()), Some(cpim));
        let named = "From: A <im:a@x>\r\nTo: <im:b@x>\r\n\r\nContent-type: text/plain\r\n\r\nhi";
        assert_eq!(Cpim::read(named).unwrap().from, "im:a@x");
        assert_eq!(Cpim::read("hello"), None);
    }
}
