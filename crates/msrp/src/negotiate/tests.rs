use parlance_sip::sdp::{AnswerError, MediaError};

use super::*;
use crate::node::Hop;
use crate::session::FromRule;
use crate::uri::UriError;

const OWN: &str = "msrp://192.0.2.50:2855/own;tcp";

fn terms(path: &[&str]) -> Terms {
    Terms {
        path: path.iter().map(|uri| uri.parse().unwrap()).collect(),
        accept_types: "message/cpim text/plain".parse().unwrap(),
        accept_wrapped_types: "*".parse().unwrap(),
        sends: vec!["text/plain".to_owned()],
        max_size: Some(1000),
        direction: Direction::SendRecv,
        msrp_cema: true,
        chatroom: None,
        fingerprints: Vec::new(),
        file: None,
    }
}

/// A description of the peer: `c=`, the media line and its attributes, `PATH` being what most have.
fn peer(connection: &str, media: &str, attributes: &str) -> Sdp {
    let attributes = attributes.replace("PATH", "path:msrp://192.0.2.10:7654/peer;tcp");
    let lines: String = attributes
        .split('|')
        .filter(|line| !line.is_empty())
        .fold(String::new(), |lines, line| lines + &format!("a={line}\r\n"));
    let types = if attributes.contains("accept-types") { "" } else { "a=accept-types:*\r\n" };
    let text = format!(
        "v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nc=IN IP4 {connection}\r\nt=0 0\r\n\
         m=message {media} *\r\n{types}{lines}"
    );
    Sdp::parse(text.as_bytes()).unwrap()
}

/// Nothing that differs in its text is the same host.
fn differ(_: &str, _: &str) -> bool {
    false
}

fn answered(offer: &Sdp, terms: &Terms) -> Result<(MessageMedia, Agreement), Refusal> {
    let (sdp, agreement) = answer(offer, terms, 7, &differ)?;
    assert_eq!(offer.check_answer(&sdp), Ok(()), "{offer}{sdp}");
    let again = Sdp::parse(sdp.to_string().as_bytes()).unwrap();
    assert_eq!(again, sdp);
    let (_, media) = sdp.first_message().unwrap();
    Ok((media.unwrap(), agreement))
}

/// Where the connection goes.
fn addressed(hop: Option<&Hop>) -> String {
    hop.map_or(String::new(), |hop| match &hop.through {
        Some((host, port)) => format!("{host}:{port}"),
        None => format!("{}:{}", hop.host, hop.port.unwrap()),
    })
}

// Covers: MSRP-010, MSRP-012
#[test]
fn an_offer_says_what_the_terms_say() {
    let sdp = offer(&terms(&[OWN]), 7);
    assert_eq!(
        sdp.to_string(),
        "v=0\r\no=- 7 1 IN IP4 192.0.2.50\r\ns=-\r\nc=IN IP4 192.0.2.50\r\nt=0 0\r\n\
         m=message 2855 TCP/MSRP *\r\na=accept-types:message/cpim text/plain\r\n\
         a=accept-wrapped-types:*\r\na=path:msrp://192.0.2.50:2855/own;tcp\r\na=max-size:1000\r\n\
         a=setup:actpass\r\na=msrp-cema\r\na=sendrecv\r\n"
    );
    // An address of IPv6 and TLS.
    let mut of_v6 = terms(&["msrps://[2001:db8::1]:2856/own;tcp"]);
    of_v6.msrp_cema = false;
    let text = offer(&of_v6, 7).to_string();
    assert!(text.contains("c=IN IP6 2001:db8::1\r\n"), "{text}");
    assert!(text.contains("m=message 2856 TCP/TLS/MSRP *\r\n") && !text.contains("cema"), "{text}");
}

// Covers: MSRP-013
#[test]
fn behind_a_relay_the_offer_shows_the_relay_with_cema_and_itself_without() {
    let mut behind =
        terms(&["msrps://relay.example.com:9000/r;tcp", "msrps://192.0.2.50:1/own;tcp"]);
    let text = offer(&behind, 7).to_string();
    assert!(text.contains("c=IN IP4 relay.example.com\r\n") && text.contains("m=message 9000 "));
    assert!(
        text.contains(
            "a=path:msrps://relay.example.com:9000/r;tcp msrps://192.0.2.50:1/own;tcp\r\n"
        )
    );
    behind.msrp_cema = false;
    let text = offer(&behind, 7).to_string();
    assert!(text.contains("c=IN IP4 192.0.2.50\r\n") && text.contains("m=message 1 "), "{text}");
}

// Covers: MSRP-012, MSRP-013
#[test]
fn an_answer_says_who_connects() {
    use Role::{Active, Passive};
    #[rustfmt::skip]
    let table = [
        // offered setup,            answered,        role,    where to
        ("PATH|setup:actpass",       Setup::Passive,  Passive, ""),
        ("PATH|setup:active",        Setup::Passive,  Passive, ""),
        ("PATH",                     Setup::Passive,  Passive, ""), // RFC 4975 §8.5
        ("PATH|setup:holdconn",      Setup::Passive,  Passive, ""), // RFC 6135 §4.2.1
        ("PATH|setup:passive",       Setup::Active,   Active,  "192.0.2.10:7654"),
        ("PATH|setup:passive|connection:new", Setup::Active, Active, "192.0.2.10:7654"),
        ("PATH|setup:passive|msrp-cema", Setup::Active, Active, "192.0.2.10:7654"),
    ];
    for (attributes, setup, role, target) in table {
        let offer = peer("192.0.2.10", "7654 TCP/MSRP", attributes);
        let (media, agreement) = answered(&offer, &terms(&[OWN])).unwrap();
        assert_eq!(media.setup, Some(setup), "{attributes}");
        assert_eq!(agreement.role, role, "{attributes}");
        assert_eq!(addressed(agreement.hop.as_ref()), target, "{attributes}");
        assert_eq!(media.port, 2855);
    }
}

// Covers: MSRP-013
#[test]
fn cema_is_answered_unless_relays_forbid_it() {
    let relay = "path:msrp://192.0.2.9:1/r;tcp msrp://192.0.2.10:7654/peer;tcp";
    let own_relay: &[&str] = &["msrp://192.0.2.51:1/r;tcp", OWN];
    #[rustfmt::skip]
    let table = [
        ("PATH|setup:actpass|msrp-cema".to_owned(),       &[OWN][..], Ok(true)),
        ("PATH|setup:actpass".to_owned(),                 &[OWN],     Ok(false)),
        (format!("{relay}|setup:actpass|msrp-cema"),      &[OWN],     Ok(true)),
        (format!("{relay}|setup:actpass|msrp-cema"),      own_relay,  Ok(false)), // §4.3 1
        (format!("{relay}|setup:active|msrp-cema"),       &[OWN],     Ok(false)), // §4.3 2
        (format!("{relay}|msrp-cema"),                    &[OWN],     Ok(false)), // §4.3 2
        ("PATH|setup:passive|msrp-cema".to_owned(),       own_relay,  Ok(false)), // §4.3 3
        ("PATH|setup:actpass|msrp-cema".to_owned(),       own_relay,  Ok(true)),
    ];
    for (attributes, path, expect) in table {
        let offer = peer("192.0.2.10", "7654 TCP/MSRP", &attributes);
        let result = answered(&offer, &terms(path));
        let cema = result.map(|(media, agreement)| {
            assert_eq!(agreement.from_rule == FromRule::Rightmost, media.msrp_cema, "{attributes}");
            media.msrp_cema
        });
        assert_eq!(cema, expect, "{attributes} {path:?}");
    }
    let mut without = terms(&[OWN]);
    without.msrp_cema = false;
    let offer = peer("192.0.2.10", "7654 TCP/MSRP", "PATH|setup:actpass|msrp-cema");
    assert!(!answered(&offer, &without).unwrap().0.msrp_cema);
}

// Covers: MSRP-013
#[test]
fn what_was_changed_on_the_way_is_connected_to_with_cema_and_refused_without() {
    let same = |shown: &str, host: &str| (shown, host) == ("192.0.2.10", "pc.example.com");
    let named = "path:msrp://pc.example.com:7654/peer;tcp";
    let moved = |attributes: &str| peer("192.0.2.99", "1234 TCP/MSRP", attributes);
    // The offer has cema and wants us to connect: to c= and the port, with the path untouched.
    let (_, agreement) = answered(&moved("PATH|setup:passive|msrp-cema"), &terms(&[OWN])).unwrap();
    assert_eq!(addressed(agreement.hop.as_ref()), "192.0.2.99:1234");
    assert_eq!(&*agreement.hop.unwrap().host, "192.0.2.10");
    assert_eq!(agreement.peer_path[0].as_str(), "msrp://192.0.2.10:7654/peer;tcp");
    // Without it something between does not know MSRP.
    for setup in ["", "setup:active|", "setup:passive|", "setup:actpass|"] {
        let refused = answered(&moved(&format!("{setup}PATH")), &terms(&[OWN]));
        assert_eq!(refused.unwrap_err(), Refusal::Middlebox, "{setup}");
    }
    // A name is the same host when the caller says so, and only with the same port.
    let of_name = peer("192.0.2.10", "7654 TCP/MSRP", named);
    assert!(answer(&of_name, &terms(&[OWN]), 7, &same).is_ok());
    assert_eq!(answer(&of_name, &terms(&[OWN]), 7, &differ).unwrap_err(), Refusal::Middlebox);
    assert_eq!(
        hosts_to_compare(&of_name),
        [("192.0.2.10".to_owned(), "pc.example.com".to_owned())]
    );
    let other_port = peer("192.0.2.10", "7655 TCP/MSRP", named);
    assert_eq!(hosts_to_compare(&other_port), []);
    assert_eq!(answer(&other_port, &terms(&[OWN]), 7, &same).unwrap_err(), Refusal::Middlebox);
    // Addresses are compared by value, and any URI of the path will do.
    let table = [
        ("2001:DB8:0::10", "path:msrp://[2001:db8::10]:7654/p;tcp"),
        ("192.0.2.10", "path:msrp://192.0.2.8:1/r;tcp msrp://192.0.2.10:7654/p;tcp"),
        ("PC.example.com", named),
    ];
    for (connection, path) in table {
        let offer = peer(connection, "7654 TCP/MSRP", path);
        assert!(answered(&offer, &terms(&[OWN])).is_ok(), "{connection}");
        assert_eq!(hosts_to_compare(&offer), [], "{connection}");
    }
}

// Covers: MSRP-011, MSRP-012, MSRP-013
#[test]
fn an_answer_that_comes_says_who_connects() {
    let relay = "path:msrp://192.0.2.9:1/r;tcp msrp://192.0.2.10:7654/peer;tcp";
    let agreed = |role, target: &'static str| Ok((role, target));
    use Role::{Active, Passive};
    #[rustfmt::skip]
    let table = [
        // c= and port of the answer,   attributes,                        outcome
        ("192.0.2.10", "7654", "PATH".to_owned(),                          agreed(Active, "192.0.2.10:7654")),
        ("192.0.2.10", "7654", "PATH|setup:holdconn".to_owned(),           agreed(Active, "192.0.2.10:7654")),
        ("192.0.2.10", "7654", "PATH|setup:passive".to_owned(),            agreed(Active, "192.0.2.10:7654")),
        ("192.0.2.10", "9",    "PATH|setup:active|msrp-cema".to_owned(),   agreed(Passive, "")),
        ("192.0.2.99", "1234", "PATH|setup:passive|msrp-cema".to_owned(),  agreed(Active, "192.0.2.99:1234")),
        ("192.0.2.99", "1234", "PATH|setup:active|msrp-cema".to_owned(),   agreed(Passive, "")),
        // RFC 6714 §4.2: no cema in the answer, addresses changed
        ("192.0.2.99", "1234", "PATH|setup:active".to_owned(),             Err(Outcome::OfferWithoutCema)),
        ("192.0.2.99", "1234", format!("{relay}|setup:passive"),           Err(Outcome::OfferWithoutCema)),
        ("192.0.2.99", "1234", "PATH|setup:passive".to_owned(),            agreed(Active, "192.0.2.99:1234")),
        ("192.0.2.10", "7654", format!("{relay}|setup:passive"),           agreed(Active, "192.0.2.9:1")),
        ("192.0.2.10", "0",    "PATH".to_owned(),                          Err(Outcome::Refused)),
    ];
    let terms = terms(&[OWN]);
    let ours = offer(&terms, 7);
    for (connection, port, attributes, expect) in table {
        let answer = peer(connection, &format!("{port} TCP/MSRP"), &attributes);
        let outcome = conclude(&ours, &answer, &terms, &differ).unwrap();
        let found = match &outcome {
            Outcome::Agreed(agreement) => Ok((agreement.role, addressed(agreement.hop.as_ref()))),
            other => Err(other.clone()),
        };
        let expect = expect.map(|(role, target)| (role, target.to_owned()));
        assert_eq!(found, expect, "{connection} {port} {attributes}");
    }
}

// Covers: MSRP-013
#[test]
fn behind_an_own_relay_changed_addresses_need_a_new_offer() {
    let terms = terms(&["msrp://192.0.2.51:1/r;tcp", OWN]);
    let ours = offer(&terms, 7);
    let moved = peer("192.0.2.99", "1234 TCP/MSRP", "PATH|setup:passive");
    let outcome = conclude(&ours, &moved, &terms, &differ);
    assert_eq!(outcome, Ok(Outcome::OfferWithoutCema));
    // And where nothing was changed, only the own relay is connected to.
    let plain = peer("192.0.2.10", "7654 TCP/MSRP", "PATH|setup:passive");
    let Ok(Outcome::Agreed(agreement)) = conclude(&ours, &plain, &terms, &differ) else { panic!() };
    assert_eq!((agreement.role, agreement.hop), (Role::Active, None));
}

// Covers: MSRP-010, MSRP-016, MSRP-095
#[test]
fn lines_that_cannot_be_taken_are_refused() {
    use parlance_sip::sdp::MediaError::{AcceptTypes, Path};
    let ws = "path:msrps://192.0.2.10:7654/p;ws";
    #[rustfmt::skip]
    let table = [
        ("7654 TCP/MSRP",     "PATH|accept-types:",                          Refusal::Media(AcceptTypes)),
        ("7654 TCP/MSRP",     "accept-types:*",                              Refusal::Media(Path)),
        ("7654 TCP/MSRP",     "path:msrp://192.0.2.10:7654/p",               Refusal::Uri(UriError::Transport)),
        ("7654 TCP/MSRP",     "path:msrp://h/p;tcp",                         Refusal::NoPort),
        ("7654 TCP/MSRP",     "path:msrps://192.0.2.10:7654/p;tcp",          Refusal::Scheme),
        ("7654 TCP/TLS/MSRP", "PATH",                                        Refusal::Scheme),
        ("7654 TCP/TLS/MSRP", "path:msrps://192.0.2.10:7654/p;tcp",          Refusal::Scheme),
        ("9 TCP/MSRP",        "path:msrp://192.0.2.10:9/p;tcp|setup:passive", Refusal::Unreachable),
        ("7654 TCP/MSRP",     "PATH|accept-types:image/png",                 Refusal::Types),
        ("7654 TCP/MSRP",     "PATH|fingerprint:sha-1 00",                   Refusal::Media(MediaError::Fingerprint)),
        ("7654 RTP/AVP",      "PATH",                                        Refusal::NoMessage),
        ("0 TCP/MSRP",        "PATH",                                        Refusal::NoMessage),
    ];
    for (media, attributes, refusal) in table {
        let offer = peer("192.0.2.10", media, attributes);
        assert_eq!(answered(&offer, &terms(&[OWN])).unwrap_err(), refusal, "{media} {attributes}");
        assert_eq!(refusal.status(), 488);
        assert!((300..400).contains(&refusal.warning()));
    }
    let own = terms(&["msrps://192.0.2.50:2856/own;tcp"]);
    let offer = peer("192.0.2.10", "7654 TCP/TLS/MSRP", &format!("{ws}|setup:passive"));
    assert_eq!(answered(&offer, &own).unwrap_err(), Refusal::Unreachable);
    // A browser connects to us: nothing is connected to.
    let offer = peer("192.0.2.10", "7654 TCP/TLS/MSRP", &format!("{ws}|setup:active"));
    assert_eq!(answered(&offer, &own).unwrap().1.hop, None);
    // Its relay is connected to, not it.
    let relayed = "path:msrps://192.0.2.9:1/r;tcp msrps://a.invalid:7654/p;ws|setup:passive";
    let offer = peer("a.invalid", "7654 TCP/TLS/MSRP", relayed);
    let (_, agreement) = answered(&offer, &own).unwrap();
    assert_eq!(addressed(agreement.hop.as_ref()), "192.0.2.9:1");
    assert!(agreement.hop.unwrap().secure);
    assert_eq!(agreement.peer_path.len(), 2);
}

// Covers: MSRP-010
#[test]
fn the_first_line_that_can_be_taken_is_and_the_others_are_refused() {
    let line = |port: u16, types: &str| {
        format!(
            "m=message {port} TCP/MSRP *\r\na=accept-types:{types}\r\n\
             a=path:msrp://192.0.2.10:{port}/p;tcp\r\n"
        )
    };
    let text = format!(
        "v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n\
         m=audio 5 RTP/AVP 0\r\n{}{}{}",
        line(1, "image/png"),
        line(2, "*"),
        line(3, "*")
    );
    let offer = Sdp::parse(text.as_bytes()).unwrap();
    let (answer, agreement) = answer(&offer, &terms(&[OWN]), 7, &differ).unwrap();
    let ports: Vec<u16> = answer.media().map(|line| line.port()).collect();
    assert_eq!(ports, [0, 0, 2855, 0]);
    assert_eq!(offer.check_answer(&answer), Ok(()));
    assert_eq!(agreement.peer_path[0].parts().port, Some(2));
    // Without a line that can be taken the first reason counts.
    let text = text.replace("accept-types:*", "accept-types:image/gif");
    let offer = Sdp::parse(text.as_bytes()).unwrap();
    assert_eq!(super::answer(&offer, &terms(&[OWN]), 7, &differ).unwrap_err(), Refusal::Types);
}

// Covers: MSRP-010, MSRP-080
#[test]
fn directions_types_and_sizes_are_those_of_both() {
    #[rustfmt::skip]
    let table = [
        ("sendrecv", Direction::SendRecv, Direction::SendRecv, true,  true),
        ("sendonly", Direction::SendRecv, Direction::RecvOnly, false, true),
        ("recvonly", Direction::SendRecv, Direction::SendOnly, true,  false),
        ("inactive", Direction::SendRecv, Direction::Inactive, false, false),
        ("sendrecv", Direction::RecvOnly, Direction::RecvOnly, false, true),
        ("recvonly", Direction::RecvOnly, Direction::Inactive, false, false),
    ];
    for (offered, own, answer, sends, receives) in table {
        let offer = peer("192.0.2.10", "7654 TCP/MSRP", &format!("PATH|{offered}|max-size:77"));
        let mut terms = terms(&[OWN]);
        terms.direction = own;
        let (media, agreement) = answered(&offer, &terms).unwrap();
        assert_eq!(media.direction, answer, "{offered}");
        assert_eq!((agreement.sends, agreement.receives), (sends, receives), "{offered}");
        assert_eq!(agreement.accepts.octets_max, Some(77));
    }
    let narrow = "PATH|accept-types:message/cpim|accept-wrapped-types:text/plain";
    let offer = peer("192.0.2.10", "7654 TCP/MSRP", narrow);
    let (_, agreement) = answered(&offer, &terms(&[OWN])).unwrap();
    assert!(agreement.accepts.prefers_cpim() && !agreement.accepts.admits("text/plain"));
}

// Covers: MSRP-090
#[test]
fn chat_rooms_are_declared_and_not_negotiated() {
    let mut focus = terms(&[OWN]);
    let all: Chatroom = "nickname private-messages".parse().unwrap();
    focus.chatroom = Some(all.clone());
    let mut agreements = Vec::new();
    for (offered, heard) in
        [("|chatroom:nickname odd", Some("nickname odd")), ("|chatroom", Some("")), ("", None)]
    {
        let offer = peer("192.0.2.10", "7654 TCP/MSRP", &format!("PATH{offered}"));
        let (media, agreement) = answered(&offer, &focus).unwrap();
        assert_eq!(media.chatroom.as_ref(), Some(&all), "{offered}");
        let heard = heard.map(|tokens| tokens.parse().unwrap());
        assert_eq!(agreement.chatroom, heard, "{offered}");
        agreements.push(agreement);
    }
    assert!(agreements[2].continues(&agreements[0]), "only the declaration was taken back");
}

// Covers: MSRP-079
#[test]
fn a_session_goes_on_while_nobody_changes_a_uri() {
    let one = peer("192.0.2.10", "7654 TCP/MSRP", "PATH|setup:actpass");
    let (_, first) = answered(&one, &terms(&[OWN])).unwrap();
    let (answer, again) = answer(&one, &terms(&[OWN]), 7, &differ).unwrap();
    assert!(again.continues(&first));
    // The answer to an offer that changes nothing keeps its o= line.
    let repeated = super::answer(&one, &terms(&[OWN]), 8, &differ).unwrap().0.following(&answer);
    assert_eq!(repeated, answer);
    // A peer that offers anew may have another path, and so may we.
    let moved =
        peer("192.0.2.10", "7654 TCP/MSRP", "path:msrp://192.0.2.10:7654/next;tcp|setup:actpass");
    assert!(!answered(&moved, &terms(&[OWN])).unwrap().1.continues(&first));
    let own = "msrp://192.0.2.50:2855/next;tcp";
    let (sdp, next) = super::answer(&one, &terms(&[own]), 7, &differ).unwrap();
    assert!(!next.continues(&first));
    assert_eq!(sdp.following(&answer).origin().version, answer.origin().version + 1);
}

// Covers: MSRP-020, MSRP-094
#[test]
fn an_answer_copies_the_file_and_a_refusal_too() {
    let file = "file-selector:name:\"x\" size:1 hash:sha-1:72|file-transfer-id:Q6|file-range:1-1\
                |file-icon:cid:a@b|sendonly";
    let offer = peer("192.0.2.10", "7654 TCP/MSRP", &format!("PATH|{file}"));
    let (media, agreement) = answered(&offer, &terms(&[OWN])).unwrap();
    let answered = media.file.unwrap();
    assert_eq!(answered.id.as_deref(), Some("Q6"));
    assert_eq!(answered.selector.to_string(), "name:\"x\" size:1");
    assert_eq!((answered.range.unwrap().octets(), answered.icon), (Some(1), None));
    assert_eq!(agreement.file.unwrap().icon.as_deref(), Some("cid:a@b"));
    assert_eq!(media.direction, Direction::RecvOnly);
}

// Covers: MSRP-016
#[test]
fn fingerprints_go_both_ways() {
    let print = "sha-1 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB";
    let mut own = terms(&["msrps://192.0.2.50:2856/own;tcp"]);
    own.fingerprints = vec!["x 01".parse().unwrap()];
    let path = "path:msrps://192.0.2.10:7654/p;tcp|setup:passive";
    let offer = peer("192.0.2.10", "7654 TCP/TLS/MSRP", &format!("{path}|fingerprint:{print}"));
    let (media, agreement) = answered(&offer, &own).unwrap();
    assert_eq!(media.fingerprints, own.fingerprints);
    let target = agreement.hop.unwrap();
    assert!(target.secure);
    assert_eq!(target.fingerprints, [print.parse().unwrap()]);
    assert_eq!(agreement.fingerprints, target.fingerprints);
}

// Covers: MSRP-016
#[test]
fn a_certificate_is_of_who_is_next_to_us() {
    let print = "sha-1 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB";
    let (own, relay) = ("msrps://192.0.2.50:2856/own;tcp", "msrps://r.example.com:2855/r;tcp");
    let direct = "msrps://192.0.2.10:7654/p;tcp";
    let relayed = format!("msrps://192.0.2.11:2855/r;tcp {direct}");
    #[rustfmt::skip]
    let table = [
        (&[own][..],    direct,    "TCP/TLS/MSRP", true),
        (&[own],        &*relayed, "TCP/TLS/MSRP", false),
        (&[relay, own], direct,    "TCP/TLS/MSRP", false),
        (&[OWN],        "msrp://192.0.2.10:7654/p;tcp", "TCP/MSRP", false),
    ];
    for (own, path, proto, named) in table {
        let attributes = format!("path:{path}|fingerprint:{print}");
        let offer = peer("192.0.2.10", &format!("7654 {proto}"), &attributes);
        let (_, agreement) = answered(&offer, &terms(own)).unwrap();
        assert_eq!(agreement.fingerprints, [print.parse().unwrap()]);
        assert_eq!(!agreement.peer_certificates().is_empty(), named, "{path} to {own:?}");
    }
}

// Covers: MSRP-010
#[test]
fn an_answer_that_is_none_ends_the_session() {
    let terms = terms(&[OWN]);
    let ours = offer(&terms, 7);
    #[rustfmt::skip]
    let table = [
        ("7654 TCP/MSRP", "PATH|accept-types:image/png",  Refusal::Types),
        ("7654 TCP/MSRP", "path:msrp://h/p;tcp",          Refusal::NoPort),
        ("7654 RTP/AVP",  "PATH",                         Refusal::Answer(AnswerError::Kind(0))),
        ("7654 TCP/MSRP", "PATH|setup:actpass",           Refusal::Answer(AnswerError::Setup(0))),
    ];
    for (media, attributes, refusal) in table {
        let answer = peer("192.0.2.10", media, attributes);
        assert_eq!(conclude(&ours, &answer, &terms, &differ), Err(refusal), "{attributes}");
    }
}
