//! Standing between two peers without being seen (RFC 6714 §6).
//!
//! The description of a peer with `msrp-cema` goes on with its path untouched, and leads here by
//! `c=` and the port: who gets it connects to those, and speaks to the path.

use parlance_sip::sdp::{MediaLine, MsrpProto, Sdp, Setup};

use super::agreement::{Way, peer_path};
use super::{Agreement, PORT_DISCARD, Refusal, Role, Terms, bare, heard};
use crate::path::session_id;
use crate::session::LocalAddress;
use crate::uri::MsrpUri;

/// Octets of a session-id that can have the 80 random bits that it must have (RFC 4975 §14.1), each
/// being one of some 70 characters. Who has less could be guessed by others, which a session of
/// ours is not to depend on.
const ID_OCTETS_MIN: usize = 13;

/// The URI of a peer whose description can go on with nothing but its addresses changed: the line
/// has `msrp-cema`, and its path is this URI alone.
///
/// `None` for one behind a relay, for the To-Path of who speaks to it begins with the relay; and
/// for one with TLS, which would have to end at the other peer (RFC 6714 §6.5) while a session is
/// found by what is inside.
pub fn lendable(line: &MediaLine<'_>) -> Option<MsrpUri> {
    let media = line.message()?.ok()?;
    if line.is_refused() || !media.msrp_cema || media.proto != MsrpProto::Tcp {
        return None;
    }
    let [uri] = <[MsrpUri; 1]>::try_from(peer_path(&media).ok()?).ok()?;
    let id = session_id(uri.as_bytes())?;
    let is_plain = uri.parts().transport.eq_ignore_ascii_case("tcp");
    (is_plain && id.len() >= ID_OCTETS_MIN).then_some(uri)
}

/// The description of a peer with `msrp-cema`, its line `index` leading here and nothing else
/// changed: who gets it connects to `here`.
///
/// A line whose writer connects, and says so with port 9 (RFC 4145 §4.1), keeps the port. `None`:
/// there is no such line, or it has no `msrp-cema`.
pub fn anchor_unseen(sdp: &Sdp, index: usize, here: &LocalAddress) -> Option<Sdp> {
    let line = sdp.media().nth(index)?;
    line.attribute("msrp-cema")?;
    let mut replaced = sdp.clone();
    if !line.is_refused() {
        let connects = line.attribute("setup").map(str::trim) == Some(Setup::Active.as_str());
        let is_nowhere = connects && line.port() == PORT_DISCARD;
        let port = if is_nowhere { PORT_DISCARD } else { here.port };
        replaced.edit(index)?.set_port(port).set_connection(bare(&here.host));
    }
    Some(replaced)
}

/// What an `offer` with `msrp-cema` comes to for who stands between unseen, with `terms` towards
/// its writer: the `answer`, which has it too, says who connects. Who stands between does towards
/// each what the other does.
///
/// # Errors
/// [`Refusal`]: above all, who is to be connected to has said no port.
pub fn between(
    offer: &MediaLine<'_>,
    answer: &MediaLine<'_>,
    terms: &Terms,
) -> Result<Agreement, Refusal> {
    let offered = offer.message().ok_or(Refusal::NoMessage)?.map_err(Refusal::Media)?;
    let answered = answer.message().ok_or(Refusal::NoMessage)?.map_err(Refusal::Media)?;
    let role = match heard(answered.setup) {
        Some(Setup::Active) => Role::Active,
        Some(Setup::Passive | Setup::ActPass | Setup::HoldConn) | None => Role::Passive,
    };
    let path = peer_path(&offered)?;
    Agreement::new(offer, &offered, path, role, Way::SHOWN, terms)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=a 1 1 IN IP4 h\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n\
        m=audio 5 RTP/AVP 0\r\nm=message 7654 TCP/MSRP *\r\na=accept-types:message/cpim\r\n\
        a=odd:kept\r\na=path:msrp://192.0.2.10:7654/iau39soe2843z;tcp\r\na=max-size:500\r\n\
        a=setup:actpass\r\na=msrp-cema\r\na=connection:new\r\na=sendonly\r\n";

    fn here() -> LocalAddress {
        let scheme = crate::uri::Scheme::Msrp;
        LocalAddress { scheme, host: "192.0.2.50".into(), port: 2855, transport: "tcp" }
    }

    fn parsed(text: &str) -> Sdp {
        Sdp::parse(text.as_bytes()).unwrap()
    }

    // Covers: MSRP-048
    #[test]
    fn with_cema_only_the_addresses_are_replaced() {
        let passed = anchor_unseen(&parsed(OFFER), 1, &here()).unwrap();
        let expect = OFFER.replace(
            "message 7654 TCP/MSRP *\r\n",
            "message 2855 TCP/MSRP *\r\nc=IN IP4 192.0.2.50\r\n",
        );
        assert_eq!(passed.to_string(), expect);
        assert!(anchor_unseen(&parsed(OFFER), 0, &here()).is_none(), "no msrp-cema");
        let port = |from: &str, to: &str| {
            let passed = anchor_unseen(&parsed(&OFFER.replace(from, to)), 1, &here());
            let passed = passed.unwrap();
            let line = passed.media().nth(1).unwrap();
            (line.port(), line.connection().unwrap().to_owned())
        };
        let ours = |port| (port, "192.0.2.50".to_owned());
        assert_eq!(port("message 7654", "message 9"), ours(2855));
        assert_eq!(port("setup:actpass", "setup:active"), ours(2855));
        let refused = port("message 7654", "message 0");
        assert_eq!(refused, (0, "192.0.2.10".to_owned()), "a refused line stays");
        let nobody = OFFER.replace("message 7654", "message 9").replace("actpass", "active");
        let passed = anchor_unseen(&parsed(&nobody), 1, &here()).unwrap();
        assert_eq!(passed.media().nth(1).unwrap().port(), 9, "nobody connects to who connects");
    }

    // Covers: MSRP-048
    #[test]
    fn a_uri_is_lent_when_a_session_can_go_by_it() {
        let own = "msrp://192.0.2.10:7654/iau39soe2843z;tcp";
        let relayed = format!("msrp://192.0.2.9:1/relayed000000;tcp {own}");
        #[rustfmt::skip]
        let table = [
            ("odd",              "odd",                        true),
            ("message 7654",     "message 9",                  true),
            ("a=msrp-cema\r\n", "",                            false),
            ("message 7654",     "message 0",                  false),
            ("TCP/MSRP",         "TCP/TLS/MSRP",               false), // nothing is read there
            (own,                &relayed,                     false), // To-Path begins with the relay
            ("iau39soe2843z",    "iau39soe2843",               false), // less than 80 bits
            ("/iau39soe2843z",   "",                           false),
            ("z;tcp",            "z;ws",                       false),
            (":7654/",           "/",                          false),
        ];
        for (from, to, is_lent) in table {
            let sdp = parsed(&OFFER.replace(from, to));
            let line = sdp.media().nth(1).unwrap();
            let expected = is_lent.then(|| own.parse().unwrap());
            assert_eq!(lendable(&line), expected, "{from} {to}");
        }
    }

    // Covers: MSRP-013, MSRP-048
    #[test]
    fn who_stands_between_connects_to_whom_the_other_would() {
        let lent = "msrp://192.0.2.20:8888/9di4eae923wzd;tcp";
        let terms = Terms::anything(lent.parse().unwrap());
        let comes_to = |offer: &str, setup: &str| {
            let (offer, answer) = (parsed(offer), parsed(&OFFER.replace("actpass", setup)));
            let line = |sdp: &Sdp| {
                between(&offer.media().nth(1).unwrap(), &sdp.media().nth(1).unwrap(), &terms)
            };
            line(&answer)
        };
        // Moved on its way to us, too.
        let moved = OFFER.replace("message 7654", "message 1234");
        let active = comes_to(&moved, "active").unwrap();
        let hop = active.hop.as_ref().unwrap();
        assert_eq!(
            (active.role, hop.through.clone()),
            (Role::Active, Some(("192.0.2.10".into(), 1234)))
        );
        assert_eq!(active.own_path, terms.path);
        assert_eq!(active.peer_path[0].as_str(), "msrp://192.0.2.10:7654/iau39soe2843z;tcp");
        let passive = comes_to(&moved, "passive").unwrap();
        assert_eq!((passive.role, passive.hop), (Role::Passive, None));
        let nowhere = OFFER.replace("message 7654", "message 9");
        assert_eq!(comes_to(&nowhere, "active"), Err(Refusal::Unreachable));
        assert!(comes_to(&nowhere, "passive").is_ok());
    }
}
