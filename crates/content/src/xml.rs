//! Writing XML text.

use std::fmt::{self, Write};

/// A line with one element of text, in by two blanks.
pub(crate) fn element(f: &mut fmt::Formatter<'_>, name: &str, value: &str) -> fmt::Result {
    write!(f, "  <{name}>")?;
    text(f, value)?;
    write!(f, "</{name}>\r\n")
}

/// Character data: what XML 1.0 §2.2 has no character for is left out.
pub(crate) fn text(f: &mut fmt::Formatter<'_>, value: &str) -> fmt::Result {
    for character in value.chars() {
        match character {
            '&' => f.write_str("&amp;")?,
            '<' => f.write_str("&lt;")?,
            '>' => f.write_str("&gt;")?,
            '"' => f.write_str("&quot;")?,
            // Written as they are, a reader would turn them into a line feed or a blank.
            '\t' | '\n' | '\r' => write!(f, "&#{};", u32::from(character))?,
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {}
            other => f.write_char(other)?,
        }
    }
    Ok(())
}
