//! Message templates: text with constants put in once and fixed-width fields patched per message.

use thiserror::Error;

/// The per-message values of a template. Each is written with a fixed width, so neither the
/// length of a message nor its `Content-Length` ever changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields {
    /// Number of the transaction: twelve hexadecimal digits, `{seq}`.
    pub(crate) seq: u64,
    /// Number of the sending user: seven decimal digits, `{from}`.
    pub(crate) from: u32,
    /// Number of the receiving user: seven decimal digits, `{to}`.
    pub(crate) to: u32,
}

/// Digits of `{seq}`: 48 bits last 89 years at 100,000 messages a second.
pub(crate) const SEQ_DIGITS: usize = 12;
const USER_DIGITS: usize = 7;
const CSEQ_DIGITS: usize = 9;

/// Most users a template can name: what seven digits hold.
pub(crate) const USERS_MAX: u32 = 10_000_000;

/// Why a template text was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// A `{name}` is neither a field nor one of the constants given.
    #[error("template names the unknown field {0:?}")]
    Unknown(String),
    /// A `{` without its `}`.
    #[error("template has an open brace without its end")]
    Brace,
}

/// A message ready to be copied and patched.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    patches: Vec<(usize, Field)>,
}

#[derive(Clone, Copy, Debug)]
enum Field {
    Seq,
    From,
    To,
    Cseq,
}

impl Template {
    /// Reads `text`, whose lines end in LF and are sent with CRLF. `{name}` is a constant of
    /// `constants`, one of the fields `{seq} {from} {to} {cseq}`, or `{length}`, the number of
    /// octets after the first empty line.
    pub(crate) fn parse(text: &str, constants: &[(&str, &str)]) -> Result<Self, TemplateError> {
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let body = Self::part(body, constants)?;
        let length = body.bytes.len().to_string();
        let mut constants = constants.to_vec();
        constants.push(("length", &length));
        let separator = if text.contains("\n\n") { "\n\n" } else { "" };
        let mut whole = Self::part(&format!("{head}{separator}"), &constants)?;
        let offset = whole.bytes.len();
        whole.bytes.extend_from_slice(&body.bytes);
        whole.patches.extend(body.patches.iter().map(|(at, field)| (at + offset, *field)));
        Ok(whole)
    }

    /// Octets of every message this template renders.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Writes one message to the start of `out`; its length, or `None` when `out` is too short.
    pub(crate) fn render(&self, fields: &Fields, out: &mut [u8]) -> Option<usize> {
        let out = out.get_mut(..self.bytes.len())?;
        out.copy_from_slice(&self.bytes);
        for (at, field) in &self.patches {
            let place = out.get_mut(*at..at + field.width())?;
            match field {
                Field::Seq => hexadecimal(fields.seq, place),
                Field::From => decimal(u64::from(fields.from), place),
                Field::To => decimal(u64::from(fields.to), place),
                // Never zero, and below 2**31 (RFC 3261 §8.1.1.5).
                Field::Cseq => decimal(100_000_000 + fields.seq % 900_000_000, place),
            }
        }
        Some(self.bytes.len())
    }

    fn part(text: &str, constants: &[(&str, &str)]) -> Result<Self, TemplateError> {
        let mut template = Self { bytes: Vec::new(), patches: Vec::new() };
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            template.literal(before);
            let (name, tail) = after.split_once('}').ok_or(TemplateError::Brace)?;
            template.named(name, constants)?;
            rest = tail;
        }
        template.literal(rest);
        Ok(template)
    }

    fn literal(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.replace('\n', "\r\n").as_bytes());
    }

    fn named(&mut self, name: &str, constants: &[(&str, &str)]) -> Result<(), TemplateError> {
        let field = match name {
            "seq" => Field::Seq,
            "from" => Field::From,
            "to" => Field::To,
            "cseq" => Field::Cseq,
            _ => {
                let constant = constants.iter().find(|(known, _)| *known == name);
                let (_, value) = constant.ok_or_else(|| TemplateError::Unknown(name.to_owned()))?;
                self.bytes.extend_from_slice(value.as_bytes());
                return Ok(());
            }
        };
        self.patches.push((self.bytes.len(), field));
        self.bytes.resize(self.bytes.len() + field.width(), b'0');
        Ok(())
    }
}

impl Field {
    fn width(self) -> usize {
        match self {
            Self::Seq => SEQ_DIGITS,
            Self::From | Self::To => USER_DIGITS,
            Self::Cseq => CSEQ_DIGITS,
        }
    }
}

/// Fills `place` with the low digits of `number`, leading zeros included.
fn decimal(mut number: u64, place: &mut [u8]) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

fn hexadecimal(mut number: u64, place: &mut [u8]) {
    for digit in place.iter_mut().rev() {
        let nibble = u8::try_from(number & 0xf).unwrap_or(0);
        *digit = if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble };
        number >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str, constants: &[(&str, &str)], fields: Fields) -> String {
        let template = Template::parse(text, constants).unwrap();
        let mut out = [0; 512];
        let len = template.render(&fields, &mut out).unwrap();
        assert_eq!(len, template.len());
        String::from_utf8(out[..len].to_vec()).unwrap()
    }

    #[test]
    fn fields_have_fixed_width() {
        #[rustfmt::skip]
        let table = [
            ("<{seq}>",  Fields { seq: 0xab, ..Fields::default() },      "<0000000000ab>"),
            ("<{seq}>",  Fields { seq: u64::MAX, ..Fields::default() },  "<ffffffffffff>"),
            ("{from}-",  Fields { from: 42, ..Fields::default() },       "0000042-"),
            ("{to}{to}", Fields { to: 9_999_999, ..Fields::default() },  "99999999999999"),
            ("{cseq} M", Fields { seq: 900_000_001, ..Fields::default() }, "100000001 M"),
        ];
        for (text, fields, expect) in table {
            assert_eq!(rendered(text, &[], fields), expect, "{text}");
        }
    }

    #[test]
    fn length_counts_the_body_as_sent() {
        let text = "M\nContent-Length: {length}\n\n{host}\n{from}";
        let expect = "M\r\nContent-Length: 11\r\n\r\nhi\r\n0000007";
        assert_eq!(rendered(text, &[("host", "hi")], Fields { seq: 1, from: 7, to: 0 }), expect);
        assert_eq!(rendered("L: {length}\n\n", &[], Fields::default()), "L: 0\r\n\r\n");
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        let refused = |text| Template::parse(text, &[]).unwrap_err();
        assert_eq!(refused("{who}"), TemplateError::Unknown("who".to_owned()));
        assert_eq!(refused("a {seq"), TemplateError::Brace);
    }

    #[test]
    fn short_buffer_is_refused() {
        let template = Template::parse("{seq}", &[]).unwrap();
        assert_eq!(template.render(&Fields::default(), &mut [0; 11]), None);
    }
}
