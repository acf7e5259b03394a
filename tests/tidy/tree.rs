//! What stands in the tree, and what must not.

use crate::metadata::{members, root};
use crate::source::{files, read};

/// The top of the repository, besides files whose name begins with a dot.
const TOP: [&str; 9] = [
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "benches",
    "crates",
    "deploy",
    "ifc",
    "tests",
];

/// What finished code does not have; each in two pieces, so that this file has none of it.
const BANNED: [(&str, &str); 11] = [
    ("to", "do!("),
    ("unimple", "mented!("),
    ("#[igno", "re"),
    ("should_", "panic"),
    ("FIX", "ME"),
    ("TO", "DO"),
    ("../sha", "red"),
    ("allow(dead", "_code"),
    ("allow(unu", "sed"),
    ("expect(dead", "_code"),
    ("expect(unu", "sed"),
];

#[test]
fn the_top_is_what_it_was() {
    let mut top: Vec<_> = files()
        .into_iter()
        .filter_map(|file| file.split('/').next().map(str::to_owned))
        .filter(|name| !name.starts_with('.'))
        .collect();
    top.dedup();
    assert_eq!(top, TOP);
}

#[test]
fn nothing_is_left_unfinished() {
    let mut wrong = Vec::new();
    for file in files() {
        let text = read(&file);
        for (number, line) in text.lines().enumerate() {
            let mut found = Vec::new();
            for (one, other) in BANNED {
                let banned = format!("{one}{other}");
                if line.contains(&banned) {
                    found.push(banned);
                }
            }
            // The mark of a gap; a longer row of the letter is the template of a file name.
            let mut words = line.split(|c: char| !c.is_alphanumeric());
            if words.any(|word| word.len() == 3 && word.bytes().all(|octet| octet == b'X')) {
                found.push("X".repeat(3));
            }
            wrong.extend(found.iter().map(|found| format!("{file}:{}: {found}", number + 1)));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn modules_are_files_of_their_own_name() {
    let wrong: Vec<_> = files().into_iter().filter(|file| file.ends_with("/mod.rs")).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn every_crate_says_what_it_is() {
    for (name, package) in members() {
        let manifest = package["manifest_path"].as_str().expect("it has one");
        let folder = manifest.strip_suffix("Cargo.toml").expect("it is a manifest");
        let sources = ["src/lib.rs", "src/main.rs"].map(|file| format!("{folder}{file}"));
        let sources = sources.iter().filter(|file| std::path::Path::new(file).exists());
        let texts: Vec<_> = sources.map(read).collect();
        assert!(!texts.is_empty(), "{name} has neither lib.rs nor main.rs");
        for text in &texts {
            let documented = text.strip_prefix("//! ").is_some_and(|line| !line.is_empty());
            assert!(documented, "{name} does not begin with what it is");
        }
    }
}

#[test]
fn every_member_takes_versions_and_lints_from_the_workspace() {
    let mut wrong = Vec::new();
    for (name, package) in members() {
        let text = read(package["manifest_path"].as_str().expect("it has one"));
        let inherited = ["version", "edition", "rust-version", "license", "publish"];
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        for key in inherited {
            if !lines.contains(&format!("{key}.workspace = true").as_str()) {
                wrong.push(format!("{name}: {key} is not the workspace's"));
            }
        }
        let lints = lines.windows(2).any(|two| two == ["[lints]", "workspace = true"]);
        if !lints {
            wrong.push(format!("{name}: its lints are not the workspace's"));
        }
        let mut section = "";
        for line in lines {
            if line.starts_with('[') {
                section = line;
            }
            let dependency = section.contains("dependencies") && line.contains('=');
            let inherits = line.contains("workspace = true");
            if dependency && !line.starts_with('#') && !inherits {
                wrong.push(format!("{name}: {line}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_toolchain_is_not_fixed_elsewhere() {
    // `rust-version` in Cargo.toml says what is needed; another place would disagree one day.
    let root = root();
    for name in ["rust-toolchain", "rust-toolchain.toml", ".cargo/config.toml"] {
        assert!(!root.join(name).exists(), "{name}");
    }
}
