//! The descriptions that pass a B2BUA: its own URI in place of the peer's (RFC 6714 §6.2).
//!
//! What is not about the connection goes on as it is: types, sizes, directions, `chatroom`, files.

use parlance_sip::sdp::{Fingerprint, MsrpProto, Sdp, Setup};

use super::{PORT_DISCARD, Role, bare};
use crate::session::LocalAddress;
use crate::uri::{MsrpUri, Scheme};

/// What stands in the place of a peer.
#[derive(Clone, Debug)]
pub struct Anchor {
    /// The session URI towards whom the description goes to.
    pub own: MsrpUri,
    /// Where we listen, when the URI does not say it: it is that of the other peer.
    pub here: Option<LocalAddress>,
    /// The certificates presented there, when no authority vouches for them.
    pub fingerprints: Vec<Fingerprint>,
    /// The largest message that passes, in octets; the smaller of it and the peer's is written.
    pub max_size: Option<u64>,
}

impl Anchor {
    /// The offer of a peer, its line `index` as it goes to the other side. `None`: there is no such
    /// line.
    pub fn offer(&self, offer: &Sdp, index: usize) -> Option<Sdp> {
        self.replace(offer, index, Setup::ActPass)
    }

    /// The answer of a peer, as it goes to who made the offer, towards whom we have `role`.
    pub fn answer(&self, answer: &Sdp, index: usize, role: Role) -> Option<Sdp> {
        let setup = match role {
            Role::Active => Setup::Active,
            Role::Passive => Setup::Passive,
        };
        self.replace(answer, index, setup)
    }

    fn replace(&self, sdp: &Sdp, index: usize, setup: Setup) -> Option<Sdp> {
        let line = sdp.media().nth(index)?;
        if line.is_refused() {
            return Some(sdp.clone());
        }
        let peers = line.attribute("max-size").and_then(|value| value.trim().parse().ok());
        let max_size = [self.max_size, peers].into_iter().flatten().min();
        let parts = self.own.parts();
        let (host, port) = match &self.here {
            Some(here) => (&*here.host, Some(here.port)),
            None => (parts.host, parts.port),
        };
        let proto = match parts.scheme {
            Scheme::Msrp => MsrpProto::Tcp,
            Scheme::Msrps => MsrpProto::Tls,
        };
        let mut replaced = sdp.clone();
        let mut edit = replaced.edit(index)?;
        edit.set_port(port.unwrap_or(PORT_DISCARD))
            .set_proto(proto.as_str())
            .set_connection(bare(host))
            .set_attribute("path", self.own.as_str())
            .set_attribute("setup", setup.as_str())
            .remove_attribute("connection")
            .remove_attribute("msrp-cema")
            .remove_attribute("fingerprint");
        if let Some(max_size) = max_size {
            edit.set_attribute("max-size", &max_size.to_string());
        }
        for fingerprint in &self.fingerprints {
            edit.add_attribute("fingerprint", &fingerprint.to_string());
        }
        Some(replaced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=a 1 1 IN IP4 h\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n\
        m=audio 5 RTP/AVP 0\r\nm=message 9 TCP/MSRP *\r\na=accept-types:message/cpim\r\n\
        a=odd:kept\r\na=path:msrp://192.0.2.10:9/peer;tcp\r\na=max-size:500\r\na=setup:active\r\n\
        a=msrp-cema\r\na=fingerprint:x 01\r\na=connection:new\r\na=chatroom:nickname\r\na=sendonly\r\n";

    fn anchor(own: &str, max_size: Option<u64>) -> Anchor {
        let fingerprints = vec!["x 02".parse().unwrap(), "x 03".parse().unwrap()];
        Anchor { own: own.parse().unwrap(), here: None, fingerprints, max_size }
    }

    // Covers: MSRP-048
    #[test]
    fn only_what_is_about_the_connection_is_replaced() {
        let offer = Sdp::parse(OFFER.as_bytes()).unwrap();
        let own = "msrps://[2001:db8::1]:2856/own;tcp";
        let passed = anchor(own, Some(400)).offer(&offer, 1).unwrap();
        assert_eq!(
            passed.to_string(),
            "v=0\r\no=a 1 1 IN IP4 h\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n\
             m=audio 5 RTP/AVP 0\r\nm=message 2856 TCP/TLS/MSRP *\r\nc=IN IP6 2001:db8::1\r\n\
             a=accept-types:message/cpim\r\na=odd:kept\r\n\
             a=path:msrps://[2001:db8::1]:2856/own;tcp\r\na=max-size:400\r\na=setup:actpass\r\n\
             a=chatroom:nickname\r\na=sendonly\r\na=fingerprint:x 02\r\na=fingerprint:x 03\r\n"
        );
        assert!(anchor(own, None).offer(&offer, 2).is_none());
        for (role, setup) in [(Role::Active, Setup::Active), (Role::Passive, Setup::Passive)] {
            let passed = anchor(own, None).answer(&offer, 1, role).unwrap();
            let media = passed.media().nth(1).unwrap().message().unwrap().unwrap();
            assert_eq!((media.setup, media.max_size), (Some(setup), Some(500)));
        }
        let (scheme, host) = (Scheme::Msrp, "[2001:db8::9]".into());
        let here = Some(LocalAddress { scheme, host, port: 2855, transport: "tcp" });
        let lent = Anchor { here, ..anchor("msrp://alice.example:7777/a;tcp", None) };
        let passed = lent.answer(&offer, 1, Role::Passive).unwrap();
        let line = passed.media().nth(1).unwrap();
        assert_eq!((line.port(), line.connection()), (2855, Some("2001:db8::9")));
        assert_eq!(line.attribute("path"), Some("msrp://alice.example:7777/a;tcp"));
        let refused = Sdp::parse(OFFER.replace("message 9", "message 0").as_bytes()).unwrap();
        assert_eq!(anchor(own, None).answer(&refused, 1, Role::Passive), Some(refused));
    }
}
