//! Which crate may know of which.

use std::collections::BTreeMap;

use crate::metadata::{array, cargo, members, text};

/// The layers: a crate depends on lower numbers only, in its tests too.
const LAYERS: [(&str, u8); 13] = [
    ("sip", 1),
    ("content", 1),
    ("msrp", 2),
    ("net", 3),
    ("store", 3),
    ("isc", 4),
    // The roles do not know of each other; they meet in the server.
    ("participating", 5),
    ("controlling", 5),
    ("deferred", 5),
    ("server", 6),
    // Beside the others: it drives them all, and none of them knows it.
    ("lab", 7),
    ("tests", 8),
    ("benches", 8),
];

/// Arrows that the numbers allow and the design does not: a role sees a network only through the
/// machines (`isc::Wire`), and so does not care which one it is.
const FORBIDDEN: [(&str, &str); 4] =
    [("isc", "net"), ("participating", "net"), ("controlling", "net"), ("deferred", "net")];

/// What reads a clock, opens a socket, sleeps, spawns or asks the system for randomness.
const OUTSIDE: [&str; 10] = [
    "tokio",
    "mio",
    "socket2",
    "rand",
    "getrandom",
    "nix",
    "rustix",
    "libc",
    "async-io",
    "parking_lot",
];

#[test]
fn arrows_point_down() {
    let layers: BTreeMap<_, _> = LAYERS.into_iter().collect();
    let mut wrong = Vec::new();
    for (name, package) in members() {
        let Some(layer) = layers.get(name.as_str()) else {
            wrong.push(format!("{name} has no layer: a new crate is a change of the design"));
            continue;
        };
        for dependency in array(&package["dependencies"]) {
            let on = text(&dependency["name"]);
            let Some(on) = on.strip_prefix("parlance-") else { continue };
            let itself = on == name;
            let down = layers.get(on).is_some_and(|below| below < layer);
            if !itself && (!down || FORBIDDEN.contains(&(name.as_str(), on))) {
                wrong.push(format!("{name} depends on {on}"));
            }
        }
    }
    let missing = LAYERS.iter().filter(|(name, _)| members().iter().all(|(is, _)| is != name));
    wrong.extend(missing.map(|(name, _)| format!("{name} has a layer but is no crate")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_machines_reach_no_outside() {
    for name in ["sip", "content", "msrp"] {
        let package = format!("parlance-{name}");
        let kinds = "normal,build";
        let tree = cargo(&["tree", "-p", &package, "-e", kinds, "--prefix", "none"]);
        let reached: Vec<_> =
            tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert!(reached.contains(&package.as_str()), "{tree}");
        let outside: Vec<_> = OUTSIDE.iter().filter(|name| reached.contains(name)).collect();
        assert!(outside.is_empty(), "{name} reaches {outside:?}:\n{tree}");
    }
}
