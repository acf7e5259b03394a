use proptest::prelude::*;

use super::*;

/// RFC 4975 §5.4's offer with host names in `o=` and `c=`.
const RFC4975: &str = "v=0\r\no=alice 2890844526 2890844527 IN IP4 alicepc.example.com\r\ns= -\r\n\
    c=IN IP4 alicepc.example.com\r\nt=0 0\r\nm=message 12763 TCP/MSRP *\r\n\
    a=accept-types:text/plain\r\na=path:msrp://alicepc.example.com:12763/iau39soe2843z;tcp\r\n";

const HEAD: &str = "v=0\r\no=- 1 2 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n";

fn parse(text: &str) -> Result<Sdp, SdpError> {
    Sdp::parse(text.as_bytes())
}

#[test]
fn reads_the_offer_of_rfc_4975_and_prints_it() {
    let sdp = parse(RFC4975).unwrap();
    let origin = sdp.origin();
    assert_eq!(
        (origin.username, origin.session_id, origin.version, origin.address),
        ("alice", "2890844526", 2_890_844_527, "alicepc.example.com")
    );
    let (index, media) = sdp.first_message().unwrap();
    let media = media.unwrap();
    assert_eq!((index, media.port, media.proto), (0, 12763, MsrpProto::Tcp));
    assert_eq!(media.path, ["msrp://alicepc.example.com:12763/iau39soe2843z;tcp"]);
    assert!(media.accept_types.admits("text/plain"));
    assert_eq!(media.direction, Direction::SendRecv);
    let line = sdp.media().next().unwrap();
    assert_eq!((line.kind(), line.proto()), ("message", "TCP/MSRP"));
    assert_eq!(line.connection(), Some("alicepc.example.com"));
    assert_eq!(sdp.to_string(), RFC4975);
}

#[test]
fn reads_offers_of_files_and_prints_every_attribute() {
    // RFC 5547 §8.2.1, its folded lines in one; every attribute is kept, known here or not.
    let picture = "v=0\r\no=alice 2890844526 2890844526 IN IP4 alicepc.example.com\r\ns=\r\n\
        c=IN IP4 alicepc.example.com\r\nt=0 0\r\nm=message 7654 TCP/MSRP *\r\n\
        i=This is my latest picture\r\na=sendonly\r\na=accept-types:message/cpim\r\n\
        a=accept-wrapped-types:*\r\na=path:msrp://alicepc.example.com:7654/jshA7we;tcp\r\n\
        a=file-selector:name:\"My cool picture.jpg\" type:image/jpeg size:4092 hash:sha-1:\
        72:24:5F:E8:65:3D:DA:F3:71:36:2F:86:D4:71:91:3E:E4:A2:CE:2E\r\n\
        a=file-transfer-id:Q6LMoGymJdh0IKIgD6wD0jkcfgva4xvE\r\na=file-disposition:render\r\n\
        a=file-date:creation:\"Mon, 15 May 2006 15:01:31 +0300\"\r\n\
        a=file-icon:cid:id2@alicepc.example.com\r\n";
    let large = "v=0\r\no=alice 3298452 3298452 IN IP4 192.0.2.10\r\ns=-\r\n\
        c=IN IP4 192.0.2.10\r\nt=0 0\r\nm=message 7654 TCP/MSRP *\r\n\
        a=accept-types:message/cpim application/im-iscomposing+xml\r\n\
        a=accept-wrapped-types:text/plain message/imdn+xml image/jpeg\r\n\
        a=path:msrp://192.0.2.10:7654/lm88;tcp\r\na=setup:actpass\r\na=msrp-cema\r\n\
        a=sendonly\r\na=file-selector:type:text/plain size:18213\r\n\
        a=file-transfer-id:8pT0dQ4mZr1uYc7vKx2sLb9nGf5hWe3j\r\n";
    for (text, size) in [(picture, 4092), (large, 18213)] {
        let sdp = parse(text).unwrap();
        let (_, media) = sdp.first_message().unwrap();
        let media = media.unwrap();
        assert_eq!(media.file.unwrap().selector.size, Some(size));
        assert_eq!(media.direction, Direction::SendOnly);
        assert_eq!(sdp.to_string(), text);
    }
    let line_of = parse(large).unwrap();
    let line = line_of.media().next().unwrap();
    assert_eq!(line.attribute("msrp-cema"), Some(""));
    assert_eq!(line.attribute("file-transfer-id"), Some("8pT0dQ4mZr1uYc7vKx2sLb9nGf5hWe3j"));
    assert_eq!(line.attribute("file-icon"), None);
}

#[test]
fn takes_what_deployed_clients_write() {
    let media = "m=message 7654 TCP/MSRP *\r\na=accept-types:*\r\na=path:msrp://h:1/s;tcp\r\n";
    let table = [
        ("no last line end", format!("{HEAD}{media}a=sendonly")),
        ("bare LF", format!("{HEAD}{media}a=sendonly\r\n").replace("\r\n", "\n")),
        ("unknown letter", format!("{HEAD}y=odd\r\n{media}a=sendonly\r\nq=odd\r\n")),
        ("no s= and t=", format!("v=0\r\no=- 1 2 IN IP4 h\r\n{media}a=sendonly\r\n")),
        ("empty line", format!("{HEAD}{media}a=sendonly\r\n\r\n")),
        ("session level", format!("{HEAD}a=sendonly\r\n{media}")),
    ];
    for (what, text) in table {
        let (_, media) = parse(&text).unwrap().first_message().unwrap();
        assert_eq!(media.unwrap().direction, Direction::SendOnly, "{what}");
    }
}

#[test]
fn a_new_description_has_an_origin_that_reads_back() {
    for (username, written) in [("alice", "alice"), ("-", "-"), ("", "-"), ("a b", "-")] {
        let sdp = Sdp::new(username, 7, 8, "2001:db8::1");
        let expect = format!(
            "v=0\r\no={written} 7 8 IN IP6 2001:db8::1\r\ns=-\r\nc=IN IP6 2001:db8::1\r\nt=0 0\r\n"
        );
        assert_eq!(sdp.to_string(), expect);
        assert_eq!(parse(&expect).unwrap(), sdp);
    }
    for (host, written) in [
        ("192.0.2.1", "IN IP4 192.0.2.1"),
        ("im.example.com", "IN IP4 im.example.com"),
        ("", "IN IP4 0.0.0.0"),
        ("a b", "IN IP4 0.0.0.0"),
    ] {
        let sdp = Sdp::new("-", 7, 8, host);
        let expect = format!("v=0\r\no=- 7 8 {written}\r\ns=-\r\nc={written}\r\nt=0 0\r\n");
        assert_eq!(sdp.to_string(), expect);
    }
}

// Covers: MSRP-079
#[test]
fn the_version_grows_only_with_a_change() {
    let line = |port| format!("{HEAD}m=message {port} TCP/MSRP *\r\n");
    let first = parse(&line(5)).unwrap();
    let again = Sdp::parse(line(5).replace("- 1 2", "- 9 9").as_bytes()).unwrap();
    assert_eq!(again.following(&first), first);
    let changed = parse(&line(6)).unwrap().following(&first);
    assert_eq!((changed.origin().session_id, changed.origin().version), ("1", 3));
    assert_eq!(changed.revision_of(&first), Revision::Changed);
}

// Covers: MSRP-094
#[test]
fn a_refusal_repeats_kind_and_file() {
    let offer = parse(&format!(
        "{HEAD}m=audio 5/2 RTP/AVP 0 8\r\na=x\r\nm=message 7654 TCP/TLS/MSRP *\r\na=sendonly\r\n\
         a=file-selector:name:\"a b\" odd:x\r\na=file-transfer-id:Q6\r\na=file-range:1-2\r\n\
         m=message 1 TCP/MSRP *\r\na=file-selector\r\n"
    ))
    .unwrap();
    let mut answer = Sdp::new("-", 1, 2, "192.0.2.1");
    offer.media().for_each(|line| answer.push_refused(&line));
    assert!(answer.to_string().ends_with(
        "m=audio 0 RTP/AVP 0 8\r\nm=message 0 TCP/TLS/MSRP *\r\n\
         a=file-selector:name:\"a b\" odd:x\r\na=file-transfer-id:Q6\r\n\
         m=message 0 TCP/MSRP *\r\na=file-selector\r\n"
    ));
    assert_eq!(offer.check_answer(&answer), Ok(()));
}

#[test]
fn refuses() {
    let syntax = |text: &str| matches!(parse(text), Err(SdpError::Syntax(_)));
    assert!(syntax(""));
    assert!(syntax("v=1\r\n"));
    assert!(syntax(&format!("{HEAD}m=message 7654 TCP/MSRP *\r\ngarbage\r\n")));
    assert!(syntax(&HEAD.replace(" 1 2 ", " 1 18446744073709551616 ")));
    assert!(syntax(&format!("{HEAD}m=message 65536 TCP/MSRP *\r\n")));
    assert!(syntax(&format!("{HEAD}s=twice\r\n")));
    assert_eq!(parse("v=0\r\ns=-\r\nt=0 0\r\n"), Err(SdpError::NoOrigin));
    assert_eq!(parse("v=0\r\nm=a 1 b c\r\no=- 1 2 IN IP4 h\r\n"), Err(SdpError::NoOrigin));
}

#[test]
fn limits_hold() {
    let line = "m=audio 1 RTP/AVP 0\r\n";
    let most = format!("{HEAD}{}", line.repeat(MEDIA_LINES_MAX));
    assert_eq!(parse(&most).unwrap().media().len(), MEDIA_LINES_MAX);
    assert_eq!(parse(&format!("{most}{line}")), Err(SdpError::TooManyMedia));
    let long = format!("{HEAD}a={}", "x".repeat(SDP_BYTES_MAX - HEAD.len() - 2));
    assert!(parse(&long).is_ok());
    assert_eq!(parse(&format!("{long}x")), Err(SdpError::TooLong));
}

#[test]
fn refused_and_foreign_lines_are_passed_over() {
    let text = format!(
        "{HEAD}c=IN IP4 192.0.2.1\r\nm=audio 5 RTP/AVP 0\r\nm=message 0 TCP/MSRP *\r\n\
         m=message 5 UDP *\r\nm=message 9 TCP/TLS/MSRP *\r\nc=IN IP6 2001:db8::1\r\n\
         a=accept-types:*\r\na=path:msrps://h:1/s;tcp\r\n"
    );
    let sdp = parse(&text).unwrap();
    let (index, media) = sdp.first_message().unwrap();
    assert_eq!((index, media.unwrap().proto), (3, MsrpProto::Tls));
    let hosts: Vec<_> = sdp.media().map(|line| line.connection().unwrap()).collect();
    assert_eq!(hosts, ["192.0.2.1", "192.0.2.1", "192.0.2.1", "2001:db8::1"]);
    assert!(sdp.media().nth(1).unwrap().is_refused());
}

#[test]
fn setup_of_the_line_goes_before_that_of_the_session() {
    #[rustfmt::skip]
    let table = [
        ("",                   "",                    Ok(None)),
        ("a=setup:active\r\n", "",                    Ok(Some(Setup::Active))),
        ("a=setup:active\r\n", "a=setup:actpass\r\n", Ok(Some(Setup::ActPass))),
        ("",                   "a=setup:odd\r\n",     Err(MediaError::Setup)),
        ("",                   "a=setup\r\n",         Err(MediaError::Setup)),
    ];
    for (session, media, setup) in table {
        let sdp = parse(&format!("{HEAD}{session}m=message 5 TCP/MSRP *\r\n{media}")).unwrap();
        assert_eq!(sdp.media().next().unwrap().setup(), setup, "{session}{media}");
    }
}

#[test]
fn answers_to_directions_and_setups() {
    use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
    #[rustfmt::skip]
    let table = [ // RFC 3264 §6.1
        (SendRecv, vec![SendRecv, SendOnly, RecvOnly, Inactive]),
        (SendOnly, vec![RecvOnly, Inactive]),
        (RecvOnly, vec![SendOnly, Inactive]),
        (Inactive, vec![Inactive]),
    ];
    for (offer, permitted) in table {
        for (name, answer) in Direction::NAMES {
            assert_eq!(offer.permits(answer), permitted.contains(&answer), "{offer:?} {name}");
            assert_eq!(answer.as_str(), name);
        }
        assert!(offer.permits(offer.reversed()));
    }
    #[rustfmt::skip]
    let table = [ // RFC 4145 §4.1
        (Setup::Active,   vec![Setup::Passive, Setup::HoldConn]),
        (Setup::Passive,  vec![Setup::Active, Setup::HoldConn]),
        (Setup::ActPass,  vec![Setup::Active, Setup::Passive, Setup::HoldConn]),
        (Setup::HoldConn, vec![Setup::HoldConn]),
    ];
    for (offer, permitted) in table {
        for (name, answer) in Setup::NAMES {
            assert_eq!(offer.permits(answer), permitted.contains(&answer), "{offer:?} {name}");
            assert_eq!(answer.as_str(), name);
        }
    }
}

proptest! {
    /// What is printed reads as the same, for whatever was read.
    #[test]
    fn display_then_parse_is_identity(
        lines in prop::collection::vec(
            "(a=[a-z-]{1,9}(:[ -~]{0,20})?|c=IN IP4 [a-z.]{1,9}|m=message [0-9]{1,4} TCP/MSRP [*]|\
             i=[ -~]{0,9}|y=odd|b=AS:[0-9]{1,5})",
            0..12,
        )
    ) {
        let text = format!("{HEAD}{}", lines.join("\r\n"));
        if let Ok(sdp) = parse(&text) {
            prop_assert_eq!(parse(&sdp.to_string()).unwrap(), sdp);
        }
    }

    #[test]
    fn never_panics(
        octets: Vec<u8>,
        near in "(v=0|o=- 1 2 IN IP4 h|m=message 5 TCP/MSRP [*]|a=(setup|path|max-size|\
            accept-types|\
            chatroom|msrp-cema|fingerprint|sha-256|file-(date|icon|range|transfer-id)|\
            file-selector)|:|[0-9\"a-z*/ ]|\r\n){0,40}",
    ) {
        for octets in [octets, near.clone().into_bytes(), format!("{HEAD}{near}").into_bytes()] {
            if let Ok(sdp) = Sdp::parse(&octets) {
                let _ = sdp.first_message();
                let _ = sdp.check_answer(&sdp);
                let _ = sdp.to_string();
            }
        }
    }
}

#[test]
fn attributes_of_the_session_are_read_and_replaced() {
    let text = "v=0\r\no=- 1 2 IN IP4 h\r\ns=-\r\nt=0 0\r\na=x:1\r\na=y\r\na=x:2\r\n\
                m=message 9 TCP/MSRP *\r\na=z:3\r\n";
    let mut sdp = Sdp::parse(text.as_bytes()).unwrap();
    let of = |sdp: &Sdp, name| sdp.session_attribute(name).map(str::to_owned);
    assert_eq!(of(&sdp, "x").as_deref(), Some("1"));
    assert_eq!(of(&sdp, "y").as_deref(), Some(""));
    assert_eq!(of(&sdp, "z"), None, "that is one of the media");
    sdp.set_session_attribute("x", Some("4"));
    sdp.set_session_attribute("y", None);
    let replaced = text.replace("a=x:1\r\na=y\r\na=x:2", "a=x:4");
    assert_eq!(sdp.to_string(), replaced);
}
