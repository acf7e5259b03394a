//! The words of the data model: the README explains them, and the code has what it promises.

use crate::source::{code, read, rust_files};

/// What the specifications define (OMA-TS-SIMPLE_IM §3.2, OMA-AD-SIMPLE_IM §3.2).
const DEFINED: [&str; 6] = ["AoR", "Contact", "Conversation", "Group", "Session", "Participant"];

/// The entries of the section "Words", one text each.
fn entries() -> Vec<String> {
    let readme = read("README.md");
    let section = readme.split("\n## Words\n").nth(1).expect("there is a section \"Words\"");
    let section = section.split("\n## ").next().unwrap_or_default();
    section.split("\n- ").skip(1).map(|entry| entry.replace('\n', " ")).collect()
}

// Covers: CORE-056
#[test]
fn every_defined_word_is_explained() {
    let entries = entries();
    for word in DEFINED {
        let start = format!("**{word}**");
        let found = entries.iter().filter(|entry| entry.starts_with(&start)).count();
        assert_eq!(found, 1, "{word}");
    }
}

// Covers: CORE-056
#[test]
fn what_the_words_name_exists() {
    let mut names = 0;
    for entry in entries() {
        for path in entry.split('`').skip(1).step_by(2).filter(|path| path.contains("::")) {
            let (krate, _) = path.split_once("::").expect("it was found in it");
            let name = path.rsplit("::").next().unwrap_or_default();
            let folder = format!("crates/{krate}/src/");
            let mut sources = rust_files().filter(|file| file.starts_with(&folder));
            let declared =
                ["struct", "enum", "trait", "mod"].map(|kind| format!("pub {kind} {name}"));
            let exists = sources.any(|file| {
                let source = code(&read(file));
                let mut lines = source.lines().map(str::trim_start);
                lines.any(|line| {
                    declared.iter().any(|start| {
                        let rest = line.strip_prefix(start.as_str());
                        rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()))
                    })
                })
            });
            assert!(exists, "{path}");
            names += 1;
        }
    }
    assert!(names >= 3, "{names}");
}
