//! Header parameters: `*( SEMI generic-param )` (RFC 3261 §25.1).

use std::borrow::Cow;
use std::fmt;

use super::{Encode, Fault, Sink};
use crate::grammar::{self, Class, Scanner};

/// Most parameters of one header value: a local limit, RFC 3261 sets none; the largest header in
/// RFC 4475 has three. A value with more is refused ([`Fault::TooMany`]).
pub const PARAMS_MAX: usize = 64;

/// What a value without quotation marks is made of: `token` and `host`; also `/`, `@` and `=`,
/// which `gen-value` wants quoted but charging headers carry plainly (`ccf=aaa://host`).
const VALUE: Class = Class::TOKEN.with(b"[]:/@=");

/// The value of a parameter: a token, a host, or a quoted string in its quotation marks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Value<'a>(Form<'a>);

/// What a value was recognised as.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form<'a> {
    Token(&'a str),
    /// Without quotation marks, but with octets no token has.
    Plain(&'a str),
    /// With its quotation marks.
    Quoted(&'a [u8]),
}

impl<'a> Value<'a> {
    /// Takes a token, a host or a quoted string; `None` when nothing of that is next.
    pub(super) fn scan(scanner: &mut Scanner<'a>) -> Option<Self> {
        if scanner.peek() == Some(b'"') {
            return scanner.quoted_string().map(Form::Quoted).map(Self);
        }
        let start = scanner.rest();
        scanner.take_run(&Class::TOKEN);
        let more = scanner.take_while(|octet| VALUE.contains(octet));
        let text = scanner.text_since(start).filter(|text| !text.is_empty())?;
        Some(Self(if more.is_empty() { Form::Token(text) } else { Form::Plain(text) }))
    }

    /// As written, with quotation marks if it has them.
    pub fn raw(&self) -> &'a [u8] {
        match self.0 {
            Form::Token(text) | Form::Plain(text) => text.as_bytes(),
            Form::Quoted(octets) => octets,
        }
    }

    /// Whether it is a quoted string.
    pub fn is_quoted(&self) -> bool {
        matches!(self.0, Form::Quoted(_))
    }

    /// The value as it is meant: a quoted string without its marks and escapes.
    pub fn unquoted(&self) -> Cow<'a, [u8]> {
        grammar::unquote(self.raw())
    }

    /// The text between the quotation marks, or the unquoted value, when no escape stands in it and
    /// it is UTF-8; for values such as URIs and numbers, which need neither.
    pub fn as_str(&self) -> Option<&'a str> {
        match self.0 {
            Form::Token(text) | Form::Plain(text) => Some(text),
            Form::Quoted(octets) => match grammar::unquote(octets) {
                Cow::Borrowed(octets) => std::str::from_utf8(octets).ok(),
                Cow::Owned(_) => None,
            },
        }
    }

    /// The value when it is a plain token.
    pub fn token(&self) -> Option<&'a str> {
        match self.0 {
            Form::Token(text) => Some(text),
            Form::Plain(_) | Form::Quoted(_) => None,
        }
    }

    /// The value when it is plain digits; over 64 bits it is [`u64::MAX`].
    pub fn number(&self) -> Option<u64> {
        grammar::decimal(self.raw())
    }

    /// Whether the value is this word, whatever the case, quoted or not.
    pub fn is(&self, word: &str) -> bool {
        self.unquoted().eq_ignore_ascii_case(word.as_bytes())
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({})", String::from_utf8_lossy(self.raw()))
    }
}

impl Encode for Value<'_> {
    fn write_to<S: Sink>(&self, out: &mut S) {
        out.octets(self.raw());
    }
}

display_encoded!(Value<'_>);

/// One parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param<'a> {
    /// The name as written; names compare whatever their case.
    pub name: &'a str,
    /// The value; `None` without an equals sign.
    pub value: Option<Value<'a>>,
}

impl<'a> Param<'a> {
    /// Takes `token [ EQUAL gen-value ]`.
    pub(super) fn scan(scanner: &mut Scanner<'a>) -> Option<Self> {
        let name = scanner.token()?;
        let value = if scanner.separator(b'=') { Some(Value::scan(scanner)?) } else { None };
        Some(Self { name, value })
    }

    /// Whether the parameter has this name.
    #[inline]
    pub fn is(&self, name: &str) -> bool {
        // Nearly always it is written as the RFCs write it.
        self.name == name || self.name.eq_ignore_ascii_case(name)
    }
}

/// The parameters of a header value, checked when they were read.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Params<'a> {
    /// Empty, or from the first semicolon to the last octet of the last parameter; the semicolon
    /// is missing where the header is nothing but parameters.
    raw: &'a [u8],
}

impl<'a> Params<'a> {
    /// Reads parameters: nothing, or text that begins with a semicolon. White space around
    /// semicolons and equals signs is allowed, an empty parameter is not.
    pub fn parse(value: &'a [u8]) -> Result<Self, Fault> {
        Self::parse_each(value, |_| Ok(()))
    }

    /// Like [`Params::parse`], showing each parameter to `check`.
    pub(super) fn parse_each(
        value: &'a [u8],
        check: impl FnMut(Param<'a>) -> Result<(), Fault>,
    ) -> Result<Self, Fault> {
        Self::scan_each(Scanner::new(grammar::trim(value)), false, check)
    }

    /// Like [`Params::parse_each`], for what is left of a value that was trimmed.
    #[inline(always)]
    pub(super) fn scan_rest(
        mut scanner: Scanner<'a>,
        check: impl FnMut(Param<'a>) -> Result<(), Fault>,
    ) -> Result<Self, Fault> {
        if scanner.is_empty() {
            return Ok(Self::default());
        }
        scanner.take_while(grammar::is_lws);
        Self::scan_each(scanner, false, check)
    }

    /// Reads a header that is nothing but parameters: the first has no semicolon before it.
    pub(super) fn parse_bare(value: &'a [u8]) -> Result<Self, Fault> {
        Self::scan_each(Scanner::new(grammar::trim(value)), true, |_| Ok(()))
    }

    fn scan_each(
        mut scanner: Scanner<'a>,
        bare: bool,
        mut check: impl FnMut(Param<'a>) -> Result<(), Fault>,
    ) -> Result<Self, Fault> {
        let raw = scanner.rest();
        if bare && scanner.is_empty() {
            return Err(Fault::Empty);
        }
        let mut count = 0;
        while !scanner.is_empty() {
            let first = bare && count == 0;
            if !first && !scanner.separator(b';') {
                return Err(if count == 0 { Fault::Syntax } else { Fault::Parameter });
            }
            count += 1;
            if count > PARAMS_MAX {
                return Err(Fault::TooMany);
            }
            check(Param::scan(&mut scanner).ok_or(Fault::Parameter)?)?;
        }
        Ok(Self { raw })
    }

    /// As written, folding included; empty or beginning with a semicolon.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// The parameters in order.
    pub fn iter(&self) -> impl Iterator<Item = Param<'a>> + use<'a> {
        let mut scanner = Scanner::new(self.raw);
        let mut bare = !self.raw.starts_with(b";");
        std::iter::from_fn(move || {
            let next = std::mem::take(&mut bare) || scanner.separator(b';');
            next.then(|| Param::scan(&mut scanner)).flatten()
        })
    }

    /// The first parameter of this name, whatever its case.
    pub fn first(&self, name: &str) -> Option<Param<'a>> {
        self.iter().find(|param| param.is(name))
    }

    /// Whether a parameter of this name is there.
    pub fn has(&self, name: &str) -> bool {
        self.first(name).is_some()
    }

    /// The value of the first parameter of this name; `None` when it is absent or has no value.
    pub fn value(&self, name: &str) -> Option<Value<'a>> {
        self.first(name).and_then(|param| param.value)
    }

    /// The value of the first parameter of this name when it is a plain token.
    pub fn token(&self, name: &str) -> Option<&'a str> {
        self.value(name).and_then(|value| value.token())
    }
}

impl fmt::Debug for Params<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Params({})", String::from_utf8_lossy(self.raw))
    }
}

impl Encode for Params<'_> {
    fn write_to<S: Sink>(&self, out: &mut S) {
        out.octets(self.raw);
    }
}

display_encoded!(Params<'_>);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parses() {
        #[rustfmt::skip]
        let table = [
            ("", "tag", None),
            (";tag=98asjd8", "TAG", Some("98asjd8")),
            (";\r\n  tag = 98asjd8", "tag", Some("98asjd8")), // RFC 4475 §3.1.1.1
            ("; newparam =\r\n      newvalue ;\r\n  secondparam ; q = 0.33", "q", Some("0.33")),
            (";received=[2001:db8::9:255]", "received", Some("[2001:db8::9:255]")), // RFC 5118 §4.5
            (";received=2001:db8::9:255", "received", Some("2001:db8::9:255")),
            (";text=\"a;b=c\\\"\";x=1", "x", Some("1")),
            (";text=\"a;b=c\\\"\";x=1", "text", Some("a;b=c\"")),
            (";ccf=aaa://ccf.ims.test:3868", "ccf", Some("aaa://ccf.ims.test:3868")),
            (
                ";fromParam''~+*_!.-%=\"\u{440}\u{430}\"",
                "fromParam''~+*_!.-%",
                Some("\u{440}\u{430}"),
            ),
        ];
        for (text, name, value) in table {
            let params = Params::parse(text.as_bytes()).unwrap();
            let found = params.value(name).map(|value| value.unquoted().into_owned());
            assert_eq!(found.as_deref(), value.map(str::as_bytes), "{text}");
            assert_eq!(params.to_string(), text);
        }
    }

    #[test]
    fn refuses() {
        let table = [
            ("tag=1", Fault::Syntax),
            (";", Fault::Parameter),
            (";\r\n  ;", Fault::Parameter),
            (";;;;", Fault::Parameter), // RFC 4475 §3.1.2.1
            (";a;", Fault::Parameter),
            (";a=", Fault::Parameter),
            (";=b", Fault::Parameter),
            (";a b", Fault::Parameter),
            (";a=\"b", Fault::Parameter),
            (";a=<b>", Fault::Parameter),
            (";par@host", Fault::Parameter),
            (";a=b,c", Fault::Parameter),
        ];
        for (text, fault) in table {
            assert_eq!(Params::parse(text.as_bytes()), Err(fault), "{text}");
        }
        assert!(Params::parse(";p".repeat(PARAMS_MAX).as_bytes()).is_ok());
        let over = ";p".repeat(PARAMS_MAX + 1);
        assert_eq!(Params::parse(over.as_bytes()), Err(Fault::TooMany));
    }

    #[test]
    fn values() {
        let params = Params::parse(b";a=12;b=\"uas\";c=Uas;d;e=\"a\\b\";f=a:b;g=\"\xff\"").unwrap();
        let value = |name| params.value(name).unwrap();
        assert_eq!((value("a").number(), value("b").number()), (Some(12), None));
        assert!(value("b").is("UAS") && value("c").is("uas") && !value("a").is("uas"));
        assert_eq!((value("b").token(), value("c").token()), (None, Some("Uas")));
        assert_eq!((value("b").as_str(), value("e").as_str()), (Some("uas"), None));
        assert_eq!((value("f").token(), value("f").as_str()), (None, Some("a:b")));
        assert_eq!(value("g").as_str(), None);
        assert!(value("b").is_quoted() && !value("f").is_quoted());
        assert!(params.has("d") && params.value("d").is_none() && !params.has("x"));
    }

    proptest! {
        #[test]
        fn iteration_finds_what_was_written(list in proptest::collection::vec(
            (
                "[a-zA-Z0-9.!%*_+`'~-]{1,6}",
                "|=[a-z0-9\\[\\]:]{1,6}|= \"([a-z;, ]|\\\\[ -~]){0,6}\"",
            ), 0..6,
        )) {
            let written = list.iter().map(|(name, value)| format!(" ; {name}{value}"));
            let text: String = written.collect();
            let params = Params::parse(text.as_bytes()).unwrap();
            let found: Vec<String> = params.iter().map(|param| param.name.to_owned()).collect();
            let names: Vec<String> = list.iter().map(|(name, _)| name.clone()).collect();
            prop_assert_eq!(found, names);
            for (param, (_, value)) in params.iter().zip(&list) {
                let value = value.trim_start_matches(['=', ' ']);
                prop_assert_eq!(param.value.map_or(String::new(), |have| have.to_string()), value);
            }
            let text = params.to_string();
            prop_assert_eq!(Params::parse(text.as_bytes()), Ok(params));
        }

        #[test]
        fn never_panics(value: Vec<u8>) {
            let _ = Params::parse(&value).map(|params| params.iter().count());
        }
    }
}
