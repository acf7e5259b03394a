//! What bad and odd messages get: every message of RFC 4475 and RFC 5118, through the transaction
//! layer, the decision and the roles, as the server they are addressed to and as a proxy.

#[cfg(test)]
#[path = "verdicts/bench.rs"]
mod bench;
#[cfg(test)]
#[path = "verdicts/beyond.rs"]
mod beyond;
#[cfg(test)]
#[path = "verdicts/rfc4475.rs"]
mod rfc4475;
#[cfg(test)]
#[path = "verdicts/rfc5118.rs"]
mod rfc5118;

use std::path::Path;

/// The octets of a message in `data`.
fn vector(folder: &str, name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(folder);
    let path = path.join(name).with_extension("dat");
    std::fs::read(path).expect("every message with a row is in data")
}

/// The names of the messages in a folder of `data`.
fn names(folder: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(folder);
    let entries = std::fs::read_dir(&path).expect("the folder is there");
    let mut names: Vec<_> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".dat").map(str::to_owned))
        .collect();
    names.sort();
    names
}

/// As an S-CSCF hands it over: with the identity it asserts behind the first line. Responses are
/// left as they are.
fn asserted(octets: &[u8]) -> Vec<u8> {
    let end = octets.windows(2).position(|window| window == b"\r\n");
    let Some(end) = end.filter(|_| !octets.starts_with(b"SIP/")) else { return octets.to_vec() };
    let (line, rest) = octets.split_at(end);
    [line, b"\r\nP-Asserted-Identity: <sip:caller@ims.test>", rest].concat()
}

/// The request with a service of this server, or the server itself, for its Request-URI. What stands
/// around the URI, and one that is no SIP URI, is left as it is. A service is asked for instant
/// messaging, or it would take nothing.
fn addressed(octets: &[u8]) -> Vec<u8> {
    let end = octets.windows(2).position(|window| window == b"\r\n").unwrap_or(octets.len());
    let (line, rest) = octets.split_at(end);
    let line = String::from_utf8_lossy(line);
    let start = line.find("sip:").filter(|_| !line.starts_with("SIP/"));
    let Some(start) = start else { return octets.to_vec() };
    let host = line.rfind('@').map_or(start + "sip:".len(), |at| at + 1);
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    let length = line[host..].find(|c: char| !is_host(c)).unwrap_or(line.len() - host);
    let in_dialog = String::from_utf8_lossy(rest).contains("tag    = 1918181833n");
    let target = match line.split(' ').next() {
        _ if in_dialog => "sip:127.0.0.20",
        Some("INVITE" | "SUBSCRIBE" | "PUBLISH" | "INFO") => "sip:im-conf-factory@ims.test",
        Some("MESSAGE") => "sip:im-exploder@ims.test",
        _ => "sip:ims.test",
    };
    let line = format!("{}{target}{}", &line[..start], &line[host + length..]);
    let asked = if target.contains("sip:im-") { "\r\nAccept-Contact: *;+g.oma.sip-im" } else { "" };
    [line.as_bytes(), asked.as_bytes(), rest].concat()
}

/// Compares all rows at once, so that one run shows every difference.
fn check(table: impl IntoIterator<Item = (String, String, String)>) {
    let wrong: Vec<_> = table
        .into_iter()
        .filter(|(_, expected, found)| expected != found)
        .map(|(name, expected, found)| format!("{name}: {found:?} instead of {expected:?}"))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
