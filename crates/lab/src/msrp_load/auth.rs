//! Asking a relay for a URI (RFC 4976 §5.1) with Digest (RFC 2617), on a blocking connection.

use std::io;

use md5::{Digest, Md5};

use super::frame::{Frame, Kind};
use super::link::Link;

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client<'a> {
    /// The relay's URI.
    pub(crate) relay: &'a str,
    /// The client's own URI.
    pub(crate) own: &'a str,
    pub(crate) user: &'a str,
    pub(crate) password: &'a str,
}

/// A relay's answer.
enum Reply {
    Challenge(String),
    Granted(String),
    Refused(String),
}

impl Client<'_> {
    /// The path that the relay grants: the value of Use-Path.
    pub(crate) fn grant(&self, link: &mut Link) -> io::Result<String> {
        let challenge = match self.auth(link, None)? {
            Reply::Challenge(challenge) => challenge,
            Reply::Granted(path) => return Ok(path),
            Reply::Refused(line) => return Err(refused(&line)),
        };
        let credentials = self.credentials(&challenge);
        let credentials = credentials.ok_or_else(|| refused("a challenge without nonce"))?;
        match self.auth(link, Some(&credentials))? {
            Reply::Granted(path) => Ok(path),
            Reply::Challenge(_) => Err(refused("401 again")),
            Reply::Refused(line) => Err(refused(&line)),
        }
    }

    fn auth(&self, link: &mut Link, credentials: Option<&str>) -> io::Result<Reply> {
        let id = format!("auth{:016x}", u64::from(credentials.is_some()) + 0x5eed_0000_0000);
        let authorization = credentials.map(|c| format!("Authorization: {c}\r\n"));
        let request = format!(
            "MSRP {id} AUTH\r\nTo-Path: {}\r\nFrom-Path: {}\r\n{}-------{id}$\r\n",
            self.relay,
            self.own,
            authorization.unwrap_or_default()
        );
        link.ask(|out| out.extend_from_slice(request.as_bytes()), |frame| reply(&frame))
    }

    fn credentials(&self, challenge: &str) -> Option<String> {
        let (realm, nonce) = (parameter(challenge, "realm")?, parameter(challenge, "nonce")?);
        let (user, uri) = (self.user, self.relay);
        let ha1 = md5(&format!("{user}:{realm}:{}", self.password));
        let ha2 = md5(&format!("AUTH:{uri}"));
        let (nc, cnonce) = ("00000001", "0a4f113b");
        let response = md5(&format!("{ha1}:{nonce}:{nc}:{cnonce}:auth:{ha2}"));
        let opaque = parameter(challenge, "opaque");
        let opaque = opaque.map(|opaque| format!(", opaque=\"{opaque}\"")).unwrap_or_default();
        Some(format!(
            "Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
             qop=auth, nc={nc}, cnonce=\"{cnonce}\", response=\"{response}\"{opaque}"
        ))
    }
}

fn reply(frame: &Frame<'_>) -> Reply {
    let text = |name| frame.header(name).map(|value| String::from_utf8_lossy(value).into_owned());
    match frame.kind {
        Kind::Response(200) => text("Use-Path")
            .map_or_else(|| Reply::Refused("200 without Use-Path".to_owned()), Reply::Granted),
        Kind::Response(401) => Reply::Challenge(text("WWW-Authenticate").unwrap_or_default()),
        _ => {
            let line = frame.inside.split(|octet| *octet == b'\r').next().unwrap_or_default();
            Reply::Refused(String::from_utf8_lossy(line).into_owned())
        }
    }
}

fn refused(why: &str) -> io::Error {
    io::Error::other(format!("the relay grants nothing: {why}"))
}

fn md5(text: &str) -> String {
    Md5::digest(text).iter().map(|octet| format!("{octet:02x}")).collect()
}

/// The value of a parameter of a challenge, quoted or not.
fn parameter<'a>(challenge: &'a str, name: &str) -> Option<&'a str> {
    let parameters = challenge.strip_prefix("Digest ")?.split(',').map(str::trim);
    let mut named = parameters.filter_map(|parameter| parameter.split_once('='));
    named
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests() {
        // RFC 1321 §A.5.
        assert_eq!(md5("message digest"), "f96b697d7cb7938d525a2f31aaf161d0");
        // The request of RFC 4976 §9.1 with this client's nc and cnonce, worked out with md5sum.
        let client = Client {
            relay: "msrps://alice@intra.example.com;tcp",
            own: "msrps://alice.example.com:9892/98cjs;tcp",
            user: "alice",
            password: "secret",
        };
        let challenge = "Digest realm=\"intra.example.com\", qop=\"auth\", \
             nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\"";
        let credentials = client.credentials(challenge).unwrap();
        let ha1 = md5("alice:intra.example.com:secret");
        let ha2 = md5("AUTH:msrps://alice@intra.example.com;tcp");
        let response =
            md5(&format!("{ha1}:dcd98b7102dd2f0e8b11d0f600bfb0c093:00000001:0a4f113b:auth:{ha2}"));
        assert!(credentials.contains(&format!("response=\"{response}\"")), "{credentials}");
        assert_eq!(client.credentials("Digest realm=\"x\""), None);
        assert_eq!(client.credentials("Basic realm=\"x\""), None);
    }
}
