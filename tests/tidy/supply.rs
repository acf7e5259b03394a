//! What the workspace is made of that others wrote: from where, under which licence, how often.

use std::collections::{BTreeMap, BTreeSet};

use crate::metadata::{array, metadata, text};
use crate::source::read;

/// Licences that an Apache-2.0 program may be distributed with, without conditions on its source.
const LICENCES: [&str; 10] = [
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Zlib",
];

/// Packages that name a file instead of a licence: what the file says. All are of the lab, and no
/// part of the server.
const CLARIFIED: [(&str, &str); 3] = [("rsip", "MIT"), ("rsip-derives", "MIT"), ("sdp-rs", "MIT")];

/// The one place packages come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Packages that are there in more than one version, how many, and whose doing that is.
/// Most are due to `rsip` and `sdp-rs`, which only the lab builds its users with.
#[rustfmt::skip]
const DOUBLED: &[(&str, usize, &str)] = &[
    ("base64",         2, "metrics-exporter-prometheus is a version behind pem (of rcgen, in tests)"),
    ("block-buffer",   3, "rsip: md-5 0.9 and sha2 0.9; tungstenite: sha1 0.10"),
    ("bstr",           2, "sdp-rs: 0.2"),
    ("cpufeatures",    2, "rsip: sha2 0.9"),
    ("crypto-common",  2, "tungstenite: sha1 0.10"),
    ("digest",         3, "rsip: md-5 0.9 and sha2 0.9; tungstenite: sha1 0.10"),
    ("getrandom",      3, "rsip: uuid 0.8; metrics-exporter-prometheus: rand 0.9"),
    ("hashbrown",      2, "metrics-exporter-prometheus: metrics-util"),
    ("md-5",           2, "rsip: 0.9"),
    ("r-efi",          2, "two of getrandom, on UEFI only"),
    ("rand",           2, "metrics-exporter-prometheus: metrics-util has 0.9"),
    ("rand_core",      2, "two of rand"),
    ("regex-automata", 2, "sdp-rs: bstr 0.2"),
    ("sha2",           2, "rsip: 0.9"),
    ("strsim",         2, "rsip: rsip-derives"),
    ("syn",            3, "rsip: rsip-derives has 1; tracing has 2"),
    ("synstructure",   2, "the macros of hickory-resolver's idna"),
    ("untrusted",      2, "aws-lc-rs and rustls-webpki"),
    ("uuid",           2, "rsip: 0.8"),
    ("windows-sys",    2, "on Windows only"),
];

#[test]
fn licences_are_allowed() {
    let mut wrong = Vec::new();
    for package in array(&metadata()["packages"]) {
        let name = text(&package["name"]);
        let clarified = CLARIFIED.iter().find(|(known, _)| *known == name);
        let licence = match (package["license"].as_str(), clarified) {
            (Some(licence), None) => licence,
            (None, Some((_, licence))) => licence,
            (Some(_), Some(_)) => {
                wrong.push(format!("{name} names its licence now; take the clarification out"));
                continue;
            }
            (None, None) => {
                wrong.push(format!("{name} names no licence"));
                continue;
            }
        };
        if !allowed(licence) {
            wrong.push(format!("{name} is under {licence}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn what_is_clarified_says_so_itself() {
    for package in array(&metadata()["packages"]) {
        let name = text(&package["name"]);
        let Some((_, licence)) = CLARIFIED.iter().find(|(known, _)| *known == name) else {
            continue;
        };
        let folder = text(&package["manifest_path"]).trim_end_matches("Cargo.toml");
        let file = package["license_file"].as_str().expect("it names a file");
        let file = read(format!("{folder}{file}"));
        assert!(file.contains(&format!("{licence} License")), "{name}: {file}");
    }
}

#[test]
fn the_registry_is_the_only_source() {
    for package in locked() {
        match package.source.as_deref() {
            None => assert!(package.name.starts_with("parlance-"), "{} is a path", package.name),
            Some(source) => assert_eq!(source, REGISTRY, "{}", package.name),
        }
        assert_eq!(package.source.is_some(), package.has_checksum, "{}", package.name);
    }
}

#[test]
fn nothing_is_there_twice_without_a_reason() {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in locked() {
        versions.entry(package.name).or_default().insert(package.version);
    }
    let found: Vec<_> = versions
        .iter()
        .filter(|(_, versions)| versions.len() > 1)
        .map(|(name, versions)| (name.as_str(), versions.len()))
        .collect();
    let known: Vec<_> = DOUBLED.iter().map(|(name, count, _)| (*name, *count)).collect();
    assert_eq!(found, known);
}

/// A package of Cargo.lock, which has those of every platform.
#[derive(Default)]
struct Locked {
    name: String,
    version: String,
    source: Option<String>,
    has_checksum: bool,
}

fn locked() -> Vec<Locked> {
    let text = read("Cargo.lock");
    let mut packages = Vec::new();
    for block in text.split("[[package]]").skip(1) {
        let mut package = Locked::default();
        for line in block.lines() {
            let Some((key, value)) = line.split_once(" = ") else { continue };
            let value = value.trim_matches('"').to_owned();
            match key {
                "name" => package.name = value,
                "version" => package.version = value,
                "source" => package.source = Some(value),
                "checksum" => package.has_checksum = true,
                _ => {}
            }
        }
        packages.push(package);
    }
    assert!(packages.len() > 50, "Cargo.lock was not understood");
    packages
}

/// Whether one may choose only allowed licences out of an SPDX expression; `/` is an old `OR`.
fn allowed(expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let verdict = any(&mut words);
    verdict && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(words: &mut Words<'_>) -> bool {
    let mut verdict = all(words);
    while words.next_if_eq(&"OR").is_some() {
        verdict |= all(words);
    }
    verdict
}

fn all(words: &mut Words<'_>) -> bool {
    let mut verdict = one(words);
    while words.next_if_eq(&"AND").is_some() {
        verdict &= one(words);
    }
    verdict
}

fn one(words: &mut Words<'_>) -> bool {
    match words.next() {
        Some("(") => {
            let verdict = any(words);
            words.next_if_eq(&")").is_some() && verdict
        }
        Some(licence) if words.next_if_eq(&"WITH").is_some() => {
            let exception = words.next().unwrap_or_default();
            LICENCES.contains(&format!("{licence} WITH {exception}").as_str())
        }
        Some(licence) => LICENCES.contains(&licence),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn expressions_are_understood() {
        #[rustfmt::skip]
        let table = [
            ("MIT",                                            true),
            ("GPL-3.0-only",                                   false),
            ("MIT/GPL-3.0-only",                               true),
            ("MIT AND GPL-3.0-only",                           false),
            ("GPL-2.0-only OR MIT AND ISC",                    true),
            ("(MIT OR GPL-2.0-only) AND ISC",                  true),
            ("(MIT OR ISC) AND GPL-2.0-only",                  false),
            ("Apache-2.0 WITH LLVM-exception OR GPL-2.0-only", true),
            ("MIT WITH LLVM-exception",                        false),
            ("(MIT",                                           false),
            ("MIT ISC",                                        false),
            ("",                                               false),
        ];
        for (expression, expected) in table {
            assert_eq!(super::allowed(expression), expected, "{expression}");
        }
    }
}
