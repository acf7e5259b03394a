//! Peers that are slow, silent, too many or gone.

use std::time::Duration;

use parlance_net::msrp::Msrp;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::sleep;

use crate::support::{
    address, ask, at, connect, limited, response, send, session_of, settle, start, until_closed,
};
use crate::tls::{End, end, expect};

const SHORT: Duration = Duration::from_millis(200);

// Covers: MSRP-082
#[tokio::test]
async fn a_request_is_answered_however_it_is_cut() {
    let msrp = start(|_| ());
    let mut peer = connect(&msrp).await;
    peer.set_nodelay(true).unwrap();
    for octet in send("slow1234", &session_of(0), 3) {
        peer.write_all(&[octet]).await.unwrap();
        crate::support::turn().await;
    }
    assert!(response(&mut peer, "slow1234").await.starts_with("MSRP slow1234 481"));
    ask(&mut peer, "next1234", &session_of(0)).await;
}

// Covers: MSRP-047
#[tokio::test]
async fn a_silent_peer_is_closed_after_its_probation() {
    let msrp = limited(|limits| limits.probation = SHORT);
    let mut silent = connect(&msrp).await;
    let waited = until_closed(&mut silent).await;
    assert!(waited >= SHORT && waited < 5 * SHORT, "{waited:?}");
    settle(&msrp, 0).await;
}

#[tokio::test]
async fn a_head_of_one_octet_at_a_time_is_not_waited_for() {
    let msrp = limited(|limits| limits.head_timeout = SHORT);
    let mut peer = connect(&msrp).await;
    ask(&mut peer, "good1234", &session_of(0)).await;
    let (mut reader, mut writer) = peer.into_split();
    let writing = tokio::spawn(async move {
        for octet in send("slow1234", &session_of(0), 3) {
            if writer.write_all(&[octet]).await.is_err() {
                return;
            }
            sleep(SHORT / 10).await;
        }
    });
    let waited = until_closed(&mut reader).await;
    assert!(waited < 5 * SHORT, "{waited:?}");
    writing.abort();
}

const PEER: &str = "msrp://127.0.0.1:9/client;tcp";

/// A session at `core` that nobody has used.
async fn session(msrp: &Msrp, core: u8) -> End {
    let session = end(msrp, core, false, 16).await;
    expect(msrp, core, &session, PEER, Vec::new()).await;
    session
}

/// The head of a message to `session`.
fn head(session: &End, id: &str) -> String {
    let to = &session.uri;
    format!(
        "MSRP {id} SEND\r\nTo-Path: {to}\r\nFrom-Path: {PEER}\r\nMessage-ID: {id}\r\n\
         Byte-Range: 1-*/*\r\nContent-Type: text/plain\r\n\r\n"
    )
}

/// Sends as many octets ten times in [`SHORT`], until `times` are over or nobody takes more.
async fn drip(writer: &mut (impl AsyncWrite + Unpin), octets: usize, times: usize) {
    for _ in 0..times {
        if writer.write_all(&vec![b'x'; octets]).await.is_err() {
            return;
        }
        sleep(SHORT / 10).await;
    }
}

// Covers: MSRP-018
#[tokio::test]
async fn a_body_of_one_octet_at_a_time_is_not_waited_for() {
    let msrp = limited(|limits| limits.body_timeout = SHORT);
    for (octets, gets_on) in [(1, false), (2000, true)] {
        let mine = session(&msrp, 1).await;
        let (mut reader, mut writer) = connect(&msrp).await.into_split();
        writer.write_all(head(&mine, "slow1234").as_bytes()).await.unwrap();
        if gets_on {
            drip(&mut writer, octets, 40).await;
            writer.write_all(b"\r\n-------slow1234$\r\n").await.unwrap();
            let answer = response(&mut reader, "slow1234").await;
            assert!(answer.starts_with("MSRP slow1234 200"), "{answer}");
        } else {
            let writing = tokio::spawn(async move { drip(&mut writer, octets, 1000).await });
            let waited = until_closed(&mut reader).await;
            assert!(waited >= SHORT && waited < 40 * SHORT, "{waited:?}");
            writing.abort();
        }
    }
}

// Covers: MSRP-011
#[tokio::test]
async fn a_connection_without_a_session_is_closed_whatever_comes_on_it() {
    let msrp = limited(|limits| limits.idle = SHORT);
    // The core that has the connection had the session, or the other one.
    for (core, octets) in [(0, 1000), (1, 1000), (1, 0)] {
        let mut peer = connect(&msrp).await;
        let [one, last] = [session(&msrp, 0).await, session(&msrp, core).await];
        for session in [&one, &last] {
            let hello = format!("{}x\r\n-------bind1234$\r\n", head(session, "bind1234"));
            peer.write_all(hello.as_bytes()).await.unwrap();
            assert!(response(&mut peer, "bind1234").await.contains(" 200 "));
        }
        let (mut reader, mut writer) = peer.into_split();
        if octets > 0 {
            writer.write_all(head(&last, "slow1234").as_bytes()).await.unwrap();
            drip(&mut writer, octets, 20).await;
        } else {
            sleep(2 * SHORT).await;
        }
        assert_eq!(msrp.connections(), 1, "it has sessions");
        for (core, session) in [(0, one.session), (core, last.session)] {
            msrp.tell(core, move |at| at.node.end_endpoint(at.now, session)).unwrap();
        }
        let writing = tokio::spawn(async move { drip(&mut writer, octets, 1000).await });
        let waited = until_closed(&mut reader).await;
        assert!(waited < 40 * SHORT, "{waited:?}");
        writing.abort();
        settle(&msrp, 0).await;
        assert_eq!(at(&msrp, 0).await + at(&msrp, 1).await, 0, "the nodes know it too");
    }
}

// Covers: MSRP-047
#[tokio::test]
async fn the_probation_goes_on_at_another_core() {
    let probation = 10 * SHORT;
    let msrp = limited(|limits| limits.probation = probation);
    let mut peers = Vec::new();
    for number in 0..8 {
        peers.push((number % 2, connect(&msrp).await));
    }
    sleep(8 * SHORT).await;
    for (core, peer) in &mut peers {
        // The first lines say which core it is for, and no more comes.
        let request = send("half1234", &session_of(*core), 10);
        peer.write_all(&request[..100]).await.unwrap();
    }
    for (_, peer) in &mut peers {
        let waited = until_closed(peer).await;
        assert!(waited < 8 * SHORT, "{waited:?}");
    }
}

// Covers: MSRP-018
#[tokio::test]
async fn a_peer_that_does_not_read_is_closed() {
    let msrp = limited(|limits| limits.write_timeout = SHORT);
    let mut peer = connect(&msrp).await;
    let request = send("more1234", &session_of(0), 1);
    let many = request.repeat(1000);
    // Until the responses fill every buffer between us, and then some.
    let writing = async {
        loop {
            if peer.write_all(&many).await.is_err() {
                return;
            }
        }
    };
    tokio::time::timeout(crate::support::PATIENCE, writing).await.expect("it is closed");
    settle(&msrp, 0).await;
}

#[tokio::test]
async fn a_connection_too_many_is_closed_at_once() {
    let msrp = start(|config| {
        config.limits.per_source_max = 2;
        config.limits.total_max = 3;
        config.trusted = std::sync::Arc::new(|_| false);
    });
    let mut first = connect(&msrp).await;
    let mut second = connect(&msrp).await;
    ask(&mut first, "aaaa1234", &session_of(0)).await;
    ask(&mut second, "bbbb1234", &session_of(0)).await;
    let mut third = connect(&msrp).await;
    until_closed(&mut third).await;
    drop(first);
    settle(&msrp, 1).await;
    let mut fourth = connect(&msrp).await;
    ask(&mut fourth, "cccc1234", &session_of(0)).await;

    let full = limited(|limits| limits.total_max = 1);
    let mut one = connect(&full).await;
    ask(&mut one, "dddd1234", &session_of(0)).await;
    let mut other = connect(&full).await;
    until_closed(&mut other).await;
    ask(&mut one, "eeee1234", &session_of(0)).await;
}

/// A crowd that comes back at once after an outage is let in turn by turn, and not with each tick.
#[tokio::test]
async fn a_crowd_is_accepted_without_waiting() {
    const CROWD: usize = 300;
    let msrp = start(|config| config.cores = 1);
    let (go, wait) = std::sync::mpsc::channel::<()>();
    msrp.tell(0, move |_| wait.recv().unwrap_or_default()).unwrap();
    let peer = || std::net::TcpStream::connect(address(&msrp)).unwrap();
    let crowd: Vec<_> = (0..CROWD).map(|_| peer()).collect();
    drop(go);
    // A command takes a turn of the core.
    for _ in 0..CROWD / 64 + 4 {
        at(&msrp, 0).await;
    }
    assert_eq!(msrp.connections(), CROWD);
    drop(crowd);
}

// Covers: SEC-012
#[tokio::test]
async fn a_source_that_sends_too_fast_is_slowed_down() {
    let msrp = start(|config| {
        config.limits.octets_per_second = Some(10_000);
        config.trusted = std::sync::Arc::new(|_| false);
    });
    let mut peer = connect(&msrp).await;
    let began = tokio::time::Instant::now();
    // 10,000 octets at once, and 5,000 more in half a second; the next waits for those.
    peer.write_all(&send("aaaa1234", &session_of(0), 15_000)).await.unwrap();
    response(&mut peer, "aaaa1234").await;
    peer.write_all(&send("bbbb1234", &session_of(0), 10)).await.unwrap();
    response(&mut peer, "bbbb1234").await;
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(450) && took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test]
async fn an_unused_connection_is_closed_when_it_is_quiet() {
    let msrp = limited(|limits| {
        limits.idle = SHORT;
        limits.probation = 2 * SHORT;
    });
    let mut peer = connect(&msrp).await;
    // Nobody has the session, so the request proves nothing and the probation goes on.
    ask(&mut peer, "aaaa1234", &session_of(0)).await;
    let waited = until_closed(&mut peer).await;
    assert!(waited < 10 * SHORT, "{waited:?}");
    settle(&msrp, 0).await;
}

// Covers: MSRP-078
#[tokio::test]
async fn a_peer_may_vanish_at_any_point() {
    let msrp = start(|_| ());
    let request = send("gone1234", &session_of(1), 200);
    for cut in (0..=request.len()).step_by(7) {
        let mut peer = connect(&msrp).await;
        peer.write_all(&request[..cut]).await.unwrap();
        if cut % 2 == 0 {
            // Closing without reading what came resets the connection.
            peer.set_zero_linger().unwrap();
        }
    }
    settle(&msrp, 0).await;
    assert_eq!(at(&msrp, 0).await + at(&msrp, 1).await, 0, "the nodes know it too");
    let mut peer = connect(&msrp).await;
    ask(&mut peer, "here1234", &session_of(1)).await;
}

#[tokio::test]
async fn what_is_no_msrp_is_closed() {
    let msrp = start(|_| ());
    for garbage in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0; 20_000]] {
        let mut peer = connect(&msrp).await;
        let _ = peer.write_all(garbage).await;
        until_closed(&mut peer).await;
    }
    settle(&msrp, 0).await;
}

#[tokio::test]
async fn draining_writes_what_waits_and_closes() {
    let msrp = start(|_| ());
    let mut peer = connect(&msrp).await;
    let mut silent = connect(&msrp).await;
    for turn in 0..1000 {
        let id = format!("r{turn:07}");
        peer.write_all(&send(&id, &session_of(0), 10)).await.unwrap();
    }
    // The first answer is there, so that all requests are, or are on their way.
    let mut read = response(&mut peer, "r0000999").await;
    let began = tokio::time::Instant::now();
    let draining = tokio::spawn(async move { msrp.drain(Duration::from_secs(5)).await });
    peer.read_to_string(&mut read).await.unwrap();
    assert_eq!(read.matches(" 481").count(), 1000, "nothing is lost");
    until_closed(&mut silent).await;
    drop((peer, silent));
    draining.await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test]
async fn one_that_reads_nothing_does_not_keep_a_drain_for_ever() {
    let msrp = limited(|limits| limits.write_timeout = Duration::from_secs(30));
    let mut peer = connect(&msrp).await;
    let many = send("more1234", &session_of(0), 1).repeat(1000);
    let writing = async { while peer.write_all(&many).await.is_ok() {} };
    // Until nothing goes any more: the responses wait on our side.
    let _ = tokio::time::timeout(Duration::from_millis(500), writing).await;
    let began = tokio::time::Instant::now();
    msrp.drain(Duration::from_millis(300)).await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}
