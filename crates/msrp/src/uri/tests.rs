//! What is a URI, and which two are the same.

use proptest::prelude::*;

use super::*;

#[test]
fn reads() {
    #[rustfmt::skip]
    let table = [
        // RFC 4975 §6
        ("msrp://host.example.com:8493/asfd34;tcp", "host.example.com", Some(8493), Some("asfd34"), "tcp"),
        // RFC 4976 §5.1, RFC 7977 §8
        ("msrps://alice@intra.example.com;tcp",     "intra.example.com", None, None, "tcp"),
        ("msrps://df7jal23ls0d.invalid:2855/98cjs;ws", "df7jal23ls0d.invalid", Some(2855), Some("98cjs"), "ws"),
        ("msrp://192.0.2.1:7/a/b+c=-._~;tcp",       "192.0.2.1", Some(7), Some("a/b+c=-._~"), "tcp"),
        ("msrp://[2001:db8::9]:2855/x;tcp",         "[2001:db8::9]", Some(2855), Some("x"), "tcp"),
        ("MSRP://h:0/x;SCTP9;a;b=c",                "h", Some(0), Some("x"), "SCTP9"),
        ("msrp://a;b:c%20@h%41:007;tcp",            "h%41", Some(7), None, "tcp"),
    ];
    for (text, host, port, session_id, transport) in table {
        let uri: MsrpUri = text.parse().expect(text);
        let parts = uri.parts();
        assert_eq!((parts.host, parts.port, parts.session_id), (host, port, session_id), "{text}");
        assert_eq!(parts.transport, transport, "{text}");
        assert_eq!(uri.to_string(), text);
    }
    let uri = UriRef::parse(b"msrps://u@h:1/x;tcp;a;b=c").unwrap();
    assert_eq!((uri.scheme, uri.userinfo, uri.parameters), (Scheme::Msrps, Some("u"), ";a;b=c"));
}

#[test]
fn refuses() {
    use UriError::*;
    #[rustfmt::skip]
    let table = [
        ("",                            Scheme),
        ("msrp:h:1/x;tcp",              Scheme),
        ("sip://h:1/x;tcp",             Scheme),
        (" msrp://h:1/x;tcp",           Scheme),
        ("msrp://h:1/x",                Transport),
        ("msrp://h:1/x;",               Transport),
        ("msrp://h:1/x;;a",             Transport),
        ("msrp://h:1/x;t-p",            Transport),
        ("msrp://:1/x;tcp",             Host),
        ("msrp:///x;tcp",               Host),
        ("msrp://h h:1/x;tcp",          Host),
        ("msrp://h%4:1/x;tcp",          Host),
        ("msrp://h\u{e9}:1/x;tcp",      Host),
        ("msrp://[::1:1/x;tcp",         Host),
        ("msrp://[::g]:1/x;tcp",        Host),
        ("msrp://[::1]1/x;tcp",         Host),
        ("msrp://h:/x;tcp",             Port),
        ("msrp://h:65536/x;tcp",        Port),
        ("msrp://h:+1/x;tcp",           Port),
        ("msrp://h:1:2/x;tcp",          Port),
        ("msrp://192.0.2.1/x;tcp",      PortMissing), // RFC 4975 §6
        ("msrp://[::1]/x;tcp",          PortMissing),
        ("msrp://h:1/;tcp",             SessionId),
        ("msrp://h:1/x y;tcp",          SessionId),
        ("msrp://h:1/x%41;tcp",         SessionId),
        ("msrp://u/v@h:1/x;tcp",        Userinfo),
        ("msrp://u@v@h:1/x;tcp",        Userinfo),
        ("msrp://h:1/x;tcp;",           Parameter),
        ("msrp://h:1/x;tcp;=a",         Parameter),
        ("msrp://h:1/x;tcp;a=",         Parameter),
        ("msrp://h:1/x;tcp;a=b=c",      Parameter),
    ];
    for (text, error) in table {
        assert_eq!(MsrpUri::parse(text.as_bytes()).err(), Some(error), "{text}");
    }
}

// Covers: MSRP-082
#[test]
fn compares() {
    #[rustfmt::skip]
    let table = [
        ("msrp://h:1/x;tcp",         "MSRP://H:1/x;TCP",            true),
        ("msrp://h:1/x;tcp",         "msrp://user@h:1/x;tcp",       true),  // userinfo
        ("msrp://h:1/x;tcp",         "msrp://h:1/x;tcp;a=b",        true),  // parameters
        ("msrp://h%41.b:1/x;tcp",    "msrp://ha.b:1/x;tcp",         true),  // RFC 3986 §6.2.2.2
        ("msrp://h%2F:1/x;tcp",      "msrp://h%2f:1/x;tcp",         true),
        ("msrp://h:1/x;tcp",         "msrp://h:01/x;tcp",           true),  // the port by value
        ("msrp://[2001:db8::1]:1/x;tcp", "msrp://[2001:DB8:0:0::1]:1/x;tcp", true),
        ("msrp://h:1/x;tcp",         "msrps://h:1/x;tcp",           false),
        ("msrp://h:1/x;tcp",         "msrp://h:1/X;tcp",            false), // the session-id has case
        ("msrp://h:1/x;tcp",         "msrp://h:1;tcp",              false),
        ("msrp://h:1/x;tcp",         "msrp://h:2/x;tcp",            false),
        ("msrp://h/x;tcp",           "msrp://h:2855/x;tcp",         false), // there is no default
        ("msrp://h:1/x;tcp",         "msrp://h:1/x;ws",             false),
        ("msrp://h:1/x;tcp",         "msrp://g:1/x;tcp",            false),
        ("msrp://192.0.2.1:1/x;tcp", "msrp://192.0.2.2:1/x;tcp",    false),
        ("msrp://[::192.0.2.1]:1/x;tcp", "msrp://192.0.2.1:1/x;tcp", false),
        ("msrp://h:1/x;tcp",         "msrp://h.:1/x;tcp",           false), // no DNS
    ];
    for (one, other, same) in table {
        let (one, other): (MsrpUri, MsrpUri) = (one.parse().unwrap(), other.parse().unwrap());
        assert_eq!(one.equivalent(&other), same, "{one} {other}");
        assert_eq!(other.equivalent(&one), same, "{other} {one}");
        assert!(one.equivalent(&one) && one.matches(one.as_bytes()));
    }
    let uri: MsrpUri = "msrp://h:1/x;tcp".parse().unwrap();
    assert!(!uri.matches(b"msrp://h:1/x") && !uri.matches(b""));
}

#[test]
fn addresses_are_known() {
    let address = |text: &str| UriRef::parse(text.as_bytes()).unwrap().address();
    assert_eq!(address("msrp://192.0.2.1:1/x;tcp"), Some([192, 0, 2, 1].into()));
    assert_eq!(address("msrp://[::1]:1/x;tcp"), Some(Ipv6Addr::LOCALHOST.into()));
    assert_eq!(address("msrp://192.0.2:1/x;tcp"), None);
}

proptest! {
    #[test]
    fn display_then_parse_is_identity(
        scheme in "(msrp|MSRPS)://([a-z%20!]{1,5}@)?",
        host in "([a-zA-Z.-]{1,9}|192\\.0\\.2\\.[1-9]|\\[2001:db8::[0-9a-f]{1,4}\\]):[0-9]{1,4}",
        rest in "(/[a-zA-Z0-9+=/~]{1,12})?;(tcp|ws|x9)(;[a-z]{1,4}(=[a-z]{1,4})?){0,2}",
    ) {
        let text = [scheme, host, rest].concat();
        // A "%" may be no escape.
        if let Ok(uri) = MsrpUri::parse(text.as_bytes()) {
            prop_assert_eq!(uri.to_string().parse(), Ok(uri.clone()));
            prop_assert_eq!(uri.as_str(), &text);
            prop_assert!(uri.matches(text.replace("tcp", "TCP").as_bytes()));
        }
    }

    #[test]
    fn never_panics(octets: Vec<u8>, text in "msrp://[]\\[:/@;%a0.=-]{0,20}") {
        let _ = (MsrpUri::parse(&octets), MsrpUri::parse(text.as_bytes()));
    }
}
