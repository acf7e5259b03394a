//! The binary as an operator runs it: configuration, signals, administration. Every wait is
//! bounded.

#[cfg(test)]
mod msrp;
#[cfg(test)]
mod support;

use std::fs;
use std::os::unix::net::UnixDatagram;

use nix::sys::signal::Signal;
use support::{PATIENCE, Peer, Place, answer, exists, parlance, receive, text, told};

#[test]
fn the_shipped_configuration_is_right() {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/parlance.toml");
    let output = parlance(&["check-config", "--config", shipped]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("the configuration is right"));
    let output = parlance(&["check-config"]).output().unwrap();
    assert!(output.status.success(), "without a file: {}", text(&output.stderr));
}

#[test]
fn every_mistake_is_told_before_anything_is_done() {
    let place = Place::new();
    place.configure("level = \"a=b=c\"\n[sipp]\n[deferred]\ndelivery = \"pigeon\"\n");
    for command in ["check-config", "serve", "ifc"] {
        let output = place.run(&[command]);
        assert_eq!(output.status.code(), Some(2), "{command}");
        let said = text(&output.stderr);
        for mistake in ["3 mistakes", "log.level: ", "sipp: ", "deferred.delivery: "] {
            assert!(said.contains(mistake), "{command}: {said}");
        }
    }
    assert!(!exists(&place.data()), "nothing was made");
}

#[test]
fn the_environment_is_read() {
    let place = Place::new();
    let mut command = parlance(&["check-config", "--config"]);
    command.arg(place.config()).env("PARLANCE_SHARDS__COUNT", "65");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains("shards.count: 65 is not in 0 to 64"), "{said}");
}

#[test]
fn filter_criteria_are_printed() {
    let place = Place::new();
    let output = place.run(&["ifc", "--originating", "sip:im-orig@as.test:5080"]);
    let printed = text(&output.stdout);
    assert!(printed.contains("<ServerName>sip:im-orig@as.test:5080</ServerName>"), "{printed}");
    let terminating = format!("sip:im-term@{};transport=tcp", place.terminating);
    assert!(printed.contains(&terminating), "{printed}");
}

#[test]
fn sigterm_waits_for_open_transactions_and_turns_new_ones_away() {
    let place = Place::new();
    let manager = UnixDatagram::bind(place.data().with_extension("notify")).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let socket = place.data().with_extension("notify");
    let mut running = place.start_with(&[("NOTIFY_SOCKET", socket.to_str().unwrap())]);
    assert_eq!(told(&manager), "READY=1");

    let peer = Peer::new();
    peer.message(place.sip, "open", "Route: <sip:127.0.0.1:9;lr>\r\n", "x");
    drop(peer);
    let peer = Peer::new();
    peer.message(place.sip, "waiting", "P-Served-User: <sip:alice@ims.test>;sescase=orig\r\n", "x");
    let (request, server) = receive(&place.core);
    assert!(request.contains("Call-ID: waiting"), "{request}");

    running.signal(Signal::SIGTERM);
    assert_eq!(told(&manager), "STOPPING=1");
    running.until("not ready any more", |_| place.status("/readyz") == Some(503));
    assert_eq!(place.status("/healthz"), Some(200));
    let late = Peer::new();
    late.message(place.sip, "late", "P-Served-User: <sip:alice@ims.test>;sescase=orig\r\n", "x");
    let refused = late.response();
    assert!(refused.starts_with("SIP/2.0 503") && refused.contains("Retry-After: "), "{refused}");
    assert!(running.ended().is_none(), "a transaction is open");

    answer(&place.core, server, &request, "200 OK");
    assert!(peer.response().starts_with("SIP/2.0 200"));
    assert_eq!(running.wait().code(), Some(0), "{}", place.log());
}

#[test]
fn sigterm_ends_an_idle_server_at_once_and_sigint_as_well() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let place = Place::new();
        let running = place.start();
        running.signal(signal);
        assert_eq!(running.wait().code(), Some(0), "{}", place.log());
    }
}

#[test]
fn a_second_sigterm_does_not_wait() {
    let place = Place::new();
    let mut running = place.start();
    let peer = Peer::new();
    peer.message(place.sip, "open", "P-Served-User: <sip:alice@ims.test>;sescase=orig\r\n", "x");
    receive(&place.core);
    running.signal(Signal::SIGTERM);
    running.until_logged("draining");
    running.signal(Signal::SIGTERM);
    running.until_logged("told twice to end");
    assert_eq!(running.wait().code(), Some(0));
}

#[test]
fn sighup_reloads_what_it_can_and_names_what_it_cannot() {
    let place = Place::new();
    let mut running = place.start();
    let refused_after = |id: &str| {
        let peer = Peer::new();
        peer.message(place.sip, id, "P-Served-User: <sip:alice@ims.test>;sescase=orig\r\n", "four");
        peer.response()
    };
    place.configure("level = \"debug\"\n[participating]\nbody_bytes_max = 3\n[net]\nidle_s = 77\n");
    running.signal(Signal::SIGHUP);
    running.until_logged("reloaded, certificates included");
    running.until_logged("[\\\"net.idle_s\\\"]");
    let log = place.log();
    assert!(log.contains("log.level") && log.contains("participating.body_bytes_max"), "{log}");
    let refused = refused_after("large");
    assert!(refused.starts_with("SIP/2.0 403") && refused.contains("limit 3"), "{refused}");
    assert!(place.log().contains("\"call_id\":\"large\""), "debug lines carry the Call-ID");
    assert!(place.log().contains("\"branch\":\"z9hG4bKlarge\""), "and the branch");

    place.configure("level = \"a=b=c\"\n[participating]\nbody_bytes_max = 1000\n");
    running.signal(Signal::SIGHUP);
    running.until_logged("the old configuration holds");
    assert!(refused_after("again").starts_with("SIP/2.0 403"), "the old policy holds");
}

// Covers: SEC-020
#[test]
fn logs_show_no_address_and_no_body() {
    let place = Place::new();
    place.configure("level = \"trace\"\n");
    place.user(&["add", "sip:bob@ims.test"]);
    let running = place.start();
    let peer = Peer::new();
    peer.message(place.terminating, "t1", "", "a private matter");
    peer.is_stored();
    let refused = place.get(place.http, "/admin/users/sip:bob@ims.test", "").unwrap();
    assert_eq!(refused.0, 401);
    running.signal(Signal::SIGTERM);
    running.wait();
    let log = place.log();
    assert!(log.contains("\"call_id\":\"t1\""), "{log}");
    assert!(log.contains("administration refused"), "{log}");
    for secret in ["private matter", "alice@ims.test", "bob@ims.test", place.bare_token().as_str()]
    {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

/// A store that was plain is sealed, and one key after the other can be retired.
// Covers: DF-014
#[test]
fn what_is_stored_is_sealed_anew() {
    let place = Place::new();
    let first = format!("1:{}", "11".repeat(32));
    let second = format!("2:{}", "22".repeat(32));
    let keys = place.data().with_extension("keys");
    let sealed = |lines: &str, reseal: bool| {
        fs::write(&keys, lines).unwrap();
        let file = keys.display();
        place.configure(&format!("[store]\nkey_file = \"{file}\"\nreseal = {reseal}\n"));
    };
    place.user(&["add", "sip:bob@ims.test"]);
    let running = place.start();
    let peer = Peer::new();
    peer.message(place.terminating, "kept", "", "a private matter");
    peer.is_stored();
    drop(running);
    for (lines, count) in [(first.clone(), 1), (format!("{second}\n{first}"), 2)] {
        sealed(&lines, true);
        let mut running = place.start();
        let said = || place.log().matches("is sealed with the first key").count();
        running.until("all is sealed", |_| said() == count);
        running.signal(Signal::SIGTERM);
        running.wait();
    }
    sealed(&second, false);
    let inbox = place.user(&["inbox", "sip:bob@ims.test", "--show", "1", "--reason", "a test"]);
    assert!(inbox.to_string().contains("a private matter"), "{inbox}");
    sealed(&first, false);
    let inbox = place.run(&["user", "inbox", "sip:bob@ims.test"]);
    assert!(!inbox.status.success(), "the first key opens nothing any more");
}

// Covers: DF-014, SEC-034
#[test]
fn administration_goes_through_the_running_server_and_is_audited() {
    let place = Place::new();
    // Before the first start it works on the store, which it makes.
    let added = place.user(&["add", "sip:bob@IMS.test", "aliases+=tel:+1555"]);
    assert_eq!(added["user"], "sip:bob@ims.test");

    let running = place.start();
    let peer = Peer::new();
    peer.message(place.terminating, "kept", "", "come home");
    peer.is_stored();

    let shown = place.user(&["show", "tel:+1555"]);
    assert_eq!((&shown["user"], &shown["inbox"]["messages"]), (&added["user"], &1.into()));
    place.user(&["set", "sip:bob@ims.test", "reject+=sip:eve@ims.test", "barred=false"]);
    let listed = place.user(&["list"]);
    assert_eq!(listed[0]["reject"][0]["identity"], "sip:eve@ims.test");

    let inbox = place.user(&["inbox", "sip:bob@ims.test"]);
    assert_eq!(inbox[0]["seq"], 1);
    assert!(!inbox.to_string().contains("come home"), "metadata only");
    let output = place.run(&["user", "inbox", "sip:bob@ims.test", "--show", "1"]);
    assert!(!output.status.success(), "a reason is needed");
    let show = ["inbox", "sip:bob@ims.test", "--show", "1", "--reason", "court order 7"];
    let content = place.user(&show)["content"]["text"].to_string();
    assert!(content.contains("come home"), "{content}");

    let trail = place.user(&["audit"]).to_string();
    for entry in
        ["read-content", "message 1: court order 7", "list-items", "change-profile", "token ("]
    {
        assert!(trail.contains(entry), "{entry}: {trail}");
    }
    running.signal(Signal::SIGTERM);
    assert_eq!(running.wait().code(), Some(0));
    let later = place.user(&["audit"]).to_string();
    assert!(later.contains("court order 7") && later.contains("store ("), "{later}");
    place.user(&["remove", "sip:bob@ims.test"]);
    assert!(!place.run(&["user", "show", "sip:bob@ims.test"]).status.success());
}

// Covers: SEC-034
#[test]
fn administration_needs_the_token_and_is_not_on_the_sip_ports() {
    let place = Place::new();
    let _running = place.start();
    let paths = [
        "/admin/users",
        "/admin/users/sip%3Abob%40ims.test",
        "/admin/users/sip%3Abob%40ims.test/inbox",
        "/admin/audit",
        "/admin/sessions",
        "/admin/sessions/sip%3Aim-sess-1%40ims.test",
        "/admin/decisions?call-id=x",
        "/admin/anything",
    ];
    for path in paths {
        let wrong = ["", "Authorization: Bearer wrong\r\n", "Authorization: Basic x\r\n"];
        for headers in wrong {
            let (status, body) = place.get(place.http, path, headers).unwrap();
            assert_eq!(status, 401, "{path} {headers}: {body}");
        }
    }
    let (status, _) = place.get(place.http, "/admin/users", &place.token()).unwrap();
    assert_eq!(status, 200);
    let (status, body) = place.get(place.http, "/admin/sessions", &place.token()).unwrap();
    assert_eq!((status, body.as_str()), (200, "[]"));
    for path in ["/admin/anything", "/admin/sessions/sip%3Aim-sess-1%40ims.test"] {
        let (status, _) = place.get(place.http, path, &place.token()).unwrap();
        assert_eq!(status, 404, "{path}");
    }
    let (_, trail) = place.get(place.http, "/admin/audit", &place.token()).unwrap();
    assert!(trail.contains("read-session"), "{trail}");
    let over_sip = place.get(place.sip, "/admin/users", &place.token());
    assert!(over_sip.is_none_or(|(status, body)| status != 200 && !body.contains("user")));

    fs::write(place.data().join("admin-token"), "another token\n").unwrap();
    let output = place.run(&["user", "list"]);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("the admin token is needed"), "{}", text(&output.stderr));
}

// Covers: CORE-029
#[test]
fn the_port_says_which_side_a_request_is_on() {
    let place = Place::new();
    place.user(&["add", "sip:bob@ims.test"]);
    let _running = place.start();
    let decided = |call_id: &str| {
        let path = format!("/admin/decisions?call-id={call_id}");
        place.get(place.http, &path, &place.token()).unwrap().1
    };
    let peer = Peer::new();
    peer.message(place.terminating, "in", "", "x");
    peer.is_stored();
    assert!(decided("in").contains("terminating for"), "{}", decided("in"));
    let orig = format!("Route: <sip:{};lr;orig>\r\n", place.sip);
    peer.message(place.sip, "out", &orig, "x");
    receive(&place.core);
    assert!(decided("out").contains("originating for"), "{}", decided("out"));
    assert_eq!(decided("never"), "[]");
}

// Covers: CORE-038
#[test]
fn without_ims_a_user_has_to_prove_who_he_is() {
    let place = Place::new();
    let digest = place.data().with_extension("digest");
    fs::write(&digest, format!("alice:ims.test:{}\n", "0".repeat(32))).unwrap();
    place.configure(
        "[[sip.peer]]\nname = \"proxy\"\nnetworks = [\"127.0.0.0/8\"]\nkind = \"proxy\"\n",
    );
    let path = digest.to_str().unwrap();
    let environment =
        [("PARLANCE_SIP__AUTHENTICATION", "digest"), ("PARLANCE_SIP__DIGEST_FILE", path)];
    let _running = place.start_with(&environment);
    let peer = Peer::new();
    let orig = format!("Route: <sip:{};lr;orig>\r\n", place.sip);
    peer.unasserted(place.sip, "who", &orig);
    let challenge = peer.response();
    assert!(challenge.starts_with("SIP/2.0 407"), "{challenge}");
    assert!(challenge.contains("Digest realm=\"ims.test\""), "{challenge}");
}

#[test]
fn metrics_are_described_and_counted() {
    let place = Place::new();
    place.user(&["add", "sip:bob@ims.test"]);
    let mut running = place.start();
    let peer = Peer::new();
    peer.message(place.terminating, "counted", "", "x");
    peer.response();
    let metrics = || place.get(place.http, "/metrics", "").unwrap().1;
    running.until("the gauges", |_| metrics().contains("parlance_store_waiting 1"));
    let metrics = metrics();
    for line in [
        "# HELP parlance_sip_messages_received_total ",
        "parlance_sip_messages_received_total{transport=\"udp\"} 1",
        "# TYPE parlance_transactions gauge",
        "parlance_transactions{shard=\"1\",kind=\"server\"}",
        "parlance_participating_deferred_total 1",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

#[test]
fn a_damaged_store_is_refused_with_advice() {
    let place = Place::new();
    place.user(&["add", "sip:bob@ims.test"]);
    let file = place.data().join("parlance.redb");
    let mut octets = fs::read(&file).unwrap();
    octets.iter_mut().skip(64).for_each(|octet| *octet ^= 0x5a);
    fs::write(&file, octets).unwrap();
    for arguments in [&["serve"] as &[_], &["user", "list"]] {
        let output = place.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let said = text(&output.stderr);
        assert!(said.contains("damaged") && said.contains("restore it from a copy"), "{said}");
    }
}

#[test]
fn a_second_process_on_the_same_store_is_refused() {
    let place = Place::new();
    let _running = place.start();
    let other = Place::new();
    fs::write(
        other.config(),
        fs::read_to_string(other.config())
            .unwrap()
            .replace(other.data().to_str().unwrap(), place.data().to_str().unwrap()),
    )
    .unwrap();
    let output = other.run(&["serve"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("in use by another process"), "{said}");
    assert_eq!(place.status("/readyz"), Some(200));
}

#[test]
fn a_port_that_is_taken_is_named() {
    let place = Place::new();
    let _taken = std::net::TcpListener::bind(place.sip).unwrap();
    let output = place.run(&["serve"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains(&format!("listener TCP {}", place.sip)), "{said}");
}
