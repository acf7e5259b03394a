//! The exchanges printed in RFC 4976 and RFC 7977, passed on as they are printed there.
//!
//! Printed otherwise: the transaction identifiers are the node's own, header lines stand in the
//! order in which they came, a 200 has no Message-ID, and the slips of the RFCs are put right: a
//! port that is missing once (RFC 7977 §7.4), and a `Use-Path` that changes on its way (RFC 4976
//! §5.1).

use super::*;
use crate::Usage;
use crate::pending::Fifo;
use crate::relay::grant::{Client, Grant, Paths};

/// A message as printed.
fn printed(name: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name);
    let text = std::fs::read_to_string(&path).expect("it is there");
    text.replace(".invalid/", ".invalid:2855/")
}

/// A message in which what may differ does not: its transaction identifier is `~`, its header lines
/// after the paths are sorted.
fn plain(text: &str) -> String {
    let id = text.split(' ').nth(1).expect("a transaction identifier");
    let text = text.replace(id, "~");
    let (head, rest) = match text.split_once("\r\n\r\n") {
        Some((head, body)) => (head, format!("\r\n\r\n{body}")),
        None => {
            let at = text.find("\r\n-------").expect("an end-line");
            (&text[..at], text[at..].to_owned())
        }
    };
    let mut lines: Vec<String> =
        head.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    if lines[0].ends_with("200 OK") {
        lines.retain(|line| !line.starts_with("Message-ID:"));
    }
    lines[3..].sort();
    lines.join("\r\n") + &rest
}

impl World {
    /// A client with a URI that is in an example.
    fn with_uri(&mut self, uri: &str, hop: &str) -> ConnectionId {
        let connection = self.client();
        let (now, roles) = (self.now, &mut self.node.roles);
        let place = roles.relay.grants.vacant_key();
        let usage = Usage::Grant(u32::try_from(place).unwrap());
        let session = roles.cx.sessions.open_as(uri.parse().unwrap(), usage);
        roles.relay.grants.insert(Grant {
            session,
            client: Client::Connection(connection),
            hop: hop.as_bytes().into(),
            expires: now + Duration::from_secs(900),
            remote: None,
            forwarded: Fifo::default(),
            paths: Paths::default(),
        });
        roles.cx.bind(connection, session);
        connection
    }

    /// Feeds a printed message, and compares what comes out with printed ones.
    fn example(&mut self, from: ConnectionId, name: &str, expect: &[(ConnectionId, &str)]) {
        self.text(from, &printed(name));
        for (connection, expected) in expect {
            let octets = self.octets(*connection);
            let text = String::from_utf8(octets).unwrap();
            assert_eq!(plain(&text), plain(&printed(expected)), "{name} -> {expected}");
        }
        let left: Vec<_> = self.sent.values().filter(|sent| !sent.is_empty()).collect();
        assert!(left.is_empty(), "{name}: {left:?}");
    }

    /// Answers the request that waits at `connection` with a printed response; the request.
    fn answered(&mut self, connection: ConnectionId, request: &str, response: &str) {
        let written = String::from_utf8(self.octets(connection)).unwrap();
        assert_eq!(plain(&written), plain(&printed(request)));
        let id = &own_ids(&written)[0];
        let text = printed(response);
        let old = text.split(' ').nth(1).unwrap().to_owned();
        self.text(connection, &text.replace(&old, id));
    }
}

// Covers: MSRP-044, MSRP-087
#[test]
fn a_message_and_its_report_over_two_relays() {
    // The relay of Alice (RFC 4976 §3).
    let mut a = World::new();
    let alice = a.with_uri(
        "msrps://a.example.org:9000/kjfjan;tcp",
        "msrps://alice.example.org:7965/bar;tcp",
    );
    a.text(alice, &printed("rfc4976-01-SEND-6aef.msrp"));
    assert_eq!(a.connects[0].1, "b.example.net:9000");
    let b_link = a.connected(Some(&["b.example.net"]));
    assert_eq!(plain(&a.read(alice)), plain(&printed("rfc4976-02-200-6aef.msrp")));
    a.answered(b_link, "rfc4976-03-SEND-juh76.msrp", "rfc4976-04-200-juh76.msrp");
    a.example(b_link, "rfc4976-07-REPORT-yh67.msrp", &[(alice, "rfc4976-08-REPORT-yh67.msrp")]);
    // The relay of Bob.
    let mut b = World::with(relay_config(), NodeConfig::default(), 5);
    let bob =
        b.with_uri("msrps://b.example.net:9000/aeiug;tcp", "msrps://bob.example.net:8145/foo;tcp");
    let a_link = b.accept(Some(&["a.example.org"]));
    b.text(a_link, &printed("rfc4976-03-SEND-juh76.msrp"));
    assert_eq!(plain(&b.read(a_link)), plain(&printed("rfc4976-04-200-juh76.msrp")));
    let written = String::from_utf8(b.octets(bob)).unwrap();
    assert_eq!(plain(&written), plain(&printed("rfc4976-05-SEND-xght6.msrp")));
    b.example(bob, "rfc4976-06-REPORT-yh67.msrp", &[(a_link, "rfc4976-07-REPORT-yh67.msrp")]);
    assert!(b.connects.is_empty(), "the report goes back where the message came");
}

// Covers: MSRP-087
#[test]
fn an_auth_for_a_further_relay() {
    let mut intra = World::new();
    let alice = intra.with_uri(
        "msrps://intra.example.com:9000/jui787s2f;tcp",
        "msrps://alice.example.com:9892/98cjs;tcp",
    );
    intra.text(alice, &printed("rfc4976-13-AUTH-mnbvw.msrp"));
    let (extra, to) = intra.connects[0].clone();
    assert_eq!(to, "extra.example.com:0", "without port: found by SRV");
    intra.connected(Some(&["extra.example.com"]));
    intra.answered(extra, "rfc4976-14-AUTH-m2nbvw.msrp", "rfc4976-15-401-m2nbvw.msrp");
    assert_eq!(plain(&intra.read(alice)), plain(&printed("rfc4976-16-401-mnbvw.msrp")));
    intra.text(alice, &printed("rfc4976-17-AUTH-m3nbvx.msrp"));
    intra.answered(extra, "rfc4976-18-AUTH-m4nbvx.msrp", "rfc4976-19-200-m4nbvx.msrp");
    let use_path = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("Use-Path: ")).unwrap();
        line.to_owned()
    };
    let answer = intra.read(alice);
    let before = printed("rfc4976-19-200-m4nbvx.msrp");
    let after = printed("rfc4976-20-200-m3nbvx.msrp");
    let after = after.replace(&use_path(&after), &use_path(&before));
    assert_eq!(plain(&answer), plain(&after));
}

// Covers: MSRP-095
#[test]
fn browsers_behind_a_relay() {
    const ALICE: &str = "msrps://df7jal23ls0d.invalid:2855/98cjs;ws";
    let mut world = World::new();
    let alice = world.with_uri("msrps://a.example.com:2855/jui787s2f;tcp", ALICE);
    // A peer without relay (RFC 7977 §7.2).
    world.text(alice, &printed("rfc7977-07-SEND-6aef.msrp"));
    assert_eq!(world.connects[0].1, "bob.example.com:49154");
    let bob = world.connected(None);
    assert_eq!(plain(&world.read(alice)), plain(&printed("rfc7977-08-200-6aef.msrp")));
    world.answered(bob, "rfc7977-09-SEND-juh76.msrp", "rfc7977-10-200-juh76.msrp");
    world.text(bob, &printed("rfc7977-11-SEND-xght6.msrp"));
    assert_eq!(plain(&world.read(bob)), plain(&printed("rfc7977-12-200-xght6.msrp")));
    world.answered(alice, "rfc7977-13-SEND-yh67.msrp", "rfc7977-14-200-yh67.msrp");
    // Another browser with the same relay (§7.3).
    let carol = world.with_uri(
        "msrps://a.example.com:2855/iwnslt;tcp",
        "msrps://jk9awp14vj8x.invalid:2855/76qwe;ws",
    );
    world.text(alice, &printed("rfc7977-15-SEND-kjh6.msrp"));
    assert_eq!(plain(&world.read(alice)), plain(&printed("rfc7977-16-200-kjh6.msrp")));
    world.answered(carol, "rfc7977-17-SEND-re58.msrp", "rfc7977-18-200-re58.msrp");
    // A peer with a relay of its own (§7.4).
    world.text(alice, &printed("rfc7977-19-SEND-Ycwt.msrp"));
    assert_eq!(world.connects[1].1, "relay.example.net:2855");
    let relay = world.connected(Some(&["relay.example.net"]));
    assert_eq!(plain(&world.read(alice)), plain(&printed("rfc7977-20-200-Ycwt.msrp")));
    assert_eq!(plain(&world.read(relay)), plain(&printed("rfc7977-21-SEND-13GA.msrp")));
    // That relay, towards its client.
    let mut other = World::with(relay_config(), NodeConfig::default(), 5);
    let bob = other.with_uri(
        "msrps://relay.example.net:2855/kwvin5f;tcp",
        "msrps://bob.example.com:49154/foo;tcp",
    );
    let link = other.accept(Some(&["a.example.com"]));
    other.text(link, &printed("rfc7977-21-SEND-13GA.msrp"));
    other.answered(bob, "rfc7977-23-SEND-kXeg.msrp", "rfc7977-24-200-kXeg.msrp");
    other.pass(Duration::from_secs(31));
    assert!(!other.read(link).contains("REPORT"), "it was answered in time");
}

/// What is read at one node is fed to the other, until both are quiet.
fn link(one: (&mut World, ConnectionId), other: (&mut World, ConnectionId)) {
    let ((one, at_one), (other, at_other)) = (one, other);
    loop {
        let there = one.octets(at_one);
        if !there.is_empty() {
            other.feed(at_other, &there);
        }
        let back = other.octets(at_other);
        if there.is_empty() && back.is_empty() {
            break;
        }
        if !back.is_empty() {
            one.feed(at_one, &back);
        }
    }
}

// Covers: MSRP-087, MSRP-088, MSRP-089
#[test]
fn a_client_behind_two_relays() {
    const ALICE: &str = "msrps://alice.example:9892/98cjs;tcp";
    let named = |host: &str| RelayConfig {
        address: Some(address(Scheme::Msrps, host, 9000)),
        ..RelayConfig::default()
    };
    let mut inner = World::with(named("inner.example"), NodeConfig::default(), 1);
    let mut outer = World::with(named("outer.example"), NodeConfig::default(), 2);
    let alice = inner.client();
    let mut client = RelayClient::new(RelayAccount {
        relays: vec![
            "msrps://inner.example:9000;tcp".parse().unwrap(),
            "msrps://outer.example:9000;tcp".parse().unwrap(),
        ],
        own: ALICE.parse().unwrap(),
        username: "alice".to_owned(),
        password: PASSWORD.to_owned(),
        expires_secs: Some(600),
    });
    client.start(inner.now, &mut inner.entropy);
    let at_outer = outer.accept(Some(&["inner.example"]));
    let mut at_inner = None;
    let mut said = Vec::new();
    while let Some(output) = client.poll_output() {
        if let RelayClientOutput::Send(octets) = &output {
            inner.feed(alice, octets);
            if at_inner.is_none() && !inner.connects.is_empty() {
                at_inner = Some(inner.connected(Some(&["outer.example"])));
            }
            if let Some(at_inner) = at_inner {
                link((&mut inner, at_inner), (&mut outer, at_outer));
            }
            let answer = inner.octets(alice);
            answers(&mut client, inner.now, &answer, &mut inner.entropy);
        }
        said.push(output);
    }
    assert_eq!(said.last(), Some(&RelayClientOutput::Granted));
    assert_eq!(said.len(), 5, "two AUTHs to each");
    let path = client.own_path(inner.now);
    let hosts: Vec<_> = path.iter().map(|uri| uri.parts().host.to_owned()).collect();
    assert_eq!(hosts, ["outer.example", "inner.example", "alice.example"]);
    // A message in from outside, and one out.
    let bob_uri = "msrps://bob.example:1/b;tcp";
    let bob = outer.client();
    let to: Vec<&str> = path.iter().map(crate::MsrpUri::as_str).collect();
    let lines = |to: &str, from: &str| {
        format!("To-Path: {to}\nFrom-Path: {from}\nMessage-ID: m1\nContent-Type: text/plain")
    };
    outer.text(bob, &request("b001", "SEND", &lines(&to.join(" "), bob_uri), Some("hi")));
    let at_inner = at_inner.unwrap();
    link((&mut inner, at_inner), (&mut outer, at_outer));
    let from = format!("{} {} {bob_uri}", to[1], to[0]);
    assert_eq!(inner.read(alice), request("~", "SEND", &lines(ALICE, &from), Some("hi")));
    assert_eq!(outer.read(bob), response("b001", "200 OK", bob_uri, to[0]));
    let peer: Vec<crate::MsrpUri> = vec![bob_uri.parse().unwrap()];
    let out: Vec<String> =
        client.to_path(inner.now, &peer).iter().map(ToString::to_string).collect();
    inner.text(alice, &request("a001", "SEND", &lines(&out.join(" "), ALICE), Some("oh")));
    link((&mut inner, at_inner), (&mut outer, at_outer));
    let from = format!("{} {} {ALICE}", to[0], to[1]);
    assert_eq!(outer.read(bob), request("~", "SEND", &lines(bob_uri, &from), Some("oh")));
}
