//! Extended regular expressions of POSIX (IEEE Std 1003.1 §9.4), as filter criteria hold them.

use std::fmt;

use regex_lite::{Regex, RegexBuilder};

/// Longest expression in octets; local limit, TS 29.228 sets none. Longer ones are refused.
pub const ERE_OCTETS_MAX: usize = 1024;

/// Memory one compiled expression may take, in octets; local limit. It bounds what nested
/// repetition can cost; matching takes time linear in the text.
const COMPILED_OCTETS_MAX: usize = 256 * 1024;

/// How deep parentheses may nest; local limit.
const NESTING_MAX: u32 = 32;

/// An extended regular expression, matched anywhere in a text, whatever the case.
///
/// Case does not count because header field names and feature tags have none (RFC 3261 §7.3.1,
/// RFC 3840 §9), and S-CSCFs match so.
#[derive(Clone)]
pub struct Ere {
    text: String,
    regex: Regex,
}

/// Why a text is no extended regular expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EreError {
    /// It is longer than [`ERE_OCTETS_MAX`].
    #[error("expression longer than {ERE_OCTETS_MAX} octets")]
    Length,
    /// A bracket expression has no end.
    #[error("bracket expression without an end")]
    Bracket,
    /// Collating symbols and equivalence classes depend on a locale; there is none here.
    #[error("collating symbol or equivalence class")]
    Collation,
    /// The expression ends in a backslash.
    #[error("backslash at the end")]
    Escape,
    /// Anything else, in words.
    #[error("{0}")]
    Syntax(String),
}

impl Ere {
    /// Reads an expression.
    ///
    /// # Errors
    /// [`EreError`], also when the compiled expression would be too large.
    pub fn parse(text: &str) -> Result<Self, EreError> {
        if text.len() > ERE_OCTETS_MAX {
            return Err(EreError::Length);
        }
        let regex = RegexBuilder::new(&translate(text)?)
            .case_insensitive(true)
            .dot_matches_new_line(true)
            .nest_limit(NESTING_MAX)
            .size_limit(COMPILED_OCTETS_MAX)
            .build()
            .map_err(|error| EreError::Syntax(error.to_string()))?;
        Ok(Self { text: text.to_owned(), regex })
    }

    /// The expression as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it matches somewhere in `octets`; what is not UTF-8 there matches nothing but `.`.
    pub fn matches(&self, octets: &[u8]) -> bool {
        self.regex.is_match(&String::from_utf8_lossy(octets))
    }
}

impl PartialEq for Ere {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Ere {}

impl fmt::Debug for Ere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ere({:?})", self.text)
    }
}

/// Writes an expression of POSIX in the syntax of `regex_lite`: they differ inside brackets and in
/// what a backslash means before a letter.
fn translate(text: &str) -> Result<String, EreError> {
    let mut out = String::with_capacity(text.len() + 8);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        rest = rest.get(first.len_utf8()..).unwrap_or_default();
        match first {
            '[' => rest = bracket(rest, &mut out)?,
            '\\' => {
                let escaped = rest.chars().next().ok_or(EreError::Escape)?;
                rest = rest.get(escaped.len_utf8()..).unwrap_or_default();
                push_literal(escaped, &mut out);
            }
            // `(?` begins a group of Perl; POSIX leaves it undefined.
            '(' if rest.starts_with('?') => return Err(EreError::Syntax("`(?`".to_owned())),
            other => out.push(other),
        }
    }
    Ok(out)
}

/// Translates a bracket expression whose `[` was read; returns what follows its `]`.
fn bracket<'a>(text: &'a str, out: &mut String) -> Result<&'a str, EreError> {
    out.push('[');
    let mut rest = text;
    if let Some(after) = rest.strip_prefix('^') {
        out.push('^');
        rest = after;
    }
    // The first `]` is a literal (§9.3.5).
    if let Some(after) = rest.strip_prefix(']') {
        out.push_str("\\]");
        rest = after;
    }
    loop {
        let first = rest.chars().next().ok_or(EreError::Bracket)?;
        rest = rest.get(first.len_utf8()..).unwrap_or_default();
        match first {
            ']' => {
                out.push(']');
                return Ok(rest);
            }
            '[' if rest.starts_with(':') => {
                let end = rest.find(":]").ok_or(EreError::Bracket)?;
                let (name, after) = rest.split_at(end + 2);
                out.push('[');
                out.push_str(name);
                rest = after;
            }
            '[' if rest.starts_with(['.', '=']) => return Err(EreError::Collation),
            '-' if !rest.starts_with(']') && !out.ends_with(['[', '^']) => out.push('-'),
            other => push_literal(other, out),
        }
    }
}

fn push_literal(letter: char, out: &mut String) {
    // Only these: before others a backslash is an error there, or a word boundary (`\<`).
    if r"\.+*?()|[]{}^$#&-~".contains(letter) {
        out.push('\\');
    }
    out.push(letter);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{COMPILED_OCTETS_MAX, ERE_OCTETS_MAX, Ere, EreError};

    #[test]
    fn expressions_match() {
        #[rustfmt::skip]
        let table: [(&str, &[u8], bool); 20] = [
            (r"\+g\.oma\.sip-im",  b"*;+g.oma.sip-im;require;explicit", true),
            (r"\+g\.oma\.sip-im",  b"*;+G.OMA.SIP-IM",                  true), // CORE-035
            (r"\+g\.oma\.sip-im",  b"*;+g.oma-sip-im",                  false),
            ("accept-contact",     b"Accept-Contact",                   true),
            ("^To$",               b"to",                               true),
            ("^To$",               b"P-To",                             false),
            ("^(a|b)+c{2,3}$",     b"abacc",                            true),
            ("^(a|b)+c{2,3}$",     b"abac",                             false),
            ("[[:digit:]]{3}",     b"x123",                             true),
            ("[[:digit:]]{3}",     b"x12y3",                            false),
            ("[]x]",               b"]",                                true),
            ("[^]x]",              b"]x",                               false),
            (r"[\d]",              b"d",                                true),  // no Perl class
            (r"[\d]",              b"7",                                false),
            ("[a-c-]$",            b"-",                                true),
            ("[a-c-]$",            b"d",                                false),
            ("[&&~~]",             b"&",                                true),
            (r"^\d$",              b"d",                                true),  // `\d` is a `d`
            ("a.b",                b"a\r\nb",                           false),
            ("a.+b",               b"a\xff\n b",                        true),
        ];
        for (ere, text, matches) in table {
            let ere = Ere::parse(ere).unwrap();
            assert_eq!(ere.matches(text), matches, "{ere:?} {}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn expressions_are_refused() {
        let syntax = |ere: &str| matches!(Ere::parse(ere), Err(EreError::Syntax(_)));
        assert_eq!(Ere::parse("[a"), Err(EreError::Bracket));
        assert_eq!(Ere::parse("[[.hyphen.]]"), Err(EreError::Collation));
        assert_eq!(Ere::parse("a\\"), Err(EreError::Escape));
        assert!(syntax("(a") && syntax("a{3,2}") && syntax("(?i)a") && syntax("[c-a]"));
    }

    #[test]
    fn expressions_are_bounded() {
        assert!(Ere::parse(&"a".repeat(ERE_OCTETS_MAX)).is_ok());
        assert_eq!(Ere::parse(&"a".repeat(ERE_OCTETS_MAX + 1)), Err(EreError::Length));
        let bomb = Ere::parse("((((a{50}){50}){50}){50})");
        assert!(matches!(bomb, Err(EreError::Syntax(_))), "over {COMPILED_OCTETS_MAX} octets");
        let nested = format!("{}a{}", "(".repeat(200), ")".repeat(200));
        assert!(matches!(Ere::parse(&nested), Err(EreError::Syntax(_))));
    }

    proptest! {
        #[test]
        fn never_panics(ere in "[\\[\\]\\\\()*+?{}^$|.:a-d0-9,&~=-]{0,16}", text: Vec<u8>) {
            if let Ok(ere) = Ere::parse(&ere) {
                ere.matches(&text);
            }
        }

        #[test]
        fn escaped_text_matches_itself(text in "[ -~]{1,16}") {
            let escaped: String = text.chars().flat_map(|letter| ['\\', letter]).collect();
            prop_assert!(Ere::parse(&escaped).unwrap().matches(text.as_bytes()));
        }
    }
}
