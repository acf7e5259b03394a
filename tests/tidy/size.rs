//! How large files and functions may become.

use crate::ratchet;
use crate::source::{code, read, rust_files};

/// Lines of a file, its tests not counted.
const FILE_LINES_MAX: usize = 600;
/// Lines of a file that holds nothing but tests.
const TEST_FILE_LINES_MAX: usize = 1000;
/// Lines of a function, from `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;
/// Columns of a line.
const COLUMNS_MAX: usize = 100;
/// Columns of a line in tests, where a row of a table reads better whole.
const TEST_COLUMNS_MAX: usize = 120;

/// Files that are longer.
const LONG_FILES: &[(&str, usize)] = &[];
/// Functions that are longer.
const LONG_FUNCTIONS: &[(&str, usize)] = &[];
/// Files with longer lines, and how many.
const LONG_LINES: &[(&str, usize)] = &[];

#[test]
fn files_are_short() {
    let measured = |file: String| {
        let lines = without_tests(&read(&file)).lines().count();
        (file, lines)
    };
    let (tests, production): (Vec<_>, Vec<_>) = rust_files().partition(|file| is_test(file));
    ratchet::check(FILE_LINES_MAX, LONG_FILES, production.into_iter().map(measured));
    ratchet::check(TEST_FILE_LINES_MAX, &[], tests.into_iter().map(measured));
}

#[test]
fn functions_fit_a_screen() {
    let mut measured = Vec::new();
    // A test may be a long table.
    for file in rust_files().filter(|file| !is_test(file)) {
        let source = read(&file);
        let production = without_tests(&source);
        let functions = functions(&code(production));
        let named = functions.into_iter().map(|(name, lines)| (format!("{file} {name}"), lines));
        measured.extend(named);
    }
    assert!(measured.len() > 1000, "only {} functions were found", measured.len());
    ratchet::check(FUNCTION_LINES_MAX, LONG_FUNCTIONS, measured);
}

#[test]
fn lines_fit_the_window() {
    let long = |text: &str, columns_max: usize| {
        text.lines().filter(|line| line.chars().count() > columns_max).count()
    };
    let mut production = Vec::new();
    let mut tests = Vec::new();
    for file in rust_files() {
        let source = read(&file);
        tests.push((file.clone(), long(&source, TEST_COLUMNS_MAX)));
        if !is_test(&file) {
            production.push((file, long(without_tests(&source), COLUMNS_MAX)));
        }
    }
    ratchet::check(0, LONG_LINES, production);
    ratchet::check(0, &[], tests);
}

/// Whether a file holds nothing but tests.
fn is_test(file: &str) -> bool {
    file.starts_with("tests/") || file.contains("/tests/") || file.ends_with("/tests.rs")
}

/// A file up to its unit tests.
fn without_tests(source: &str) -> &str {
    let tests = source.find("#[cfg(test)]\nmod tests");
    tests.and_then(|end| source.get(..end)).unwrap_or(source)
}

/// The functions in `code` and how many lines each has.
fn functions(code: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let word = code[..at].chars().next_back().is_none_or(|c| !c.is_alphanumeric() && c != '_');
        let name: String =
            code[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if !word || name.is_empty() {
            continue;
        }
        if let Some(length) = body_end(&code[at..]) {
            let lines = code[at..at + length].matches('\n').count() + 1;
            found.push((name, lines));
        }
    }
    found
}

/// Where the body of the function at the front of `code` ends; `None` when it has no body.
fn body_end(code: &str) -> Option<usize> {
    let (mut brackets, mut braces) = (0_usize, 0_usize);
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets = brackets.saturating_sub(1),
            '{' => braces += 1,
            '}' => {
                braces = braces.saturating_sub(1);
                if braces == 0 && brackets == 0 {
                    return Some(at);
                }
            }
            ';' if braces == 0 && brackets == 0 => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{code, functions, without_tests};

    #[test]
    fn functions_are_measured() {
        let source = "fn one() {}\ntrait T { fn two(&self) -> [u8; 4]; }\n\
             fn three<F>(f: F)\nwhere\n    F: Fn(u8),\n{\n    // }\n    let s = \"}\";\n    \
             match x { A => {} }\n}\ntype P = fn(u8);\n\
             #[cfg(test)]\nmod tests {\n    fn four() {}\n}\n";
        let found = functions(&code(without_tests(source)));
        let expected = [("one".to_owned(), 1), ("three".to_owned(), 8)];
        assert_eq!(found, expected);
    }
}
