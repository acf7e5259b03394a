//! The character escape mechanism of header values (RFC 3862 §2.3).

use std::borrow::Cow;

/// `text` as it is written in a header value: `\` and control characters escaped (§2.3.1).
pub fn escape(text: &str) -> Cow<'_, str> {
    let special = |character: char| character == '\\' || character.is_ascii_control();
    if !text.contains(special) {
        return Cow::Borrowed(text);
    }
    let mut written = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\\' => written.push_str("\\\\"),
            '\u{8}' => written.push_str("\\b"),
            '\t' => written.push_str("\\t"),
            '\n' => written.push_str("\\n"),
            '\r' => written.push_str("\\r"),
            other if special(other) => {
                written.push_str(&format!("\\u{:04x}", u32::from(other)));
            }
            other => written.push(other),
        }
    }
    Cow::Owned(written)
}

/// `value` with its escapes resolved.
///
/// An unknown escape is the character after the backslash, a backslash at the end is dropped
/// (§2.3.1). `\uxxxx` is a UCS-2 code: two that make a surrogate pair are one character, half a
/// pair is U+FFFD.
pub fn unescape(value: &str) -> Cow<'_, str> {
    if !value.contains('\\') {
        return Cow::Borrowed(value);
    }
    let mut text = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('\\') {
        text.push_str(before);
        let mut characters = after.chars();
        let next = characters.next();
        rest = characters.as_str();
        match next {
            Some('b') => text.push('\u{8}'),
            Some('t') => text.push('\t'),
            Some('n') => text.push('\n'),
            Some('r') => text.push('\r'),
            Some('u') => rest = push_code(&mut text, rest),
            Some(other) => text.push(other),
            None => {}
        }
    }
    text.push_str(rest);
    Cow::Owned(text)
}

/// Appends the character that `rest`, after `\u`, begins with; gives what follows it.
fn push_code<'a>(text: &mut String, rest: &'a str) -> &'a str {
    let Some((code, rest)) = code(rest) else {
        text.push('u');
        return rest;
    };
    let low = rest.strip_prefix("\\u").and_then(self::code);
    if let Some((low, after)) = low
        && let Some(Ok(character)) = char::decode_utf16([code, low]).next()
        && character > '\u{ffff}'
    {
        text.push(character);
        return after;
    }
    text.push(char::from_u32(u32::from(code)).unwrap_or(char::REPLACEMENT_CHARACTER));
    rest
}

/// Four hexadecimal digits and what follows them.
fn code(rest: &str) -> Option<(u16, &str)> {
    let digits = rest.get(..4).filter(|digits| digits.bytes().all(|d| d.is_ascii_hexdigit()))?;
    Some((u16::from_str_radix(digits, 16).ok()?, rest.get(4..)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn unescapes() {
        #[rustfmt::skip]
        let table = [
            ("plain",                 "plain"),
            (r#"\\ \" \' \b\t\n\r"#,  "\\ \" ' \u{8}\t\n\r"),
            (r"\u00e9\u0041",         "éA"),
            (r"\ud83d\ude00!",        "😀!"),
            (r"\ud83dx\ude00",        "\u{fffd}x\u{fffd}"),
            (r"\ud83d\u0041",         "\u{fffd}A"),
            (r"\q\u12",               "qu12"),
            (r"\u12é4",               "u12é4"),
            (r"end\",                 "end"),
        ];
        for (value, text) in table {
            assert_eq!(unescape(value), text, "{value}");
        }
    }

    #[test]
    fn escapes_what_must_be_and_nothing_else() {
        #[rustfmt::skip]
        let table = [
            ("it's \"é\"",          "it's \"é\""),
            ("a\\b\u{8}\t\n\r",     r"a\\b\b\t\n\r"),
            ("\u{0}\u{1f}\u{7f}",   r"\u0000\u001f\u007f"),
            ("\u{80}",              "\u{80}"),
        ];
        for (text, value) in table {
            assert_eq!(escape(text), value, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn escape_then_unescape_is_identity(text: String) {
            let value = escape(&text);
            prop_assert!(!value.contains(|character: char| character.is_ascii_control()));
            prop_assert_eq!(unescape(&value), text.as_str());
        }

        #[test]
        fn never_panics(value in "[\\\\u0-9a-fdD8é]{0,40}") {
            let _ = unescape(&value);
        }
    }
}
