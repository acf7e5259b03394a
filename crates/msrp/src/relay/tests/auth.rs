//! AUTH.

use parlance_sip::digest::{Algorithm, Challenge, DigestSession, Protected};

use super::*;
use crate::relay::{PeerRelays, RelayClientError, RelayLookup};

const OWN: &str = "msrps://alice.example:9892/98cjs;tcp";
const RELAY: &str = "msrps://relay.example:2855;tcp";

/// An AUTH with these header lines.
fn auth(id: &str, lines: &str) -> String {
    request(id, "AUTH", &format!("To-Path: {RELAY}\nFrom-Path: {OWN}\n{lines}"), None)
}

impl World {
    /// Sends an AUTH; the answer.
    fn ask(&mut self, connection: ConnectionId, lines: &str) -> String {
        self.text(connection, &auth("a001", lines));
        self.read(connection)
    }

    /// The first challenge of a relay.
    fn challenge(&mut self, connection: ConnectionId, algorithm: Algorithm) -> Challenge {
        challenges(&self.ask(connection, ""))
            .into_iter()
            .find(|challenge| challenge.algorithm == algorithm)
            .unwrap()
    }
}

fn challenges(answer: &str) -> Vec<Challenge> {
    let values = answer.lines().filter_map(|line| line.strip_prefix("WWW-Authenticate: "));
    values.map(|value| Challenge::parse(value.as_bytes()).unwrap()).collect()
}

/// `Authorization` for a challenge.
fn credentials(challenge: &Challenge, user: &str, password: &str, uri: &str) -> String {
    let mut digest = DigestSession::new(challenge.clone(), user, password);
    let protected = Protected { method: "AUTH", uri, body: b"" };
    let credentials = digest.authorize(&protected, &mut seeded(3));
    format!("Authorization: {credentials}")
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(2).and_then(|code| code.get(..3)).unwrap_or_default()
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

// Covers: MSRP-040, MSRP-041
#[test]
fn without_credentials_there_is_a_challenge() {
    let mut world = World::new();
    let client = world.client();
    let answer = world.ask(client, "");
    let head = format!("MSRP a001 401 Unauthorized\r\nTo-Path: {OWN}\r\nFrom-Path: {RELAY}\r\n");
    assert!(answer.starts_with(&head), "{answer}");
    assert!(answer.ends_with("\r\n-------a001$\r\n"));
    let challenges = challenges(&answer);
    let algorithms: Vec<_> = challenges.iter().map(|challenge| challenge.algorithm).collect();
    assert_eq!(algorithms, [Algorithm::Sha256, Algorithm::Md5]);
    for challenge in challenges {
        assert_eq!(challenge.realm, "relay.example");
        assert_eq!(challenge.qop, [parlance_sip::digest::Qop::Auth]);
        assert!(challenge.opaque.is_some() && !challenge.stale);
    }
    assert!(!answer.contains("domain"), "{answer}");
}

// Covers: MSRP-040, MSRP-041, MSRP-043, MSRP-089
#[test]
fn a_client_gets_a_uri() {
    let mut world = World::new();
    let connection = world.client();
    let mut client = world.relay_client(OWN, RELAY);
    let lookup = client.lookup().unwrap();
    assert_eq!(lookup, RelayLookup::Address { host: "relay.example", port: 2855 });
    assert_eq!(client.own_path(world.now).len(), 1, "nothing was granted");
    client.start(world.now, &mut world.entropy);
    let said = world.drive(&mut client, connection);
    assert_eq!(said.last(), Some(&RelayClientOutput::Granted));
    assert_eq!(said.len(), 3, "one AUTH without credentials, one with");
    let path = client.own_path(world.now);
    assert_eq!(path[1].as_str(), OWN);
    let uri = path[0].parts();
    assert_eq!((uri.host, uri.port, uri.transport), ("relay.example", Some(2855), "tcp"));
    assert!(uri.session_id.unwrap().len() >= 13 + 13, "128 bits and more");
    let peer: Vec<crate::MsrpUri> = vec!["msrps://bob.example:1/b;tcp".parse().unwrap()];
    let to = client.to_path(world.now, &peer);
    assert_eq!([to[0].as_str(), to[1].as_str()], [path[0].as_str(), peer[0].as_str()]);
    assert_eq!(world.node.relay_grants(), 1);
    let granted = world.events.iter().any(|event| {
        matches!(event, NodeEvent::Relay(Event::Granted { username, .. }) if &**username == "alice")
    });
    assert!(granted);
    // It renews in time, and gets another URI; both are good until their time is over.
    let due = client.poll_timeout().unwrap();
    assert_eq!(due - world.now, Duration::from_secs(900 - 60));
    world.pass(Duration::from_secs(840));
    client.handle_timeout(world.now, &mut world.entropy);
    let said = world.drive(&mut client, connection);
    assert_eq!(said.last(), Some(&RelayClientOutput::Granted));
    assert_ne!(client.own_path(world.now)[0], path[0]);
    assert_eq!(world.node.relay_grants(), 2);
    world.pass(Duration::from_secs(61));
    assert_eq!(world.node.relay_grants(), 1, "the time of the first is over");
    world.lose(connection);
    assert_eq!(world.node.relay_grants(), 0, "they are good on this connection only");
}

// Covers: MSRP-089
#[test]
fn a_relay_without_port_is_looked_up() {
    let world = World::new();
    let client = world.relay_client(OWN, "msrps://relay.example;tcp");
    assert_eq!(client.lookup(), Some(RelayLookup::Srv { host: "relay.example" }));
}

// Covers: MSRP-041
#[test]
fn credentials_are_judged() {
    let md5 = Algorithm::Md5;
    type Make = fn(&Challenge) -> String;
    #[rustfmt::skip]
    let table: &[(&str, Make, &str)] = &[
        ("right",        |c| credentials(c, "alice", PASSWORD, RELAY),                         "200"),
        ("no uri",       |c| without(&credentials(c, "alice", PASSWORD, RELAY), "uri"),        "200"),
        ("same uri",     |c| credentials(c, "alice", PASSWORD, "MSRPS://bob@RELAY.example:2855;tcp"), "200"),
        ("other uri",    |c| credentials(c, "alice", PASSWORD, "msrps://relay.example;tcp"),   "400"),
        ("no qop",       |c| bare(&credentials(c, "alice", PASSWORD, RELAY)), "401"),
        ("no nc",        |c| without(&credentials(c, "alice", PASSWORD, RELAY), "nc"),         "400"),
        ("wrong",        |c| credentials(c, "alice", "wrong", RELAY),                          "401"),
        ("unknown",      |c| credentials(c, "nobody", PASSWORD, RELAY),                        "401"),
        ("barred",       |c| credentials(c, "barred", PASSWORD, RELAY),                        "403"),
        ("other realm",  |c| made(&Challenge { realm: "x".into(), ..c.clone() }), "401"),
        ("Basic",        |_| "Authorization: Basic YWxpY2U6eA==".to_owned(),                   "401"),
        ("not a header", |_| "Authorization: Digest username".to_owned(),                      "400"),
        ("no name",      |c| without(&credentials(c, "alice", PASSWORD, RELAY), "username"),   "401"),
        ("-sess",        |c| made(&Challenge { algorithm: Algorithm::Md5Sess, ..c.clone() }), "401"),
    ];
    for (what, make, expect) in table {
        let mut world = World::new();
        world.barred = vec!["barred"];
        let client = world.client();
        let challenge = world.challenge(client, md5);
        let answer = world.ask(client, &make(&challenge));
        assert_eq!(status(&answer), *expect, "{what}: {answer}");
        if *expect == "401" {
            let again = challenges(&answer);
            assert!(again.len() == 2 && again.iter().all(|one| !one.stale), "{what}");
        }
        let is_granted = *expect == "200";
        assert_eq!(header(&answer, "Use-Path").is_some(), is_granted, "{what}");
        assert_eq!(world.node.relay_grants(), usize::from(is_granted), "{what}");
        if is_granted {
            assert_eq!(header(&answer, "Expires"), Some("900"));
            let info = header(&answer, "Authentication-Info").unwrap();
            for part in ["rspauth=\"", "cnonce=\"", "nc=00000001", "qop=auth"] {
                assert!(info.contains(part), "{info}");
            }
        }
    }
}

/// The right credentials for a challenge.
fn made(challenge: &Challenge) -> String {
    credentials(challenge, "alice", PASSWORD, RELAY)
}

/// Credentials of RFC 2069.
fn bare(value: &str) -> String {
    ["qop", "nc", "cnonce"].iter().fold(value.to_owned(), |value, name| without(&value, name))
}

/// Credentials without one parameter.
fn without(value: &str, name: &str) -> String {
    let (scheme, list) = value.split_once("Digest ").unwrap();
    let kept = list.split(", ").filter(|one| !one.starts_with(&format!("{name}=")));
    format!("{scheme}Digest {}", kept.collect::<Vec<_>>().join(", "))
}

// Covers: MSRP-041
#[test]
fn old_and_used_nonces_are_stale() {
    let mut world = World::new();
    let client = world.client();
    for algorithm in [Algorithm::Md5, Algorithm::Sha256] {
        let challenge = world.challenge(client, algorithm);
        let right = credentials(&challenge, "alice", PASSWORD, RELAY);
        assert_eq!(status(&world.ask(client, &right)), "200");
        let answer = world.ask(client, &right);
        assert_eq!(status(&answer), "401");
        assert!(challenges(&answer).iter().all(|one| one.stale), "a replay: {answer}");
        let challenge = world.challenge(client, algorithm);
        world.pass(Duration::from_secs(301));
        let answer = world.ask(client, &credentials(&challenge, "alice", PASSWORD, RELAY));
        assert!(challenges(&answer).iter().all(|one| one.stale), "{answer}");
        let answer = world.ask(client, &credentials(&challenge, "alice", "wrong", RELAY));
        assert!(challenges(&answer).iter().all(|one| !one.stale), "wrong before old: {answer}");
    }
}

// Covers: MSRP-042
#[test]
fn the_time_asked_for_has_bounds() {
    #[rustfmt::skip]
    let table = [
        ("",              "200", ("Expires", "900")),
        ("Expires: 60",   "200", ("Expires", "60")),
        ("Expires: 3600", "200", ("Expires", "3600")),
        ("Expires: 59",   "423", ("Min-Expires", "60")),
        ("Expires: 0",    "423", ("Min-Expires", "60")),
        ("Expires: 3601", "423", ("Max-Expires", "3600")),
        ("Expires: 99999999999999999999", "423", ("Max-Expires", "3600")),
        ("Expires: soon", "400", ("x", "")),
    ];
    for (lines, expect, (name, value)) in table {
        let mut world = World::new();
        let client = world.client();
        let challenge = world.challenge(client, Algorithm::Md5);
        let right = credentials(&challenge, "alice", PASSWORD, RELAY);
        let answer = world.ask(client, &format!("{lines}\n{right}"));
        assert_eq!(status(&answer), expect, "{lines}: {answer}");
        assert_eq!(header(&answer, name).unwrap_or_default(), value, "{lines}: {answer}");
    }
    // The client takes the bound.
    for (asked, given) in [(10, 60), (100_000, 3600)] {
        let mut world = World::new();
        let connection = world.client();
        let account = RelayAccount {
            relays: vec![RELAY.parse().unwrap()],
            own: OWN.parse().unwrap(),
            username: "alice".to_owned(),
            password: PASSWORD.to_owned(),
            expires_secs: Some(asked),
        };
        let mut client = RelayClient::new(account);
        client.start(world.now, &mut world.entropy);
        let said = world.drive(&mut client, connection);
        assert_eq!(said.last(), Some(&RelayClientOutput::Granted));
        world.pass(Duration::from_secs(given - 1));
        assert_eq!(client.own_path(world.now).len(), 2);
        world.pass(Duration::from_secs(1));
        assert_eq!(client.own_path(world.now).len(), 1);
    }
}

// Covers: MSRP-088
#[test]
fn several_failures_close_the_connection_of_a_client_and_not_of_a_relay() {
    for (names, closes) in [(&[][..], true), (&["other.example"], false)] {
        let mut world = World::new();
        let client = world.accept(Some(names));
        for number in 1..=5 {
            assert!(world.closed.is_empty(), "{number}");
            let challenge = world.challenge(client, Algorithm::Md5);
            let answer = world.ask(client, &credentials(&challenge, "alice", "wrong", RELAY));
            assert_eq!(status(&answer), "401");
        }
        let expect = closes.then_some((client, CloseReason::Credentials));
        assert_eq!(world.closed, expect.into_iter().collect::<Vec<_>>(), "{names:?}");
        let denied = world.events.iter().filter(|event| {
            matches!(event, NodeEvent::Relay(Event::Denied { username, .. }) if &**username == "alice")
        });
        assert_eq!(denied.count(), 5);
    }
}

// Covers: MSRP-040
#[test]
fn auth_needs_tls_unless_configured() {
    let mut world = World::new();
    let client = world.accept(None);
    assert_eq!(status(&world.ask(client, "")), "403");
    let config = RelayConfig { auth_needs_tls: false, ..relay_config() };
    let mut world = World::with(config, NodeConfig::default(), 1);
    let client = world.accept(None);
    assert_eq!(status(&world.ask(client, "")), "401");
}

// Covers: MSRP-044
#[test]
fn what_is_not_for_this_relay_closes_the_connection() {
    #[rustfmt::skip]
    let table = [
        ("msrps://other.example:2855;tcp",     "AUTH", true),
        ("msrps://other.example:2855/x;tcp",   "SEND", true),
        ("msrps://relay.example:2855/x;tcp",   "SEND", false),
        ("msrps://relay.example:2855/x;tcp",   "ODD",  false),
        ("msrps://relay.example;tcp",          "AUTH", false),
    ];
    for (to, method, closes) in table {
        let mut world = World::new();
        let client = world.client();
        let lines = format!("To-Path: {to}\nFrom-Path: {OWN}\nMessage-ID: m1");
        world.text(client, &request("a001", method, &lines, None));
        let expect = closes.then_some((client, CloseReason::NotOurs));
        assert_eq!(world.closed, expect.into_iter().collect::<Vec<_>>(), "{to} {method}");
        let answer = world.read(client);
        let code = if method == "AUTH" { "401" } else { "481" };
        assert_eq!(status(&answer), if closes { "" } else { code }, "{to} {method}");
    }
    // Without a relay, nobody is thrown out for it.
    let mut world = World::with(RelayConfig::default(), NodeConfig::default(), 1);
    let client = world.client();
    assert_eq!(status(&world.ask(client, "")), "481");
    assert!(world.closed.is_empty());
}

// Covers: MSRP-088
#[test]
fn a_relay_proves_its_name() {
    let through = "From-Path: msrps://inner.example:9000/x;tcp msrps://alice.example:1/a;tcp";
    let direct = "From-Path: msrps://alice.example:1/a;tcp";
    let some = |names: &[&str]| names.iter().map(|name| Box::from(*name)).collect::<Vec<_>>();
    let open = PeerRelays::AllBut(Vec::new());
    #[rustfmt::skip]
    let table = [
        (&["inner.example"][..], through, open.clone(),                               "401"),
        (&["Inner.Example", "x"], through, open.clone(),                              "401"),
        (&["other.example"],      through, open.clone(),                              "403"),
        (&["inner.example"],      through, PeerRelays::AllBut(some(&["inner.example"])), "403"),
        (&["inner.example"],      through, PeerRelays::Only(some(&["inner.example"])), "401"),
        (&["inner.example"],      through, PeerRelays::Only(some(&["else.example"])), "403"),
        (&[],                     through, open.clone(),                              "401"),
        (&["other.example"],      direct,  open,                                      "401"), // §9.2
    ];
    for (names, from, peer_relays, expect) in table {
        let config = RelayConfig { peer_relays, ..relay_config() };
        let mut world = World::with(config, NodeConfig::default(), 1);
        let connection = world.accept(Some(names));
        let text = request("a001", "AUTH", &format!("To-Path: {RELAY}\n{from}"), None);
        world.text(connection, &text);
        assert_eq!(status(&world.read(connection)), expect, "{names:?} {from}");
    }
}

// Covers: MSRP-043
#[test]
fn uris_are_bounded() {
    let limits = [
        RelayConfig { grants_per_client_max: 2, ..relay_config() },
        RelayConfig { grants_max: 2, ..relay_config() },
    ];
    for (limit, config) in limits.into_iter().enumerate() {
        let mut world = World::with(config, NodeConfig::default(), 1);
        let connection = world.client();
        for number in 0..3 {
            let mut client = world.relay_client(OWN, RELAY);
            client.start(world.now, &mut world.entropy);
            let said = world.drive(&mut client, connection);
            let expect = match number {
                0 | 1 => RelayClientOutput::Granted,
                _ => RelayClientOutput::Failed(RelayClientError::Refused(403)),
            };
            assert_eq!(said.last(), Some(&expect), "{limit} {number}");
        }
        assert_eq!(world.node.relay_grants(), 2);
        // Another client has its own share, and there is one bound for all.
        let other = world.client();
        let mut client = world.relay_client(OWN, RELAY);
        client.start(world.now, &mut world.entropy);
        let said = world.drive(&mut client, other);
        assert_eq!(said.last() == Some(&RelayClientOutput::Granted), limit == 0);
    }
}

// Covers: MSRP-041
#[test]
fn auths_whose_user_is_looked_up_are_bounded_and_forgotten_with_their_connection() {
    let config = RelayConfig { auths_awaiting_max: 1, ..relay_config() };
    let mut world = World::with(config, NodeConfig::default(), 1);
    let client = world.client();
    let challenge = world.challenge(client, Algorithm::Md5);
    let text = auth("a001", &credentials(&challenge, "alice", PASSWORD, RELAY));
    let mut asked = Vec::new();
    for _ in 0..2 {
        let octets = Bytes::from(text.clone());
        world.node.handle_input(world.now, Input::Octets { connection: client, octets: &octets });
        while let Some(output) = world.node.poll_output() {
            if let Output::Event(NodeEvent::Relay(Event::User { request, .. })) = output {
                asked.push(request);
            }
        }
    }
    assert_eq!(asked.len(), 1, "the second is not answered");
    world.node.handle_input(world.now, Input::Lost { connection: client });
    let user = UserVerdict { secret: Secret::Password(PASSWORD), may_relay: true };
    world.node.authorize(world.now, asked[0], Some(user));
    world.drain();
    assert_eq!(world.node.relay_grants(), 0);
}

// Covers: MSRP-089
#[test]
fn a_client_knows_when_it_failed() {
    let fails = |password: &str, user: &str| {
        let mut world = World::new();
        world.barred = vec!["barred"];
        let connection = world.client();
        let mut client = RelayClient::new(RelayAccount {
            relays: vec![RELAY.parse().unwrap()],
            own: OWN.parse().unwrap(),
            username: user.to_owned(),
            password: password.to_owned(),
            expires_secs: None,
        });
        client.start(world.now, &mut world.entropy);
        let said = world.drive(&mut client, connection);
        assert_eq!(client.poll_timeout(), None);
        said.last().cloned()
    };
    let failed = |error| Some(RelayClientOutput::Failed(error));
    assert_eq!(fails("wrong", "alice"), failed(RelayClientError::Unauthorized));
    assert_eq!(fails(PASSWORD, "barred"), failed(RelayClientError::Refused(403)));
    // A relay that does not know the password cannot pretend to, and one may be silent.
    let mut world = World::new();
    let connection = world.client();
    let mut client = world.relay_client(OWN, RELAY);
    client.start(world.now, &mut world.entropy);
    let Some(RelayClientOutput::Send(octets)) = client.poll_output() else { panic!() };
    world.feed(connection, &octets);
    let challenge = world.octets(connection);
    answers(&mut client, world.now, &challenge, &mut world.entropy);
    let Some(RelayClientOutput::Send(octets)) = client.poll_output() else { panic!() };
    world.feed(connection, &octets);
    let granted = String::from_utf8(world.octets(connection)).unwrap();
    let (before, after) = granted.split_once("rspauth=\"").unwrap();
    let forged = format!("{before}rspauth=\"0{}", after.get(1..).unwrap());
    let forged =
        if forged == granted { granted.replace("rspauth=\"0", "rspauth=\"1") } else { forged };
    answers(&mut client, world.now, forged.as_bytes(), &mut world.entropy);
    assert_eq!(client.poll_output(), failed(RelayClientError::NotProved));
    client.start(world.now, &mut world.entropy);
    assert!(matches!(client.poll_output(), Some(RelayClientOutput::Send(_))));
    client.handle_timeout(world.now + Duration::from_secs(29), &mut world.entropy);
    assert_eq!(client.poll_output(), None);
    client.handle_timeout(world.now + Duration::from_secs(30), &mut world.entropy);
    assert_eq!(client.poll_output(), failed(RelayClientError::Timeout));
}
