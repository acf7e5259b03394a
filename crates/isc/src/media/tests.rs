//! The handles over two cores, in paused time.

use parlance_msrp::endpoint::{self, Accepts, EndpointConfig, Message};
use parlance_msrp::relay::{PairConfig, PairSide};
use parlance_msrp::switch::{JoinError, LegConfig, RoomConfig};
use parlance_msrp::{Lost, MsrpUri};
use parlance_sip::sdp::{HashFunction, Sdp};

use super::fixture::{Bench, agreement, request, text};
use super::*;

const ALICE: &str = "msrp://alice.example.com:7777/iau39soe2843z;tcp";
const BOB: &str = "msrp://bob.example.com:8888/9di4eae923wzd;tcp";
const ROOM: &str = "sip:room@im.example.com";

fn config() -> EndpointConfig {
    let types = "*".parse().unwrap();
    EndpointConfig::new(Arc::new(Accepts { types, ..Accepts::default() }))
}

async fn session(bench: &Bench) -> MediaSession {
    bench.done(bench.media.endpoint(false, config())).await.unwrap()
}

fn send(to: &MsrpUri, from: &str) -> String {
    request("SEND", to, from, &text("m1", "hello"))
}

fn start(answer: &str) -> &str {
    answer.lines().next().unwrap_or_default()
}

// Covers: MSRP-013
#[tokio::test(start_paused = true)]
async fn hosts_are_compared_after_the_dns_which_is_not_waited_for_long() {
    let bench = Bench::new();
    let of = |shown: &str, host: &str| {
        let text = format!(
            "v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nc=IN IP4 {shown}\r\nt=0 0\r\n\
             m=message 7654 TCP/MSRP *\r\na=accept-types:*\r\na=path:msrp://{host}:7654/p;tcp\r\n"
        );
        Sdp::parse(text.as_bytes()).unwrap()
    };
    #[rustfmt::skip]
    let table = [
        ("192.0.2.10",     "pc.example.com",    true),
        ("pc.example.com", "192.0.2.10",        true),
        ("192.0.2.11",     "pc.example.com",    false),
        ("192.0.2.10",     "other.example.com", false),
        ("192.0.2.10",     "slow.example.com",  false),
        // What needs no DNS is no business of it.
        ("192.0.2.10",     "192.0.2.11",        false),
    ];
    for (shown, host, same) in table {
        let hosts = bench.media.hosts(&of(shown, host)).await;
        assert_eq!(hosts.same()(shown, host), same, "{shown} {host}");
    }
}

// Covers: MSRP-014, MSRP-017, SEC-011
#[tokio::test(start_paused = true)]
async fn only_the_peer_of_the_description_uses_a_session_and_only_while_it_is_open() {
    let bench = Bench::new();
    let mut session = session(&bench).await;
    let own = session.uri().clone();
    assert!(own.as_str().starts_with("msrp://im.example.com:2855/"), "{own}");
    bench.done(session.agree(&agreement(&own, ALICE, false))).await.unwrap();
    let stranger = bench.accept(0);
    let answer = bench.octets(0, stranger, &send(&own, BOB));
    assert_eq!(start(&answer), "MSRP t1d00001 481 Session Does Not Exist", "{answer}");
    let alice = bench.accept(0);
    let answer = bench.octets(0, alice, &send(&own, ALICE));
    assert_eq!(start(&answer), "MSRP t1d00001 200 OK");
    assert!(matches!(session.next().await, SessionEvent::Connected));
    let SessionEvent::Message(event) = session.next().await else { panic!("a message") };
    let endpoint::Event::Received { body, .. } = *event else { panic!("{event:?}") };
    assert_eq!(&body[..], b"hello");
    drop(session);
    bench.work();
    let answer = bench.octets(0, alice, &send(&own, ALICE));
    assert!(start(&answer).starts_with("MSRP t1d00001 481"), "{answer}");
    assert_eq!(bench.load(), (0, 0));
}

// Covers: MSRP-011, SEC-011
#[tokio::test(start_paused = true)]
async fn the_active_side_connects_once_and_is_told_of_the_loss() {
    let bench = Bench::new();
    let mut session = session(&bench).await;
    let agreed = agreement(session.uri(), ALICE, true);
    bench.done(session.agree(&agreed)).await.unwrap();
    let key = bench.done(session.send(Message::new("text/plain", "hi".into()))).await.unwrap();
    let connects = bench.connected(0);
    let [(connection, hop)] = &connects[..] else { panic!("{connects:?}") };
    assert_eq!((&*hop.host, hop.port), ("alice.example.com", Some(7777)));
    assert!(matches!(session.next().await, SessionEvent::Connected));
    let written = bench.written(0, *connection);
    assert!(written.contains("\r\n\r\nhi\r\n-------"), "{written}");
    // The same description again is the same session (RFC 4975 §8.4).
    bench.done(session.agree(&agreed)).await.unwrap();
    assert!(bench.connected(0).is_empty());
    bench.lose(0, *connection);
    let SessionEvent::Message(event) = session.next().await else { panic!("what became of it") };
    let endpoint::Event::Failed { message, .. } = *event else { panic!("{event:?}") };
    assert_eq!(message, key);
    assert!(matches!(session.next().await, SessionEvent::Lost(Lost::Connection)));
    let sent = bench.done(session.send(Message::new("text/plain", "hi".into()))).await;
    assert_eq!(sent, Err(SendFailure::Refused(endpoint::SendError::Session)));
}

#[tokio::test(start_paused = true)]
async fn a_full_mailbox_is_busy_and_takes_ends_all_the_same() {
    let bench = Bench::new();
    let held = [session(&bench).await, session(&bench).await, session(&bench).await];
    let held = held.into_iter().chain([session(&bench).await, session(&bench).await]);
    let held: Vec<_> = held.collect();
    assert_eq!(bench.sessions(), [3, 2], "each core in its turn");
    // Nothing is done at the cores meanwhile: four commands wait at each.
    let mut waiting: Vec<_> =
        (0..8).map(|_| Box::pin(bench.media.endpoint(false, config()))).collect();
    for future in &mut waiting {
        assert!(at_once(future.as_mut()).is_none());
    }
    for _ in 0..2 {
        let refused = bench.media.endpoint(false, config()).await;
        assert_eq!(refused.unwrap_err(), MediaError::Busy);
    }
    drop(held);
    bench.work();
    assert_eq!(bench.sessions(), [4, 4], "those that waited are open, the others have ended");
    for future in &mut waiting {
        assert!(at_once(future.as_mut()).is_some_and(|opened| opened.is_ok()));
    }
    drop(waiting);
    bench.work();
    assert_eq!(bench.load(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_waited_for_does_not_stay_open() {
    let bench = Bench::new();
    for worked in [false, true] {
        let mut session = Box::pin(bench.media.endpoint(false, config()));
        let towards = Towards { offerer: false, answerer: false };
        let mut pair = Box::pin(bench.media.pair(towards, PairConfig::default()));
        let mut room = Box::pin(bench.media.room(RoomConfig::new(vec![ROOM.into()])));
        assert!(at_once(session.as_mut()).is_none());
        assert!(at_once(pair.as_mut()).is_none());
        assert!(at_once(room.as_mut()).is_none());
        if worked {
            bench.work();
            assert_eq!(bench.load(), (3, 3), "opened, and nobody has looked");
        }
        drop((session, pair, room));
        bench.work();
        bench.work();
        assert_eq!(bench.load(), (0, 0), "{worked}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_listener_or_core_nothing_is_open() {
    let bench = Bench::new();
    assert_eq!(
        bench.media.endpoint(true, config()).await.unwrap_err(),
        MediaError::NoListener,
        "nobody listens with TLS"
    );
    let nowhere = Media::none();
    assert_eq!(nowhere.endpoint(false, config()).await.unwrap_err(), MediaError::NoListener);
    let room = nowhere.room(RoomConfig::new(vec![ROOM.into()])).await;
    assert_eq!(room.unwrap_err(), RoomFailure::Media(MediaError::Gone));
    let mut session = session(&bench).await;
    bench.end(0);
    assert!(matches!(session.next().await, SessionEvent::Lost(_)));
    let agreed = agreement(session.uri(), ALICE, false);
    assert_eq!(session.agree(&agreed).await, Err(MediaError::Gone));
    drop(session);
}

// Covers: MSRP-048, SEC-011
#[tokio::test(start_paused = true)]
async fn a_pair_passes_between_its_peers_and_counts() {
    let bench = Bench::new();
    let towards = Towards { offerer: false, answerer: false };
    let config = PairConfig { max_size: Some(9), ..PairConfig::default() };
    let mut pair = bench.done(bench.media.pair(towards, config)).await.unwrap();
    let [offerer, answerer] = [PairSide::Offerer, PairSide::Answerer];
    let (to_alice, to_bob) = (pair.uri(offerer).clone(), pair.uri(answerer).clone());
    assert_ne!(to_alice, to_bob);
    assert_eq!(pair.anchor(answerer, &bench.media).own, to_bob);
    assert_eq!(pair.anchor(answerer, &bench.media).max_size, Some(9));
    assert_eq!(pair.terms(offerer).path, std::slice::from_ref(&to_alice));
    bench.done(pair.agree(offerer, &agreement(&to_alice, ALICE, false))).await.unwrap();
    bench.done(pair.agree(answerer, &agreement(&to_bob, BOB, true))).await.unwrap();
    let alice = bench.accept(0);
    assert!(start(&bench.octets(0, alice, &send(&to_alice, ALICE))).contains(" 200 "));
    let (bob, hop) = bench.connected(0).remove(0);
    assert_eq!(&*hop.host, "bob.example.com");
    let passed = bench.written(0, bob);
    assert!(passed.contains(&format!("To-Path: {BOB}\r\nFrom-Path: {to_bob}\r\n")), "{passed}");
    assert!(passed.contains("\r\n\r\nhello\r\n"), "{passed}");
    assert!(matches!(pair.next().await, PairEvent::Connected(PairSide::Offerer)));
    assert!(matches!(pair.next().await, PairEvent::Connected(PairSide::Answerer)));
    let counts = bench.done(pair.counts()).await.unwrap().unwrap();
    assert_eq!((counts.offerer.messages, counts.offerer.octets), (1, 5));
    bench.lose(0, bob);
    let lost = pair.next().await;
    assert!(matches!(lost, PairEvent::Lost(PairSide::Answerer, Lost::Connection)), "{lost:?}");
    let counts = bench.done(pair.end()).await.unwrap().unwrap();
    assert_eq!(counts.answerer, parlance_msrp::relay::SideCounts::default());
    bench.work();
    assert_eq!(bench.load(), (0, 0));
}

// Covers: PF-065
#[tokio::test(start_paused = true)]
async fn one_side_of_a_pair_can_be_given_to_others() {
    let bench = Bench::new();
    let towards = Towards { offerer: false, answerer: false };
    let mut pair = bench.done(bench.media.pair(towards, PairConfig::default())).await.unwrap();
    let [offerer, answerer] = [PairSide::Offerer, PairSide::Answerer];
    let (to_alice, to_bob) = (pair.uri(offerer).clone(), pair.uri(answerer).clone());
    bench.done(pair.agree(offerer, &agreement(&to_alice, ALICE, false))).await.unwrap();
    pair.vacate(answerer);
    bench.work();
    assert_eq!(bench.load(), (1, 1));
    let refused = bench.done(pair.agree(answerer, &agreement(&to_bob, BOB, false))).await;
    assert_eq!(refused, Err(MediaError::Gone), "nobody is there");
    let alice = bench.accept(0);
    let idle = bench.octets(0, alice, &send(&to_alice, ALICE));
    assert!(start(&idle).contains(" 403 "), "{idle}");
    assert!(matches!(pair.next().await, PairEvent::Connected(PairSide::Offerer)));
    for _ in 0..2 {
        bench.done(pair.renew(answerer, false, &bench.media)).await.unwrap();
        let own = pair.uri(answerer).clone();
        assert_ne!(own, to_bob);
        bench.done(pair.agree(answerer, &agreement(&own, BOB, false))).await.unwrap();
        let bob = bench.accept(0);
        bench.octets(0, bob, &request("SEND", &own, BOB, "Message-ID: m0\r\n"));
        assert!(matches!(pair.next().await, PairEvent::Connected(PairSide::Answerer)));
        bench.octets(0, alice, &send(&to_alice, ALICE));
        assert!(bench.written(0, bob).contains("\r\n\r\nhello\r\n"));
        // He is lost, which counts while he has the side.
        bench.lose(0, bob);
    }
    assert!(matches!(pair.next().await, PairEvent::Lost(PairSide::Answerer, _)));
    let none = bench.done(pair.renew(answerer, true, &bench.media)).await;
    assert_eq!(none, Err(MediaError::NoListener));
    bench.done(pair.renew(answerer, false, &bench.media)).await.unwrap();
    drop(pair);
    bench.work();
    assert_eq!(bench.load(), (0, 0));
    let mut pair = bench.done(bench.media.pair(towards, PairConfig::default())).await.unwrap();
    bench.end(1);
    assert!(matches!(pair.next().await, PairEvent::Gone));
}

/// A message of `from` to the whole room.
fn said(to: &MsrpUri, path: &str, from: &str) -> String {
    let body =
        format!("From: <{from}>\r\nTo: <{ROOM}>\r\n\r\nContent-Type: text/plain\r\n\r\nhello");
    let length = body.len();
    let more = format!(
        "Message-ID: m1\r\nByte-Range: 1-{length}/{length}\r\nContent-Type: message/cpim\r\n\r\n\
         {body}\r\n"
    );
    request("SEND", to, path, &more)
}

// Covers: MSRP-060, SEC-011
#[tokio::test(start_paused = true)]
async fn a_room_passes_messages_tells_nicknames_and_lets_go() {
    let bench = Bench::new();
    let config = RoomConfig { simultaneous_access: false, ..RoomConfig::new(vec![ROOM.into()]) };
    let mut room = bench.done(bench.media.room(config)).await.unwrap();
    let join = |uri| room.join(false, LegConfig::new(uri));
    let mut alice = bench.done(join("sip:alice@example.com")).await.unwrap();
    let mut bob = bench.done(join("sip:bob@example.com")).await.unwrap();
    let again = bench.done(join("sip:bob@example.com")).await.unwrap_err();
    assert_eq!(again, JoinFailure::Join(JoinError::Simultaneous));
    let (to_alice, to_bob) = (alice.uri().clone(), bob.uri().clone());
    bench.done(alice.agree(&agreement(&to_alice, ALICE, false))).await.unwrap();
    bench.done(bob.agree(&agreement(&to_bob, BOB, false))).await.unwrap();
    let [for_alice, for_bob] = [bench.accept(0), bench.accept(0)];
    bench.octets(0, for_bob, &request("SEND", &to_bob, BOB, "Message-ID: m0\r\n"));
    assert_eq!(room.next().await, RoomEvent::Connected(bob.key()));
    let answer = bench.octets(0, for_alice, &said(&to_alice, ALICE, "sip:alice@example.com"));
    assert!(start(&answer).contains(" 200 "), "{answer}");
    assert!(bench.written(0, for_bob).contains("\r\n\r\nhello\r\n-------"));
    assert_eq!(room.next().await, RoomEvent::Connected(alice.key()));
    let name = "Use-Nickname: \"Alice the great\"\r\n";
    bench.octets(0, for_alice, &request("NICKNAME", &to_alice, ALICE, name));
    let RoomEvent::Nickname(key, Some(nickname)) = room.next().await else { panic!("a name") };
    assert_eq!((key, nickname.as_str()), (alice.key(), "Alice the great"));
    assert_eq!(bench.done(room.counts()).await.unwrap().messages, 1);
    assert_eq!(bench.done(bob.counts()).await.unwrap().unwrap().messages, 0);
    bench.lose(0, for_alice);
    assert_eq!(room.next().await, RoomEvent::Lost(alice.key(), Lost::Connection));
    let key = bob.key();
    drop(bob);
    bench.work();
    let answer = bench.octets(0, for_bob, &said(&to_bob, BOB, "sip:bob@example.com"));
    assert!(start(&answer).contains(" 481"), "{answer}");
    let back = bench.done(room.join(false, LegConfig::new("sip:bob@example.com"))).await.unwrap();
    assert_ne!(back.key(), key);
    assert_eq!(bench.done(room.close()).await.unwrap().messages, 1);
    assert_eq!(bench.sessions(), [0, 0], "the legs end with the room");
    drop((back, alice));
    bench.work();
    assert_eq!(bench.load(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_wrong_policy_opens_no_room() {
    let bench = Bench::new();
    let refused = bench.done(bench.media.room(RoomConfig::new(Vec::new()))).await;
    assert!(matches!(refused, Err(RoomFailure::Room(_))));
    let room = bench.done(bench.media.room(RoomConfig::new(vec![ROOM.into()]))).await.unwrap();
    let refused = bench.done(room.set_policy(RoomConfig::new(Vec::new()))).await;
    assert!(matches!(refused, Err(RoomFailure::Room(_))));
    bench.done(room.set_policy(RoomConfig::new(vec![ROOM.into()]))).await.unwrap();
}

// Covers: MSRP-016
#[tokio::test(start_paused = true)]
async fn whose_description_has_a_fingerprint_has_to_show_the_certificate() {
    let bench = Bench::with_tls();
    let of = |certificate: &str| Fingerprint {
        function: HashFunction::Sha256,
        digest: certificate.as_bytes().to_vec(),
    };
    let agreed = |own: &MsrpUri, certificate: &str| {
        let peer = ALICE.replace("msrp:", "msrps:");
        Agreement { fingerprints: vec![of(certificate)], ..agreement(own, &peer, false) }
    };
    let asks = |core, connection, own: &MsrpUri| {
        let answer = bench.octets(core, connection, &send(own, &ALICE.replace("msrp:", "msrps:")));
        answer.split(' ').nth(2).unwrap_or_default().to_owned()
    };
    let mut session = bench.done(bench.media.endpoint(true, config())).await.unwrap();
    let towards = Towards { offerer: true, answerer: true };
    let mut pair = bench.done(bench.media.pair(towards, PairConfig::default())).await.unwrap();
    let room = bench.done(bench.media.room(RoomConfig::new(vec![ROOM.into()]))).await.unwrap();
    let join = room.join(true, LegConfig::new("sip:alice@example.com"));
    let mut leg = bench.done(join).await.unwrap();
    let side = PairSide::Offerer;
    let uris = [session.uri().clone(), pair.uri(side).clone(), leg.uri().clone()];
    for (before, now) in [("A", "A"), ("A", "B")] {
        // The second time, the description of a session that stands has changed.
        bench.done(session.agree(&agreed(&uris[0], now))).await.unwrap();
        bench.done(pair.agree(side, &agreed(&uris[1], now))).await.unwrap();
        bench.done(leg.agree(&agreed(&uris[2], now))).await.unwrap();
        for (core, own) in [0, 1, 0].into_iter().zip(&uris) {
            let [plain, other, right] = [
                bench.accept(core),
                bench.accept_shown(core, if before == now { "C" } else { before }),
                bench.accept_shown(core, now),
            ];
            // Who is turned away is closed at once here, whatever was written to him.
            assert_eq!(asks(core, plain, own), "", "{own} {now}");
            assert_eq!(asks(core, other, own), "", "{own} {now}");
            assert_ne!(asks(core, right, own), "", "{own} {now}");
            assert_eq!(asks(core, bench.accept_shown(core, now), own), "506", "it is bound");
        }
    }
    assert!(matches!(session.next().await, SessionEvent::Connected));
}
