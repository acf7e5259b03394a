//! The files of the tree, and Rust source without what is no code.

use std::path::{Path, PathBuf};

use crate::metadata::root;

/// What a checkout has besides the tree: results of the build, and what a server was run on.
const NOT_IN_THE_TREE: [&str; 3] = [".git", "target", "parlance-data"];

/// Every file of the tree, by its path from the top.
pub(crate) fn files() -> Vec<String> {
    let root = root();
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).expect("the tree can be read");
        for entry in entries.filter_map(Result::ok) {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            // A file that somebody edits at this moment is no part of the tree.
            if NOT_IN_THE_TREE.contains(&name.as_str()) || name.ends_with(".swp") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                let path = path.strip_prefix(&root).expect("it lies below the top");
                found.push(path.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}

/// The Rust files of the tree.
pub(crate) fn rust_files() -> impl Iterator<Item = String> {
    files().into_iter().filter(|file| file.ends_with(".rs"))
}

/// The text of a file; what is no UTF-8 in it is replaced.
pub(crate) fn read(file: impl AsRef<Path>) -> String {
    let path = root().join(file);
    let octets = std::fs::read(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    String::from_utf8_lossy(&octets).into_owned()
}

/// Rust source with comments and the inside of strings blanked, line for line.
pub(crate) fn code(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let (skipped, keep) = match literal(rest, out.chars().next_back()) {
            Some(length) => (length, false),
            None => (first.len_utf8(), true),
        };
        let (piece, after) = rest.split_at(skipped);
        if keep {
            out.push_str(piece);
        } else {
            out.extend(piece.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        }
        rest = after;
    }
    out
}

/// The length of the comment, string or character that begins here, if one does.
fn literal(text: &str, before: Option<char>) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(text.find("*/").map_or(text.len(), |end| end + 2));
    }
    if text.starts_with('"') {
        return Some(string(text));
    }
    if let Some(character) = text.strip_prefix('\'') {
        return character_length(character).map(|length| length + 1);
    }
    let in_a_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let raw = text.strip_prefix("br").or_else(|| text.strip_prefix('r')).filter(|_| !in_a_word)?;
    let hashes = raw.len() - raw.trim_start_matches('#').len();
    if !raw[hashes..].starts_with('"') {
        return None;
    }
    let begin = text.len() - raw.len() + hashes + 1;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(text[begin..].find(&end).map_or(text.len(), |at| begin + at + end.len()))
}

/// The length of the string at the front of `text`.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of the rest of a character literal; `None` when it is a lifetime.
fn character_length(text: &str) -> Option<usize> {
    let mut characters = text.char_indices();
    let (_, first) = characters.next()?;
    if first == '\\' {
        characters.next()?;
        return text[2..].find('\'').map(|end| end + 3);
    }
    characters.next().filter(|(_, second)| *second == '\'').map(|(at, _)| at + 1)
}

#[cfg(test)]
mod tests {
    use super::code;

    #[test]
    fn only_code_is_left() {
        #[rustfmt::skip]
        let table = [
            ("a // fn {\nb",            "a        \nb"),
            ("a /* { \n */ b",          "a      \n    b"),
            (r#"x("{ \" }", y)"#,       "x(        , y)"),
            ("r\"{\\\" }",              "      }"),
            ("br#\"{\"#; var\"{\"",     "       ; var   "),
            ("'{' 'a '\\'' '\\u{7b}'",  "    'a              "),
        ];
        for (source, expected) in table {
            assert_eq!(code(source).trim_end(), expected.trim_end(), "{source}");
        }
    }
}
